"""Probabilistic PCA (Tipping & Bishop 1999, J. R. Stat. Soc. B 61:611).

A row is x = W z + μ + σ ε with a code z ~ N(0, I) of few components and noise ε ~ N(0, I), so that
p(x) = N(μ, WWᵀ + σ² I): a full covariance described by few numbers, with a density to compare
models by, a posterior of the code, and an answer to what a missing entry may have been.
`PPCAClassifier`, `compare_components` and `PCA`, its limit σ → 0, stand beside it.
"""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from sbi_kit.checks import expect_integer, expect_name, expect_number
from sbi_kit.contracts import Array
from sbi_kit.latent.factors import Factors, beliefs, closed_form, log_probs
from sbi_kit.latent.linear import linear_encoder
from sbi_kit.latent.ppca_em import em_complete, em_missing, first_factors
from sbi_kit.latent.spectrum import spectrum
from sbi_kit.latent.table import (
    expect_codes,
    expect_components,
    expect_fitted,
    expect_rows,
    expect_training,
)
from sbi_kit.seeds import numpy_stream

SOLVERS = ("auto", "closed_form", "em")
_ITERATIONS, _TOLERANCE = 1_000, 1e-6


class PPCA:
    """Probabilistic PCA; missing values are NaN, in fitting and wherever rows are taken.

    Args:
        components: M, size of a code, below the number of columns.
        solver: "closed_form", by a singular value decomposition of complete rows; "em", for rows
            with missing values or very many columns; "auto" takes the former where it can.
        iterations: Of EM, at most.
        tolerance: EM stops when an iteration adds less than this many nats per row.
        seed: Seed of EM's first weights.

    Attributes:
        mean_: μ, shape (columns,).
        weights_: W, shape (columns, components): orthogonal columns of falling length, the largest
            entry of each positive.
        noise_: σ².
        log_likelihoods_: Of all training rows, after each iteration of EM; the maximum alone, of
            the closed form.

    >>> x = np.random.default_rng(0).normal(size=(500, 3)) * (3, 1, 1)
    >>> model = PPCA(components=1).fit(x)
    >>> model.encode(x).shape, bool(abs(model.noise_ - 1) < 0.1)
    ((500, 1), True)
    """

    def __init__(
        self,
        *,
        components: int,
        solver: str = "auto",
        iterations: int = _ITERATIONS,
        tolerance: float = _TOLERANCE,
        seed: int = 0,
    ) -> None:
        self.components = components
        self.solver = solver
        self.iterations = iterations
        self.tolerance = tolerance
        self.seed = seed

    def fit(self, x: ArrayLike) -> Self:
        """Learn from rows x (rows, columns), complete or with NaN for missing values.

        Raises:
            BadType, BadValue, UnknownName: A setting is out of its range; x is no such table, or
                nothing of a row or column was observed; the closed form was asked for with values
                missing; or the rows have no more than `components` dimensions.

        Warns:
            UserWarning: A column is constant, or EM has not converged.
        """
        solver = expect_name("solver", self.solver, SOLVERS)
        array = expect_training(x, missing=solver != "closed_form")
        components = expect_components(self.components, array.shape[1])
        iterations = expect_integer("iterations", self.iterations, low=1)
        tolerance = expect_number("tolerance", self.tolerance, low=0)
        factors, history = fit_factors(
            array,
            components,
            solver=solver,
            iterations=iterations,
            tolerance=tolerance,
            seed=self.seed,
        )
        self.mean_, self.weights_, self.noise_ = factors.mean, factors.weights, factors.noise
        self.log_likelihoods_: Array = history
        return self

    def log_prob(self, x: ArrayLike) -> Array:
        """Log density of what is observed of each row of x (rows, columns), shape (rows,)."""
        return log_probs(self._factors(), self._rows(x))

    def score(self, x: ArrayLike) -> float:
        """Mean log density of the rows of x, in nats."""
        return float(self.log_prob(x).mean())

    def posterior(self, x: ArrayLike) -> tuple[Array, Array]:
        """Mean (rows, components) and covariance (rows, components, components) of z given x."""
        parts = [found for _, found in beliefs(self._factors(), self._rows(x))]
        means = np.concatenate([part.means for part in parts])
        return means, np.concatenate([part.covariances for part in parts])

    def encode(self, x: ArrayLike) -> Array:
        """Posterior means of the codes of x (rows, columns), shape (rows, components)."""
        found = beliefs(self._factors(), self._rows(x))
        return np.concatenate([part.means for _, part in found])

    def decode(self, z: ArrayLike) -> Array:
        """Means of x given codes z (rows, components), shape (rows, columns)."""
        factors = self._factors()
        codes = expect_codes(z, factors.weights.shape[1])
        decoded: Array = codes @ factors.weights.T + factors.mean
        return decoded

    def impute(self, x: ArrayLike) -> tuple[Array, Array]:
        """What the missing entries of x (rows, columns) may have been, given those observed.

        Returns:
            Posterior means and sds of all entries, both (rows, columns); an observed one is itself,
            with sd zero.
        """
        factors, rows = self._factors(), self._rows(x)
        values, sds = rows.copy(), np.zeros_like(rows)
        for part, found in beliefs(factors, rows):
            missing = np.isnan(rows[part])
            means = found.means @ factors.weights.T + factors.mean
            spreads = np.matmul(factors.weights, found.covariances)  # (rows, columns, components)
            variances = (spreads * factors.weights).sum(axis=2) + factors.noise
            values[part] = np.where(missing, means, rows[part])
            sds[part] = np.where(missing, np.sqrt(variances), 0.0)
        return values, sds

    def sample(self, rows: int, *, seed: int) -> Array:
        """Draw rows of the model, shape (rows, columns)."""
        factors = self._factors()
        rows = expect_integer("rows", rows, low=1)
        rng = numpy_stream(seed, "ppca: sample")
        codes = rng.normal(size=(rows, factors.weights.shape[1]))
        noise = rng.normal(scale=np.sqrt(factors.noise), size=(rows, len(factors.mean)))
        drawn: Array = codes @ factors.weights.T + factors.mean + noise
        return drawn

    def encoder(self) -> nn.Sequential:
        """A frozen network of `encode` for complete rows, float32 (b, columns)."""
        factors = self._factors()
        components = factors.weights.shape[1]
        precision = factors.weights.T @ factors.weights + factors.noise * np.eye(components)
        weights = np.asarray(np.linalg.solve(precision, factors.weights.T), dtype=np.float64)
        return linear_encoder(weights, factors.mean)

    def _factors(self) -> Factors:
        expect_fitted(self)
        return Factors(self.mean_, self.weights_, self.noise_)

    def _rows(self, x: ArrayLike) -> Array:
        return expect_rows(x, columns=len(self.mean_), missing=True)


def fit_factors(
    x: Array,
    components: int,
    *,
    solver: str = "auto",
    iterations: int = _ITERATIONS,
    tolerance: float = _TOLERANCE,
    seed: int,
) -> tuple[Factors, Array]:
    """What `PPCA.fit` learns from checked rows x (rows, columns), and its log-likelihoods."""
    complete = not np.isnan(x).any()
    if complete and solver != "em":
        factors = closed_form(spectrum(x), components)
        history = np.array([log_probs(factors, x).sum()])
    else:
        start = first_factors(x, components, numpy_stream(seed, "ppca"))
        em = em_complete if complete else em_missing
        factors, history = em(x, start, iterations=iterations, tolerance=tolerance)
    return factors.turned(), history
