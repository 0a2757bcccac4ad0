"""Gates, bounds and pools with their gradients, compiled, each in one pass over memory.

They take a few operations for every number of a batch. Torch goes through the batch once for each
operation, which costs more than the matrix products between them. Every row, or dataset, is worked
on by itself and in the same way, so that what comes of it does not depend on the others. All is
float32; formulas and names are those of `gated` and `ragged`.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sbi_kit.contracts import IntArray
from sbi_kit.spline_kernels import Floats

BOUND = 4.0  # where a gate saturates
_CURVE = np.float32(BOUND**-2)
_0, _1 = np.float32(0), np.float32(1)

# Sums may be taken in any order, as in matrix products, and a quotient by way of the reciprocal.
_compiled = njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"}
)


@_compiled
def gate(linear: Floats) -> Floats:
    """v g / sqrt(1 + (g / c)²) of linear (rows, 2 h), v its first half, g its second, c BOUND."""
    rows, h = len(linear), linear.shape[1] // 2
    out = np.empty((rows, h), np.float32)
    for i in range(rows):
        for j in range(h):
            g = linear[i, h + j]
            out[i, j] = linear[i, j] * g / np.sqrt(_1 + _CURVE * g * g)
    return out


@_compiled
def gate_gradient(linear: Floats, grad: Floats) -> Floats:
    """The gradient for linear (rows, 2 h), given that for what `gate` returned."""
    rows, h = grad.shape
    out = np.empty_like(linear)
    for i in range(rows):
        for j in range(h):
            g = linear[i, h + j]
            damping = _1 / np.sqrt(_1 + _CURVE * g * g)
            damped = grad[i, j] * damping
            out[i, j] = damped * g
            # d/dg [g / sqrt(1 + (g / c)²)] = (1 + (g / c)²)^(−3/2), the damping cubed.
            out[i, h + j] = damped * linear[i, j] * damping * damping
    return out


@_compiled
def bound(x: Floats) -> Floats:
    """x / sqrt(1 + mean x²), the mean over f of x (rows, f)."""
    rows, f = x.shape
    out = np.empty_like(x)
    for i in range(rows):
        squares = _0
        for j in range(f):
            squares += x[i, j] * x[i, j]
        scale = _1 / np.sqrt(_1 + squares / np.float32(f))
        for j in range(f):
            out[i, j] = x[i, j] * scale
    return out


@_compiled
def bound_gradient(x: Floats, grad: Floats) -> Floats:
    """The gradient for x (rows, f), given that for what `bound` returned."""
    rows, f = x.shape
    out = np.empty_like(x)
    for i in range(rows):
        squares, product = _0, _0
        for j in range(f):
            squares += x[i, j] * x[i, j]
            product += x[i, j] * grad[i, j]
        scale = _1 / np.sqrt(_1 + squares / np.float32(f))
        pull = product / np.float32(f) * scale * scale
        for j in range(f):
            out[i, j] = (grad[i, j] - x[i, j] * pull) * scale
    return out


@_compiled
def pool(x: Floats, n: IntArray) -> tuple[Floats, NDArray[np.int32]]:
    """Means and largest values (b, 2 f) of the first n (b,) rows of x (b, n, f).

    And where the largest values are, (b, f).
    """
    b, _, f = x.shape
    out, place = np.zeros((b, 2 * f), np.float32), np.zeros((b, f), np.int32)
    for k in range(b):
        mean, largest = out[k, :f], out[k, f:]
        largest[:] = x[k, 0]
        for i in range(n[k]):
            row = np.int32(i)
            for j in range(f):
                value = x[k, i, j]
                mean[j] += value
                above = value > largest[j]
                largest[j] = value if above else largest[j]
                place[k, j] = row if above else place[k, j]
        mean /= np.float32(n[k])
    return out, place


@_compiled
def pool_gradient(grad: Floats, n: IntArray, place: NDArray[np.int32], longest: int) -> Floats:
    """The gradient for x (b, longest, f), given that for what `pool` returned."""
    b, f = place.shape
    out = np.zeros((b, longest, f), np.float32)
    for k in range(b):
        share = grad[k, :f] / np.float32(n[k])
        for i in range(n[k]):
            out[k, i] = share
        for j in range(f):
            out[k, place[k, j], j] += grad[k, f + j]
    return out
