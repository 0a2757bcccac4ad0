"""Three answers to one question: maximum likelihood, ABC and an amortized posterior side by side.

Where data are many and the prior is wide, the three agree; where they do not, the difference is
worth knowing. The likelihood's maximum has no prior, and its normal approximation no skew; ABC
compares summaries, and is as wide as its tolerance; the network is as good as its training.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sbi_kit import contracts, mle
from sbi_kit.arviz_bridge import InferenceData, comparison_data
from sbi_kit.bank import Bank
from sbi_kit.checks import BadType, BadValue, expect_integer
from sbi_kit.contracts import Array
from sbi_kit.data import Datasets, read
from sbi_kit.neural import NeuralPosterior
from sbi_kit.rejection import RejectionABC, fit_abc
from sbi_kit.seeds import numpy_stream
from sbi_kit.simulator import find_model

_STARTS = 3  # of the search for the maximum


def compare_methods(
    posterior: NeuralPosterior,
    bank: Bank | RejectionABC,
    x: Any,
    *,
    draws: int,
    seed: int,
    quantile: float | None = None,
    others: Mapping[str, contracts.Posterior] | None = None,
    context: Mapping[str, ArrayLike] | None = None,
) -> InferenceData:
    """What maximum likelihood, ABC and an amortized posterior say of one dataset.

    Args:
        posterior: What `fit` or `load` returned.
        bank: Simulations of the same model, of which ABC accepts some; or what `fit_abc` made of
            them, with its own settings, to look at or judge beside.
        x: One dataset, in any form that the posterior accepts.
        draws: Draws of each; those of maximum likelihood are of its asymptotic normal.
        seed: Seed of all draws.
        quantile: Share of the simulations that ABC accepts, as for `fit_abc`; not for its result.
        others: More posteriors by name, such as an exact one.
        context: What is known of the dataset besides, as for `NeuralPosterior.sample`.

    Returns:
        ArviZ data whose posterior has a dim `approach`, with coordinates "amortized", "ABC" and,
        where the simulator has a `log_likelihood`, "maximum likelihood"; `arviz.plot_forest` shows
        them one below the other. Attributes say how many simulations ABC's answer rests on, and
        the value of the likelihood at its maximum.

    Raises:
        BadType: posterior or bank is something else.
        BadValue: There are several datasets, the bank is of another simulator, or another argument
            is out of range.

    Warns:
        UserWarning: As `NeuralPosterior.sample` does; or the search for the maximum did not
            converge, so that it is left out.
    """
    _expect_inputs(posterior, bank, quantile)
    size = expect_integer("draws", draws, low=1)
    observed = read(x, posterior.data, context)
    if len(observed) != 1:
        raise BadValue("one dataset", str(len(observed)), "compare one at a time")
    abc = fit_abc(bank, quantile=quantile) if isinstance(bank, Bank) else bank
    found = {"amortized": posterior.sample(x, draws=size, seed=seed, context=context)[0]}
    found["ABC"] = abc.sample(observed, draws=size, seed=seed)[0]
    notes = {"effective_sample_size_of_ABC": f"{abc.accept(observed)[0].effective:.6g}"}
    estimate = _maximum(posterior, observed, np.median(found["amortized"], axis=0), seed)
    if estimate is not None and estimate.converged:
        found["maximum likelihood"] = estimate.sample(size, seed=seed)
        notes["maximum_log_likelihood"] = f"{estimate.log_likelihood:.10g}"
    for name, other in (others or {}).items():
        found[name] = other.sample(observed, draws=size, seed=seed)[0]
    return comparison_data(
        names=posterior.prior.names,
        draws=found,
        prior=posterior.prior.sample(size, numpy_stream(seed, "prior draws")),
        layout=posterior.data,
        observed=observed,
        units=posterior.units,
        attributes={"simulator": posterior.simulator["name"], "seed": str(seed), **notes},
    )


def _maximum(
    posterior: NeuralPosterior, observed: Datasets, start: Array, seed: int
) -> mle.Estimate | None:
    """The maximum of the likelihood, if the simulator has one."""
    model, _ = find_model(posterior)
    log_likelihood = getattr(model, "log_likelihood", None)
    if log_likelihood is None:
        return None
    return mle.fit(
        lambda theta: log_likelihood(theta, observed),
        start,
        prior=posterior.prior,
        starts=_STARTS,
        seed=seed,
        gradients="differences",
    )


def _expect_inputs(posterior: object, bank: object, quantile: object) -> None:
    if not isinstance(posterior, NeuralPosterior):
        advice = "pass what fit or load returned"
        raise BadType("an amortized posterior", type(posterior).__name__, advice)
    if not isinstance(bank, (Bank, RejectionABC)):
        advice = "pass what simulate, Bank.open or fit_abc returned"
        raise BadType("a bank of simulations", type(bank).__name__, advice)
    if quantile is not None and not isinstance(bank, Bank):
        advice = "choose it in fit_abc"
        raise BadValue("no quantile for an ABC posterior that has one", repr(quantile), advice)
    if bank.simulator != posterior.simulator or bank.prior != posterior.prior:
        got = f"one of {bank.simulator['name']!r}, with other settings or another prior"
        wanted = f"a bank of {posterior.simulator['name']!r}, as the posterior was trained on"
        raise BadValue(wanted, got, "pass simulations of the same model")
