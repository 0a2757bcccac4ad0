"""Joint checks: do regions of all parameters together hold the truth as often as they say?

Two numbers per dataset are uniform ranks for an exact posterior, and see what no single parameter
shows, such as a wrong correlation.

- Highest density: the rank of log q(theta* | x) among those of draws. The truth lies in the region
  of highest density with mass p iff fewer than a share p of the draws are denser, so the ECDF of
  these ranks from above is the regions' expected coverage (Hermans et al. 2022, arXiv:2110.06581).
- TARP: the rank of the distance from theta* to a random reference point among those of draws, that
  is, the coverage of balls around it (Lemos et al. 2023, arXiv:2302.03026). It needs no density.
  References are drawn from the prior, and distances are taken between normal scores in the prior's
  marginals, so that units and scales mean nothing. As references know nothing of x, the prior
  itself passes, as it passes the rank tests of the parameters.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from sbi_kit.contracts import Array, IntArray, Prior
from sbi_kit.diagnostics.bands import Band
from sbi_kit.diagnostics.ranks import ecdf_band, rank_ecdf
from sbi_kit.diagnostics.uniformity import CURVE, Uniformity, uniformity

MOST_DRAWS = 200  # draws per dataset that are looked at; a density of each would cost too much
_SCALE = 4096  # prior draws that say what is far


@dataclass(frozen=True, eq=False)
class JointCheck:
    """Expected coverage of one kind of joint regions.

    Attributes:
        name: "highest density" or "TARP".
        ranks: For each dataset how many draws are less dense, or nearer to the reference; (b,).
        draws: Draws per dataset that were looked at.
        levels: What the regions should hold, shape (K,).
        values: What they held, shape (K,).
        band: Where `values` stay if the posterior is exact, simultaneously over the levels.
        tests: p-values that the ranks are uniform, of one column.
        size: Probability that an exact posterior fails.
    """

    name: str
    ranks: IntArray
    draws: int
    levels: Array
    values: Array
    band: Band
    tests: Uniformity
    size: float

    @property
    def p_value(self) -> float:
        """p-value of the four tests together."""
        return float(self.tests.p_values[0])

    @property
    def passed(self) -> bool:
        """Whether the regions hold the truth as often as they should, as far as this shows."""
        return self.p_value > self.size

    @property
    def error(self) -> float:
        """Calibration error: median over the levels of `|coverage − level|`."""
        return float(np.median(np.abs(self.values - self.levels)))

    def at(self, level: float) -> float:
        """Coverage of the regions of one level, linear between those computed."""
        return float(np.interp(level, self.levels, self.values))


def highest_density(ranks: IntArray, draws: int, *, size: float) -> JointCheck:
    """Judge the ranks (b,) of log q(theta* | x) among draws."""
    return _joint_check("highest density", ranks, draws - ranks, draws, size)


def tarp(ranks: IntArray, draws: int, *, size: float) -> JointCheck:
    """Judge the ranks (b,) of the truth's distance to a reference among draws."""
    return _joint_check("TARP", ranks, ranks, draws, size)


def _joint_check(
    name: str, ranks: IntArray, outside: IntArray, draws: int, size: float
) -> JointCheck:
    """`outside` (b,): how many draws the smallest region that holds the truth holds besides."""
    tests = uniformity(ranks[:, None], draws)
    band = ecdf_band(len(ranks), draws, level=1 - CURVE * size)
    values = rank_ecdf(outside[:, None], draws)[:, 0]
    return JointCheck(name, ranks, draws, band.points, values, band, tests, size)


class PriorScale:
    """Distances in units of a prior: between normal scores in its marginal distributions.

    Scores come from ranks among prior draws, linear between them, so nothing but `sample` is asked
    of the prior and points outside its support have scores as well, those of its ends.

    Args:
        prior: The prior.
        rng: Draws the scale and the reference points.
    """

    def __init__(self, prior: Prior, rng: np.random.Generator) -> None:
        self.prior = prior
        self._rng = rng
        self._knots = [_knots(column) for column in prior.sample(_SCALE, rng).T]

    def scores(self, theta: Array) -> Array:
        """Normal scores of theta (..., d), same shape."""
        columns = zip(np.moveaxis(theta, -1, 0), self._knots, strict=True)
        return np.stack([np.interp(column, *knots) for column, knots in columns], axis=-1)

    def distances(self, theta: Array, drawn: Array) -> tuple[Array, Array]:
        """Of theta (b, d) and draws (b, s, d) to a reference each dataset has of its own.

        Returns:
            Squared distances, shapes (b,) and (b, s).
        """
        reference = self.scores(self.prior.sample(len(theta), self._rng))
        truth = ((self.scores(theta) - reference) ** 2).sum(axis=-1)
        return truth, ((self.scores(drawn) - reference[:, None]) ** 2).sum(axis=-1)


def _knots(column: Array) -> tuple[Array, Array]:
    """Distinct values of prior draws, increasing, and their normal scores."""
    values, counts = np.unique(column, return_counts=True)
    return values, ndtri((np.cumsum(counts) - counts / 2) / len(column))
