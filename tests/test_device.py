"""Training and asking on a GPU: what can be shown without one, and what only one can show."""

import re

import numpy as np
import pytest
import torch

import sbi_kit as sk
from sbi_kit import learning, train
from sbi_kit.checks import BadType, BadValue
from sbi_kit.device import CPU, expect_device, moved, send
from sbi_kit.summary import NEEDED, SUMMARIES
from tests.pretend import GPU, Pretended

KNOWN = sk.Prior(strength=sk.Uniform(1, 2))
LAYOUTS = {
    sk.Vector: sk.Vector(columns=("x", "y", "z")),
    sk.Exchangeable: sk.Exchangeable(columns=("x", "y"), n=(3, 9), context=KNOWN, missing=True),
    sk.Matrix: sk.Matrix(columns=("i", "j", "k"), n=(4, 6), context=KNOWN),
    sk.Series: sk.Series(columns=("x", "y"), n=(6, 8), context=KNOWN),
}
SMALL = {"width": 8, "hidden": 8, "blocks": 1, "steps": 50, "batch_size": 20}


class Model:
    """Observations scattered about the parameters, laid out in any way."""

    name = "scattered"

    def __init__(self, data, d=3):
        self.data = data
        self.prior = sk.Prior(**{f"theta_{i}": sk.Normal(0, 1) for i in range(d)})

    def simulate(self, theta, rng, n=1, context=0):
        columns = np.arange(len(self.data.columns)) % theta.shape[1]
        x = theta[:, None, columns] + rng.standard_normal((len(theta), n, len(columns)))
        return x[:, 0] if isinstance(self.data, sk.Vector) else x


def bank_of(layout, d=3, rows=200):
    return sk.simulate(Model(LAYOUTS[layout], d), rows, seed=1)


def fit_there(bank, **settings):
    """A training whose losses are all one: it stalls and ends after 5 steps."""
    return sk.fit(bank, seed=1, patience=1, device="cuda", **{"members": 1, **SMALL, **settings})


def layout_of(summary):
    return NEEDED.get(summary, sk.Vector if summary == "identity" else sk.Exchangeable)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU, pretended, that `device="cuda"` names; `trainings` are the counts of each training."""
    for module in ("fitting", "online", "neural"):
        monkeypatch.setattr(
            f"sbi_kit.{module}.expect_device", lambda name: GPU if name == "cuda" else CPU
        )
    original = learning.train

    def counted(*args, **kwargs):
        before = pretended.counts.copy()
        state = original(*args, **kwargs)
        pretended.trainings.append(pretended.counts - before)
        return state

    monkeypatch.setattr(learning, "train", counted)
    pretended = Pretended()
    pretended.trainings = []
    return pretended


few = pytest.mark.filterwarnings("ignore:.*simulations give a rough posterior")


# Names


def test_names_of_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    named = {name: str(expect_device(name)) for name in ("cpu", "cuda", "cuda:0")}
    assert named == {"cpu": "cpu", "cuda": "cuda:1", "cuda:0": "cuda:0"}
    with pytest.raises(BadValue, match="device='cuda:2'; got 2 GPUs, numbered from 0; choose one"):
        expect_device("cuda:2")


@pytest.mark.parametrize(
    ("name", "error", "got"),
    [("gpu", BadValue, "'gpu'"), ("cuda:x", BadValue, "'cuda:x'"), (0, BadType, "0")],
)
def test_other_names_are_refused(name, error, got):
    wanted = f"Expected device as 'cpu', 'cuda' or 'cuda:' and a number; got {got}; pass one of"
    with pytest.raises(error, match=f"^{re.escape(wanted)}"):
        expect_device(name)


@few
def test_a_gpu_where_there_is_none_is_refused_at_every_door(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    bank = bank_of(sk.Vector)
    posterior = sk.fit(bank, seed=1, members=1, **SMALL)
    wanted = f"Expected a GPU for device='cuda'; got torch {torch.__version__}, which has none; "
    for ask in (
        lambda: sk.fit(bank, seed=1, device="cuda"),
        lambda: sk.fit_online(bank.model, seed=1, steps=1, device="cuda"),
        lambda: posterior.on("cuda"),
    ):
        with pytest.raises(BadValue, match=f"^{re.escape(wanted)}leave device out to use the CPU"):
            ask()


def test_nothing_is_copied_that_is_there():
    tensor, module = torch.ones(3), torch.nn.Linear(2, 2)
    assert send(tensor, CPU) is tensor
    assert moved(module, CPU) is module
    assert {p.device for p in moved(module, GPU).parameters()} == {GPU}
    assert {p.device for p in module.parameters()} == {CPU}


# A GPU, pretended: every tensor is where it should be, and nothing waits


@few
@pytest.mark.parametrize("summary", SUMMARIES)
def test_a_training_waits_twice_at_an_evaluation_and_nowhere_else(gpu, summary):
    bank = bank_of(layout_of(summary))
    with gpu:
        posterior = fit_there(bank, summary=summary)
    assert [step for step, *_ in posterior.history["evaluations"]] == [2, 4, 5]
    (counts,) = gpu.trainings
    assert counts["read"] == 2 * 3  # the losses of the steps, and that of the validation rows
    assert counts["sent"] == 5 + 3  # each batch in one piece
    assert counts["waited"] == 0
    assert counts["operations"] > 1_000


@few
@pytest.mark.parametrize("summary", SUMMARIES)
def test_a_posterior_is_asked_on_the_gpu(gpu, summary):
    bank = bank_of(layout_of(summary))
    posterior = sk.fit(bank, seed=1, summary=summary, members=1, **{**SMALL, "steps": 2})
    there, (theta, x) = posterior.on("cuda"), bank.take(slice(0, 5))
    with gpu:
        assert there.sample(x, draws=4, seed=2).shape == (5, 4, 3)
        assert there.log_prob(theta, x).shape == (5,)
        assert there.estimate(x).shape == (5, 3)
        assert there.summarise(x).shape == (5, 8)
    assert gpu.counts["operations"] > 200
    assert gpu.counts["read"] == 4  # each answer
    assert gpu.counts["waited"] == 0


@few
@pytest.mark.parametrize(
    ("layout", "d", "settings"),
    [
        (sk.Vector, 3, {"members": 2}),
        (sk.Vector, 3, {"coupling": "affine"}),
        (sk.Vector, 1, {}),
        (sk.Exchangeable, 1, {"summary": "deep_set"}),
    ],
    ids=["ensemble", "affine", "one parameter", "set"],
)
def test_other_posteriors_are_trained_and_asked_there(gpu, layout, d, settings):
    bank = bank_of(layout, d)
    theta, x = bank.take(slice(0, 5))
    with gpu:
        posterior = fit_there(bank, **settings)
        there = posterior.on("cuda")
        assert there.sample(x, draws=4, seed=2).shape == (5, 4, d)
        assert there.log_prob(theta, x).shape == (5,)
        idata = there.infer(x, draws=20, seed=2, model=bank.model, predictive=5)
    assert idata.posterior["theta_0"].size == 5 * 20
    assert {p.device for n in posterior.encoder.networks for p in n.parameters()} == {CPU}
    assert {p.device for n in there.encoder.networks for p in n.parameters()} == {GPU}
    assert len(gpu.trainings) == posterior.members
    assert not any(counts["waited"] for counts in gpu.trainings)


@few
def test_simulations_come_there_as_they_are_drawn(gpu):
    with gpu:
        posterior = sk.fit_online(
            Model(LAYOUTS[sk.Vector]),
            seed=1,
            patience=1,
            device="cuda",
            **{**SMALL, "batch_size": 200},
        )
    (counts,) = gpu.trainings
    evaluations = posterior.history["evaluations"]
    assert counts["read"] == 2 * len(evaluations)
    assert counts["waited"] == 0


@few
@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
def test_a_training_is_resumed_there(gpu, tmp_path):
    def stop(report):
        raise KeyboardInterrupt

    bank, file = bank_of(sk.Vector), tmp_path / "checkpoint"
    with gpu:
        with pytest.raises(KeyboardInterrupt):
            fit_there(bank, checkpoint=file, progress=stop)
        posterior = fit_there(bank, checkpoint=file)
    assert [step for step, *_ in posterior.history["evaluations"]] == [2, 4, 5]
    with gpu:
        posterior.on("cuda").save(tmp_path / "saved")
    assert {p.device for p in sk.load(tmp_path / "saved").encoder.network.parameters()} == {CPU}


# A GPU itself


here = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
ROWS = 4_000


@pytest.fixture(scope="module")
def trained():
    """Posteriors of one bank: trained on the CPU from three seeds, and on a GPU from the first."""
    bank = bank_of(sk.Exchangeable, rows=ROWS)
    sizes = {"steps": 400, "members": 1, "width": 32, "hidden": 32}
    on_cpu = [sk.fit(bank, seed=seed, **sizes) for seed in (1, 2, 3)]
    return on_cpu, sk.fit(bank, seed=1, device="cuda", **sizes)


def held_out(posterior):
    """Mean log density of parameters it was not trained on."""
    theta, x = sk.simulate(Model(LAYOUTS[sk.Exchangeable]), 2_000, seed=9).take(slice(None))
    return posterior.log_prob(theta, x).mean()


@here
def test_a_training_there_is_as_good_as_one_on_the_cpu(trained):
    on_cpu, there = trained
    # Rounding makes another training of it, as another seed would: no worse than seeds differ.
    densities = [held_out(posterior) for posterior in on_cpu]
    assert abs(held_out(there) - np.mean(densities)) < 0.1
    assert there.history["evaluations"][0][0] == on_cpu[0].history["evaluations"][0][0]
    first = [posterior.history["evaluations"][0][2] for posterior in (there, on_cpu[0])]
    assert first[0] == pytest.approx(first[1], abs=0.02)  # a few steps do not part far


@here
def test_draws_and_densities_there_are_those_of_the_cpu(trained):
    posterior = trained[0][0]
    there = posterior.on("cuda")
    theta, x = sk.simulate(posterior.model, 50, seed=9).take(slice(None))
    ours, theirs = (p.sample(x, draws=500, seed=3) for p in (posterior, there))
    # Rounding in float32 grows where a spline is steep, which is rare.
    assert np.quantile(np.abs(ours - theirs), 0.999) < 1e-3
    np.testing.assert_allclose(there.log_prob(theta, x), posterior.log_prob(theta, x), atol=1e-3)
    np.testing.assert_allclose(there.summarise(x), posterior.summarise(x), atol=1e-3)


@here
@few
@pytest.mark.parametrize("summary", SUMMARIES)
def test_no_step_waits(summary, monkeypatch):
    bank = bank_of(layout_of(summary))
    original = train._step

    def step(run):
        if run.state.step >= 3:  # at first libraries are loaded
            torch.cuda.set_sync_debug_mode("error")
        try:
            original(run)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(train, "_step", step)
    posterior = sk.fit(bank, seed=1, summary=summary, members=1, device="cuda", **SMALL)
    assert posterior.history["steps_done"] > 10
    assert np.isfinite(posterior.history["validation_loss"])


@here
@few
def test_what_was_saved_there_is_loaded_here_and_resumed_either_way(tmp_path):
    def stop(report):
        if report.step >= 20:
            raise KeyboardInterrupt

    bank = bank_of(sk.Vector)
    for one, other in (("cuda", "cpu"), ("cpu", "cuda")):
        settings = {"members": 1, "checkpoint": tmp_path / one, **SMALL}
        with pytest.raises(KeyboardInterrupt):
            sk.fit(bank, seed=1, device=one, progress=stop, **settings)
        posterior = sk.fit(bank, seed=1, device=other, **settings)
        assert posterior.history["steps_done"] > 20
        posterior.on("cuda").save(tmp_path / f"{one}_saved")
        x = np.zeros((1, 3))
        loaded = sk.load(tmp_path / f"{one}_saved").sample(x, draws=10, seed=2)
        np.testing.assert_array_equal(loaded, posterior.sample(x, draws=10, seed=2))
