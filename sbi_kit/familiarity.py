"""How unlike the simulations a dataset is, in the eyes of the summary network.

The score is the Mahalanobis distance of a dataset's features from those of training simulations;
its p-value compares it with held-out simulations (Schmitt et al. 2021, arXiv:2112.08866, use an MMD
to the same end). The features of all members of an ensemble stand side by side: on simulations they
agree, and that they do not is a sign of strange data which no member gives alone. Beyond the
held-out scores a Pareto tail is fitted (Hill 1975), so that a p-value can be as small as the
distance deserves.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbi_kit.contracts import Array

_TAIL = 0.1  # share of held-out scores that the tail is fitted to
_FLAT = 1e-5  # directions whose spread is below this share of the widest are noise


@dataclass(frozen=True)
class Familiarity:
    """A reference to compare datasets with; `fit_familiarity` makes one.

    Attributes:
        center: Mean of the features, shape (f,).
        whitener: Projection to k uncorrelated features of unit variance, shape (f, k).
        scores: Sorted scores of held-out simulations, shape (m,).
    """

    center: Array
    whitener: Array
    scores: Array

    def score(self, features: NDArray[np.floating[Any]]) -> Array:
        """Distances of features (b, f), shape (b,)."""
        white: Array = (features - self.center) @ self.whitener
        score: Array = np.sqrt(np.square(white).mean(axis=1))
        return score

    @property
    def usual(self) -> float:
        """The score below which 95 % of simulations lie."""
        return float(np.quantile(self.scores, 0.95))

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
    training: NDArray[np.floating[Any]], held_out: NDArray[np.floating[Any]]
) -> Familiarity:
    """Learn the reference from features of training (N, f) and held-out (m, f) simulations."""
    features = training.astype(np.float64)
    center = features.mean(axis=0)
    _, spread, directions = np.linalg.svd(features - center, full_matrices=False)
    # Ten simulations per direction at least: fewer say little about its spread.
    most = max(1, len(features) // 10)
    kept = np.flatnonzero(spread > _FLAT * spread[0])[:most] if spread[0] > 0 else np.arange(0)
    whitener = directions[kept].T / spread[kept] * math.sqrt(len(features))
    if not len(kept):
        whitener = np.zeros((features.shape[1], 1))
    blank = Familiarity(center, whitener, np.zeros(1))
    return Familiarity(center, whitener, np.sort(blank.score(held_out)))
