import functools
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest
import torch

import sbi_kit as sk
from sbi_kit.batches import BankBatches, observations, standardise
from sbi_kit.checks import BadType, BadValue, UnknownName
from sbi_kit.encoder import as_rows
from sbi_kit.learning import (
    _features,
    _sample,
    _some,
    default_members,
    default_steps,
    prepare,
)
from sbi_kit.summary import NEEDED, SUMMARIES
from sbi_kit.summary.standardize import fit_standardizer

SMALL = {"width": 16, "hidden": 16, "blocks": 2, "steps": 150, "members": 1}
PRIOR = sk.Prior(a=sk.Normal(0, 1), b=sk.Normal(2, 3))
X = np.array([[0.3, -1.0], [1.0, 4.0]])


def shift(theta, rng):
    return theta + 0.5 * rng.standard_normal(theta.shape)


def sets(theta, rng, n):
    return theta[:, None] + rng.standard_normal((len(theta), n, 2))


def make(simulate=shift, *, prior=PRIOR, data=None, name="shift"):
    data = data or sk.Vector(columns=("x", "y"))
    return sk.Simulator(name=name, prior=prior, data=data, simulate=simulate)


def bank_of(rows=1_000, seed=1, **parts):
    return sk.simulate(make(**parts), rows, seed=seed)


@pytest.fixture(scope="module")
def bank():
    return bank_of()


@pytest.fixture(scope="module")
def set_bank():
    return bank_of(simulate=sets, data=sk.Exchangeable(columns=("x", "y"), n=(3, 9)), name="sets")


@pytest.fixture(scope="module")
def posterior(bank):
    return sk.fit(bank, seed=2, **SMALL)


def weights_of(posterior):
    state = posterior.encoder.network.state_dict()
    return b"".join(state[name].numpy().tobytes() for name in sorted(state))


def test_few_simulations_make_an_ensemble_and_many_more_steps():
    assert [default_members(rows) for rows in (50, 2_999, 3_000)] == [5, 5, 1]
    assert [default_steps(rows, 64) for rows in (50, 76_000, 128_000)] == [6_000, 6_000, 10_000]


def quiet(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


# Same seed, same posterior


@pytest.mark.parametrize("which", ["bank", "set_bank"])
def test_same_seed_same_bytes_and_another_seed_others(which, request):
    bank = request.getfixturevalue(which)
    one, two, other = (sk.fit(bank, seed=seed, **SMALL) for seed in (2, 2, 3))
    assert weights_of(one) == weights_of(two)
    assert one.history == two.history
    x = X if which == "bank" else [np.tile(X, (2, 1)), np.tile(X, (3, 1))]
    draws = [p.sample(x, draws=50, seed=1).tobytes() for p in (one, two, other)]
    assert draws[0] == draws[1] != draws[2]
    assert weights_of(one) != weights_of(other)


def test_a_bank_on_disk_gives_what_one_in_memory_gives(posterior, tmp_path):
    sk.simulate(make(), 1_000, seed=1, path=tmp_path / "bank")
    again = sk.fit(sk.Bank.open(tmp_path / "bank"), seed=2, **SMALL)
    assert weights_of(again) == weights_of(posterior)


def test_the_state_of_global_generators_does_not_matter_nor_change(bank, posterior):
    numpy_state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        torch_state = torch.random.get_rng_state()
        again = sk.fit(bank, seed=2, **SMALL)
        assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])  # noqa: NPY002
    assert weights_of(again) == weights_of(posterior)
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


def test_the_number_of_threads_is_given_back(bank):
    before, seen = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        sk.fit(bank, seed=2, progress=lambda _: seen.append(torch.get_num_threads()), **SMALL)
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2

        def fail(_):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            sk.fit(bank, seed=2, progress=fail, **SMALL)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_other_settings_of_torch_are_no_obstacle(set_bank):
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            posterior = sk.fit(set_bank, seed=2, **(SMALL | {"steps": 8}))
            assert not torch.is_grad_enabled()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert next(posterior.encoder.network.parameters()).dtype == torch.float32
    assert np.isfinite(posterior.sample(np.tile(X, (2, 1)), draws=5, seed=1)).all()


# What is learned from, and what is told about it


def test_history_says_what_it_was_made_of(posterior):
    history = posterior.history
    assert history["simulations"] == 1_000
    assert history["training_rows"] + history["validation_rows"] == 1_000
    assert history["validation_rows"] == 100
    assert history["bank_seed"] == 1
    assert history["seed"] == 2
    assert history["steps_done"] <= history["steps"] == 150
    assert history["validation_loss"] == min(loss for _, _, loss in history["evaluations"])
    assert posterior.simulator["name"] == "shift"
    assert posterior.model is not None


@pytest.mark.parametrize("window", [10**8, 3_000])
def test_validation_rows_are_not_trained_on(bank, window):
    trained = np.arange(0, 900)
    values = bank.take(trained)[1].values[:, 0]
    batches = BankBatches(
        bank,
        trained,
        np.arange(900, 1_000),
        summary="identity",
        standardizer=fit_standardizer(values),
        batch_size=64,
        seed=1,
        window=window,
    )
    seen = [row for step in range(batches.per_pass) for row in batches.rows(step)]
    assert len(seen) == len(set(seen)) == 64 * 14  # each once a pass, the rest left out
    assert max(seen) < 900
    assert set(batches.rows(0)) != set(batches.rows(batches.per_pass))
    held_out = torch.cat([u for u, _, _ in batches.validation()])
    exact = torch.from_numpy(PRIOR.whiten(bank.theta[900:]).astype(np.float32))
    assert torch.equal(held_out, exact)


@pytest.mark.parametrize("window", [10**8, 5_000, 1])
def test_batches_are_a_function_of_the_step(set_bank, window, monkeypatch):
    monkeypatch.setattr("sbi_kit.batches._BLOCK", 25)

    def build():
        values = np.concatenate(set_bank.take(range(100))[1].each())
        return BankBatches(
            set_bank,
            np.arange(900),
            np.arange(900, 1_000),
            summary="deep_set",
            standardizer=fit_standardizer(values),
            batch_size=50,
            seed=1,
            window=window,
        )

    forwards, across = build(), build()
    steps = range(3 * forwards.per_pass)
    one = {step: forwards.training(step) for step in steps}
    by_place = sorted(steps, key=lambda step: step % forwards.per_pass, reverse=True)
    two = {step: across.training(step) for step in by_place}
    for step in steps:
        assert all(torch.equal(a, b) for a, b in zip(one[step], two[step], strict=True))
    sizes = torch.stack([one[step][2] for step in steps])
    assert sizes.min() >= 3
    assert sizes.max() == 9
    parts = [step for step in steps if len(set(one[step][2].tolist())) == 1]
    assert 0.5 < len(parts) / len(steps) < 0.98


@pytest.mark.parametrize("block", [25, 1_000])  # a window holds 200 rows
def test_a_streamed_pass_reads_every_row_once_and_mixes_distant_ones(
    set_bank, tmp_path, monkeypatch, block
):
    monkeypatch.setattr("sbi_kit.batches._BLOCK", block)
    model = make(simulate=sets, data=set_bank.data, name="sets")
    bank = sk.simulate(model, 1_000, seed=1, path=tmp_path / "bank", shard_rows=100)
    shuffled = np.random.default_rng(1).permutation(1_000)
    window = 10_000  # of 1,000 datasets of 6 observations of 2 features, 48,000 bytes
    batches = BankBatches(
        bank,
        shuffled[:900],
        shuffled[900:],
        summary="deep_set",
        standardizer=fit_standardizer(np.concatenate(bank.take(range(100))[1].each())),
        batch_size=20,
        seed=1,
        window=window,
    )
    read, flat = [], sk.Bank.flat

    def spy(self, rows):
        read.extend(rows.tolist())
        return flat(self, rows)

    monkeypatch.setattr(sk.Bank, "flat", spy)
    orders = []
    for number in range(3):
        read.clear()
        seen = []
        for step in range(number * batches.per_pass, (number + 1) * batches.per_pass):
            batches.training(step)
            assert batches._window[1].flat.nbytes < 1.5 * window  # sizes vary
            seen += batches.rows(step)
        assert sorted(seen) == sorted(read) == sorted(shuffled[:900].tolist())
        orders.append(seen)
        for start in range(0, 800, 200):  # datasets in a window
            part = np.array(seen[start : start + 200])
            assert len(np.unique(part // 25)) >= 8
            assert np.ptp(part) > 300
    assert orders[0] != orders[1] != orders[2]
    read.clear()
    assert sum(len(u) for u, _, _ in batches.validation()) == 100
    assert read == []  # a window holds them, so they were kept
    assert not bank._mapped


def test_a_validation_split_larger_than_a_window_is_read_each_time(set_bank, monkeypatch):
    values = np.concatenate(set_bank.take(range(100))[1].each())
    batches = BankBatches(
        set_bank,
        np.arange(500),
        np.arange(500, 1_000),
        summary="deep_set",
        standardizer=fit_standardizer(values),
        batch_size=20,
        seed=1,
        window=10_000,
    )
    read, flat = [], sk.Bank.flat

    def spy(self, rows):
        read.extend(rows.tolist())
        return flat(self, rows)

    monkeypatch.setattr(sk.Bank, "flat", spy)
    for _ in range(2):
        read.clear()
        assert sum(len(u) for u, _, _ in batches.validation()) == 500
        assert sorted(read) == list(range(500, 1_000))


def test_windows_of_a_bank_on_disk_are_those_of_one_in_memory(set_bank, tmp_path):
    model = make(simulate=sets, data=set_bank.data, name="sets")
    disk = sk.simulate(model, 1_000, seed=1, path=tmp_path / "bank", shard_rows=100)
    both = [
        BankBatches(
            bank,
            np.arange(900),
            np.arange(900, 1_000),
            summary="deep_set",
            standardizer=fit_standardizer(np.concatenate(bank.take(range(100))[1].each())),
            batch_size=30,
            seed=1,
            window=10_000,
        )
        for bank in (set_bank, disk)
    ]
    steps = range(0, 2 * both[0].per_pass, 7)
    one, two = ([*map(b.training, steps), *b.validation()] for b in both)
    assert all(
        torch.equal(a, b)
        for parts in zip(one, two, strict=True)
        for a, b in zip(*parts, strict=True)
    )


# What is read without padding is what padded datasets hold


@pytest.mark.parametrize(
    ("summary", "n"), [("identity", 4), ("identity", None), ("deep_set", 4), ("deep_set", (3, 9))]
)
@pytest.mark.parametrize("known", [None, sk.Prior(delay=sk.Uniform(1, 2))])
def test_observations_are_those_of_the_datasets(summary, n, known):
    parts = {"columns": ("x", "y"), "context": known}
    data = sk.Exchangeable(n=n, **parts) if n else sk.Vector(**parts)

    def one(theta, rng, *_):
        return sets(theta, rng, 1)[:, 0]

    def many(theta, rng, n, *_):
        return sets(theta, rng, n)

    bank = bank_of(rows=300, simulate=many if n else one, data=data)
    rows = np.random.default_rng(1).permutation(300)[:90]
    x = as_rows(bank.take(rows)[1], data, summary)
    assert np.array_equal(observations(bank, rows, summary), x.values[x.mask])


def test_values_are_standardised_in_pieces_as_in_one(monkeypatch):
    monkeypatch.setattr("sbi_kit.batches._TOGETHER", 7)
    values = np.exp(3 * np.random.default_rng(1).standard_normal((100, 2)))
    standardizer = fit_standardizer(values)
    out = np.full((103, standardizer.features), 9, dtype=np.float32)
    standardise(values, standardizer, out)
    assert np.array_equal(out[:100], standardizer(values))
    assert (out[100:] == 9).all()


@pytest.mark.parametrize("enough", [10, 300, 10**6])
def test_of_many_observations_every_kth_is_looked_at(set_bank, monkeypatch, enough):
    monkeypatch.setattr("sbi_kit.learning._ENOUGH", enough)
    monkeypatch.setattr("sbi_kit.learning._READ", 7)
    rows = np.random.default_rng(1).permutation(1_000)[:200]
    values = np.concatenate(set_bank.take(rows)[1].each())
    found = _sample(set_bank, rows, "deep_set")
    assert np.array_equal(found, values[:: max(1, len(values) // enough)])


def test_what_is_usual_is_told_by_padded_datasets(set_bank):
    material = prepare(set_bank, set_bank.usable, summary="deep_set", share=0.1, seed=1)
    x = set_bank.take(material.training)[1]  # fewer than are looked at
    values, n = _some(material)
    exact = torch.from_numpy(material.standardizer(x.values))
    mask = torch.from_numpy(x.mask)
    assert torch.equal(values[mask], exact[mask])
    assert n.tolist() == x.n.tolist()


def test_features_do_not_depend_on_how_many_are_made_at_a_time(set_bank, monkeypatch):
    encoder = sk.fit(set_bank, seed=2, **(SMALL | {"steps": 8})).encoder
    rows = np.random.default_rng(1).permutation(1_000)[:200]
    x = set_bank.take(rows)[1]
    whole = encoder.describe(x, encoder.summarise(x))
    monkeypatch.setattr("sbi_kit.learning._CHUNK", 100)  # 11 datasets of 9
    assert _features(encoder, set_bank, rows) == pytest.approx(whole, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("window", [10**8, 2_000])
@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("kind", [sk.Exchangeable, sk.Series])
def test_every_batch_holds_parts_of_its_datasets(kind, nested, window):
    def numbered(theta, rng, n):
        return rng.uniform(0, 1, (len(theta), n, 1)) + np.arange(n)[:, None]

    bank = bank_of(
        rows=300,
        simulate=numbered,
        prior=sk.Prior(a=sk.Uniform(0, 1)),
        data=kind(columns=("x",), n=(2, 9), nested=nested),
    )
    identity = fit_standardizer(np.array([[-1.0], [0.0], [1.0]]))
    batches = BankBatches(
        bank,
        np.arange(250),
        np.arange(250, 300),
        summary="deep_set" if kind is sk.Exchangeable else "gru",
        standardizer=identity,
        batch_size=20,
        seed=1,
        window=window,
    )
    shorter = 0
    whole = dict(enumerate(bank.take(slice(None))[1].each()))
    for step in range(2 * batches.per_pass):
        _, x, n = batches.training(step)
        for row, values, size in zip(batches.rows(step), x.numpy(), n.tolist(), strict=True):
            full = identity(whole[row])
            starts = range(len(full) - size + 1 if kind is sk.Exchangeable else 1)
            assert any(np.array_equal(values[:size], full[s : s + size]) for s in starts)
            assert nested or size == len(full)
            shorter += size < len(full)
    assert bool(shorter) == nested
    held_out = [x[i, :size] for _, x, n in batches.validation() for i, size in enumerate(n)]
    expected = [identity(whole[row]) for row in range(250, 300)]
    assert sorted(map(_bytes, held_out)) == sorted(map(_bytes, expected))


def _bytes(values):
    return np.asarray(values).tobytes()


def test_rows_that_failed_are_left_out():
    def sometimes(theta, rng):
        x = shift(theta, rng)
        x[::20] = np.nan
        return x

    bank = bank_of(rows=1_200, simulate=sometimes)
    bad = int((bank.status != 0).sum())
    with pytest.warns(UserWarning, match=f"{bad} of 1200 simulations are unusable"):
        posterior = sk.fit(bank, seed=2, **SMALL)
    assert posterior.history["training_rows"] + posterior.history["validation_rows"] == 1_200 - bad
    with pytest.raises(BadValue, match="at most 1% of the simulations unusable"):
        sk.fit(bank, seed=2, bad_share=0.01, **SMALL)


@pytest.mark.parametrize("rows", [1, 10, 49])
def test_too_few_simulations_are_refused_and_enough_are_named(rows):
    text = rf"50 usable simulations at least, .*; got {rows}; simulate 1000 or more, 20,000 for"
    with pytest.raises(BadValue, match=text):
        sk.fit(quiet(lambda: bank_of(rows)), seed=2, **SMALL)


@pytest.mark.parametrize("rows", [50, 200, 999])
def test_few_simulations_are_warned_of(rows):
    with pytest.warns(UserWarning, match=f"{rows} simulations give a rough posterior") as told:
        posterior = sk.fit(bank_of(rows), seed=2, **SMALL)
    assert told[0].filename == __file__
    draws = quiet(lambda: posterior.sample(X, draws=20, seed=1))
    assert np.isfinite(draws).all()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"batch_size": 0}, BadValue, "Expected batch_size as an integer >= 1; got 0"),
        ({"batch_size": 2.5}, BadType, "batch_size as an integer"),
        ({"steps": 0}, BadValue, "Expected steps as an integer >= 1; got 0"),
        ({"steps": 1.5}, BadType, "steps as an integer"),
        ({"learning_rate": -1}, BadValue, "learning_rate as a finite number > 0; got -1"),
        ({"learning_rate": 0}, BadValue, "learning_rate as a finite number > 0; got 0"),
        ({"learning_rate": np.inf}, BadValue, "learning_rate as a finite number"),
        ({"patience": 0}, BadValue, "patience as an integer >= 1"),
        (
            {"validation_share": 0},
            BadValue,
            r"validation_share as a finite number in \[0.01, 0.5\]",
        ),
        ({"validation_share": 0.9}, BadValue, "validation_share"),
        ({"width": 0}, BadValue, "width as an integer"),
        ({"hidden": 1.5}, BadType, "hidden as an integer"),
        ({"blocks": 0}, BadValue, "blocks as an integer"),
        ({"bad_share": 2}, BadValue, "bad_share"),
        ({"seed": -1}, BadValue, "seed as an integer >= 0"),
        ({"seed": 1.5}, BadType, "seed as an integer"),
        (
            {"summary": "deepset"},
            UnknownName,
            r"deep_set, deep_set_twice, gru, .*; got 'deepset'; did you mean 'deep_set'",
        ),
        ({"summary": 3}, UnknownName, "name of a summary network"),
        ({"learning_rte": 1}, TypeError, "learning_rte"),
    ],
)
def test_bad_arguments_are_refused(bank, arguments, error, text):
    with pytest.raises(error, match=text):
        sk.fit(bank, **({"seed": 2} | SMALL | arguments))


def test_what_is_no_bank_is_refused(tmp_path):
    with pytest.raises(
        BadType, match=r"a bank of simulations; got str; pass what simulate or Bank\.open"
    ):
        sk.fit("banks/flu", seed=1)


def test_the_identity_needs_a_fixed_size(set_bank):
    text = (
        "fixed number of observations for the summary 'identity'; got 3 to 9; "
        "choose .*'deep_set_twice'"
    )
    with pytest.raises(BadValue, match=text):
        sk.fit(set_bank, seed=2, summary="identity", **SMALL)


@pytest.mark.parametrize("summary", sorted(set(SUMMARIES) - {"two_way"}))
def test_every_summary_fits_a_fixed_series(summary):
    data = sk.Series(columns=("x", "y"), n=4)
    posterior = sk.fit(bank_of(simulate=sets, data=data), seed=2, summary=summary, **SMALL)
    draws = posterior.sample(np.array([[0, 4], [2, 5], [0, 6], [2, 5]]), draws=500, seed=1)[0]
    assert np.abs(draws.mean(0) - [0.8, 4.8]).max() < 0.8


# Features of every kind


def test_a_constant_feature_is_named_and_does_no_harm():
    def more(theta, rng):
        return np.column_stack([shift(theta, rng), np.full(len(theta), 7.0)])

    bank = bank_of(simulate=more, data=sk.Vector(columns=("x", "y", "always")))
    with pytest.warns(UserWarning, match="Constant in all simulations.*: always") as told:
        posterior = sk.fit(bank, seed=2, **SMALL)
    assert told[0].filename == __file__
    draws = posterior.sample([[1.0, 5.0, 7.0]], draws=500, seed=1)[0]
    assert np.abs(draws.mean(0) - [0.8, 4.9]).max() < 0.5


def test_an_element_of_a_series_that_never_changes_is_named():
    def start(theta, rng, n):
        x = sets(theta, rng, n)
        x[:, 0, 1] = 0
        return x

    bank = bank_of(simulate=start, data=sk.Series(columns=("x", "y"), n=4))
    with pytest.warns(UserWarning, match=r"without information: y\[0\]\."):
        sk.fit(bank, seed=2, **(SMALL | {"steps": 8}))


@pytest.mark.parametrize("scale", [2.0**40, 2.0**-40])
def test_features_of_any_scale_give_the_same_posterior(posterior, scale):
    bank = bank_of(simulate=lambda theta, rng: scale * shift(theta, rng))
    scaled = sk.fit(bank, seed=2, **SMALL)
    assert weights_of(scaled) == weights_of(posterior)
    one, two = scaled.sample(scale * X, draws=20, seed=1), posterior.sample(X, draws=20, seed=1)
    assert np.array_equal(one, two)


def test_features_of_scale_1e12_give_nearly_the_same_posterior(posterior):
    bank = bank_of(simulate=lambda theta, rng: 1e12 * shift(theta, rng) + 1e9)
    scaled = sk.fit(bank, seed=2, **SMALL)
    one = scaled.sample(1e12 * X + 1e9, draws=4_000, seed=1)
    two = posterior.sample(X, draws=4_000, seed=1)
    spread = two.std(1)
    assert (np.abs(one.mean(1) - two.mean(1)) / spread).max() < 0.1
    assert np.abs(one.std(1) / spread - 1).max() < 0.1


def test_one_parameter_one_feature_one_observation():
    layouts = (
        (sk.Vector(columns=("x",)), None),
        (sk.Series(columns=("x",), n=1), "gru"),
        (sk.Exchangeable(columns=("x",), n=1), "deep_set"),
    )
    for data, summary in layouts:

        def one(theta, rng, n=None):
            x = theta + 0.5 * rng.standard_normal(theta.shape)
            return x if n is None else x[:, None]

        bank = bank_of(simulate=one, prior=sk.Prior(a=sk.Normal(0, 1)), data=data)
        posterior = sk.fit(bank, seed=2, summary=summary, **(SMALL | {"steps": 300}))
        draws = posterior.sample([1.0], draws=2_000, seed=1)
        assert draws.shape == (1, 2_000, 1)
        assert abs(draws.mean() - 0.8) < 0.15
        assert abs(draws.std() / np.sqrt(0.2) - 1) < 0.2


# Kill and resume


class Killed(Exception):
    pass


@pytest.mark.parametrize(("which", "window"), [("bank", None), ("set_bank", None), ("bank", 2_000)])
def test_a_killed_fit_resumes_to_the_same_bytes(which, window, request, tmp_path, monkeypatch):
    bank = request.getfixturevalue(which)
    if window:
        batches = functools.partial(BankBatches, window=window)
        monkeypatch.setattr("sbi_kit.fitting.BankBatches", batches)
    whole = sk.fit(bank, seed=2, **SMALL)
    for kill in (20, 60, whole.history["steps_done"]):

        def interrupt(report, kill=kill):
            if report.step >= kill:
                raise Killed

        with pytest.raises(Killed):
            sk.fit(bank, seed=2, checkpoint=tmp_path / "c", progress=interrupt, **SMALL)
        resumed = sk.fit(bank, seed=2, checkpoint=tmp_path / "c", **SMALL)
        assert weights_of(resumed) == weights_of(whole)
        assert resumed.history == whole.history
        (tmp_path / "c").unlink()


def test_a_checkpoint_of_other_data_or_settings_is_refused(bank, tmp_path):
    file = tmp_path / "c"
    sk.fit(bank, seed=2, checkpoint=file, **SMALL)
    others = {
        "seed": (bank, {"seed": 3}),
        "settings": (bank, {"learning_rate": 1e-3}),
        "length": (bank, {"steps": 160}),
        "size": (bank, {"width": 17}),
        "bank": (bank_of(seed=5), {}),
        "rows": (bank_of(rows=1_001), {}),
        "simulator": (bank_of(simulate=lambda theta, rng: 2 * shift(theta, rng)), {}),
    }
    for name, (data, changes) in others.items():
        with pytest.raises(
            BadValue, match=r"the checkpoint of this very run; got .* of other data"
        ):
            sk.fit(data, **({"seed": 2, "checkpoint": file} | SMALL | changes))
        assert file.exists(), name


def test_kill_9_in_the_middle_and_resume(tmp_path):
    sk.simulate(make(), 1_000, seed=1, path=tmp_path / "bank")
    settings = SMALL | {"steps": 800}
    script = f"""
        import time, sbi_kit as sk
        sk.fit(
            sk.Bank.open({str(tmp_path / "bank")!r}),
            seed=2,
            checkpoint={str(tmp_path / "c")!r},
            progress=lambda report: time.sleep(0.2),
            **{settings!r},
        )
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    deadline = time.monotonic() + 120
    while not (tmp_path / "c").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    whole = sk.fit(sk.Bank.open(tmp_path / "bank"), seed=2, **settings)
    steps = []
    resumed = sk.fit(
        sk.Bank.open(tmp_path / "bank"),
        seed=2,
        checkpoint=tmp_path / "c",
        progress=lambda report: steps.append(report.step),
        **settings,
    )
    assert min(steps) > whole.history["evaluations"][0][0]  # it did go on, not start again
    assert weights_of(resumed) == weights_of(whole)
    assert (
        resumed.sample(X, draws=50, seed=1).tobytes() == whole.sample(X, draws=50, seed=1).tobytes()
    )


# Recovery of exact posteriors, with default settings unless a test says otherwise


def test_a_sharp_posterior_beside_a_parameter_the_data_do_not_see():
    def narrow(theta, rng):
        return theta[:, :2] + 0.02 * rng.standard_normal((len(theta), 2))

    prior = sk.Prior(a=sk.Normal(0, 1), b=sk.Normal(0, 1), unseen=sk.Normal(0, 1))
    posterior = sk.fit(bank_of(40_000, simulate=narrow, prior=prior), seed=2, steps=3_000)
    rng = np.random.default_rng(0)
    x = narrow(rng.standard_normal((300, 3)), rng)
    draws = quiet(lambda: posterior.sample(x, draws=4_000, seed=3))
    expect_sharp(draws[..., :2], x)
    expect_prior(draws[..., 2])
    assert np.abs(correlations(draws)).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_a_posterior_fifty_times_narrower_than_its_prior(seed):
    def narrow(theta, rng):
        return theta + 0.02 * rng.standard_normal(theta.shape)

    posterior = sk.fit(bank_of(20_000, simulate=narrow, prior=STANDARD), seed=seed)
    rng = np.random.default_rng(0)
    x = narrow(rng.standard_normal((300, 2)), rng)
    draws = quiet(lambda: posterior.sample(x, draws=4_000, seed=3))
    expect_sharp(draws, x)
    assert np.abs(correlations(draws)).max() < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_a_parameter_the_data_do_not_see_keeps_its_prior(seed):
    def of_a(theta, rng):
        return theta[:, :1] + 0.1 * rng.standard_normal((len(theta), 2))

    posterior = sk.fit(bank_of(20_000, simulate=of_a, prior=STANDARD), seed=seed)
    rng = np.random.default_rng(0)
    x = of_a(rng.standard_normal((300, 2)), rng)
    draws = quiet(lambda: posterior.sample(x, draws=4_000, seed=3))
    assert abs(draws[..., 0].std(1).mean() / np.sqrt(1 / 201) - 1) < 0.05
    expect_prior(draws[..., 1])
    assert np.abs(correlations(draws)).max() < 0.05


STANDARD = sk.Prior(a=sk.Normal(0, 1), b=sk.Normal(0, 1))


def expect_sharp(draws, x):
    """Draws (b, s, 2) follow N(x / (1 + .02²), .02² / (1 + .02²))."""
    sd = 0.02 / np.sqrt(1 + 0.02**2)
    ratio = draws.std(1) / sd
    off = (draws.mean(1) - x / (1 + 0.02**2)) / sd
    assert np.abs(ratio.mean(0) - 1).max() < 0.05
    assert np.quantile(np.abs(ratio - 1), 0.9) < 0.1
    assert np.sqrt(np.square(off).mean()) < 0.15


def expect_prior(draws):
    """Draws (b, s) follow N(0, 1), whatever the dataset."""
    assert abs(draws.mean()) < 0.05
    assert np.sqrt(np.square(draws.mean(1)).mean()) < 0.05
    assert abs(draws.std(1).mean() - 1) < 0.03


def correlations(draws):
    """Mean correlation of each pair of parameters over datasets."""
    d = draws.shape[-1]
    return np.mean([np.corrcoef(each.T)[np.triu_indices(d, 1)] for each in draws], axis=0)


def test_two_modes_of_one_parameter():
    def squared(theta, rng):
        return theta**2 + 0.3 * rng.standard_normal(theta.shape)

    prior = sk.Prior(a=sk.Normal(0, 1))
    bank = bank_of(20_000, simulate=squared, prior=prior, data=sk.Vector(columns=("x",)))
    posterior = sk.fit(bank, seed=2, steps=2_000)
    grid = np.linspace(-4, 4, 2_001)
    x = np.array([[-0.2], [0.0], [0.3], [0.6], [1.0], [1.5], [2.0], [3.0]])
    log_p = -0.5 * grid**2 - 0.5 * ((x - grid**2) / 0.3) ** 2  # (x, grid)
    log_p -= np.log(np.trapezoid(np.exp(log_p), grid))[:, None]
    log_q = quiet(lambda: posterior.log_prob(np.tile(grid[:, None], (len(x), 1, 1)), x))
    divergence = np.trapezoid(np.exp(log_p) * (log_p - log_q), grid)
    assert divergence.min() > -1e-3
    assert divergence.max() < 0.05
    draws = quiet(lambda: posterior.sample(x, draws=8_000, seed=3))[..., 0]
    assert np.abs((draws > 0).mean(1) - 0.5).max() < 0.06
    exact = np.trapezoid(np.exp(log_p) * np.abs(grid), grid)
    assert np.abs(np.abs(draws).mean(1) - exact).max() < 0.05


def mean_of_normals(theta, rng, n):
    return theta[:, None] + rng.standard_normal((len(theta), n, 1))


def ratios_by_size(posterior):
    """Posterior sd over the exact one, and how far off the mean is in exact sds, by n."""
    rng, found = np.random.default_rng(0), {}
    for n in (5, 20, 50):
        x = mean_of_normals(rng.standard_normal((300, 1)), rng, n)
        draws = quiet(lambda x=x: posterior.sample(x, draws=2_000, seed=3))[..., 0]
        sd = 1 / np.sqrt(1 + n)
        off = (draws.mean(1) - x.sum(1)[:, 0] / (1 + n)) / sd
        found[n] = float((draws.std(1) / sd).mean()), float(np.sqrt(np.square(off).mean()))
    return found


def mean_bank(rows):
    return bank_of(
        rows,
        simulate=mean_of_normals,
        prior=sk.Prior(mu=sk.Normal(0, 1)),
        data=sk.Exchangeable(columns=("x",), n=(5, 50)),
    )


def test_the_width_follows_the_number_of_observations():
    # Half as wide as by default, for a quarter of the steps: the defaults would take a minute.
    posterior = sk.fit(mean_bank(8_000), seed=2, width=64, hidden=32, steps=1_500)
    found = ratios_by_size(posterior)
    assert max(abs(ratio - 1) for ratio, _ in found.values()) < 0.05, found
    assert max(off for _, off in found.values()) < 0.15, found


def uniform_to(theta, rng, n):
    return theta[:, None] * rng.uniform(size=(len(theta), n, 1))


def test_a_set_shows_where_its_distribution_ends():
    """The posterior given n values below the end is end^-n from the largest on, and sharp there."""
    data, prior = sk.Exchangeable(columns=("x",), n=(20, 100)), sk.Prior(end=sk.Uniform(1, 3))
    bank = bank_of(3_000, simulate=uniform_to, prior=prior, data=data)
    posterior = sk.fit(bank, seed=2, steps=600)
    rng = np.random.default_rng(0)
    theta = prior.sample(1_000, rng)
    for n in (20, 100):
        x = uniform_to(theta, rng, n)
        largest, power = x.max(axis=(1, 2)), 1.0 - n
        mass = (3**power - largest**power) / power
        mean = (3 ** (power + 1) - largest ** (power + 1)) / (power + 1) / mass
        draws = quiet(lambda x=x: posterior.sample(x, draws=500, seed=3))[..., 0]
        assert np.sqrt(np.square(draws.mean(1) - mean).mean()) < 0.025
        log_q = quiet(lambda x=x: posterior.log_prob(theta, x))
        gap = -n * np.log(theta[:, 0]) - np.log(mass) - log_q
        assert gap.mean() < 0.8


def crossed(theta, rng, n):
    """A mean, an effect of each row, one of each of six columns, and noise."""
    rows, columns, noise = (rng.standard_normal((len(theta), *s)) for s in ((n, 1), (1, 6), (n, 6)))
    return theta[:, None] + rows + 0.5 * columns + 0.3 * noise


def test_a_matrix_gives_the_exact_posterior_of_its_mean(tmp_path):
    data = sk.Matrix(columns=tuple("abcdef"), n=(3, 12))
    bank = bank_of(6_000, simulate=crossed, prior=sk.Prior(mu=sk.Normal(0, 1)), data=data)
    posterior = sk.fit(bank, seed=2, width=64, hidden=32, steps=2_500)
    assert posterior.architecture.summary == "two_way"
    rng = np.random.default_rng(0)
    for n in (3, 12):
        x = crossed(rng.standard_normal((300, 1)), rng, n)
        draws = quiet(lambda x=x: posterior.sample(x, draws=1_000, seed=3))[..., 0]
        variance = 1 / n + 0.25 / 6 + 0.09 / (6 * n)  # of the grand mean
        sd = np.sqrt(variance / (1 + variance))
        off = (draws.mean(1) - x.mean((1, 2)) / (1 + variance)) / sd
        assert abs(draws.std(1).mean() / sd - 1) < 0.06
        assert np.sqrt(np.square(off).mean()) < 0.2
    posterior.save(tmp_path / "crossed")
    shuffled = x[:, rng.permutation(12)][:, :, rng.permutation(6)]
    again = sk.load(tmp_path / "crossed").sample(shuffled, draws=1_000, seed=3)[..., 0]
    np.testing.assert_allclose(again, draws, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("summary", "layout"), [(s, need.__name__) for s, need in NEEDED.items()])
def test_a_summary_that_needs_an_order_or_columns_alike_refuses_a_set(set_bank, summary, layout):
    text = f"laid out as a {layout} for the summary '{summary}'; got Exchangeable; choose .*'deep_"
    with pytest.raises(BadValue, match=text):
        sk.fit(set_bank, seed=2, summary=summary, **SMALL)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_the_width_follows_the_number_of_observations_by_default(seed):
    found = ratios_by_size(sk.fit(mean_bank(20_000), seed=seed))
    assert max(abs(ratio - 1) for ratio, _ in found.values()) < 0.05, found
    assert max(off for _, off in found.values()) < 0.15, found
