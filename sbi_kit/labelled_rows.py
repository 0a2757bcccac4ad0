"""Rows of labelled data for `sbi-kit fit`: generated or read from a file, then split at random.

A share of the rows is kept for the scores and seen by nothing else. What the rows are to tell, a
number or one of two classes, is a `Task`: how its column is read, and how large that share is.

Columns of a file that only number its rows, such as Id, are left out: whole numbers that rise from
row to row, and of which at least every second is there, as some rows may have been taken out.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from sbi_kit.checks import BadValue, expect_name, show_names
from sbi_kit.contracts import Array, DataGenerator
from sbi_kit.seeds import numpy_stream

FEWEST = 50  # rows to train and to score on

ReadColumn: TypeAlias = Callable[["pd.Series[Any]", str], Array]


@dataclass(frozen=True)
class Task:
    """What is predicted.

    Attributes:
        what: Its name in messages, such as "a class".
        test: Share of the rows that scores are taken of.
        column: Maps the column to predict and the name of its table to values (rows,), or refuses.
    """

    what: str
    test: float
    column: ReadColumn


@dataclass(frozen=True, eq=False)
class SplitRows:
    """A table, split: features and a target to learn from, and others to score on.

    Attributes:
        name: What the rows are of.
        x: Features of the rows to learn from.
        y: Their target.
        x_test: Features of the other rows.
        y_test: Their target.
        best: Best possible scores by name; empty where they are not known.
        left_out: Columns of a file that only number its rows.
    """

    name: str
    x: pd.DataFrame
    y: Array
    x_test: pd.DataFrame
    y_test: Array
    best: Mapping[str, float]
    left_out: tuple[str, ...] = ()


def generated(task: Task, name: str, model: DataGenerator, rows: int, *, seed: int) -> SplitRows:
    """Rows of a generator.

    Raises:
        BadType, BadValue: They are too few, or its target is none for the task.
    """
    frame = model.generate(rows, np.random.default_rng(seed))
    best = dict(getattr(model, "best_scores", {}))
    return _split(task, name, frame, model.targets, best, seed=seed)


def read(
    task: Task, path: str, target: str | None, model: DataGenerator, *, seed: int
) -> SplitRows:
    """Rows of a CSV file; without a target's name, that of the generator.

    Raises:
        UnknownName: There is no such column.
        BadType, BadValue: The file cannot be read, the rows are too few, or the target is none for
            the task.

    Warns:
        UserWarning: Columns only number the rows.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        got = f"{path}, which cannot be read ({' '.join(str(reason).split())})"
        raise BadValue(f"a CSV file of features and {task.what}", got, "check the file") from error
    name = model.targets[0] if target is None else target
    expect_name("column to predict", name, [str(column) for column in frame.columns])
    numbers = [column for column in frame.columns.drop(name) if _numbers_rows(frame[column])]
    if numbers:
        warnings.warn(
            "Expected features that tell rows apart by what they are; got columns that number the "
            f"rows of {Path(path).name} ({show_names(numbers)}); they are left out.",
            UserWarning,
            stacklevel=2,
        )
    split = _split(task, Path(path).name, frame.drop(columns=numbers), (name,), {}, seed=seed)
    return replace(split, left_out=tuple(numbers))


def _numbers_rows(column: "pd.Series[Any]") -> bool:
    """Whether these are whole numbers that rise from row to row, without long gaps."""
    if not pd.api.types.is_integer_dtype(column) or column.isna().any():
        return False
    values = column.to_numpy(dtype=np.float64)
    rising = bool((np.diff(values) > 0).all())
    return rising and values[-1] - values[0] < 2 * len(values)


def _split(
    task: Task,
    name: str,
    frame: pd.DataFrame,
    targets: Sequence[str],
    best: Mapping[str, float],
    *,
    seed: int,
) -> SplitRows:
    """Rows to learn from and others, at random; the first target is the one to predict."""
    if len(frame) < FEWEST:
        got = f"{len(frame)} in {name}"
        raise BadValue(f"at least {FEWEST} rows to train and to score on", got, "add rows")
    y = task.column(frame[targets[0]], name)
    x = frame.drop(columns=list(targets))
    order = numpy_stream(seed, "test rows").permutation(len(frame))
    test, training = np.split(order, [round(task.test * len(frame))])
    return SplitRows(name, x.iloc[training], y[training], x.iloc[test], y[test], best)
