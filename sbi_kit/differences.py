"""Derivatives by finite differences: what every other derivative is measured against.

With steps h along the axes e_i, the derivative of f along the i-th is

    [f(x + h e_i) − f(x)] / h        forward, off by h f'' / 2 + ε |f| / h,
    [f(x + h e_i) − f(x − h e_i)] / 2h    central, off by h² f''' / 6 + ε |f| / h,

with ε the rounding of f: the best steps are near ε^(1/2) and ε^(1/3) of the scale on which f bends
(Nocedal & Wright 2006, Numerical Optimization, section 8.1). Functions of rows are asked for all
displaced points in one call.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from sbi_kit.checks import BadValue, expect_array, expect_finite, expect_flag
from sbi_kit.contracts import Array

Rows: TypeAlias = Callable[[Array], Array]

_ROUNDING = float(np.finfo(np.float64).eps)


def finite_differences(
    function: Callable[[Array], ArrayLike],
    x: ArrayLike,
    *,
    step: ArrayLike | None = None,
    central: bool = True,
) -> Array:
    """The Jacobian of a function at a point, by finite differences.

    Args:
        function: It takes a vector (d,) and returns numbers of any fixed shape.
        x: The point, shape (d,).
        step: The step, one or one per component, above 0. If not given, the cube root of the
            rounding, for forward differences the square root, times `max(1, |x|)`.
        central: Whether to step both ways: twice the work and a far smaller error.

    Returns:
        Derivatives, of the shape of what the function returns and a last axis (d,): the gradient
        (d,) of one number, the Jacobian (m, d) of a vector (m,).

    Raises:
        BadValue: x is no finite vector, a step is not above 0, or a value is not finite.
        BadType: They are no numbers.

    >>> finite_differences(lambda x: x[0] * x[1], [3.0, 5.0]).round(6)
    array([5., 3.])
    """
    point = expect_array("x", x, ("d",), do="pass one point")
    names = [str(i) for i in range(len(point))]
    expect_finite("x", point, names, do="choose a point of finite numbers")
    if step is None:
        steps = default_steps(point, central=expect_flag("central", central))
    else:
        wanted: tuple[int, ...] = () if np.ndim(step) == 0 else (len(point),)
        given = expect_array("step", step, wanted, do="pass one step, or one per component")
        steps = np.broadcast_to(given, point.shape)

    def of_rows(points: Array) -> Array:
        return np.stack([np.asarray(function(row), dtype=np.float64) for row in points])

    return jacobian_of_rows(of_rows, point, steps=steps, central=central)


def default_steps(x: Array, *, central: bool = True) -> Array:
    """Steps (d,) that suit a function which bends on the scale of max(1, |x|)."""
    share = _ROUNDING ** (1 / 3 if central else 1 / 2)
    steps: Array = share * np.maximum(1.0, np.abs(x))
    return steps


def jacobian_of_rows(function: Rows, x: Array, *, steps: Array, central: bool = True) -> Array:
    """The Jacobian of a function that is asked for many points at once.

    Args:
        function: It takes points (k, d) and returns (k, ...), row by row.
        x: The point, shape (d,).
        steps: The step along each axis, shape (d,).
        central: Whether to step both ways.

    Returns:
        Derivatives, shape (..., d).

    Raises:
        BadValue: A step is not above 0, or a value is not finite.
    """
    if not (steps > 0).all():
        raise BadValue("steps above 0", f"{steps.min():g}", "choose a step like 1e-6")
    forward = x + np.diag(steps)
    back = x - np.diag(steps) if central else np.tile(x, (len(x), 1))
    # What was stepped in floating point, which is not quite what was asked for.
    width = (np.diag(forward) - np.diag(back)).reshape(-1, 1)
    values = np.asarray(function(np.concatenate([forward, back])), dtype=np.float64)
    _expect_finite_values(values, np.concatenate([forward, back]))
    ahead, behind = values.reshape(2, len(x), -1)
    slopes = (ahead - behind) / width  # (d, ...)
    return np.moveaxis(slopes.reshape(len(x), *values.shape[1:]), 0, -1)


def hessian_of_rows(function: Rows, x: Array, *, steps: Array) -> Array:
    """Second derivatives (d, d) of a function of points (k, d) that returns (k,).

    By [f(x+a+b) − f(x+a−b) − f(x−a+b) + f(x−a−b)] / 4ab for steps a and b along two axes or one.

    Raises:
        BadValue: A value is not finite.
    """
    axes = np.diag(steps)
    i, j = np.triu_indices(len(x))
    signs = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)])
    points = x + signs[:, :1, None] * axes[i] + signs[:, 1:, None] * axes[j]  # (4, pairs, d)
    flat = points.reshape(-1, len(x))
    values = np.asarray(function(flat), dtype=np.float64)
    _expect_finite_values(values, flat)
    both, one, other, none = values.reshape(4, -1)
    hessian = np.empty((len(x), len(x)))
    hessian[i, j] = hessian[j, i] = (both - one - other + none) / (4 * steps[i] * steps[j])
    return hessian


def _expect_finite_values(values: Array, points: Array) -> None:
    bad = ~np.isfinite(values.reshape(len(points), -1)).all(axis=1)
    if bad.any():
        where = ", ".join(f"{number:g}" for number in points[np.argmax(bad)])
        advice = "differentiate where the function is finite all around, or take a smaller step"
        raise BadValue("finite values of the function", f"NaN or inf at ({where})", advice)
