"""The Gaussian of PPCA, x = W z + μ + σ ε with z ~ N(0, I), and all that follows from it exactly.

With P = WᵀW + σ² I (Tipping & Bishop 1999, J. R. Stat. Soc. B 61:611, there called M):

    p(x)      = N(μ, WWᵀ + σ² I),   log |WWᵀ + σ² I| = (D − M) log σ² + log |P|
    p(z | x)  = N(P⁻¹ Wᵀ (x − μ), σ² P⁻¹)

Where entries of a row are missing at random, the same holds with the observed rows of W only. No
matrix of D × D numbers is formed.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sbi_kit.contracts import Array
from sbi_kit.latent.spectrum import Spectrum, oriented

_BLOCK = 2**21  # numbers in a temporary array: 16 MiB


@dataclass(frozen=True)
class Factors:
    """What PPCA learns.

    Attributes:
        mean: μ, shape (columns,).
        weights: W, shape (columns, components).
        noise: σ².
    """

    mean: Array
    weights: Array
    noise: float

    def turned(self) -> "Factors":
        """The same distribution of x, the columns of W orthogonal and falling in length."""
        left, lengths, _ = np.linalg.svd(self.weights, full_matrices=False)
        return Factors(self.mean, oriented(left * lengths), self.noise)


@dataclass(frozen=True)
class Beliefs:
    """What rows tell of their codes.

    Attributes:
        means: Posterior means of z, shape (rows, components).
        covariances: Posterior covariances, shape (rows, components, components).
        log_probs: log p of what is observed of each row, shape (rows,).
    """

    means: Array
    covariances: Array
    log_probs: Array


def closed_form(found: Spectrum, components: int) -> Factors:
    """The maximum of the likelihood: σ² = mean of the variances left out, W = U (L − σ²)^½.

    Raises:
        BadValue: None are left out but zeros.
    """
    found.expect_rank(components + 1)
    noise = float(found.variances[components:].sum()) / (len(found.mean) - components)
    lengths = np.sqrt(np.maximum(found.variances[:components] - noise, 0.0))
    return Factors(found.mean, found.axes[:, :components] * lengths, noise)


def beliefs(factors: Factors, x: Array) -> Iterator[tuple[slice, Beliefs]]:
    """Codes and log density of rows x (rows, columns), NaN where a value is missing.

    Yields:
        Slices of rows, few enough that temporary arrays stay small, with what is believed of them.
    """
    size = max(1, _BLOCK // (x.shape[1] + factors.weights.shape[1] ** 2))
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        yield rows, _beliefs(factors, x[rows])


def log_probs(factors: Factors, x: Array) -> Array:
    """Log density of what is observed of each row of x (rows, columns), shape (rows,)."""
    return np.concatenate([found.log_probs for _, found in beliefs(factors, x)])


def _beliefs(factors: Factors, x: Array) -> Beliefs:
    weights, noise = factors.weights, factors.noise
    columns, components = weights.shape
    seen = ~np.isnan(x)
    residuals = np.where(seen, x - factors.mean, 0.0)
    patterns = np.ones((1, columns)) if seen.all() else seen.astype(np.float64)
    squares = (weights[:, :, None] * weights[:, None, :]).reshape(columns, components**2)
    precisions = (patterns @ squares).reshape(-1, components, components)
    precisions += noise * np.eye(components)  # P of each pattern of what is observed
    inverses, volumes = np.linalg.inv(precisions), np.linalg.slogdet(precisions)[1]
    shape = len(x), components, components
    means = np.matmul(inverses, (residuals @ weights)[:, :, None])[:, :, 0]
    # The Mahalanobis distance, in a form that loses no digits where noise is small.
    rest = np.where(seen, residuals - means @ weights.T, 0.0)
    distances = np.square(rest).sum(axis=1) / noise + np.square(means).sum(axis=1)
    observed = patterns.sum(axis=1)
    log_volumes = volumes + (observed - components) * math.log(noise)
    log_probs = -0.5 * (observed * math.log(2 * math.pi) + log_volumes + distances)
    return Beliefs(means, np.broadcast_to(noise * inverses, shape), log_probs)
