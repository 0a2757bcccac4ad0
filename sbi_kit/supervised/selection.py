"""The settings of a multi-task model by cross-validation, and all its models along a path.

Each fold learns medians, levels, scales and the threshold of the class from its training part, so
nothing of the validation part is known before. There, the squared error is divided by that of the
mean, the cross-entropy by that of the class's share, and the mean of the two judges a choice of
(alpha, lam, rho): 1 is what a model without features achieves, whatever the weights of the tasks.
As the heads are separate, only lam / alpha and lam / beta matter, and a path for each task serves
every combination.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from sbi_kit.checks import BadValue, expect_integer, expect_number
from sbi_kit.contracts import Array, IntArray
from sbi_kit.seeds import numpy_stream
from sbi_kit.supervised.lesson import Lesson, read_features, read_labels, read_lesson, read_target
from sbi_kit.supervised.losses import Entropy, Squared
from sbi_kit.supervised.multitask import MultiTask
from sbi_kit.supervised.proximal import Task, fit_path

_LAMS, _SPAN = 15, 1e-2  # of default strengths: how many, and the last over the first
_PATH_SPAN = 1e-3
_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Selection:
    """What cross-validation found.

    Attributes:
        model: An estimator with the best settings, not yet fitted.
        table: A row for each choice, best first: alpha, lam, rho, the mean over folds of "loss",
            of its parts "regression" and "classification", and the standard error of "loss".
        folds: Number of folds.
    """

    model: MultiTask
    table: pd.DataFrame
    folds: int


@dataclass(frozen=True, eq=False)
class Path:
    """The models of one penalty from strong to weak.

    Attributes:
        lams: Strengths of the penalty, falling, shape (k,).
        regression: Weights of the target's head, shape (k, p).
        classification: Weights of the class's head, shape (k, p).
        names: The p names of the weights.
    """

    lams: Array
    regression: Array
    classification: Array
    names: tuple[str, ...]


def cross_validate(
    model: MultiTask,
    x: Any,
    y: Any,
    labels: Any = None,
    *,
    alphas: Sequence[float] = (0.1, 0.3, 1.0, 3.0),
    lams: Sequence[float] | None = None,
    rhos: Sequence[float] = (0.5, 1.0),
    folds: int = 5,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Selection:
    """Choose alpha, lam and rho.

    Args:
        model: The estimator, whose other settings stay.
        x: Features: a frame, or an array (rows, features).
        y: Target, shape (rows,).
        labels: Classes 0 and 1, shape (rows,); None makes them from y.
        alphas: Weights of the squared error to try.
        lams: Strengths of the penalty to try; None takes, for each rho, 15 from the least that
            leaves no weight to the class, down to a hundredth of it.
        rhos: Shares of the absolute values to try.
        folds: Number of folds, from 2 on.
        seed: Seed of the folds.
        progress: Called with the folds done and their number.

    Raises:
        BadType, BadValue: An argument is out of its range, or a fold cannot be learned from.
    """
    own = clone(model)
    frame = read_features(own, x, reset=True)
    target = read_target(y, len(frame))
    expect_integer("folds", folds, low=2, high=len(frame) // 2)
    for name, values, high in (("alphas", alphas, np.inf), ("rhos", rhos, 1.0)):
        _expect_some(name, values, low=0.0, high=high, open_low=name == "alphas")
    classes = None if labels is None else read_labels(labels, target, None)
    if lams is None:
        lesson = _read(own, frame, target, classes)
        strengths = [_default_lams(own, lesson, rho) for rho in rhos]
    else:
        _expect_some("lams", lams, low=0.0, high=np.inf, open_low=True)
        strengths = [np.asarray(lams, dtype=np.float64) for _ in rhos]
    grid = _Grid(np.asarray(alphas, dtype=np.float64), np.stack(strengths), tuple(rhos))
    parts = np.array_split(numpy_stream(seed, "folds").permutation(len(frame)), folds)
    losses = []
    for done, held_out in enumerate(parts):
        kept = np.setdiff1d(np.arange(len(frame)), held_out)
        losses.append(_fold(own, frame, target, classes, (kept, held_out), grid))
        if progress is not None:
            progress(done + 1, folds)
    table = _summary(losses, grid)
    best = table.iloc[0]
    chosen = own.set_params(**{name: float(best[name]) for name in ("alpha", "lam", "rho")})
    return Selection(chosen, table, folds)


def regularisation_path(
    model: MultiTask,
    x: Any,
    y: Any,
    labels: Any = None,
    *,
    lams: Sequence[float] | Array | None = None,
) -> Path:
    """The weights of both heads for many lam, the estimator's other settings as they are.

    Args:
        model: The estimator; it is not changed.
        x: Features.
        y: Target, shape (rows,).
        labels: Classes 0 and 1; None makes them from y.
        lams: Strengths of the penalty; None takes 15 from the least that leaves neither head a
            weight, down to a thousandth of it.
    """
    own = clone(model)
    lesson = _read(own, x, y, labels)
    tasks = _tasks(own, lesson)
    if lams is None:
        top = max(task.largest_lam(own.rho) for task in tasks)
        lams = np.geomspace(top, _PATH_SPAN * top, _LAMS)
    _expect_some("lams", lams, low=0.0, high=np.inf, open_low=True)
    falling = np.sort(np.asarray(lams, dtype=np.float64))[::-1]
    both = [
        np.stack([head.weights for head in fit_path(task, falling, rho=own.rho)]) for task in tasks
    ]
    return Path(falling, both[0], both[1], lesson.columns.names)


@dataclass(frozen=True, eq=False)
class _Grid:
    """What is tried."""

    alphas: Array
    lams: Array  # (rhos, k)
    rhos: tuple[float, ...]


def _default_lams(model: MultiTask, lesson: Lesson, rho: float) -> Array:
    """From the least that leaves the class no weight down to a hundredth of it."""
    top = _tasks(model, lesson)[1].largest_lam(rho)
    return np.geomspace(top, _SPAN * top, _LAMS)


def _read(model: MultiTask, x: Any, y: Any, labels: Any) -> Lesson:
    return read_lesson(model, x, y, labels, share=model.premium_share, fewest=model.fewest)


def _tasks(model: MultiTask, lesson: Lesson) -> tuple[Task, Task]:
    return (
        Task(lesson.x, lesson.y, Squared(), model.alpha),
        Task(lesson.x, lesson.labels, Entropy(), model.beta),
    )


def _fold(
    model: MultiTask,
    frame: pd.DataFrame,
    target: Array,
    labels: Array | None,
    rows: tuple[IntArray, IntArray],
    grid: _Grid,
) -> Array:
    """Relative losses of both tasks on a fold's validation part, (2, alphas, rhos, k)."""
    kept, held_out = rows
    learned, tested = (None if labels is None else labels[part] for part in rows)
    lesson = _read(clone(model), frame.iloc[kept], target[kept], learned)
    x = lesson.columns(frame.iloc[held_out])
    y = lesson.scale.standardise(target[held_out])
    classes = read_labels(tested, target[held_out], lesson.threshold)
    regression, classification = _tasks(clone(model).set_params(alpha=1.0), lesson)
    found = np.empty((2, len(grid.alphas), *grid.lams.shape))
    for r, (rho, lams) in enumerate(zip(grid.rhos, grid.lams, strict=True)):
        own, place = np.unique(lams / grid.alphas[:, None], return_inverse=True)
        errors = _along(regression, own, rho, x, y)
        found[0, :, r] = errors[place.reshape(len(grid.alphas), -1)]
        found[1, :, r] = _along(classification, lams, rho, x, classes)
    return found


def _along(task: Task, lams: Array, rho: float, x: Array, y: Array) -> Array:
    """Loss at each lam on rows that were not learned from, over that of the best constant."""
    order = np.argsort(lams)[::-1]
    heads = fit_path(task, lams[order], rho=rho, tolerance=_TOLERANCE)
    losses = np.empty(len(lams))
    losses[order] = [task.loss.value(head(x), y) for head in heads]
    return losses / task.loss.value(task.start()(x), y)


def _summary(losses: Sequence[Array], grid: _Grid) -> pd.DataFrame:
    """Means over folds of every choice, best first."""
    both = np.stack(losses)  # (folds, 2, alphas, rhos, k)
    loss = both.mean(axis=1)
    shape = loss.shape[1:]
    columns = {
        "alpha": np.broadcast_to(grid.alphas[:, None, None], shape),
        "lam": np.broadcast_to(grid.lams, shape),
        "rho": np.broadcast_to(np.array(grid.rhos)[:, None], shape),
        "loss": loss.mean(axis=0),
        "error": loss.std(axis=0, ddof=1) / np.sqrt(len(loss)),
        "regression": both[:, 0].mean(axis=0),
        "classification": both[:, 1].mean(axis=0),
    }
    table = pd.DataFrame({name: part.ravel() for name, part in columns.items()})
    return table.sort_values("loss", kind="stable", ignore_index=True)


def _expect_some(
    name: str, values: Sequence[float] | Array, *, low: float, high: float, open_low: bool
) -> None:
    if not len(values):
        raise BadValue(f"some {name}", "none", "list at least one")
    for value in values:
        expect_number(f"each of {name}", value, low=low, high=high, open_low=open_low)
