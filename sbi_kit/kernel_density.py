"""The density behind weighted particles: a Gaussian mixture with their mean and covariance.

A kernel of covariance h² S at every particle would make the density wider than the particles, whose
covariance is S, by the factor 1 + h². So the centers are first drawn towards the mean by √(1 − h²),
which restores mean and covariance for every h (West 1993, JRSS B 55:409). h is chosen by the
likelihood of each particle under the kernels of the others, since the usual rule, which suits one
normal hump, would fill the gap between two.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from sbi_kit.contracts import Array

_SHARES = 0.1, 0.2, 0.35, 0.6, 1.0  # of the usual bandwidth
_JUDGED = 250  # particles that the bandwidth is chosen by
_WIDEST = 0.95
_BLOCK = 2**20  # pairs of point and kernel in memory at a time


@dataclass(frozen=True)
class KernelDensity:
    """A mixture of normals of one covariance; `fit_kernel_density` makes one.

    Attributes:
        centers: Where they lie, shape (m, d).
        weights: Their weights, of sum 1, shape (m,).
        factor: Cholesky factor of the covariance of each, shape (d, d).
    """

    centers: Array
    weights: Array
    factor: Array

    def sample(self, draws: int, rng: np.random.Generator) -> Array:
        """Independent draws, shape (draws, d)."""
        which = rng.choice(len(self.weights), size=draws, p=self.weights)
        noise = rng.standard_normal((draws, self.centers.shape[1]))
        drawn: Array = self.centers[which] + noise @ self.factor.T
        return drawn

    def log_density(self, points: Array) -> Array:
        """Log density of points (s, d), shape (s,)."""
        size = max(1, _BLOCK // len(self.weights))
        y, centers = (_whiten(part, self.factor) for part in (points, self.centers))
        parts = [
            _log_mixture(_squares(y[start : start + size], centers), self.weights)
            for start in range(0, len(points), size)
        ]
        log_volume = float(np.log(np.diag(self.factor)).sum())
        constant = log_volume + 0.5 * points.shape[1] * math.log(2 * math.pi)
        log_q: Array = np.concatenate(parts) - constant
        return log_q


def fit_kernel_density(particles: Array, weights: Array) -> KernelDensity:
    """The mixture that has the particles' mean and covariance, as narrow as they ask for.

    Args:
        particles: Shape (m, d), m at least 2.
        weights: Their weights, of sum 1, shape (m,).
    """
    there = weights > 0
    particles, weights = particles[there], weights[there]
    d = particles.shape[1]
    mean = weights @ particles
    effective = 1 / float(np.square(weights).sum())
    factor = _factor(particles - mean, weights)
    usual = min(_WIDEST, (4 / (d + 2)) ** (1 / (d + 4)) * effective ** (-1 / (d + 4)))
    judged = np.linspace(0, len(weights) - 1, min(_JUDGED, len(weights))).astype(np.int64)
    own = weights[judged] / weights[judged].sum()
    y = _whiten(particles[judged] - mean, factor)
    scores = [_left_out(y, own, share * usual) for share in _SHARES]
    h = _SHARES[int(np.argmax(scores))] * usual
    # Fewer particles were judged than there are, and more of them allow for narrower kernels.
    h *= (len(judged) / len(weights)) ** (1 / (d + 4))
    return KernelDensity(mean + math.sqrt(1 - h**2) * (particles - mean), weights, h * factor)


def _left_out(y: Array, weights: Array, h: float) -> float:
    """Mean log density of each particle y (m, d), in whitened units, under the others' kernels."""
    squares = _squares(y / h, math.sqrt(1 - h**2) * y / h)
    np.fill_diagonal(squares, np.inf)
    others = np.log1p(-np.minimum(weights, 1 - 1e-12))
    log_q = _log_mixture(squares, weights) - others - y.shape[1] * math.log(h)
    return float(weights @ np.maximum(log_q, -1e3))  # a lone particle is no reason to widen all


def _whiten(points: Array, factor: Array) -> Array:
    """Points (s, d) in the units of a Cholesky factor (d, d)."""
    return np.asarray(solve_triangular(factor, points.T, lower=True).T)


def _squares(points: Array, centers: Array) -> Array:
    """Squared distances of points (s, d) from centers (m, d), shape (s, m)."""
    squares: Array = np.square(points).sum(1)[:, None] + np.square(centers).sum(1)
    squares -= 2 * points @ centers.T
    return np.maximum(squares, 0.0, out=squares)


def _log_mixture(squares: Array, weights: Array) -> Array:
    """Logarithm of the weighted sum of exp(−squares / 2) over kernels, shape (s,)."""
    nearest = squares.min(axis=1, keepdims=True)
    kernels = np.exp(-0.5 * (squares - nearest))
    found: Array = np.log(np.maximum(kernels @ weights, 1e-300)) - 0.5 * nearest[:, 0]
    return found


def _factor(centred: Array, weights: Array) -> Array:
    """Cholesky factor of the covariance, which a little is added to where it is singular."""
    covariance = (weights[:, None] * centred).T @ centred
    spread = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    correlation = covariance / np.outer(spread, spread)
    # More parameters than particles leave directions without any.
    lowest = float(np.linalg.eigvalsh(correlation)[0])
    ridge = max(0.0, 1e-6 - lowest)
    lower = np.linalg.cholesky(correlation + ridge * np.eye(len(spread)))
    return np.asarray(spread[:, None] * lower)
