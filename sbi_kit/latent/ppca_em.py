"""Expectation maximisation for PPCA, with and without missing entries, by expanded parameters.

Complete rows (Tipping & Bishop 1999, equations 27 to 30). With S the covariance, of which only the
product SW is needed, and P = WᵀW + σ² I, an iteration is

    W' = SW (σ² I + P⁻¹ WᵀSW)⁻¹,   σ²' = tr(S − SW P⁻¹ W'ᵀ) / D

at a cost of O(N D M); rows are centred a block at a time, so that each is read once from memory.
Entries missing at random: the expectations are those of z given the observed part of a row, and
each column's weights and mean follow from a regression on them of the rows that have it.

Where noise is small, rows all but fix z given W, and the scale of W would take thousands of
iterations. So the mean and covariance of z are estimated as well and at once absorbed into μ and W,
which makes z ~ N(0, I) again (parameter expansion: Liu, Rubin & Wu 1998, Biometrika 85:755). The
log-likelihood never falls. Iterations end when one adds less than `tolerance` nats per row.
"""

import math
import warnings
from collections.abc import Iterator

import numpy as np

from sbi_kit.checks import BadValue
from sbi_kit.contracts import Array
from sbi_kit.latent.factors import Factors, beliefs

_BLOCK = 2**17  # numbers of a block of rows: 1 MiB, which stays in cache
_NOISELESS = 1e-12  # share of the variance which is no noise but rounding errors
_SPARE, _POWERS = 10, 9  # directions beyond the components, and products with S, for a start,
_SETTLED = 1e-7  # or fewer, if another adds less than this share of the variance
_LOG_TWO_PI = math.log(2 * math.pi)


def first_factors(x: Array, components: int, rng: np.random.Generator) -> Factors:
    """Rough factors of rows x (rows, columns), by a few steps of subspace iteration.

    Random directions, some more than components, are multiplied by S a few times; the factors are
    the best ones within what these span (Halko, Martinsson & Tropp 2011, arXiv:0909.4061). NaN, a
    missing value, stands for the mean of its column.

    Raises:
        BadValue: The rows have no more than `components` dimensions.
    """
    if np.isnan(x).any():
        x = np.where(np.isnan(x), np.nanmean(x, axis=0), x)
    mean, columns = x.mean(axis=0), x.shape[1]
    total, explained = _variance(x, mean), 0.0
    directions = rng.normal(size=(columns, min(components + _SPARE, columns)))
    for _ in range(_POWERS):
        basis = np.linalg.qr(directions)[0]
        directions = _covariance_times(x, mean, basis)
        variances, axes = np.linalg.eigh(basis.T @ directions)
        before, explained = explained, float(variances[-components:].sum())
        if explained - before < _SETTLED * total:
            break
    noise = (total - float(variances[-components:].sum())) / (columns - components)
    _expect_noise(noise, total / columns, components)
    lengths = np.sqrt(np.maximum(variances[-components:] - noise, 0.0))
    return Factors(mean, basis @ (axes[:, -components:] * lengths), noise)


def em_complete(
    x: Array, start: Factors, *, iterations: int, tolerance: float
) -> tuple[Factors, Array]:
    """Fit finite rows x (rows, columns) from some weights and noise on; the mean is theirs at once.

    Returns:
        The factors, and the log-likelihood after each iteration.

    Raises:
        BadValue: The rows have no more dimensions than the weights have components.

    Warns:
        UserWarning: The log-likelihood still rose after the last iteration.
    """
    mean, weights, noise = x.mean(axis=0), start.weights, start.noise
    columns, components = weights.shape
    total, eye = _variance(x, mean), np.eye(components)
    history: list[float] = []
    for iteration in range(iterations + 1):
        product = _covariance_times(x, mean, weights)
        precision = weights.T @ weights + noise * eye
        inner = np.linalg.solve(precision, weights.T @ product)  # P⁻¹ WᵀSW
        if iteration:
            volume = np.linalg.slogdet(precision)[1] + (columns - components) * math.log(noise)
            distance = (total - float(np.trace(inner))) / noise
            history.append(-0.5 * len(x) * (columns * _LOG_TWO_PI + volume + distance))
        if _converged(history, tolerance * len(x)) or iteration == iterations:
            break
        updated = np.linalg.solve((noise * eye + inner).T, product.T).T
        explained = np.sum(product * np.linalg.solve(precision, updated.T).T)
        spread = np.linalg.solve(precision, noise * eye + inner.T)  # covariance of z
        weights = np.asarray(updated @ np.linalg.cholesky(spread))
        noise = (total - float(explained)) / columns
        _expect_noise(noise, total / columns, components)
    _warn_unfinished(history, tolerance, len(x))
    return Factors(mean, weights, noise), np.array(history)


def em_missing(
    x: Array, start: Factors, *, iterations: int, tolerance: float
) -> tuple[Factors, Array]:
    """Fit rows x (rows, columns), NaN where a value is missing, from some factors on.

    Returns:
        The factors, and the log-likelihood of what is observed after each iteration.

    Raises:
        BadValue: What is observed has no more dimensions than the weights have components.

    Warns:
        UserWarning: The log-likelihood still rose after the last iteration.
    """
    # Around the columns' means, so that sums of squares lose no digits.
    centre = np.nanmean(x, axis=0)
    x = x - centre
    variance = float(np.nanmean(x**2))
    factors = Factors(start.mean - centre, start.weights, start.noise)
    history: list[float] = []
    for iteration in range(iterations + 1):
        updated, log_likelihood = _step(factors, x)
        if iteration:
            history.append(log_likelihood)
        if _converged(history, tolerance * len(x)) or iteration == iterations:
            break
        factors = updated
        _expect_noise(factors.noise, variance, factors.weights.shape[1])
    _warn_unfinished(history, tolerance, len(x))
    return Factors(factors.mean + centre, factors.weights, factors.noise), np.array(history)


def _step(factors: Factors, x: Array) -> tuple[Factors, float]:
    """One iteration, and the log-likelihood of what it started from.

    The codes are extended by a constant one, whose weight is the column's mean.
    """
    columns, components = factors.weights.shape
    size = components + 1
    crossed, squared = np.zeros((columns, size)), np.zeros((columns, size * size))
    moments, log_likelihood = np.zeros((size, size)), 0.0
    for rows, found in beliefs(factors, x):
        seen = ~np.isnan(x[rows])
        codes = np.column_stack([np.ones(len(seen)), found.means])
        squares = codes[:, :, None] * codes[:, None, :]  # E[z zᵀ] of each row
        squares[:, 1:, 1:] += found.covariances
        crossed += np.where(seen, x[rows], 0.0).T @ codes
        squared += seen.T.astype(np.float64) @ squares.reshape(-1, size * size)
        moments += squares.sum(axis=0)
        log_likelihood += float(found.log_probs.sum())
    solved = np.linalg.solve(squared.reshape(columns, size, size), crossed[:, :, None])[:, :, 0]
    left = float(np.nansum(x**2)) - float(np.sum(solved * crossed))
    mean, weights = solved[:, 0], solved[:, 1:]
    # The prior of z becomes N(0, I) again.
    drift = moments[0, 1:] / len(x)
    spread = np.linalg.cholesky(moments[1:, 1:] / len(x) - np.outer(drift, drift))
    noise = left / np.count_nonzero(~np.isnan(x))
    return Factors(mean + weights @ drift, weights @ spread, noise), log_likelihood


def _variance(x: Array, mean: Array) -> float:
    """The sum of the columns' variances."""
    return sum(float(np.square(block).sum()) for block in _centred(x, mean)) / len(x)


def _centred(x: Array, mean: Array) -> Iterator[Array]:
    """Blocks of centred rows, in the same piece of memory."""
    size = max(1, _BLOCK // x.shape[1])
    room = np.empty((min(size, len(x)), x.shape[1]))
    for start in range(0, len(x), size):
        block = x[start : start + size]
        yield np.subtract(block, mean, out=room[: len(block)])


def _covariance_times(x: Array, mean: Array, weights: Array) -> Array:
    """SW for weights W (columns, components)."""
    across = np.ascontiguousarray(weights.T)
    product = np.zeros_like(across)
    for block in _centred(x, mean):
        product += (across @ block.T) @ block
    scaled: Array = product.T / len(x)
    return scaled


def _converged(history: list[float], least: float) -> bool:
    return len(history) > 1 and history[-1] - history[-2] < least


def _expect_noise(noise: float, variance: float, components: int) -> None:
    if noise <= _NOISELESS * variance:
        got = f"no noise left beside {components} components"
        raise BadValue("rows that vary in more dimensions", got, "ask for fewer components")


def _warn_unfinished(history: list[float], tolerance: float, rows: int) -> None:
    if not _converged(history, tolerance * rows):
        gain = (history[-1] - history[-2]) / rows if len(history) > 1 else math.inf
        message = (
            f"Convergence within {len(history)} iterations expected; got a log-likelihood that "
            f"still rose by {gain:.1g} nats per row; allow more iterations."
        )
        warnings.warn(message, UserWarning, stacklevel=5)
