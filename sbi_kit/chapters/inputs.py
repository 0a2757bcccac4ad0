"""What went in: the model and its priors, and the observed data."""

import inspect
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sbi_kit import contracts
from sbi_kit.chapters.found import Found
from sbi_kit.chapters.words import MOST_ROWS, and_more, write_value
from sbi_kit.checks import show_names
from sbi_kit.context import names_of
from sbi_kit.contracts import Array
from sbi_kit.data import Matrix, Vector, missable
from sbi_kit.digits import with_unit
from sbi_kit.facts import form_of
from sbi_kit.page import Facts, Part, Prose, Section, Table
from sbi_kit.prior import MultivariateNormal, Prior
from sbi_kit.simulator import Simulator

_STOP = re.compile(
    r"(Args|Arguments|Attributes|Example|Examples|Parameters|Raises|Returns):\n|>>> "
)


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
            for i in range(min(len(x), MOST_ROWS))
        ]
        text = "Tables are about all datasets, figures about the first, number 0."
        parts += [Prose(text), Table("The observed datasets", header, rows)]
        parts += and_more(len(x) - MOST_ROWS, "datasets")
    elif names_of(layout):
        pairs = zip(names_of(layout), x.context[0], strict=True)
        parts.append(Facts({name: f"{value:.6g}" for name, value in pairs}))
    first = x.each()[0]
    names = [with_unit(name, found.posterior.units) for name in layout.columns]
    which = "dataset 0" if found.several else "the data"
    if isinstance(layout, Vector):
        rows = [[name, write_value(v)] for name, v in zip(names, first[0], strict=True)]
        header, title = ["column", "value"], f"Values of {which}"
    else:
        columns = {"cells": first.ravel()} if isinstance(layout, Matrix) else {}
        columns = columns or dict(zip(names, first.T, strict=True))
        rows = [[name, *_summary(values)] for name, values in columns.items()]
        header = ["column", "values", "missing", "mean", "sd", "smallest", "median", "largest"]
        title = f"Columns of {which}"
    parts += [Table(title, header, rows[:MOST_ROWS]), *and_more(len(rows) - MOST_ROWS, "columns")]
    return Section("data", "Observed data", parts)


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
    return [*counts, *(write_value(float(number)) for number in numbers)]
