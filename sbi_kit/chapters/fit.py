"""Model and data: whether the model reproduces them, and whether it was trained for such."""

from collections.abc import Iterator

import numpy as np

from sbi_kit import plots
from sbi_kit.chapters.findings import _UNLIKE, familiarity_finding
from sbi_kit.chapters.found import Found
from sbi_kit.chapters.words import MOST_ROWS, and_more, of_which, picture_of, write_cell
from sbi_kit.page import Part, Prose, Section, Table


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
            *(write_cell(v) for v in (entry["observed"], *entry["replicated"])),
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
            picture_of(
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
                + of_which(found),
            )
        )
    parts.append(
        picture_of(
            lambda dark: plots.discrepancies(check, dark=dark),
            "Each discrepancy of the data among those of its replicates",
            "Each row is one number that is computed from the data and from every replicate. A dot "
            "on its grey bar is like 95 % of the replicates." + of_which(found),
        )
    )
    about = f"The data{' (dataset 0)' if found.several else ''} and {check.replicates:,} replicates"
    parts.append(Table(about, header, rows))
    return Section("predictive", title, parts)


def familiarity(found: Found) -> Section:
    """Whether the data are like anything simulated."""
    known = found.posterior.familiarity
    order = np.argsort(found.p_values, kind="stable")[:MOST_ROWS]
    rows = [[str(i), f"{found.scores[i]:.3g}", f"{found.p_values[i]:.2g}"] for i in order]
    picture = picture_of(
        lambda dark: plots.familiarity(found.scores, known.scores, found.p_values, dark=dark),
        "Score of the observed data among the scores of held-out simulations",
        "The score is the distance of a dataset from all simulations, as the network sees them. A "
        "line far to the right of the grey bars marks data unlike anything that was trained on.",
    )
    table = Table(
        "Misspecification score, most unlike first", ["dataset", "score", "p-value"], rows
    )
    more = and_more(len(found.scores) - MOST_ROWS, "datasets")
    text = Prose(familiarity_finding(found)[2])
    parts = [text, picture, table, *more, *_as_a_whole(found)]
    return Section("familiarity", "Are the data like the simulations?", parts)


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
