"""What `sbi-kit fit` does with labelled data: choose, train, score, explain, and write it all down.

A fifth of the rows is kept for the scores and seen by nothing else. Beside the joint models stand
those of each task alone, the baseline that knows no feature, and the best possible where the
generator tells it. The explanation measures what it says: the same model on a shuffled target, the
joint weights against those of each task alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sbi_kit import console
from sbi_kit.checks import BadType, BadValue, expect_name
from sbi_kit.contracts import Array, DataGenerator
from sbi_kit.files import write_whole
from sbi_kit.seeds import numpy_stream
from sbi_kit.supervised.conditioning import Conditioning, conditioning
from sbi_kit.supervised.lesson import read_labels, read_target
from sbi_kit.supervised.model_file import DOCUMENT, save_model
from sbi_kit.supervised.multitask import MultiTask
from sbi_kit.supervised.network import MultiTaskNetwork
from sbi_kit.supervised.scores import area_under_curve, baseline, calibration, scores
from sbi_kit.supervised.selection import Selection, cross_validate, regularisation_path

PAGE, MODEL = "report.md", "model"
_TEST = 0.2  # share of the rows that scores are taken of
_FEWEST = 50  # rows to train and to score on
_SHUFFLES = 5
_WEAK = 1e-4, 0.0  # lam and rho at which noise is learned by heart
_OF_CLASS = ("accuracy", "precision", "recall", "F1", "AUC")  # all else is of the target


@dataclass(frozen=True, eq=False)
class Rows:
    """A table, split: features and a target to train on, and others to score on.

    Attributes:
        name: What the rows are of.
        x: Features of the training rows.
        y: Their target.
        x_test: Features of the other rows.
        y_test: Their target.
        share: Share of the rows in class 1.
        best: Best possible scores by name; empty where they are not known.
    """

    name: str
    x: pd.DataFrame
    y: Array
    x_test: pd.DataFrame
    y_test: Array
    share: float
    best: Mapping[str, float]


def expect_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a directory that holds a model, or other files and no model.

    Raises:
        BadValue: It does, or it is a file.
    """
    if folder.is_file():
        raise BadValue("a directory for the model", f"the file {folder}", "choose another")
    there = (folder / MODEL / DOCUMENT).exists() or (folder / PAGE).exists()
    if there and not overwrite:
        got = f"{folder}, which holds one"
        raise BadValue("a directory without a model", got, "choose another, or pass --overwrite")
    if not there and folder.exists() and any(folder.iterdir()):
        names = ", ".join(sorted(entry.name for entry in folder.iterdir())[:3])
        got = f"{folder} with {names} in it"
        raise BadValue("an empty or new directory for the model", got, "choose another")


def generated(name: str, model: DataGenerator, rows: int, *, seed: int) -> Rows:
    """Rows of a generator.

    Raises:
        BadValue: Its target is no number that takes many values, or the rows are too few.
    """
    frame = model.generate(rows, np.random.default_rng(seed))
    best = dict(getattr(model, "best_scores", {}))
    return _split(name, frame, model.targets, model.targets[0], model, best, seed=seed)


def read(path: str, target: str | None, model: DataGenerator, *, seed: int) -> Rows:
    """Rows of a CSV file; without a target's name, that of the generator.

    Raises:
        UnknownName: There is no such column.
        BadValue: The file cannot be read, or the rows are too few.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        got = f"{path}, which cannot be read ({' '.join(str(reason).split())})"
        raise BadValue("a CSV file of features and a target", got, "check the file") from error
    name = model.targets[0] if target is None else target
    expect_name("column to predict", name, [str(column) for column in frame.columns])
    return _split(Path(path).name, frame, (name,), name, model, {}, seed=seed)


def _split(
    name: str,
    frame: pd.DataFrame,
    targets: tuple[str, ...],
    target: str,
    model: DataGenerator,
    best: Mapping[str, float],
    *,
    seed: int,
) -> Rows:
    """Training rows and others, at random."""
    if len(frame) < _FEWEST:
        got = f"{len(frame)} in {name}"
        raise BadValue(f"at least {_FEWEST} rows to train and to score on", got, "add rows")
    if not pd.api.types.is_numeric_dtype(frame[target]):
        got = f"{frame[target].dtype} in {target!r}"
        raise BadType("a target of numbers", got, "choose another column")
    y = read_target(frame[target].to_numpy(dtype=np.float64, na_value=np.nan), len(frame))
    if 1 < len(np.unique(y)) <= 2:
        got = f"two values of {target!r} in {name}"
        raise BadValue("a target of many values", got, "choose another column or generator")
    x = frame.drop(columns=list(targets))
    order = numpy_stream(seed, "test rows").permutation(len(frame))
    test, training = np.split(order, [round(_TEST * len(frame))])
    share = float(getattr(model, "premium_share", 0.2))
    return Rows(name, x.iloc[training], y[training], x.iloc[test], y[test], share, best)


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found, for the tables and the page.

    Attributes:
        rows: What was learned from.
        model: The joint linear model, fitted.
        selection: How its settings were chosen, if by cross-validation.
        table: Scores, a row for each and a column for each model.
        shuffled: Mean scores of the same model where the target was shuffled, at its own penalty
            and at hardly any.
        apart: Largest difference between joint weights and those of each task alone.
        by_target: AUC of ranking by the predicted target.
        hessian: Condition of the joint Hessian for shared weights, the penalty all squares.
    """

    rows: Rows
    model: MultiTask
    selection: Selection | None
    table: pd.DataFrame
    shuffled: tuple[Mapping[str, float], Mapping[str, float]]
    apart: float
    by_target: float
    hessian: Conditioning


def study(rows: Rows, *, folds: int, seed: int) -> Findings:
    """Choose settings where folds are asked for, train all models and score them."""
    start = MultiTask(lam=0.002, premium_share=rows.share)
    selection = None
    if folds:
        with console.progress("choosing") as update:
            selection = cross_validate(
                start,
                rows.x,
                rows.y,
                folds=folds,
                seed=seed,
                progress=lambda done, total: update(done, total, [f"{done}/{total} folds"]),
            )
    chosen = start if selection is None else selection.model
    model = chosen.fit(rows.x, rows.y)
    joint = model.evaluate(rows.x_test, rows.y_test)
    columns = {
        "best possible": rows.best,
        "joint": joint,
        "each alone": _alone(rows, selection, joint),
        **_networks(rows, seed=seed),
        "baseline": _baseline(rows, model),
    }
    table = pd.DataFrame(columns, index=list(joint))
    if not rows.best:
        table = table.drop(columns="best possible")
    classes = read_labels(None, rows.y_test, model.threshold_)
    by_target = area_under_curve(classes, model.predict(rows.x_test))
    x = model.columns_(rows.x.set_axis([str(name) for name in rows.x.columns], axis=1))
    hessian = conditioning(
        x,
        model.predict_proba(rows.x)[:, 1],
        alpha=model.alpha,
        beta=model.beta,
        lam=model.lam,
    )
    shuffled = _shuffled(rows, model, seed=seed)
    return Findings(
        rows, model, selection, table, shuffled, _apart(rows, model), by_target, hessian
    )


def _alone(rows: Rows, selection: Selection | None, joint: Mapping[str, float]) -> dict[str, float]:
    """Scores of a linear model for each task, each with the penalty that is best for it."""
    if selection is None:
        return dict(joint)
    found: dict[str, float] = {}
    for task in ("classification", "regression"):
        best = selection.table.sort_values(task, kind="stable").iloc[0]
        own = MultiTask(premium_share=rows.share).set_params(
            **{name: float(best[name]) for name in ("alpha", "lam", "rho")}
        )
        reached = own.fit(rows.x, rows.y).evaluate(rows.x_test, rows.y_test)
        mine = [k for k in reached if (k in _OF_CLASS) == (task == "classification")]
        found |= {name: reached[name] for name in mine}
    return found


def _networks(rows: Rows, *, seed: int) -> dict[str, dict[str, float]]:
    """Scores of the network with a shared trunk, and of one for each task."""
    reached = {}
    for name, (alpha, beta) in {"both": (1, 1), "target": (1, 0), "class": (0, 1)}.items():
        network = MultiTaskNetwork(alpha=alpha, beta=beta, premium_share=rows.share, seed=seed)
        with console.training_progress(f"network, {name}") as report:
            network.fit(rows.x, rows.y, progress=report)
        reached[name] = network.evaluate(rows.x_test, rows.y_test)
    apart = {
        name: reached["class" if name in _OF_CLASS else "target"][name] for name in reached["both"]
    }
    return {"network": reached["both"], "networks alone": apart}


def _baseline(rows: Rows, model: MultiTask) -> dict[str, float]:
    """Scores of the mean, the quantiles and the majority."""
    learned, tested = (read_labels(None, y, model.threshold_) for y in (rows.y, rows.y_test))
    said = baseline(rows.y, learned, len(rows.y_test), model.quantiles)
    return scores(rows.y_test, tested, said)


def _shuffled(
    rows: Rows, model: MultiTask, *, seed: int
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Mean scores where training targets belong to other rows: nothing is left to learn."""
    targets = [numpy_stream(seed, "shuffled", k).permutation(rows.y) for k in range(_SHUFFLES)]
    found = []
    for lam, rho in ((model.lam, model.rho), _WEAK):
        own = MultiTask(alpha=model.alpha, lam=lam, rho=rho, premium_share=rows.share, quantiles=())
        each = [own.fit(rows.x, y).evaluate(rows.x_test, rows.y_test) for y in targets]
        found.append({name: float(np.mean([one[name] for one in each])) for name in each[0]})
    return found[0], found[1]


def _apart(rows: Rows, model: MultiTask) -> float:
    """Largest difference between the joint weights and those of each task alone."""
    alone = [
        MultiTask(lam=model.lam / weight, rho=model.rho, premium_share=rows.share, quantiles=())
        for weight in (model.alpha, model.beta)
    ]
    regression, classification = (own.fit(rows.x, rows.y) for own in alone)
    pairs = (
        (model.regression_, regression.regression_),
        (model.classification_, classification.classification_),
    )
    return max(float(np.abs(one.weights - other.weights).max()) for one, other in pairs)


def show(findings: Findings) -> None:
    """The tables, on the terminal."""
    for title, table in _tables(findings).items():
        console.say(f"\n{title}\n", "bold")
        rows = [[str(name), *cells] for name, *cells in table.itertuples()]
        console.show_table(["", *table.columns], rows, numbers=True)


def _tables(findings: Findings) -> dict[str, pd.DataFrame]:
    """Tables as text, by title."""
    rows, model = findings.rows, findings.model
    chosen = {"alpha": model.alpha, "beta": model.beta, "lambda": model.lam, "rho": model.rho}
    how = "by default"
    if findings.selection is not None:
        best = findings.selection.table.iloc[0]
        how = f"by {findings.selection.folds}-fold cross-validation"
        chosen |= {"loss / baseline": best["loss"], "± its error": best["error"]}
    settings = pd.DataFrame({name: [f"{value:.4g}"] for name, value in chosen.items()}, [how])
    scored = findings.table.map(lambda value: f"{value:.3f}" if value < 100 else f"{value:,.0f}")
    return {
        "Hyper-parameters": settings,
        f"Scores of {len(rows.y_test):,} rows of {rows.name}, after {len(rows.y):,} to train on": (
            scored
        ),
    }


def write(findings: Findings, folder: Path, *, overwrite: bool) -> None:
    """Write model, tables, figures and the page into a directory."""
    from sbi_kit import plots

    rows, model = findings.rows, findings.model
    save_model(model, folder / MODEL, overwrite=overwrite)
    tables = {"scores": findings.table, "importances": model.importances_}
    if findings.selection is not None:
        tables["choices"] = findings.selection.table
    for name, table in tables.items():
        named = table.rename_axis(None if name == "choices" else "name")
        text = named.to_csv(index=name != "choices", lineterminator="\n")
        write_whole(folder / f"{name}.csv", text.encode())
    path = regularisation_path(model, rows.x, rows.y)
    found = calibration(
        read_labels(None, rows.y_test, model.threshold_), model.predict_proba(rows.x_test)[:, 1]
    )
    counts = [model.importances_[name].to_numpy() for name in model.importances_]
    figures = {
        "path": plots.weights_along_path(
            path.lams, path.regression, path.classification, path.names, chosen=model.lam
        ),
        "importances": plots.importances(list(model.importances_.index), *counts),
        "calibration": plots.class_calibration(found.said, found.seen, found.error),
    }
    for name, figure in figures.items():
        figure.set_facecolor("white")
        write_whole(folder / f"{name}.png", plots.to_png(figure))
    write_whole(folder / PAGE, page(findings).encode())


def page(findings: Findings) -> str:
    """Tables, figures and what limits the task, as Markdown."""
    parts = [f"# A number and a class from {findings.rows.name}"]
    for title, table in _tables(findings).items():
        parts += [f"## {title}", _markdown(table)]
    parts += [
        "Columns: joint, both tasks in one linear model; each alone, a linear model for each task "
        "with the penalty that is best for it; network, one trunk for both tasks; networks alone, "
        "one for each; baseline, mean, quantiles and majority of the training rows.",
        "## What limits it",
        *_understanding(findings),
        "## Figures",
        *(f"![{name}]({name}.png)" for name in ("path", "importances", "calibration")),
    ]
    return "\n\n".join(parts) + "\n"


def _markdown(table: pd.DataFrame) -> str:
    lines = [["", *map(str, table.columns)], ["---"] * (len(table.columns) + 1)]
    lines += [[str(name), *cells] for name, *cells in table.itertuples()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _understanding(findings: Findings) -> list[str]:
    """What the numbers mean, each beside its baseline."""
    rows, table = findings.rows, findings.table
    joint, base = table["joint"], table["baseline"]
    gaps = float(rows.x.isna().to_numpy().mean())
    if rows.best:
        auc, r2 = rows.best["AUC"], rows.best["R2"]
        ceiling = (
            f"**Noise sets a ceiling.** The features explain a share {r2:.2f} of the target's "
            f"variance and no more, so that no model has an AUC above {auc:.3f} on average, or an "
            f"RMSE below {rows.best['RMSE']:,.0f}, however many rows it sees. The joint model "
            f"reaches R2 {joint['R2']:.3f} and AUC {joint['AUC']:.3f}, {joint['AUC'] / auc:.3f} of "
            f"the best; the baseline has {base['R2']:.3f} and {base['AUC']:.3f}. A share "
            f"{gaps:.2f} of the features' values is missing, which lowers what can be reached."
        )
    else:
        ceiling = (
            "**The ceiling is not known here.** These rows do not say how much of the target is "
            f"noise. The joint model reaches R2 {joint['R2']:.3f} and AUC {joint['AUC']:.3f}, so "
            "the ceiling is there or above; the baseline has "
            f"{base['R2']:.3f} and {base['AUC']:.3f}."
        )
    return [ceiling, _sharing(findings), _unrelated(findings), _conditioned(findings.hessian)]


def _sharing(findings: Findings) -> str:
    table, model = findings.table, findings.model
    joint, network, apart = (table[name] for name in ("joint", "network", "networks alone"))
    return (
        "**Separate linear heads share nothing.** Their objective is a sum of two in which no "
        "weight occurs twice, so its minimum is that of each task alone, under the penalty "
        f"λ/α = {model.lam / model.alpha:.3g} or λ/β = {model.lam / model.beta:.3g}: fitted alone, "
        f"weights differ by at most {findings.apart:.0e}. The heads of the network have a trunk in "
        f"common: trained together they reach R2 {network['R2']:.3f} and AUC {network['AUC']:.3f}, "
        f"each alone {apart['R2']:.3f} and {apart['AUC']:.3f}, where the baseline has "
        f"{table['baseline']['R2']:.3f} and {table['baseline']['AUC']:.3f}. As the class says only "
        "on which side of a threshold the target lies, it tells less of a row than the target "
        f"does: ranked by the predicted target, rows have an AUC of {findings.by_target:.3f}, "
        f"ranked by the class's own head {joint['AUC']:.3f}."
    )


def _unrelated(findings: Findings) -> str:
    own, free = findings.shuffled
    joint, base = findings.table["joint"], findings.table["baseline"]
    return (
        "**What a target unrelated to the features looks like.** With the training targets "
        f"shuffled among rows, the same model has on new rows, as a mean of {_SHUFFLES} times, "
        f"R2 {own['R2']:.3f} and AUC {own['AUC']:.3f}, and with hardly any penalty R2 "
        f"{free['R2']:.3f} and AUC {free['AUC']:.3f}: noise learned by heart makes R2 negative and "
        "leaves the AUC near one half, on either side of it. The unshuffled "
        f"model has {joint['R2']:.3f} and {joint['AUC']:.3f}, the baseline {base['R2']:.3f} and "
        f"{base['AUC']:.3f}. Where a table shows a negative R2 beside an AUC of one half, look "
        "first whether features and targets belong to the same rows."
    )


def _conditioned(found: Conditioning) -> str:
    return (
        "**How well-posed it is.** For weights that both tasks share and a penalty of squares "
        f"alone, the Hessian α H_r + β H_c + 2 λ I has the condition number {found.joint:.3g}, "
        f"within Weyl's bounds of {found.lower:.3g} and {found.upper:.3g}. Those of H_r and "
        f"H_c are {found.regression:.3g} and {found.classification:.3g}: condition numbers do not "
        "add. Without the penalty it would be infinite where a category's indicators sum to one."
    )
