"""Minima of a quadratic with an elastic-net penalty, exact zeros included.

    w* = argmin  w'A w / 2 - c'w + l1 |w|_1 + l2 |w|_2^2

Coordinate descent makes proximal steps: each w_j in turn moves to the soft-thresholded minimum of
the objective in it alone. The gradient c - A w of all coordinates is kept up to date
(Friedman, Hastie & Tibshirani 2010, J. Stat. Softw. 33(1)), so that a coordinate that stays at zero
costs one comparison. Where columns are so much alike that this creeps, the zeros and signs found so
far are taken for right: on them the objective is smooth, and one Cholesky factorisation leads to
its minimum, or to the first sign that changes on the way.
"""

import numpy as np
from numba import njit
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from sbi_kit.contracts import Array

_SWEEPS = 50  # before a leap is tried, which costs as much as many of them
_JITTER = 1e-10  # added to a diagonal, relative to its largest
_ROUNDS = 2_000  # of sweeps and a leap, at most


def minimise_quadratic(
    a: Array, c: Array, start: Array, *, l1: float, l2: float, tolerance: float
) -> Array:
    """Minimise from a first guess.

    Args:
        a: Positive semi-definite matrix A, shape (p, p).
        c: Linear term, shape (p,).
        start: First guess, shape (p,).
        l1: Weight of the absolute values.
        l2: Weight of the squares.
        tolerance: Largest violation of an optimality condition, in units of c.

    Returns:
        The minimum, shape (p,); with l1 > 0, what is zero is exactly zero.
    """
    w: Array = start.copy()
    for _ in range(_ROUNDS):
        gradient = c - a @ w
        if violation(gradient, w, l1=l1, l2=l2) <= tolerance:
            break
        settled = _descend(a, gradient, w, l1, l2, 0.1 * tolerance, _SWEEPS)
        if not settled:
            _leap(a, c, w, l1=l1, l2=l2)
    return w


def violation(gradient: Array, w: Array, *, l1: float, l2: float) -> float:
    """How far a point is from optimal: the largest distance of 0 from a subdifferential.

    Args:
        gradient: Minus the gradient of what is penalised, shape (p,).
        w: The point, shape (p,).
        l1: Weight of the absolute values.
        l2: Weight of the squares.
    """
    rest = gradient - 2 * l2 * w
    apart = np.where(w != 0, np.abs(rest - l1 * np.sign(w)), np.maximum(np.abs(rest) - l1, 0))
    return float(apart.max(initial=0.0))


@njit(cache=True, nogil=True)
def _descend(
    a: Array, gradient: Array, w: Array, l1: float, l2: float, tolerance: float, sweeps: int
) -> bool:
    """Sweep over all coordinates in place until none moves; whether that was reached."""
    for _ in range(sweeps):
        largest = 0.0
        for j in range(len(w)):
            curvature = a[j, j] + 2 * l2
            old = w[j]
            pull = gradient[j] + a[j, j] * old
            if abs(pull) <= l1 or curvature <= 0:
                new = 0.0
            else:
                new = (pull - l1 if pull > 0 else pull + l1) / curvature
            if new != old:
                step = new - old
                w[j] = new
                row = a[j]
                for k in range(len(w)):
                    gradient[k] -= step * row[k]
                largest = max(largest, curvature * abs(step))
        if largest <= tolerance:
            return True
    return False


def _leap(a: Array, c: Array, w: Array, *, l1: float, l2: float) -> None:
    """Move w to the minimum over points with the same zeros and signs, as far as signs last."""
    there = np.flatnonzero(w)
    if not len(there):
        return
    now, sign = w[there], np.sign(w[there])
    matrix = a[np.ix_(there, there)]
    diagonal = matrix.reshape(-1)[:: len(there) + 1]
    diagonal += 2 * l2
    slope = c[there] - l1 * sign - matrix @ now
    # Where columns are sums of others, this leads along what they leave open, to the first zero.
    diagonal += _JITTER * diagonal.max()
    try:
        change = cho_solve(cho_factor(matrix, check_finite=False), slope)
    except LinAlgError:
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        crossed = (now + change) * sign < 0
        until = np.where(crossed, -now / change, np.inf) if l1 > 0 else np.full(1, np.inf)
    length = min(1.0, float(until.min()))
    moved = now + length * change
    if length < 1:
        moved[until == length] = 0.0
    w[there] = moved
