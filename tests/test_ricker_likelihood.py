"""The exact likelihood of the Ricker map: sums over its noise, and laws of likelihood ratios."""

import numpy as np
import pytest
from scipy.stats import norm, poisson

from simulators.ricker import Ricker
from tests.oracles.ricker_likelihood import log_likelihood


def summed(theta, x):
    """Log probability of three counts by a sum over 500 x 500 values of the noise."""
    r, sigma, rho = theta
    noise = np.linspace(-8, 8, 500)
    weight = norm.pdf(noise) * (noise[1] - noise[0])
    second = r * 10 * np.exp(-10 + sigma * noise)
    third = r * second * np.exp(-second + sigma * noise[:, None])  # (third's noise, second's)
    tail = weight @ poisson.pmf(x[2], rho * third)
    return poisson.logpmf(x[0], 10 * rho) + np.log(tail * poisson.pmf(x[1], rho * second) @ weight)


@pytest.mark.parametrize(
    ("theta", "x"),
    [
        ((45.0, 0.3, 8.0), (81, 0, 7)),
        ((89.0, 0.7, 14.0), (130, 2, 31)),
        ((1.0, 0.4, 1e-3), (0, 0, 0)),
        ((60.0, 0.5, 0.5), (4, 1, 0)),
    ],
)
def test_is_the_sum_over_the_noise(theta, x):
    assert log_likelihood(theta, x)[0] == pytest.approx(summed(theta, x), abs=1e-6)


@pytest.mark.parametrize(
    ("theta", "n"), [((45.0, 0.3, 8.0), 30), ((85.0, 0.6, 1.0), 10), ((2.0, 0.1, 14.0), 30)]
)
def test_likelihood_ratios_have_mean_one_and_scores_mean_zero(theta, n):
    theta = np.array(theta)
    series = Ricker().simulate(np.tile(theta, (200, 1)), np.random.default_rng(1), n)
    steps = np.diag(theta) * 0.02
    points = np.concatenate([theta[None], theta + steps, theta - steps])
    log = np.array([log_likelihood(points, x, spacing=1.5) for x in series])  # (200, 7)
    ratio = np.exp(log[:, 1:] - log[:, :1])
    assert (np.abs(ratio.mean(axis=0) - 1) < 5 * ratio.std(axis=0) / 200**0.5).all()
    score = (log[:, 1:4] - log[:, 4:]) / 0.04
    information = (2 * log[:, :1] - log[:, 1:4] - log[:, 4:]) / 0.02**2
    assert (np.abs(score.mean(axis=0)) < 5 * score.std(axis=0) / 200**0.5).all()
    assert information.mean(axis=0) == pytest.approx(score.var(axis=0), rel=0.5)


def test_a_finer_grid_changes_nothing():
    rng = np.random.default_rng(2)
    theta = Ricker().prior.sample(20, rng)
    for row, x in zip(theta, Ricker().simulate(theta, rng, 100), strict=True):
        coarse, default, fine = (log_likelihood(row, x, spacing=h)[0] for h in (1.5, 1.0, 0.6))
        assert default == pytest.approx(fine, abs=1e-6)
        assert coarse == pytest.approx(fine, abs=1e-3)
