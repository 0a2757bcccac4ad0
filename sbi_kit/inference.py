"""From a posterior and observed data to ArviZ: draws, densities and replicated data in one object.

It needs the posterior's contract and nothing more, so an amortized, an ABC or an exact posterior
are exported alike.
"""

import warnings
from collections.abc import Mapping

import numpy as np

from sbi_kit import contracts
from sbi_kit.arviz_bridge import InferenceData, inference_data
from sbi_kit.checks import expect_integer
from sbi_kit.context import names_of
from sbi_kit.contracts import Array
from sbi_kit.data import AnyLayout, Datasets
from sbi_kit.importance import FEWEST, correct_draws
from sbi_kit.seeds import numpy_stream
from sbi_kit.simulation import replicate_each


def infer(
    posterior: contracts.Posterior,
    x: Datasets,
    *,
    layout: AnyLayout,
    model: contracts.Simulator | None,
    draws: int,
    predictive: int,
    seed: int,
    scores: Mapping[str, Array],
    together: Mapping[str, float],
    units: Mapping[str, str],
    attributes: Mapping[str, str],
) -> InferenceData:
    """Infer parameters of b observed datasets and gather everything for ArviZ.

    Args:
        posterior: Any posterior.
        x: The observed datasets.
        layout: Their layout.
        model: Replicates data from draws of posterior and prior; None leaves these data out.
        draws: Posterior draws per dataset, and draws of the prior.
        predictive: How many of the draws to replicate data from, at most.
        seed: Seed of all draws.
        scores: What else to note of each dataset, by name, shapes (b,).
        together: What else to note of all datasets together, by name.
        units: Units of parameters, columns and context by name; variables are marked with them.
        attributes: What every group is marked with.

    Returns:
        ArviZ data with the groups posterior, prior, sample_stats (log_q and all scores),
        observed_data, constant_data (n and the context), posterior_predictive and prior_predictive.
        Where the model has a `log_likelihood` and there are 100 draws or more, sample_stats has
        also `weight`, the importance weight of each draw, and `k_hat` of each dataset, which says
        whether to trust the weights (`sbi_kit.importance`).

    Warns:
        UserWarning: The simulator failed for draws of the prior, or its likelihood for those of the
            posterior; prior_predictive or the weights are left out.
    """
    expect_integer("draws", draws, low=1)
    most = expect_integer("predictive", predictive, low=0)
    theta = posterior.sample(x, draws=draws, seed=seed)
    picked = np.unique(np.linspace(0, draws - 1, min(most, draws)).astype(np.int64))
    prior = posterior.prior.sample(draws, numpy_stream(seed, "prior draws"))
    replicated = before = None
    if model is not None and len(picked):
        replicated = replicate_each(
            model, theta[:, picked], x, seed=seed, purpose="posterior predictive"
        )
        before = _before(model, prior[picked], x, seed)
    log_q = posterior.log_prob(theta, x)
    weights, shapes = _weights(posterior, model, theta, x, log_q, seed)
    return inference_data(
        names=posterior.prior.names,
        draws=theta,
        log_q=log_q,
        weights=weights,
        prior=prior,
        layout=layout,
        observed=x,
        predictive=replicated,
        prior_predictive=before,
        predictive_draws=picked,
        scores={**scores, **shapes},
        together=together,
        constants=dict(zip(names_of(layout), x.context.T, strict=True)),
        units=units,
        attributes={**attributes, "seed": str(seed)},
    )


def _weights(
    posterior: contracts.Posterior,
    model: contracts.Simulator | None,
    theta: Array,
    x: Datasets,
    log_q: Array,
    seed: int,
) -> tuple[Array | None, dict[str, Array]]:
    """Importance weights (b, s) of draws theta (b, s, d), and k_hat (b,), if there are any."""
    log_likelihood = getattr(model, "log_likelihood", None)
    if log_likelihood is None or theta.shape[1] < FEWEST:
        return None, {}
    try:
        found = correct_draws(
            posterior.prior, x, log_likelihood, theta=theta, log_q=log_q, seed=seed
        )
    except Exception as error:
        _warn(f"The likelihood of the model failed ({_named(error)}); weights are left out.")
        return None, {}
    return found.weights, {"k_hat": found.k_hat}


def _before(model: contracts.Simulator, prior: Array, x: Datasets, seed: int) -> Array | None:
    """Data simulated from draws of the prior (k, d), shape (b, k, n, columns), if that works."""
    theta = np.broadcast_to(prior, (len(x), *prior.shape))
    try:
        return replicate_each(model, theta, x, seed=seed, purpose="prior predictive")
    # Corners of the prior that the training skipped must not cost the inference.
    except Exception as error:
        left_out = "prior_predictive is left out"
        _warn(f"The simulator failed for draws of the prior ({_named(error)}); {left_out}.")
        return None


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _warn(text: str) -> None:
    """Warn whoever called the posterior's `infer`."""
    warnings.warn(text, UserWarning, stacklevel=6)
