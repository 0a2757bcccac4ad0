"""How well a number, its quantiles and a class were predicted, always beside knowing nothing.

R^2 and RMSE judge the mean, pinball losses the quantiles, and accuracy, precision, recall, F1 and
the area under the ROC curve (AUC) the class. The baseline predicts for every row what is best
without features: mean, quantiles, and the more frequent class. Its R^2 is 0 but for what training
and test rows differ in, its accuracy the share of that class, its AUC 1/2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn import metrics

from sbi_kit.contracts import Array
from sbi_kit.supervised.lesson import as_classes

_BINS = 10  # of a calibration curve


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is said of each row.

    Attributes:
        mean: Expected target, shape (rows,).
        probability: Probability of class 1, shape (rows,).
        quantiles: Quantiles of the target by their level, each of shape (rows,).
    """

    mean: Array
    probability: Array
    quantiles: Mapping[float, Array]


@dataclass(frozen=True, eq=False)
class Calibration:
    """How often class 1 came where it was said to.

    Attributes:
        said: Mean probability in each bin of rows with like probabilities, shape (bins,).
        seen: Share of class 1 among them, shape (bins,).
        error: Standard error of `seen` if what was said is right, shape (bins,).
    """

    said: Array
    seen: Array
    error: Array


def scores(y: Array, labels: Array, prediction: Prediction) -> dict[str, float]:
    """All scores by name: R2, RMSE, accuracy, precision, recall, F1, AUC, pinball .1 and so on.

    Args:
        y: Target, shape (rows,).
        labels: Classes 0 and 1, shape (rows,).
        prediction: What was said of these rows.

    Returns:
        The scores; precision is 0 where class 1 was never predicted, and AUC is NaN where there is
        only one class.
    """
    classes = as_classes(prediction.probability)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        labels, classes, average="binary", zero_division=0.0
    )
    found = {
        "R2": metrics.r2_score(y, prediction.mean) if len(y) > 1 else np.nan,
        "RMSE": np.sqrt(np.mean((y - prediction.mean) ** 2)),
        "accuracy": np.mean(labels == classes),
        "precision": precision,
        "recall": recall,
        "F1": f1,
        "AUC": area_under_curve(labels, prediction.probability),
    }
    for tau, quantile in prediction.quantiles.items():
        found[f"pinball {tau:g}"] = metrics.mean_pinball_loss(y, quantile, alpha=tau)
    return {name: float(value) for name, value in found.items()}


def area_under_curve(labels: Array, ranking: Array) -> float:
    """How often a row of class 1 ranks above one of class 0; NaN where there is only one class."""
    if labels.min() == labels.max():
        return np.nan
    return float(metrics.roc_auc_score(labels, ranking))


def baseline(y: Array, labels: Array, rows: int, quantiles: Sequence[float]) -> Prediction:
    """What training rows tell of any others without their features."""
    return Prediction(
        np.full(rows, y.mean()),
        np.full(rows, labels.mean()),
        {tau: np.full(rows, np.quantile(y, tau)) for tau in quantiles},
    )


def calibration(labels: Array, probability: Array) -> Calibration:
    """Compare probabilities with frequencies in ten bins of equally many rows, or fewer."""
    order = np.argsort(probability, kind="stable")
    bins = [part for part in np.array_split(order, _BINS) if len(part)]
    said = np.array([probability[part].mean() for part in bins])
    seen = np.array([labels[part].mean() for part in bins])
    spread = np.array([np.sum(probability[b] * (1 - probability[b])) / len(b) ** 2 for b in bins])
    return Calibration(said, seen, np.sqrt(spread))
