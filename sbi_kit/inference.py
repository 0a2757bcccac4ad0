"""From a posterior and observed data to ArviZ: draws, densities and replicated data in one object.

It needs the posterior's contract and nothing more, so an amortized, an ABC or an exact posterior
are exported alike.
"""

from collections.abc import Mapping

import numpy as np

from sbi_kit import contracts
from sbi_kit.arviz_bridge import InferenceData, inference_data
from sbi_kit.checks import expect_integer
from sbi_kit.context import names_of
from sbi_kit.contracts import Array, IntArray
from sbi_kit.data import AnyLayout, Datasets, Vector
from sbi_kit.seeds import numpy_stream
from sbi_kit.simulation import replicate


def infer(
    posterior: contracts.Posterior,
    x: Datasets,
    *,
    layout: AnyLayout,
    model: contracts.Simulator | None,
    draws: int,
    predictive: int,
    seed: int,
    attributes: Mapping[str, str],
) -> InferenceData:
    """Infer parameters of b observed datasets and gather everything for ArviZ.

    Args:
        posterior: Any posterior.
        x: The observed datasets.
        layout: Their layout.
        model: Replicates data from posterior draws; None leaves out posterior_predictive.
        draws: Posterior draws per dataset, and draws of the prior.
        predictive: How many of the posterior draws to replicate data from, at most.
        seed: Seed of all draws.
        attributes: What every group is marked with.

    Returns:
        ArviZ data with the groups posterior, prior, sample_stats (log_q), observed_data,
        constant_data (n and the context) and posterior_predictive.
    """
    expect_integer("draws", draws, low=1)
    most = expect_integer("predictive", predictive, low=0)
    theta = posterior.sample(x, draws=draws, seed=seed)
    picked = np.unique(np.linspace(0, draws - 1, min(most, draws)).astype(np.int64))
    replicated = None
    known = dict(zip(names_of(layout), x.context.T, strict=True))
    if model is not None and len(picked):
        replicated = _replicated(model, theta[:, picked], x.n, known, seed)
    return inference_data(
        names=posterior.prior.names,
        draws=theta,
        log_q=posterior.log_prob(theta, x),
        prior=posterior.prior.sample(draws, numpy_stream(seed, "prior draws")),
        columns=layout.columns,
        observed=x,
        predictive=replicated,
        predictive_draws=picked if replicated is not None else None,
        vector=isinstance(layout, Vector),
        constants=known,
        attributes={**attributes, "seed": str(seed)},
    )


def _replicated(
    model: contracts.Simulator, theta: Array, n: IntArray, known: Mapping[str, Array], seed: int
) -> Array:
    """Data simulated from draws theta (b, k, d) with sizes n (b,) and known context, each (b,).

    Returns:
        Shape (b, k, longest, columns).
    """
    b, k, _ = theta.shape
    data = np.zeros((b, k, int(n.max()), len(model.data.columns)))
    for i, size in enumerate(n.tolist()):
        rng = numpy_stream(seed, "posterior predictive", i)
        context = {name: values[i] for name, values in known.items()}
        data[i, :, :size] = replicate(model, theta[i], size, rng, context)
    return data
