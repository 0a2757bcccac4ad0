"""The contracts between the rooms of the house, as protocols: nothing needs to be subclassed.

Letters in shapes are the same everywhere: b datasets, n observations in a dataset, d parameters,
`columns` measured quantities. Arrays are numpy float64 in natural units.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pandas as pd

Array: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]


@runtime_checkable
class Prior(Protocol):
    """A proper prior over d named parameters."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the d parameters, in the order of theta's last axis."""

    def sample(self, b: int, rng: np.random.Generator) -> Array:
        """Draw b parameter vectors, shape (b, d)."""

    def log_prob(self, theta: Array) -> Array:
        """Log density of theta (..., d), shape (...); -inf outside the support."""

    def whiten(self, theta: Array) -> Array:
        """Map theta (..., d) to u (..., d), which is N(0, I) under the prior."""

    def unwhiten(self, u: Array) -> Array:
        """The inverse of `whiten`; every finite u lands inside the support."""


@runtime_checkable
class Layout(Protocol):
    """What one dataset looks like; `sbi_kit.data` has the layouts."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the measured quantities, in the order of the data's last axis."""

    @property
    def n_range(self) -> tuple[int, int]:
        """Smallest and largest number of observations that are simulated."""

    @property
    def context(self) -> Prior | None:
        """Distribution of what is known of each dataset besides; None where nothing is."""

    @property
    def missing(self) -> bool | tuple[str, ...]:
        """Names of the columns whose values may be missing, NaN; empty where none may."""


@runtime_checkable
class Simulator(Protocol):
    """A forward model that any package may provide.

    Optional attributes: `observed`, real data in any form `sample` accepts; where the likelihood is
    known, `log_likelihood(theta, x)`, theta (s, d) and one dataset to (s,), by which draws are
    weighted to the exact posterior; `units`, a mapping from names of parameters, columns and
    context, and from "time" where the data are a series, to texts such as "1/day", for tables and
    axes; and the constructor's arguments under their own names, so that a bank can record them and
    a posterior rebuild the model.
    """

    @property
    def prior(self) -> Prior:
        """The distribution its parameters are drawn from."""

    @property
    def data(self) -> Layout:
        """The layout of what it simulates."""

    @property
    def simulate(self) -> Callable[..., Any]:
        """`simulate(theta, rng, n)`: theta (b, d) to data (b, n, columns), one n per call.

        With a `Vector` layout: `simulate(theta, rng)` to (b, columns). Where the layout declares
        a context of c columns, one more argument comes last, the `context` (b, c).
        All randomness comes from `rng`, a `numpy.random.Generator`.
        """


@runtime_checkable
class DataGenerator(Protocol):
    """A source of labelled data for supervised methods, which any package may provide.

    There are no parameters to infer, so there is neither a prior nor a posterior: features come
    with the targets that are to be predicted from them. Constructor arguments are kept under their
    own names, as those of a simulator are. Optional: `best_scores`, a mapping from names of scores
    to the best values that any prediction can have.
    """

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns to predict from; some of their values may be missing."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the columns to predict; none of their values is missing."""

    @property
    def generate(self) -> "Callable[[int, np.random.Generator], pd.DataFrame]":
        """`generate(rows, rng)`: a frame of independent rows, features first, then targets.

        All randomness comes from `rng`, a `numpy.random.Generator`.
        """


@runtime_checkable
class Posterior(Protocol):
    """Anything that draws parameters given data: amortized, ABC or exact. Judges need no more.

    Optional: `units`, a mapping from names of parameters to texts, for axes.
    """

    @property
    def prior(self) -> Prior:
        """The prior it was made with."""

    def sample(self, x: Any, *, draws: int, seed: int) -> Array:
        """Draws for b datasets, shape (b, draws, d), in the prior's units."""

    def log_prob(self, theta: Array, x: Any) -> Array:
        """Log density: theta (b, d) to (b,), or (b, draws, d) to (b, draws)."""


@runtime_checkable
class Latent(Protocol):
    """A model of rows of columns as made from codes of few components.

    Settings are constructor arguments kept under their own names, `seed` among them where fitting
    draws random numbers. Nothing but `fit` changes the model.
    """

    @property
    def components(self) -> int:
        """Size of a code."""

    def fit(self, x: ArrayLike) -> Self:
        """Learn from rows x (rows, columns), forgetting what was learned before; returns itself."""

    def encode(self, x: ArrayLike) -> Array:
        """Codes of rows x (rows, columns), shape (rows, components)."""

    def decode(self, z: ArrayLike) -> Array:
        """Rows of codes z (rows, components), shape (rows, columns)."""

    def score(self, x: ArrayLike) -> float:
        """How well it describes rows x: a mean over them, higher is better.

        It is of log densities or lower bounds of these, or minus what reconstruction costs.
        """

    def sample(self, rows: int, *, seed: int) -> Array:
        """Draw rows of the model, shape (rows, columns)."""


@runtime_checkable
class Estimator(Protocol):
    """A supervised method with scikit-learn's conventions: constructors only store settings.

    What it has learned are attributes whose names end in `_`. Where it predicts classes, too, there
    is `predict_proba(x)`, probabilities (rows, classes).
    """

    def fit(self, x: Any, y: Any) -> Self:
        """Learn from features x, a frame or (rows, features), and a target y (rows,)."""

    def predict(self, x: Any) -> Any:
        """The target of each row, shape (rows,)."""

    def score(self, x: Any, y: Any) -> float:
        """How well rows are predicted; higher is better."""
