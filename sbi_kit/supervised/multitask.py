"""A number and a class from the same features: linear heads under one penalty.

    alpha L_r(theta_r) + beta L_c(theta_c) + lam [rho ‖theta‖₁ + (1 - rho) ‖theta‖₂²]

L_r is the mean squared error of the standardised target, L_c the binary cross-entropy of the class,
both halves, and theta holds the weights of both heads, but no intercept. As the heads share no
weight, the objective is a sum of two, and its minimiser is that of each task alone under the
penalty lam / alpha, or lam / beta: joint training of separate linear heads passes nothing from one
task to the other. Heads for quantiles of the target are fitted beside, by the smoothed check loss
in the place of L_r, weighted so that no weight is left from the same lam on; they are put in order
where they cross (Chernozhukov et al. 2010, Econometrica 78:1093).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags

from sbi_kit.checks import BadType, expect_integer, expect_number
from sbi_kit.contracts import Array
from sbi_kit.supervised.lesson import (
    Lesson,
    read_features,
    read_labels,
    read_lesson,
    read_target,
)
from sbi_kit.supervised.losses import Entropy, Pinball, Squared
from sbi_kit.supervised.proximal import Head, Penalty, Task, fit_head
from sbi_kit.supervised.scores import Prediction, scores

_BANDWIDTH = 0.1  # of the smoothed check loss, in standard deviations of what is left of the target
_SHARPEST = 0.02  # and at least, in those of the target
_QUANTILE_TOLERANCE = 1e-5
_LEAST = 1e-12  # a slope below it is none


class MultiTask(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Linear heads for a target, its quantiles and a class, with exact zeros.

    Features may be any frame: numbers may have gaps, all else is a category. What is learned of
    them (medians, levels, means, scales) is learned from the rows that `fit` gets.

    Args:
        alpha: Weight of the squared error, and of the quantiles' losses, above 0.
        beta: Weight of the cross-entropy, above 0.
        lam: Strength of the penalty, above 0.
        rho: Share of the absolute values in it, from 0 (ridge) to 1 (lasso).
        premium_share: Share of the training rows in class 1, those of the highest target, where
            `fit` gets no labels.
        quantiles: Levels of the quantiles, each between 0 and 1; none costs nothing.
        fewest: Rows that a category needs for an indicator.

    Attributes:
        regression_: Weights and intercept of the target, in standard units of all.
        classification_: Those of the log odds of class 1.
        quantile_heads_: Those of each quantile.
        columns_: How frames become matrices; `columns_.names` names the weights.
        scale_: Mean and standard deviation of the target.
        threshold_: What the target of class 1 is above; None if labels were given.
        importances_: Frame with a row for each feature: the standard deviation of its part in the
            predictor among the training rows, "regression" in those of the target and
            "classification" in log odds; "both" is the mean of their shares in the sum of all.

    >>> frame = pd.DataFrame({"area": [50, 70, 90, 110, 130.0], "city": list("abaab")})
    >>> model = MultiTask(lam=1e-6, premium_share=0.4, fewest=1).fit(frame, 2 * frame["area"] + 10)
    >>> model.predict(frame).round(2).tolist()
    [110.0, 150.0, 190.0, 230.0, 270.0]
    >>> model.predict_proba(frame).argmax(axis=1).tolist()
    [0, 0, 0, 1, 1]
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        lam: float = 0.01,
        rho: float = 1.0,
        premium_share: float = 0.2,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        fewest: int = 10,
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.lam = lam
        self.rho = rho
        self.premium_share = premium_share
        self.quantiles = quantiles
        self.fewest = fewest

    def fit(self, x: Any, y: Any, labels: Any = None) -> Self:
        """Learn from rows.

        Args:
            x: Features: a frame, or an array (rows, features).
            y: Target, shape (rows,).
            labels: Classes 0 and 1, shape (rows,); None makes them from y.

        Raises:
            BadType, BadValue: A setting is out of its range, or the rows cannot be learned from.
        """
        for name in ("alpha", "beta", "lam"):
            expect_number(name, getattr(self, name), low=0, open_low=True)
        expect_number("rho", self.rho, low=0, high=1)
        expect_levels(self.quantiles)
        expect_integer("fewest", self.fewest, low=1)
        lesson = read_lesson(self, x, y, labels, share=self.premium_share, fewest=self.fewest)
        self.columns_, self.scale_ = lesson.columns, lesson.scale
        self.threshold_ = lesson.threshold
        self._fit_heads(lesson)
        self.importances_ = _importances(lesson, self.regression_, self.classification_)
        return self

    def _fit_heads(self, lesson: Lesson) -> None:
        penalty = Penalty(self.lam, self.rho)
        x, y = lesson.x, lesson.y
        mean = Task(x, y, Squared(), self.alpha)
        self.regression_ = fit_head(mean, penalty)
        self.classification_ = fit_head(Task(x, lesson.labels, Entropy(), self.beta), penalty)
        bandwidth = max(_SHARPEST, _BANDWIDTH * float(np.std(y - self.regression_(x))))
        heads = []
        for tau in sorted(self.quantiles):
            task = Task(x, y, Pinball(tau, bandwidth), self.alpha)
            # The check loss is flatter than squared error; so both are shrunk alike.
            steeper = mean.largest_lam(self.rho) / max(_LEAST, task.largest_lam(self.rho))
            task = replace(task, weight=self.alpha * steeper)
            heads.append(fit_head(task, penalty, tolerance=_QUANTILE_TOLERANCE))
        self.quantile_heads_ = tuple(heads)

    def predict(self, x: Any) -> Array:
        """Expected target of each row, shape (rows,)."""
        matrix = self._matrix(x)
        return self.scale_.restore(self.regression_(matrix))

    def predict_proba(self, x: Any) -> Array:
        """Probabilities of class 0 and 1, shape (rows, 2)."""
        matrix = self._matrix(x)
        return two_sided(self.classification_(matrix))

    def predict_quantiles(self, x: Any) -> Array:
        """Quantiles of the target in rising order, shape (rows, levels)."""
        matrix = self._matrix(x)
        heads = [self.scale_.restore(head(matrix)) for head in self.quantile_heads_]
        return np.sort(np.reshape(heads, (len(heads), len(matrix))).T, axis=1)

    def score(self, x: Any, y: Any) -> float:
        """R^2 of the predicted target; 1 is perfect, 0 what the mean achieves."""
        prediction = self.predict(x)
        return r_squared(read_target(y, len(prediction)), prediction)

    def evaluate(self, x: Any, y: Any, labels: Any = None) -> dict[str, float]:
        """All scores of rows that it did not learn from; see `sbi_kit.supervised.scores`."""
        return evaluate(self, x, y, labels)

    def _matrix(self, x: Any) -> Array:
        frame = read_features(self, x)
        return self.columns_(frame)

    def __sklearn_tags__(self) -> Tags:
        return tagged(super().__sklearn_tags__())


def tagged(tags: Tags) -> Tags:
    """What scikit-learn should know: gaps and categories are welcome."""
    tags.input_tags.allow_nan = True
    tags.input_tags.string = True
    tags.input_tags.categorical = True
    return tags


def two_sided(log_odds: Array) -> Array:
    """Probabilities of both classes, shape (rows, 2)."""
    odds = np.stack([-log_odds, log_odds], axis=-1)
    return np.asarray(np.exp(-np.logaddexp(0, -odds)))


def evaluate(estimator: Any, x: Any, y: Any, labels: Any) -> dict[str, float]:
    """All scores of an estimator that was fitted to one lesson; see its method."""
    levels = sorted(estimator.quantiles)
    quantiles = dict(zip(levels, estimator.predict_quantiles(x).T, strict=True))
    found = Prediction(estimator.predict(x), estimator.predict_proba(x)[:, 1], quantiles)
    target = read_target(y, len(found.mean))
    return scores(target, read_labels(labels, target, estimator.threshold_), found)


def r_squared(y: Array, prediction: Array) -> float:
    """1 less the share of the variance of y that is left; NaN for a single row."""
    if len(y) < 2:
        return np.nan
    left, all_of_it = np.sum((y - prediction) ** 2), np.sum((y - y.mean()) ** 2)
    return float(1 - left / all_of_it) if all_of_it > 0 else float(left == 0)


def expect_levels(quantiles: object) -> None:
    """Refuse levels of quantiles that are no distinct numbers between 0 and 1.

    Raises:
        BadType, BadValue: They are not.
    """
    if not isinstance(quantiles, (tuple, list)) or len(set(quantiles)) < len(quantiles):
        raise BadType("quantiles as a tuple of distinct levels", repr(quantiles), "list each once")
    for tau in quantiles:
        expect_number("each of quantiles", tau, low=1e-3, high=1 - 1e-3)


def _importances(lesson: Lesson, regression: Head, classification: Head) -> pd.DataFrame:
    """Standard deviation of each feature's part in both predictors."""
    owners = np.array(lesson.columns.owners)
    table = {}
    for name, head in (("regression", regression), ("classification", classification)):
        parts = {
            owner: float(np.std(lesson.x[:, mine] @ head.weights[mine]))
            for owner in dict.fromkeys(lesson.columns.owners)
            for mine in [owners == owner]
        }
        table[name] = pd.Series(parts, dtype=np.float64)
    frame = pd.DataFrame(table)
    sums = frame.sum().replace(0.0, 1.0)
    return frame.assign(both=(frame / sums).mean(axis=1))
