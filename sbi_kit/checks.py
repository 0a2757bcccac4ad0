"""One message form for every bad input: what was expected, what came, what to do.

The exception types carry the three parts, so no door of the package can forget one. Each is also
the builtin a Python programmer would catch (`ValueError`, `TypeError`, `LookupError`), and survives
pickling on its way back from a worker process.
"""

import difflib
from collections.abc import Container, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sbi_kit.contracts import Array


class BadInput(Exception):
    """What the package raises at its doors; `str` of it is one sentence.

    >>> print(BadValue(expected="draws >= 1", got="0", do="ask for at least one draw"))
    Expected draws >= 1; got 0; ask for at least one draw.
    """

    def __init__(self, expected: str, got: str, do: str) -> None:
        # Positional args, because unpickling an exception calls its class with `args`.
        super().__init__(expected, got, do)

    def __str__(self) -> str:
        expected, got, do = self.args
        return f"Expected {expected}; got {got}; {do}{'' if do.endswith('?') else '.'}"


class BadValue(BadInput, ValueError):
    """A value of the right type that cannot be used."""


class BadType(BadInput, TypeError):
    """A value of a type that cannot be used."""


class UnknownName(BadInput, LookupError):
    """A name that nothing answers to."""


def expect_integer(name: str, value: object, *, low: int, high: int | None = None) -> int:
    """Return `value` as an int within low..high (both included).

    Raises:
        BadType: `value` is no integer (a bool or 1.5, say).
        BadValue: It lies outside the range.

    >>> expect_integer("draws", np.int64(3), low=1)
    3
    """
    wanted = f"{name} as an integer {_between(low, high)}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Integral):
        raise BadType(wanted, repr(value), f"pass a whole number as {name}")
    number = int(value)
    if number < low or (high is not None and number > high):
        raise BadValue(wanted, str(number), f"choose {name} {_between(low, high)}")
    return number


def expect_number(
    name: str,
    value: object,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    open_low: bool = False,
) -> float:
    """Return `value` as a finite float within low..high; `open_low` leaves `low` itself out.

    Raises:
        BadType: `value` is no real number.
        BadValue: It is not finite or lies outside the range.
    """
    wanted = f"{name} as a finite number {_between(low, high, open_low=open_low)}".rstrip()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise BadType(wanted, repr(value), f"pass a number as {name}")
    try:
        number = float(value)
    except OverflowError:
        number = np.inf
    too_low = number <= low if open_low else number < low
    if not np.isfinite(number) or too_low or number > high:
        raise BadValue(wanted, f"{number:g}", f"change {name}")
    return number


def expect_bounds(
    name: str,
    bounds: object,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    open_low: bool = False,
) -> tuple[float, float]:
    """Return `bounds` as (lowest, highest), finite, in that order and within low..high.

    Raises:
        BadType: They are no pair of numbers.
        BadValue: One is outside the range, or they are not in order.

    >>> expect_bounds("rate", [0.1, 2], low=0)
    (0.1, 2.0)
    """
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise BadType(f"{name} as (lowest, highest)", repr(bounds), "pass two numbers")
    least = expect_number(f"lowest {name}", bounds[0], low=low, high=high, open_low=open_low)
    return least, expect_number(f"highest {name}", bounds[1], low=least, high=high, open_low=True)


def expect_flag(name: str, value: object) -> bool:
    """Return `value` if it is True or False.

    Raises:
        BadType: It is something else.
    """
    if not isinstance(value, bool):
        raise BadType(f"{name} as True or False", repr(value), "pass one of them")
    return value


def expect_name(kind: str, name: object, valid: Iterable[str]) -> str:
    """Return `name` if it is one of `valid`.

    Raises:
        UnknownName: It is not; the message lists the valid names and the nearest one.
    """
    names = sorted(valid)
    if isinstance(name, str) and name in names:
        return name
    listed = ", ".join(names) if names else "none is known"
    close = nearest(name, names)
    advice = f"did you mean {close!r}?" if close else "choose one of those listed"
    raise UnknownName(f"the name of a {kind} ({listed})", repr(name), advice)


def nearest(name: object, valid: Sequence[str]) -> str | None:
    """The valid name that a misspelt one most likely meant, if any is close."""
    close = difflib.get_close_matches(str(name), valid, n=1)
    same = [other for other in valid if other.casefold() == str(name).casefold()]
    return next(iter([*same, *close]), None)


def as_floats(array: NDArray[Any]) -> Array:
    """A float64 array of its own; what a numpy mask hides is NaN, never the number behind it."""
    values = np.array(array, dtype=np.float64)
    values[np.ma.getmaskarray(array)] = np.nan
    return values


def expect_array(name: str, value: ArrayLike, shape: Sequence[int | str], *, do: str) -> Array:
    """Return `value` as a float64 array of the given shape; a str stands for any size.

    Raises:
        BadType: It holds something other than numbers.
        BadValue: Its shape differs.

    >>> expect_array("theta", [[1, 2]], ("b", 2), do="pass one row per dataset")
    array([[1., 2.]])
    """
    wanted = f"{name} of shape {show_shape(shape)}"
    try:
        array = np.asanyarray(value)
        if array.dtype.kind == "c":
            raise TypeError("complex")
        if isinstance(array, np.ma.MaskedArray):
            array = as_floats(array)
        array = np.asarray(array, dtype=np.float64)
    except (OverflowError, TypeError, ValueError):
        raise BadType(f"{wanted} holding numbers", type(value).__name__, do) from None
    fits = array.ndim == len(shape) and all(
        isinstance(want, str) or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        raise BadValue(wanted, show_shape(array.shape), do)
    return array


def expect_finite(name: str, array: Array, columns: Sequence[str], *, do: str) -> Array:
    """Return `array` (..., columns) if all of it is finite.

    Raises:
        BadValue: It is not; the message names the first bad column and row.
    """
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        *row, column = (int(i) for i in bad[0])
        place = f"row {row[0] if len(row) == 1 else tuple(row)} of " if row else ""
        raise BadValue(
            f"{name} without NaN or inf",
            f"{array[tuple(bad[0])]} at {place}column {columns[column]!r}",
            do,
        )
    return array


def expect_theta(
    theta: ArrayLike,
    names: Sequence[str],
    *,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> Array:
    """Return the parameters a simulator receives as float64 (b, d), all finite.

    Args:
        theta: The parameters.
        names: Their d names.
        ranges: The lowest and highest value (both included) that those named can have.

    Raises:
        BadType: They hold something other than numbers.
        BadValue: Their shape differs, or a value is NaN, infinite or out of range; the message
            names the first.

    >>> expect_theta([[0.5, 2]], ("rate", "size"), ranges={"rate": (0, 1)})
    array([[0.5, 2. ]])
    """
    do = f"pass one row ({', '.join(names)}) per dataset"
    array = expect_array("theta", theta, ("b", len(names)), do=do)
    expect_finite("theta", array, names, do=do)
    for name, (low, high) in (ranges or {}).items():
        column = array[:, list(names).index(name)]
        outside = (column < low) | (column > high)
        if outside.any():
            row = int(np.argmax(outside))
            wanted = f"parameter {name} {_between(low, high)}"
            raise BadValue(wanted, f"{column[row]:g} in row {row}", "simulate within that range")
    return array


def expect_pairing(datasets: int, rows: int) -> None:
    """Refuse datasets that are neither one for all rows of theta nor one for each.

    Raises:
        BadValue: There are neither one nor as many datasets as rows.
    """
    if datasets not in (1, rows):
        wanted = f"1 or {rows} datasets for {rows} rows of theta"
        raise BadValue(wanted, str(datasets), "pass one dataset, or one per row")


def expect_features(frame: Container[str], names: Iterable[str]) -> None:
    """Refuse a frame that lacks some of the named features.

    Raises:
        BadValue: Some are absent; the message names them.
    """
    absent = [name for name in names if name not in frame]
    if absent:
        raise BadValue("a frame with the features", f"none of {', '.join(absent)}", "add them")


def expect_rng(rng: object) -> np.random.Generator:
    """Return `rng` if it is a numpy Generator.

    Raises:
        BadType: It is something else, such as a seed.
    """
    if not isinstance(rng, np.random.Generator):
        got = type(rng).__name__
        raise BadType("rng as a numpy.random.Generator", got, "pass numpy.random.default_rng(seed)")
    return rng


def show_shape(shape: Sequence[int | str]) -> str:
    """A shape as written in docstrings: (b, 3)."""
    return f"({', '.join(str(size) for size in shape)}{',' if len(shape) == 1 else ''})"


def show_names(names: Sequence[str], *, most: int = 12) -> str:
    """Names with commas, the middle of a long list left out.

    >>> show_names([f"gene_{i}" for i in range(1, 101)], most=4)
    'gene_1, gene_2, ..., gene_100'
    """
    if len(names) > most:
        names = [*names[: most - 2], "...", names[-1]]
    return ", ".join(names)


def _between(low: float, high: float | None, *, open_low: bool = False) -> str:
    if high is not None and np.isfinite(high):
        return f"in {'(' if open_low else '['}{low:g}, {high:g}]"
    return "" if low == -np.inf else f"{'>' if open_low else '>='} {low:g}"
