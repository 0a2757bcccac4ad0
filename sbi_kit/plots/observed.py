"""Figures of checks at observed data: importance weights, and the local check."""

from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from numpy.typing import NDArray

from sbi_kit.contracts import Array
from sbi_kit.diagnostics.local import LocalCheck
from sbi_kit.plots import canvas
from sbi_kit.plots.canvas import Ink, p_text

_MOST = 6  # datasets that are drawn
_WIDEST = 4.0  # posterior sds beyond which a line leaves the panel


class Weighted(Protocol):
    """What is asked of a correction of b datasets by weights of s draws each.

    Attributes:
        weights: Each row of sum 1, shape (b, s).
        k_hat: Shape of the tail of each row, shape (b,).
        effective: Draws that each row is worth, shape (b,).
        reliable: Whether each can be trusted, shape (b,).
    """

    @property
    def weights(self) -> Array: ...

    @property
    def k_hat(self) -> Array: ...

    @property
    def effective(self) -> Array: ...

    @property
    def reliable(self) -> NDArray[np.bool_]: ...


def importance_weights(found: Weighted, *, dark: bool = False) -> Figure:
    """How much of all weight the heaviest draws hold, by which posteriors become exact ones.

    Args:
        found: What `sbi_kit.importance.correct` found; a panel for each of its datasets.
        dark: Whether it is for a dark page.
    """
    ink = canvas.ink(dark)
    b, s = found.weights.shape
    title = "Weights: if they can be trusted, no few draws hold most" + _first(b)
    figure, panels = canvas.panels(min(b, _MOST), title, ink, share=True)
    at = np.arange(1.0, s + 1)
    for i, axes in enumerate(panels):
        held = np.cumsum(np.sort(found.weights[i])[::-1])
        axes.plot(at, at / s, color=ink.text, linewidth=0.8, linestyle=":")
        reliable = bool(found.reliable[i])
        axes.plot(at, held, color=ink.line if reliable else ink.mark, linewidth=1.5)
        canvas.logarithmic(axes)
        axes.xaxis.set_major_locator(LogLocator())
        axes.set_xlim(1, s)
        axes.set_ylim(0, 1.02)
        trust = "reliable" if reliable else "NOT reliable"
        words = f"k-hat {found.k_hat[i]:.2f}: {trust}\nworth {found.effective[i]:.0f} draws"
        canvas.name(axes, _dataset(i, b), words, ink, fails=not reliable)
    draws = f"heaviest of {s:,} draws; dotted: equal weights"
    canvas.label(figure, draws, "share of all weight", ink)
    return figure


def local_check(found: LocalCheck, *, dark: bool = False) -> Figure:
    """Where true parameters lie among posterior draws, in held-out datasets like the observed.

    Args:
        found: What `sbi_kit.diagnostics.local.check_locally` found; a panel for each of its
            datasets.
        dark: Whether it is for a dark page.
    """
    ink = canvas.ink(dark)
    b, d = found.shift.shape
    title = "Near the data: lines lie on bars if the posterior is right" + _first(b)
    figure, panels = canvas.panels(min(b, _MOST), title, ink, share=True)
    rows, columns = canvas.grid(panels[0])
    figure.set_figheight(0.9 + rows * (0.7 + 0.24 * d))
    room = canvas.letters(0.28 * canvas.WIDTH / columns, canvas.SMALL)
    for i, axes in enumerate(panels):
        for row in range(d):
            _spread(axes, row, found.shift[i, row], found.width[i, row], ink)
        axes.set_yticks(range(d), [canvas.short(name, room) for name in found.names])
        axes.set_ylim(d - 0.5, -0.5)
        reach = float(np.max(np.abs(found.shift[: len(panels)]) + found.width[: len(panels)]))
        axes.set_xlim(*np.array([-1.1, 1.1]) * min(_WIDEST, max(1.5, reach)))
        axes.grid(False, axis="y")
        words = f"p = {p_text(found.p_values[i])}, {found.effective[i]:.0f} like it"
        canvas.name(axes, _dataset(i, b), words, ink, fails=found.p_values[i] * b < 0.05)
    what = "true value less posterior mean [posterior sd]: mean ± sd; grey: what is right"
    canvas.label(figure, what, "", ink)
    return figure


def _spread(axes: Axes, row: int, shift: float, width: float, ink: Ink) -> None:
    """Where true values should lie, and where they do: mean and sd about it."""
    axes.plot([-1, 1], [row, row], color=ink.band, linewidth=9, solid_capstyle="butt")
    sd = float(np.sqrt(max(0.0, width**2 - shift**2)))
    axes.plot([shift - sd, shift + sd], [row, row], color=ink.line, linewidth=1.5)
    axes.plot(shift, row, "o", color=ink.line, markersize=5)


def _dataset(i: int, b: int) -> str:
    return f"dataset {i}" if b > 1 else "observed data"


def _first(b: int) -> str:
    return f" (first {_MOST} of {b})" if b > _MOST else ""
