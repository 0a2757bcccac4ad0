"""What happens to observed data at the door of every posterior, however it was made.

They are compared with what was simulated, parameters are compared with the prior, and draws,
densities and scores are gathered for ArviZ. With u the whitened parameters,

    log q(θ | x) = log q(u | x) + log p(θ) − log N(u; 0, I).
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from sbi_kit import contracts
from sbi_kit.arviz_bridge import InferenceData
from sbi_kit.certificate import UNCHECKED, Certificate
from sbi_kit.checks import expect_array, expect_integer
from sbi_kit.contracts import Array
from sbi_kit.data import AnyLayout, Datasets
from sbi_kit.familiarity import Familiarity
from sbi_kit.inference import infer
from sbi_kit.simulator import expect_model, find_model

_UNFAMILIAR = 0.01  # p-value, corrected for the number of datasets, below which to warn


class Simulated(contracts.Posterior, Protocol):
    """A posterior that was made of simulations and knows which."""

    @property
    def data(self) -> AnyLayout: ...

    @property
    def simulator(self) -> dict[str, Any]: ...

    @property
    def history(self) -> dict[str, Any]: ...

    @property
    def familiarity(self) -> Familiarity: ...

    @property
    def units(self) -> dict[str, str]: ...

    @property
    def model(self) -> contracts.Simulator | None: ...

    @property
    def certificate(self) -> Certificate | None: ...


def screen(posterior: Simulated, x: Datasets, seen: Array, *, stacklevel: int) -> None:
    """Warn of datasets of unknown size or context and of those unlike all simulations.

    Args:
        posterior: Whose simulations they are compared with.
        x: b datasets.
        seen: What `familiarity` compares of them, shape (b, f).
        stacklevel: Whom to warn, as counted by the caller.
    """
    for text in _extrapolations(posterior, x):
        warnings.warn(text, UserWarning, stacklevel=stacklevel + 1)
    scores = posterior.familiarity.score(seen)
    p_values = posterior.familiarity.p_value(scores)
    worst = int(np.argmin(p_values))
    if p_values[worst] * len(x) < _UNFAMILIAR:
        warnings.warn(
            f"Dataset {worst} is unlike everything simulated (misspecification score "
            f"{scores[worst]:.3g} where 95 % of simulations lie below "
            f"{posterior.familiarity.usual:.3g}, p = {p_values[worst]:.1g}); check its units and "
            "columns, and the model, before trusting its posterior.",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def infer_observed(
    posterior: Simulated,
    x: Datasets,
    seen: Array,
    *,
    draws: int,
    predictive: int,
    seed: int,
    model: contracts.Simulator | None,
    scores: Mapping[str, Array] | None = None,
) -> InferenceData:
    """Infer the parameters behind observed data, as the posterior's own method `infer` says.

    Args:
        posterior: The posterior.
        x: b datasets.
        seen: What `familiarity` compares of them, shape (b, f).
        draws: Draws per dataset.
        predictive: How many of the draws to replicate data from, at most.
        seed: Seed of all draws.
        model: What replicates them; None takes the simulator of the posterior.
        scores: What else to note of each dataset, by name, shapes (b,).
    """
    if model is not None:
        expect_model(model, posterior)
    elif expect_integer("predictive", predictive, low=0):
        model, _ = find_model(posterior)
        if model is None:
            warnings.warn(
                f"The simulator {posterior.simulator['name']!r} of this posterior is not installed "
                "here, or differs; replicated data are left out, so pass model= to have them.",
                UserWarning,
                stacklevel=3,
            )
    unlike = posterior.familiarity.score(seen)
    together = posterior.familiarity.compare(seen, seed=seed)
    noted = {}
    if together is not None:
        noted["misspecification_mmd"] = together.value
        noted["misspecification_mmd_p"] = together.p_value
    return infer(
        posterior,
        x,
        layout=posterior.data,
        model=model,
        draws=draws,
        predictive=predictive,
        seed=seed,
        scores={
            "misspecification": unlike,
            "misspecification_p": posterior.familiarity.p_value(unlike),
            **(scores or {}),
        },
        together=noted,
        units=posterior.units,
        attributes={
            "simulator": posterior.simulator["name"],
            "calibration": str(posterior.certificate or UNCHECKED),
        },
    )


def density_of(
    prior: contracts.Prior, theta: ArrayLike, b: int, log_q: Callable[[Array], Array]
) -> Array:
    """Log density of parameters, given that of whitened ones.

    Args:
        prior: The prior.
        theta: Parameters for each of b datasets, shape (b, d) or (b, draws, d).
        b: Number of datasets.
        log_q: Maps whitened parameters (b, draws, d) to the logarithm of their density, (b, draws).

    Returns:
        Shape (b,) or (b, draws); -inf outside the prior's support.

    Raises:
        BadValue, BadType: theta has another shape, or holds NaN or no numbers.
    """
    d, do = len(prior.names), f"pass {', '.join(prior.names)} for each of the {b} datasets"
    shape = (b, "draws", d) if np.ndim(theta) == 3 else (b, d)
    points = expect_array("theta", theta, shape, do=do)
    log_prior = prior.log_prob(points)
    single = points.ndim == 2
    if single:
        points, log_prior = points[:, None], log_prior[:, None]
    inside = np.isfinite(log_prior)
    u = np.zeros_like(points)
    u[inside] = prior.whiten(points[inside])
    log_normal = -0.5 * (np.square(u).sum(-1) + d * math.log(2 * math.pi))
    density = np.where(inside, log_q(u) + log_prior - log_normal, -np.inf)
    return density[:, 0] if single else density


def _extrapolations(posterior: Simulated, x: Datasets) -> Iterator[str]:
    """What of the datasets is outside the range that was simulated: size and context."""
    ranges = [("", x.n.astype(np.float64), *posterior.data.n_range)]
    known = posterior.history.get("context", {})
    for values, (name, (low, high)) in zip(x.context.T, known.items(), strict=True):
        ranges.append((f"{name} = ", values, low, high))
    for name, values, low, high in ranges:
        outside = np.flatnonzero((values < low) | (values > high))
        if len(outside):
            value = f"{values[outside[0]]:.6g}"
            yield (
                f"Dataset {outside[0]} has {name}{value}{'' if name else ' observations'}, and "
                f"the posterior was trained on {low:.6g} to {high:.6g}; its draws are an "
                "extrapolation."
            )
