"""Importance correction against posteriors known in closed form and by quadrature."""

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sbi_kit.checks import BadType, BadValue
from sbi_kit.data import Datasets, Vector
from sbi_kit.importance import correct, weigh
from sbi_kit.inference import infer
from simulators.influenza import Influenza
from simulators.sir import SIR
from tests.benchmarks.influenza_reference import quadrature, summary

SD = 0.5


@dataclass
class Toy:
    """The exact posterior of two N(0, 1) seen with noise; its sd × ratio, plus shift sds."""

    ratio: float = 1.0
    shift: float = 0.0

    def __post_init__(self):
        self.prior = SimpleNamespace(names=("a", "b"), log_prob=lambda t: -0.5 * (t**2).sum(-1))

    def _normal(self, x):
        sd = SD / math.sqrt(1 + SD**2)
        return x.values[:, 0] / (1 + SD**2) + self.shift * sd, self.ratio * sd

    def sample(self, x, *, draws, seed):
        mean, sd = self._normal(x)
        z = np.random.default_rng(seed).normal(size=(len(x), draws, 2))
        return mean[:, None] + sd * z

    def log_prob(self, theta, x):
        mean, sd = self._normal(x)
        return (-0.5 * ((theta - mean[:, None]) / sd) ** 2 - math.log(sd)).sum(-1)


def likelihood(theta, x):
    return -0.5 * (((x.values[0] - theta) / SD) ** 2).sum(-1)


def datasets(*rows):
    return Datasets(np.array(rows, dtype=float)[:, None], np.ones(len(rows), np.int64))


X = datasets([0.3, -1.0], [2.0, 0.0], [1.0, 1.0])
EXACT_MEAN, EXACT_SD = X.values[:, 0] / (1 + SD**2), SD / math.sqrt(1 + SD**2)


@pytest.mark.parametrize("wrong", [Toy(1.3), Toy(1.0, 0.5), Toy(1.5, 0.5), Toy(0.9)])
def test_wrong_normals_are_moved_to_the_exact_posterior(wrong):
    found = correct(wrong, X, likelihood, draws=20_000, seed=1)
    assert found.reliable.all()
    error = EXACT_SD / np.sqrt(found.effective)[:, None]
    assert (np.abs(found.mean - EXACT_MEAN) < 4 * error).all()
    np.testing.assert_allclose(found.sd, EXACT_SD, rtol=0.04)
    np.testing.assert_allclose(found.draws.mean(1), found.mean, atol=0.01)
    np.testing.assert_allclose(found.draws.std(1), found.sd, rtol=0.02)
    np.testing.assert_allclose(found.weights.sum(1), 1)


def test_the_weights_are_the_ratio_of_densities():
    wide = Toy(1.4)
    found = correct(wide, X, likelihood, draws=2_000, seed=1)
    theta = wide.sample(X, draws=2_000, seed=1)
    raw = np.exp(Toy().log_prob(theta, X) - wide.log_prob(theta, X))
    raw /= raw.sum(1, keepdims=True)
    below = raw < np.quantile(raw, 0.8, axis=1, keepdims=True)  # what smoothing leaves alone
    ratio = found.weights / raw
    np.testing.assert_allclose(ratio[below], np.median(ratio), rtol=0.01)
    np.testing.assert_allclose(found.effective, 1 / (raw**2).sum(1), rtol=0.02)


def test_an_exact_posterior_stays_as_it_is():
    found = correct(Toy(), X, likelihood, draws=500, seed=1)
    np.testing.assert_allclose(found.weights, 1 / 500)
    np.testing.assert_array_equal(found.k_hat, 0)
    np.testing.assert_allclose(found.effective, 500)
    drawn = Toy().sample(X, draws=500, seed=1)
    # Stratified: equal weights take every draw about once.
    share = [len(np.unique(rows, axis=0)) for rows in found.draws]
    assert min(share) > 0.6 * 500
    np.testing.assert_allclose(found.draws.mean(1), drawn.mean(1), atol=4 * EXACT_SD / 500)


@pytest.mark.parametrize("wrong", [Toy(0.3), Toy(0.5, 3.0)])
def test_a_posterior_that_lacks_most_of_the_exact_one_is_not_trusted(wrong):
    found = correct(wrong, X, likelihood, draws=2_000, seed=1)
    assert not found.reliable.any()
    assert (found.k_hat > 0.7).all()
    assert "of 3 of 3 datasets is not reliable (k-hat" in found.sentence


def test_k_hat_is_that_of_the_weights_in_closed_form():
    # q of sd r < 1 in two dimensions: weights exp(z² (1 − r²) / 2) have a tail of shape 1 − r².
    for ratio in (0.8, 0.9):
        found = [correct(Toy(ratio), X, likelihood, draws=50_000, seed=s).k_hat for s in range(3)]
        assert np.mean(found) == pytest.approx(1 - ratio**2, abs=0.12)


def test_the_limit_falls_with_fewer_draws():
    found = correct(Toy(1.2), X, likelihood, draws=100, seed=1)
    assert found.limit == pytest.approx(0.5)
    assert correct(Toy(1.2), X, likelihood, draws=5_000, seed=1).limit == 0.7
    assert replace(found, k_hat=np.array([0.49, 0.5, 0.6])).reliable.tolist() == [
        True,
        False,
        False,
    ]
    assert "is reliable (k-hat 0.49 at most" in replace(found, k_hat=np.full(3, 0.49)).sentence


def weights_of(log_weights):
    shape = np.shape(log_weights)
    theta = np.arange(shape[1], dtype=float)[None, :, None].repeat(shape[0], 0)
    zero = np.zeros(shape)
    return weigh(theta, log_q=zero, log_prior=log_weights, log_likelihood=zero, seed=1)


def test_impossible_draws_get_no_weight():
    log_weights = 0.3 * np.random.default_rng(0).normal(size=(2, 1_000))
    log_weights[:, ::2] = -np.inf
    found = weights_of(log_weights)
    assert (found.weights[:, ::2] == 0).all()
    assert (found.draws % 2 == 1).all()
    assert found.reliable.all()


def test_weights_without_a_tail_to_fit():
    few = np.full((4, 500), -np.inf)
    few[0, :50] = np.random.default_rng(0).normal(size=50)  # too few
    few[1, 7] = 0.0  # a single one
    few[3] = np.minimum(np.random.default_rng(0).normal(size=500), 0)  # half of them are equal
    found = weights_of(few)
    assert found.k_hat.tolist() == [np.inf, np.inf, np.inf, 0.0]
    np.testing.assert_allclose(found.effective[1:3], [1, 500])  # none has any weight: all as one
    assert found.weights[1, 7] == 1
    assert (found.draws[1] == 7).all()
    assert np.isfinite(found.mean).all()


def test_resampling_has_the_frequencies_of_the_weights():
    log_weights = np.log(np.arange(1, 1_001))[None]
    found = weights_of(log_weights)
    counts = np.bincount(found.draws[0, :, 0].astype(int), minlength=1_000)
    expected = 1_000 * found.weights[0]
    # A stratum holds one draw, so that counts are off by less than two.
    assert np.abs(counts - expected).max() < 2
    assert np.abs(np.cumsum(counts - expected)).max() < 1 + 1e-6
    assert abs(np.corrcoef(np.arange(1_000), found.draws[0, :, 0])[0, 1]) < 0.15


def test_same_seed_same_draws_and_datasets_do_not_share_them():
    one, two = (correct(Toy(1.2), X, likelihood, draws=200, seed=3) for _ in range(2))
    assert one.draws.tobytes() == two.draws.tobytes()
    same = weights_of(np.log(np.arange(1, 1_001))[None].repeat(2, 0))
    assert (same.draws[0] != same.draws[1]).mean() > 0.5


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"log_q": np.full((1, 100), -np.inf)}, "log_q as logarithms of densities; got -inf"),
        ({"log_prior": np.full((1, 100), np.nan)}, "log_prior as logarithms .* got nan at draw 0"),
        ({"log_likelihood": np.full((1, 100), np.inf)}, "log_likelihood as .* got inf"),
        ({"log_prior": np.zeros((2, 100))}, r"log_prior of shape \(1, 100\)"),
        ({"theta": np.zeros((1, 99, 2))}, "draws as an integer >= 100; got 99"),
    ],
)
def test_refusals(change, match):
    names = ("log_q", "log_prior", "log_likelihood")
    arguments: dict[str, Any] = dict.fromkeys(names, np.zeros((1, 100)))
    arguments = {"theta": np.zeros((1, 100, 2))} | arguments | change
    with pytest.raises(BadValue, match=match):
        weigh(arguments.pop("theta"), **arguments, seed=1)


def test_refusals_of_what_is_returned():
    with pytest.raises(BadValue, match=r"log likelihood of shape \(200,\); got \(1, 200\)"):
        correct(Toy(), X, lambda t, x: likelihood(t, x)[None], draws=200, seed=1)
    with pytest.raises(BadType, match="draws as an integer"):
        correct(Toy(), X, likelihood, draws=200.0, seed=1)
    with pytest.raises(BadValue, match="draws as an integer >= 100"):
        correct(Toy(), X, likelihood, draws=99, seed=1)


# Simulators


@dataclass
class LogNormal:
    """A posterior that is normal in log theta, as one that was trained too short might be."""

    prior: Any
    mean: np.ndarray
    covariance: np.ndarray

    def sample(self, x, *, draws, seed):
        rng = np.random.default_rng(seed)
        shape = (len(x), draws)
        return np.exp(rng.multivariate_normal(self.mean, self.covariance, size=shape))

    def log_prob(self, theta, x):
        z = np.log(theta) - self.mean
        squares = np.einsum("...i,ij,...j", z, np.linalg.inv(self.covariance), z)
        return -0.5 * squares - np.log(theta).sum(-1)


def distorted(prior, theta, weight=None):
    """Half a sd off and 1.5 times too wide, but for the shape."""
    z = np.log(theta)
    mean, covariance = np.average(z, 0, weight), np.cov(z.T, aweights=weight)
    return LogNormal(prior, mean + 0.5 * np.sqrt(np.diag(covariance)), 2.25 * covariance)


def test_the_outbreak_of_1978_is_moved_to_its_reference():
    model = Influenza()
    grid, weight = quadrature(61, 51, 40)
    wrong = distorted(model.prior, grid[:, :3], weight)
    x = Datasets(np.asarray(model.observed, float).reshape(1, 14, 1), np.array([14]))
    found = correct(wrong, x, model.log_likelihood, draws=8_000, seed=1)
    mean, sd, *_ = summary(grid[:, :3], weight)
    before = wrong.sample(x, draws=8_000, seed=1)[0]
    assert found.reliable[0]
    assert (np.abs(before.mean(0) - mean) > 0.3 * sd).all()
    np.testing.assert_array_less(np.abs(found.mean[0] - mean), 0.08 * sd)
    np.testing.assert_allclose(found.sd[0], sd, rtol=0.08)
    np.testing.assert_allclose(found.draws[0].mean(0), mean, atol=0.1 * sd.max())


def test_epidemics_are_moved_to_their_exact_posterior():
    model = SIR(n=100)
    rng = np.random.default_rng(4)
    theta = model.prior.sample(3, rng)
    x = Datasets(np.asarray(model.simulate(theta, rng, 100)), np.full(3, 100))
    exact = model.exact_posterior(x)
    for row in range(3):
        one = x.take(np.array([row]))
        draws = exact.sample(4_000, seed=1)[row]
        found = correct(
            distorted(model.prior, draws), one, model.log_likelihood, draws=8_000, seed=1
        )
        assert found.reliable[0]
        mean, sd = exact.mean()[row], exact.sd()[row]
        assert (np.abs(found.mean[0] - mean) < 0.08 * sd).all()
        np.testing.assert_allclose(found.sd[0], sd, rtol=0.08)


# In an inference


def inferred(log_likelihood, draws=400):
    prior = SimpleNamespace(
        names=("a", "b"),
        log_prob=lambda t: -0.5 * (t**2).sum(-1),
        sample=lambda b, rng: rng.normal(size=(b, 2)),
    )
    posterior = Toy(1.3)
    posterior.prior = prior
    return infer(
        posterior,
        X,
        layout=Vector(columns=("x", "y")),
        model=SimpleNamespace(log_likelihood=log_likelihood),
        draws=draws,
        predictive=0,
        seed=1,
        scores={},
        together={},
        units={},
        attributes={},
    ).sample_stats


def test_an_inference_weights_its_draws_where_the_likelihood_is_known():
    stats = inferred(likelihood)
    found = correct(Toy(1.3), X, likelihood, draws=400, seed=1)
    assert stats["weight"].dims == ("chain", "draw", "dataset")
    np.testing.assert_allclose(stats["weight"].values[0].T, found.weights)
    np.testing.assert_allclose(stats["k_hat"].values, found.k_hat)
    assert "weight" not in inferred(likelihood, draws=99)


def test_a_likelihood_that_fails_costs_the_weights_alone():
    def broken(theta, x):
        raise ZeroDivisionError("no such data")

    message = r"likelihood of the model failed \(ZeroDivisionError: no such data\); weights are"
    with pytest.warns(UserWarning, match=message):
        stats = inferred(broken)
    assert "log_q" in stats
    assert not {"weight", "k_hat"} & set(stats)
