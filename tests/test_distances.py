"""Distances against closed forms between normals."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr

from sbi_kit import kernels
from sbi_kit.checks import BadType, BadValue
from sbi_kit.diagnostics import distances
from sbi_kit.diagnostics.distances import (
    Distance,
    c2st,
    gaussian_kl,
    mmd,
    normal_kl,
    sliced_wasserstein,
)

DISTANCES = [
    lambda one, two: c2st(one, two, seed=1),
    lambda one, two: mmd(one, two, seed=1),
    lambda one, two: sliced_wasserstein(one, two, seed=1),
]
MEAN, SPREAD = np.array([1.0, 0.0, -0.5]), np.array([1.0, 1.5, 0.5])


def normals(seed, m=1_000, n=1_500, d=3, mean=0.0, sd=1.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, d)), mean + sd * rng.normal(size=(n, d))


def many(distance, repetitions, **sizes):
    """Values and errors of repetitions, each of shape (repetitions,)."""
    found = [distance(*normals(seed, **sizes), seed) for seed in range(repetitions)]
    return np.array([one.value for one in found]), np.array([one.error for one in found])


def expect_error(values, errors, *, low=0.75, high=1.3):
    """The reported error is the spread of repetitions."""
    assert low < math.sqrt((errors**2).mean()) / values.std(ddof=1) < high


# C2ST


@pytest.mark.parametrize("delta", [0.0, 2.0])
def test_c2st_of_shifted_normals_is_the_best_accuracy(delta):
    found = c2st(*normals(2, 800, 800, d=1, mean=delta), seed=1)
    assert abs(found.value - ndtr(delta / 2)) < 4 * found.error
    assert found.error == pytest.approx(
        math.sqrt(ndtr(delta / 2) * ndtr(-delta / 2) / 1_600), rel=0.2
    )


def test_c2st_sees_what_moments_do_not():
    rng = np.random.default_rng(0)
    one, side = rng.normal(size=(500, 1)), np.sign(rng.normal(size=(500, 1)))
    two = 0.95 * side + math.sqrt(1 - 0.95**2) * rng.normal(size=(500, 1))  # mean 0 and sd 1 too
    assert c2st(one, two, seed=1).value > 0.65


def test_c2st_of_samples_of_different_size_is_still_half():
    found = c2st(*normals(3, 300, 900, d=1), seed=1)
    assert found.error == pytest.approx(0.5 / math.sqrt(600), rel=0.01)
    assert abs(found.value - 0.5) < 4 * found.error


def test_c2st_never_judges_draws_that_it_was_trained_on(monkeypatch):
    trained = []

    class Memory:
        def fit(self, draws, labels):
            self.known = {float(row[0]) for row in draws}
            trained.append(len(draws))

        def predict(self, draws):
            assert not self.known & {float(row[0]) for row in draws}
            return np.zeros(len(draws))

    monkeypatch.setattr(distances, "_classifier", lambda d, seed: Memory())
    assert c2st(*normals(1, 60, 60), seed=1).value == 0.5
    assert trained == [96] * 5


def test_c2st_uses_the_network_of_the_benchmark():
    network = distances._classifier(3, 1)
    assert network.hidden_layer_sizes == (30, 30)
    assert (network.activation, network.solver) == ("relu", "adam")


@pytest.mark.slow
def test_the_error_of_c2st_is_that_of_repetitions():
    values, errors = many(lambda *x: c2st(*x[:2], seed=x[2]), 100, m=400, n=400, d=1, mean=1.0)
    expect_error(values, errors)


# MMD


def kernel_mean(mean, variances, h):
    """E k(x, y) of x − y ~ N(mean, diag(variances))."""
    total = h**2 + variances
    return np.prod(np.sqrt(h**2 / total)) * np.exp(-0.5 * (mean**2 / total).sum())


def closed_mmd(mean, spread, h):
    one, two = np.ones(3), spread**2
    within = kernel_mean(0 * mean, 2 * one, h) + kernel_mean(0 * mean, 2 * two, h)
    return within - 2 * kernel_mean(mean, one + two, h)


@pytest.mark.parametrize("bandwidth", [0.5, 1.0, 3.0])
def test_mmd_of_normals_is_its_closed_form(bandwidth):
    one, two = normals(1, mean=MEAN, sd=SPREAD)
    found = mmd(one, two, seed=1, bandwidth=bandwidth)
    # In the units of the first sample, which differ from those of its law.
    sd = one.std(0)
    exact = closed_mmd((MEAN - one.mean(0)) / sd, SPREAD / sd, bandwidth)
    assert abs(found.value - exact) < 4 * found.error
    assert found.error < 0.1 * found.value
    assert (found.bandwidth, found.p_value) == (bandwidth, 1 / 200)


def test_mmd_is_the_average_over_pairs(monkeypatch):
    one, two = normals(1, 30, 20, mean=0.5)
    scaled = [(part - one.mean(0)) / one.std(0) for part in (one, two)]

    def kernel(a, b):
        return math.exp(-np.square(a - b).sum() / 2 / 1.5**2)

    def pairs(sample):
        return [kernel(a, b) for i, a in enumerate(sample) for j, b in enumerate(sample) if i != j]

    across = [kernel(a, b) for a in scaled[0] for b in scaled[1]]
    exact = np.mean(pairs(scaled[0])) + np.mean(pairs(scaled[1])) - 2 * np.mean(across)
    found = mmd(one, two, seed=1, bandwidth=1.5)
    assert found.value == pytest.approx(exact, rel=1e-9)
    monkeypatch.setattr(kernels, "_BLOCK", 7 * 50)
    assert mmd(one, two, seed=1, bandwidth=1.5).value == pytest.approx(exact, rel=1e-9)


def test_the_bandwidth_is_the_median_distance():
    one, two = normals(1, 4_000, 4_000, d=2)
    # |x − y| of standard normals is √2 times a Rayleigh variable.
    exact = math.sqrt(2) * stats.rayleigh.median()
    assert mmd(one, two, seed=1).bandwidth == pytest.approx(exact, rel=0.05)


def test_mmd_of_equal_laws_has_mean_zero_and_uniform_p_values():
    found = [mmd(*normals(seed, 60, 90), seed=seed, permutations=99) for seed in range(300)]
    values = np.array([one.value for one in found])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(300)
    p = np.array([one.p_value for one in found])
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 300))
    # Errors are cautious here: within a factor of two.
    expect_error(values, np.array([one.error for one in found]), low=0.9, high=2.0)


def test_the_error_of_mmd_is_that_of_repetitions():
    def distance(one, two, seed):
        return mmd(one, two, seed=seed, permutations=19, bandwidth=1.5)

    expect_error(*many(distance, 150, m=100, n=150, mean=0.5, sd=1.3))


def test_mmd_of_equal_points():
    found = mmd(np.zeros((9, 2)), np.zeros((5, 2)), seed=1)
    assert (found.value, found.p_value, found.bandwidth) == (pytest.approx(0), 1, 1)


# Wasserstein


def test_wasserstein_of_one_dimension_is_scipys():
    one, two = (part[:, 0] for part in normals(1, 70, 30, d=1, mean=1.0, sd=2.0))
    square, *_ = distances._transport(one, two)
    steps = (np.arange(2_100) + 0.5) / 2_100
    quantiles = [np.sort(part)[(steps * len(part)).astype(int)] for part in (one, two)]
    assert square == pytest.approx(np.mean((quantiles[0] - quantiles[1]) ** 2))
    # Kantorovich: the potentials are dual to the plan up to a constant.
    assert stats.wasserstein_distance(one, two) <= math.sqrt(square)


@pytest.mark.parametrize(("mean", "sd"), [(0.5, 1.0), (0.0, 2.0), (1.0, 0.5)])
def test_sliced_wasserstein_of_normals_is_its_closed_form(mean, sd):
    # W2² of a projection is (mean · direction)² + (1 − sd)², averaged over directions.
    one, two = normals(1, 4_000, 5_000, mean=mean, sd=sd)
    found = sliced_wasserstein(one, two, seed=1, projections=400)
    exact = math.sqrt(mean**2 + (1 - sd) ** 2)
    assert abs(found.value - exact) < 4 * found.error
    assert found.error < 0.1 * exact


def test_wasserstein_of_a_shifted_copy_is_the_shift():
    one, _ = normals(1, 50, 50, d=1)
    moved = one + 3 * one.std()
    assert sliced_wasserstein(one, moved, seed=1).value == pytest.approx(3)
    assert sliced_wasserstein(one, np.repeat(moved, 3, axis=0), seed=1).value == pytest.approx(3)
    assert sliced_wasserstein(one, one, seed=1) == Distance(0.0, 0.0)


@pytest.mark.parametrize("sizes", [{"mean": 0.5, "sd": 1.3}, {"d": 1, "mean": 1.0}])
def test_the_error_of_sliced_wasserstein_is_that_of_repetitions(sizes):
    def distance(one, two, seed):
        return sliced_wasserstein(one, two, seed=seed, projections=20)

    # What the scaling by the first sample adds is not in the error.
    expect_error(*many(distance, 100, m=200, n=300, **sizes), low=0.7)


# Normals


def test_kl_of_normals_is_that_of_quadrature():
    grid = np.linspace(-12, 12, 20_001)
    p, q = stats.norm(0.3, 0.7).logpdf(grid), stats.norm(-1.0, 1.6).logpdf(grid)
    exact = float((np.exp(p) * (p - q)).sum() * (grid[1] - grid[0]))
    assert normal_kl([0.3], [[0.49]], [-1.0], [[2.56]]) == pytest.approx(exact, rel=1e-6)


def test_kl_of_correlated_normals_is_that_of_rotated_ones():
    rng = np.random.default_rng(1)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0] @ np.diag([1.0, 10.0, 0.1])
    apart = sum(normal_kl([m], [[s**2]], [0.0], [[1.0]]) for m, s in zip(MEAN, SPREAD, strict=True))
    one, two = turn @ np.diag(SPREAD**2) @ turn.T, turn @ turn.T
    assert normal_kl(turn @ MEAN, one, np.zeros(3), two) == pytest.approx(apart)
    assert normal_kl(turn @ MEAN, one, turn @ MEAN, one) == pytest.approx(0, abs=1e-12)


def test_kl_of_samples():
    one, two = normals(1, 20_000, 20_000, mean=MEAN, sd=SPREAD)
    turn = np.array([[1.0, 3.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    exact = normal_kl(np.zeros(3), np.eye(3), MEAN, np.diag(SPREAD**2))
    for part in ((one, two), (one @ turn, two @ turn)):
        found = gaussian_kl(*part)
        assert abs(found.value - exact) < 4 * found.error
    # Without correlations it is the sum over parameters, which turning changes.
    turned = gaussian_kl(one @ turn, two @ turn, diagonal=True)
    each = [gaussian_kl((one @ turn)[:, [i]], (two @ turn)[:, [i]]).value for i in range(3)]
    assert turned.value == pytest.approx(sum(each))
    assert abs(turned.value - exact) > 4 * turned.error


@pytest.mark.parametrize("diagonal", [False, True])
def test_the_error_of_kl_is_that_of_repetitions(diagonal):
    def distance(one, two, seed):
        return gaussian_kl(one, two, diagonal=diagonal)

    expect_error(*many(distance, 300, m=200, n=300, mean=0.5, sd=1.3))


@pytest.mark.parametrize("diagonal", [False, True])
def test_the_bias_is_the_mean_of_equal_laws(diagonal):
    found = [gaussian_kl(*normals(seed, 200, 300), diagonal=diagonal) for seed in range(400)]
    assert np.mean([one.value for one in found]) == pytest.approx(found[0].bias, rel=0.15)


# All


class NearestMean:
    def fit(self, draws, labels):
        self.means = [draws[labels == label].mean(0) for label in (0, 1)]

    def predict(self, draws):
        squares = [np.square(draws - mean).sum(1) for mean in self.means]
        return squares[1] < squares[0]


@pytest.mark.parametrize("distance", DISTANCES)
def test_units_do_not_matter_and_the_seed_does_nothing_else(distance, monkeypatch):
    monkeypatch.setattr(distances, "_classifier", lambda d, seed: NearestMean())  # in no time
    one, two = normals(1, 100, 120)
    units = np.array([1e-3, 1.0, 1e6])
    first, again, scaled = (
        distance(*pair) for pair in ((one, two), (one, two), (one * units + 5, two * units + 5))
    )
    assert first == again
    assert scaled.value == pytest.approx(first.value, rel=1e-6)


@pytest.mark.parametrize("distance", [*DISTANCES, gaussian_kl])
@pytest.mark.parametrize(
    ("one", "two", "match"),
    [
        (np.zeros((20, 2)), np.zeros((20, 3)), r"second of shape \(m, 2\)"),
        (np.zeros(20), np.zeros((20, 1)), r"first of shape \(m, d\)"),
        (np.full((20, 1), np.nan), np.zeros((20, 1)), "first without NaN or inf"),
        (np.zeros((20, 1)), np.full((20, 1), np.inf), "second without NaN or inf"),
        (np.zeros((20, 1)), np.zeros((1, 1)), "draws or more in second; got 1"),
    ],
)
def test_refusals_of_samples(distance, one, two, match):
    with pytest.raises(BadValue, match=match):
        distance(one, two)


def test_refusals_of_numbers():
    one, two = normals(1, 20, 20)
    with pytest.raises(BadValue, match="bandwidth as a finite number > 0"):
        mmd(one, two, seed=1, bandwidth=0.0)
    with pytest.raises(BadValue, match="permutations as an integer >= 1"):
        mmd(one, two, seed=1, permutations=0)
    with pytest.raises(BadValue, match="projections as an integer >= 2"):
        sliced_wasserstein(one, two, seed=1, projections=1)
    with pytest.raises(BadType, match="diagonal as True or False"):
        gaussian_kl(one, two, diagonal=1)
    with pytest.raises(BadValue, match="other_covariance positive definite"):
        normal_kl([0, 0], np.eye(2), [0, 0], np.ones((2, 2)))
    with pytest.raises(BadValue, match="covariance positive definite"):
        gaussian_kl(np.zeros((20, 2)), two[:, :2])
    with pytest.raises(BadValue, match=r"covariance of shape \(2, 2\)"):
        normal_kl([0, 0], np.eye(3), [0, 0], np.eye(2))
