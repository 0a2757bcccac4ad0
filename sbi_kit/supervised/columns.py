"""From a table with gaps and categories to a matrix: everything learned from the training rows.

A column of numbers has its gaps filled with the median. Any other is a category: each level that
is frequent enough has an indicator, and so have the gaps, because what is missing may tell; a level
that is rare or was never seen has none. All columns of the matrix are then standardised, so that
one penalty suits them all; those that do not vary are left out.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from sbi_kit.checks import BadType, BadValue, show_names
from sbi_kit.contracts import Array, IntArray

GAP = "(missing)"  # the level of what is missing


@dataclass(frozen=True, eq=False)
class Columns:
    """How a frame becomes a matrix.

    Attributes:
        medians: Median of each column of numbers.
        levels: Levels with an indicator of each column of categories.
        kept: Places of the p columns of the matrix among those before any was left out.
        mean: Means of these in the training rows, shape (p,).
        scale: Standard deviations, shape (p,).
    """

    medians: Mapping[str, float]
    levels: Mapping[str, tuple[str, ...]]
    kept: IntArray
    mean: Array
    scale: Array

    @property
    def wide(self) -> list[tuple[str, str]]:
        """Column and level of everything before some are left out; a number's level is empty."""
        numbers = [(name, "") for name in self.medians]
        return numbers + [(name, level) for name, each in self.levels.items() for level in each]

    @property
    def owners(self) -> tuple[str, ...]:
        """The column of the frame that each of the p columns comes from."""
        wide = self.wide
        return tuple(wide[i][0] for i in self.kept)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the p columns, such as "LotArea" and "City=Ames"."""
        wide = self.wide
        return tuple("=".join(filter(None, wide[i])) for i in self.kept)

    def only(self, places: IntArray) -> "Columns":
        """These of the p columns, in order."""
        mean, scale = self.mean[places], self.scale[places]
        return replace(self, kept=self.kept[places], mean=mean, scale=scale)

    def __call__(self, frame: pd.DataFrame) -> Array:
        """The matrix of a frame, shape (rows, p).

        Raises:
            BadType, BadValue: A column that held numbers holds something else, or infinity.
        """
        wide = _widen(frame, self.medians, self.levels)
        return np.asarray((wide[:, self.kept] - self.mean) / self.scale)


def matrix(columns: Columns, x: pd.DataFrame) -> Array:
    """What columns make of a frame with names of any kind, shape (rows, p)."""
    return columns(with_text_names(x))


def with_text_names(x: pd.DataFrame) -> pd.DataFrame:
    """The same frame, its columns named by text."""
    return x.set_axis([str(name) for name in x.columns], axis=1)


def learn_columns(frame: pd.DataFrame, *, fewest: int) -> Columns:
    """Learn from the training rows.

    Args:
        frame: Features.
        fewest: Rows that a level needs for an indicator.

    Raises:
        BadType: A column holds what is neither number nor category, such as a date.
        BadValue: A number is infinite, or no column varies.

    Warns:
        UserWarning: Some columns hold nothing, or the same in all rows.
    """
    names = [str(name) for name in frame.columns]
    empty = [name for name in names if frame[name].isna().all()]
    numeric = [name for name in names if name not in empty and _is_numeric(frame[name], name)]
    medians = {name: float(np.nanmedian(_numbers(frame[name], name))) for name in numeric}
    levels = {
        name: _frequent(frame[name], fewest)
        for name in names
        if name not in medians and name not in empty
    }
    wide = _widen(frame, medians, levels)
    mean, scale = wide.mean(axis=0), wide.std(axis=0)
    kept = np.flatnonzero(scale > 1e-12 * np.abs(wide).max(axis=0, initial=0.0))
    found = Columns(medians, levels, kept, mean[kept], scale[kept])
    if not len(kept):
        raise BadValue(
            "at least one feature that varies among the training rows",
            f"none in {len(frame)} rows of {show_names(names)}",
            "add rows or features",
        )
    _warn(empty, [name for name in names if name not in {*found.owners, *empty}])
    return found


def _warn(empty: Sequence[str], constant: Sequence[str]) -> None:
    for names, what in ((empty, "without any value"), (constant, "that do not vary")):
        if names:
            warnings.warn(
                f"Expected features that tell rows apart; got columns {what} in the training rows "
                f"({show_names(names)}); they are left out.",
                UserWarning,
                stacklevel=3,
            )


def _widen(
    frame: pd.DataFrame, medians: Mapping[str, float], levels: Mapping[str, Sequence[str]]
) -> Array:
    """Numbers without gaps, then indicators, shape (rows, all columns)."""
    parts = [np.empty((len(frame), 0))]
    for name, median in medians.items():
        values = _numbers(frame[name], name)
        parts.append(np.where(np.isnan(values), median, values)[:, None])
    for name, known in levels.items():
        codes, texts = _texts(frame[name])
        places = pd.Index(list(known)).get_indexer(pd.Index(texts))[codes]
        parts.append((places[:, None] == np.arange(len(known))).astype(np.float64))
    return np.concatenate(parts, axis=1)


def _is_numeric(column: "pd.Series[Any]", name: object) -> bool:
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return False
    if pd.api.types.is_datetime64_any_dtype(kind) or pd.api.types.is_timedelta64_dtype(kind):
        wanted = f"numbers or categories in column {name!r}"
        raise BadType(wanted, str(kind), "convert it, to years for instance")
    if pd.api.types.is_complex_dtype(kind):
        raise BadType(f"real numbers in column {name!r}", "Complex data not supported", "split it")
    return bool(pd.api.types.is_numeric_dtype(kind))


def _numbers(column: "pd.Series[Any]", name: object) -> Array:
    """A column as floats, NaN where something is missing."""
    try:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        known = column.dropna()
        odd = next((v for v in known if not isinstance(v, (int, float, np.number))), known.iloc[0])
        wanted = f"numbers in column {name!r}, as in training"
        raise BadType(wanted, repr(odd), "correct it") from None
    if np.isinf(values).any():
        place = int(np.argmax(np.isinf(values)))
        wanted = f"column {name!r} without infinity"
        raise BadValue(wanted, f"{values[place]} in row {place}", "correct it, or leave it empty")
    return np.asarray(values, dtype=np.float64)


def _texts(column: "pd.Series[Any]") -> tuple[IntArray, list[str]]:
    """The place of each row's level in a list of levels as text, the last for what is missing."""
    codes, known = pd.factorize(column)
    return np.where(codes < 0, len(known), codes), [*map(str, known), GAP]


def _frequent(column: "pd.Series[Any]", fewest: int) -> tuple[str, ...]:
    """Levels of at least so many rows, in alphabetical order."""
    codes, texts = _texts(column)
    counts = pd.Series(texts)[codes].value_counts()
    return tuple(sorted(str(name) for name, count in counts.items() if count >= fewest))
