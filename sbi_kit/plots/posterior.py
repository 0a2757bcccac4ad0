"""Figures of a posterior: what its draws say, and how it was trained."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from sbi_kit.checks import expect_array
from sbi_kit.contracts import Array
from sbi_kit.digits import with_unit
from sbi_kit.plots import canvas
from sbi_kit.plots.canvas import Ink

Limits: TypeAlias = tuple[float, float]
_CELLS = 30  # of a density, along each axis
_POINTS = 500  # of the prior


def pairs(
    names: Sequence[str],
    draws: ArrayLike,
    prior: ArrayLike,
    truth: ArrayLike | None = None,
    *,
    units: Mapping[str, str] | None = None,
    dark: bool = False,
) -> Figure:
    """Densities of each parameter and each pair of them, with the prior behind.

    Args:
        names: The d parameters.
        draws: Posterior draws of one dataset, shape (s, d).
        prior: Draws of the prior, shape (p, d).
        truth: True values, if known, shape (d,).
        units: Units of the parameters by name.
        dark: Whether it is for a dark page.

    Raises:
        BadValue: The shapes do not fit.
        BadType: Something else than numbers.
    """
    d, ink = len(names), canvas.ink(dark)
    posterior = expect_array("draws", draws, ("s", d), do="pass the draws of one dataset")
    behind = expect_array("prior", prior, ("p", d), do="pass draws of the prior")
    true = np.full(d, np.nan)
    if truth is not None:
        true = expect_array("truth", truth, (d,), do="pass one value for each parameter")
    shown = "posterior in colour, prior grey" + ("" if truth is None else ", truth dashed")
    height = 3.0 if d == 1 else 5.0 if d == 2 else canvas.WIDTH
    figure = canvas.sheet(f"What the data say: {shown}", ink, height=height)
    figure.set_layout_engine("constrained", h_pad=0.11)  # inches; names stand in between
    grid = figure.subplots(d, d, squeeze=False)
    limits = [_limits(posterior[:, i], behind[:, i], true[i]) for i in range(d)]
    cells = [_cells(posterior[:, i], behind[:, i], limits[i]) for i in range(d)]
    for (i, j), axes in np.ndenumerate(grid):
        if j > i:
            axes.remove()
            continue
        canvas.style(axes, ink)
        axes.grid(False)
        if i == j:
            _marginal(axes, posterior[:, i], behind[:, i], cells[i], ink)
        else:
            _joint(axes, posterior[:, [j, i]], behind[:, [j, i]], (cells[j], cells[i]), ink)
            axes.set_ylim(*limits[i])
            axes.axhline(true[i], color=ink.mark, linewidth=1, linestyle="--")
        axes.set_xlim(*limits[j])
        axes.axvline(true[j], color=ink.mark, linewidth=1, linestyle="--")
    _name_pairs(grid, [with_unit(name, units or {}) for name in names], names, ink)
    return figure


def training(history: Mapping[str, Any], *, dark: bool = False) -> Figure:
    """Training and validation loss over the steps, for every member of an ensemble.

    Args:
        history: That of a `NeuralPosterior`.
        dark: Whether it is for a dark page.
    """
    ink = canvas.ink(dark)
    runs = [
        (run["best_step"], np.array(run["evaluations"], dtype=np.float64))
        for run in history.get("members", [history])
        if run.get("evaluations")
    ]
    if not runs:
        return canvas.blank("No losses were recorded.", ink)
    title = "Training: both curves end flat and together; a widening gap is overfitting"
    figure, axes = canvas.single(title, ink, height=3.2)
    for place, (best, table) in enumerate(runs):
        words = [None] * 3 if place else ["training", "validation", "kept"]
        step, trained, validated = table.T
        alpha = 1.0 if len(runs) == 1 else 0.6
        axes.plot(step, trained, "--", color=ink.mark, linewidth=1, alpha=alpha, label=words[0])
        axes.plot(step, validated, color=ink.line, linewidth=1.5, alpha=alpha, label=words[1])
        at = step == best
        axes.plot(step[at], validated[at], "o", color=ink.text, markersize=5, label=words[2])
    # The first losses are far above all others.
    late = [table[len(table) // 10 :, 1:] for _, table in runs]
    axes.set_ylim(*canvas.span(late))
    axes.set_xlabel("step")
    axes.set_ylabel("loss: −log q, nats")
    canvas.legend(axes, ink)
    return figure


def _limits(posterior: Array, prior: Array, true: float) -> Limits:
    """Where to look: about the posterior, not beyond prior and truth."""
    low, high = np.quantile(posterior, [0.001, 0.999])
    room = 0.6 * (high - low)
    ends = canvas.span([prior, posterior], margin=0.02)
    low, high = max(low - room, ends[0]), min(high + room, ends[1])
    return canvas.span([np.array([low, high, true])], margin=0.02)


def _cells(posterior: Array, prior: Array, limits: Limits) -> Array:
    """Edges of a density's cells, not beyond all draws, as these are in the prior's support."""
    both = np.concatenate([posterior, prior])
    low, high = np.clip(limits, both.min(), both.max())
    return np.linspace(low, high, _CELLS + 1) if low < high else np.linspace(*limits, _CELLS + 1)


def _marginal(axes: Axes, posterior: Array, prior: Array, edges: Array, ink: Ink) -> None:
    for values, colour, filled in ((prior, ink.band, True), (posterior, ink.line, False)):
        # Densities of all values, also of those beyond the limits.
        counts = np.histogram(values, edges)[0] / (len(values) * np.diff(edges))
        axes.stairs(counts, edges, color=colour, fill=filled, linewidth=1.5)
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _joint(
    axes: Axes, posterior: Array, prior: Array, cells: tuple[Array, Array], ink: Ink
) -> None:
    few = prior[:_POINTS].T
    axes.scatter(few[0], few[1], s=3, color=ink.band, linewidths=0, rasterized=True)
    counts = np.histogram2d(posterior[:, 0], posterior[:, 1], bins=cells)[0]
    axes.imshow(
        counts.T,
        origin="lower",
        extent=(*cells[0][[0, -1]], *cells[1][[0, -1]]),
        aspect="auto",
        interpolation="bilinear",
        norm=PowerNorm(0.5),
        zorder=1.5,  # over the points, under the lines
        cmap=LinearSegmentedColormap.from_list("posterior", [f"{ink.line}00", ink.line]),
    )


def _name_pairs(grid: NDArray[Any], whole: Sequence[str], names: Sequence[str], ink: Ink) -> None:
    """Names with units beside the diagonal and, where there is room, at the edges."""
    d = len(names)
    width = canvas.WIDTH / d
    room = canvas.letters(width - 0.25, canvas.SMALL)
    for row, column in zip(*np.tril_indices(d), strict=True):
        axes = grid[row, column]
        axes.tick_params(labelbottom=row == d - 1, labelleft=column == 0 and row > 0)
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(nbins=4 if d < 4 else 2)
    for i, (full, name) in enumerate(zip(whole, names, strict=True)):
        edge = canvas.short(full if len(full) <= room else name, room)
        grid[d - 1, i].set_xlabel(edge, fontsize=canvas.SMALL)
        if i:
            grid[i, 0].set_ylabel(edge, fontsize=canvas.SMALL)
        if d > 1:
            _whole_name(grid[i, i], full, i, d, ink)


def _whole_name(axes: Axes, name: str, i: int, d: int, ink: Ink) -> None:
    """Over the diagonal, to the side with more room; it must not move the panels."""
    at, most = ("right", i + 1) if i >= d / 2 else ("left", d - i)
    axes.text(
        float(at == "right"),
        1.04,
        canvas.short(name, canvas.letters(canvas.WIDTH / d * most - 1.2, canvas.SMALL)),
        ha=at,
        va="bottom",
        transform=axes.transAxes,
        fontsize=canvas.SMALL,
        color=ink.text,
        in_layout=False,
    )
