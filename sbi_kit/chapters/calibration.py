"""What held-out simulations say of the posterior."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sbi_kit import plots
from sbi_kit.chapters.findings import certified
from sbi_kit.chapters.found import Found
from sbi_kit.chapters.words import picture_of, write_ratio, yes_no
from sbi_kit.diagnostics.verdict import Verdict
from sbi_kit.page import Facts, Picture, Prose, Section, Table

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


def calibration(found: Found) -> Section:
    """What held-out simulations say of the posterior."""
    title, judged = "Calibration by simulations", found.verdict
    if judged is None:
        why = f"{found.reason} So no" if found.model is None else "No"
        text = f"{why} fresh simulations were judged for this page. {certified(found)}"
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


def _columns(judged: Verdict) -> Table:
    """Numbers of each parameter, quantity and joint check."""
    numbers = judged.to_dict()
    held = judged.coverage.at(0.5), judged.coverage.at(0.9)
    rows = []
    for i, (name, entry) in enumerate({**numbers["parameters"], **numbers["quantities"]}.items()):
        rest = (entry[key] for key in ("calibration_error", "r2", "nrmse", "contraction"))
        cells = [write_ratio(value) for value in (held[0][i], held[1][i], *rest)]
        rows.append([name, yes_no(entry["passed"]), f"{entry['p_value']:.2g}", *cells])
    for check in judged.joint:
        cells = [f"{value:.3f}" for value in (check.at(0.5), check.at(0.9), check.error)]
        lead = f"all together: {check.name}", yes_no(check.passed), f"{check.p_value:.2g}"
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
        rows.append([part.label, yes_no(part.passed), *numbers, "; ".join(faults) or "-"])
    size = f"{judged.strata[0].size:.2g}"
    title = f"Parts of the simulations, each judged by itself; a p-value of {size} or less fails"
    header = ["part", "inside bands", "datasets", "smallest p", "what fails"]
    return Table(title, header, rows, words=(4,))


def _of_verdict(judged: Verdict, draw: Callable[..., Any], alt: str, caption: str) -> Picture:
    k = len(judged.names)
    return picture_of(lambda dark: draw(judged, dark=dark), alt, caption, panels=k)
