"""Parts of the held-out datasets in which a posterior is judged once more.

A posterior may be right on average and wrong at n = 100. Ranks stay uniform in any part of the
datasets that is chosen by the data alone, such as those with few observations. They do not where
theta* has a say: among datasets with a large theta* the ranks of an exact posterior are large.

So regions of a parameter are those of its place in the posterior, the mean over the draws. Draws
have a say in their mean, which would push their ranks down where it is large; the mean is therefore
taken over the draws and theta* together. Given x these are exchangeable, their mean treats them
alike, and the ranks given it are exactly uniform, however few the draws.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sbi_kit.contracts import Array, IntArray
from sbi_kit.diagnostics.uniformity import Sensitivity, sensitivity, uniformity

_WORDS = {2: ("low half", "high half"), 3: ("low third", "middle third", "high third")}


@dataclass(frozen=True, eq=False)
class Stratum:
    """The verdict on some of the datasets.

    Attributes:
        label: Which they are, such as "n 50..120" or "beta low third".
        rows: Their indices, shape (k,).
        p_values: p-value of each parameter and test quantity among them, shape (d + q,).
        faults: What is wrong with each, in two words, if anything is.
        size: Probability that an exact posterior fails for one parameter in this stratum.
        sensitivity: The smallest errors of one parameter that so few datasets show.
    """

    label: str
    rows: IntArray
    p_values: Array
    faults: tuple[str, ...]
    size: float
    sensitivity: Sensitivity

    @property
    def failed(self) -> IntArray:
        """Indices of the parameters and test quantities that failed here."""
        return np.flatnonzero(self.p_values <= self.size)

    @property
    def passed(self) -> bool:
        """Whether all parameters and test quantities passed here."""
        return len(self.failed) == 0


def judge_strata(
    parts: Sequence[tuple[str, IntArray]], ranks: IntArray, draws: int, *, size: float
) -> tuple[Stratum, ...]:
    """Judge ranks (b, k) in every part; all parts together spend `size`."""
    each = size / max(1, len(parts) * ranks.shape[1])
    strata = []
    for label, rows in parts:
        tests = uniformity(ranks[rows], draws)
        faults = tuple(tests.fault(i) for i in range(ranks.shape[1]))
        seen = sensitivity(len(rows), draws, level=1 - each)
        strata.append(Stratum(label, rows, tests.p_values, faults, each, seen))
    return tuple(strata)


def strata_of(
    n: IntArray, context: Array, places: Array, names: Sequence[str], regions: int
) -> list[tuple[str, IntArray]]:
    """Parts of b datasets by size, by known context and by each parameter's place.

    Args:
        n: Number of observations, shape (b,).
        context: What is known of each dataset besides, shape (b, c).
        places: Mean of each parameter over draws and theta*, shape (b, d).
        names: Of the c known quantities, then of the d parameters.
        regions: Parts along each of these; with 1 there are none.

    Returns:
        Label and rows of each part. What does not vary is not cut.
    """
    if regions == 1:
        return []
    along = zip(names, [*context.T, *places.T], strict=True)
    return [
        *_sizes(n, regions),
        *(part for name, values in along for part in _parts(name, values, regions)),
    ]


def _sizes(n: IntArray, regions: int) -> Iterator[tuple[str, IntArray]]:
    """Parts of like n, each n in one of them; one for each n if there are few."""
    distinct = np.unique(n)
    if len(distinct) == 1:
        return
    if len(distinct) > regions:
        inner = np.quantile(n, np.arange(1, regions) / regions)
        part = np.searchsorted(np.unique(inner), n, side="left")
    else:
        part = np.searchsorted(distinct, n)
    for number in np.unique(part):
        rows = np.flatnonzero(part == number)
        low, high = int(n[rows].min()), int(n[rows].max())
        yield (f"n = {low}" if low == high else f"n {low}..{high}"), rows


def _parts(name: str, values: Array, regions: int) -> Iterator[tuple[str, IntArray]]:
    """Parts of equal numbers of datasets along values (b,)."""
    if np.ptp(values) == 0:
        return
    words = _WORDS.get(regions) or [f"part {i} of {regions}" for i in range(1, regions + 1)]
    order = np.argsort(values, kind="stable")
    for word, rows in zip(words, np.array_split(order, regions), strict=True):
        yield f"{name} {word}", np.sort(rows)
