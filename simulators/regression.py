"""Bayesian linear regression: the model whose posterior is known in closed form.

    beta ~ N(0, prior_sd^2 I_k),  x_i ~ N(0, I_k),  y_i = x_i' beta + e_i,  e_i ~ N(0, noise_sd^2)

for i = 1..n. The rows (x_i, y_i) of a dataset are exchangeable. With design X (n, k) and response y
the posterior is normal (Lindley & Smith 1972; Gelman et al. 2013, ch. 14),

    precision  L = X'X / noise_sd^2 + I / prior_sd^2,   mean  L^-1 X'y / noise_sd^2,

so that any approximate posterior can be measured against the truth, at every n.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sbi_kit.checks import expect_integer, expect_number, expect_rng, expect_theta
from sbi_kit.contracts import Array
from sbi_kit.data import Exchangeable, read
from sbi_kit.prior import Normal, Prior
from sbi_kit.seeds import numpy_stream


@dataclass(frozen=True, kw_only=True)
class Regression:
    """Linear regression with k predictors and known noise.

    The parameters are beta_1..beta_k, the columns x_1..x_k and y; all are without unit.

    Args:
        predictors: Number k of predictors, at least 1.
        n: Rows of a dataset, fixed or (fewest, most), at least 1.
        noise_sd: Standard deviation of the noise, above 0.
        prior_sd: Standard deviation of each coefficient's prior, above 0.

    Raises:
        BadValue: An argument is outside its range.
        BadType: It is not a number.

    >>> model = Regression(predictors=2)
    >>> x = model.simulate(np.array([[1.0, -1.0]]), np.random.default_rng(0), 500)
    >>> mean, covariance = model.exact_posterior(x)
    >>> mean.round(2), np.sqrt(covariance[0].diagonal()).round(2)
    (array([[ 0.98, -1.  ]]), array([0.05, 0.05]))
    """

    predictors: int = 4
    n: int | tuple[int, int] = (50, 500)
    noise_sd: float = 1.0
    prior_sd: float = 1.0

    def __post_init__(self) -> None:
        expect_integer("predictors", self.predictors, low=1)
        expect_number("noise_sd", self.noise_sd, low=0, open_low=True)
        expect_number("prior_sd", self.prior_sd, low=0, open_low=True)
        object.__setattr__(self, "n", self.data.n)

    @cached_property
    def prior(self) -> Prior:
        """Independent normal coefficients."""
        names = [f"beta_{i}" for i in range(1, self.predictors + 1)]
        return Prior(**{name: Normal(0.0, self.prior_sd) for name in names})

    @cached_property
    def data(self) -> Exchangeable:
        """A set of rows (x_1..x_k, y)."""
        predictors = [f"x_{i}" for i in range(1, self.predictors + 1)]
        return Exchangeable(columns=(*predictors, "y"), n=self.n)

    def simulate(self, theta: Array, rng: np.random.Generator, n: int) -> Array:
        """Simulate datasets of n rows.

        Args:
            theta: Coefficients, shape (b, k).
            rng: Source of all randomness.
            n: Rows of each dataset.

        Returns:
            Predictors and response, shape (b, n, k + 1).

        Raises:
            BadValue: `theta` has another shape or holds NaN or infinity, or n < 1.
        """
        beta = expect_theta(theta, self.prior.names)
        rows = expect_rng(rng).standard_normal(
            (len(beta), expect_integer("n", n, low=1), self.predictors + 1)
        )
        predictors, response = rows[..., :-1], rows[..., -1]
        response *= self.noise_sd
        response += np.einsum("bnk,bk->bn", predictors, beta)
        return rows

    def exact_posterior(self, x: Any) -> tuple[Array, Array]:
        """Mean and covariance of the normal posterior of each dataset.

        Args:
            x: Datasets in any form that `sbi_kit.data.read` takes, also of different n.

        Returns:
            Means, shape (b, k), and covariances, shape (b, k, k).

        Raises:
            BadValue: The data do not have this model's columns or are not finite.
        """
        # Padded rows are zero, so they add nothing to the cross products.
        rows = read(x, self.data).values  # (b, n, k + 1)
        predictors, response = rows[..., :-1], rows[..., -1:]
        transposed = predictors.swapaxes(1, 2)  # (b, k, n)
        prior_precision = np.eye(self.predictors) / self.prior_sd**2
        precision: Array = transposed @ predictors / self.noise_sd**2 + prior_precision
        score: Array = transposed @ response / self.noise_sd**2  # (b, k, 1)
        mean = np.linalg.solve(precision, score)[..., 0]
        return mean.astype(np.float64), np.linalg.inv(precision).astype(np.float64)

    @cached_property
    def observed_theta(self) -> Array:
        """The coefficients behind `observed`, shape (k,): a fixed draw of the prior."""
        coefficients: Array = self.prior.sample(1, numpy_stream(0, "regression: coefficients"))[0]
        return coefficients

    @cached_property
    def observed(self) -> Array:
        """One simulated, not measured, dataset of the fewest rows, shape (n, k + 1).

        It never changes; `observed_theta` is the truth behind it.
        """
        rng = numpy_stream(0, "regression: rows")
        rows: Array = self.simulate(self.observed_theta[None], rng, self.data.n_range[0])[0]
        return rows
