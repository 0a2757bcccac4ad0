"""`check_estimator`: the clauses that a supervised estimator keeps."""

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from sbi_kit.checks import BadType, BadValue, expect_integer, show_names
from sbi_kit.contracts import Array, Estimator
from sbi_kit.seeds import numpy_stream
from sbi_kit.testing.forms import call, expect_result
from sbi_kit.testing.randomness import reseeded

if TYPE_CHECKING:
    import pandas as pd

_PARTS = ("fit", "predict", "score", "get_params", "set_params")
_ROWS = 60
_SEED_ADVICE = "draw every random number from a setting, such as seed"
# scikit-learn has regressors without probabilities in mind; the contract here allows both.
_NOT_HERE = {"check_regressors_no_decision_function": "a regressor may predict a class, too"}


def check_estimator(estimator: Estimator, *, seed: int = 0) -> None:
    """Check that a supervised estimator keeps its contract, and scikit-learn's.

    In this order: the parts `fit`, `predict`, `score`, `get_params`, `set_params` are there. The
    constructor names its settings one by one, and does nothing but store them, whatever they are.
    `fit` returns the estimator and leaves settings, rows, and the global random states of numpy,
    `random` and torch alone; done twice, whatever those states are, it predicts the same. There is
    one prediction for each row, of the classes if it is a classifier; probabilities have two
    columns that lie in [0, 1] and sum to one, and a classifier predicts the more probable class.
    Gaps and categories are learned from and predicted if scikit-learn's tags of the input allow
    them. Refused, by a `ValueError` or `TypeError` that says something: prediction before `fit` and
    of a column less, targets for fewer rows, and a missing target. Then scikit-learn's own checks
    pass, those that apply.

    The rows are of three numbers, and of what is allowed besides; a classifier is given two classes
    of text. An estimator that learns only from rows of a special form cannot be checked so.

    Args:
        estimator: The estimator; it stays as it is, and clones of it are fitted.
        seed: Seed of the rows.

    Raises:
        BadInput: A clause is broken; as `BadType` or `BadValue`.

    >>> from sbi_kit.supervised import MultiTask
    >>> check_estimator(MultiTask(lam=1e-4, quantiles=()))
    """
    seed = expect_integer("seed", seed, low=0)
    absent = [part for part in _PARTS if not hasattr(estimator, part)]
    if absent:
        got = f"one without {show_names(absent)}"
        do = "add what is missing, or inherit from sklearn.base.BaseEstimator"
        raise BadType(f"an estimator with {show_names(_PARTS)}", got, do)
    _check_constructor(estimator)
    x, y = _rows(estimator, numpy_stream(seed, "check: rows"))
    _check_fit(estimator, x, y)
    _check_predictions(_fitted(estimator, x, y), x)
    _check_gaps_and_categories(estimator, x, y)
    _check_refusals(estimator, x, y)
    _check_with_scikit_learn(estimator)


def _check_constructor(estimator: Any) -> None:
    """The constructor stores what it is given, under its own names, and looks at nothing."""
    kind: Callable[..., Any] = type(estimator)
    parameters = list(inspect.signature(kind).parameters.values())
    loose = [str(one) for one in parameters if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    if loose:
        got = show_names(loose)
        raise BadType(f"settings of {kind.__name__} by name", got, "list each with its default")
    settings = {one.name: object() for one in parameters}
    built = call("a constructor that only stores", partial(kind, **settings))
    for name, value in settings.items():
        if getattr(built, name, None) is not value:
            got = f"another {name!r} than was passed"
            raise BadValue("a constructor that only stores", got, "validate and convert in fit")


def _rows(estimator: Any, rng: np.random.Generator) -> tuple["pd.DataFrame", Any]:
    """Complete rows of three numbers, and a number or a class that they tell."""
    import pandas as pd

    x = pd.DataFrame(rng.standard_normal((_ROWS, 3)), columns=["height", "width", "depth"])
    y = x["height"] - x["width"] + 0.1 * rng.standard_normal(_ROWS)
    target = y.to_numpy()
    return x, np.where(target > 0, "large", "small") if _classifies(estimator) else target


def _check_fit(estimator: Any, x: "pd.DataFrame", y: Any) -> None:
    """Nothing but the estimator changes, and it learns the same when it is fitted again."""
    model, told = _clone(estimator), []
    before = {name: repr(value) for name, value in model.get_params().items()}
    for hidden in (1, 2):
        rows, target = x.copy(), y.copy()
        with _torch_left_alone(hidden), reseeded(hidden):
            fitted = call("fit(x, y)", partial(model.fit, rows, target))
        if fitted is not model:
            got = "None" if fitted is None else f"another {type(fitted).__name__}"
            raise BadType("fit to return the estimator itself", got, "return self")
        if not rows.equals(x) or not np.array_equal(target, y):
            raise BadValue("fit to leave x and y alone", "changed rows", "work on a copy")
        told.append(_told(model, x))
    changed = [name for name, value in model.get_params().items() if repr(value) != before[name]]
    if changed:
        got = f"another {changed[0]!r} after fit"
        raise BadValue("settings as they were set", got, "keep what is learned in names with _")
    told.append(_told(_fitted(estimator, x, y), x))
    for name, first in told[0].items():
        with_nan = first.dtype.kind == "f"
        if any(not np.array_equal(first, one[name], equal_nan=with_nan) for one in told[1:]):
            do = f"begin anew in fit, and {_SEED_ADVICE}"
            raise BadValue(f"the same from {name} when fitted again", "something else", do)


def _check_predictions(model: Any, x: "pd.DataFrame") -> None:
    """One for each row, and probabilities that are some."""
    found = _told(model, x)
    predicted = found["predict"]
    if np.shape(predicted) != (len(x),):
        got = f"{np.shape(predicted)}"
        raise BadValue(f"predict of {len(x)} rows to return one of each", got, "return (rows,)")
    if not _classifies(model):
        expect_result(f"predict of {len(x)} rows", predicted, (len(x),))
        _expect_finite("predict", predicted)
    if "predict_proba" not in found:
        return
    p = found["predict_proba"]
    expect_result(f"predict_proba of {len(x)} rows", p, (len(x), 2))
    _expect_finite("predict_proba", p)
    if p.min() < 0 or p.max() > 1 or np.abs(p.sum(axis=1) - 1).max() > 1e-6:
        got = f"values in [{p.min():.3g}, {p.max():.3g}], sums up to {p.sum(axis=1).max():.3g}"
        raise BadValue("probabilities in [0, 1] that sum to 1", got, "repair predict_proba")
    if _classifies(model):
        clear = np.abs(p[:, 1] - 0.5) > 1e-6
        likely = np.asarray(model.classes_)[p.argmax(axis=1)]
        if (likely != predicted)[clear].any():
            got = "another"
            raise BadValue("predict to say the more probable class", got, "repair one of the two")


def _check_gaps_and_categories(estimator: Any, x: "pd.DataFrame", y: Any) -> None:
    """What the tags allow is learned from, and predicted in rows that hold what was never seen."""
    allowed = _tags(estimator).input_tags
    more = x.copy()
    if allowed.allow_nan:
        more.loc[::5, "width"] = np.nan
    if allowed.categorical and allowed.string:
        more["city"] = np.where(x["depth"] > 0, "Ames", "Boone")
        more.loc[::7, "city"] = None if allowed.allow_nan else "Nevada"
    if more.equals(x):
        return
    what = "gaps and categories" if "city" in more else "gaps"
    model = _clone(estimator)
    call(f"fit of rows with {what}, which the tags allow,", partial(model.fit, more, y))
    fresh = more.copy()
    if "city" in fresh:
        fresh.loc[1, "city"] = "Oslo"
    for name, found in _told(model, fresh).items():
        if len(found) != len(x):
            got = f"{len(found)} for {len(x)}"
            raise BadValue(f"{name} for every row with {what}", got, "drop no row")
        if found.dtype.kind == "f":
            _expect_finite(f"{name} of rows with {what}", found)


def _check_refusals(estimator: Any, x: "pd.DataFrame", y: Any) -> None:
    model = _fitted(estimator, x, y)
    missing = np.where(np.arange(len(y)) == 3, None if _classifies(estimator) else np.nan, y)
    refusals: dict[str, Callable[[], Any]] = {
        "predict before fit": partial(_clone(estimator).predict, x),
        "predict of a column less than was fitted": partial(model.predict, x[["height", "width"]]),
        "fit to targets of fewer rows": partial(_clone(estimator).fit, x, y[:-1]),
        "fit to a missing target": partial(_clone(estimator).fit, x, missing),
    }
    for what, function in refusals.items():
        _expect_refusal(what, function)


def _check_with_scikit_learn(estimator: Any) -> None:
    """scikit-learn's own checks, on clones."""
    from sklearn.utils.estimator_checks import check_estimator as check

    state = np.random.get_state()  # noqa: NPY002
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check(
            _clone(estimator), on_fail=None, on_skip=None, expected_failed_checks=_NOT_HERE
        )
    np.random.set_state(state)  # noqa: NPY002
    failed = [one for one in found if one["status"] == "failed"]
    if failed:
        error = failed[0]["exception"]
        text = " ".join(f"{failed[0]['check_name']} ({type(error).__name__}: {error})".split())
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        wanted = f"{type(estimator).__name__} to pass scikit-learn's own checks"
        raise BadValue(wanted, f"a failure of {text}{more}", "see what they ask for")


def _told(model: Any, x: "pd.DataFrame") -> dict[str, Any]:
    """All that it predicts, by method."""
    acts = [act for act in ("predict", "predict_proba") if hasattr(model, act)]
    return {
        act: np.asarray(call(f"{act}(x)", partial(getattr(model, act), x.copy()))) for act in acts
    }


def _fitted(estimator: Any, x: "pd.DataFrame", y: Any) -> Any:
    return call("fit(x, y)", partial(_clone(estimator).fit, x.copy(), y.copy()))


def _clone(estimator: Any) -> Any:
    from sklearn.base import clone

    return call("a constructor that takes what get_params returns", partial(clone, estimator))


def _tags(estimator: Any) -> Any:
    from sklearn.utils import get_tags

    return get_tags(estimator)


def _classifies(estimator: Any) -> bool:
    from sklearn.base import is_classifier

    return bool(is_classifier(estimator))


@contextmanager
def _torch_left_alone(seed: int) -> Iterator[None]:
    """Seed torch's global generator, refuse that it be used, and put it back; if torch is there."""
    torch = sys.modules.get("torch")  # judges import no torch; who uses it has imported it
    if torch is None:
        yield
        return
    before = torch.get_rng_state()
    torch.manual_seed(seed)
    started = torch.get_rng_state()
    try:
        yield
        if not torch.equal(started, torch.get_rng_state()):
            got = "a change of torch's global random state"
            raise BadValue("the global generators left alone", got, _SEED_ADVICE)
    finally:
        torch.set_rng_state(before)


def _expect_finite(name: str, found: Array) -> None:
    if not np.isfinite(found).all():
        raise BadValue(f"finite numbers from {name}", "NaN or infinity", "repair it")


def _expect_refusal(what: str, function: Callable[[], Any]) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function()
    except (ValueError, TypeError) as error:
        if str(error).strip():
            return
        got = f"an empty {type(error).__name__}"
        raise BadValue(f"an error from {what} that says why", got, "add a sentence") from error
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        do = "refuse it with one sentence"
        raise BadType(
            f"a ValueError or TypeError from {what}", " ".join(got.split()), do
        ) from error
    raise BadValue(f"an error from {what}", "none", "refuse it with one sentence")
