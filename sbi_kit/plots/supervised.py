"""Figures of supervised models: weights along a path, importances, calibration of a class."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from sbi_kit.contracts import Array
from sbi_kit.plots import canvas
from sbi_kit.plots.canvas import Ink

_NAMED = 5  # lines of a panel that bear their name
_TOP = 20  # features of a panel


def weights_along_path(
    lams: Array,
    regression: Array,
    classification: Array,
    names: Sequence[str],
    *,
    chosen: float | None = None,
    dark: bool = False,
) -> Figure:
    """Weights of both heads against the strength of the penalty; the largest bear their names.

    Args:
        lams: Strengths of the penalty, falling, shape (k,).
        regression: Weights of the target's head, shape (k, p).
        classification: Weights of the class's head, shape (k, p).
        names: The p names.
        chosen: The strength that was chosen, which gets a line.
        dark: Colours for a dark page.
    """
    ink = canvas.ink(dark)
    title = "Regularisation: from left to right the penalty falls, and more features count"
    figure = canvas.sheet(title, ink, height=3.6)
    for k, (head, weights) in enumerate(
        (("regression", regression), ("classification", classification))
    ):
        axes = figure.add_subplot(1, 2, k + 1)
        canvas.style(axes, ink)
        _falling(axes, lams)
        largest = np.argsort(-np.abs(weights[-1]), kind="stable")[:_NAMED]
        rest = np.setdiff1d(np.flatnonzero(weights.any(axis=0)), largest)
        axes.plot(lams, weights[:, rest], color=ink.band, linewidth=0.7)
        axes.plot(lams, weights[:, largest], color=ink.line, linewidth=1.4)
        if chosen is not None:
            axes.axvline(chosen, color=ink.text, linewidth=0.8, linestyle=":")
        low, high = canvas.span([weights])
        axes.set_ylim(low, high)
        _name_lines(axes, weights[-1, largest], [names[j] for j in largest], ink)
        counts = np.count_nonzero(weights, axis=1)
        words = f"{counts[0]} to {counts[-1]} of {len(names)} weights are not zero"
        canvas.name(axes, head, words, ink)
    used = "" if chosen is None else "; dotted: used"
    canvas.label(figure, f"strength of the penalty, λ{used}", "weight, standardised", ink)
    return figure


def importances(
    names: Sequence[str],
    regression: Array,
    classification: Array,
    both: Array,
    *,
    dark: bool = False,
) -> Figure:
    """The twenty features that count most, for each task and for both.

    Args:
        names: The features.
        regression: Importance of each for the target, shape (features,).
        classification: For the class, shape (features,).
        both: For both, shape (features,).
        dark: Colours for a dark page.
    """
    ink = canvas.ink(dark)
    shown = min(_TOP, len(names))
    title = "Importances: how far a prediction varies with each feature alone"
    figure = canvas.sheet(title, ink, height=1.3 + 0.18 * shown)
    parts = (
        ("regression", "sd of the target", regression),
        ("classification", "log odds", classification),
        ("both", "share of the sum", both),
    )
    for k, (task, unit, values) in enumerate(parts):
        axes = figure.add_subplot(1, 3, k + 1)
        canvas.style(axes, ink)
        top = np.argsort(-values, kind="stable")[:shown]
        axes.barh(np.arange(shown), values[top], height=0.7, color=ink.line)
        letters = canvas.letters(0.9, canvas.SMALL)
        axes.set_yticks(range(shown), [canvas.short(names[j], letters) for j in top])
        axes.set_ylim(shown - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.grid(False, axis="y")
        axes.set_xlabel(unit)
        canvas.name(axes, task, "", ink)
    return figure


def class_calibration(said: Array, seen: Array, error: Array, *, dark: bool = False) -> Figure:
    """Frequencies of class 1 against probabilities, with two standard errors of what is expected.

    Args:
        said: Mean probability of each group of rows, shape (groups,).
        seen: Share of class 1 in each, shape (groups,).
        error: Standard error of that share if probabilities are right, shape (groups,).
        dark: Colours for a dark page.
    """
    ink = canvas.ink(dark)
    title = "Probabilities: points on the line mean what they say"
    figure, axes = canvas.single(title, ink, height=3.6)
    axes.fill_between(
        said,
        np.clip(said - 2 * error, 0, 1),
        np.clip(said + 2 * error, 0, 1),
        color=ink.band,
        linewidth=0,
        label="expected ± 2 standard errors",
    )
    axes.plot([0, 1], [0, 1], color=ink.text, linewidth=0.8)
    outside = np.abs(seen - said) > 2 * error
    axes.plot(said, seen, color=ink.line, linewidth=1)
    kinds = (("inside", ~outside, "o", ink.line), ("outside", outside, "s", ink.mark))
    for word, these, marker, colour in kinds:
        if these.any():
            axes.plot(
                said[these],
                seen[these],
                marker,
                color=colour,
                markersize=5,
                label=word,
                clip_on=False,
            )
    high = min(1.0, 1.08 * float(max((said + 2 * error).max(), seen.max(), 0.05)))
    axes.set_xlim(0, high)
    axes.set_ylim(0, high)
    axes.set_xlabel("probability of class 1, mean of a tenth of the rows")
    axes.set_ylabel("share of class 1 among them")
    canvas.legend(axes, ink)
    return figure


def _falling(axes: Axes, lams: Array) -> None:
    """A logarithmic axis from the largest to the smallest, with few plain numbers."""
    axes.set_xscale("log")
    axes.set_xlim(lams.max(), lams.min())
    wide = lams.max() >= 30 * lams.min()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 3.0)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def learning_rates(
    rates: Array,
    losses: Array,
    accuracies: Array,
    *,
    errors: Array | None = None,
    best: float | None = None,
    dark: bool = False,
) -> Figure:
    """Validation loss and test accuracy by learning rate; the lowest loss is marked.

    Args:
        rates: Learning rates, rising, shape (k,).
        losses: Validation loss of each, shape (k,).
        accuracies: Accuracy of each on other rows, shape (k,).
        errors: Standard errors of the accuracies, shape (k,), which get bars.
        best: Best possible accuracy, which gets a line.
        dark: Colours for a dark page.
    """
    ink = canvas.ink(dark)
    title = "Learning rates: the lowest validation loss is chosen"
    figure = canvas.sheet(title, ink, height=3.2)
    chosen = int(np.argmin(losses))
    for k, (what, values) in enumerate((("validation loss", losses), ("accuracy", accuracies))):
        axes = figure.add_subplot(1, 2, k + 1)
        canvas.style(axes, ink)
        canvas.logarithmic(axes)
        if what == "accuracy" and best is not None:
            axes.axhline(best, color=ink.text, linewidth=0.8, linestyle=":", label="best possible")
        axes.plot(rates, values, "o-", color=ink.line, linewidth=1, markersize=5)
        if what == "accuracy" and errors is not None:
            axes.errorbar(rates, values, errors, fmt="none", ecolor=ink.line, linewidth=1)
        axes.plot(rates[chosen], values[chosen], "s", color=ink.mark, markersize=6, label="chosen")
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.minorticks_off()
        canvas.name(axes, what, "", ink)
        canvas.legend(axes, ink)
    canvas.label(figure, "learning rate", "", ink)
    return figure


def accuracy_by_size(
    sizes: Array,
    best: Array,
    accuracies: Mapping[str, Array],
    *,
    dark: bool = False,
) -> Figure:
    """Test accuracy against the number of features, with its range over seeds.

    Args:
        sizes: Numbers of features, rising, shape (k,).
        best: Best possible accuracy at each, shape (k,).
        accuracies: Those of each method, shape (k, seeds).
        dark: Colours for a dark page.
    """
    ink = canvas.ink(dark)
    title = "Accuracy by number of features: mean and range over seeds"
    figure, axes = canvas.single(title, ink, height=3.8)
    axes.plot(sizes, best, color=ink.text, linewidth=0.9, linestyle=":", label="best possible")
    colours = (ink.line, ink.mark, ink.text)
    for k, (name, values) in enumerate(accuracies.items()):
        colour, marker = colours[k % len(colours)], "osD^v"[k % 5]
        axes.fill_between(
            sizes, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.2, linewidth=0
        )
        style = "-" if k < 2 else "--"
        mean = values.mean(axis=1)
        axes.plot(sizes, mean, style + marker, color=colour, linewidth=1, markersize=4, label=name)
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.set_xlabel("number of features, n")
    axes.set_ylabel("accuracy on new rows")
    canvas.legend(axes, ink)
    return figure


def _name_lines(axes: Axes, ends: Array, names: Sequence[str], ink: Ink) -> None:
    """Names to the right of where lines end, moved apart where they would touch."""
    low, high = axes.get_ylim()
    gap = 0.06 * (high - low)
    order = np.argsort(ends, kind="stable")
    places = ends[order].copy()
    for k in range(1, len(places)):
        places[k] = max(places[k], places[k - 1] + gap)
    if len(places):
        places -= (places - ends[order]).mean()
        places -= max(0.0, float(places[-1]) - high)
    for j, place in zip(order, places, strict=True):
        axes.annotate(
            canvas.short(names[j], canvas.letters(0.85, canvas.SMALL)),
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=canvas.SMALL,
            color=ink.text,
            annotation_clip=False,
        )
