"""Paper and ink of all figures: colours, panels, names, numbers on axes, files.

Colours are those of Okabe and Ito (2008, https://jfly.uni-koeln.de/color), which the colour-blind
can tell apart. Figures are made without pyplot, so that none stays open and no setting changes.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from sbi_kit.contracts import Array

WIDTH = 7.5  # inches, of every figure: shown 720 px wide, text of 9 points is 12 px high
TITLE, TEXT, SMALL = 10.5, 9.0, 8.0  # points
_DPI = 200  # of PNGs, and of clouds of points within an SVG
_LETTER = 0.65  # width of a letter over its height, rather too much


@dataclass(frozen=True)
class Ink:
    """What is drawn in which colour.

    Attributes:
        text: Text, axes and what is exact.
        grid: Lines behind.
        band: What is expected: bands, priors, replicates.
        line: What was found.
        mark: What fails, the truth and the observed data.
    """

    text: str
    grid: str
    band: str
    line: str
    mark: str


_LIGHT = Ink("#333333", "#e4e4e4", "#d3d3d3", "#0072b2", "#d55e00")
_DARK = Ink("#d8d8d8", "#3c3c3c", "#505050", "#56b4e9", "#e69f00")


def ink(dark: bool) -> Ink:
    """The colours for a light or a dark page."""
    return _DARK if dark else _LIGHT


def sheet(title: str, ink: Ink, *, height: float) -> Figure:
    """A transparent figure with a headline."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="none")
    figure.suptitle(title, fontsize=TITLE, color=ink.text, fontweight="bold")
    return figure


def single(title: str, ink: Ink, *, height: float) -> tuple[Figure, Axes]:
    """A figure of one panel."""
    figure = sheet(title, ink, height=height)
    axes: Axes = figure.subplots()
    style(axes, ink)
    return figure, axes


def panels(k: int, title: str, ink: Ink, *, share: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of k panels, at most three in a row; `share` gives all one vertical axis."""
    across = {1: 1, 2: 2, 4: 2}.get(k, 3)
    down = -(-k // across)
    figure = sheet(title, ink, height=0.8 + (2.4 if across < 3 else 2.0) * down)
    grid = figure.subplots(down, across, squeeze=False, sharey=share)
    for spare in grid.flat[k:]:
        spare.remove()
    made: list[Axes] = list(grid.flat[:k])
    for axes in made:
        style(axes, ink)
    return figure, made


def blank(text: str, ink: Ink) -> Figure:
    """A figure that says why there is nothing to see."""
    figure = Figure(figsize=(WIDTH, 0.6), facecolor="none")
    figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=TEXT, color=ink.text)
    return figure


def style(axes: Axes, ink: Ink) -> None:
    """Colours, few ticks with short numbers, no box."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color(ink.text)
    axes.tick_params(colors=ink.text, labelsize=SMALL)
    axes.grid(True, color=ink.grid, linewidth=0.5)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=ink.text, fontsize=TEXT)
        axis.set_major_locator(MaxNLocator(4))
        axis.set_major_formatter(_numbers(axis))


def logarithmic(axes: Axes) -> None:
    """A logarithmic horizontal axis with plain numbers."""
    axes.set_xscale("log")
    axis = axes.xaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(_numbers(axis))
    axis.set_minor_formatter(NullFormatter())


def label(figure: Figure, x: str, y: str, ink: Ink) -> None:
    """Name the axes that all panels have."""
    figure.supxlabel(x, fontsize=TEXT, color=ink.text)
    figure.supylabel(y, fontsize=TEXT, color=ink.text)


def name(axes: Axes, text: str, words: str, ink: Ink, *, fails: bool = False) -> None:
    """Head a panel with the name of what it shows and, below, what was found."""
    _, across = grid(axes)
    title = short(text, letters(WIDTH / across - 0.75, TEXT)) + (f"\n{words}" if words else "")
    axes.set_title(title, loc="left", fontsize=TEXT, color=ink.mark if fails else ink.text)


def grid(axes: Axes) -> tuple[int, int]:
    """Rows and columns of the panels that this one is among."""
    spec = axes.get_subplotspec()
    return (1, 1) if spec is None else spec.get_gridspec().get_geometry()


def legend(axes: Axes, ink: Ink) -> None:
    """Explain what has a label, in a line above the panel."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=4,
        fontsize=SMALL,
        labelcolor=ink.text,
        frameon=False,
    )


def cloud(axes: Axes, x: Array, y: Array, colour: str) -> None:
    """Many points, the fewer the heavier; an image in an SVG."""
    alpha = float(np.clip(60 / math.sqrt(max(1, len(x))) / 4, 0.15, 0.8))
    axes.scatter(x, y, s=7, color=colour, alpha=alpha, linewidths=0, rasterized=True)


def short(text: str, most: int) -> str:
    """Text of at most so many letters, the middle left out; dollars are no formula.

    >>> short("a_rate_with_a_long_name", 12)
    'a_rate…_name'
    """
    if len(text) > most:
        tail = max(1, (most - 1) * 2 // 5 + 1)
        text = f"{text[: most - 1 - tail]}…{text[-tail:]}"
    return text.replace("$", r"\$")


def letters(width: float, size: float) -> int:
    """How many letters of a size in points fit into a width in inches."""
    return max(3, int(width * 72 / (_LETTER * size)))


def p_text(p: float) -> str:
    """A p-value in few letters.

    >>> p_text(0.031234), p_text(1.2e-31), p_text(0.9999)
    ('0.031', '1e-31', '1')
    """
    return f"{p:.0e}".replace("e-0", "e-") if p < 1e-3 else f"{p:.2g}"


def share(value: float) -> str:
    """A share, which is at most 1, but far below 0 for a posterior that is far off.

    >>> share(0.98765), share(-123456.0)
    ('0.988', '-1.2e+05')
    """
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2g}"


def span(values: Sequence[Array], *, margin: float = 0.05) -> tuple[float, float]:
    """Smallest and largest of finite numbers with a margin; never empty."""
    pooled = np.concatenate([[], *(np.ravel(part) for part in values)])
    pooled = pooled[np.isfinite(pooled)]
    low, high = (float(pooled.min()), float(pooled.max())) if len(pooled) else (0.0, 1.0)
    room = margin * (high - low) if high > low else 0.5 * abs(low) or 0.5
    return low - room, high + room


def to_svg(figure: Figure) -> str:
    """A figure as SVG text, the same every time; clouds of points in it are images."""
    stream = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "sbi_kit", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", dpi=_DPI, metadata={"Date": None, "Creator": None})
    return stream.getvalue().decode()


def to_png(figure: Figure, *, dpi: int = _DPI) -> bytes:
    """A figure as the bytes of a PNG, the same every time."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def to_webp(figure: Figure, *, dpi: int = _DPI) -> bytes:
    """A figure as the bytes of a lossless WebP, half as many as those of a PNG, always the same."""
    stream = io.BytesIO()
    figure.savefig(stream, format="webp", dpi=dpi, pil_kwargs={"lossless": True})
    return stream.getvalue()


def _numbers(axis: Axis) -> FuncFormatter:
    """Numbers with as many digits as their distance asks for, and no offset to add."""

    def show(value: float, _: int | None) -> str:
        low, high = axis.get_view_interval()
        size, width = max(abs(low), abs(high)), abs(high - low) or 1.0
        place = 2 - math.floor(math.log10(width))  # of the last digit
        if size < 1e5 and width > 1e-3:
            shown = f"{value:.{max(0, place)}f}"
            shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
        else:
            power = math.floor(math.log10(max(abs(value), 1e-9 * width)))
            digits, _e, exponent = f"{value:.{max(0, min(12, place + power))}e}".partition("e")
            shown = digits.rstrip("0").rstrip(".") if "." in digits else digits
            shown = "0" if abs(value) < 1e-6 * width else f"{shown}e{int(exponent)}"
        return ("0" if shown == "-0" else shown).replace("-", "−")

    return FuncFormatter(show)
