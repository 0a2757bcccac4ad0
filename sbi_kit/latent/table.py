"""The door of the latent models: tables of rows and columns, and what a model cannot take.

A pandas frame gives its own names to the messages; columns of an array are called by their number.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sbi_kit.checks import BadValue, expect_array, expect_finite, expect_integer, show_names
from sbi_kit.contracts import Array


def expect_rows(x: ArrayLike, *, columns: int | str = "columns", missing: bool = False) -> Array:
    """Return x as float64 (rows, columns), all finite but for NaN where values may be missing.

    Raises:
        BadType: It holds something other than numbers.
        BadValue: It has another number of columns or no row; a value is NaN or infinite; or nothing
            of a row was observed. The message names column and row.
    """
    array = expect_array("x", x, ("rows", columns), do="pass one row per case, with the columns")
    if not len(array):
        raise BadValue("x of one row at least", "none", "pass some")
    if not missing:
        do = "leave such rows out, or use PPCA, which takes missing values"
        return expect_finite("x", array, _names(x, array), do=do)
    if np.isfinite(array).all():
        return array
    seen = np.where(np.isnan(array), 0.0, array)
    expect_finite("x", seen, _names(x, array), do="write NaN for what is missing")
    empty = np.flatnonzero(np.isnan(array).all(axis=1))
    if len(empty):
        raise BadValue("a value in every row of x", f"none in row {empty[0]}", "leave it out")
    return array


def expect_training(x: ArrayLike, *, missing: bool = False) -> Array:
    """Return x as `expect_rows` does, if there is something to learn from it.

    Raises:
        BadType, BadValue: As of `expect_rows`; or there is one row alone, nothing of a column was
            observed, or no column varies.

    Warns:
        UserWarning: Some columns are constant.
    """
    array = expect_rows(x, missing=missing)
    if len(array) < 2:
        raise BadValue("x of two rows at least", "1", "pass more")
    names = _names(x, array)
    expect_seen(array, names)
    constant = np.flatnonzero(np.nanmin(array, axis=0) == np.nanmax(array, axis=0))
    if len(constant) == len(names):
        raise BadValue("x with columns that vary", "constant ones alone", "pass others")
    if len(constant):
        listed = show_names([repr(names[i]) for i in constant])
        message = f"Columns that vary expected; got constant {listed}, which tell nothing of rows."
        warnings.warn(message, UserWarning, stacklevel=3)
    return array


def expect_seen(array: Array, names: Sequence[str] | None = None) -> None:
    """Refuse rows (rows, columns) that lack all values of a column.

    Raises:
        BadValue: They do; the message names the column, by its number if there are no names.
    """
    unseen = np.flatnonzero(np.isnan(array).all(axis=0))
    if len(unseen):
        place = int(unseen[0])
        got = f"none in column {names[place] if names else str(place)!r}"
        raise BadValue("a value in every column of x", got, "leave it out")


def expect_unit_range(x: ArrayLike, array: Array) -> Array:
    """Return `array`, made from x, if all its values lie in [0, 1].

    Raises:
        BadValue: They do not; the message names the first bad column and row.
    """
    outside = np.argwhere((array < 0) | (array > 1))
    if len(outside):
        row, column = (int(i) for i in outside[0])
        got = f"{array[row, column]:g} at row {row} of column {_names(x, array)[column]!r}"
        raise BadValue("x in [0, 1], as a Bernoulli likelihood needs", got, "scale it")
    return array


def expect_codes(z: ArrayLike, components: int) -> Array:
    """Return z as float64 (rows, components), all finite.

    Raises:
        BadType, BadValue: It is something else.
    """
    do = "pass one row per case, as encode returns them"
    array = expect_array("z", z, ("rows", components), do=do)
    return expect_finite("z", array, [str(i) for i in range(components)], do=do)


def expect_components(components: object, columns: int) -> int:
    """Return the number of components if it lies in 1..columns − 1.

    Raises:
        BadType, BadValue: It does not.
    """
    if columns < 2:
        raise BadValue("x of two columns at least", "1", "one column needs no latent model")
    return expect_integer("components", components, low=1, high=columns - 1)


def expect_fitted(model: object) -> None:
    """Refuse a model without learned attributes, the names of which end in an underscore.

    Raises:
        BadValue: It has none.
    """
    if not any(name.endswith("_") and not name.startswith("_") for name in vars(model)):
        name = type(model).__name__
        raise BadValue(f"a fitted {name}", "one that was not", "call its fit(x) first")


def _names(x: ArrayLike, array: Array) -> list[str]:
    return [str(name) for name in getattr(x, "columns", range(array.shape[1]))]
