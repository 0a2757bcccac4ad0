"""`check_estimator` accepts what keeps the contract and names the clause that is broken."""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.utils.validation import check_is_fitted, validate_data

from sbi_kit.checks import BadType, BadValue
from sbi_kit.supervised import FullyConnected, MultiTask, MultiTaskNetwork, WideDeep
from sbi_kit.testing import check_estimator


class Plane(RegressorMixin, BaseEstimator):
    """Ridge regression, written without the package; the base of the broken ones."""

    def __init__(self, *, strength=1e-6):
        self.strength = strength

    def fit(self, x, y):
        x, y = validate_data(self, x, y, y_numeric=True, dtype=np.float64)
        self.centre_, self.mean_ = x.mean(axis=0), y.mean(axis=0)
        square = (x - self.centre_).T @ (x - self.centre_) + self.strength * np.eye(x.shape[1])
        self.weights_ = np.linalg.solve(square, (x - self.centre_).T @ (y - self.mean_))
        return self

    def predict(self, x):
        check_is_fitted(self)
        x = validate_data(self, x, reset=False, dtype=np.float64)
        return (x - self.centre_) @ self.weights_ + self.mean_


class Means(ClassifierMixin, BaseEstimator):
    """The class of the nearer mean; the base of the broken ones."""

    def __init__(self, *, sharpness=1.0):
        self.sharpness = sharpness

    def fit(self, x, y):
        x, y = validate_data(self, x, y, dtype=np.float64)
        if y.dtype.kind == "f" and (y != np.round(y)).any():
            raise ValueError("Unknown label type: continuous")
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError("two classes at least, please; got one class")
        self.means_ = np.stack([x[y == name].mean(axis=0) for name in self.classes_])
        return self

    def predict_proba(self, x):
        check_is_fitted(self)
        x = validate_data(self, x, reset=False, dtype=np.float64)
        nearness = -self.sharpness * np.square(x[:, None] - self.means_).sum(axis=2)
        odds = np.exp(nearness - nearness.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def predict(self, x):
        nearest = self.predict_proba(x).argmax(axis=1)
        return self.classes_[nearest]


def test_good_ones_pass_and_stay_as_they_are():
    states = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    for model in (Plane(), Means()):
        check_estimator(model, seed=3)
        assert set(vars(model)) == set(model.get_params())
    assert (np.random.get_state()[1] == states[0]).all()  # noqa: NPY002
    assert (torch.get_rng_state() == states[1]).all()


def test_those_of_scikit_learn_pass():
    check_estimator(HistGradientBoostingClassifier(max_iter=5, random_state=0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        MultiTask(lam=1e-4),
        MultiTaskNetwork(steps=60, batch_size=32, learning_rate=0.02, width=16, dropout=0.0),
        WideDeep(steps=100, batch_size=32, deep=(32, 16)),
        FullyConnected(steps=100, batch_size=32, deep=(32, 16)),
    ],
    ids=lambda model: type(model).__name__,
)
def test_those_of_the_package_pass(model):
    check_estimator(model)


def variant(base, **parts):
    return type("Broken", (base,), parts)()


def init_loose(self, **settings):
    self.strength = settings.get("strength", 1.0)


def init_checks(self, *, strength=1.0):
    self.strength = float(strength)


def init_converts(self, *, strength=1.0):
    self.strength = strength if isinstance(strength, float) else 1.0


def fit_none(self, x, y):
    Plane.fit(self, x, y)


def fit_in_place(self, x, y):
    Plane.fit(self, x, y)
    x -= 1
    return self


def fit_by_global_noise(self, x, y):
    Plane.fit(self, x, y)
    self.mean_ += 1e-3 * np.random.random()  # noqa: NPY002
    return self


def fit_by_torch(self, x, y):
    Plane.fit(self, x, y)
    self.mean_ += 1e-3 * torch.rand(()).item()
    return self


def fit_unseeded(self, x, y):
    Plane.fit(self, x, y)
    self.mean_ += 1e-3 * np.random.default_rng().random()
    return self


def fit_on(self, x, y):
    """It goes on from where the last fit ended."""
    before = getattr(self, "mean_", 0.0)
    Plane.fit(self, x, y)
    self.mean_ += before
    return self


def fit_sets(self, x, y):
    Plane.fit(self, x, y)
    self.strength = 2.0
    return self


def fit_drops_gaps(self, x, y):
    kept = np.isfinite(np.asarray(x, dtype=float)).all(axis=1)
    return Plane.fit(self, x[kept], np.asarray(y)[kept])


def predict_narrow(self, x):
    """What is absent is zero."""
    if hasattr(x, "reindex") and hasattr(self, "mean_"):
        x = x.reindex(columns=self.feature_names_in_, fill_value=0.0)
    return Plane.predict(self, x)


def fit_missing(self, x, y):
    return Plane.fit(self, x, np.nan_to_num(y))


def fit_shorter(self, x, y):
    return Plane.fit(self, x[: len(y)], y)


def predict_early(self, x):
    return Plane.predict(self, x) if hasattr(self, "mean_") else np.zeros(len(x))


def predict_silently(self, x):
    if not hasattr(self, "mean_"):
        raise ValueError
    return Plane.predict(self, x)


def predict_by_key(self, x):
    if not hasattr(self, "mean_"):
        raise KeyError("mean_")
    return Plane.predict(self, x)


def allow_gaps(base):
    def tags(self):
        found = base.__sklearn_tags__(self)
        found.input_tags.allow_nan = True
        return found

    return tags


def test_parts_are_asked_for():
    with pytest.raises(BadType, match=r"got one without predict, score; add what is missing"):
        check_estimator(type("Half", (BaseEstimator,), {"fit": None})())
    with pytest.raises(BadValue, match="seed"):
        check_estimator(Plane(), seed=-1)


BROKEN = {
    "loose settings": (Plane, {"__init__": init_loose}, BadType, r"by name; got \*\*settings"),
    "checking constructor": (
        Plane,
        {"__init__": init_checks},
        BadValue,
        "a constructor that only stores to run; got TypeError: float",
    ),
    "converting constructor": (
        Plane,
        {"__init__": init_converts},
        BadValue,
        "a constructor that only stores; got another 'strength' than was passed",
    ),
    "nothing returned": (Plane, {"fit": fit_none}, BadType, "the estimator itself; got None"),
    "rows changed": (Plane, {"fit": fit_in_place}, BadValue, "leave x and y alone; got changed"),
    "numpy's generator": (Plane, {"fit": fit_by_global_noise}, BadValue, "global random state"),
    "torch's generator": (Plane, {"fit": fit_by_torch}, BadValue, "torch's global random state"),
    "no seed": (Plane, {"fit": fit_unseeded}, BadValue, "same from predict when fitted again"),
    "memory": (Plane, {"fit": fit_on}, BadValue, "same from predict when fitted again"),
    "setting changed": (Plane, {"fit": fit_sets}, BadValue, "got another 'strength' after fit"),
    "a column of predictions": (
        Plane,
        {"predict": lambda self, x: Plane.predict(self, x)[:, None]},
        BadValue,
        r"one of each; got \(60, 1\)",
    ),
    "NaN": (
        Plane,
        {"predict": lambda self, x: np.log(0 * Plane.predict(self, x) - 1)},
        BadValue,
        "finite numbers from predict; got NaN",
    ),
    "odds": (
        Means,
        {"predict_proba": lambda self, x: 2 * Means.predict_proba(self, x)},
        BadValue,
        r"in \[0, 1\] that sum to 1; got values in .*sums up to 2",
    ),
    "the less probable": (
        Means,
        {"predict": lambda self, x: self.classes_[self.predict_proba(x).argmin(axis=1)]},
        BadValue,
        "predict to say the more probable class; got another",
    ),
    "gaps that are not": (
        Plane,
        {"__sklearn_tags__": allow_gaps(Plane)},
        BadValue,
        "fit of rows with gaps, which the tags allow, to run; got ValueError: .*NaN",
    ),
    "gaps left unpredicted": (
        Plane,
        {"__sklearn_tags__": allow_gaps(Plane), "fit": fit_drops_gaps},
        BadValue,
        r"predict\(x\) to run; got ValueError: .*NaN",
    ),
    "early": (Plane, {"predict": predict_early}, BadValue, "error from predict before fit; got n"),
    "silent": (Plane, {"predict": predict_silently}, BadValue, "that says why; got an empty Val"),
    "key": (Plane, {"predict": predict_by_key}, BadType, "from predict before fit; got KeyError"),
    "another column less": (
        Plane,
        {"predict": predict_narrow},
        BadValue,
        "an error from predict of a column less than was fitted; got none",
    ),
    "missing target": (Plane, {"fit": fit_missing}, BadValue, "fit to a missing target; got none"),
    "fewer targets": (Plane, {"fit": fit_shorter}, BadValue, "fit to targets of fewer rows; got n"),
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_broken_ones_are_named(what):
    base, parts, error, message = BROKEN[what]
    with pytest.raises(error, match=message):
        check_estimator(variant(base, **parts))


class Neighbourly(Plane):
    """A row's prediction depends on the rows beside it."""

    def predict(self, x):
        told = super().predict(x)
        return told - told.mean()


class Grown(Plane):
    """Its constructor sets more than its settings."""

    def __init__(self, *, strength=1e-6):
        self.strength = strength
        self.used = 0


@pytest.mark.parametrize(
    ("model", "failed"),
    [(Neighbourly(), "check_methods_subset"), (Grown(), "check_no_attributes_set_in_init")],
)
def test_what_scikit_learn_finds_is_named(model, failed):
    sentence = rf"to pass scikit-learn's own checks; got a failure of {failed}.*see what they ask"
    with pytest.raises(BadValue, match=sentence):
        check_estimator(model)


def test_randomness_without_a_seed_is_named():
    with pytest.raises(BadValue, match=r"global generators left alone|when fitted again"):
        check_estimator(RandomForestClassifier(n_estimators=3))
