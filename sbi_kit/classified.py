"""What `sbi-kit fit` does with two classes: train, score, and measure why.

Of the rows, 63 % train, 7 % tell when to stop and at which rate to learn, and 30 % are scored and
seen by nothing else. Beside the networks stand the majority, models that are linear, boosted, or
linear in features of a kernel, which learn from both of the first parts, the solver that looks for
a parity alone, and the best possible where the generator tells it. Why is measured, too: by how far
single features, pairs of them, and all but one bit of a parity tell the class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from sbi_kit import console
from sbi_kit.contracts import Array, DataGenerator
from sbi_kit.labelled_rows import FEWEST, SplitRows, Task
from sbi_kit.supervised.classes import read_classes
from sbi_kit.supervised.columns import Columns, learn_columns, matrix, with_text_names
from sbi_kit.supervised.parity import ParitySolver
from sbi_kit.supervised.peers import peers
from sbi_kit.supervised.scores import Calibration, area_under_curve, calibration
from sbi_kit.supervised.wide_deep import FullyConnected, WideDeep

_RATES = (1e-3, 3e-3, 1e-2, 2e-2)


def _classes(column: "pd.Series[Any]", _table: str) -> Array:
    """Two classes as 0.0 and 1.0, shape (rows,).

    Raises:
        BadValue: They are not two.
    """
    _, y = read_classes(column.to_numpy(), len(column))
    return y


TASK = Task("a class", 0.3, _classes)


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found, for the tables and the page.

    Attributes:
        rows: What was learned from.
        table: Accuracy, AUC and seconds, a row for each model.
        network: Wide & deep, fitted at the best rate.
        by_heart: Its accuracy on the rows it learned from, those that told when to stop included.
        rates: Learning rates, with the validation loss and the accuracy on test rows of each.
        calibration: Probabilities of wide & deep against frequencies.
        alone: Largest accuracy of any single feature's bit, or any pair's parity, with its chance.
        solver: The solver, if there is a parity.
        but_one: Accuracy of the solver's parity without each of its bits, largest and smallest.
    """

    rows: SplitRows
    table: pd.DataFrame
    network: WideDeep
    by_heart: float
    rates: pd.DataFrame
    calibration: Calibration
    alone: Mapping[str, tuple[float, float]]
    solver: ParitySolver | None
    but_one: tuple[float, float] | None


def concerns(model: DataGenerator) -> bool:
    """Whether what a generator's rows are to be told by is one of two classes."""
    frame = model.generate(FEWEST, np.random.default_rng(0))
    return len(model.targets) == 1 and frame[model.targets[0]].nunique() <= 2


def study(rows: SplitRows, *, seed: int) -> Findings:
    """Choose the learning rate, train all models and score them."""
    models: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    tried = []
    for rate in _RATES:
        began = perf_counter()
        model = WideDeep(learning_rate=rate, seed=seed)
        with console.training_progress(f"wide & deep, rate {rate:g}") as report:
            model.fit(rows.x, rows.y, progress=report)
        loss = min(validation for _, _, validation in model.evaluations_)
        tried.append((rate, loss, model.score(rows.x_test, rows.y_test), model))
        seconds[str(rate)] = perf_counter() - began
    rate, _, _, models["wide & deep"] = min(tried, key=lambda entry: entry[1])
    seconds["wide & deep"] = seconds[str(rate)]
    columns = learn_columns(with_text_names(rows.x), fewest=models["wide & deep"].fewest)
    others = {
        "fully connected": FullyConnected(learning_rate=rate, seed=seed),
        "one hidden layer": FullyConnected(deep=(256,), learning_rate=rate, seed=seed),
        **peers(columns, seed=seed),
    }
    solver = _solve(rows, seed=seed)
    if solver is not None:
        others["parity solver"] = ParitySolver(seed=seed)
    with console.progress("beside it") as update:
        for done, (name, model) in enumerate(others.items()):
            update(done, len(others), [name])
            began = perf_counter()
            models[name] = model.fit(rows.x, rows.y)
            seconds[name] = perf_counter() - began
    rates = pd.DataFrame(
        [entry[:3] for entry in tried], columns=["rate", "validation loss", "accuracy"]
    )
    probability = models["wide & deep"].predict_proba(rows.x_test)[:, 1]
    return Findings(
        rows,
        _table(rows, models, seconds),
        models["wide & deep"],
        models["wide & deep"].score(rows.x, rows.y),
        rates,
        calibration(rows.y_test, probability),
        _alone(rows, columns),
        solver,
        None if solver is None else _but_one(rows, solver),
    )


def _table(
    rows: SplitRows, models: Mapping[str, Any], seconds: Mapping[str, float]
) -> pd.DataFrame:
    """Scores of the models, between the best possible and the majority."""
    majority = float(rows.y.mean() > 0.5)
    found = {}
    if "accuracy" in rows.best:
        found["best possible"] = [rows.best["accuracy"], np.nan, np.nan]
    for name, model in models.items():
        said = model.predict_proba(rows.x_test)[:, 1]
        accuracy = float(np.mean((said > 0.5) == rows.y_test))
        found[name] = [accuracy, area_under_curve(rows.y_test, said), seconds[name]]
    found["majority"] = [float(np.mean(rows.y_test == majority)), 0.5, np.nan]
    return pd.DataFrame.from_dict(found, orient="index", columns=["accuracy", "AUC", "seconds"])


def _solve(rows: SplitRows, *, seed: int) -> ParitySolver | None:
    """The solver, if the features are bits and a parity of them is the class."""
    try:
        return ParitySolver(seed=seed).fit(rows.x, rows.y)
    except (ValueError, TypeError):
        return None


def _alone(rows: SplitRows, columns: Columns) -> dict[str, tuple[float, float]]:
    """Best accuracy of one feature's side of its mean, and of two features' sides together.

    Beside each stands what the best of as many coins would have, two standard errors included.
    """
    sides = np.sign(matrix(columns, rows.x))
    label = 2 * rows.y - 1
    one = np.abs(label @ sides) / len(label)
    two = np.abs((sides * label[:, None]).T @ sides) / len(label)
    pairs = [two[i, j] for i, j in combinations(range(len(one)), 2)]
    found = {}
    for name, values in (("feature", one), ("pair", np.array(pairs))):
        if len(values):
            coins = np.sqrt(2 * np.log(2 * len(values)) / len(label)) + 2 / np.sqrt(len(label))
            found[name] = (float(1 + values.max()) / 2, float(1 + coins) / 2)
    return found


def _but_one(rows: SplitRows, solver: ParitySolver) -> tuple[float, float]:
    """Accuracy of the parity of all of its bits but one, least and most."""
    bits = rows.x_test.to_numpy() > 0.5
    told = solver.predict(rows.x_test).astype(bool)
    kept = [
        np.mean((told ^ bits[:, j]) == rows.y_test.astype(bool))
        for j in np.flatnonzero(solver.parity_)
    ]
    return float(min(kept)), float(max(kept))
