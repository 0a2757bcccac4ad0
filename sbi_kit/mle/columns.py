"""Data at the door of the estimators: named columns of an array or of a pandas frame.

Columns of a design that follow from each other leave the likelihood flat along a line. They are
found by a QR decomposition with pivoting of the standardised columns (Golub & Van Loan 2013,
section 5.4.2) and named, with those they follow from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import qr, solve_triangular

from sbi_kit.checks import (
    BadType,
    BadValue,
    expect_array,
    expect_features,
    expect_finite,
    show_names,
)
from sbi_kit.contracts import Array

if TYPE_CHECKING:
    import pandas as pd

Table: TypeAlias = "ArrayLike | pd.DataFrame"
Column: TypeAlias = "ArrayLike | pd.Series[Any]"

INTERCEPT = "intercept"
_DEPENDENT = 1e-10  # part of a standardised column that is not a combination of the others
_CONSTANT = 1e-15  # sd over mean that rounding alone may make


def read_table(x: Table, names: Sequence[str] | None) -> tuple[Array, tuple[str, ...]]:
    """Rows (n, k) as finite float64, and the names of their columns.

    Args:
        x: An array (n, k), or a frame with its own names.
        names: Names for an array's columns; x_1 to x_k if not given. Of a frame, the columns to
            take, in this order.

    Raises:
        BadValue: The shape does not fit, there is no row, a name comes twice or is absent, or a
            value is NaN or infinite; the message names its row and column.
        BadType: A column holds other than numbers.
    """
    if hasattr(x, "columns"):
        return _read_frame(x, names)
    listed = None if names is None else distinct(names)
    shape = ("n", "k" if listed is None else len(listed))
    rows = expect_array("x", x, shape, do="pass one row per observation, one column per name")
    if listed is None:
        listed = tuple(f"x_{i}" for i in range(1, rows.shape[1] + 1))
    return _expect_some(rows, listed), listed


def read_column(name: str, y: Column, n: int | str = "n") -> Array:
    """Values (n,) as finite float64.

    Raises:
        BadValue: There is none, or another number of them than n, or one is NaN or infinite.
        BadType: They are no numbers.
    """
    values = expect_array(name, y, (n,), do=f"pass one number per row as {name}")
    return _expect_some(values[:, None], (name,))[:, 0]


def expect_fitted(model: object, learned: str) -> None:
    """Refuse a model that has not learned yet.

    Raises:
        BadValue: It has no attribute of the name `learned`.
    """
    if not hasattr(model, learned):
        title = type(model).__name__
        raise BadValue(f"a fitted {title}", "one that was not fitted", f"call {title}.fit first")


@dataclass(frozen=True)
class Design:
    """A regression's columns, standardised so that solving for their weights loses no digits.

    Attributes:
        names: Names of the p coefficients, the intercept first if there is one.
        matrix: Standardised columns, shape (n, p).
        back: Coefficients of the columns as given = back @ those of `matrix`, shape (p, p).
    """

    names: tuple[str, ...]
    matrix: Array
    back: Array


def make_design(x: Array, names: tuple[str, ...], *, intercept: bool) -> Design:
    """The design of columns x (n, k), with an intercept or without.

    Raises:
        BadValue: There are no more rows than coefficients, a column follows from others, which the
            message names, or is called like the intercept.
    """
    n, k = x.shape
    coefficients = (INTERCEPT, *names) if intercept else names
    if intercept and INTERCEPT in names:
        advice = "rename it, or fit with intercept=False"
        raise BadValue(f"columns beside the {INTERCEPT}", f"one called {INTERCEPT!r}", advice)
    if n <= len(coefficients):
        wanted = f"more rows than the {len(coefficients)} coefficients"
        raise BadValue(wanted, f"{n} rows", "pass more rows or fewer columns")
    matrix, centre, scale = standardise(x, centred=intercept)
    expect_independent(matrix, names, constant=INTERCEPT if intercept else None)
    back = np.diag(1 / scale)
    if intercept:
        matrix = np.column_stack([np.ones(n), matrix])
        back = np.block([[np.ones((1, 1)), -(centre / scale)[None]], [np.zeros((k, 1)), back]])
    return Design(coefficients, matrix, back)


def standardise(x: Array, *, centred: bool) -> tuple[Array, Array, Array]:
    """Columns less their mean over their sd, or over their root mean square; mean and scale.

    A column without spread becomes zeros.
    """
    mean = x.mean(axis=0)
    centre = mean if centred else np.zeros_like(mean)
    moved = x - centre
    moved -= moved.mean(axis=0) if centred else 0.0  # what rounding of a large mean has left
    largest = np.abs(moved).max(axis=0)
    largest[largest == 0] = 1.0
    scale = largest * np.sqrt(np.square(moved / largest).mean(axis=0))
    flat = scale <= _CONSTANT * np.abs(mean) if centred else scale == 0
    moved[:, flat], scale[flat] = 0.0, 1.0
    return moved / scale, centre, scale


def expect_independent(matrix: Array, names: Sequence[str], *, constant: str | None) -> None:
    """Refuse standardised columns (n, k) of which one follows from others.

    Raises:
        BadValue: One does; the message names it and those, or the `constant` that it repeats.
    """
    factor, order = qr(matrix, mode="r", pivoting=True)
    pivots = np.abs(np.diag(factor))
    rank = int((pivots > _DEPENDENT * np.sqrt(len(matrix))).sum())
    if rank == len(names):
        return
    follower = names[order[rank]]
    weights = solve_triangular(factor[:rank, :rank], factor[:rank, rank]) if rank else np.zeros(0)
    sources = [names[order[i]] for i in range(rank) if abs(weights[i]) > 1e-6]
    if sources:
        got = f"{follower!r}, a combination of {', '.join(map(repr, sources))}"
    else:
        got = f"{follower!r}, which is " + (f"constant like the {constant}" if constant else "zero")
    raise BadValue("columns none of which follows from others", got, f"leave out {follower!r}")


def _read_frame(frame: Any, names: Sequence[str] | None) -> tuple[Array, tuple[str, ...]]:
    listed = distinct(frame.columns if names is None else names)
    expect_features(frame, listed)
    for name in listed:
        kind = frame[name].dtype
        if kind.kind not in "biuf":
            advice = "encode it as numbers, or leave it out"
            raise BadType("columns of numbers", f"column {name!r} of {kind}", advice)
    rows = frame[list(listed)].to_numpy(dtype=np.float64, na_value=np.nan)
    return _expect_some(rows, listed), listed


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names as a tuple.

    Raises:
        BadValue: There is none, or one comes twice.
        BadType: They are no strings.
    """
    listed = tuple(names)
    if isinstance(names, str) or not all(isinstance(name, str) for name in listed):
        raise BadType("names as strings", repr(names), "pass one string for each")
    twice = sorted({name for name in listed if listed.count(name) > 1})
    if not listed or twice:
        got = f"{show_names(twice)} twice" if twice else "none"
        raise BadValue("one or more distinct names", got, "give each its own")
    return listed


def _expect_some(rows: Array, names: Sequence[str]) -> Array:
    if not rows.size:
        raise BadValue("one or more rows", "none", "pass data")
    return expect_finite("data", rows, names, do="remove or impute it")
