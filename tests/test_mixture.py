import dataclasses
import hashlib
import json
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch
from scipy.special import logsumexp

import sbi_kit as sk
from sbi_kit import learning, mixture
from sbi_kit.checkpoint import read_checkpoint
from sbi_kit.checks import BadType, BadValue
from sbi_kit.data import read
from sbi_kit.posterior_file import DOCUMENT, WEIGHTS

QUICK = {"steps": 30, "width": 12, "hidden": 8, "blocks": 1, "members": 1}
PRIOR = sk.Prior(a=sk.Normal(0, 1), b=sk.LogNormal(0, 0.5))
X = np.array([[0.3, 1.0], [1.0, 2.0], [-0.4, 0.7]])


def bank_of(rows=400):
    model = sk.Simulator(
        name="two",
        prior=PRIOR,
        data=sk.Vector(columns=("x", "y")),
        simulate=lambda theta, rng: theta + 0.5 * rng.standard_normal(theta.shape),
    )
    return sk.simulate(model, rows, seed=1)


def fit(bank, **settings):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "400 simulations give a rough posterior")
        return sk.fit(bank, seed=2, **(QUICK | settings))


@pytest.fixture(scope="module")
def bank():
    return bank_of()


@pytest.fixture(scope="module")
def ensemble(bank):
    return fit(bank, members=3)


@pytest.fixture(scope="module")
def data(ensemble):
    """As datasets, whose likeness to simulations was seen to before."""
    return read(X, ensemble.data)


@pytest.fixture(scope="module")
def alone(ensemble):
    """The posteriors of each member."""
    return [
        dataclasses.replace(
            ensemble, encoder=dataclasses.replace(ensemble.encoder, networks=(network,))
        )
        for network in ensemble.encoder.networks
    ]


def weights_of(network):
    return b"".join(weight.numpy().tobytes() for weight in network.state_dict().values())


def makers(ensemble, alone, data, draws):
    """Which member made each draw, (b, draws): all make theirs from the same noise."""
    together = ensemble.sample(data, draws=draws, seed=3)
    each = np.stack([one.sample(data, draws=draws, seed=3) for one in alone])
    same = np.isclose(each, together, rtol=1e-4, atol=1e-6).all(-1)
    assert (same.sum(0) == 1).all()
    return same.argmax(0)


# What members share and in what they differ


def test_the_first_member_is_a_fit_of_one_and_the_others_are_others(bank, ensemble):
    weights = [weights_of(network) for network in ensemble.encoder.networks]
    one = fit(bank)
    assert weights_of(one.encoder.network) == weights[0]
    assert len(set(weights)) == 3
    assert one.history["seed"] == ensemble.history["members"][0]["seed"] == 2
    seeds = [member["seed"] for member in ensemble.history["members"]]
    assert len(set(seeds)) == 3
    assert [weights_of(n) for n in fit(bank, members=3).encoder.networks] == weights


def test_each_member_is_validated_on_other_rows_and_trained_on_the_rest(bank, monkeypatch):
    seen = []

    def spy(network, loss, batches, recipe, **rest):
        rows = batches.bank_rows
        seen.append((set(rows[: batches.trained].tolist()), set(rows[batches.trained :].tolist())))
        return train(network, loss, batches, recipe, **rest)

    train = learning.train
    monkeypatch.setattr(learning, "train", spy)
    fit(bank, members=11)
    for training, validation in seen:
        assert len(validation) == 40
        assert training | validation == set(range(400))
        assert training.isdisjoint(validation)
    held_out = [validation for _, validation in seen]
    assert set().union(*held_out[:10]) == set(range(400))  # every row once
    assert held_out[10] == held_out[0]


# The mixture


def test_the_density_is_the_mean_of_the_members_densities(ensemble, alone, data):
    theta = PRIOR.sample(30, np.random.default_rng(1)).reshape(3, 10, 2)
    theta[0, 0, 1] = -1.0
    each = np.stack([one.log_prob(theta, data) for one in alone])
    expected = logsumexp(each, axis=0) - np.log(3)
    found = ensemble.log_prob(theta, data)
    assert found[0, 0] == -np.inf
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(each[0, 1] - each[1, 1]).max() > 0.01
    single = ensemble.log_prob(theta[:, 3], data)
    np.testing.assert_allclose(single, expected[:, 3], rtol=1e-5, atol=1e-5)


def test_every_draw_is_a_members_and_all_have_equal_shares_from_the_first_on(ensemble, alone, data):
    made = makers(ensemble, alone, data, draws=301)
    assert (made == made[0]).all()  # whatever the dataset
    counts = np.cumsum(made[0][:, None] == np.arange(3), axis=0)
    assert (counts.max(1) - counts.min(1) <= 1).all()
    triples = {tuple(triple) for triple in made[0][:300].reshape(-1, 3).tolist()}
    assert len(triples) == 6  # in every order


def test_fewer_draws_are_the_first_of_more(ensemble, data):
    many = ensemble.sample(data.take([0]), draws=50, seed=3)
    few = ensemble.sample(data.take([0]), draws=20, seed=3)
    np.testing.assert_allclose(few, many[:, :20], rtol=1e-4, atol=1e-6)


def test_draws_depend_neither_on_neighbours_nor_on_chunks(ensemble, data, monkeypatch):
    whole = ensemble.sample(data, draws=100, seed=3)
    log_q = ensemble.log_prob(whole, data)
    other = ensemble.sample(data.take([0, 2, 2]), draws=100, seed=3)
    np.testing.assert_allclose(other[[0, 2]], whole[[0, 2]], rtol=1e-3, atol=1e-5)
    for chunk in (1, 30, 250):
        monkeypatch.setattr(mixture, "_CHUNK", chunk)
        found = ensemble.sample(data, draws=100, seed=3)
        np.testing.assert_allclose(found, whole, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(ensemble.log_prob(whole, data), log_q, rtol=1e-3, atol=1e-3)


def test_the_validation_loss_is_the_mean_of_the_members_on_their_own_rows(bank, ensemble, alone):
    order = np.concatenate(learning._split(np.arange(400), 0.1, 2)[::-1])

    def loss(posterior, rows):
        theta, x = bank.take(rows)
        u = PRIOR.whiten(theta)
        log_normal = -0.5 * (np.square(u).sum(-1) + 2 * np.log(2 * np.pi))
        return -np.mean(posterior.log_prob(theta, x) - PRIOR.log_prob(theta) + log_normal)

    history = ensemble.history
    each = [member["validation_loss"] for member in history["members"]]
    folds = [order[40 * k : 40 * (k + 1)] for k in range(3)]
    losses = [loss(one, rows) for one, rows in zip(alone, folds, strict=True)]
    assert each == pytest.approx(losses, abs=1e-4)
    assert history["validation_loss"] == pytest.approx(np.mean(each))
    assert history["steps_done"] == sum(member["steps_done"] for member in history["members"])


def test_strange_data_are_judged_by_what_all_members_see(ensemble, data):
    summaries = ensemble.encoder.summarise(data)
    assert summaries.shape == (3, 3 * QUICK["width"])
    moved = summaries.clone()
    moved[:, 2 * QUICK["width"] :] += 10 * summaries.abs().max()
    seen = [ensemble.encoder.describe(data, part) for part in (summaries, moved)]
    scores = [ensemble.familiarity.score(part) for part in seen]
    assert (scores[1] > 3 * scores[0]).all()
    with pytest.warns(UserWarning, match="is unlike everything simulated"):
        ensemble.sample([[1e4, -1e4]], draws=5, seed=1)


# Files


def test_what_is_loaded_draws_the_same(ensemble, tmp_path):
    ensemble.save(tmp_path / "p")
    document = json.loads((tmp_path / "p" / DOCUMENT).read_text())
    assert document["members"] == 3
    assert document["training"]["members"] == ensemble.history["members"]
    tensors = safetensors.torch.load_file(tmp_path / "p" / WEIGHTS)
    parts = {name.partition(".")[0] for name in tensors}
    assert parts == {"network_0", "network_1", "network_2", "standardizer", "familiarity"}
    same = sk.load(tmp_path / "p")
    assert same.history == ensemble.history
    one, two = (p.sample(X, draws=40, seed=1) for p in (ensemble, same))
    assert one.tobytes() == two.tobytes()
    assert ensemble.log_prob(one, X).tobytes() == same.log_prob(one, X).tobytes()


def test_one_member_has_no_number_in_its_file(bank, tmp_path):
    fit(bank, members=1).save(tmp_path / "p")
    document = json.loads((tmp_path / "p" / DOCUMENT).read_text())
    assert "members" not in document
    assert "members" not in document["training"]
    tensors = safetensors.torch.load_file(tmp_path / "p" / WEIGHTS)
    parts = {name.partition(".")[0] for name in tensors}
    assert parts == {"network", "standardizer", "familiarity"}


@pytest.mark.parametrize(
    "change", ["fewer", "more", "none", "text", "huge", "missing", "shape", "extra", "familiarity"]
)
def test_members_that_do_not_fit_are_refused(ensemble, tmp_path, change):
    folder = tmp_path / "p"
    ensemble.save(folder)
    document = json.loads((folder / DOCUMENT).read_text())
    tensors = safetensors.torch.load_file(folder / WEIGHTS)
    name = next(name for name in tensors if name.startswith("network_2."))
    counts = {"fewer": 2, "more": 4, "none": 0, "text": "3", "huge": 10**12}
    document["members"] = counts.get(change, 3)
    if change == "missing":
        tensors.pop(name)
    elif change == "shape":
        tensors[name] = torch.zeros(7)
    elif change == "extra":
        tensors["network_3.flow"] = torch.zeros(2)
    elif change == "familiarity":
        tensors["familiarity.center"] = tensors["familiarity.center"][:12].clone()
    weights = safetensors.torch.save(tensors)
    document.pop("digest")
    document["weights"] = hashlib.sha256(weights).hexdigest()
    text = json.dumps(document, sort_keys=True).encode()
    document["digest"] = hashlib.sha256(text).hexdigest()
    (folder / DOCUMENT).write_text(json.dumps(document))
    (folder / WEIGHTS).write_bytes(weights)
    with pytest.raises(BadValue, match="whose parts fit each other"):
        sk.load(folder)


# Training


class Killed(Exception):
    pass


@pytest.mark.parametrize(("member", "step"), [(0, 5), (1, 5), (1, 30), (2, 12)])
def test_a_killed_ensemble_resumes_to_the_same_bytes(bank, ensemble, member, step, tmp_path):
    def interrupt(report):
        if (report.member, report.step) >= (member, step):
            raise Killed

    with pytest.raises(Killed):
        fit(bank, members=3, checkpoint=tmp_path / "c", progress=interrupt)
    reports = []
    resumed = fit(bank, members=3, checkpoint=tmp_path / "c", progress=reports.append)
    assert {report.members for report in reports} == {3}
    done = [m for m in range(3) if (m, 30) <= (member, step)]  # none of these was run again
    assert {report.member for report in reports} == {0, 1, 2} - set(done)
    assert [weights_of(n) for n in resumed.encoder.networks] == [
        weights_of(n) for n in ensemble.encoder.networks
    ]
    assert resumed.history == ensemble.history | {"members": resumed.history["members"]}
    for part in range(3):
        tensors, notes = read_checkpoint(tmp_path / "c", part=part)
        assert {name.partition(".")[0] for name in tensors} == {"best"}
        assert notes["state"]["step"] == 30
    assert read_checkpoint(tmp_path / "c", part=3) is None


def test_members_share_the_time_in_equal_parts(bank):
    posterior = fit(bank, members=2, seconds=600)
    assert posterior.history["seconds"] == 300


@pytest.mark.parametrize(
    ("members", "error", "text"),
    [
        (0, BadValue, "Expected members as an integer >= 1; got 0"),
        (-2, BadValue, "members as an integer >= 1; got -2"),
        (1.5, BadType, "members as an integer >= 1; got 1.5"),
    ],
)
def test_a_number_of_members_that_is_none_is_refused(bank, members, error, text):
    with pytest.raises(error, match=text):
        fit(bank, members=members)
