"""A directed graph from left to right, such as the steps of a computation.

The layered drawing of Sugiyama, Tagawa & Toda (1981, IEEE Trans. Syst. Man Cybern. 11:109): a node
stands right of all it needs, an edge that passes layers has a place of its own in each of them, and
the order within layers is swept to and fro by the means of neighbours, of which the order with
fewest crossings is kept. Heights are then those closest to the neighbours' that leave room to all.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from sbi_kit.checks import BadValue
from sbi_kit.contracts import Array
from sbi_kit.plots import canvas
from sbi_kit.plots.canvas import SMALL, TEXT, TITLE, WIDTH, Ink

# A node by its name, or the place that the edge between two nodes keeps in a layer.
Stop: TypeAlias = str | tuple[str, str, int]
Layers: TypeAlias = list[list[Stop]]
Link: TypeAlias = tuple[Stop, Stop]  # between neighbouring layers

_SWEEPS = 24  # of orders
_SETTLINGS = 100  # of heights
_LETTER = 0.6  # width of a letter over its height
# In inches: a node's height and least width, room around its text, and what is left between nodes,
# beside passing edges, between layers and around all.
_HIGH, _NARROWEST, _PAD = 0.44, 0.5, 0.09
_ROW, _LANE, _GAP, _MARGIN, _HEAD = 0.62, 0.3, 0.6, 0.2, 0.45
_FAN = 0.2  # what arrows into one node spread over


def computation(
    nodes: Mapping[str, str],
    edges: Sequence[tuple[str, str]],
    *,
    title: str = "Each step is right of what it needs",
    dark: bool = False,
) -> Figure:
    """Nodes in layers and arrows between them, as wide and high as they need.

    Args:
        nodes: Names, each with a second line, which may be empty.
        edges: Pairs of names, from and to, without a circle.
        title: Headline.
        dark: Whether it is for a dark page.

    Raises:
        BadValue: There is no node, an edge names none, or edges go in a circle.
    """
    ink = canvas.ink(dark)
    layer = _layer_of(list(nodes), edges)
    routes: list[list[Stop]] = [
        [one, *((one, other, i) for i in range(layer[one] + 1, layer[other])), other]
        for one, other in edges
    ]
    links = [pair for route in routes for pair in pairwise(route)]
    layers = _ordered(_filled(layer, routes), links)
    heights = _heights(layers, links)
    widths = {name: _width(name, text) for name, text in nodes.items()}
    columns = _columns(layers, widths)
    room = _HIGH / 2 + _MARGIN
    low, high = min(heights.values()) - room, max(heights.values()) + room
    figure, axes = _sheet(title, max(right for _, right in columns.values()), high - low, ink)
    axes.set_ylim(high, low)  # the first node is the uppermost
    arrivals = _arrivals(routes, heights)
    for route in routes:
        _draw_route(axes, route, columns, heights, widths, arrivals, ink)
    inner = {one for one, _ in edges} & {other for _, other in edges}
    for name, text in nodes.items():
        place = sum(columns[name]) / 2, heights[name]
        colour = ink.text if name in inner else ink.line
        _draw_node(axes, (name, text), place, widths[name], colour, ink)
    return figure


def _layer_of(names: list[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The layer of each node: the longest way from a source, and the last one for all ends."""
    if not names:
        raise BadValue("one or more nodes", "none", "name them")
    unknown = [name for edge in edges for name in edge if name not in names]
    if unknown:
        raise BadValue("edges between nodes", repr(unknown[0]), "name it among the nodes")
    layer = dict.fromkeys(names, 0)
    for _ in range(len(names) + 1):
        late = [(one, other) for one, other in edges if layer[other] <= layer[one]]
        for one, other in late:
            layer[other] = max(layer[other], layer[one] + 1)
        if not late:
            break
    else:
        got = f"one through {late[0][0]!r}"
        raise BadValue("edges without a circle", got, "leave out the edge that closes it")
    ends = {other for _, other in edges} - {one for one, _ in edges}
    return layer | dict.fromkeys(ends, max(layer.values()))


def _filled(layer: dict[str, int], routes: Sequence[Sequence[Stop]]) -> Layers:
    """Nodes and kept places by layer, as they come."""
    layers: Layers = [[] for _ in range(max(layer.values()) + 1)]
    for name, i in layer.items():
        layers[i].append(name)
    for route in routes:
        for stop in route:
            if isinstance(stop, tuple):
                layers[stop[2]].append(stop)
    return layers


def _ordered(layers: Layers, links: Sequence[Link]) -> Layers:
    """The layers in an order with few crossings."""
    best, fewest = layers, _crossings(layers, links)
    before, after = _neighbours(links)
    for sweep in range(_SWEEPS):
        layers = [list(layer) for layer in layers]
        # Forwards by those before, then backwards by those after.
        turn, beside = (layers[1:], before) if sweep % 2 == 0 else (layers[-2::-1], after)
        place = _places(layers)
        for layer in turn:
            layer.sort(key=lambda stop: _mean([place[s] for s in beside[stop]], place[stop]))
            place |= {stop: float(i) for i, stop in enumerate(layer)}
        crossings = _crossings(layers, links)
        if crossings < fewest:
            best, fewest = layers, crossings
    return best


def _places(layers: Layers) -> dict[Stop, float]:
    return {stop: float(i) for layer in layers for i, stop in enumerate(layer)}


def _neighbours(links: Sequence[Link]) -> tuple[dict[Stop, list[Stop]], dict[Stop, list[Stop]]]:
    """Those before and those after each stop."""
    before: dict[Stop, list[Stop]] = defaultdict(list)
    after: dict[Stop, list[Stop]] = defaultdict(list)
    for one, other in links:
        before[other].append(one)
        after[one].append(other)
    return before, after


def _crossings(layers: Layers, links: Sequence[Link]) -> int:
    """How many pairs of links between two layers cross."""
    place, index = _places(layers), {s: i for i, layer in enumerate(layers) for s in layer}
    return sum(
        index[a] == index[c] and (place[a] - place[c]) * (place[b] - place[d]) < 0
        for (a, b), (c, d) in combinations(links, 2)
    )


def _heights(layers: Layers, links: Sequence[Link]) -> dict[Stop, float]:
    """Heights in inches, downwards, near those of neighbours and in the order of each layer."""
    before, after = _neighbours(links)
    heights: dict[Stop, float] = {}
    for layer in layers:
        offsets = _offsets(layer)
        heights |= dict(zip(layer, (offsets - offsets.mean()).tolist(), strict=True))
    for sweep in range(_SETTLINGS):
        for layer in layers if sweep % 2 == 0 else layers[::-1]:
            wanted = [
                _mean([heights[s] for s in (*before[stop], *after[stop])], heights[stop])
                for stop in layer
            ]
            offsets = _offsets(layer)
            spaced = offsets + _rising(np.array(wanted) - offsets)
            heights |= dict(zip(layer, spaced.tolist(), strict=True))
    return heights


def _offsets(layer: Sequence[Stop]) -> Array:
    """Heights in a layer that is as dense as it may be."""
    sizes = np.array([_ROW if isinstance(stop, str) else _LANE for stop in layer])
    return np.concatenate([[0.0], np.cumsum((sizes[1:] + sizes[:-1]) / 2)])


def _rising(values: Array) -> Array:
    """The closest numbers that do not fall, by pooling adjacent violators."""
    pools: list[tuple[float, int]] = []  # means and sizes
    for value in values.tolist():
        mean, size = value, 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    return np.repeat([mean for mean, _ in pools], [size for _, size in pools])


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _width(name: str, text: str) -> float:
    """Width in inches of a node that holds two lines."""
    longest = max(len(name) * TEXT, len(text) * SMALL)
    return max(_NARROWEST, longest * _LETTER / 72 + 2 * _PAD)


def _columns(layers: Layers, widths: Mapping[str, float]) -> dict[Stop, tuple[float, float]]:
    """Left and right end, in inches, of the layer of each stop."""
    columns: dict[Stop, tuple[float, float]] = {}
    left = _MARGIN
    for layer in layers:
        right = left + max(widths[stop] for stop in layer if isinstance(stop, str))
        columns |= dict.fromkeys(layer, (left, right))
        left = right + _GAP
    return columns


def _arrivals(routes: Sequence[Sequence[Stop]], heights: Mapping[Stop, float]) -> dict[Link, float]:
    """By the last link of a route, how far below its node's centre it arrives."""
    last: dict[Stop, list[Link]] = defaultdict(list)
    for route in routes:
        last[route[-1]].append((route[-2], route[-1]))
    return {
        link: offset
        for links in last.values()
        for link, offset in zip(
            sorted(links, key=lambda link: heights[link[0]]),
            np.linspace(-_FAN / 2, _FAN / 2, len(links)).tolist() if len(links) > 1 else [0.0],
            strict=True,
        )
    }


def _sheet(title: str, width: float, height: float, ink: Ink) -> tuple[Figure, Axes]:
    """A figure whose panel is measured in inches, centred in at least the usual width."""
    total = max(WIDTH, width + _MARGIN)
    figure = Figure(figsize=(total, height + _HEAD), facecolor="none")
    figure.suptitle(title, y=1 - 0.15 / (height + _HEAD), va="top", fontsize=TITLE)
    figure.texts[-1].set(color=ink.text, fontweight="bold")
    axes: Axes = figure.add_axes((0.0, 0.0, 1.0, height / (height + _HEAD)), facecolor="none")
    axes.set_axis_off()
    middle = (width + _MARGIN) / 2
    axes.set_xlim(middle - total / 2, middle + total / 2)
    return figure, axes


def _draw_route(
    axes: Axes,
    route: Sequence[Stop],
    columns: Mapping[Stop, tuple[float, float]],
    heights: Mapping[Stop, float],
    widths: Mapping[str, float],
    arrivals: Mapping[Link, float],
    ink: Ink,
) -> None:
    """An arrow along a route, level across the layers that it passes."""
    begin, end = str(route[0]), str(route[-1])
    points = [(sum(columns[begin]) / 2 + widths[begin] / 2, heights[begin])]
    points += [(columns[begin][1], heights[begin])]
    for stop in route[1:-1]:
        points += [(x, heights[stop]) for x in columns[stop]]
    height = heights[end] + arrivals[route[-2], end]
    points += [(columns[end][0], height), (sum(columns[end]) / 2 - widths[end] / 2, height)]
    corners, codes = [points[0]], [Path.MOVETO]
    for i, (one, other) in enumerate(pairwise(points)):
        if i % 2:
            middle = (one[0] + other[0]) / 2
            corners += [(middle, one[1]), (middle, other[1]), other]
            codes += [Path.CURVE4] * 3
        elif abs(other[0] - one[0]) > 1e-6:  # across a layer; an arrow has no head on no line
            corners, codes = [*corners, other], [*codes, Path.LINETO]
    arrow = FancyArrowPatch(
        path=Path(corners, codes),
        arrowstyle="-|>,head_length=4,head_width=1.8",
        color=ink.text,
        linewidth=0.8,
        shrinkA=0,
        shrinkB=0,
    )
    axes.add_patch(arrow)


def _draw_node(
    axes: Axes,
    lines: tuple[str, str],
    place: tuple[float, float],
    width: float,
    colour: str,
    ink: Ink,
) -> None:
    """A box with a name and, below, what it is."""
    x, y = place
    corner = (x - width / 2, y - _HIGH / 2)
    style = "round,pad=0,rounding_size=0.08"
    box = FancyBboxPatch(corner, width, _HIGH, boxstyle=style, facecolor="none", edgecolor=colour)
    axes.add_patch(box)
    name, text = (canvas.short(line, 10**6) for line in lines)
    shift = 0.1 if text else 0.0
    kind: dict[str, Any] = {"ha": "center", "va": "center", "color": ink.text}
    axes.text(x, y - shift, name, fontsize=TEXT, fontweight="bold", **kind)
    if text:
        axes.text(x, y + shift, text, fontsize=SMALL, **kind)
