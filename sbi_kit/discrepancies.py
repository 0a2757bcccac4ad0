"""Numbers of a dataset in which data and model may differ: what predictive checks compare.

The default ones do without any knowledge of the model: where a column lies, how wide it spreads and
how far it reaches; for a series also how it moves in time. What a posterior fits in any case, such
as the mean of normal data, can show no misfit of the model. Whoever knows what matters about the
data passes functions of one dataset instead.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sbi_kit.checks import BadType, BadValue, show_shape
from sbi_kit.contracts import Array, IntArray
from sbi_kit.data import AnyLayout, Datasets, Matrix, Series, Vector, missable

Discrepancy: TypeAlias = Callable[[Array], float]
_SHARES = {"min": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "max": 1.0}


def defaults(x: Array, layout: AnyLayout, counts: NDArray[np.bool_]) -> dict[str, Array]:
    """The default discrepancies of r datasets of one size by name, each of shape (r,).

    Args:
        x: The datasets, shape (r, n, columns), NaN where a value is missing.
        layout: What one dataset looks like.
        counts: Which columns hold counts, shape (columns,).

    Returns:
        For each column mean, sd, extremes and quantiles, the share of zeros in counts, and of
        missing values where the layout lets them be; in a `Series` also the autocorrelation at lag
        1 and the place of the peak; in a `Vector` the value itself. The cells of a `Matrix` are one
        column, and have the sd of the means of its rows and of its columns besides. NaN is what
        cannot be computed.
    """
    kind = _of_matrix if isinstance(layout, Matrix) else _of_columns
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, of means of nothing
        return dict(kind(x, layout, counts))


def applied(functions: Mapping[str, Discrepancy], x: Array) -> dict[str, Array]:
    """A user's discrepancies of r datasets x (r, n, columns) by name, each of shape (r,).

    Raises:
        BadValue: One gives something other than one number.
    """
    return {name: _apply(name, function, x) for name, function in functions.items()}


def counts_in(observed: Datasets, replicated: Array) -> NDArray[np.bool_]:
    """Which columns hold whole numbers from 0 on in data and replicates, shape (columns,)."""
    seen = np.concatenate([observed.values[:, None], replicated], axis=1)
    inside = observed.mask[:, None, :, None] & np.isfinite(seen)
    seen = np.where(inside, seen, 0.0)
    return np.asarray(((seen >= 0) & (seen == np.rint(seen))).all(axis=(0, 1, 2)))


def expect_functions(discrepancies: object) -> Mapping[str, Discrepancy]:
    """Return `discrepancies` if they are functions by name.

    Raises:
        BadType: They are no mapping, or hold something else.
        BadValue: There is none.
    """
    wanted = "discrepancies as functions by name"
    if not isinstance(discrepancies, Mapping):
        got = type(discrepancies).__name__
        raise BadType(wanted, got, "pass a dict of functions of a table (n, columns)")
    if not discrepancies:
        raise BadValue(wanted, "none", "pass one or more, or None for the default ones")
    for name, function in discrepancies.items():
        if not callable(function):
            got = f"{name!r} as {type(function).__name__}"
            raise BadType(wanted, got, "pass a function of a table (n, columns)")
    return discrepancies


def _of_columns(
    x: Array, layout: AnyLayout, counts: NDArray[np.bool_]
) -> Iterator[tuple[str, Array]]:
    for place, name in enumerate(layout.columns):
        column = x[:, :, place]
        if isinstance(layout, Vector):
            yield name, column[:, 0]
        else:
            yield from _of_values(name, column, bool(counts[place]))
        if isinstance(layout, Series):
            yield f"lag-1 autocorrelation of {name}", _autocorrelation(column)
            yield f"peak of {name}", _peak(column)
        if place in missable(layout):
            yield f"missing of {name}", np.isnan(column).mean(axis=1)


def _of_matrix(
    x: Array, layout: AnyLayout, counts: NDArray[np.bool_]
) -> Iterator[tuple[str, Array]]:
    cells = x.reshape(len(x), -1)
    yield from _of_values("cells", cells, bool(counts.all()))
    yield "sd of row means", np.nanstd(np.nanmean(x, axis=2), axis=1, ddof=1)
    yield "sd of column means", np.nanstd(np.nanmean(x, axis=1), axis=1, ddof=1)
    if len(missable(layout)):
        yield "missing of cells", np.isnan(cells).mean(axis=1)


def _of_values(name: str, values: Array, counts: bool) -> Iterator[tuple[str, Array]]:
    """Discrepancies of values (r, n) whatever their order."""
    yield f"mean of {name}", np.nanmean(values, axis=1)
    yield f"sd of {name}", np.nanstd(values, axis=1, ddof=1)
    ordered, present = np.sort(values, axis=1), (~np.isnan(values)).sum(axis=1)
    for what, share in _SHARES.items():
        yield f"{what} of {name}", _quantile(ordered, present, share)
    if counts:
        yield f"zeros of {name}", (values == 0).sum(axis=1) / present


def _quantile(ordered: Array, present: IntArray, share: float) -> Array:
    """A quantile of values (r, n), sorted with the missing ones last, shape (r,).

    It is that of `numpy.nanquantile`, which goes row by row in Python.
    """
    place = share * np.maximum(present - 1, 0)
    low = np.floor(place).astype(np.int64)
    ends = np.take_along_axis(ordered, np.stack([low, np.ceil(place).astype(np.int64)], 1), axis=1)
    return np.where(
        low == place, ends[:, 0], ends[:, 0] + (place - low) * (ends[:, 1] - ends[:, 0])
    )


def _autocorrelation(series: Array) -> Array:
    """Autocorrelation at lag 1 of series (r, n), from pairs without a gap, shape (r,)."""
    centered = series - np.nanmean(series, axis=1, keepdims=True)
    together = np.nanmean(centered[:, 1:] * centered[:, :-1], axis=1)
    return np.asarray(together / np.nanmean(np.square(centered), axis=1))


def _peak(series: Array) -> Array:
    """Where series (r, n) are largest first, shape (r,)."""
    absent = np.isnan(series)
    place = np.argmax(np.where(absent, -np.inf, series), axis=1)
    return np.where(absent.all(axis=1), np.nan, place)


def _apply(name: str, function: Discrepancy, x: Array) -> Array:
    values = np.empty(len(x))
    for row, table in enumerate(x):
        # A copy, because the function may write to it.
        value = np.asarray(function(table.copy()))
        if value.shape or value.dtype.kind not in "buif":
            got = f"shape {show_shape(value.shape)}" if value.shape else repr(value.item())
            wanted = f"discrepancy {name!r} to give one number"
            raise BadValue(wanted, got, "return a float for a table (n, columns)")
        values[row] = value
    return values
