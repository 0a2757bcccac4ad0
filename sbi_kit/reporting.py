"""One self-contained HTML page about an inference, for people who have to judge it.

The page says first, in words, whether any check found a fault, and then shows model, data,
posterior and every check with a sentence on how to read it. It holds its figures and asks nothing
of the network, so it can be mailed, printed and archived.
"""

import warnings
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sbi_kit import contracts
from sbi_kit.arviz_bridge import InferenceData, summary_table
from sbi_kit.chapters import CHAPTERS
from sbi_kit.chapters.found import Found, title_of
from sbi_kit.checks import BadType, BadValue, show_names
from sbi_kit.contracts import Array
from sbi_kit.data import Datasets, read
from sbi_kit.diagnostics.predictive import compare
from sbi_kit.diagnostics.verdict import Verdict
from sbi_kit.files import write_whole
from sbi_kit.importance import Correction, corrected
from sbi_kit.loading import SavedPosterior
from sbi_kit.page import Page
from sbi_kit.simulation import replicate_each
from sbi_kit.simulator import expect_model, find_model

_REPLICATES = 1_000  # of every observed dataset, at most


def report(
    posterior: SavedPosterior,
    x: Any,
    path: str | PathLike[str],
    *,
    verdict: Verdict | None,
    draws: int,
    seed: int,
    model: contracts.Simulator | None = None,
    context: Mapping[str, ArrayLike] | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a page about the posterior of observed data.

    Args:
        posterior: What `fit` or `load` returned.
        x: One dataset or several, in any form that the posterior accepts. Tables are of all of
            them, figures of the first.
        path: The file to write.
        verdict: What `sbi_kit.calibrate` found of this posterior; None shows its certificate.
        draws: Posterior draws per dataset; as many of them as there are, but 1,000 at most, are
            drawn again to replicate the data.
        seed: Seed of all draws; tables have the numbers of `posterior.infer` with the same.
        model: The simulator to replicate data with; None takes the one it was trained with. If that
            is not installed here, the page says so and does without.
        context: What is known of the datasets besides, as for `posterior.infer`.
        overwrite: Whether to replace a file that is there.
        progress: Is called with the sections that are done and how many there are.

    Raises:
        BadValue, BadType: The data do not fit the posterior, the verdict is one on other
            parameters, draws or seed are out of range, or the file exists or has no directory.

    Warns:
        UserWarning: As `posterior.infer` does; the page repeats it.
    """
    place = Path(path)
    _expect_inputs(posterior, verdict, place, overwrite)
    observed = read(x, posterior.data, context)
    model, reason = (expect_model(model, posterior), "") if model else find_model(posterior)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        idata = posterior.infer(
            x, draws=draws, seed=seed, predictive=0, model=model, context=context
        )
    for warning in caught:
        warnings.warn(warning.message, warning.category, stacklevel=2)
    check, replicated = None, None
    if model is not None:
        theta = posterior.sample(observed, draws=min(draws, _REPLICATES), seed=seed)
        try:
            replicated = replicate_each(
                model, theta, observed, seed=seed, purpose="posterior predictive"
            )
        # What the simulator cannot do must not cost the rest of the page.
        except Exception as error:
            reason = f"The simulator failed for draws of the posterior ({error})."
        else:
            check = compare(observed, replicated, posterior.data)
    found = Found(
        posterior=posterior,
        model=model,
        observed=observed,
        table=summary_table(idata, posterior.prior.names),
        draws=_values(idata, "posterior", posterior.prior.names),
        prior=_values(idata, "prior", posterior.prior.names)[0],
        scores=_scores(idata, "misspecification", observed),
        p_values=_scores(idata, "misspecification_p", observed),
        together=_together(idata),
        correction=_correction(idata, posterior.prior.names, observed, seed),
        verdict=verdict,
        check=check,
        replicated=replicated,
        reason=reason,
        remarks=tuple(dict.fromkeys(str(warning.message) for warning in caught)),
        seed=seed,
    )
    sections = []
    for done, chapter in enumerate(CHAPTERS):
        sections.append(chapter(found))
        if progress is not None:
            progress(done + 1, len(CHAPTERS))
    page = Page(*title_of(found), sections)
    write_whole(place, page.render().encode())


def _expect_inputs(posterior: object, verdict: object, place: Path, overwrite: bool) -> None:
    if not isinstance(posterior, SavedPosterior):
        advice = "pass what fit or load returned"
        raise BadType("a posterior of sbi_kit", type(posterior).__name__, advice)
    names = posterior.prior.names
    if verdict is not None and not isinstance(verdict, Verdict):
        raise BadType("a verdict, or None", type(verdict).__name__, "pass what calibrate returned")
    if verdict is not None and verdict.names[: len(names)] != names:
        wanted, got = f"a verdict on {show_names(names)}", f"one on {show_names(verdict.names)}"
        raise BadValue(wanted, got, "judge this posterior")
    if place.exists() and not overwrite:
        advice = "choose another, or pass overwrite=True (--overwrite)"
        raise BadValue("a new file", f"{place}, which exists", advice)
    if not place.parent.is_dir():
        got = f"no directory {place.parent}"
        raise BadValue(f"a directory for {place.name}", got, "create it first")


def _values(idata: InferenceData, group: str, names: tuple[str, ...]) -> Array:
    """Draws of a group in ArviZ data, shape (b, draws, d)."""
    columns = [np.asarray(idata[group][name].values)[0] for name in names]
    values = np.stack([column.reshape(len(column), -1) for column in columns], axis=-1)
    return np.moveaxis(values, 1, 0)


def _together(idata: InferenceData) -> tuple[float, float] | None:
    """Discrepancy of all datasets together from the simulations and its p-value, if noted."""
    stats = idata["sample_stats"]
    if "misspecification_mmd" not in stats:
        return None
    return float(stats["misspecification_mmd"]), float(stats["misspecification_mmd_p"])


def _correction(
    idata: InferenceData, names: tuple[str, ...], observed: Datasets, seed: int
) -> Correction | None:
    """What the likelihood makes of the draws, if the model has one."""
    if "weight" not in idata["sample_stats"]:
        return None
    weights = _values(idata, "sample_stats", ("weight",))[..., 0]
    theta, k_hat = _values(idata, "posterior", names), _scores(idata, "k_hat", observed)
    return corrected(theta, weights, k_hat, seed=seed)


def _scores(idata: InferenceData, name: str, observed: Datasets) -> Array:
    """A score of each dataset, shape (b,)."""
    return np.asarray(idata["sample_stats"][name].values).reshape(len(observed))
