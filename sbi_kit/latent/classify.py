"""Classification by class-conditional densities: one PPCA for each class, and Bayes' rule.

    p(k | x) ∝ π_k N(x | μ_k, W_k W_kᵀ + σ_k² I)

Between linear and quadratic discriminant analysis: every class has a covariance of its own, but of
few numbers, so that it can be learned from few rows. Missing values are integrated out.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from sbi_kit.checks import BadType, BadValue, show_shape
from sbi_kit.contracts import Array
from sbi_kit.latent.factors import log_probs
from sbi_kit.latent.ppca import fit_factors
from sbi_kit.latent.table import (
    expect_components,
    expect_fitted,
    expect_rows,
    expect_seen,
    expect_training,
)


class PPCAClassifier:
    """One PPCA for each class.

    Args:
        components: Size of the codes of each class.
        seed: Seed of EM's first weights, where values are missing.

    Attributes:
        classes_: The labels, ascending, shape (classes,).
        log_priors_: Log shares of the classes among the training rows, shape (classes,).
        factors_: Mean, weights and noise of each class.

    >>> x = np.random.default_rng(0).normal(size=(200, 3)) + np.repeat([[0.0], [5]], 100, axis=0)
    >>> model = PPCAClassifier(components=1).fit(x, np.repeat(["low", "high"], 100))
    >>> model.predict([[0.1, 0, 0], [4, 5, 6]]).tolist()
    ['low', 'high']
    """

    def __init__(self, *, components: int, seed: int = 0) -> None:
        self.components = components
        self.seed = seed

    def fit(self, x: ArrayLike, y: ArrayLike) -> Self:
        """Learn from rows x (rows, columns), NaN where a value is missing, and labels y (rows,).

        Raises:
            BadType, BadValue: x is no such table; y has another length, missing labels or one class
                alone; or the rows of a class have no more than `components` dimensions.

        Warns:
            UserWarning: A column is constant.
        """
        array = expect_training(x, missing=True)
        components = expect_components(self.components, array.shape[1])
        labels = _expect_labels(y, len(array))
        classes, members = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise BadValue("labels y of two classes at least", repr(classes[0].item()), "add rows")
        fitted = []
        for index, name in enumerate(classes):
            rows = array[members == index]
            try:
                expect_seen(rows)
                fitted.append(fit_factors(rows, components, seed=self.seed)[0])
            except BadValue as error:
                expected, got, do = error.args
                raise BadValue(expected, f"{got} in class {name.item()!r}", do) from None
        self.classes_: NDArray[Any] = classes
        self.factors_ = tuple(fitted)
        self.log_priors_: Array = np.log(np.bincount(members) / len(members))
        return self

    def log_joint(self, x: ArrayLike) -> Array:
        """log π_k + log p(x | k) of rows x (rows, columns), shape (rows, classes)."""
        expect_fitted(self)
        rows = expect_rows(x, columns=len(self.factors_[0].mean), missing=True)
        joint: Array = np.stack([log_probs(factors, rows) for factors in self.factors_], axis=1)
        return joint + self.log_priors_

    def predict_proba(self, x: ArrayLike) -> Array:
        """Probability of each class for rows x (rows, columns), shape (rows, classes)."""
        joint = self.log_joint(x)
        shares: Array = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
        return shares

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """The most probable class of each row of x (rows, columns), shape (rows,)."""
        best = self.log_joint(x).argmax(axis=1)
        found: NDArray[Any] = self.classes_[best]
        return found


def _expect_labels(y: ArrayLike, rows: int) -> NDArray[Any]:
    labels = np.asarray(y)
    if labels.shape != (rows,):
        got = show_shape(labels.shape)
        raise BadValue(f"labels y of shape ({rows},)", got, "pass one label per row of x")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        place = int(np.argmin(np.isfinite(labels)))
        raise BadValue("a label in every row", f"{labels[place]} in row {place}", "leave it out")
    if labels.dtype.kind not in "biufUS" and not all(isinstance(label, str) for label in labels):
        got = f"an array of {labels.dtype}"
        raise BadType("labels y as numbers or text", got, "convert them")
    return labels.astype(str) if labels.dtype.kind == "O" else labels
