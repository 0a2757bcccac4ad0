"""The normal distribution of one or several columns.

The likelihood of rows x_1, ..., x_n of N(μ, Σ) is largest at μ = the mean and Σ = the covariance
with divisor n, which is too small by (n − 1) / n on average (Anderson 2003, An Introduction to
Multivariate Statistical Analysis, chapter 3). The estimates are asymptotically independent of each
other, μ with covariance Σ / n and the covariance of entries ij and kl of Σ being
(Σ_ik Σ_jl + Σ_il Σ_jk) / n; so that of log standard deviations is ρ_ij² / 2n.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
from scipy.linalg import solve_triangular

from sbi_kit.checks import BadValue
from sbi_kit.contracts import Array
from sbi_kit.mle.columns import Table, expect_fitted, expect_independent, read_table, standardise
from sbi_kit.mle.estimate import Estimate


class Gaussian:
    """Maximum likelihood for rows of a normal distribution, univariate or multivariate.

    Attributes:
        names_: Names of the d columns.
        mean_: Shape (d,).
        variance_: The divisor is n: maximum likelihood, shape (d,).
        unbiased_variance_: The divisor is n − 1, shape (d,).
        covariance_: Of the columns, with divisor n, shape (d, d).
        unbiased_covariance_: The same with divisor n − 1.
        mean_standard_errors_: `√(variance_ / n)`, shape (d,).
        covariance_standard_errors_: Of the entries of `covariance_`, shape (d, d).
        log_likelihood_: In nats.
        estimate_: Means and log standard deviations, which have no bounds, as an `Estimate`.

    >>> normal = Gaussian().fit([[1.0], [2.0], [3.0], [6.0]])
    >>> normal.mean_, normal.variance_, normal.unbiased_variance_.round(3)
    (array([3.]), array([3.5]), array([4.667]))
    """

    names_: tuple[str, ...]
    mean_: Array
    variance_: Array
    unbiased_variance_: Array
    covariance_: Array
    unbiased_covariance_: Array
    mean_standard_errors_: Array
    covariance_standard_errors_: Array
    log_likelihood_: float
    estimate_: Estimate

    def fit(self, x: Table, *, names: Sequence[str] | None = None) -> Self:
        """Learn from rows (n, d), or from n numbers.

        Args:
            x: An array or a pandas frame.
            names: Names for an array's columns; of a frame, the columns to take.

        Raises:
            BadValue: There are no more rows than columns, a value is not finite, or a column is
                constant or follows from others, so that the likelihood has no maximum.
            BadType: A column holds other than numbers.
        """
        rows, self.names_ = read_table(_upright(x), names)
        n, d = rows.shape
        if n <= d:
            raise BadValue(f"more rows than the {d} columns", f"{n} rows", "pass more rows")
        matrix, self.mean_, scale = standardise(rows, centred=True)
        expect_independent(matrix, self.names_, constant="mean")
        correlation = matrix.T @ matrix / n
        self.covariance_ = correlation * np.outer(scale, scale)
        self.variance_ = np.diag(self.covariance_).copy()
        self.unbiased_covariance_ = self.covariance_ * (n / (n - 1))
        self.unbiased_variance_ = np.diag(self.unbiased_covariance_).copy()
        self.mean_standard_errors_ = np.sqrt(self.variance_ / n)
        squares = np.outer(self.variance_, self.variance_) + np.square(self.covariance_)
        self.covariance_standard_errors_ = np.sqrt(squares / n)
        self._scale, self._factor = scale, np.linalg.cholesky(correlation)
        self.log_likelihood_ = self.log_likelihood(rows)
        zeros = np.zeros((d, d))
        self.estimate_ = Estimate(
            names=(
                *(f"mean_{name}" for name in self.names_),
                *(f"log_sd_{name}" for name in self.names_),
            ),
            values=np.concatenate([self.mean_, np.log(scale)]),
            covariance=np.block(
                [[self.covariance_ / n, zeros], [zeros, np.square(correlation) / (2 * n)]]
            ),
            log_likelihood=self.log_likelihood_,
            converged=True,
            gradients="closed form",
        )
        return self

    def log_prob(self, x: Table) -> Array:
        """Log density of rows (n, d), or of n numbers where d = 1, shape (n,)."""
        expect_fitted(self, "mean_")
        rows = read_table(_upright(x), self.names_)[0]
        whitened = solve_triangular(self._factor, ((rows - self.mean_) / self._scale).T, lower=True)
        volume = np.log(self._scale).sum() + np.log(np.diag(self._factor)).sum()
        constant = volume + 0.5 * len(self.names_) * np.log(2 * np.pi)
        total: Array = -0.5 * np.square(whitened).sum(axis=0) - constant
        return total

    def log_likelihood(self, x: Table) -> float:
        """The sum of `log_prob`, in nats."""
        return float(self.log_prob(x).sum())


def _upright(x: Table) -> Table:
    """Numbers (n,) as one column (n, 1)."""
    if hasattr(x, "columns"):
        return x
    array = np.asarray(x)
    return array[:, None] if array.ndim == 1 else x
