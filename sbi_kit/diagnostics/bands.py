"""Simultaneous bands around the empirical distribution function of uniform numbers.

The heights of the ECDF of b uniform numbers at points z_1 < ... < z_K are jointly inside
the band of parameter g if, at every point, twice the smaller binomial tail of the count exceeds g
(Säilynoja, Bürkner and Vehtari 2022, arXiv:2103.10522). g is chosen so that this happens with
the wanted probability. That probability is not simulated here but computed: given their sum, the
counts between neighbouring points are independent Poisson numbers, so it is a chain of
convolutions cut at the band's edges (Moscovich and Nadler 2017, arXiv:1503.04363). Level,
p-values and power are therefore exact and need no seed. Any discrete uniform law, such as that of
ranks, is covered exactly as long as the points lie at its steps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrik, gammaln, xlogy

from sbi_kit.checks import expect_integer, expect_number
from sbi_kit.contracts import Array, IntArray

Bools: TypeAlias = NDArray[np.bool_]
# Mirrored binomial tails differ in the last digits; a tie must still count as one.
_TIE = 1 + 1e-9


@dataclass(frozen=True, eq=False)
class Band:
    """Where the ECDF of b uniform numbers stays with probability `level`, at all points at once.

    Attributes:
        b: Number of uniform numbers.
        level: Probability of being inside at every point; attained from above, as counts are whole.
        points: Evaluation points in (0, 1), shape (K,).
        lower: Lowest heights inside the band, shape (K,).
        upper: Highest heights inside the band, shape (K,).
    """

    b: int
    level: float
    points: Array
    lower: Array
    upper: Array

    def holds(self, heights: Array) -> Bools:
        """Whether each of d ECDFs, heights (K, d), is inside at every point, shape (d,)."""
        counts = np.rint(heights * self.b)
        low, high = np.rint(self.lower * self.b), np.rint(self.upper * self.b)
        inside = (counts >= low[:, None]) & (counts <= high[:, None])
        return np.asarray(inside.all(axis=0))

    def p_values(self, heights: Array) -> Array:
        """p-value of each of d ECDFs, heights (K, d), shape (d,).

        It is the probability that b uniform numbers leave a band as narrow as the one this ECDF
        just touches: below 1 − level exactly when the ECDF is outside this band.
        """
        return curve_p_values(self.b, self.points, heights)

    def power(self, law: Array) -> float:
        """Probability that b numbers with distribution function `law` (K,) at the points leave."""
        low, high = (np.rint(edge * self.b).astype(np.int64) for edge in (self.lower, self.upper))
        return 1 - _stay(self.b, law, low, high)


def simultaneous_band(b: int, points: Sequence[float], *, level: float = 0.95) -> Band:
    """The band in which the ECDF of b uniform numbers stays with probability `level`.

    Args:
        b: Number of uniform numbers.
        points: Increasing evaluation points in (0, 1), the steps of the law if it is discrete.
        level: Probability of being inside at all points at once.

    Raises:
        BadValue: b < 1, or a level outside (0, 1).
        BadType: b is no integer.

    >>> band = simultaneous_band(100, (0.25, 0.5, 0.75))
    >>> band.lower.tolist(), band.upper.tolist()
    ([0.15, 0.39, 0.65], [0.35, 0.61, 0.85])
    """
    b = expect_integer("b", b, low=1)
    return _band(
        b, tuple(points), expect_number("level", level, low=0.0, high=1 - 1e-9, open_low=True)
    )


def curve_p_values(b: int, points: Array, heights: Array) -> Array:
    """p-values (d,) of d ECDFs of b uniform numbers, heights (K, d) at points (K,)."""
    counts = np.rint(heights * b)  # (K, d)
    low = bdtr(counts, b, points[:, None])
    high = bdtr(b - counts, b, 1 - points[:, None])
    touched = np.minimum(1.0, 2 * np.minimum(low, high).min(axis=0))  # (d,)
    return np.array([_p_value(b, points, float(g)) for g in touched])


@lru_cache(maxsize=64)
def _band(b: int, points: tuple[float, ...], level: float) -> Band:
    z = np.array(points)
    fits, fails = (1 - level) / len(z), 1.0  # a union bound over the points always fits
    while fails > fits * (1 + 1e-6):
        middle = math.sqrt(fits * fails)
        if 1 - _stay(b, z, *_edges(b, z, middle)) <= 1 - level:
            fits = middle
        else:
            fails = middle
    low, high = _edges(b, z, fits)
    band = Band(b=b, level=level, points=z, lower=low / b, upper=high / b)
    for array in (band.points, band.lower, band.upper):
        array.flags.writeable = False  # shared by all who ask for it
    return band


def _p_value(b: int, points: Array, touched: float) -> float:
    """Probability that the smallest tail of b uniform numbers is at most `touched`."""
    if touched >= 1:
        return 1.0
    leave = 1 - _stay(b, points, *_edges(b, points, touched * _TIE))
    # The subtraction loses p-values below 1e-13; one point and the union bound enclose them.
    return min(max(leave, touched / 2), touched * len(points), 1.0)


def _edges(b: int, points: Array, g: float) -> tuple[IntArray, IntArray]:
    """Smallest and largest counts whose tails both exceed g / 2 at each point, shapes (K,)."""
    return _smallest(b, points, g), b - _smallest(b, 1 - points, g)


def _smallest(b: int, points: Array, g: float) -> IntArray:
    """Smallest count c with 2 P(Bin(b, point) <= c) > g, shape (K,)."""
    guess = np.ceil(np.nan_to_num(bdtrik(g / 2, b, points))).clip(0, b)
    below = np.maximum(guess - 1, 0)
    guess = np.where(2 * bdtr(below, b, points) > g, below, guess)
    guess = np.where(2 * bdtr(guess, b, points) > g, guess, guess + 1)
    return guess.astype(np.int64)


def _stay(b: int, law: Array, low: IntArray, high: IntArray) -> float:
    """Probability that counts of b numbers with distribution function `law` stay in low..high."""
    steps = np.maximum(np.diff(law, prepend=0.0, append=1.0), 0.0)
    number = np.arange(b + 1)
    log_factorial = gammaln(number + 1)
    state, first = np.ones(1), 0  # state[i]: probability of first + i numbers so far
    for step, floor, top in zip(steps, [*low, b], [*high, b], strict=True):
        if floor > top or top < first:
            return 0.0
        jumps = number[: top - first + 1]
        poisson = np.exp(xlogy(jumps, b * step) - b * step - log_factorial[: len(jumps)])
        state = np.convolve(state, poisson)[: len(jumps)]
        keep = max(floor, first)
        state, first = state[keep - first :], keep
    # Conditioning the Poisson total on being b.
    return float(min(1.0, state[-1] / math.exp(xlogy(b, b) - b - log_factorial[b])))
