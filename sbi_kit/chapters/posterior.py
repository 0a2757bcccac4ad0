"""The parameters given the data, as drawn and as the likelihood weights them."""

from collections.abc import Iterator

import numpy as np

from sbi_kit import plots
from sbi_kit.chapters.found import Found
from sbi_kit.chapters.words import MOST_ROWS, and_more, of_first, of_which, picture_of, yes_no
from sbi_kit.checks import show_names
from sbi_kit.digits import digits, with_unit
from sbi_kit.page import Part, Prose, Section, Table

_PAIRED = 10  # parameters in one figure of pairs
_LONGEST = 400  # rows of the posterior's table


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
    caption += of_which(found) + of_first(len(shown), len(found.names), "parameters")
    draws, prior = found.draws[0][:, : len(shown)], found.prior[:, : len(shown)]
    picture = picture_of(
        lambda dark: plots.pairs(shown, draws, prior, units=found.posterior.units, dark=dark),
        f"Posterior densities of {show_names(shown)} and of each pair, with the prior behind",
        caption,
        panels=len(shown),
    )
    table = Table(title, ["parameter", *map(str, found.table.columns)], rows[:_LONGEST])
    more = and_more(len(rows) - _LONGEST, "rows")
    return Section("posterior", "Posterior", [table, *more, picture, *_corrected(found)])


def _corrected(found: Found) -> Iterator[Part]:
    """Posterior moments with every draw weighted by the likelihood, beside those without."""
    correction = found.correction
    if correction is None:
        return
    rows = []
    for i in range(min(len(found.observed), MOST_ROWS)):
        raw = found.draws[i].mean(axis=0), found.draws[i].std(axis=0)
        mark = f"[{i}]" if found.several else ""
        for j, name in enumerate(found.names):
            values = raw[0][j], raw[1][j], correction.mean[i, j], correction.sd[i, j]
            written = digits(float(raw[1][j]), max(abs(value) for value in values))
            trusted = yes_no(bool(correction.reliable[i]))
            cells = [*map(written, values), f"{correction.k_hat[i]:.2f}", trusted]
            rows.append([f"{name}{mark}", *cells])
    yield Prose(
        "The likelihood of this model is known, so every draw was weighted by what the exact "
        "posterior says of it. Small moves mean that the network found the posterior of these "
        f"data. {correction.sentence}"
    )
    header = ["parameter", "mean", "sd", "weighted mean", "weighted sd", "k-hat", "reliable"]
    yield Table("Posterior as drawn, and weighted by the likelihood", header, rows)
    yield from and_more(len(found.observed) - MOST_ROWS, "datasets")
