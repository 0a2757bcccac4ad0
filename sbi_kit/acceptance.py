"""Which simulations stand for the data: the nearest, weighted and corrected by regression.

Distances are between the numbers that `sbi_kit.reduction` makes of datasets. Accepted are a
quantile of all simulations or those within a tolerance; Epanechnikov's kernel weighs them, and a
weighted linear regression of the whitened parameters u on the numbers takes out what the remaining
distance explains (Beaumont, Zhang and Balding 2002, doi:10.1093/genetics/162.4.2025).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from sbi_kit.checks import BadType, BadValue, expect_array, expect_flag, expect_name, expect_number
from sbi_kit.contracts import Array, IntArray

DistanceFunction: TypeAlias = Callable[[Array, Array], ArrayLike]

DISTANCES = "euclidean", "cityblock", "chebyshev", "mahalanobis"
FEWEST = 20  # accepted simulations that a density can be fitted to
_BLOCK = 2**22  # distances in memory at a time: 32 MiB
_QUANTILE = 0.01


@dataclass(frozen=True, eq=False)
class StandIns:
    """The simulations that stand for one dataset.

    Attributes:
        rows: Which simulations, nearest first, shape (m,).
        distance: Their distances from the data, shape (m,).
        weights: Their weights, of sum 1, shape (m,).
        u: Their whitened parameters, shape (m, d).
        corrected: These after regression, if there was one, else the same, shape (m, d).
        tolerance: Distance up to which they were accepted.
    """

    rows: IntArray
    distance: Array
    weights: Array
    u: Array
    corrected: Array
    tolerance: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Acceptance:
    """How simulations are accepted; its settings are checked when it is made.

    Attributes:
        quantile: Share of the simulations to accept; None where there is a tolerance.
        tolerance: Largest distance to accept; None where there is a quantile.
        distance: "euclidean", "cityblock", "chebyshev", "mahalanobis", or a function of the numbers
            of all simulations (N, k) and of the data (k,) that returns distances (N,).
        adjusted: Whether to correct accepted parameters by regression.

    Raises:
        BadType, BadValue, UnknownName: A setting is out of its range.
    """

    quantile: float | None
    tolerance: float | None
    distance: str | DistanceFunction
    adjusted: bool

    def __post_init__(self) -> None:
        if (self.quantile is None) == (self.tolerance is None):
            got = "neither" if self.quantile is None else "both"
            raise BadValue("a quantile or a tolerance", got, "leave one of them out")
        for name, high in (("quantile", 1.0), ("tolerance", math.inf)):
            if getattr(self, name) is not None:
                expect_number(name, getattr(self, name), low=0, high=high, open_low=True)
        if isinstance(self.distance, str):
            expect_name("distance", self.distance, DISTANCES)
        elif not callable(self.distance):
            do = f"choose of {', '.join(DISTANCES)}"
            raise BadType("a distance", type(self.distance).__name__, do)
        expect_flag("adjust", self.adjusted)

    def __call__(self, numbers: Array, u: Array, z: Array) -> Iterator[StandIns]:
        """The simulations that stand for each of b datasets.

        Args:
            numbers: Numbers of the datasets, shape (b, k).
            u: Whitened parameters of the simulations, shape (N, d).
            z: Their numbers, shape (N, k).

        Raises:
            BadValue: Fewer than 20 simulations are within the tolerance, or the distance is a
                function that returns another shape.
        """
        for row, distance in enumerate(self._distances(numbers, z)):
            if self.tolerance is None:
                m = max(FEWEST, math.ceil((self.quantile or 0.0) * len(u)))
                rows = np.argpartition(distance, m - 1)[:m]
            else:
                rows = np.flatnonzero(distance <= self.tolerance)
            if len(rows) < FEWEST:
                near = np.partition(distance, FEWEST - 1)[FEWEST - 1]
                raise BadValue(
                    f"{FEWEST} simulations or more within the tolerance {self.tolerance:.6g}",
                    f"{len(rows)} for dataset {row}",
                    f"raise the tolerance to {near:.3g} or more, or simulate more",
                )
            rows = rows[np.argsort(distance[rows], kind="stable")]
            yield self._stand_in(rows, distance[rows], u[rows], z[rows] - numbers[row])

    def _stand_in(self, rows: IntArray, distance: Array, u: Array, away: Array) -> StandIns:
        edge = float(distance[-1])
        weights, corrected = np.full(len(rows), 1 / len(rows)), u
        if self.adjusted:
            # Epanechnikov's kernel; where all are equally far they weigh the same.
            kernel = 1 - np.square(distance / edge) if edge > distance[0] else np.ones(len(rows))
            weights = kernel / kernel.sum()
            corrected = _adjust(u, away, weights)
        limit = edge if self.tolerance is None else self.tolerance
        return StandIns(rows, distance, weights, u, corrected, limit)

    def _distances(self, numbers: Array, z: Array) -> Iterator[Array]:
        """Distances of all simulations z (N, k) from each row of numbers (b, k), shapes (N,)."""
        if not isinstance(self.distance, str):
            do = "return one for each row of z (N, k)"
            for number in numbers:
                found = expect_array("distances", self.distance(z, number), (len(z),), do=do)
                yield np.where(np.isnan(found), np.inf, found)
            return
        metric: Any = self.distance
        extra: dict[str, Any] = {}
        if metric == "mahalanobis":
            covariance = np.atleast_2d(np.cov(z, rowvar=False))
            extra["VI"] = np.linalg.pinv(covariance, hermitian=True)
        size = max(1, _BLOCK // len(z))
        for start in range(0, len(numbers), size):
            yield from cdist(numbers[start : start + size], z, metric, **extra)


def quantile_for(quantile: float | None, tolerance: float | None, simulations: int) -> float | None:
    """The quantile, .01 if neither it nor a tolerance is given, if it leaves enough simulations.

    Raises:
        BadValue: It does not.
    """
    if simulations < FEWEST:
        raise BadValue(f"{FEWEST} usable simulations or more", str(simulations), "simulate more")
    if quantile is None:
        return None if tolerance is not None else max(_QUANTILE, FEWEST / simulations)
    share = expect_number("quantile", quantile, low=0, high=1, open_low=True)
    if share * simulations < FEWEST:
        raise BadValue(
            f"a quantile that accepts {FEWEST} of {simulations:,} simulations or more",
            f"{share:g}, which accepts {int(share * simulations)}",
            f"choose {FEWEST / simulations:.2g} or more, or simulate more",
        )
    return share


def _adjust(u: Array, away: Array, weights: Array) -> Array:
    """Parameters (m, d) less what a weighted regression on away (m, k), from the data, predicts."""
    mean = weights @ away
    root = np.sqrt(weights)[:, None]
    slopes = np.linalg.lstsq(root * (away - mean), root * (u - weights @ u), rcond=1e-6)[0]
    corrected: Array = u - away @ slopes
    return corrected
