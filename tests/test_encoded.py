"""A fitted encoder as the summary network of a posterior."""

import numpy as np
import pytest
import torch
from torch import nn

import sbi_kit as sk
from sbi_kit.checks import BadValue, UnknownName
from sbi_kit.latent import PCA, PPCA, VAE
from sbi_kit.summary.encoded import encode, layers_of, standardizer_from

NOISE = 0.3
MIXING = np.random.default_rng(0).normal(size=(2, 12))


def simulate(theta, rng, n):
    rows = theta @ MIXING
    return 100 + rows.reshape(len(theta), n, 3) + NOISE * rng.normal(size=(len(theta), n, 3))


MODEL = sk.Simulator(
    name="mixed",
    prior=sk.Prior(a=sk.Normal(0, 1), b=sk.Normal(0, 1)),
    data=sk.Series(columns=("x", "y", "z"), n=4),
    simulate=simulate,
)


@pytest.fixture(scope="module")
def bank():
    return sk.simulate(MODEL, 4_000, seed=1)


@pytest.fixture(scope="module")
def rows(bank):
    return bank.table()


def exact(x):
    """Mean and covariance of the posterior given rows x (b, 12)."""
    covariance = np.linalg.inv(np.eye(2) + MIXING @ MIXING.T / NOISE**2)
    return (x - 100) @ MIXING.T @ covariance / NOISE**2, covariance


def test_codes_of_principal_components_suffice_for_the_posterior(bank, rows, tmp_path):
    model = PPCA(components=2).fit(rows)
    posterior = sk.fit(bank, seed=2, summary=model, steps=800, width=16, hidden=16)
    assert posterior.encoder.summary == "identity"
    assert posterior.architecture.inputs == 2
    _, x = sk.simulate(MODEL, 200, seed=5).take(np.arange(200))
    draws = posterior.sample(x, draws=500, seed=3)
    mean, covariance = exact(x.values.reshape(200, 12))
    sd = np.sqrt(np.diag(covariance))
    assert np.abs((draws.mean(1) - mean) / sd).mean() < 0.25
    np.testing.assert_allclose(draws.std(1).mean(0), sd, rtol=0.2)
    posterior.save(tmp_path / "p")
    again = sk.load(tmp_path / "p")
    same = [one.sample(x, draws=20, seed=3) for one in (posterior, again)]
    np.testing.assert_array_equal(*same)
    with pytest.warns(UserWarning, match="unlike everything simulated"):
        again.sample(x.values[:1] + 50, draws=5, seed=1)


@pytest.mark.parametrize(
    "model",
    [
        PCA(components=3),
        VAE(components=2, hidden=(8,), activation="tanh", steps=20),
        VAE(components=2, hidden=(8, 4), activation="silu", steps=20),
        VAE(components=2, hidden=(8,), activation="relu", steps=20),
    ],
    ids=lambda model: f"{type(model).__name__} {getattr(model, 'activation', '')}",
)
def test_codes_are_those_of_the_model(model, rows):
    fitted = model.fit(rows)
    weights, biases, activation = layers_of(fitted, 12)
    codes = encode(rows[:50], weights, biases, activation)
    spread = codes.std(0).max()
    np.testing.assert_allclose(codes, fitted.encode(rows[:50]), atol=2e-3 * spread)
    beside = encode(np.hstack([rows[:50], rows[:50, :2]]), weights, biases, activation)
    np.testing.assert_array_equal(beside[:, -2:], rows[:50, :2])


def test_context_stands_beside_the_codes():
    model = sk.Simulator(
        name="known",
        prior=MODEL.prior,
        data=sk.Series(columns=("x", "y", "z"), n=4, context=sk.Prior(gain=sk.Uniform(1, 2))),
        simulate=lambda theta, rng, n, context: simulate(theta * context, rng, n),
    )
    bank = sk.simulate(model, 3_000, seed=1)
    pca = PCA(components=2).fit(bank.table())
    posterior = sk.fit(bank, seed=2, summary=pca, steps=800, width=16, hidden=16)
    assert posterior.architecture.inputs == 3
    x = simulate(np.array([[1.0, -1.0]]) * 1.5, np.random.default_rng(3), 4)
    for gain in (1.3, 1.7):
        draws = posterior.sample(x, draws=500, seed=3, context={"gain": gain})[0]
        np.testing.assert_allclose(draws.mean(0), np.array([1.5, -1.5]) / gain, atol=0.25)


def test_a_resumed_training_is_that_of_the_same_encoder(bank, rows, tmp_path):
    settings = {"seed": 2, "steps": 20, "width": 8, "hidden": 8, "checkpoint": tmp_path / "c"}
    sk.fit(bank, summary=PCA(components=2).fit(rows), **settings)
    with pytest.raises(BadValue, match="the checkpoint of this very run"):
        sk.fit(bank, summary=PCA(components=2).fit(rows[:3_000]), **settings)


class Odd:
    """An encoder of other parts."""

    def __init__(self, *parts):
        self.parts = parts

    def encoder(self):
        return nn.Sequential(*self.parts)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((nn.Linear(12, 4), nn.GELU(), nn.Linear(4, 2)), "between them; got Linear, GELU, Linear"),
        ((nn.Linear(12, 4), nn.ReLU(), nn.Tanh()), "got Linear, ReLU, Tanh; use a model of"),
        (
            (nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)),
            "with one of relu, silu, tanh between them",
        ),
        ((nn.Linear(3, 2),), "an encoder of datasets with 12 numbers; got one of rows with 3; fit"),
    ],
)
def test_other_encoders_are_refused(bank, parts, message):
    with pytest.raises(BadValue, match=message):
        sk.fit(bank, seed=1, summary=Odd(*parts), steps=5)


def test_other_summaries_are_refused(bank):
    with pytest.raises(UnknownName, match=r"name of a summary network .*; got <class"):
        sk.fit(bank, seed=1, summary=PCA, steps=5)
    with pytest.raises(BadValue, match="fit"):
        sk.fit(bank, seed=1, summary=PCA(components=2), steps=5)
    ragged = sk.Simulator(
        name="ragged",
        prior=MODEL.prior,
        data=sk.Exchangeable(columns=("x",), n=(3, 5)),
        simulate=lambda theta, rng, n: theta[:, None, :1] + rng.normal(size=(len(theta), n, 1)),
    )
    with pytest.raises(BadValue, match="a fixed number of observations for the summary 'identity'"):
        sk.fit(sk.simulate(ragged, 1_200, seed=1), seed=1, summary=Odd(nn.Linear(3, 2)), steps=5)


def test_an_encoder_without_biases_has_zeros_and_arrays_restore_it():
    layer = nn.Linear(4, 2, bias=False)
    weights, biases, activation = layers_of(Odd(layer), 4)
    np.testing.assert_array_equal(biases[0], [0, 0])
    x = np.random.default_rng(0).normal(size=(5, 4))
    with torch.inference_mode():
        expected = layer(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(encode(x, weights, biases, activation), expected, atol=1e-6)
    with pytest.raises(LookupError):
        standardizer_from({}, "sigmoid")
