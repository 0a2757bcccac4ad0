"""Logistic regression: the probability of a one is π = 1 / (1 + exp(−wᵀx)).

The log-likelihood Σ y log π + (1 − y) log(1 − π) is concave, its gradient Xᵀ(y − π), its Hessian
−XᵀSX with S = diag π(1 − π). Newton's steps (XᵀSX)⁻¹Xᵀ(y − π), which are reweighted least squares
(McCullagh & Nelder 1989, section 4.4), are halved until the log-likelihood does not fall. Half the
gain that such a step promises, the decrement gᵀ(XᵀSX)⁻¹g, is the squared distance to the maximum in
standard errors, by which convergence is judged.

There is no maximum where some weights put every row on its side or on the border, not all on the
border: zᵢ wᵀxᵢ >= 0 with z = 2y − 1 (Albert & Anderson 1984, Biometrika 71:1). Then the likelihood
grows for ever along w. Once a row's probability is within 1e-6 of 0 or 1, a linear program looks
for such a w.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import linprog
from scipy.special import expit

from sbi_kit.checks import BadValue, expect_flag, expect_integer
from sbi_kit.contracts import Array
from sbi_kit.mle.bernoulli import read_binary
from sbi_kit.mle.columns import Column, Design, Table, expect_fitted, make_design, read_table
from sbi_kit.mle.estimate import Estimate

_SUSPICIOUS = 14.0  # |wᵀx| at which separation is looked for
_APART = 1e-6  # margin beyond the linear program's own tolerance
_DECREMENT = 1e-18  # squared standard errors to the maximum
_ROUNDED = 1e-10  # the same, where steps no longer bring it down
_HALVINGS = 40


class Logistic:
    """Maximum likelihood for a logistic regression.

    Args:
        intercept: Whether to add a constant column.
        iterations: Newton steps at most.

    Attributes:
        names_: Names of the k columns.
        coefficients_: w without the intercept, shape (k,).
        intercept_: The intercept, 0 without one.
        covariance_: Of the intercept, if there is one, and the coefficients, shape (p, p).
        standard_errors_: Roots of its diagonal, shape (p,).
        log_likelihood_: In nats.
        iterations_: Newton steps taken.
        estimate_: Intercept and coefficients as an `Estimate`.

    >>> dose = [[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]
    >>> cure = Logistic().fit(dose, [0, 0, 1, 0, 1, 1])
    >>> cure.coefficients_.round(3), cure.predict_proba([[2.5]]).round(3)
    (array([1.214]), array([[0.5, 0.5]]))
    """

    names_: tuple[str, ...]
    coefficients_: Array
    intercept_: float
    covariance_: Array
    standard_errors_: Array
    log_likelihood_: float
    iterations_: int
    estimate_: Estimate

    def __init__(self, *, intercept: bool = True, iterations: int = 100) -> None:
        self.intercept = intercept
        self.iterations = iterations

    def fit(self, x: Table, y: Column, *, names: Sequence[str] | None = None) -> Self:
        """Learn from rows (n, k) and their classes (n,), zeros and ones.

        Args:
            x: An array or a pandas frame.
            y: The classes.
            names: Names for an array's columns; of a frame, the columns to take.

        Raises:
            BadValue: There are no more rows than coefficients, a value is not finite, a class is
                neither 0 nor 1 or is that of all rows, a column follows from others, the classes
                are separated, or `iterations` were too few.
            BadType: A column holds other than numbers.
        """
        intercept = expect_flag("intercept", self.intercept)
        iterations = expect_integer("iterations", self.iterations, low=1)
        rows, self.names_ = read_table(x, names)
        classes = read_binary(y, len(rows))
        if intercept and np.ptp(classes) == 0:
            got = f"{classes[0]:.0f} in all {len(classes)} rows"
            raise BadValue("rows of both classes", got, "pass rows of the other class too")
        design = make_design(rows, self.names_, intercept=intercept)
        weights, information, self.iterations_ = _newton(design, classes, iterations)
        solution = design.back @ weights
        self.intercept_ = float(solution[0]) if intercept else 0.0
        self.coefficients_ = solution[1:] if intercept else solution
        self.covariance_ = design.back @ np.linalg.inv(information) @ design.back.T
        self.standard_errors_ = np.sqrt(np.diag(self.covariance_))
        self.log_likelihood_ = _log_likelihood(design.matrix @ weights, classes)
        self.estimate_ = Estimate(
            names=design.names,
            values=solution,
            covariance=self.covariance_,
            log_likelihood=self.log_likelihood_,
            converged=True,
            gradients="closed form",
        )
        return self

    def predict_proba(self, x: Table) -> Array:
        """Probabilities of zero and of one of rows (n, k), shape (n, 2)."""
        linear = self._linear(x)
        return np.column_stack([probability(-linear), probability(linear)])

    def predict(self, x: Table) -> Array:
        """The more probable class of rows (n, k), shape (n,); 1 where both are."""
        classes: Array = (self._linear(x) >= 0).astype(np.float64)
        return classes

    def log_prob(self, x: Table, y: Column) -> Array:
        """Log probability of classes (n,) of rows (n, k), shape (n,)."""
        linear = self._linear(x)
        return _log_prob(linear, read_binary(y, len(linear)))

    def log_likelihood(self, x: Table, y: Column) -> float:
        """The sum of `log_prob`, in nats."""
        return float(self.log_prob(x, y).sum())

    def _linear(self, x: Table) -> Array:
        expect_fitted(self, "coefficients_")
        linear: Array = read_table(x, self.names_)[0] @ self.coefficients_ + self.intercept_
        return linear


def probability(linear: ArrayLike) -> Array:
    """π = 1 / (1 + exp(−wᵀx)) of linear predictors wᵀx of any shape.

    >>> float(probability(np.dot((4, -2, 5, -3, 11, 9), (6, 8, 2, 7, -3, 5))))
    0.9998766054240137
    """
    ones: Array = expit(np.asarray(linear, dtype=np.float64))
    return ones


def _newton(design: Design, classes: Array, iterations: int) -> tuple[Array, Array, int]:
    """Weights (p,) of the standardised columns, their information (p, p), and steps taken."""
    x = design.matrix
    weights, linear = np.zeros(x.shape[1]), np.zeros(len(x))
    looked, last = False, np.inf
    for step in range(iterations + 1):
        if not looked and np.abs(linear).max() > _SUSPICIOUS:
            looked = True
            _expect_overlap(design, classes)
        ones = expit(linear)
        information = x.T @ (x * (ones * expit(-linear))[:, None])
        gradient = x.T @ (classes - ones)
        try:
            move = cho_solve(cho_factor(information), gradient)
        except LinAlgError:
            break
        decrement = float(gradient @ move)
        if decrement <= _DECREMENT or last / 4 < decrement <= _ROUNDED:
            return weights + move, information, step
        weights, linear = _climb(x, classes, weights, linear, move)
        last = decrement
    certain = int((np.abs(linear) > _SUSPICIOUS).sum())
    got = f"none after {step} steps, with {certain} of {len(x)} rows all but certain"
    advice = f"leave out outlying rows, or raise iterations above {iterations}"
    raise BadValue("Newton's method to converge", got, advice)


def _climb(
    x: Array, classes: Array, weights: Array, linear: Array, move: Array
) -> tuple[Array, Array]:
    """Weights and linear predictors after the longest of the halved moves that is no descent."""
    before = _log_likelihood(linear, classes)
    for halving in range(_HALVINGS):
        moved = weights + move / 2**halving
        predictors = x @ moved
        if _log_likelihood(predictors, classes) >= before - 1e-12 * abs(before):
            break
    return moved, predictors


def _log_prob(linear: Array, classes: Array) -> Array:
    log_prob: Array = -np.logaddexp(0.0, np.where(classes > 0, -linear, linear))
    return log_prob


def _log_likelihood(linear: Array, classes: Array) -> float:
    return float(_log_prob(linear, classes).sum())


def _expect_overlap(design: Design, classes: Array) -> None:
    """Refuse classes that a combination of columns separates.

    Raises:
        BadValue: One does, wholly or but for rows on the border; the message names its columns.
    """
    sides = design.matrix * (2 * classes - 1)[:, None]  # zᵢ xᵢ, (n, p)
    size = np.abs(sides).max(axis=1, keepdims=True)
    sides /= np.where(size > 0, size, 1.0)
    # Maximise Σ zᵢ wᵀxᵢ with no row on the wrong side, in a box that keeps it finite.
    found: Any = linprog(
        -sides.mean(axis=0), A_ub=-sides, b_ub=np.zeros(len(sides)), bounds=(-1, 1)
    )
    if found.x is None or (sides @ found.x).max() <= _APART:
        return
    # And the largest margin that all rows can have, which is the last unknown.
    each = np.column_stack([-sides, np.ones(len(sides))])
    margin: Any = linprog(
        -np.eye(each.shape[1])[-1], A_ub=each, b_ub=np.zeros(len(each)), bounds=(-1, 1)
    )
    complete = margin.x is not None and margin.x[-1] > _APART
    weights = np.abs(margin.x[:-1] if complete else found.x)
    apart = zip(design.names, weights > 1e-3 * weights.max(), strict=True)
    named = ", ".join(repr(name) for name, separates in apart if separates)
    kind = "complete" if complete else "quasi-complete"
    raise BadValue(
        "classes that overlap, or the likelihood has no maximum",
        f"{kind} separation by {'a combination of ' if ',' in named else ''}{named}",
        "leave out what separates them, pass more rows, or use a method that penalises weights",
    )
