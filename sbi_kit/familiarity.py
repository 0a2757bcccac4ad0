"""How unlike the simulations a dataset is: in the eyes of the summary network and at face value.

A dataset is seen in two views, the features that the networks learned and plain statistics of its
columns. The score of each is the Mahalanobis distance from training simulations, in units of what
95 % of held-out simulations stay below, and the larger one counts; its p-value compares it with
those of held-out simulations. The learned view alone, which is where Schmitt et al. (2021,
arXiv:2112.08866) look, is blind to whatever does not help inference: a covariate ten times too
narrow was found in 1 % of datasets, and in 99 % with the second view. Their kernel score finds in
one dataset what the distance does, to 1 %, so it is kept for what it alone can see: several
datasets that are distributed otherwise than simulations, though each may be usual. The features of
all members of an ensemble stand side by side: on simulations they agree, and that they do not is a
sign of strange data which no member gives alone. Beyond the held-out scores a Pareto tail is fitted
(Hill 1975), so that a p-value can be as small as the distance deserves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbi_kit.contracts import Array, IntArray
from sbi_kit.kernels import MMD, compare_samples
from sbi_kit.seeds import numpy_stream

_TAIL = 0.1  # share of held-out scores that the tail is fitted to
_FLAT = 1e-5  # directions whose spread is below this share of the widest are noise
_USUAL = 0.95  # share of simulations whose scores count as usual
_KEPT = 500  # held-out simulations that several datasets are compared with
_MOST = 1_000  # of several datasets, how many are compared with them
_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Familiarity:
    """A reference to compare datasets with; `fit_familiarity` makes one.

    Attributes:
        center: Mean of the features of all views, shape (f,).
        whitener: Projection to k features, uncorrelated and of equal variance within each view,
            shape (f, k).
        view: The view that each of them belongs to, shape (k,).
        scores: Sorted scores of held-out simulations, shape (m,).
        reference: Projections of 500 of them, or of all if these are fewer, shape (r, k).
    """

    center: Array
    whitener: Array
    view: IntArray
    scores: Array
    reference: Array

    def score(self, features: NDArray[np.floating[Any]]) -> Array:
        """How unlike simulations features (b, f) are, 1 being hardly usual, shape (b,)."""
        squares = np.square(self._project(features))
        views = [squares[:, self.view == view].mean(axis=1) for view in np.unique(self.view)]
        return np.asarray(np.sqrt(np.max(views, axis=0)))

    def compare(self, features: NDArray[np.floating[Any]], *, seed: int) -> MMD | None:
        """Whether several datasets together are distributed as simulations are.

        The prior is part of what they are compared with: datasets whose parameters vary less than
        the prior says differ from simulations, however well the simulator describes each.

        Args:
            features: Their features, shape (b, f).
            seed: Seed of the permutations, and of which 1,000 of more datasets are compared.

        Returns:
            The squared maximum mean discrepancy from held-out simulations and its p-value; None
            where there are fewer than two datasets, or two simulations, to compare.
        """
        if min(len(features), len(self.reference)) < 2:
            return None
        rng = numpy_stream(seed, "familiarity")
        some = rng.permutation(len(features))[:_MOST]
        return compare_samples(self._project(features[some]), self.reference, rng=rng)

    def _project(self, features: NDArray[np.floating[Any]]) -> Array:
        projected: Array = (features - self.center) @ self.whitener
        return projected

    @property
    def usual(self) -> float:
        """The score below which 95 % of simulations lie."""
        return float(np.quantile(self.scores, _USUAL))

    def p_value(self, score: Array) -> Array:
        """Share of simulations that are as unlike the others, shape (b,)."""
        m = len(self.scores)
        count = np.searchsorted(self.scores, score, side="left")
        empirical: Array = (1 + m - count) / (1 + m)
        start = max(0, m - max(2, math.ceil(_TAIL * m)))
        edge, beyond = self.scores[start], self.scores[start + 1 :]
        # Where held-out scores are tied there is no tail to fit.
        if edge == 0 or not len(beyond):
            return empirical
        mean_excess = max(1e-3, float(np.mean(np.log(beyond / edge))))
        tail = (m - start) / m * np.exp(-np.log(np.maximum(score, edge) / edge) / mean_excess)
        return np.where(score > self.scores[-1], np.minimum(empirical, tail), empirical)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The attributes by name, to be saved; `Familiarity(**arrays)` is the inverse."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def fit_familiarity(
    training: NDArray[np.floating[Any]],
    held_out: NDArray[np.floating[Any]],
    widths: Sequence[int] | None = None,
) -> Familiarity:
    """Learn the reference from simulations.

    Args:
        training: Features of training simulations, all views side by side, shape (N, f).
        held_out: Those of held-out simulations, shape (m, f).
        widths: How many features each view has; None stands for a single view.
    """
    features = training.astype(np.float64)
    center = features.mean(axis=0)
    whitener, views = np.zeros((features.shape[1], 0)), []
    start = 0
    for view, width in enumerate([features.shape[1]] if widths is None else widths):
        place = slice(start, start + width)
        block = _whitener(features[:, place] - center[place])
        scores = np.sqrt(np.square((held_out[:, place] - center[place]) @ block).mean(axis=1))
        columns = np.zeros((len(whitener), block.shape[1]))
        columns[place] = block / (np.quantile(scores, _USUAL) or 1.0)
        whitener = np.concatenate([whitener, columns], axis=1)
        views.append(np.full(block.shape[1], view))
        start += width
    some = held_out[np.linspace(0, len(held_out) - 1, min(_KEPT, len(held_out))).astype(np.int64)]
    reference = (some - center) @ whitener
    blank = Familiarity(center, whitener, np.concatenate(views), np.zeros(1), reference)
    return replace(blank, scores=np.sort(blank.score(held_out)))


def column_statistics(
    values: NDArray[np.floating[Any]], n: IntArray, *, exchangeable: bool
) -> Array:
    """Mean, log sd, minimum and maximum of each column, and log n.

    Args:
        values: Standardised datasets, padded, shape (b, longest, c).
        n: Number of true rows of each, shape (b,).
        exchangeable: Whether the columns have no order; five quantiles over the columns stand for
            them then.

    Returns:
        Statistics, shape (b, 4 c + 1), or (b, 21) if columns are exchangeable.
    """
    there = (np.arange(values.shape[1]) < n[:, None])[:, :, None]
    size = n[:, None].astype(np.float64)
    mean = np.where(there, values, 0.0).sum(axis=1) / size
    squares = np.where(there, values - mean[:, None], 0.0) ** 2
    parts = [
        mean,
        np.log(np.sqrt(squares.sum(axis=1) / size) + 1e-3),  # a constant column is possible
        np.where(there, values, np.inf).min(axis=1),
        np.where(there, values, -np.inf).max(axis=1),
    ]
    if exchangeable:
        parts = [np.quantile(part, _LEVELS, axis=1).T for part in parts]
    return np.concatenate([*parts, np.log(size)], axis=1)


def _whitener(centred: Array) -> Array:
    """Projection of features (N, f) to k uncorrelated ones of unit variance, shape (f, k)."""
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)
    # Ten simulations per direction at least: fewer say little about its spread.
    most = max(1, len(centred) // 10)
    kept = np.flatnonzero(spread > _FLAT * spread[0])[:most] if spread[0] > 0 else np.arange(0)
    if not len(kept):
        return np.zeros((centred.shape[1], 1))
    whitener: Array = directions[kept].T / spread[kept] * math.sqrt(len(centred))
    return whitener
