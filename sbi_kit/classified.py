"""What `sbi-kit fit` does with two classes: train, score, explain, and write it all down.

Of the rows, 56 % train, 14 % tell when to stop and at which rate to learn, and 30 % are scored and
seen by nothing else. Beside the networks stand the majority, models that are linear, boosted, or
linear in features of a kernel, which learn from both of the first parts, the solver that looks for
a parity alone, and the best possible where the generator tells it. The explanation measures what it
says: how far single features, pairs of them, and all but one bit of a parity tell the class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from sbi_kit import console
from sbi_kit.checks import BadValue, expect_name
from sbi_kit.contracts import Array, DataGenerator
from sbi_kit.files import write_whole
from sbi_kit.seeds import numpy_stream
from sbi_kit.supervised.classes import read_classes
from sbi_kit.supervised.parity import ParitySolver
from sbi_kit.supervised.peers import LANDMARKS, matrix, peers
from sbi_kit.supervised.scores import Calibration, area_under_curve, calibration
from sbi_kit.supervised.wide_deep import FullyConnected, WideDeep

PAGE = "report.md"
_TEST = 0.3  # share of the rows that scores are taken of
_FEWEST = 50  # rows to train and to score on
_RATES = (1e-3, 3e-3, 1e-2, 2e-2)


@dataclass(frozen=True, eq=False)
class Rows:
    """A table of two classes, split.

    Attributes:
        name: What the rows are of.
        x: Features of the rows to learn from.
        y: Their classes, 0.0 or 1.0.
        x_test: Features of the other rows.
        y_test: Their classes.
        best: Best possible accuracy, or None where it is not known.
    """

    name: str
    x: pd.DataFrame
    y: Array
    x_test: pd.DataFrame
    y_test: Array
    best: float | None


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found, for the tables and the page.

    Attributes:
        rows: What was learned from.
        table: Accuracy, AUC and seconds, a row for each model.
        rates: Validation loss, accuracy on the validation rows and on the others by learning rate.
        calibration: Probabilities of wide & deep against frequencies.
        alone: Largest accuracy of any single feature's bit, or any pair's parity, with its chance.
        solver: The solver, if there is a parity.
        but_one: Accuracy of the solver's parity without each of its bits, largest and smallest.
    """

    rows: Rows
    table: pd.DataFrame
    rates: pd.DataFrame
    calibration: Calibration
    alone: Mapping[str, tuple[float, float]]
    solver: ParitySolver | None
    but_one: tuple[float, float] | None


def concerns(model: DataGenerator) -> bool:
    """Whether what a generator's rows are to be told by is one of two classes."""
    frame = model.generate(_FEWEST, np.random.default_rng(0))
    return len(model.targets) == 1 and frame[model.targets[0]].nunique() <= 2


def generated(name: str, model: DataGenerator, rows: int, *, seed: int) -> Rows:
    """Rows of a generator.

    Raises:
        BadValue: They are too few.
    """
    frame = model.generate(rows, np.random.default_rng(seed))
    best = dict(getattr(model, "best_scores", {})).get("accuracy")
    return _split(name, frame, model.targets[0], best, seed=seed)


def read(path: str, target: str | None, model: DataGenerator, *, seed: int) -> Rows:
    """Rows of a CSV file; without a target's name, that of the generator.

    Raises:
        UnknownName: There is no such column.
        BadValue: The file cannot be read, or the rows are too few or not of two classes.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        got = f"{path}, which cannot be read ({' '.join(str(reason).split())})"
        raise BadValue("a CSV file of features and a class", got, "check the file") from error
    name = model.targets[0] if target is None else target
    expect_name("column to predict", name, [str(column) for column in frame.columns])
    return _split(Path(path).name, frame, name, None, seed=seed)


def _split(name: str, frame: pd.DataFrame, target: str, best: float | None, *, seed: int) -> Rows:
    """Rows to learn from and others, at random."""
    if len(frame) < _FEWEST:
        got = f"{len(frame)} in {name}"
        raise BadValue(f"at least {_FEWEST} rows to train and to score on", got, "add rows")
    _, y = read_classes(frame[target].to_numpy(), len(frame))
    x = frame.drop(columns=target)
    order = numpy_stream(seed, "test rows").permutation(len(frame))
    test, training = np.split(order, [round(_TEST * len(frame))])
    return Rows(name, x.iloc[training], y[training], x.iloc[test], y[test], best)


def study(rows: Rows, *, seed: int) -> Findings:
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
    others = {
        "fully connected": FullyConnected(learning_rate=rate, seed=seed),
        "one hidden layer": FullyConnected(deep=(256,), learning_rate=rate, seed=seed),
        **peers(models["wide & deep"].columns_, seed=seed),
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
        rates,
        calibration(rows.y_test, probability),
        _alone(rows, models["wide & deep"]),
        solver,
        None if solver is None else _but_one(rows, solver),
    )


def _table(rows: Rows, models: Mapping[str, Any], seconds: Mapping[str, float]) -> pd.DataFrame:
    """Scores of the models, between the best possible and the majority."""
    majority = float(rows.y.mean() > 0.5)
    found = {}
    if rows.best is not None:
        found["best possible"] = [rows.best, np.nan, np.nan]
    for name, model in models.items():
        said = model.predict_proba(rows.x_test)[:, 1]
        accuracy = float(np.mean((said > 0.5) == rows.y_test))
        found[name] = [accuracy, area_under_curve(rows.y_test, said), seconds[name]]
    found["majority"] = [float(np.mean(rows.y_test == majority)), 0.5, np.nan]
    return pd.DataFrame.from_dict(found, orient="index", columns=["accuracy", "AUC", "seconds"])


def _solve(rows: Rows, *, seed: int) -> ParitySolver | None:
    """The solver, if the features are bits and a parity of them is the class."""
    try:
        return ParitySolver(seed=seed).fit(rows.x, rows.y)
    except (ValueError, TypeError):
        return None


def _alone(rows: Rows, network: WideDeep) -> dict[str, tuple[float, float]]:
    """Best accuracy of one feature's side of its mean, and of two features' sides together.

    Beside each stands what the best of as many coins would have, two standard errors included.
    """
    sides = np.sign(matrix(network.columns_, rows.x))
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


def _but_one(rows: Rows, solver: ParitySolver) -> tuple[float, float]:
    """Accuracy of the parity of all of its bits but one, least and most."""
    bits = rows.x_test.to_numpy() > 0.5
    told = solver.predict(rows.x_test).astype(bool)
    kept = [
        np.mean((told ^ bits[:, j]) == rows.y_test.astype(bool))
        for j in np.flatnonzero(solver.parity_)
    ]
    return float(min(kept)), float(max(kept))


def show(findings: Findings) -> None:
    """The tables, on the terminal."""
    for title, table in _tables(findings).items():
        console.say(f"\n{title}\n", "bold")
        rows = [[str(name), *cells] for name, *cells in table.itertuples()]
        console.show_table(["", *table.columns], rows, numbers=True)


def _tables(findings: Findings) -> dict[str, pd.DataFrame]:
    """Tables as text, by title."""
    rows = findings.rows
    scored = findings.table.copy().astype(object)
    for name, digits in (("accuracy", 4), ("AUC", 4), ("seconds", 1)):
        scored[name] = [
            "" if np.isnan(value) else f"{value:.{digits}f}" for value in findings.table[name]
        ]
    rates = findings.rates.set_index("rate").map(lambda value: f"{value:.4f}")
    rates.index = pd.Index([f"{rate:g}" for rate in rates.index])
    title = f"Scores of {len(rows.y_test):,} rows of {rows.name}, after {len(rows.y):,}"
    return {f"{title} to learn from": scored, "Learning rates of wide & deep": rates}


def write(findings: Findings, folder: Path) -> None:
    """Write tables, figures and the page into a directory."""
    from sbi_kit import plots

    folder.mkdir(parents=True, exist_ok=True)
    tables = {"scores": findings.table.rename_axis("model"), "rates": findings.rates}
    for name, table in tables.items():
        text = table.to_csv(index=name == "scores", lineterminator="\n")
        write_whole(folder / f"{name}.csv", text.encode())
    found, rates = findings.calibration, findings.rates
    figures = {
        "rates": plots.learning_rates(
            rates["rate"].to_numpy(),
            rates["validation loss"].to_numpy(),
            rates["accuracy"].to_numpy(),
            best=findings.rows.best,
        ),
        "calibration": plots.class_calibration(found.said, found.seen, found.error),
    }
    for name, figure in figures.items():
        figure.set_facecolor("white")
        write_whole(folder / f"{name}.png", plots.to_png(figure))
    write_whole(folder / PAGE, page(findings).encode())


def page(findings: Findings) -> str:
    """Tables, figures and what limits the task, as Markdown."""
    parts = [f"# Two classes from {findings.rows.name}"]
    for title, table in _tables(findings).items():
        parts += [f"## {title}", _markdown(table)]
    parts += ["## What limits it", *_understanding(findings), "## Figures"]
    parts += [f"![{name}]({name}.png)" for name in ("rates", "calibration")]
    return "\n\n".join(parts) + "\n"


def _markdown(table: pd.DataFrame) -> str:
    lines = [["", *map(str, table.columns)], ["---"] * (len(table.columns) + 1)]
    lines += [[str(name), *cells] for name, *cells in table.itertuples()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _understanding(findings: Findings) -> list[str]:
    """What the numbers mean, each beside its baseline."""
    said = [_ceiling(findings), _slopes(findings)]
    if findings.solver is not None:
        said.append(_parity(findings, findings.solver))
    return said


def _ceiling(findings: Findings) -> str:
    rows, accuracy = findings.rows, findings.table["accuracy"]
    error = np.sqrt(accuracy["wide & deep"] * (1 - accuracy["wide & deep"]) / len(rows.y_test))
    reached = (
        f"Wide & deep reaches {accuracy['wide & deep']:.4f} ± {error:.4f}, the fully connected "
        f"network {accuracy['fully connected']:.4f}; the majority has {accuracy['majority']:.4f}."
    )
    if rows.best is None:
        return f"**The ceiling is not known here.** {reached}"
    return (
        "**Flipped labels set a ceiling.** Whoever knew what made each label would be right in a "
        f"share {rows.best:.4f} of the rows, and no classifier in more of them. {reached}"
    )


def _slopes(findings: Findings) -> str:
    accuracy = findings.table["accuracy"]
    said = [
        f"the best single {name} tells {best:.3f} of the labels, where the best of as many coins "
        f"would stay below {chance:.3f}"
        for name, (best, chance) in findings.alone.items()
    ]
    words = "; ".join(said)
    return (
        f"**What local rules see.** By which side of its mean a value lies, {words}. Boosted "
        "trees, which split one feature at a time, have an accuracy of "
        f"{accuracy['boosted trees']:.3f}, logistic regression "
        f"{accuracy['logistic regression']:.3f}, and the kernel, a linear model of {LANDMARKS} "
        f"features that vary slowly, {accuracy['kernel']:.3f}. A network of one hidden "
        f"layer of 256 units has {accuracy['one hidden layer']:.3f}, the fully connected one with "
        f"two {accuracy['fully connected']:.3f}; the majority has {accuracy['majority']:.3f}."
    )


def _parity(findings: Findings, solver: ParitySolver) -> str:
    least, most = findings.but_one or (np.nan, np.nan)
    accuracy, size = findings.table["accuracy"], int(solver.parity_.sum())
    how = {"shapes": "the shapes of the noise", "elimination": "elimination"}[solver.method_]
    solved, learned = accuracy["parity solver"], accuracy["wide & deep"]
    return (
        f"**The class is a parity.** It is that of {size} bits of {len(solver.parity_)}, up to "
        f"flips, which the solver finds by {how}: it has an accuracy of "
        f"{solved:.4f}, {solved - learned:+.4f} against wide & deep on the same rows. Without any "
        f"one of these bits, the others tell {least:.3f} to {most:.3f} of the labels, where a coin "
        "tells 0.5: there is no part of the way at which a smaller rule is better than none. So "
        "greedy splits and kernels, which must first find something in few features or in slow "
        "changes, have nothing to start from. "
        "A network that sums many bits at once and bends the sum finds the parity from all of "
        "them together, if the rows suffice."
    )
