"""Joint regions: closed forms of their coverage, and errors that no single parameter shows."""

import numpy as np
import pytest
from scipy.stats import chi2

from sbi_kit.data import Datasets
from sbi_kit.diagnostics.calibration import calibrate
from sbi_kit.diagnostics.regions import PriorScale
from tests.oracles.conjugate import Bank, Conjugate, Normals, watched

NAMES = ("a", "b")
UNIT = {"names": NAMES, "scales": (1.0, 1.0)}


class Sums(Bank):
    """x = a + b + noise, so that the posterior of a and b is narrow across and long along."""

    def __post_init__(self):
        super().__post_init__()
        noise = np.random.default_rng(self.seed + 1).normal(size=self.b)
        self.x = self.theta.sum(axis=1, keepdims=True) + 0.5 * noise[:, None]


class SumPosterior:
    """The exact posterior of `Sums`, or the product of its marginals."""

    def __init__(self, *, exact):
        self.prior = Normals(NAMES, (1.0, 1.0))
        self.cov = np.linalg.inv(np.eye(2) + np.ones((2, 2)) / 0.5**2)
        self.gain = self.cov @ np.ones(2) / 0.5**2
        if not exact:
            self.cov = np.diag(np.diag(self.cov))

    def sample(self, x, *, draws, seed):
        z = np.random.default_rng(seed).normal(size=(len(x), draws, 2))
        return x.values[:, :1, 0, None] * self.gain + z @ np.linalg.cholesky(self.cov).T

    def log_prob(self, theta, x):
        away = theta - x.values[:, :1, 0, None] * self.gain
        return -0.5 * np.einsum("...i,ij,...j", away, np.linalg.inv(self.cov), away)


def test_a_lost_correlation_shows_in_both_joint_checks_alone():
    bank = Sums(3_000, **UNIT, seed=8)
    right, wrong = (
        calibrate(SumPosterior(exact=exact), bank, draws=200, seed=1, regions=1)
        for exact in (True, False)
    )
    assert right.passed
    assert all(wrong.passed_by_parameter.values())
    assert [check.passed for check in wrong.joint] == [False, False]
    assert not wrong.passed
    assert "joint highest-density regions (p = " in wrong.sentence
    assert "joint regions (TARP, p = " in wrong.sentence
    assert [line.split()[-4] for line in str(wrong).splitlines()[3:5]] == ["NO", "NO"]


@pytest.mark.parametrize(("ratio", "size"), [(0.8, "small"), (1.25, "large")])
def test_highest_density_coverage_has_its_closed_form(ratio, size):
    verdict = calibrate(Conjugate(ratio=ratio), Bank(4_000), draws=150, seed=2, regions=1)
    check = verdict.highest_density
    closed = chi2.cdf(ratio**2 * chi2.ppf(check.levels, 2), 2)
    np.testing.assert_allclose(check.values, closed, atol=0.035)
    assert f"are too {size}" in verdict.sentence
    assert not check.passed


@pytest.mark.parametrize("wrong", [{"ratio": 0.7}, {"ratio": 1.4}, {"shift": 0.6}])
def test_tarp_finds_wrong_posteriors(wrong):
    verdict = calibrate(Conjugate(**wrong), Bank(1_000), draws=200, seed=2, regions=1)
    assert verdict.tarp.p_value < 1e-4


def test_ranks_are_those_of_the_first_draws():
    bank, posterior = Bank(50), Conjugate()
    verdict = calibrate(posterior, bank, draws=300, seed=4)
    assert verdict.highest_density.draws == verdict.tarp.draws == 200
    drawn = watched(posterior)
    calibrate(posterior, bank, draws=300, seed=4)
    theta, x = bank.take(np.arange(50))
    of_draws, of_truth = posterior.log_prob(drawn[0], x), posterior.log_prob(theta, x)
    expected = (of_draws[:, :200] < of_truth[:, None]).sum(axis=1)
    np.testing.assert_array_equal(verdict.region_ranks, expected)
    np.testing.assert_allclose(verdict.log_q, of_truth)


def test_tarp_knows_no_units():
    verdicts = [
        calibrate(Conjugate(scales=scales), Bank(200, scales=scales), draws=50, seed=6)
        for scales in ((1.0, 1.0), (1e-6, 1e8))
    ]
    np.testing.assert_array_equal(verdicts[0].tarp_ranks, verdicts[1].tarp_ranks)


def test_every_dataset_has_a_reference_of_its_own():
    scale = PriorScale(Normals(NAMES, (1.0, 1.0)), np.random.default_rng(1))
    truth, drawn = scale.distances(np.zeros((2_000, 2)), np.ones((2_000, 1, 2)))
    # Squared distances of N(0, I) from its mean: chi-squared with two degrees of freedom.
    assert truth.mean() == pytest.approx(2, abs=0.2)
    assert truth.var() == pytest.approx(4, abs=0.9)
    assert drawn.mean() == pytest.approx(4, abs=0.3)


def test_scores_are_normal_under_the_prior_and_finite_outside_its_support():
    class Skewed:
        names = NAMES

        def sample(self, b, rng):
            return np.exp(3 * rng.normal(size=(b, 2)))

    scale = PriorScale(Skewed(), np.random.default_rng(1))
    z = np.linspace(-2, 2, 9)[:, None] * np.ones(2)
    np.testing.assert_allclose(scale.scores(np.exp(3 * z)), z, atol=0.15)
    ends = scale.scores(np.array([[-1.0, 1e300]]))[0]
    assert ends[0] < -3
    assert ends[1] > 3


def test_discrete_posteriors_have_uniform_joint_ranks():
    class Coins:
        """Two coins whose posterior is exact; most draws tie with the truth."""

        prior = type("Fair", (), {"names": NAMES})()

        def sample(self, x, *, draws, seed):
            share = x.values[:, 0][:, None]
            return 1.0 * (np.random.default_rng(seed).random((len(x), draws, 2)) < share)

        def log_prob(self, theta, x):
            share = x.values[:, 0][:, None]
            return np.log(np.where(theta == 1, share, 1 - share)).sum(axis=-1)

    class Tosses:
        prior = Coins.prior
        usable = np.arange(2_000)

        def take(self, rows):
            rng = np.random.default_rng(3)
            share = rng.beta(1, 3, size=(2_000, 2))
            theta = 1.0 * (rng.random((2_000, 2)) < share)
            return theta[rows], Datasets(share[rows][:, None], np.ones(len(rows), np.int64))

    Coins.prior.sample = lambda b, rng: 1.0 * (rng.random((b, 2)) < rng.beta(1, 3, size=(b, 2)))
    verdict = calibrate(Coins(), Tosses(), draws=100, seed=1, regions=1)
    assert verdict.passed
    assert min(verdict.highest_density.p_value, verdict.tarp.p_value) > 0.01
