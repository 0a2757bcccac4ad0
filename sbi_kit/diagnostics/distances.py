"""Distances between two samples, such as draws of a posterior and of its reference.

Each comes with a standard error. Only `mmd` is zero on average for samples of one distribution:
judge a value by its error, and by what two samples of the reference give.

- `c2st`: accuracy of a classifier on draws it was not trained on (Lopez-Paz and Oquab 2017,
  arXiv:1610.06545), with the network, folds and scaling of the public benchmark of simulation-based
  inference (Lueckmann et al. 2021, arXiv:2101.04653), so that figures can be compared with its own;
- `mmd`: squared maximum mean discrepancy (Gretton et al. 2012, JMLR 13:723), with a p-value;
- `sliced_wasserstein`: root mean squared distance of one-dimensional projections (Bonneel et al.
  2015, doi:10.1007/s10851-014-0506-3), in units of the reference's sds;
- `gaussian_kl`: Kullback-Leibler divergence of normals: blind to shape, but it says in nats how far
  means and covariances are off.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular

from sbi_kit.checks import (
    BadValue,
    expect_array,
    expect_finite,
    expect_flag,
    expect_integer,
    expect_number,
)
from sbi_kit.contracts import Array
from sbi_kit.kernels import MMD, PERMUTATIONS, compare_samples
from sbi_kit.seeds import numpy_stream

_PROJECTIONS = 200
_FOLDS = 5
_UNITS = 10  # hidden units per parameter in each of the classifier's two layers
_EPOCHS = 10_000  # at most: training stops with the loss


@dataclass(frozen=True)
class Distance:
    """A distance between two samples.

    Attributes:
        value: The estimate.
        error: Its standard error.
    """

    value: float
    error: float


@dataclass(frozen=True)
class GaussianKL:
    """The Kullback-Leibler divergence of the normals fitted to two samples, in nats.

    Attributes:
        value: KL(first | second) of the fitted normals.
        error: Its standard error to first order, which vanishes with the divergence.
        bias: What value is on average if the samples are of one normal; it is not subtracted.
    """

    value: float
    error: float
    bias: float


def c2st(first: ArrayLike, second: ArrayLike, *, seed: int) -> Distance:
    """Accuracy at which a network tells two samples apart, by 5-fold cross-validation.

    .5 stands for samples of one distribution, 1 for samples that have nothing in common. The larger
    sample is thinned to the size of the smaller. 10,000 draws of two parameters take four seconds;
    few draws that differ little may take as long, as the network learns them by heart.

    Args:
        first: Draws of the reference, shape (m, d); columns are scaled by their mean and sd.
        second: Draws to compare with them, shape (m', d).
        seed: Seed of the thinning, the folds and the networks.

    Returns:
        The accuracy, and its standard error over the draws that it is measured on; what other
        training draws would have made of the networks is not in it.

    Raises:
        BadValue: The samples differ in width, hold NaN or inf, or have fewer than ten draws.
        BadType: They hold something other than numbers.

    >>> far = np.arange(20.0)[:, None]
    >>> c2st(far, far + 100, seed=1).value
    1.0
    """
    one, two = _scaled(*_expect_samples(first, second, fewest=2 * _FOLDS))
    rng = numpy_stream(seed, "c2st")
    size = min(len(one), len(two))
    draws = np.concatenate([part[rng.permutation(len(part))[:size]] for part in (one, two)])
    labels = np.repeat([0, 1], size)
    right = np.empty(2 * size, dtype=np.bool_)
    for held_out in np.array_split(rng.permutation(2 * size), _FOLDS):
        training = np.delete(np.arange(2 * size), held_out)
        network = _classifier(draws.shape[1], int(rng.integers(2**31)))
        network.fit(draws[training], labels[training])
        right[held_out] = network.predict(draws[held_out]) == labels[held_out]
    accuracy = float(right.mean())
    return Distance(accuracy, math.sqrt(accuracy * (1 - accuracy) / len(right)))


def mmd(
    first: ArrayLike,
    second: ArrayLike,
    *,
    seed: int,
    bandwidth: float | None = None,
    permutations: int = PERMUTATIONS,
) -> MMD:
    """Unbiased squared maximum mean discrepancy with a Gaussian kernel.

    With k(x, y) = exp(−|x − y|² / 2h²) it is E k(x, x') + E k(y, y') − 2 E k(x, y). Time grows with
    the square of m + m' (2 × 10,000 draws: seven seconds), memory with m + m' alone.

    Args:
        first: Draws of the reference, shape (m, d); columns are scaled by their mean and sd.
        second: Draws to compare with them, shape (m', d).
        seed: Seed of the permutations, and of the draws that give the bandwidth.
        bandwidth: h in scaled units; None takes the median distance of 1,000 draws of both.
        permutations: Random splits of all draws that the p-value compares with; it is exact but
            for the scaling, and 1 / (permutations + 1) at least.

    Raises:
        BadValue: The samples differ in width, hold NaN or inf, or have fewer than two draws; or
            bandwidth or permutations is out of range.
        BadType: One of them is no number.
    """
    one, two = _scaled(*_expect_samples(first, second, fewest=2))
    permutations = expect_integer("permutations", permutations, low=1)
    if bandwidth is not None:
        bandwidth = expect_number("bandwidth", bandwidth, low=0.0, open_low=True)
    rng = numpy_stream(seed, "mmd")
    return compare_samples(one, two, rng=rng, bandwidth=bandwidth, permutations=permutations)


def sliced_wasserstein(
    first: ArrayLike, second: ArrayLike, *, seed: int, projections: int = _PROJECTIONS
) -> Distance:
    """Root mean squared 2-Wasserstein distance of random one-dimensional projections.

    Between normals that differ in mean alone it is `|difference| / √d`. Samples of one distribution
    have a distance too, of the order of 1 / √m.

    Args:
        first: Draws of the reference, shape (m, d); columns are scaled by their mean and sd.
        second: Draws to compare with them, shape (m', d).
        seed: Seed of the directions, which are uniform on the sphere.
        projections: Number of directions.

    Returns:
        The distance in scaled units, and its standard error to first order: that of the draws, by
        the Kantorovich potentials, and that of the directions, in quadrature.

    Raises:
        BadValue: The samples differ in width, hold NaN or inf, or have fewer than two draws; or
            there are fewer than two projections.
        BadType: They hold something other than numbers, or projections is none.
    """
    one, two = _scaled(*_expect_samples(first, second, fewest=2))
    projections = expect_integer("projections", projections, low=2)
    directions = numpy_stream(seed, "wasserstein").normal(size=(one.shape[1], projections))
    directions /= np.linalg.norm(directions, axis=0)
    squares = np.empty(projections)
    potentials = np.zeros(len(one)), np.zeros(len(two))
    for column, direction in enumerate(directions.T):
        squares[column], *each = _transport(one @ direction, two @ direction)
        for total, potential in zip(potentials, each, strict=True):
            total += potential / projections
    variance = sum(potential.var() / len(potential) for potential in potentials)
    if one.shape[1] > 1:  # in one dimension all directions are the same
        variance += squares.var(ddof=1) / projections
    value = math.sqrt(squares.mean())
    return Distance(value, math.sqrt(variance) / (2 * value) if value > 0 else 0.0)


def gaussian_kl(first: ArrayLike, second: ArrayLike, *, diagonal: bool = False) -> GaussianKL:
    """KL(first | second) of the normals with the means and covariances of two samples.

    Args:
        first: Draws, shape (m, d), of the distribution that the expectation is over.
        second: Draws of the other, shape (m', d).
        diagonal: Whether to leave correlations out, which is the sum of the divergences of the d
            parameters one by one.

    Raises:
        BadValue: The samples differ in width, hold NaN or inf, or have no more than d + 1 draws; or
            a covariance is singular.
        BadType: They hold something other than numbers.

    >>> rng = np.random.default_rng(0)
    >>> found = gaussian_kl(rng.normal(1, 1, size=(4000, 1)), rng.normal(0, 1, size=(4000, 1)))
    >>> abs(found.value - 0.5) < 3 * found.error
    True
    """
    diagonal = expect_flag("diagonal", diagonal)
    d = expect_array("first", first, ("m", "d"), do="pass draws (m, d)").shape[1]
    one, two = _expect_samples(first, second, fewest=d + 2)
    means = one.mean(axis=0), two.mean(axis=0)
    covariances = [np.atleast_2d(np.cov(part, rowvar=False)) for part in (one, two)]
    if diagonal:
        covariances = [np.diag(np.diag(covariance)) for covariance in covariances]
    value = normal_kl(means[0], covariances[0], means[1], covariances[1])
    # Influence of each draw: the derivatives of the divergence by mean and covariance.
    inverse, other = (np.linalg.inv(covariance) for covariance in covariances)
    pull = other @ (means[0] - means[1])
    slopes = other - inverse, other - other @ covariances[0] @ other - np.outer(pull, pull)
    variance = 0.0
    for part, mean, sign, slope in zip((one, two), means, (1, -1), slopes, strict=True):
        centred = part - mean
        if diagonal:
            slope = np.diag(np.diag(slope))
        influence = sign * centred @ pull + 0.5 * np.einsum("mi,ij,mj->m", centred, slope, centred)
        variance += influence.var() / len(part)
    free = d if diagonal else d * (d + 3) / 4
    return GaussianKL(value, math.sqrt(variance), free * (1 / len(one) + 1 / len(two)))


def normal_kl(
    mean: ArrayLike, covariance: ArrayLike, other_mean: ArrayLike, other_covariance: ArrayLike
) -> float:
    """KL of N(mean, covariance) from N(other_mean, other_covariance) in nats, without error.

    It is `(tr(S₂⁻¹ S₁) + (m₂ − m₁)ᵀ S₂⁻¹ (m₂ − m₁) − d + log |S₂| − log |S₁|) / 2`.

    Args:
        mean: Mean of the distribution that the expectation is over, shape (d,).
        covariance: Its covariance, shape (d, d).
        other_mean: Mean of the other, shape (d,).
        other_covariance: Its covariance, shape (d, d).

    Raises:
        BadValue: Shapes differ, or a covariance is not positive definite.
        BadType: They hold something other than numbers.

    >>> round(normal_kl([0.0], [[1.0]], [1.0], [[4.0]]), 4)
    0.4431
    """
    one, d = expect_array("mean", mean, ("d",), do="pass a mean (d,)"), np.size(mean)
    two = expect_array("other_mean", other_mean, (d,), do="pass a mean (d,)")
    factors = []
    for name, matrix in (("covariance", covariance), ("other_covariance", other_covariance)):
        advice = "pass the covariance of parameters none of which follows from the others"
        try:
            factors.append(np.linalg.cholesky(expect_array(name, matrix, (d, d), do=advice)))
        except np.linalg.LinAlgError:
            raise BadValue(f"{name} positive definite", "a singular one", advice) from None
    ratio = solve_triangular(factors[1], factors[0], lower=True)
    distance = solve_triangular(factors[1], two - one, lower=True)
    log_volumes = [float(np.log(np.diag(factor)).sum()) for factor in factors]
    squares = float(np.square(ratio).sum() + np.square(distance).sum())
    return 0.5 * (squares - d) + log_volumes[1] - log_volumes[0]


def _expect_samples(first: ArrayLike, second: ArrayLike, *, fewest: int) -> tuple[Array, Array]:
    """Two samples as finite float64 (m, d) and (m', d) of at least `fewest` draws."""
    advice = "pass draws (m, d) of the same parameters"
    one = expect_array("first", first, ("m", "d"), do=advice)
    two = expect_array("second", second, ("m", one.shape[1]), do=advice)
    columns = [str(i) for i in range(one.shape[1])]
    for name, sample in (("first", one), ("second", two)):
        expect_finite(name, sample, columns, do="leave out draws that are not finite")
        if len(sample) < fewest:
            raise BadValue(f"{fewest} draws or more in {name}", str(len(sample)), "draw more")
    return one, two


def _scaled(first: Array, second: Array) -> tuple[Array, Array]:
    """Both samples less the mean of the first and over its sd, column by column."""
    sd = first.std(axis=0)
    sd[sd == 0] = 1.0
    return (first - first.mean(axis=0)) / sd, (second - first.mean(axis=0)) / sd


def _classifier(d: int, seed: int) -> Any:
    # Here, because it takes a second to import and other distances do without.
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(
        hidden_layer_sizes=(_UNITS * d, _UNITS * d),
        activation="relu",
        solver="adam",
        max_iter=_EPOCHS,
        random_state=seed,
    )


def _transport(first: Array, second: Array) -> tuple[float, Array, Array]:
    """Squared 2-Wasserstein distance of values (m,) and (n,), and the potential at each of them."""
    m, n = len(first), len(second)
    orders = np.argsort(first), np.argsort(second)
    one, two = first[orders[0]], second[orders[1]]
    # Steps of both quantile functions, counted in units of 1 / mn.
    ends = np.union1d(n * np.arange(1, m + 1), m * np.arange(1, n + 1))
    mass = np.diff(ends, prepend=0) / (m * n)
    i, j = (ends - 1) // n, (ends - 1) // m
    square = float(mass @ (one[i] - two[j]) ** 2)
    partners = m * np.bincount(i, mass * two[j]), n * np.bincount(j, mass * one[i])
    potentials = np.empty(m), np.empty(n)
    for potential, order, values, other in zip(
        potentials, orders, (one, two), partners, strict=True
    ):
        slope = 2 * (values - other)
        steps = np.diff(values) * (slope[1:] + slope[:-1]) / 2
        potential[order] = np.append(0.0, np.cumsum(steps))
    return square, *potentials
