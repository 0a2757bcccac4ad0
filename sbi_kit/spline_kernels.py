"""The arithmetic of a rational-quadratic spline, compiled: one pass over the points.

Points x (rows, repeats, m) share the parameters of their row: shares (rows, m, 2, K) of the
interval that widths and heights of the bins have, and slopes (rows, m, K − 1) at the knots between
them. Formulas and names are those of `sbi_kit.spline`. Everything is computed in float64, whatever
the arrays are.
"""

import math
from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
_Bin: TypeAlias = tuple[int, float, float, float, float, float, float]


@njit(cache=True, nogil=True)
def _find(
    point: float, axis: int, shares: Floats, slopes: Floats, bound: float, least: float
) -> _Bin:
    """The bin of a point on the axis of x (0) or y (1): number, sides, slopes at both ends."""
    bins = shares.shape[1]
    scale, offset = 2 * bound * (1 - bins * least), 2 * bound * least
    width, height = scale * shares[0, 0] + offset, scale * shares[1, 0] + offset
    left = bottom = -bound
    k = 0
    while k < bins - 1 and point >= (left + width if axis == 0 else bottom + height):
        left += width
        bottom += height
        k += 1
        width, height = scale * shares[0, k] + offset, scale * shares[1, k] + offset
    slope_0 = 1.0 if k == 0 else slopes[k - 1] + least
    slope_1 = 1.0 if k == bins - 1 else slopes[k] + least
    return k, left, bottom, width, height, slope_0, slope_1


@njit(cache=True, nogil=True)
def forward(
    x: Floats, shares: Floats, slopes: Floats, bound: float, least: float
) -> tuple[Floats, Floats]:
    """y and log dy/dx, each of the shape of x."""
    y, log_slope = np.empty_like(x), np.zeros_like(x)
    rows, repeats, m = x.shape
    for i in range(rows):
        for r in range(repeats):
            for j in range(m):
                point = x[i, r, j]
                if not -bound < point < bound:
                    y[i, r, j] = point
                    continue
                _, left, bottom, width, height, d0, d1 = _find(
                    point, 0, shares[i, j], slopes[i, j], bound, least
                )
                s = height / width
                t = (point - left) / width
                p = t * (1 - t)
                den = s + (d0 + d1 - 2 * s) * p
                top = d1 * t * t + 2 * s * p + d0 * (1 - t) ** 2
                y[i, r, j] = bottom + height * (s * t * t + d0 * p) / den
                log_slope[i, r, j] = math.log(top * (s / den) ** 2)
    return y, log_slope


@njit(cache=True, nogil=True)
def inverse(
    y: Floats, shares: Floats, slopes: Floats, bound: float, least: float
) -> tuple[Floats, Floats]:
    """x and log dx/dy, each of the shape of y."""
    x, log_slope = np.empty_like(y), np.zeros_like(y)
    rows, repeats, m = y.shape
    for i in range(rows):
        for r in range(repeats):
            for j in range(m):
                point = y[i, r, j]
                if not -bound < point < bound:
                    x[i, r, j] = point
                    continue
                _, left, bottom, width, height, d0, d1 = _find(
                    point, 1, shares[i, j], slopes[i, j], bound, least
                )
                s = height / width
                rise = point - bottom
                bend = rise * (d0 + d1 - 2 * s)
                a = height * (s - d0) + bend
                b = height * d0 - bend
                c = s * rise
                # The root in [0, 1], in the form that loses no digits.
                t = 2 * c / (b + math.sqrt(max(0.0, b * b + 4 * a * c)))
                p = t * (1 - t)
                den = s + (d0 + d1 - 2 * s) * p
                top = d1 * t * t + 2 * s * p + d0 * (1 - t) ** 2
                x[i, r, j] = left + t * width
                log_slope[i, r, j] = -math.log(top * (s / den) ** 2)
    return x, log_slope


@njit(cache=True, nogil=True)
def backward(
    x: Floats,
    shares: Floats,
    slopes: Floats,
    grad_y: Floats,
    grad_log: Floats,
    bound: float,
    least: float,
) -> tuple[Floats, Floats, Floats]:
    """Gradients of a loss with respect to x, shares and slopes of `forward`."""
    grad_x, grad_shares, grad_slopes = grad_y.copy(), np.zeros_like(shares), np.zeros_like(slopes)
    rows, repeats, m = x.shape
    bins = shares.shape[3]
    scale = 2 * bound * (1 - bins * least)
    for i in range(rows):
        for r in range(repeats):
            for j in range(m):
                point, gy, gl = x[i, r, j], grad_y[i, r, j], grad_log[i, r, j]
                if not -bound < point < bound:
                    continue
                k, left, _, width, height, d0, d1 = _find(
                    point, 0, shares[i, j], slopes[i, j], bound, least
                )
                s = height / width
                t = (point - left) / width
                u = 1 - t
                p = t * u
                bend = d0 + d1 - 2 * s
                den = s + bend * p
                top = d1 * t * t + 2 * s * p + d0 * u * u
                rise = (s * t * t + d0 * p) / den
                gh, gn, gd = gy * height / den, gl / top, -2 * gl / den
                of_t = gh * s * top / den + 2 * gn * (d1 * t + s * (u - t) - d0 * u)
                of_t += gd * bend * (u - t)
                of_s = gh * (t * t - rise * (1 - 2 * p)) + 2 * gl / s + 2 * gn * p
                of_s += gd * (1 - 2 * p)
                shared = p * (gd - gh * rise)
                if k > 0:
                    grad_slopes[i, j, k - 1] += shared + gh * p + gn * u * u
                if k < bins - 1:
                    grad_slopes[i, j, k] += shared + gn * t * t
                of_x = of_t / width
                grad_x[i, r, j] = of_x
                grad_shares[i, j, 0, k] -= scale * (of_s * s / width + of_x * t)
                grad_shares[i, j, 1, k] += scale * (gy * rise + of_s / width)
                for before in range(k):
                    grad_shares[i, j, 0, before] -= scale * of_x
                    grad_shares[i, j, 1, before] += scale * gy
    return grad_x, grad_shares, grad_slopes
