"""What `sbi-kit fit` shows and writes of a number to predict: tables, figures, what limits it.

Every sentence has its numbers from `sbi_kit.labelled`, each beside its baseline.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from sbi_kit import console, study_folder
from sbi_kit.labelled import SHUFFLES, Findings
from sbi_kit.supervised.conditioning import Conditioning
from sbi_kit.supervised.lesson import read_labels
from sbi_kit.supervised.scores import calibration
from sbi_kit.supervised.selection import regularisation_path

_FIGURES = {
    "path": (
        "Weights of the joint model against the strength of the penalty; the dotted line is the "
        "strength that was used, and the names are those of the largest weights at the right."
    ),
    "importances": "The columns that count most, all indicators of a category together.",
    "calibration": study_folder.CALIBRATION.format("the joint model"),
}
_COLUMNS = (
    "Columns: joint, both tasks in one linear model; each alone, a linear model for each task "
    "with the penalty that is best for it; network, one trunk for both tasks; networks alone, "
    "one for each; baseline, mean, quantiles and majority of the training rows."
)
_LOSS = (
    "Loss / baseline: squared error and cross-entropy on rows left out of the training, each over "
    "that of the baseline, the mean of both; settings are chosen by it."
)


def show(findings: Findings) -> None:
    """The tables, on the terminal."""
    study_folder.show(_tables(findings))


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


def write(findings: Findings, folder: Path) -> None:
    """Write models, tables, figures and the page into a directory."""
    from sbi_kit import plots

    rows, model = findings.rows, findings.model
    tables = {
        "scores": findings.table.rename_axis("name"),
        "importances": model.importances_.rename_axis("name"),
    }
    notes = [_COLUMNS, *study_folder.left_out(rows.left_out)]
    if findings.selection is not None:
        tables["choices"] = findings.selection.table
        notes.insert(0, _LOSS)
    with console.at_work("writing", "models along a path of penalties"):
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
    text = study_folder.page(
        f"A number and a class from {rows.name}",
        _tables(findings),
        notes=notes,
        limits=_understanding(findings),
        figures=_FIGURES,
    )
    models = {study_folder.MODEL: model, study_folder.NETWORK: findings.network}
    study_folder.write(folder, models=models, tables=tables, figures=figures, text=text)


def _understanding(findings: Findings) -> list[str]:
    """What the numbers mean, each beside its baseline."""
    rows, table = findings.rows, findings.table
    joint, base = table["joint"], table["baseline"]
    models = table.drop(columns=["baseline", "best possible"], errors="ignore")
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
            f"noise. The best of these models reaches R2 {models.loc['R2'].max():.3f}, the best "
            f"AUC is {models.loc['AUC'].max():.3f}, and the ceiling is about there or above; the "
            f"baseline has {base['R2']:.3f} and {base['AUC']:.3f}."
        )
    return [ceiling, _sharing(findings), _unrelated(findings), _conditioned(findings.hessian)]


def _sharing(findings: Findings) -> str:
    table, model = findings.table, findings.model
    joint, network, apart = (table[name] for name in ("joint", "network", "networks alone"))
    same = f"differ by at most {findings.apart:.0e}" if findings.apart else "are the same"
    told = "which shows here" if findings.by_target > joint["AUC"] else "which does not show here"
    return (
        "**Separate linear heads share nothing.** Their objective is a sum of two in which no "
        "weight occurs twice, so its minimum is that of each task alone, under the penalty "
        f"λ/α = {model.lam / model.alpha:.3g} or λ/β = {model.lam / model.beta:.3g}: fitted alone, "
        f"weights {same}. The heads of the network have a trunk in common: trained together they "
        f"reach R2 {network['R2']:.3f} and AUC {network['AUC']:.3f}, "
        f"each alone {apart['R2']:.3f} and {apart['AUC']:.3f}, where the baseline has "
        f"{table['baseline']['R2']:.3f} and {table['baseline']['AUC']:.3f}. As the class says only "
        "on which side of a threshold the target lies, it tells less of a row than the target "
        f"does, {told}: ranked by the predicted target, rows have an AUC of "
        f"{findings.by_target:.3f}, ranked by the class's own head {joint['AUC']:.3f}."
    )


def _unrelated(findings: Findings) -> str:
    own, free = findings.shuffled
    joint, base = findings.table["joint"], findings.table["baseline"]
    return (
        "**What a target unrelated to the features looks like.** With the training targets "
        f"shuffled among rows, the same model has on new rows, as a mean of {SHUFFLES} times, "
        f"R2 {own['R2']:.3f} and AUC {own['AUC']:.3f}, and with hardly any penalty R2 "
        f"{free['R2']:.3f} and AUC {free['AUC']:.3f}: noise learned by heart makes R2 negative and "
        "leaves the AUC near one half, on either side of it. The unshuffled "
        f"model has {joint['R2']:.3f} and {joint['AUC']:.3f}, the baseline {base['R2']:.3f} and "
        f"{base['AUC']:.3f}. Where a table shows a negative R2 beside an AUC of one half, look "
        "first whether features and targets belong to the same rows."
    )


def _conditioned(found: Conditioning) -> str:
    apart = [_plain(found.regression), _plain(found.classification)]
    both = " and ".join(apart) if len(set(apart)) == 2 else f"both {apart[0]}"
    return (
        "**How well-posed it is.** For weights that both tasks share and a penalty of squares "
        "alone, the Hessian α H_r + β H_c + 2 λ I has the condition number "
        f"{_plain(found.joint)}, within Weyl's bounds of {_plain(found.lower)} and "
        f"{_plain(found.upper)}. Those of H_r and H_c are {both}: condition numbers do not add. "
        "Without the penalty it would be infinite where a category's indicators sum to one."
    )


def _plain(value: float) -> str:
    """Three digits of a number of at least 1, thousands without an exponent.

    >>> [_plain(value) for value in (9.876, 1_418.3, 2.5e9, np.inf)]
    ['9.88', '1,420', '2.5e+09', 'infinite']
    """
    if np.isinf(value):
        return "infinite"
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if 100 <= rounded < 1e7 else f"{rounded:g}"
