"""What a report says, section by section, from what was found.

Every section takes all findings and returns prose, tables and figures, each with a sentence on how
to read it. Nothing is computed here but summaries of data and how to write numbers.
"""

import inspect
import json
import math
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sbi_kit import contracts, plots
from sbi_kit.certificate import UNCHECKED
from sbi_kit.checks import show_names
from sbi_kit.context import names_of
from sbi_kit.contracts import Array
from sbi_kit.data import Datasets, Matrix, Vector, missable
from sbi_kit.diagnostics.predictive import PredictiveCheck
from sbi_kit.diagnostics.verdict import Verdict
from sbi_kit.digits import digits, with_unit
from sbi_kit.facts import form_of
from sbi_kit.importance import Correction
from sbi_kit.neural import NeuralPosterior
from sbi_kit.page import Facts, Findings, Notes, Part, Picture, Prose, Section, Status, Table
from sbi_kit.prior import MultivariateNormal, Prior
from sbi_kit.simulator import Simulator

if TYPE_CHECKING:
    import pandas as pd

_PAIRED = 10  # parameters in one figure of pairs
_MOST = 60  # rows of a table about data
_LONGEST = 400  # rows of the posterior's table
_RESOLUTIONS = (4, 180), (12, 140), (math.inf, 90)  # panels at most, dots per inch
_UNLIKE, _DOUBTFUL = 0.01, 0.05  # p-values, times the number of datasets
_PACKAGES = "sbi_kit numpy scipy torch nflows arviz matplotlib"
_STOP = re.compile(
    r"(Args|Arguments|Attributes|Example|Examples|Parameters|Raises|Returns):\n|>>> "
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """All that a report is about.

    Attributes:
        posterior: The posterior.
        model: Its simulator, if there is one.
        observed: The b observed datasets.
        table: Mean, sd and interval, a row for each parameter (and dataset).
        draws: Posterior draws, shape (b, s, d).
        prior: Draws of the prior, shape (p, d).
        scores: Misspecification scores, shape (b,).
        p_values: Their p-values, shape (b,).
        together: Discrepancy of several datasets together from simulations, and its p-value.
        correction: The draws weighted by the likelihood, where the model has one.
        verdict: The verdict of held-out simulations, if there were any.
        check: The predictive check, if there was one.
        replicated: Replicates of the data, shape (b, k, n, columns).
        reason: Why there is no model or no check; empty if there are.
        remarks: Warnings of the inference.
        seed: Seed of draws and replicates.
    """

    posterior: NeuralPosterior
    model: contracts.Simulator | None
    observed: Datasets
    table: "pd.DataFrame"
    draws: Array
    prior: Array
    scores: Array
    p_values: Array
    together: tuple[float, float] | None
    correction: Correction | None
    verdict: Verdict | None
    check: PredictiveCheck | None
    replicated: Array | None
    reason: str
    remarks: Sequence[str]
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters."""
        return self.posterior.prior.names

    @property
    def several(self) -> bool:
        """Whether there are several observed datasets."""
        return len(self.observed) > 1


Chapter: TypeAlias = Callable[[Found], Section]


def title_of(found: Found) -> tuple[str, str]:
    """Title and subtitle of the page."""
    b = len(found.observed)
    what = "one observed dataset" if b == 1 else f"{b:,} observed datasets"
    made = datetime.now(UTC).date().isoformat()
    title = f"Posterior of {found.posterior.simulator['name']} given {what}"
    return (
        title,
        f"{show_names(found.names)}: what the data say, and how far to trust it. Made {made}.",
    )


def verdict(found: Found) -> Section:
    """Whether any check found a fault, in words."""
    findings = [
        _calibration_finding(found),
        _predictive_finding(found),
        _familiarity_finding(found),
        *_correction_finding(found),
    ]
    faults = [title.lower() for title, status, _ in findings if status == "fault"]
    fine = sum(status == "fine" for _, status, _ in findings)
    if faults:
        text = (
            f"Do not trust this posterior before reading on: a fault was found in {_and(faults)}."
        )
    elif fine == len(findings):
        text = "No check found a fault. A check can only find what it has the power to see."
    else:
        text = f"No fault was found, but only {fine} of {len(findings)} checks came to a finding."
    parts: list[Part] = [Prose(text), Findings(findings)]
    if found.remarks:
        parts += [Prose("The inference came with warnings:"), Notes(found.remarks)]
    return Section("verdict", "Verdict", parts)


def model(found: Found) -> Section:
    """The simulator in its own words, and the prior."""
    known = found.posterior.simulator
    settings, units = known["settings"], found.posterior.units
    facts = {
        "simulator": known["name"],
        "settings": "not recorded" if settings is None else _settings(settings),
    }
    layout = found.posterior.data
    columns = [with_unit(name, units) for name in layout.columns]
    facts["data"] = f"{form_of(layout)}: {show_names(columns)}"
    if isinstance(layout.context, Prior):
        known_units = [with_unit(name, units) for name in layout.context.names if name in units]
        more = f"; {show_names(known_units)}" if known_units else ""
        facts["known besides"] = repr(layout.context).removeprefix("Prior") + more
    if len(missable(layout)):
        facts["may be missing"] = show_names([layout.columns[i] for i in missable(layout)])
    spread = np.quantile(found.prior, [0.025, 0.5, 0.975], axis=0).T
    rows = [
        [with_unit(name, units), family, *(f"{value:.4g}" for value in values)]
        for (name, family), values in zip(_families(found), spread, strict=True)
    ]
    title = "Prior of each parameter, with quantiles of its draws"
    words = [Prose(text) for text in _own_words(found.model)]
    header = ["parameter", "prior", "2.5 %", "50 %", "97.5 %"]
    table = Table(title, header, rows, words=(1,))
    return Section("model", "Model and priors", [Facts(facts), *words, table])


def data(found: Found) -> Section:
    """What was observed."""
    x, layout = found.observed, found.posterior.data
    parts: list[Part] = []
    if found.several:
        header = ["dataset", "observations", *names_of(layout)]
        rows = [
            [str(i), f"{x.n[i]:,}", *(f"{value:.6g}" for value in x.context[i])]
            for i in range(min(len(x), _MOST))
        ]
        text = "Tables are about all datasets, figures about the first, number 0."
        parts += [Prose(text), Table("The observed datasets", header, rows)]
        parts += _more(len(x) - _MOST, "datasets")
    elif names_of(layout):
        pairs = zip(names_of(layout), x.context[0], strict=True)
        parts.append(Facts({name: f"{value:.6g}" for name, value in pairs}))
    first = x.each()[0]
    names = [with_unit(name, found.posterior.units) for name in layout.columns]
    which = "dataset 0" if found.several else "the data"
    if isinstance(layout, Vector):
        rows = [[name, _value(v)] for name, v in zip(names, first[0], strict=True)]
        header, title = ["column", "value"], f"Values of {which}"
    else:
        columns = {"cells": first.ravel()} if isinstance(layout, Matrix) else {}
        columns = columns or dict(zip(names, first.T, strict=True))
        rows = [[name, *_summary(values)] for name, values in columns.items()]
        header = ["column", "values", "missing", "mean", "sd", "smallest", "median", "largest"]
        title = f"Columns of {which}"
    parts += [Table(title, header, rows[:_MOST]), *_more(len(rows) - _MOST, "columns")]
    return Section("data", "Observed data", parts)


def posterior(found: Found) -> Section:
    """The parameters given the data."""
    rows, units = [], found.posterior.units
    for name, values in zip(map(str, found.table.index), found.table.to_numpy(), strict=True):
        written = digits(float(values[1]), float(np.abs(values).max()))
        parameter = name.rpartition("[")[0] if found.several else name
        unit = {name: units[parameter]} if parameter in units else {}
        rows.append([with_unit(name, unit), *(written(float(value)) for value in values)])
    title = "Posterior mean, standard deviation and ends of the 95 % interval"
    if found.several:
        title += "; the number in brackets is that of the dataset"
    shown = found.names[:_PAIRED]
    caption = (
        "The coloured density is the posterior, the grey one the prior. What the data tell about a "
        "parameter is how much narrower the first is; a slanted cloud is a trade-off between two."
    )
    caption += _which(found) + _first(len(shown), len(found.names), "parameters")
    draws, prior = found.draws[0][:, : len(shown)], found.prior[:, : len(shown)]
    picture = _picture(
        lambda dark: plots.pairs(shown, draws, prior, units=found.posterior.units, dark=dark),
        f"Posterior densities of {show_names(shown)} and of each pair, with the prior behind",
        caption,
        panels=len(shown),
    )
    table = Table(title, ["parameter", *map(str, found.table.columns)], rows[:_LONGEST])
    more = _more(len(rows) - _LONGEST, "rows")
    return Section("posterior", "Posterior", [table, *more, picture, *_corrected(found)])


def predictive(found: Found) -> Section:
    """Whether the fitted model makes data like those observed."""
    check, replicated = found.check, found.replicated
    title = "Does the model reproduce the data?"
    if check is None or replicated is None:
        text = f"{found.reason} So no data could be replicated, and this was not checked."
        return Section("predictive", title, [Prose(text)])
    report = check.to_dict()
    rows = [
        [
            name,
            *(_cell(v) for v in (entry["observed"], *entry["replicated"])),
            "-" if entry["p_value"] is None else f"{entry['p_value']:.2g}",
            "yes" if unlike else "no",
        ]
        for (name, entry), unlike in zip(
            report["datasets"][0].items(), check.unlike[0], strict=True
        )
    ]
    header = ["discrepancy", "observed", "2.5 %", "50 %", "97.5 %", "p-value", "unlike"]
    parts: list[Part] = [Prose(check.sentence), Prose(report["note"])]
    if np.isfinite(check.p_values[0]).any():
        parts.append(
            _picture(
                lambda dark: plots.predictive(
                    found.observed,
                    replicated,
                    found.posterior.data,
                    units=found.posterior.units,
                    dark=dark,
                ),
                "The observed data beside bands of data that the posterior simulates",
                "Grey bands hold 50 % and 95 % of the data that the model simulates from the "
                "posterior. If the model fits, the observed data, in colour, mostly lie inside."
                + _which(found),
            )
        )
    parts.append(
        _picture(
            lambda dark: plots.discrepancies(check, dark=dark),
            "Each discrepancy of the data among those of its replicates",
            "Each row is one number that is computed from the data and from every replicate. A dot "
            "on its grey bar is like 95 % of the replicates." + _which(found),
        )
    )
    about = f"The data{' (dataset 0)' if found.several else ''} and {check.replicates:,} replicates"
    parts.append(Table(about, header, rows))
    return Section("predictive", title, parts)


def familiarity(found: Found) -> Section:
    """Whether the data are like anything simulated."""
    known = found.posterior.familiarity
    order = np.argsort(found.p_values, kind="stable")[:_MOST]
    rows = [[str(i), f"{found.scores[i]:.3g}", f"{found.p_values[i]:.2g}"] for i in order]
    picture = _picture(
        lambda dark: plots.familiarity(found.scores, known.scores, found.p_values, dark=dark),
        "Score of the observed data among the scores of held-out simulations",
        "The score is the distance of a dataset from all simulations, as the network sees them. A "
        "line far to the right of the grey bars marks data unlike anything that was trained on.",
    )
    table = Table(
        "Misspecification score, most unlike first", ["dataset", "score", "p-value"], rows
    )
    more = _more(len(found.scores) - _MOST, "datasets")
    text = Prose(_familiarity_finding(found)[2])
    parts = [text, picture, table, *more, *_as_a_whole(found)]
    return Section("familiarity", "Are the data like the simulations?", parts)


def calibration(found: Found) -> Section:
    """What held-out simulations say of the posterior."""
    title, judged = "Calibration by simulations", found.verdict
    if judged is None:
        why = f"{found.reason} So no" if found.model is None else "No"
        text = f"{why} fresh simulations were judged for this page. {_certified(found)}"
        return Section("calibration", title, [Prose(text)])
    score = f"{judged.log_score:.3f} ± {judged.log_score_error:.3f} nats"
    how = (
        f"{judged.datasets:,} datasets that the training had not seen were simulated from "
        f"parameters drawn from the prior, and {judged.draws:,} draws of each posterior were "
        "compared with the parameters that were truly behind the data."
    )
    pictures = [_of_verdict(judged, *entry) for entry in _CALIBRATION]
    strata = [_parts(judged)] if judged.strata else []
    facts = Facts({"mean log density of the truth (the higher the sharper)": score})
    words = Prose(judged.sentence), Prose(how)
    return Section("calibration", title, [*words, _columns(judged), facts, *pictures, *strata])


def training(found: Found) -> Section:
    """How the network learned."""
    history = found.posterior.history
    picture = _picture(
        lambda dark: plots.training(history, dark=dark),
        "Training and validation loss over the steps of training",
        "The loss on simulations that are only validated with should end flat. If it still falls, "
        "more steps would help; if it rises while the other falls, more simulations would.",
    )
    facts = {
        name.replace("_", " "): _plain(value)
        for name, value in history.items()
        if value is not None and not isinstance(value, (list, dict))
    }
    return Section("training", "Training", [picture, Facts(facts)])


def settings(found: Found) -> Section:
    """All it takes to make this page again."""
    judged = found.verdict
    sizes = asdict(found.posterior.architecture)
    facts = {
        "draws of each observed dataset": f"{found.draws.shape[1]:,}",
        "seed of this page": str(found.seed),
        **({} if judged is None else {"seed of the calibration check": str(judged.seed)}),
        "network": ", ".join(f"{name} {_plain(value)}" for name, value in sizes.items()),
        "networks": str(found.posterior.members),
        "Python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES.split()},
    }
    return Section("settings", "Settings, seeds and versions", [Facts(facts)])


def certificate(found: Found) -> Section:
    """The verdict that is kept beside the posterior."""
    kept, title = found.posterior.certificate, "Certificate"
    if kept is None:
        return Section("certificate", title, [Prose(_certified(found))])
    facts = {
        "finding": str(kept),
        "passed": _each(kept.parameters, True),
        "failed": _each(kept.parameters, False),
        "strata": f"{sum(kept.strata.values())} of {len(kept.strata)} passed",
        "datasets": f"{kept.datasets:,}",
        "draws of each": f"{kept.draws:,}",
        "seed": str(kept.seed),
        "probability that an exact posterior passes": f"{kept.level:g}",
        "checked on": kept.date,
        "by sbi_kit": kept.sbi_kit,
        "digest of the posterior": kept.posterior,
    }
    text = "The last verdict that was kept in the posterior's directory, shown whenever it is used."
    return Section("certificate", title, [Prose(text), Facts(facts)])


CHAPTERS: tuple[Chapter, ...] = (
    verdict,
    posterior,
    model,
    data,
    predictive,
    familiarity,
    calibration,
    training,
    settings,
    certificate,
)

_CALIBRATION: tuple[tuple[Callable[..., Any], str, str], ...] = (
    (
        plots.rank_ecdf,
        "ECDF of the ranks of true values among posterior draws, less the uniform one, with bands",
        "Ranks of the true values among the draws (SBC) are uniform if the posterior is right, and "
        "the curve then stays inside the grey band. Above it draws are too high, below it too low.",
    ),
    (
        plots.rank_histogram,
        "Histogram of the ranks of true values among posterior draws",
        "The same ranks as bars. Flat is right, a ∪ means intervals that are too narrow, a ∩ too "
        "wide, a slope a shift.",
    ),
    (
        plots.coverage,
        "Coverage of central intervals less their level, with bands",
        "How much more often than promised central intervals hold the truth, at every level. Below "
        "the band they are too narrow, above it too wide.",
    ),
    (
        plots.joint_coverage,
        "Coverage of joint regions less their level, for highest-density and TARP regions",
        "The same for regions of all parameters together, which also see wrong correlations.",
    ),
    (
        plots.strata,
        "p-values of each parameter in parts of the datasets",
        "A posterior may be right on average and wrong for small data sets or in a corner of the "
        "prior, so each part of the simulations is judged by itself. Filled cells fail.",
    ),
    (
        plots.recovery,
        "Posterior means with two standard deviations against true values",
        "Every point is one simulated dataset, its bar two posterior sds long either way. Near "
        "the line the parameter can be recovered; a flat cloud means that it cannot.",
    ),
    (
        plots.contraction,
        "z-score of the posterior mean against posterior contraction",
        "To the right, data shrink the prior's variance to almost nothing; at 0 they say nothing. "
        "About 95 % of the points belong inside the grey band, whatever their place on the right.",
    ),
    (
        plots.averaged,
        "Posterior averaged over datasets less the prior",
        "Averaged over many datasets a right posterior is the prior again, so the curve stays near "
        "0; how near is said over each panel.",
    ),
)


def _calibration_finding(found: Found) -> tuple[str, Status, str]:
    title, kept = "Calibration", found.verdict or found.posterior.certificate
    if kept is None:
        return title, "none", _certified(found)
    status: Status = "fault" if not kept.passed else "fine" if kept.enough else "doubt"
    return title, status, kept.sentence if found.verdict else str(kept)


def _predictive_finding(found: Found) -> tuple[str, Status, str]:
    title, check = "Fit of the model", found.check
    if check is None:
        return title, "none", found.reason
    status: Status = "fault" if check.unlike.any() else "fine" if check.enough else "doubt"
    return title, status, check.sentence


def _familiarity_finding(found: Found) -> tuple[str, Status, str]:
    worst, b = int(np.argmin(found.p_values)), len(found.p_values)
    p, usual = float(found.p_values[worst]), found.posterior.familiarity.usual
    status: Status = "fault" if p * b < _UNLIKE else "doubt" if p * b < _DOUBTFUL else "fine"
    like = {
        "fault": "are unlike everything that was simulated",
        "doubt": "are unlike most of what was simulated",
    }.get(status, "look like what was simulated")
    which = f"Dataset {worst}, the strangest of {b:,}, has" if b > 1 else "They have"
    return (
        "Familiarity of the data",
        status,
        f"The data {like}. {which} the misspecification score {found.scores[worst]:.3g}, and 95 % "
        f"of simulations lie below {usual:.3g} (p = {p:.2g}).",
    )


def _correction_finding(found: Found) -> Iterator[tuple[str, Status, str]]:
    """Whether the likelihood, where there is one, agrees with the posterior."""
    if found.correction is not None:
        status: Status = "fine" if found.correction.reliable.all() else "doubt"
        yield "Agreement with the likelihood", status, found.correction.sentence


def _corrected(found: Found) -> Iterator[Part]:
    """Posterior moments with every draw weighted by the likelihood, beside those without."""
    correction = found.correction
    if correction is None:
        return
    rows = []
    for i in range(min(len(found.observed), _MOST)):
        raw = found.draws[i].mean(axis=0), found.draws[i].std(axis=0)
        mark = f"[{i}]" if found.several else ""
        for j, name in enumerate(found.names):
            values = raw[0][j], raw[1][j], correction.mean[i, j], correction.sd[i, j]
            written = digits(float(raw[1][j]), max(abs(value) for value in values))
            trusted = _passed(bool(correction.reliable[i]))
            cells = [*map(written, values), f"{correction.k_hat[i]:.2f}", trusted]
            rows.append([f"{name}{mark}", *cells])
    yield Prose(
        "The likelihood of this model is known, so every draw was weighted by what the exact "
        "posterior says of it. Small moves mean that the network found the posterior of these "
        f"data. {correction.sentence}"
    )
    header = ["parameter", "mean", "sd", "weighted mean", "weighted sd", "k-hat", "reliable"]
    yield Table("Posterior as drawn, and weighted by the likelihood", header, rows)
    yield from _more(len(found.observed) - _MOST, "datasets")


def _as_a_whole(found: Found) -> Iterator[Part]:
    """Whether several datasets together vary as simulations do."""
    if found.together is None:
        return
    value, p = found.together
    how = "otherwise than" if p < _UNLIKE else "as"
    yield Prose(
        f"Together the {len(found.observed):,} datasets are distributed {how} simulations from the "
        f"prior are (MMD² {value:.3g}, p = {p:.2g}). Datasets whose parameters vary less than the "
        "prior differ in this way too, with nothing wrong in the simulator."
    )


def _certified(found: Found) -> str:
    return str(found.posterior.certificate or UNCHECKED)


def _columns(judged: Verdict) -> Table:
    """Numbers of each parameter, quantity and joint check."""
    numbers = judged.to_dict()
    held = judged.coverage.at(0.5), judged.coverage.at(0.9)
    rows = []
    for i, (name, entry) in enumerate({**numbers["parameters"], **numbers["quantities"]}.items()):
        rest = (entry[key] for key in ("calibration_error", "r2", "nrmse", "contraction"))
        cells = [_ratio(value) for value in (held[0][i], held[1][i], *rest)]
        rows.append([name, _passed(entry["passed"]), f"{entry['p_value']:.2g}", *cells])
    for check in judged.joint:
        cells = [f"{value:.3f}" for value in (check.at(0.5), check.at(0.9), check.error)]
        lead = f"all together: {check.name}", _passed(check.passed), f"{check.p_value:.2g}"
        rows.append([*lead, *cells, "", "", ""])
    header = ["parameter", "inside bands", "p-value", "cover 50 %", "cover 90 %", "cal. error"]
    title = "How often 50 % and 90 % intervals held the truth, and how well means recover it"
    return Table(title, [*header, "R²", "NRMSE", "contraction"], rows)


def _parts(judged: Verdict) -> Table:
    """Numbers of each stratum."""
    rows = []
    for part in judged.strata:
        worst = int(np.argmin(part.p_values))
        faults = [f"{judged.names[i]} {part.faults[i]}" for i in part.failed]
        numbers = f"{len(part.rows):,}", f"{part.p_values[worst]:.2g}"
        rows.append([part.label, _passed(part.passed), *numbers, "; ".join(faults) or "-"])
    size = f"{judged.strata[0].size:.2g}"
    title = f"Parts of the simulations, each judged by itself; a p-value of {size} or less fails"
    header = ["part", "inside bands", "datasets", "smallest p", "what fails"]
    return Table(title, header, rows, words=(4,))


def _of_verdict(judged: Verdict, draw: Callable[..., Any], alt: str, caption: str) -> Picture:
    k = len(judged.names)
    return _picture(lambda dark: draw(judged, dark=dark), alt, caption, panels=k)


def _picture(draw: Callable[[bool], Any], alt: str, caption: str, *, panels: int = 1) -> Picture:
    """A figure for light and for dark pages, coarser if it is a large one of many panels."""
    dpi = next(dpi for most, dpi in _RESOLUTIONS if panels <= most)
    light, dark = (plots.to_webp(draw(dark), dpi=dpi) for dark in (False, True))
    return Picture(alt, caption, light, dark)


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in settings.items()) or "none"


def _families(found: Found) -> Iterator[tuple[str, str]]:
    """Each parameter with its prior as text."""
    prior = found.posterior.prior
    if not isinstance(prior, Prior):
        yield from ((name, "-") for name in prior.names)
        return
    for block in prior.joint:
        yield from ((name, _joint(block)) for name in block.names)
    yield from ((name, repr(family)) for name, family in prior.marginals.items())


def _joint(block: MultivariateNormal) -> str:
    return f"joint normal of {show_names(list(block.names))}"


def _own_words(model: contracts.Simulator | None) -> list[str]:
    """What a simulator's docstring says before its arguments, in paragraphs."""
    if model is None:
        return []
    source: Any = model.simulate if isinstance(model, Simulator) else type(model)
    text = inspect.getdoc(source) or ""
    if text.startswith(f"{getattr(source, '__name__', '')}("):
        return []  # a dataclass without a docstring shows its signature
    paragraphs = []
    for paragraph in text.split("\n\n"):
        if _STOP.match(paragraph.lstrip() + "\n"):
            break
        paragraphs.append(" ".join(paragraph.split()))
    return [paragraph for paragraph in paragraphs if paragraph]


def _summary(values: Array) -> list[str]:
    """Numbers about one column (n,), of which some may be missing."""
    known = values[~np.isnan(values)]
    counts = [f"{len(known):,}", f"{len(values) - len(known):,}"]
    if not len(known):
        return [*counts, *["-"] * 5]
    sd = known.std(ddof=1) if len(known) > 1 else math.nan
    numbers = known.mean(), sd, known.min(), np.median(known), known.max()
    return [*counts, *(_value(float(number)) for number in numbers)]


def _more(count: int, what: str) -> list[Part]:
    return [Prose(f"And {count:,} {what} more.")] if count > 0 else []


def _which(found: Found) -> str:
    return " Shown for dataset 0." if found.several else ""


def _first(shown: int, of: int, what: str) -> str:
    return f" Shown for the first {shown} of {of} {what}." if shown < of else ""


def _each(passed: Any, which: bool) -> str:
    return show_names([name for name, value in passed.items() if value == which]) or "none"


def _passed(passed: bool) -> str:
    return "yes" if passed else "NO"


def _value(value: float) -> str:
    return "missing" if math.isnan(value) else f"{value:.5g}"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _ratio(value: float | None) -> str:
    """A number that is about 1; that of a wild posterior may have hundreds of digits."""
    return f"{value:.3f}" if value is not None and abs(value) < 1e3 else _cell(value)


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
