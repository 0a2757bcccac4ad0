"""A spline flow run backwards, compiled: from noise to draws, as far as the cache goes at a time.

Step by step, in torch, all draws of a chunk pass through memory some forty times, and what a
network says of a spline is as much again for each draw. Here LANES draws of one dataset go through
all steps before the next ones do. What belongs to them stands as in `sbi_kit.spline_kernels`: a row
of LANES numbers for each quantity, rows end to end. So each weight meets LANES numbers in a row,
and what the last layer says of a spline is where the spline reads it.

The steps are those of `sbi_kit.flow`, last to first: couplings, each of which bends its first half
given the second and its second given the first, then the triangular step.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sbi_kit.spline_kernels import BINS, LANES, WORK, Floats, compiled, invert, sigmoid

_TOGETHER = 4  # inputs of a layer whose weights stay in registers
_SAID = 3 * BINS  # rows of a spline in `work`: widths, heights, one that is set, inner slopes


class Halves(NamedTuple):
    """The networks that bend the first, or the second, half in each of the couplings.

    Attributes:
        inner: Weights (couplings, hidden, given).
        outer: Weights (couplings, bent, _SAID, hidden).
        bias: Of the outer layer, (couplings, bent, _SAID).
    """

    inner: Floats
    outer: Floats
    bias: Floats


class Lines(NamedTuple):
    """What the flow is told of each dataset.

    Attributes:
        known: Context of the networks, (b, couplings, 2, hidden): first of what bends the second
            half, then of what bends the first.
        scale: Of the triangular step, (b, d), by which noise is multiplied.
        lower: Its matrix, strictly lower, (b, d, d).
        mean: Its place, (b, d).
    """

    known: Floats
    scale: Floats
    lower: Floats
    mean: Floats


Order: TypeAlias = NDArray[np.int64]


def halves(inner: list[Floats], outer: list[Floats], bias: list[Floats]) -> Halves:
    """Networks as kernels take them, with weights of zero that fill up rows and columns.

    Args:
        inner: Of each coupling, weights (hidden, given).
        outer: Weights (bent, 3 BINS − 1, hidden).
        bias: Biases (bent, 3 BINS − 1).
    """
    return Halves(
        filled(filled(np.stack(inner), -1), -2),
        filled(np.insert(np.stack(outer), 2 * BINS, 0.0, axis=-2), -1),
        np.insert(np.stack(bias), 2 * BINS, 0.0, axis=-1),
    )


def filled(array: Floats, axis: int) -> Floats:
    """The array with zeros at the end of an axis, up to a multiple of _TOGETHER."""
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, -array.shape[axis] % _TOGETHER)
    return np.pad(array, widths)


@compiled
def _linear(weights: Floats, bias: Floats, x: Floats, out: Floats) -> None:
    """Rows of `out` become weights @ rows of x + bias, two at a time."""
    outputs, inputs = weights.shape
    for pair in range(outputs // 2):
        i = 2 * pair
        first, second = out[i * LANES :], out[(i + 1) * LANES :]
        a, b = weights[i], weights[i + 1]
        for lane in range(LANES):
            first[lane] = bias[i]
            second[lane] = bias[i + 1]
        for part in range(inputs // _TOGETHER):
            k = _TOGETHER * part
            a0, a1, a2, a3 = a[k], a[k + 1], a[k + 2], a[k + 3]
            b0, b1, b2, b3 = b[k], b[k + 1], b[k + 2], b[k + 3]
            rows = x[k * LANES :]
            for lane in range(LANES):
                x0, x1 = rows[lane], rows[LANES + lane]
                x2, x3 = rows[2 * LANES + lane], rows[3 * LANES + lane]
                first[lane] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                second[lane] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3


@compiled
def _silu(x: Floats) -> None:
    """x times its sigmoid, in place."""
    for place in range(x.size):
        x[place] *= sigmoid(x[place])


@compiled
def _bend(
    bent: Floats,
    given: Floats,
    context: Floats,
    inner: Floats,
    outer: Floats,
    bias: Floats,
    limits: tuple[float, float, float],
    padded: Floats,
    hidden: Floats,
    work: Floats,
) -> None:
    """Take the rows of `bent` back through the splines that a network makes of those `given`."""
    bound, least, one = limits
    padded[: given.size] = given
    padded[given.size :] = 0.0
    _linear(inner, context, padded, hidden)
    _silu(hidden)
    for row in range(len(outer)):
        _linear(outer[row], bias[row], hidden, work)
        invert(bent[row * LANES : (row + 1) * LANES], bound, least, one, work)


@compiled
def _undo_triangular(z: Floats, scale: Floats, lower: Floats, mean: Floats) -> None:
    """u with (I + lower) (u − mean) = scale z, row by row."""
    d = len(mean)
    for i in range(d):
        row = z[i * LANES : (i + 1) * LANES]
        for lane in range(LANES):
            row[lane] *= scale[i]
        for j in range(i):
            above, weight = z[j * LANES : (j + 1) * LANES], lower[i, j]
            for lane in range(LANES):
                row[lane] -= weight * above[lane]
    for i in range(d):
        row = z[i * LANES : (i + 1) * LANES]
        for lane in range(LANES):
            row[lane] += mean[i]


@compiled
def draw(
    noise: Floats,
    told: Lines,
    order: Order,
    of_first: Halves,
    of_second: Halves,
    limits: tuple[float, float, float],
) -> Floats:
    """Draws of u from noise.

    Args:
        noise: N(0, I), shape (b, draws, d).
        told: What is known of the datasets.
        order: Which component comes where in each coupling, (couplings, d).
        of_first: What bends the first half.
        of_second: What bends the second.
        limits: Bound, least and one of `sbi_kit.spline_kernels`.

    Returns:
        Draws, shape (b, draws, d).
    """
    b, draws, d = noise.shape
    first = of_first.outer.shape[1] * LANES
    u = np.empty_like(noise)
    z, y = np.zeros(d * LANES, dtype=np.float32), np.zeros(d * LANES, dtype=np.float32)
    hidden = np.zeros(of_first.inner.shape[1] * LANES, dtype=np.float32)
    work = np.zeros(WORK, dtype=np.float32)
    by_second = np.zeros(of_first.inner.shape[2] * LANES, dtype=np.float32)
    by_first = np.zeros(of_second.inner.shape[2] * LANES, dtype=np.float32)
    for dataset in range(b):
        for start in range(0, draws, LANES):
            # Lanes beyond the last draw keep older numbers: every loop is as long as any other,
            # so that a draw is the same to the last bit whatever stands beside it.
            size = min(LANES, draws - start)
            for lane in range(size):
                for i in range(d):
                    z[i * LANES + lane] = noise[dataset, start + lane, i]
            for step in range(len(order)):
                k = len(order) - 1 - step
                one, two = z[:first], z[first:]
                inner, outer, bias = of_first.inner[k], of_first.outer[k], of_first.bias[k]
                known = told.known[dataset, k, 1]
                _bend(one, two, known, inner, outer, bias, limits, by_second, hidden, work)
                inner, outer, bias = of_second.inner[k], of_second.outer[k], of_second.bias[k]
                known = told.known[dataset, k, 0]
                _bend(two, one, known, inner, outer, bias, limits, by_first, hidden, work)
                for i in range(d):
                    to, source = y[order[k, i] * LANES :], z[i * LANES :]
                    for lane in range(LANES):
                        to[lane] = source[lane]
                z, y = y, z
            _undo_triangular(z, told.scale[dataset], told.lower[dataset], told.mean[dataset])
            for lane in range(size):
                for i in range(d):
                    u[dataset, start + lane, i] = z[i * LANES + lane]
    return u
