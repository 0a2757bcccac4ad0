"""Histogram of ranks with the interval of every bar: easier to read than curves, and less powerful.

The verdict does not use it; the ECDF of the same ranks sees more and needs no bins.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, bdtrik

from sbi_kit.checks import expect_integer, expect_number
from sbi_kit.contracts import Array, IntArray

_BARS = 20


@dataclass(frozen=True, eq=False)
class RankHistogram:
    """How many ranks fall into each bar, over the number expected.

    Attributes:
        edges: Where bars begin and end as shares of draws + 1, shape (h + 1,).
        heights: Ranks in each bar over those expected, shape (h, k); 1 everywhere if uniform.
        lower: Lowest usual height, shape (h,).
        upper: Highest usual height, shape (h,).
    """

    edges: Array
    heights: Array
    lower: Array
    upper: Array


def rank_histogram(ranks: IntArray, draws: int, *, level: float = 0.95) -> RankHistogram:
    """Count ranks (b, k) on 0..draws in at most 20 bars of as equal width as ranks allow.

    All bars of a column of uniform ranks are usual with probability `level` at least (binomial
    intervals, Bonferroni).

    Raises:
        BadValue: draws < 1, or a level outside (0, 1).

    >>> even = rank_histogram(np.arange(1000)[:, None] % 100, 99)
    >>> [float(v) for v in (even.heights.min(), even.heights.max(), even.lower[0], even.upper[0])]
    [1.0, 1.0, 0.6, 1.44]
    """
    draws = expect_integer("draws", draws, low=1)
    level = expect_number("level", level, low=0.0, high=1.0, open_low=True)
    b, bars = len(ranks), min(_BARS, draws + 1)
    starts = np.arange(bars + 1) * (draws + 1) // bars
    counts = np.stack([np.histogram(column, bins=starts)[0] for column in ranks.T], axis=-1)
    share = np.diff(starts) / (draws + 1)
    tail = (1 - level) / (2 * bars)
    lower, upper = _quantile(b, share, tail), _quantile(b, share, 1 - tail)
    expected = b * share
    return RankHistogram(
        edges=starts / (draws + 1),
        heights=counts / expected[:, None],
        lower=lower / expected,
        upper=upper / expected,
    )


def _quantile(b: int, share: Array, probability: float) -> Array:
    """Smallest counts c with P(Bin(b, share) <= c) >= probability, shape of share."""
    guess = np.ceil(np.nan_to_num(bdtrik(probability, b, share))).clip(0, b)
    below = np.maximum(guess - 1, 0)
    return np.asarray(np.where(bdtr(below, b, share) >= probability, below, guess))
