"""Four tests that ranks are uniform, and the smallest errors they see at a given size.

Ranks r on 0..draws are looked at as two curves (`sbi_kit.diagnostics.ranks`), the ECDF and the
coverage of central intervals, and through their normal scores a = Φ⁻¹((r + ½) / (draws + 1)), of
which the mean sees shifts and the mean square sees wrong widths. The curves find an error of any
form, the two moments are the sharpest for the two errors that posteriors have most often. Of a
column's size each moment spends a third, each curve a sixth (Bonferroni).

p-values of the curves are exact. The scores of uniform ranks have known moments, so the p-values of
their sums come from a normal and from a Pearson III distribution with the right first three
moments; the latter is exactly χ²(b) where there are many draws.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from scipy.special import betaincinv, gammainc, gammaincc, gammaincinv, ndtr, ndtri

from sbi_kit.checks import expect_integer, expect_number
from sbi_kit.contracts import Array, IntArray
from sbi_kit.diagnostics.bands import curve_p_values, simultaneous_band
from sbi_kit.diagnostics.ranks import coverage_heights, coverage_tails, ecdf_steps, rank_ecdf

CURVE, MOMENT = 1 / 6, 1 / 3  # shares of a column's size that each of two tests spends
_CELL = 0.04  # width of the cells of ranks in normal scores, for the power
Numbers: TypeAlias = Any  # a float or an array; scipy's functions take either


@dataclass(frozen=True, eq=False)
class Uniformity:
    """What four tests say of k columns of ranks; each p-value is uniform for uniform ranks.

    Attributes:
        p_ranks: Of the ECDF, shape (k,).
        p_coverage: Of the coverage of central intervals, shape (k,).
        p_shift: Of the mean of normal scores, shape (k,).
        p_width: Of the mean square of normal scores, shape (k,).
        shift: Mean of normal scores over its sd for uniform ranks, shape (k,).
        width: Mean square of normal scores over that of uniform ranks, shape (k,).
    """

    p_ranks: Array
    p_coverage: Array
    p_shift: Array
    p_width: Array
    shift: Array
    width: Array

    @property
    def p_values(self) -> Array:
        """p-value of each column, the four tests together (Bonferroni), shape (k,)."""
        curves = np.minimum(self.p_ranks, self.p_coverage) / CURVE
        moments = np.minimum(self.p_shift, self.p_width) / MOMENT
        return np.minimum(1.0, np.minimum(curves, moments))

    def fault(self, i: int) -> str:
        """What the most certain test says of the posterior's column i, in two words."""
        place, size = (
            min(self.p_ranks[i], self.p_shift[i]),
            min(self.p_coverage[i], self.p_width[i]),
        )
        if size < place:
            return "too narrow" if self.width[i] > 1 else "too wide"
        return "too high" if self.shift[i] < 0 else "too low"


@dataclass(frozen=True)
class Sensitivity:
    """The smallest errors of one parameter that are seen with 80 % power; inf or 0 if none is.

    Attributes:
        shift: Distance of the posterior from its right place, in right posterior sds.
        narrow: Largest ratio below 1 of the posterior's sd to the right one.
        wide: Smallest ratio above 1.
    """

    shift: float
    narrow: float
    wide: float


def uniformity(ranks: IntArray, draws: int) -> Uniformity:
    """Test k columns of ranks (b, k) on 0..draws; draws >= 2.

    >>> even = uniformity(np.arange(1000)[:, None], 999)
    >>> bool(even.p_values[0] > 0.9), round(float(even.width[0]), 6)
    (True, 1.0)
    """
    b = len(ranks)
    steps, tails = ecdf_steps(draws), coverage_tails(draws)
    scores = _scores(draws)
    a = scores[ranks]
    even = np.full(draws + 1, 1 / (draws + 1))
    total, null = (a**2).sum(axis=0), _Sum.of(scores**2, even, b)
    z = a.sum(axis=0) / math.sqrt(b * (scores**2).mean())
    return Uniformity(
        p_ranks=curve_p_values(b, steps / (draws + 1), rank_ecdf(ranks, draws)),
        p_coverage=curve_p_values(b, 1 - 2 * tails / (draws + 1), coverage_heights(ranks, draws)),
        p_shift=np.asarray(2 * ndtr(-np.abs(z))),
        p_width=np.minimum(1.0, 2 * np.minimum(null.below(total), null.above(total))),
        shift=z,
        width=total / null.mean,
    )


def sensitivity(b: int, draws: int, *, level: float = 0.95) -> Sensitivity:
    """What b datasets can show: errors found with 80 % power by a test of size 1 − level.

    The power is that of a normal posterior and of the best of the four tests, each at its share of
    1 − level; that they look together adds a little more.

    Raises:
        BadValue: b < 1, draws < 2 or a level outside (0, 1).

    >>> seen = sensitivity(500, 500)
    >>> round(seen.shift, 2), round(seen.narrow, 2), round(seen.wide, 2)
    (0.15, 0.9, 1.11)
    """
    b, draws = expect_integer("b", b, low=1), expect_integer("draws", draws, low=2)
    return _sensitivity(
        b, draws, expect_number("level", level, low=0.0, high=1 - 1e-9, open_low=True)
    )


@dataclass(frozen=True)
class _Sum:
    """Pearson III distribution of a sum: a shifted gamma (skew > 0), its mirror, or a normal."""

    mean: float
    sd: float
    skew: float

    @classmethod
    def of(cls, values: Array, weights: Array, b: int) -> "_Sum":
        """The sum of b independent values with these probabilities, to its third moment."""
        mean = float(values @ weights)
        second, third = (float((values - mean) ** k @ weights) for k in (2, 3))
        sd = math.sqrt(second)
        return cls(b * mean, math.sqrt(b) * sd, third / max(sd, 1e-150) ** 3 / math.sqrt(b))

    def below(self, total: Numbers) -> Numbers:
        """P(sum <= total)."""
        return self._tail(total, lower=True)

    def above(self, total: Numbers) -> Numbers:
        """P(sum >= total)."""
        return self._tail(total, lower=False)

    def quantile(self, share: float) -> float:
        """Where `below` is `share`."""
        if abs(self.skew) < 1e-4:
            return self.mean + self.sd * float(ndtri(share))
        shape = 4 / self.skew**2
        at = float(gammaincinv(shape, share if self.skew > 0 else 1 - share))
        return self.mean + math.copysign(self.sd, self.skew) * (at - shape) / math.sqrt(shape)

    def _tail(self, total: Numbers, *, lower: bool) -> Numbers:
        x = (total - self.mean) / max(self.sd, 1e-150)
        if abs(self.skew) < 1e-4:  # the gamma's shape would leave the digits of a float
            return ndtr(x if lower else -x)
        shape = 4 / self.skew**2
        y = np.maximum(shape + math.copysign(math.sqrt(shape), self.skew) * x, 0.0)
        return gammainc(shape, y) if lower == (self.skew > 0) else gammaincc(shape, y)


@lru_cache(maxsize=64)
def _scores(draws: int) -> Array:
    """Normal scores of the ranks 0..draws."""
    scores = ndtri((np.arange(draws + 1) + 0.5) / (draws + 1))
    scores.flags.writeable = False  # shared by all who ask for it
    return scores


@lru_cache(maxsize=256)
def _sensitivity(b: int, draws: int, level: float) -> Sensitivity:
    size = 1 - level
    steps, tails = ecdf_steps(draws), coverage_tails(draws)
    ranks = simultaneous_band(b, (steps / (draws + 1)).tolist(), level=1 - CURVE * size)
    central = simultaneous_band(b, (1 - 2 * tails / (draws + 1)).tolist(), level=1 - CURVE * size)
    cells = _cells(draws)
    where = np.concatenate([steps, tails, draws + 1 - tails, cells])[:, None]
    # 16 equally likely values of each order statistic of the draws, in right posterior sds.
    order = ndtri(betaincinv(where, draws + 1 - where, (np.arange(16) + 0.5) / 16))
    parts = np.cumsum([len(steps), len(tails), len(tails)])
    moments = _moment_power(b, draws, cells, MOMENT * size)

    def power(shift: float, ratio: float) -> float:
        law = ndtr(shift + ratio * order).mean(axis=1)  # P(truth < order statistic)
        law, low, high, edges = np.split(law, parts)
        return max(ranks.power(law), central.power(high - low), moments(edges))

    return Sensitivity(
        shift=_seen(lambda size: power(size, 1.0), 10.0),
        narrow=math.exp(-_seen(lambda size: power(0.0, math.exp(-size)), 5.0)),
        wide=math.exp(_seen(lambda size: power(0.0, math.exp(size)), 5.0)),
    )


def _cells(draws: int) -> IntArray:
    """Inner edges of cells of ranks that are narrow in normal scores."""
    edges = np.rint(ndtr(np.arange(-4.5, 4.5, _CELL)) * (draws + 1)).astype(np.int64)
    return np.unique(edges.clip(1, draws))


def _moment_power(b: int, draws: int, cells: IntArray, size: float) -> Callable[[Array], float]:
    """The power of the better moment test, given P(rank < edge) at the edges of the cells."""
    scores = _scores(draws)
    starts = np.concatenate([[0], cells])
    widths = np.diff(np.concatenate([starts, [draws + 1]]))
    squares = np.add.reduceat(scores**2, starts) / widths
    means = np.add.reduceat(scores, starts) / widths
    even = np.full(draws + 1, 1 / (draws + 1))
    null = _Sum.of(scores**2, even, b)
    low, high = null.quantile(size / 2), null.quantile(1 - size / 2)
    edge = -float(ndtri(size / 2)) * math.sqrt(b * (scores**2).mean())

    def power(law: Array) -> float:
        weights = np.maximum(np.diff(law, prepend=0.0, append=1.0), 0.0)
        shift, width = _Sum.of(means, weights, b), _Sum.of(squares, weights, b)
        seen = (shift.below(-edge) + shift.above(edge), width.below(low) + width.above(high))
        return float(max(seen))

    return power


def _seen(power: Callable[[float], float], largest: float) -> float:
    """The size of error whose power is 80 %, to .1 %; inf if `largest` has less."""
    if power(largest) < 0.8:
        return math.inf
    low, high = 0.0, largest
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= 0.8 else (middle, high)
    return high
