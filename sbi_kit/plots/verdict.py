"""Figures of a calibration check."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sbi_kit.contracts import Array
from sbi_kit.diagnostics.histogram import rank_histogram as bars_of
from sbi_kit.diagnostics.ranks import rank_ecdf as ecdf_of
from sbi_kit.diagnostics.verdict import Verdict
from sbi_kit.digits import with_unit
from sbi_kit.plots import canvas
from sbi_kit.plots.canvas import Ink, p_text, share

_ROOM = 4  # columns of which the faults can be written out


def rank_ecdf(verdict: Verdict, *, dark: bool = False) -> Figure:
    """ECDF of the ranks of each column less that of uniform ranks, in its simultaneous band."""
    ink, band = canvas.ink(dark), verdict.band
    title = "Ranks: a curve that stays inside the band shows no error"
    figure, panels = canvas.panels(len(verdict.names), title, ink, share=True)
    heights = ecdf_of(verdict.ranks, verdict.draws)
    for i, (axes, inside) in enumerate(zip(panels, band.holds(heights), strict=True)):
        edges = band.lower - band.points, band.upper - band.points
        colour = _judge(axes, verdict, i, bool(inside), verdict.p_ranks[i], ink)
        _in_band(axes, band.points, heights[:, i] - band.points, edges, colour, ink)
    canvas.label(figure, "rank of the true value / draws", "ECDF − uniform", ink)
    return figure


def rank_histogram(verdict: Verdict, *, dark: bool = False) -> Figure:
    """Histogram of the ranks of each column over what is expected, with the band of all bars."""
    ink = canvas.ink(dark)
    bars = bars_of(verdict.ranks, verdict.draws, level=verdict.band.level)
    title = "Ranks: flat is right, a ∪ is too narrow, a ∩ too wide, a slope is a shift"
    figure, panels = canvas.panels(len(verdict.names), title, ink, share=True)
    for i, axes in enumerate(panels):
        heights = bars.heights[:, i]
        inside = bool(((heights >= bars.lower) & (heights <= bars.upper)).all())
        axes.stairs(bars.upper, bars.edges, baseline=bars.lower, fill=True, color=ink.band)
        axes.axhline(1, color=ink.text, linewidth=0.8)
        colour = _judge(axes, verdict, i, inside, None, ink)
        axes.stairs(heights, bars.edges, baseline=None, color=colour, linewidth=1.5)
        axes.set_xlim(0, 1)
    panels[0].set_ylim(0, 1.05 * max(bars.heights.max(), bars.upper.max()))
    canvas.label(figure, "rank of the true value / draws", "ranks / expected", ink)
    return figure


def coverage(verdict: Verdict, *, dark: bool = False) -> Figure:
    """Coverage of the central intervals of each column less their level, in its band."""
    ink, found, band = canvas.ink(dark), verdict.coverage, verdict.coverage.band
    title = "Central intervals: above the band they are too wide, below it too narrow"
    figure, panels = canvas.panels(len(verdict.names), title, ink, share=True)
    for i, (axes, inside) in enumerate(zip(panels, band.holds(found.values), strict=True)):
        edges = band.lower - found.levels, band.upper - found.levels
        colour = _judge(axes, verdict, i, bool(inside), verdict.p_coverage[i], ink)
        _in_band(axes, found.levels, found.values[:, i] - found.levels, edges, colour, ink)
    canvas.label(figure, "level of the interval", "coverage − level", ink)
    return figure


def joint_coverage(verdict: Verdict, *, dark: bool = False) -> Figure:
    """Coverage of two kinds of regions of all parameters together less their level, in its band."""
    ink = canvas.ink(dark)
    title = "All parameters together: a curve that stays inside the band shows no error"
    figure, panels = canvas.panels(2, title, ink, share=True)
    for axes, check in zip(panels, verdict.joint, strict=True):
        inside = bool(check.band.holds(check.values[:, None])[0])
        words = f"{_place(inside)}, p = {p_text(check.p_value)}{'' if check.passed else ': fails'}"
        canvas.name(axes, f"{check.name} regions", words, ink, fails=not check.passed)
        edges = check.band.lower - check.levels, check.band.upper - check.levels
        colour = ink.line if check.passed else ink.mark
        _in_band(axes, check.levels, check.values - check.levels, edges, colour, ink)
    canvas.label(figure, "level of the region", "coverage − level", ink)
    return figure


def strata(verdict: Verdict, *, dark: bool = False) -> Figure:
    """p-value of every column in every part of the datasets; what fails is filled and named."""
    parts, k, ink = verdict.strata, len(verdict.names), canvas.ink(dark)
    if not parts:
        return canvas.blank("The datasets were judged as a whole, not in parts.", ink)
    title = "Parts of the datasets: filled cells fail there"
    figure, axes = canvas.single(title, ink, height=1.4 + 0.22 * len(parts))
    for row, part in enumerate(parts):
        for i, p in enumerate(part.p_values.tolist()):
            fails = i in part.failed
            text = f"{part.faults[i]}, {p_text(p)}" if fails and k <= _ROOM else p_text(p)
            if fails:
                axes.fill_between([i - 0.48, i + 0.48], row - 0.45, row + 0.45, color=ink.mark)
            colour = "#000000" if fails else ink.text
            size = canvas.SMALL
            axes.text(i, row, text, ha="center", va="center", fontsize=size, color=colour)
    axes.set_xlim(-0.5, k - 0.5)
    axes.set_ylim(len(parts) - 0.5, -0.5)
    axes.set_yticks(
        range(len(parts)),
        [f"{canvas.short(part.label, 30)} ({len(part.rows)})" for part in parts],
    )
    names = [canvas.short(name, 16 if k > 3 else 24) for name in verdict.names]
    slanted = max(map(len, names)) > 48 // k
    axes.set_xticks(
        range(k), names, rotation=30 if slanted else 0, ha="right" if slanted else "center"
    )
    axes.tick_params(length=0)
    least = p_text(parts[0].size)
    axes.set_xlabel(f"p-values in each part (number of datasets); below {least} it fails")
    axes.spines[:].set_visible(False)
    axes.grid(False)
    return figure


def recovery(verdict: Verdict, *, dark: bool = False) -> Figure:
    """Posterior mean ± 2 sd of each dataset against its true value."""
    ink = canvas.ink(dark)
    title = "Recovery: the nearer to the line and the shorter the bars, the more data tell"
    figure, panels = canvas.panels(len(verdict.names), title, ink)
    for i, axes in enumerate(panels):
        truth, mean, sd = (part[:, i] for part in (verdict.truth, verdict.mean, verdict.sd))
        axes.vlines(
            truth,
            mean - 2 * sd,
            mean + 2 * sd,
            color=ink.line,
            alpha=0.15,
            linewidth=0.8,
            rasterized=True,
        )
        canvas.cloud(axes, truth, mean, ink.line)
        low, high = canvas.span([truth])
        axes.plot([low, high], [low, high], color=ink.text, linewidth=1)
        axes.set_xlim(low, high)
        named = with_unit(verdict.names[i], verdict.units)
        canvas.name(axes, named, f"R² = {share(verdict.r2[i])}", ink)
    canvas.label(figure, "true value", "posterior mean ± 2 sd", ink)
    return figure


def contraction(verdict: Verdict, *, dark: bool = False) -> Figure:
    """z-score of the posterior mean against contraction, a point for each dataset."""
    ink = canvas.ink(dark)
    title = "Information: the further right, the more data tell; 95 % belong between ±2"
    figure, panels = canvas.panels(len(verdict.names), title, ink, share=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        each = 1 - verdict.sd**2 / verdict.truth.var(axis=0, ddof=1)
    for i, axes in enumerate(panels):
        axes.axhspan(-2, 2, color=ink.band, linewidth=0)
        canvas.cloud(axes, each[:, i], verdict.z_scores[:, i], ink.line)
        axes.axvline(verdict.contraction[i], color=ink.text, linewidth=1)
        axes.set_xlim(min(0.0, max(-1.0, float(each[:, i].min(initial=0.0)))) - 0.05, 1.05)
        canvas.name(axes, verdict.names[i], f"contraction {share(verdict.contraction[i])}", ink)
    x = "contraction: 1 − posterior variance / prior variance"
    canvas.label(figure, x, "(mean − truth) / sd", ink)
    return figure


def averaged(verdict: Verdict, *, dark: bool = False) -> Figure:
    """Distribution function of the draws of all datasets less that of the true values."""
    ink, found = canvas.ink(dark), verdict.averaged
    title = "All posteriors together against the prior: where the curve is near 0 they agree"
    figure, panels = canvas.panels(len(verdict.names), title, ink, share=True)
    for i, axes in enumerate(panels):
        axes.axhline(0, color=ink.text, linewidth=0.8)
        prior, posterior = found.prior[:, i], found.posterior[:, i]
        axes.plot(prior, posterior - prior, color=ink.line, linewidth=1.5)
        axes.set_xlim(0, 1)
        words = f"distance {found.distance[i]:.3f}, p = {p_text(found.p_values[i])}"
        canvas.name(axes, verdict.names[i], words, ink)
    limit = 1.2 * max(0.02, float(found.distance.max()))
    panels[0].set_ylim(-limit, limit)
    x = "distribution function of the true values"
    canvas.label(figure, x, "that of all draws − it", ink)
    return figure


def _judge(axes: Axes, verdict: Verdict, i: int, inside: bool, p: float | None, ink: Ink) -> str:
    """Head a panel with what was found of a column, and return the colour of its curve."""
    passed = verdict.passed_by_parameter[verdict.names[i]]
    words = _place(inside) + ("" if p is None else f", p = {p_text(p)}")
    if not passed:
        words += f": {verdict.tests.fault(i)}"
    canvas.name(axes, verdict.names[i], words, ink, fails=not passed)
    return ink.line if passed else ink.mark


def _place(inside: bool) -> str:
    return "inside" if inside else "outside"


def _in_band(
    axes: Axes, x: Array, y: Array, edges: tuple[Array, Array], colour: str, ink: Ink
) -> None:
    axes.fill_between(x, *edges, color=ink.band, linewidth=0)
    axes.axhline(0, color=ink.text, linewidth=0.8)
    axes.plot(x, y, color=colour, linewidth=1.5)
    axes.set_xlim(0, 1)
