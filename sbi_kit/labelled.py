"""What `sbi-kit fit` does with a number to predict: choose, train, score, and measure why.

Learned are the number and a class, that of the highest numbers. A fifth of the rows is kept for the
scores and seen by nothing else. Beside the joint models stand those of each task alone, the
baseline that knows no feature, and the best possible where the generator tells it. Why is measured,
too: by the same model on a shuffled target, and by the joint weights against those of each alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sbi_kit import console
from sbi_kit.checks import BadType, BadValue
from sbi_kit.contracts import Array, DataGenerator
from sbi_kit.labelled_rows import SplitRows, Task
from sbi_kit.seeds import numpy_stream
from sbi_kit.supervised.columns import matrix
from sbi_kit.supervised.conditioning import Conditioning, conditioning
from sbi_kit.supervised.lesson import read_labels, read_target
from sbi_kit.supervised.multitask import MultiTask
from sbi_kit.supervised.network import MultiTaskNetwork
from sbi_kit.supervised.scores import area_under_curve, baseline, scores
from sbi_kit.supervised.selection import Selection, cross_validate

SHUFFLES = 5  # times that a target is shuffled
_WEAK = 1e-4, 0.0  # lam and rho at which noise is learned by heart
_OF_CLASS = ("accuracy", "precision", "recall", "F1", "AUC")  # all else is of the target


def _numbers(column: "pd.Series[Any]", table: str) -> Array:
    """Numbers to predict, shape (rows,).

    Raises:
        BadType, BadValue: It holds something else, or no more than two values.
    """
    if not pd.api.types.is_numeric_dtype(column):
        got = f"{column.dtype} in {column.name!r}"
        raise BadType("a target of numbers", got, "choose another column")
    y = read_target(column.to_numpy(dtype=np.float64, na_value=np.nan), len(column))
    if 1 < len(np.unique(y)) <= 2:
        got = f"two values of {column.name!r} in {table}"
        raise BadValue("a target of many values", got, "choose another column or generator")
    return y


TASK = Task("a target", 0.2, _numbers)


def premium_share(model: DataGenerator) -> float:
    """Share of the rows that are to be in class 1, as the generator has it."""
    return float(getattr(model, "premium_share", 0.2))


@dataclass(frozen=True, eq=False)
class Findings:
    """What was found, for the tables and the page.

    Attributes:
        rows: What was learned from.
        model: The joint linear model, fitted.
        network: The network of both tasks, fitted.
        selection: How its settings were chosen, if by cross-validation.
        table: Scores, a row for each and a column for each model.
        shuffled: Mean scores of the same model where the target was shuffled, at its own penalty
            and at hardly any.
        apart: Largest difference between joint weights and those of each task alone.
        by_target: AUC of ranking by the predicted target.
        hessian: Condition of the joint Hessian for shared weights, the penalty all squares.
    """

    rows: SplitRows
    model: MultiTask
    network: MultiTaskNetwork
    selection: Selection | None
    table: pd.DataFrame
    shuffled: tuple[Mapping[str, float], Mapping[str, float]]
    apart: float
    by_target: float
    hessian: Conditioning


def study(rows: SplitRows, *, share: float, folds: int, seed: int) -> Findings:
    """Choose settings where folds are asked for, train all models and score them.

    Args:
        rows: The rows.
        share: Share of the rows to learn from that are in class 1, those of the highest target.
        folds: Folds of the cross-validation that chooses; 0 chooses nothing.
        seed: Seed of folds and networks.
    """
    start = MultiTask(lam=0.002, premium_share=share)
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
    network, of_networks = _networks(rows, share=share, seed=seed)
    columns = {
        "best possible": rows.best,
        "joint": joint,
        "each alone": _alone(rows, selection, model, joint),
        **of_networks,
        "baseline": _baseline(rows, model),
    }
    table = pd.DataFrame(columns, index=list(joint))
    if not rows.best:
        table = table.drop(columns="best possible")
    classes = read_labels(None, rows.y_test, model.threshold_)
    by_target = area_under_curve(classes, model.predict(rows.x_test))
    hessian = conditioning(
        matrix(model.columns_, rows.x),
        model.predict_proba(rows.x)[:, 1],
        alpha=model.alpha,
        beta=model.beta,
        lam=model.lam,
    )
    shuffled = _shuffled(rows, model, seed=seed)
    return Findings(
        rows, model, network, selection, table, shuffled, _apart(rows, model), by_target, hessian
    )


def _alone(
    rows: SplitRows, selection: Selection | None, model: MultiTask, joint: Mapping[str, float]
) -> dict[str, float]:
    """Scores of a linear model for each task, each with the penalty that is best for it."""
    if selection is None:
        return dict(joint)
    found: dict[str, float] = {}
    for task in ("classification", "regression"):
        best = selection.table.sort_values(task, kind="stable").iloc[0]
        own = MultiTask(premium_share=model.premium_share).set_params(
            **{name: float(best[name]) for name in ("alpha", "lam", "rho")}
        )
        reached = own.fit(rows.x, rows.y).evaluate(rows.x_test, rows.y_test)
        mine = [k for k in reached if (k in _OF_CLASS) == (task == "classification")]
        found |= {name: reached[name] for name in mine}
    return found


def _networks(
    rows: SplitRows, *, share: float, seed: int
) -> tuple[MultiTaskNetwork, dict[str, dict[str, float]]]:
    """The network with a shared trunk, its scores, and those of one for each task."""
    networks, reached = {}, {}
    for name, (alpha, beta) in {"both": (1, 1), "target": (1, 0), "class": (0, 1)}.items():
        network = MultiTaskNetwork(alpha=alpha, beta=beta, premium_share=share, seed=seed)
        with console.training_progress(f"network, {name}") as report:
            networks[name] = network.fit(rows.x, rows.y, progress=report)
        reached[name] = network.evaluate(rows.x_test, rows.y_test)
    apart = {
        name: reached["class" if name in _OF_CLASS else "target"][name] for name in reached["both"]
    }
    return networks["both"], {"network": reached["both"], "networks alone": apart}


def _baseline(rows: SplitRows, model: MultiTask) -> dict[str, float]:
    """Scores of the mean, the quantiles and the majority."""
    learned, tested = (read_labels(None, y, model.threshold_) for y in (rows.y, rows.y_test))
    said = baseline(rows.y, learned, len(rows.y_test), model.quantiles)
    return scores(rows.y_test, tested, said)


def _shuffled(
    rows: SplitRows, model: MultiTask, *, seed: int
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Mean scores where training targets belong to other rows: nothing is left to learn."""
    targets = [numpy_stream(seed, "shuffled", k).permutation(rows.y) for k in range(SHUFFLES)]
    found = []
    with console.progress("measuring") as update:
        said = ["what a shuffled target looks like"]
        update(0, 2, said)
        for done, (lam, rho) in enumerate(((model.lam, model.rho), _WEAK), 1):
            own = MultiTask(
                alpha=model.alpha, lam=lam, rho=rho, premium_share=model.premium_share, quantiles=()
            )
            each = [own.fit(rows.x, y).evaluate(rows.x_test, rows.y_test) for y in targets]
            found.append({name: float(np.mean([one[name] for one in each])) for name in each[0]})
            update(done, 2, said)
    return found[0], found[1]


def _apart(rows: SplitRows, model: MultiTask) -> float:
    """Largest difference between the joint weights and those of each task alone."""
    alone = [
        MultiTask(
            lam=model.lam / weight, rho=model.rho, premium_share=model.premium_share, quantiles=()
        )
        for weight in (model.alpha, model.beta)
    ]
    regression, classification = (own.fit(rows.x, rows.y) for own in alone)
    pairs = (
        (model.regression_, regression.regression_),
        (model.classification_, classification.classification_),
    )
    return max(float(np.abs(one.weights - other.weights).max()) for one, other in pairs)
