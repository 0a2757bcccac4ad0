"""What `sbi-kit fit` shows and writes of two classes: tables, figures, what limits it.

Every sentence has its numbers from `sbi_kit.classified`, each beside its baseline.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from sbi_kit import study_folder
from sbi_kit.classified import Findings
from sbi_kit.contracts import Array
from sbi_kit.supervised.parity import ParitySolver
from sbi_kit.supervised.peers import LANDMARKS

_FIGURES = {
    "rates": (
        "Wide & deep by its learning rate: the loss on the rows that tell when to stop, and the "
        "accuracy on test rows with its standard error, by which nothing is chosen."
    ),
    "calibration": study_folder.CALIBRATION.format("wide & deep"),
}
_MODELS = (
    "Models: wide & deep, fully connected and one hidden layer, networks trained at the learning "
    "rate that is best for the first; boosted trees, a kernel and logistic regression; parity "
    "solver, algebra of bits, if there is a parity; majority, the more frequent class of the "
    "training rows. Seconds are those of the training."
)


def show(findings: Findings) -> None:
    """The tables, on the terminal."""
    study_folder.show(_tables(findings))


def _tables(findings: Findings) -> dict[str, pd.DataFrame]:
    """Tables as text, by title."""
    rows = findings.rows
    scored = findings.table.copy().astype(object)
    for name, digits in (("accuracy", 4), ("AUC", 4), ("seconds", 1)):
        scored[name] = [
            "" if np.isnan(value) else f"{value:.{digits}f}" for value in findings.table[name]
        ]
    rates = findings.rates.set_index("rate").map(lambda value: f"{value:.4f}")
    rates.index = pd.Index([f"{rate:g}" for rate in rates.index], name="rate")
    title = f"Scores of {len(rows.y_test):,} rows of {rows.name}, after {len(rows.y):,}"
    return {f"{title} to learn from": scored, "Learning rates of wide & deep": rates}


def write(findings: Findings, folder: Path) -> None:
    """Write the network, tables, figures and the page into a directory."""
    from sbi_kit import plots

    found, rates = findings.calibration, findings.rates
    tables = {"scores": findings.table.rename_axis("model"), "rates": rates}
    figures = {
        "rates": plots.learning_rates(
            rates["rate"].to_numpy(),
            rates["validation loss"].to_numpy(),
            rates["accuracy"].to_numpy(),
            errors=_error(rates["accuracy"].to_numpy(), len(findings.rows.y_test)),
            best=findings.rows.best.get("accuracy"),
        ),
        "calibration": plots.class_calibration(found.said, found.seen, found.error),
    }
    text = study_folder.page(
        f"Two classes from {findings.rows.name}",
        _tables(findings),
        notes=(_MODELS, *study_folder.left_out(findings.rows.left_out)),
        limits=_understanding(findings),
        figures=_FIGURES,
    )
    models = {study_folder.NETWORK: findings.network}
    study_folder.write(folder, models=models, tables=tables, figures=figures, text=text)


def _understanding(findings: Findings) -> list[str]:
    """What the numbers mean, each beside its baseline."""
    said = [_ceiling(findings), _slopes(findings)]
    if findings.solver is not None:
        said.append(_parity(findings, findings.solver))
    return said


def _ceiling(findings: Findings) -> str:
    rows, accuracy = findings.rows, findings.table["accuracy"]
    error = _error(accuracy["wide & deep"], len(rows.y_test))
    reached = (
        f"Wide & deep reaches {accuracy['wide & deep']:.4f} ± {error:.4f}, the fully connected "
        f"network {accuracy['fully connected']:.4f}; the majority has {accuracy['majority']:.4f}."
    )
    if "accuracy" not in rows.best:
        return f"**The ceiling is not known here.** {reached}"
    return (
        "**Flipped labels set a ceiling.** Whoever knew what made each label would be right in a "
        f"share {rows.best['accuracy']:.4f} of the rows on average, no classifier in more of them. "
        f"{reached}"
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
    error = 0.5 / np.sqrt(len(findings.rows.y_test))
    how = {"shapes": "the shapes of the noise", "elimination": "elimination"}[solver.method_]
    solved, learned = accuracy["parity solver"], accuracy["wide & deep"]
    return (
        f"**The class is a parity.** It is that of {size} bits of {len(solver.parity_)}, up to "
        f"flips, which the solver finds by {how}: it has an accuracy of "
        f"{solved:.4f}, {solved - learned:+.4f} against wide & deep on the same rows. Without any "
        f"one of these bits, the others tell {least:.3f} to {most:.3f} of the labels, where a coin "
        f"tells 0.5 ± {error:.3f}: where bits are added one by one, only the last of them pays. "
        "Wide & deep, which has all of them from its first step on, tells "
        f"{findings.by_heart:.3f} of the labels it learned from and {learned:.3f} of the others, "
        f"where the parity tells {solved:.3f} and the majority {accuracy['majority']:.3f}."
    )


def _error(accuracy: Array, rows: int) -> Array:
    """Standard errors of accuracies on so many rows."""
    return np.sqrt(accuracy * (1 - accuracy) / rows)
