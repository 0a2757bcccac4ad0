"""The doors of the estimators: what is read before anything is learned or predicted.

A row has a number to predict and a class. The number y is standardised by the mean and the standard
deviation of the training rows. The class is 1 where y lies above a threshold that a share of the
training rows exceeds, unless labels are given. scikit-learn's own checks stand first, so that
frames and arrays, names of columns and numbers of them are accepted and refused as everywhere.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from sbi_kit.checks import BadType, BadValue, as_floats, expect_number
from sbi_kit.contracts import Array, IntArray
from sbi_kit.supervised.columns import Columns, learn_columns, with_text_names

FEWEST_OF_NETWORKS = 10  # rows that leave something to train on and to validate on
_FEWEST = 2  # rows to learn from


@dataclass(frozen=True, eq=False)
class TargetScale:
    """Units of a target: what it is in standard units, and back."""

    mean: float
    sd: float

    def standardise(self, y: Array) -> Array:
        """Standard units of y."""
        return (y - self.mean) / self.sd

    def restore(self, z: Array) -> Array:
        """The target's own units."""
        return self.mean + self.sd * z


@dataclass(frozen=True, eq=False)
class Lesson:
    """Training rows, read.

    Attributes:
        columns: How frames become matrices.
        x: The matrix of the training rows, shape (rows, p).
        y: The target in standard units, shape (rows,).
        labels: The classes, 0 or 1, shape (rows,).
        scale: Units of the target.
        threshold: What the target of class 1 is above; None where labels were given.
    """

    columns: Columns
    x: Array
    y: Array
    labels: Array
    scale: TargetScale
    threshold: float | None


def read_lesson(
    estimator: BaseEstimator, x: Any, y: Any, labels: Any, *, share: float, fewest: int
) -> Lesson:
    """Read training rows for an estimator, which gets scikit-learn's attributes of its input.

    Args:
        estimator: Who learns.
        x: Features: a frame, or an array (rows, features).
        y: Target, shape (rows,).
        labels: Classes, shape (rows,); None makes them from y.
        share: Share of the rows whose y is to lie above the threshold.
        fewest: Rows that a category needs for an indicator.

    Raises:
        BadType, BadValue: Something cannot be learned from; the message names it.
    """
    expect_target(estimator, x, y)
    frame = read_features(estimator, x, reset=True)
    target = read_target(y, len(frame))
    expect_enough(len(frame), _FEWEST, "learn from")
    if target.min() == target.max():
        got = f"{target[0]:g} in all of {len(target)} rows"
        raise BadValue("a target that varies", got, "choose another target, or add rows")
    expect_number("premium_share", share, low=0, high=1, open_low=True)
    threshold = None if labels is not None else threshold_of(target, share)
    classes = read_labels(labels, target, threshold)
    if classes.min() == classes.max():
        got = f"one class, {classes[0]:g}, in all of {len(classes)} rows"
        raise BadValue("labels of two classes", got, "add rows of the other")
    columns = learn_columns(frame, fewest=fewest)
    scale = TargetScale(float(target.mean()), float(target.std()))
    return Lesson(columns, columns(frame), scale.standardise(target), classes, scale, threshold)


def expect_target(estimator: BaseEstimator, x: Any, y: Any) -> None:
    """Refuse to learn without a target, in the words of scikit-learn.

    Raises:
        ValueError: y is None.
    """
    if y is None:
        validate_data(estimator, X=x, y=None, skip_check_array=True)


def expect_enough(rows: int, fewest: int, purpose: str) -> None:
    """Refuse too few rows.

    Raises:
        BadValue: There are fewer.
    """
    if rows < fewest:
        raise BadValue(f"at least {fewest} rows to {purpose}", f"n_samples = {rows}", "add rows")


def expect_rows(name: str, values: Any, rows: int) -> None:
    """Refuse anything but one value for each row.

    Raises:
        BadValue: There are more, or fewer.
    """
    if len(values) != rows:
        wanted = f"{name} of {rows} rows, one per row of features"
        raise BadValue(wanted, f"inconsistent {len(values)}", "pass equally many")


def read_features(estimator: BaseEstimator, x: Any, *, reset: bool = False) -> pd.DataFrame:
    """Features as a frame with names of text; `reset` makes them what the estimator knows.

    Raises:
        ValueError: They differ from those of the training, or are no table.
    """
    if not reset:
        check_is_fitted(estimator)
    if isinstance(x, pd.DataFrame):
        validate_data(estimator, X=x, reset=reset, skip_check_array=True)
        if x.empty:
            got = f"0 feature(s) (shape={x.shape}) while a minimum of 1 is required"
            raise BadValue("rows and features", got, "pass some")
        return with_text_names(x)
    array = validate_data(
        estimator, X=x, reset=reset, dtype=None, ensure_all_finite="allow-nan", ensure_min_samples=1
    )
    names = [f"x{j}" for j in range(array.shape[1])]
    return pd.DataFrame(array, columns=names).infer_objects()


def read_target(y: Any, rows: int) -> Array:
    """The target as floats, shape (rows,).

    Raises:
        BadType, BadValue: It holds something other than finite numbers, or too few or many.
    """
    column = column_or_1d(y, warn=True)
    if column.dtype.kind == "c":
        raise BadType("real numbers as the target", "Complex data not supported", "split them")
    try:
        values = as_floats(pd.Series(column).to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError):
        odd = next(v for v in column if not isinstance(v, (int, float, np.number)))
        got = repr(str(odd))
        raise BadType("numbers as the target", got, "choose a column of numbers") from None
    expect_rows("target", values, rows)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        got = f"{values[bad[0]]} in row {bad[0]}"
        raise BadValue("a target without NaN or inf", got, "leave out such rows")
    return values


def read_labels(labels: Any, target: Array, threshold: float | None) -> Array:
    """Classes as floats 0 and 1, shape (rows,): those given, or what a threshold makes of y.

    Raises:
        BadValue: Those given are not 0 and 1, or too few or many; or none are where they must be.
    """
    if labels is None:
        if threshold is None:
            do = "pass labels, as in training"
            raise BadValue("labels for an estimator that learned from labels", "none", do)
        return (target > threshold).astype(np.float64)
    values = np.asarray(labels).ravel()
    expect_rows("labels", values, len(target))
    known = np.isin(values, (0, 1))
    if not known.all():
        place = int(np.argmin(known))
        got = f"{values[place]!s} in row {place}"
        raise BadValue("labels 0 and 1", got, "code the classes so")
    return values.astype(np.float64)


def threshold_of(target: Array, share: float) -> float:
    """What a share of the target exceeds, and at least one value does and one does not."""
    below = float(target[target < target.max()].max())
    return min(float(np.quantile(target, 1 - share)), below)


def as_classes(probability: Array) -> IntArray:
    """Class 1 where it is more likely than not."""
    return (probability > 0.5).astype(np.int64)
