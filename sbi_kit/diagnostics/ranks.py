"""Ranks of true parameters among posterior draws, and the two curves that are read off them.

If theta* is drawn from the prior and x from the simulator, theta* is itself a draw of the posterior
of x, so its rank among `draws` posterior draws is uniform on 0..draws (Talts et al. 2018,
arXiv:1804.06788), parameter by parameter. Two curves are read off the ranks, both with exact
simultaneous bands: their ECDF, which sees shifts best, and the coverage of central intervals, which
is the ECDF of the ranks folded at their middle and sees wrong widths best. For 500 datasets and a
posterior 20 % too wide, the ECDF alone has power .97, both together (half the size each) .996.
`sbi_kit.diagnostics.uniformity` has the tests.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from sbi_kit.checks import BadValue, expect_array, expect_finite, expect_integer
from sbi_kit.contracts import Array, IntArray, Posterior, Prior
from sbi_kit.data import Datasets
from sbi_kit.diagnostics.bands import Band, simultaneous_band
from sbi_kit.seeds import numpy_stream, sequence

ENOUGH = 100  # datasets below which a pass means nothing
_PERCENTS = np.arange(1, 100) / 100
_CHUNK = 2**21  # numbers drawn per call of `sample`: 16 MiB


@runtime_checkable
class HeldOut(Protocol):
    """What is asked of a bank: simulations that the posterior was not trained on."""

    @property
    def prior(self) -> Prior:
        """The distribution the parameters were drawn from."""

    @property
    def usable(self) -> IntArray:
        """Indices of the rows that can be used."""

    def take(self, rows: IntArray) -> tuple[Array, Datasets]:
        """Parameters (b, d) and data of some rows."""


@dataclass(frozen=True, eq=False)
class Coverage:
    """How often central intervals hold the true parameter.

    Attributes:
        levels: What they should hold, the multiples of 1 % as closely as `draws` ranks allow, (K,).
        values: What they held, shape (K, d).
        band: Where `values` stay if the posterior is exact, simultaneously over the levels.
    """

    levels: Array
    values: Array
    band: Band

    @property
    def error(self) -> Array:
        """Calibration error: median over the levels of `|coverage − level|`, shape (d,)."""
        return np.asarray(np.median(np.abs(self.values - self.levels[:, None]), axis=0))

    def at(self, level: float) -> Array:
        """Coverage of the intervals of one level, linear between those computed, shape (d,)."""
        known = np.concatenate([[0.0], self.levels, [1.0]])
        return np.array([np.interp(level, known, [0.0, *column, 1.0]) for column in self.values.T])


def sbc_ranks(posterior: Posterior, bank: HeldOut, *, draws: int, seed: int) -> IntArray:
    """Rank of each true parameter among posterior draws (Talts et al. 2018, arXiv:1804.06788).

    The posterior is asked for as many datasets at once as give 2 million numbers, each time with
    another seed. These chunks depend on `draws` and d alone, so the same call gives the same ranks.
    Ties, as of discrete or clipped parameters, are broken at random, which keeps the law.

    Args:
        posterior: Any posterior.
        bank: b usable held-out simulations it was not trained on.
        draws: Draws per dataset.
        seed: Seed of the draws and of the broken ties.

    Returns:
        Ranks, shape (b, d), integers in 0..draws.

    Raises:
        BadValue: The bank's parameters are not the posterior's (with both lists of names), fewer
            than two simulations are usable, draws < 1, or the posterior returns NaN, inf or another
            shape.
        BadType: draws or seed is no integer.
    """
    parts = [
        compare(theta, drawn) for theta, _, drawn in held_out_draws(posterior, bank, draws, seed)
    ]
    below, equal = (np.concatenate(part) for part in zip(*parts, strict=True))
    return break_ties(below, equal, seed)


def held_out_draws(
    posterior: Posterior, bank: HeldOut, draws: int, seed: int
) -> Iterator[tuple[Array, Datasets, Array]]:
    """True parameters (b, d), data and draws (b, draws, d), in chunks of bounded memory.

    Each chunk has a seed of its own; chunks depend on `draws` and d alone.

    Raises:
        BadValue: As for `sbc_ranks`.
    """
    draws = expect_integer("draws", draws, low=1)
    names = tuple(bank.prior.names)
    if tuple(posterior.prior.names) != names:
        raise BadValue(
            f"a bank of the posterior's parameters ({', '.join(posterior.prior.names)})",
            ", ".join(names),
            "simulate with the model that the posterior was fitted to",
        )
    usable = np.asarray(bank.usable)
    if len(usable) < 2:
        got = f"{len(usable)} usable of those in the bank"
        raise BadValue("at least 2 simulations", got, f"simulate {ENOUGH} or more")
    size = max(1, _CHUNK // (draws * len(names)))
    for start in range(0, len(usable), size):
        theta, x = bank.take(usable[start : start + size])
        # One seed for all chunks would give their datasets the same noise, hence dependent ranks.
        chunk_seed = int(sequence(seed, "calibration draws", start).generate_state(1)[0])
        fix = "correct the posterior's sample method"
        drawn = posterior.sample(x, draws=draws, seed=chunk_seed)
        drawn = expect_array("posterior draws", drawn, (len(theta), draws, len(names)), do=fix)
        yield theta, x, expect_finite("posterior draws", drawn, names, do=fix)


def compare(theta: Array, drawn: Array) -> tuple[IntArray, IntArray]:
    """How many draws (b, draws, d) lie below theta (b, d) and how many equal it, shapes (b, d)."""
    truth = theta[:, None]
    return np.count_nonzero(drawn < truth, axis=1), np.count_nonzero(drawn == truth, axis=1)


def break_ties(below: IntArray, equal: IntArray, seed: int, *of: int) -> IntArray:
    """Ranks (b, d) from what `compare` counted; `of` tells the streams of several ranks apart."""
    rng = numpy_stream(seed, "calibration ties", *of)
    return np.asarray(below + rng.integers(0, equal, endpoint=True), dtype=np.int64)


def ecdf_band(b: int, draws: int, *, level: float = 0.95) -> Band:
    """Simultaneous band of the ECDF of b ranks on 0..draws, at the steps nearest to 1..99 %.

    Raises:
        BadValue: b < 1, draws < 1 or a level outside (0, 1).

    >>> band = ecdf_band(200, 99)
    >>> [round(float(v[49]), 3) for v in (band.points, band.lower, band.upper)]
    [0.5, 0.395, 0.605]
    """
    steps = ecdf_steps(expect_integer("draws", draws, low=1))
    return simultaneous_band(b, (steps / (draws + 1)).tolist(), level=level)


def rank_ecdf(ranks: IntArray, draws: int) -> Array:
    """Heights of the ECDF of ranks (b, d) at the points of `ecdf_band`, shape (K, d)."""
    return np.asarray((ranks < ecdf_steps(draws)[:, None, None]).mean(axis=1))


def coverage(ranks: IntArray, draws: int, *, level: float = 0.95) -> Coverage:
    """Empirical coverage of central intervals from ranks (b, d) on 0..draws.

    Raises:
        BadValue: draws < 2, which leaves no interval, or a level outside (0, 1).

    >>> perfect = coverage(np.arange(1000)[:, None], 999)
    >>> [round(float(perfect.at(level)[0]), 3) for level in (0.5, 0.9)]
    [0.5, 0.9]
    """
    tails = coverage_tails(expect_integer("draws", draws, low=2))
    levels = 1 - 2 * tails / (draws + 1)
    band = simultaneous_band(len(ranks), levels.tolist(), level=level)
    return Coverage(levels=levels, values=coverage_heights(ranks, draws), band=band)


def coverage_heights(ranks: IntArray, draws: int) -> Array:
    """Shares (K, d) of ranks (b, d) in the central intervals of `coverage`."""
    folded = np.minimum(ranks, draws - ranks)
    return np.asarray((folded >= coverage_tails(draws)[:, None, None]).mean(axis=1))


def ecdf_steps(draws: int) -> IntArray:
    """The ranks t at which P(rank < t) = t / (draws + 1) is nearest to 1..99 %."""
    steps = np.rint(_PERCENTS * (draws + 1)).astype(np.int64)
    return np.unique(steps.clip(1, draws))


def coverage_tails(draws: int) -> IntArray:
    """Ranks cut off at either end for the central intervals of 1..99 %, widest interval last."""
    tails = np.rint((1 - _PERCENTS) / 2 * (draws + 1)).astype(np.int64)
    return np.unique(tails.clip(1, draws // 2))[::-1]
