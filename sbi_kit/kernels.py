"""The squared maximum mean discrepancy of two samples (Gretton et al. 2012, JMLR 13:723).

With the kernel k(x, y) = exp(−|x − y|² / 2h²) it is E k(x, x') + E k(y, y') − 2 E k(x, y): zero if
both samples are of one distribution and, unlike a distance of means, above zero otherwise. Its
p-value is that of random splits of all draws, which is exact.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist, pdist

from sbi_kit.contracts import Array

PERMUTATIONS = 199
_BLOCK = 2**22  # numbers of a kernel in memory at a time: 32 MiB
_PAIRED = 1_000  # draws whose pairwise distances give the bandwidth


@dataclass(frozen=True)
class MMD:
    """A squared maximum mean discrepancy.

    Attributes:
        value: The unbiased estimate, so below zero about as often as above for equal samples.
        error: Its standard error.
        p_value: Share of random splits of all draws that differ as much.
        bandwidth: Standard deviation of the Gaussian kernel, in the scaled units.
    """

    value: float
    error: float
    p_value: float
    bandwidth: float


def compare_samples(
    one: Array,
    two: Array,
    *,
    rng: np.random.Generator,
    bandwidth: float | None = None,
    permutations: int = PERMUTATIONS,
) -> MMD:
    """The discrepancy of two samples of k columns on one scale.

    Args:
        one: Shape (m, k), m at least 2.
        two: Shape (m', k), m' at least 2.
        rng: Draws the permutations, and the rows that give the bandwidth.
        bandwidth: h; None takes the median distance of 1,000 draws of both.
        permutations: Random splits that the p-value compares with.
    """
    pooled, m = np.concatenate([one, two]), len(one)
    if bandwidth is None:
        bandwidth = _median_distance(pooled, rng)
    member = np.zeros((len(pooled), permutations + 1))  # 1 for those in the first of two groups
    member[:m, 0] = 1.0
    for split in range(1, permutations + 1):
        member[rng.permutation(len(pooled))[:m], split] = 1.0
    to_first, to_all = _kernel_sums(pooled, member, bandwidth)
    values = _unbiased(member, to_first, to_all)
    p_value = float(np.mean(values >= values[0] - 1e-12 * abs(values[0])))
    # The first-order error alone is too small where the samples are alike.
    error = max(_first_order(m, to_first[:, 0], to_all), float(values[1:].std()))
    return MMD(float(values[0]), error, p_value, bandwidth)


def _median_distance(pooled: Array, rng: np.random.Generator) -> float:
    """Median distance of some draws from each other, or their mean if most are the same."""
    distances = pdist(rng.permutation(pooled)[:_PAIRED])
    return float(np.median(distances)) or float(distances.mean()) or 1.0


def _kernel_sums(draws: Array, member: Array, bandwidth: float) -> tuple[Array, Array]:
    """Sums of kernels from each of N draws to the others, to members (N, P) and to all (N,)."""
    to_members, to_all = np.empty_like(member), np.empty(len(draws))
    size = max(1, _BLOCK // len(draws))
    for start in range(0, len(draws), size):
        rows = slice(start, start + size)
        kernel = cdist(draws[rows], draws, "sqeuclidean")  # (r, N)
        np.exp(kernel / (-2 * bandwidth**2), out=kernel)
        kernel[np.arange(len(kernel)), np.arange(start, start + len(kernel))] = 0.0
        to_members[rows], to_all[rows] = kernel @ member, kernel.sum(axis=1)
    return to_members, to_all


def _unbiased(member: Array, to_first: Array, to_all: Array) -> Array:
    """Squared discrepancies of the groups of each column of member (N, P), shape (P,)."""
    m = float(member[:, 0].sum())
    n = len(member) - m
    within = (member * to_first).sum(axis=0)
    across = to_all @ member - within
    other = to_all.sum() - within - 2 * across
    values: Array = within / (m * (m - 1)) + other / (n * (n - 1)) - 2 * across / (m * n)
    return values


def _first_order(m: int, to_first: Array, to_all: Array) -> float:
    """Standard error of the squared discrepancy by the projection of the U-statistic."""
    n = len(to_all) - m
    to_second = to_all - to_first
    first = to_first[:m] / (m - 1) - to_second[:m] / n
    second = to_second[m:] / (n - 1) - to_first[m:] / m
    return 2 * math.sqrt(first.var() / m + second.var() / n)
