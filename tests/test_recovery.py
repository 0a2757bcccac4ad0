"""Recovery has its closed forms; the averaged posterior is the prior, tested exactly."""

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import kstest

from sbi_kit.diagnostics.calibration import calibrate
from sbi_kit.diagnostics.recovery import Recovery, averaged_posterior
from tests.oracles.conjugate import EXACT_SD, Bank, Conjugate


def test_numbers_have_their_closed_forms():
    verdict = calibrate(Conjugate(ratio=1.5, shift=0.5), Bank(4_000), draws=100, seed=1, regions=1)
    np.testing.assert_allclose(verdict.contraction, 1 - (1.5 * EXACT_SD) ** 2, atol=0.03)
    np.testing.assert_allclose(verdict.z_scores.mean(axis=0), 0.5 / 1.5, atol=0.04)
    np.testing.assert_allclose(verdict.z_scores.std(axis=0), 1 / 1.5, rtol=0.05)
    recovery = calibrate(Conjugate(), Bank(4_000), draws=100, seed=1, regions=1).recovery
    expected = ndtri(0.75) * EXACT_SD * np.array([1, 1000])
    np.testing.assert_allclose(recovery.median_error, expected, rtol=0.06)
    np.testing.assert_allclose(recovery.relative_sd, EXACT_SD, rtol=0.03)


def test_median_and_sd_are_those_of_the_draws():
    bank = Bank(30)
    verdict = calibrate(Conjugate(), bank, draws=7, seed=1)
    spied = []

    class Spy(Conjugate):
        def sample(self, x, *, draws, seed):
            spied.append(super().sample(x, draws=draws, seed=seed))
            return spied[-1]

    calibrate(Spy(), bank, draws=7, seed=1)
    np.testing.assert_allclose(verdict.median, np.median(spied[0], axis=1))
    np.testing.assert_allclose(verdict.sd, spied[0].std(axis=1, ddof=1))
    np.testing.assert_array_equal(verdict.truth, bank.theta)


def test_what_does_not_vary_has_no_ratio():
    flat = np.ones((9, 1))
    recovery = Recovery(truth=flat, mean=flat, median=flat, sd=0 * flat)
    for values in (recovery.r2, recovery.nrmse, recovery.contraction, recovery.z_scores):
        assert np.isnan(values).all()


def model(b, seed, ratio=1.0, shift=0.0):
    bank = Bank(b, ("a",), seed=seed, scales=(1.0,))
    posterior = Conjugate(("a",), ratio=ratio, shift=shift, scales=(1.0,))
    theta, x = bank.take(np.arange(b))
    return theta, posterior.sample(x, draws=20, seed=seed + 1)


@pytest.mark.parametrize(("ratio", "shift"), [(2.0, 0.0), (1.0, 0.5)])
def test_averaged_posterior_differs_from_the_prior_if_wrong(ratio, shift):
    averaged = averaged_posterior(*model(1_000, 1, ratio, shift), seed=1)
    assert averaged.p_values[0] <= 0.002
    # The averaged posterior is N(shift, .8 + .2 ratio²) in prior sds.
    assert averaged.distance[0] > 0.03


def test_p_value_of_the_averaged_posterior_is_uniform():
    rng = np.random.default_rng(3)
    theta = rng.normal(size=(100, 300))
    mean = (theta + 0.5 * rng.normal(size=theta.shape)) / 1.25
    drawn = mean[:, None] + EXACT_SD * rng.normal(size=(100, 20, 300))
    p_values = averaged_posterior(theta, drawn, seed=1).p_values
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert (p_values <= 0.05).mean() == pytest.approx(0.05, abs=0.035)


def test_averaged_posterior_reads_both_distribution_functions():
    truth = np.arange(100.0)[:, None]
    averaged = averaged_posterior(truth, np.full((100, 3, 1), 49.5), seed=0)
    below = averaged.posterior[:, 0]
    assert set(below) == {0.0, 1.0}
    assert averaged.distance[0] == pytest.approx(0.5)
    assert averaged.p_values[0] == pytest.approx(0.001)
