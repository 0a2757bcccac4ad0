"""Figures of data beside what the model makes: replicates, discrepancies, familiarity."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from sbi_kit.checks import BadValue, expect_array, expect_integer
from sbi_kit.contracts import Array
from sbi_kit.data import AnyLayout, Datasets, Matrix, Series, Vector, read, unusable
from sbi_kit.diagnostics.predictive import PredictiveCheck
from sbi_kit.digits import with_unit
from sbi_kit.plots import canvas
from sbi_kit.plots.canvas import Ink, p_text

_MOST = 12  # columns of the data that are drawn
_ROWS = 40  # discrepancies that are drawn
_FAR = 4.0  # from where on discrepancies are arrows
_BARS = 24
_LEVELS = 0.025, 0.25, 0.5, 0.75, 0.975
_HELD = "; bands hold 50 and 95 % of the replicates"


def predictive(
    observed: Any,
    replicated: ArrayLike,
    layout: AnyLayout,
    *,
    dataset: int = 0,
    units: Mapping[str, str] | None = None,
    dark: bool = False,
) -> Figure:
    """Observed data beside replicates of them, in the form their layout asks for.

    Of a `Series` the course of each column is drawn, of a `Matrix` the column means, of sets and
    vectors the values of each column. Bands hold 50 % and 95 % of the replicates, each place by
    itself.

    Args:
        observed: b datasets, in any form that `sbi_kit.data.read` accepts, or `Datasets`.
        replicated: k replicates of each, shape (b, k, n, columns).
        layout: What one dataset looks like.
        dataset: Which of the b.
        units: Units of the columns by name; that of "time" is of the time points of a `Series`.
        dark: Whether it is for a dark page.

    Raises:
        BadValue: The data do not fit the layout, the shapes do not fit, there is no such dataset,
            or no replicate can be used.
        BadType: Something else than numbers.
    """
    # What is known besides is not drawn, and nobody should have to pass it.
    known = isinstance(observed, Datasets)
    datasets = observed if known else read(observed, replace(layout, context=None))
    b, n, columns = datasets.values.shape
    do = "pass k replicates of each observed dataset"
    data = expect_array("replicated", replicated, (b, "k", n, columns), do=do)
    which = expect_integer("dataset", dataset, low=0, high=b - 1)
    size, ink, units = int(datasets.n[which]), canvas.ink(dark), units or {}
    seen, made = datasets.values[which, :size], data[which, :, :size]
    made = made[~unusable(made, layout).any(axis=(1, 2))]
    if not len(made):
        raise BadValue("replicates of finite values", "none", "look at what the model simulates")
    if isinstance(layout, Matrix):
        return _matrix(seen, made, layout, ink)
    draw, what, x, y = {
        Series: (_course, "the data run inside the bands", f"{_time(units)}{_HELD}", "value"),
        Vector: (_value, "the data lie among the replicates", "value", "replicates"),
    }.get(type(layout), (_bars, "the data's bars end inside the bands", f"value{_HELD}", "share"))
    shown = min(columns, _MOST)
    more = f" (first {shown} of {columns} columns)" if shown < columns else ""
    figure, panels = canvas.panels(shown, f"Data and replicates: {what} if they fit{more}", ink)
    for j, axes in enumerate(panels):
        draw(axes, seen[:, j], made[:, :, j], ink)
        canvas.name(axes, with_unit(layout.columns[j], units), "", ink)
    canvas.label(figure, x, y, ink)
    return figure


def discrepancies(check: PredictiveCheck, *, dataset: int = 0, dark: bool = False) -> Figure:
    """Discrepancies of a dataset among those of its replicates, all on one scale.

    Args:
        check: What `predictive_check` found.
        dataset: Which of its datasets.
        dark: Whether it is for a dark page.

    Raises:
        BadValue: There is no such dataset.
    """
    which = expect_integer("dataset", dataset, low=0, high=len(check.observed) - 1)
    ink, p_values = canvas.ink(dark), check.p_values[which]
    known = np.flatnonzero(np.isfinite(p_values))
    if not len(known):
        return canvas.blank("No discrepancy is defined for data and replicates.", ink)
    shown = np.sort(known[np.argsort(p_values[known], kind="stable")][:_ROWS])
    more = f" ({len(shown)} of {len(check.names)})" if len(shown) < len(check.names) else ""
    title = f"Predictive checks: a dot on its bar is like the replicates{more}"
    figure, axes = canvas.single(title, ink, height=0.9 + 0.22 * len(shown))
    for row, j in enumerate(shown.tolist()):
        place = _scaled(check.observed[which, j], check.replicated[which, :, j])
        unlike = bool(check.unlike[which, j])
        marker = "o" if abs(place) < _FAR else ">" if place > 0 else "<"
        axes.plot([-1, 1], [row, row], color=ink.band, linewidth=8, solid_capstyle="butt")
        colour = ink.mark if unlike else ink.line
        axes.plot(np.clip(place, -_FAR, _FAR), row, marker, markersize=6, color=colour)
        words = f"p = {p_text(p_values[j])}{', unlike' if unlike else ''}"
        across = axes.get_yaxis_transform()
        axes.text(
            1.01, row, words, transform=across, va="center", fontsize=canvas.SMALL, color=ink.text
        )
    axes.set_yticks(range(len(shown)), [canvas.short(check.names[j], 34) for j in shown])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(-1.05 * _FAR, 1.05 * _FAR)
    axes.set_xticks(np.arange(-_FAR, _FAR + 1))
    axes.set_xlabel("place among replicates: 0 is their median, 95 % lie between ±1")
    return figure


def familiarity(
    scores: ArrayLike, held_out: ArrayLike, p_values: ArrayLike, *, dark: bool = False
) -> Figure:
    """Misspecification scores of observed datasets among those of held-out simulations.

    Args:
        scores: Of the observed datasets, shape (b,).
        held_out: Of the simulations, shape (m,); `Familiarity.scores`.
        p_values: Of the observed datasets, shape (b,).
        dark: Whether it is for a dark page.

    Raises:
        BadValue: The shapes do not fit.
        BadType: Something else than numbers.
    """
    ink = canvas.ink(dark)
    found = expect_array("scores", scores, ("b",), do="pass one for each dataset")
    usual = expect_array("held_out", held_out, ("m",), do="pass the scores of simulations")
    p = expect_array("p_values", p_values, found.shape, do="pass one for each score")
    title = "Familiarity: data among the simulations are like those trained on"
    figure, axes = canvas.single(title, ink, height=2.8)
    low, high = canvas.span([usual, found])
    far = usual.min() > 0 and found.max() > 4 * usual.max()
    edges = np.geomspace(usual.min() / 1.2, high, 61) if far else np.linspace(max(low, 0), high, 61)
    counts = np.histogram(usual, edges)[0]
    axes.stairs(counts, edges, fill=True, color=ink.band, label="held-out simulations")
    limit = np.quantile(usual, 0.95)
    axes.axvline(limit, color=ink.text, linewidth=1, linestyle=":", label="95 % of them are lower")
    words = f"observed, p = {p_text(p.min())}"
    if len(found) > 1:
        words = f"{len(found)} observed, smallest p = {p_text(p.min())}"
    for place, score in enumerate(found):
        axes.axvline(score, color=ink.mark, linewidth=1.5, label=None if place else words)
    if far:
        canvas.logarithmic(axes)
    axes.set_xlabel("distance of the features from those of simulations")
    axes.set_ylabel("simulations")
    canvas.legend(axes, ink)
    return figure


def _time(units: Mapping[str, str]) -> str:
    """What a series goes along."""
    return with_unit("time", units) if "time" in units else "time point"


def _course(axes: Axes, seen: Array, made: Array, ink: Ink) -> None:
    """One column of a series, seen (n,) and made (k, n)."""
    at = np.arange(1.0, len(seen) + 1)
    _bands(axes, at, made, ink)
    axes.plot(at, seen, "o-", color=ink.mark, markersize=2.5, linewidth=0.8)


def _value(axes: Axes, seen: Array, made: Array, ink: Ink) -> None:
    """One feature of a vector, seen (1,) and made (k, 1)."""
    edges = _edges(seen, made)
    counts = np.histogram(np.clip(made, edges[0], edges[-1]), edges)[0]
    axes.stairs(counts, edges, fill=True, color=ink.band)
    axes.axvline(float(seen[0]), color=ink.mark, linewidth=1.5)


def _bars(axes: Axes, seen: Array, made: Array, ink: Ink) -> None:
    """One column of a set, seen (n,) and made (k, n): shares in bars, the outer ones open."""
    edges = _edges(seen, made)

    def share(values: Array) -> Array:
        known = values[np.isfinite(values)]
        inside = np.clip(known, edges[0], edges[-1])
        return np.asarray(np.histogram(inside, edges)[0] / max(1, len(known)))

    shares = np.stack([share(row) for row in made])
    far, near, _, near_top, far_top = np.quantile(shares, _LEVELS, axis=0)
    axes.stairs(far_top, edges, baseline=far, fill=True, color=ink.band, alpha=0.6)
    axes.stairs(near_top, edges, baseline=near, fill=True, color=ink.band)
    axes.stairs(share(seen), edges, baseline=None, color=ink.mark, linewidth=1.5)


def _matrix(seen: Array, made: Array, layout: Matrix, ink: Ink) -> Figure:
    """Means of the columns of a matrix, seen (n, columns) and made (k, n, columns)."""
    title = "Data and replicates: column means lie inside the bands if they fit"
    figure, axes = canvas.single(title, ink, height=3.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, of columns without a value
        mean, means = np.nanmean(seen, axis=0), np.nanmean(made, axis=1)
    if layout.columns_exchangeable:
        mean, means = np.sort(mean), np.sort(means, axis=1)
    at = np.arange(1.0, len(mean) + 1)
    _bands(axes, at, means, ink)
    axes.plot(at, mean, "o", color=ink.mark, markersize=3)
    order = "column, lowest mean first" if layout.columns_exchangeable else "column"
    axes.set_xlabel(f"{order}{_HELD}")
    axes.set_ylabel("mean over rows")
    return figure


def _bands(axes: Axes, at: Array, made: Array, ink: Ink) -> None:
    """What 50 and 95 % of made (k, n) do at each place, and their median."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, of places without a value
        far, near, middle, near_top, far_top = np.nanquantile(made, _LEVELS, axis=0)
    axes.fill_between(at, far, far_top, color=ink.band, alpha=0.6, linewidth=0)
    axes.fill_between(at, near, near_top, color=ink.band, linewidth=0)
    axes.plot(at, middle, color=ink.text, linewidth=0.8)


def _edges(seen: Array, made: Array) -> Array:
    """Bars that hold nearly all of data and replicates; whole numbers in the middle of theirs."""
    both = [values[np.isfinite(values)] for values in (seen, made)]
    ends = [np.quantile(values, [0.005, 0.995]) for values in both if len(values)]
    low, high = canvas.span(ends, margin=0.0)
    if ends and all((values == np.rint(values)).all() for values in both):
        step = max(1, round((high - low + 1) / _BARS))
        bars = int((np.ceil(high) - np.floor(low)) // step + 1)
        return np.asarray(np.floor(low) - 0.5 + step * np.arange(bars + 1))
    return np.linspace(low, high, _BARS + 1)


def _scaled(observed: float, replicated: Array) -> float:
    """Place of a number among others: 0 is their median, ±1 where 95 % of them end."""
    low, middle, high = np.quantile(replicated[np.isfinite(replicated)], [0.025, 0.5, 0.975])
    away = observed - middle
    width = (high if away > 0 else low) - middle
    return float(away / abs(width)) if width else float(np.sign(away) * np.inf) if away else 0.0
