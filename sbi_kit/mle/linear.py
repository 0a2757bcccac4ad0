"""Linear regression as a likelihood.

With targets t_i ~ N(wᵀx_i, β⁻¹) the log-likelihood is largest where Σ (t_i − wᵀx_i)² is least, and
there 1/β is the mean squared residual (Bishop 2006, section 3.1.1). Least squares are solved by a
QR decomposition of standardised columns, X = QR and w = R⁻¹Qᵀt, which keeps the digits that the
normal equations square away. The information of w is β XᵀX, so its covariance is
β⁻¹ (XᵀX)⁻¹ = β⁻¹ R⁻¹R⁻ᵀ; that of log sd = −½ log β, which is independent of it, is 1 / 2n.
"""

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
from scipy.linalg import qr, solve_triangular

from sbi_kit.checks import BadValue, expect_flag
from sbi_kit.contracts import Array
from sbi_kit.mle.columns import Column, Table, expect_fitted, make_design, read_column, read_table
from sbi_kit.mle.estimate import Estimate

_EXACT = 1e-13  # residuals over targets that rounding alone may leave


class Linear:
    """Maximum likelihood for a linear regression with normal noise.

    Args:
        intercept: Whether to add a constant column.

    Attributes:
        names_: Names of the k columns.
        coefficients_: w without the intercept, shape (k,).
        intercept_: The intercept, 0 without one.
        noise_variance_: 1/β, the mean squared residual.
        unbiased_noise_variance_: The same with divisor n − p, p the number of coefficients.
        covariance_: Of the intercept, if there is one, and the coefficients, shape (p, p), at
            `noise_variance_`.
        standard_errors_: Roots of its diagonal, shape (p,).
        log_likelihood_: In nats.
        estimate_: Intercept, coefficients and log standard deviation of the noise.

    >>> line = Linear().fit([[0.0], [1.0], [2.0], [3.0]], [1.0, 3.1, 4.9, 7.0])
    >>> round(line.intercept_, 3), line.coefficients_.round(3), round(line.noise_variance_, 4)
    (1.03, array([1.98]), 0.0045)
    """

    names_: tuple[str, ...]
    coefficients_: Array
    intercept_: float
    noise_variance_: float
    unbiased_noise_variance_: float
    covariance_: Array
    standard_errors_: Array
    log_likelihood_: float
    estimate_: Estimate

    def __init__(self, *, intercept: bool = True) -> None:
        self.intercept = intercept

    def fit(self, x: Table, y: Column, *, names: Sequence[str] | None = None) -> Self:
        """Learn from rows (n, k) and their targets (n,).

        Args:
            x: An array or a pandas frame.
            y: The targets.
            names: Names for an array's columns; of a frame, the columns to take.

        Raises:
            BadValue: There are no more rows than coefficients, a value is not finite, a column
                follows from others, or the targets are met exactly, so that β has no bound.
            BadType: A column holds other than numbers.
        """
        intercept = expect_flag("intercept", self.intercept)
        rows, self.names_ = read_table(x, names)
        targets = read_column("y", y, len(rows))
        design = make_design(rows, self.names_, intercept=intercept)
        (n, p), orthogonal_factor = design.matrix.shape, qr(design.matrix, mode="economic")
        orthogonal, factor = orthogonal_factor
        weights = solve_triangular(factor, orthogonal.T @ targets)
        residuals = targets - design.matrix @ weights
        if np.abs(residuals).max() <= _EXACT * np.abs(targets).max():
            advice = "the noise would be zero; leave out columns or pass noisy targets"
            raise BadValue("targets that scatter around the line", "an exact fit", advice)
        solution = design.back @ weights
        self.intercept_ = float(solution[0]) if intercept else 0.0
        self.coefficients_ = solution[1:] if intercept else solution
        self.noise_variance_ = float(np.square(residuals).mean())
        self.unbiased_noise_variance_ = self.noise_variance_ * n / (n - p)
        half = math.sqrt(self.noise_variance_) * design.back @ np.linalg.inv(factor)
        self.covariance_ = half @ half.T
        self.standard_errors_ = np.sqrt(np.diag(self.covariance_))
        self.log_likelihood_ = -0.5 * n * (math.log(2 * math.pi * self.noise_variance_) + 1)
        covariance = np.diag(np.full(p + 1, 1 / (2 * n)))
        covariance[:p, :p] = self.covariance_
        self.estimate_ = Estimate(
            names=(*design.names, "log_noise_sd"),
            values=np.append(solution, 0.5 * math.log(self.noise_variance_)),
            covariance=covariance,
            log_likelihood=self.log_likelihood_,
            converged=True,
            gradients="closed form",
        )
        return self

    def predict(self, x: Table) -> Array:
        """Means wᵀx of the targets of rows (n, k), shape (n,)."""
        expect_fitted(self, "coefficients_")
        rows = read_table(x, self.names_)[0]
        means: Array = rows @ self.coefficients_ + self.intercept_
        return means

    def log_prob(self, x: Table, y: Column) -> Array:
        """Log of the predictive density N(y | wᵀx, 1/β) of targets (n,), shape (n,)."""
        means = self.predict(x)
        residuals = read_column("y", y, len(means)) - means
        scale = math.log(2 * math.pi * self.noise_variance_)
        total: Array = -0.5 * (np.square(residuals) / self.noise_variance_ + scale)
        return total

    def log_likelihood(self, x: Table, y: Column) -> float:
        """The sum of `log_prob`, in nats."""
        return float(self.log_prob(x, y).sum())
