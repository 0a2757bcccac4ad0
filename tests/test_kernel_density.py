"""Laws of the density behind weighted particles."""

import numpy as np
import pytest
from scipy import stats

from sbi_kit import kernel_density
from sbi_kit.kernel_density import fit_kernel_density

RNG = np.random.default_rng(0)
PARTICLES = RNG.normal(size=(300, 2)) @ np.array([[2.0, 1.0], [0.0, 0.5]]) + [3.0, -1.0]
WEIGHTS = RNG.dirichlet(np.full(300, 2.0))
DENSITY = fit_kernel_density(PARTICLES, WEIGHTS)


def test_it_has_the_mean_and_the_covariance_of_the_particles():
    mean = DENSITY.weights @ DENSITY.centers
    np.testing.assert_allclose(mean, WEIGHTS @ PARTICLES, rtol=1e-10)
    centred = DENSITY.centers - mean
    within = DENSITY.factor @ DENSITY.factor.T
    covariance = (DENSITY.weights[:, None] * centred).T @ centred + within
    exact = np.cov(PARTICLES, rowvar=False, aweights=WEIGHTS, ddof=0)
    np.testing.assert_allclose(covariance, exact, rtol=1e-5)


def test_the_density_is_that_of_the_mixture_and_integrates_to_one():
    points = PARTICLES[:40] + 0.1
    within = DENSITY.factor @ DENSITY.factor.T
    each = np.array([stats.multivariate_normal(c, within).pdf(points) for c in DENSITY.centers])
    np.testing.assert_allclose(DENSITY.log_density(points), np.log(DENSITY.weights @ each))
    x, y = np.linspace(-9, 15, 400), np.linspace(-6, 5, 400)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    total = np.exp(DENSITY.log_density(grid)).sum() * (x[1] - x[0]) * (y[1] - y[0])
    assert total == pytest.approx(1, abs=1e-3)


def test_blocks_change_nothing(monkeypatch):
    whole = DENSITY.log_density(PARTICLES)
    monkeypatch.setattr(kernel_density, "_BLOCK", 7 * len(DENSITY.weights))
    np.testing.assert_allclose(DENSITY.log_density(PARTICLES), whole)


def test_draws_are_of_the_density():
    drawn = DENSITY.sample(20_000, np.random.default_rng(1))
    np.testing.assert_allclose(drawn.mean(0), WEIGHTS @ PARTICLES, atol=0.05)
    direction = np.linalg.solve(DENSITY.factor, drawn.T)[0]
    centers = np.linalg.solve(DENSITY.factor, DENSITY.centers.T)[0]
    ordered = np.sort(direction)
    exact = stats.norm.cdf(ordered[:, None] - centers) @ DENSITY.weights
    assert np.abs(exact - (np.arange(20_000) + 0.5) / 20_000).max() < 0.02


def test_a_gap_between_two_humps_stays_empty():
    rng = np.random.default_rng(2)
    humps = np.concatenate([rng.normal(-5, 0.5, 500), rng.normal(5, 0.5, 500)])[:, None]
    density = fit_kernel_density(humps, np.full(1_000, 1e-3))
    gap, hump = np.exp(density.log_density(np.array([[0.0], [5.0]])))
    assert gap < 0.01 * hump
    exact = 0.5 * (stats.norm(-5, 0.5).pdf(5.2) + stats.norm(5, 0.5).pdf(5.2))
    assert np.exp(density.log_density(np.array([[5.2]])))[0] == pytest.approx(exact, rel=0.2)


def test_one_normal_hump_is_smooth():
    """The log density of many draws is near the truth, so the kernels are not too narrow."""
    normals = np.random.default_rng(3).normal(size=(1_000, 3))
    density = fit_kernel_density(normals, np.full(1_000, 1e-3))
    fresh = np.random.default_rng(4).normal(size=(2_000, 3))
    loss = stats.norm.logpdf(fresh).sum(1) - density.log_density(fresh)
    assert loss.mean() < 0.12


def test_weights_of_zero_count_for_nothing():
    more = np.concatenate([PARTICLES, [[1e6, 1e6]]])
    same = fit_kernel_density(more, np.append(WEIGHTS, 0.0))
    np.testing.assert_allclose(same.log_density(PARTICLES), DENSITY.log_density(PARTICLES))


@pytest.mark.parametrize("spread", [(1.0, 0.0), (0.0, 0.0)])
def test_particles_without_spread_have_a_density(spread):
    flat = np.random.default_rng(5).normal(size=(50, 2)) * spread
    density = fit_kernel_density(flat, np.full(50, 0.02))
    assert np.isfinite(density.log_density(flat)).all()
    assert np.isfinite(density.sample(10, np.random.default_rng(0))).all()
