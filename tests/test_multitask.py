"""The multi-task estimator: known minimisers, gaps and categories, scores against their best."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import Lasso, LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import check_estimator

from sbi_kit.checks import BadType, BadValue
from sbi_kit.contracts import Estimator
from sbi_kit.seeds import numpy_stream
from sbi_kit.supervised.columns import GAP, learn_columns
from sbi_kit.supervised.conditioning import conditioning
from sbi_kit.supervised.multitask import MultiTask
from sbi_kit.supervised.proximal import Penalty
from sbi_kit.supervised.scores import Prediction, baseline, calibration, scores
from sbi_kit.supervised.selection import cross_validate, regularisation_path
from simulators.housing import Housing


def houses(rows, seed=1, **settings):
    model = Housing(**settings)
    frame = model.generate(rows, np.random.default_rng(seed))
    return model, frame[list(model.features)], frame["SalePrice"].to_numpy()


def table(rows=240, seed=0):
    """Numbers with gaps, categories with gaps, a target and what made it."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "area": rng.normal(100, 20, rows),
            "rooms": rng.integers(1, 6, rows),
            "city": rng.choice(["Ames", "Boone", "Nevada"], rows),
            "quality": pd.Categorical(rng.choice(list("abc"), rows), ordered=True),
        }
    )
    y = frame["area"] + 10 * frame["rooms"] + 25 * (frame["city"] == "Boone")
    y += rng.normal(0, 15, rows)
    frame.loc[::7, "area"] = np.nan
    frame.loc[::11, "city"] = None
    return frame, y.to_numpy()


# The joint objective


def joint_minimiser(x, y, labels, *, alpha, beta, lam, rho, steps=60_000):
    """All weights of both heads at once, by plain accelerated proximal gradient steps."""
    n, p = x.shape
    full = np.column_stack([x, np.ones(n)])
    curvature = max(2 * alpha, beta / 4) * np.linalg.norm(full, 2) ** 2 / n + 2 * lam
    theta = ahead = np.zeros(2 * (p + 1))
    momentum = 1.0
    free = np.r_[np.ones(p), 0, np.ones(p), 0]  # intercepts bear no penalty
    for _ in range(steps):
        eta_r, eta_c = full @ ahead[: p + 1], full @ ahead[p + 1 :]
        slope_r = 2 * alpha * full.T @ (eta_r - y) / n
        slope_c = beta * full.T @ (1 / (1 + np.exp(-eta_c)) - labels) / n
        slope = np.r_[slope_r, slope_c] + 2 * lam * (1 - rho) * free * ahead
        moved = ahead - slope / curvature
        shrunk = np.maximum(np.abs(moved) - lam * rho * free / curvature, 0) * np.sign(moved)
        if (shrunk - theta) @ (ahead - shrunk) > 0:  # restart where momentum leads uphill
            momentum = 1.0
        after = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = shrunk + (momentum - 1) / after * (shrunk - theta)
        done = np.abs(shrunk - theta).max() < 1e-15
        theta, momentum = shrunk, after
        if done:
            break
    return theta[:p], theta[p + 1 : -1]


SETTINGS = [
    {"alpha": 1.0, "beta": 1.0, "lam": 0.03, "rho": 1.0},
    {"alpha": 0.3, "beta": 2.0, "lam": 0.01, "rho": 0.4},
    {"alpha": 2.0, "beta": 0.5, "lam": 0.02, "rho": 0.0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_joint_minimiser_is_that_of_each_task_alone(settings):
    frame, y = table()
    model = MultiTask(**settings, quantiles=()).fit(frame, y)
    x, z = model.columns_(frame), (y - y.mean()) / y.std()
    labels = (y > model.threshold_).astype(float)
    alpha, beta, lam, rho = settings.values()
    regression, classification = joint_minimiser(x, z, labels, **settings)
    assert model.regression_.weights == pytest.approx(regression, abs=1e-8)
    assert model.classification_.weights == pytest.approx(classification, abs=1e-8)
    alone = MultiTask(lam=lam / alpha, rho=rho, quantiles=()).fit(frame, y)
    assert alone.regression_.weights == pytest.approx(regression, abs=1e-8)
    alone = MultiTask(lam=lam / beta, rho=rho, quantiles=()).fit(frame, y)
    assert alone.classification_.weights == pytest.approx(classification, abs=1e-8)


def test_single_tasks_are_lasso_ridge_and_logistic_regression():
    frame, y = table()
    alpha, beta, lam = 0.5, 2.0, 0.02
    for rho in (1.0, 0.0):
        model = MultiTask(alpha=alpha, beta=beta, lam=lam, rho=rho, quantiles=()).fit(frame, y)
        x, z = model.columns_(frame), (y - y.mean()) / y.std()
        peer = (
            Lasso(alpha=lam / alpha / 2, tol=1e-14, max_iter=100_000)
            if rho
            else Ridge(alpha=len(y) * lam / alpha, solver="cholesky")
        )
        peer.fit(x, z)
        assert model.regression_(x) == pytest.approx(peer.predict(x), abs=1e-8)
    peer = LogisticRegression(C=beta / (2 * lam * len(y)), solver="newton-cholesky", tol=1e-12)
    peer.fit(x, y > model.threshold_)
    assert model.classification_.weights == pytest.approx(peer.coef_[0], abs=1e-8)


def test_hessian_of_the_squared_norm_is_twice_the_identity():
    square = Penalty(1.0, 0.0)
    unit = np.eye(3)
    # Second differences of a quadratic are exact.
    hessian = [
        [square(a + b) - square(a - b) - square(b - a) + square(-a - b) for a in unit] for b in unit
    ]
    assert np.array(hessian) / 4 == pytest.approx(2 * unit)
    x, nothing = np.zeros((5, 3)), np.full(5, 0.5)
    found = conditioning(x, nothing, alpha=1, beta=1, lam=0.7)
    assert (found.smallest, found.largest) == pytest.approx((1.4, 1.4))


def test_condition_numbers_do_not_add_but_weyls_bounds_hold():
    # Rows that the class is sure of tell the classification nothing, so its Hessian can be steep
    # where that of the regression is flat.
    x = np.diag([10.0, 1.0]) * np.sqrt(2)
    found = conditioning(x, np.array([0.0005, 0.5]), alpha=1, beta=1, lam=0)
    assert found.regression == pytest.approx(100)
    assert found.joint < 0.9 * (found.regression + found.classification)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((30, 4)) * rng.gamma(1, 1, 4)
        p = rng.random(30)
        alpha, beta, lam = rng.gamma(1, 1, 3)
        found = conditioning(x, p, alpha=alpha, beta=beta, lam=lam)
        hessian = 2 * alpha * x.T @ x / 30 + beta * x.T @ np.diag(p * (1 - p)) @ x / 30
        assert found.joint == pytest.approx(np.linalg.cond(hessian + 2 * lam * np.eye(4)))
        assert found.lower <= found.joint * (1 + 1e-12)
        assert found.joint <= found.upper * (1 + 1e-12)
    alone = conditioning(x, p, alpha=1, beta=0, lam=0)
    assert alone.lower == pytest.approx(alone.joint) == pytest.approx(alone.upper)
    flat = conditioning(np.ones((4, 2)), np.full(4, 0.5), alpha=1, beta=1, lam=0)
    assert flat.joint == np.inf
    with pytest.raises(BadValue, match="a probability between 0 and 1 for each row"):
        conditioning(x, p + 1, alpha=1, beta=1, lam=0)


# Housing


@pytest.mark.parametrize(("r_squared", "rows"), [(0.5, 20_000), (0.9, 8_000)])
def test_auc_is_close_to_the_best_possible(r_squared, rows):
    model, x, y = houses(rows + 8_000, r_squared=r_squared)
    complete, whole, _ = houses(rows + 8_000, r_squared=r_squared, missing_share=0.0)
    found = MultiTask(lam=0.002, quantiles=()).fit(x[:rows], y[:rows])
    reached = found.evaluate(x[rows:], y[rows:])
    # The index of the same houses, nothing missing: no ranking does better, and it has their luck.
    index = complete.index(whole[rows:])
    best = roc_auc_score(y[rows:] > found.threshold_, index)
    assert best == pytest.approx(model.best_auc, abs=0.015)
    assert 0.98 <= reached["AUC"] / best < 1
    assert reached["R2"] < r_squared


def test_a_target_unrelated_to_the_features_is_predicted_by_chance():
    _, x, y = houses(9_000, r_squared=0.0)
    found = MultiTask(lam=1e-4, quantiles=()).fit(x[:1_000], y[:1_000])
    reached = found.evaluate(x[1_000:], y[1_000:])
    assert abs(reached["AUC"] - 0.5) < 4 * np.sqrt(1 / (12 * 1_600) + 1 / (12 * 6_400))
    assert reached["R2"] < -0.1  # hardly any penalty: noise is learned by heart


def test_quantiles_hold_their_share_of_new_rows_and_do_not_cross():
    _, x, y = houses(6_000, missing_share=0.0)
    found = MultiTask(lam=0.003).fit(x[:4_000], y[:4_000])
    quantiles = found.predict_quantiles(x[4_000:])
    below = np.mean(y[4_000:, None] < quantiles, axis=0)
    assert below == pytest.approx([0.1, 0.5, 0.9], abs=0.04)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    reached = found.evaluate(x[4_000:], y[4_000:])
    plain = scores(
        y[4_000:],
        (y[4_000:] > found.threshold_).astype(float),
        baseline(y[:4_000], y[:4_000] > found.threshold_, 2_000, (0.1, 0.5, 0.9)),
    )
    for tau in ("0.1", "0.5", "0.9"):
        assert reached[f"pinball {tau}"] < 0.6 * plain[f"pinball {tau}"]
    assert abs(plain["R2"]) < 0.01
    assert plain["AUC"] == 0.5
    assert plain["accuracy"] == pytest.approx(0.8, abs=0.03)


def test_importances_are_those_of_the_columns_that_make_the_price():
    model, x, y = houses(4_000, missing_share=0.0, r_squared=0.9)
    found = MultiTask(lam=0.003, quantiles=()).fit(x, y).importances_
    assert set(found.index) == set(model.features)
    strongest = sorted(model.coefficients, key=lambda name: -abs(model.coefficients[name]))
    top = found.sort_values("both", ascending=False).index[:6]
    assert set(strongest[:3]) <= set(top) <= {*strongest[:14], "GrLivArea", "TotalBsmtSF"}
    assert found["both"].sum() == pytest.approx(1)
    x1 = found.loc["OverallQual", "regression"] * y.std()
    assert x1 == pytest.approx(30_000 * np.sqrt(0.9) * model.coefficients["OverallQual"], rel=0.1)


# Tables


def test_gaps_and_categories_become_numbers_by_the_training_rows_alone():
    frame, y = table()
    columns = learn_columns(frame, fewest=5)
    assert columns.names[:2] == ("area", "rooms")
    assert f"city={GAP}" in columns.names
    x = columns(frame)
    assert x.mean(axis=0) == pytest.approx(0, abs=1e-12)
    assert x.std(axis=0) == pytest.approx(1)
    other = frame.iloc[:3].assign(area=[1e6, np.nan, 0.0], city=["Oslo", None, "Ames"])
    changed = columns(other)
    place = columns.names.index("area")
    assert changed[1, place] == pytest.approx(
        (frame["area"].median() - columns.mean[place]) / columns.scale[place]
    )
    cities = [j for j, owner in enumerate(columns.owners) if owner == "city"]
    lowest = -columns.mean[cities] / columns.scale[cities]
    assert changed[0, cities] == pytest.approx(lowest)  # never seen: no indicator
    model = MultiTask(fewest=5).fit(frame, y)
    # The same rows give the same numbers, whatever stands beside them.
    assert model.predict(other)[2] == pytest.approx(model.predict(other.iloc[2:])[0])


def test_rare_levels_have_no_indicator():
    frame = pd.DataFrame({"city": ["a"] * 8 + ["b"] * 8 + ["c"] * 2})
    assert learn_columns(frame, fewest=3).names == ("city=a", "city=b")


def test_columns_of_every_kind_are_read():
    frame, y = table()
    frame = frame.assign(
        flag=frame["rooms"] > 3,
        whole=frame["rooms"].astype("Int64").mask(frame["rooms"] == 1),
        text=frame["city"].astype("string"),
    )
    MultiTask().fit(frame, y)
    numbers = frame[["area", "rooms"]].to_numpy()
    one = MultiTask().fit(numbers, y).predict(numbers)
    two = MultiTask().fit(frame[["area", "rooms"]], y).predict(frame[["area", "rooms"]])
    assert one == pytest.approx(two)


def test_labels_can_be_given():
    frame, y = table()
    labels = (frame["rooms"] > 3).astype(int)
    model = MultiTask(lam=1e-3).fit(frame, y, labels)
    assert model.evaluate(frame, y, labels)["accuracy"] > 0.95
    with pytest.raises(BadValue, match="labels for an estimator that learned from labels"):
        model.evaluate(frame, y)


def test_class_one_is_the_share_above_the_threshold():
    frame, y = table()
    model = MultiTask(premium_share=0.25).fit(frame, y)
    assert np.mean(y > model.threshold_) == pytest.approx(0.25, abs=0.01)
    steps = np.repeat([1.0, 2.0], 120)
    model = MultiTask(premium_share=0.1).fit(frame, steps)  # half of the rows are highest
    assert np.mean(steps > model.threshold_) == 0.5


# Scores


def test_scores_are_what_they_are_called():
    y, labels = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 0.0, 1.0, 1.0])
    said = Prediction(
        np.array([1.0, 2.0, 3.0, 2.0]), np.array([0.1, 0.6, 0.7, 0.4]), {0.9: np.full(4, 3.0)}
    )
    found = scores(y, labels, said)
    assert found == pytest.approx(
        {
            "R2": 1 - 4 / 5,
            "RMSE": 1.0,
            "accuracy": 0.5,
            "precision": 0.5,
            "recall": 0.5,
            "F1": 0.5,
            "AUC": 0.75,
            "pinball 0.9": (0.1 * 2 + 0.1 * 1 + 0 + 0.9 * 1) / 4,
        }
    )
    never = scores(y, labels, Prediction(y, np.zeros(4), {}))
    assert (never["precision"], never["recall"], never["F1"]) == (0, 0, 0)
    assert np.isnan(scores(y, np.zeros(4), Prediction(y, np.zeros(4), {}))["AUC"])


def test_calibration_compares_what_was_said_with_what_came():
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    right = calibration((rng.random(20_000) < p).astype(float), p)
    assert len(right.said) == 10
    assert np.abs((right.seen - right.said) / right.error).max() < 4
    assert right.said[0] == pytest.approx(0.05, abs=0.01)
    wrong = calibration((rng.random(20_000) < p**2).astype(float), p)
    assert np.abs((wrong.seen - wrong.said) / wrong.error).max() > 10


# Cross-validation and paths


def test_cross_validation_finds_the_loss_that_a_plain_loop_finds():
    frame, y = table(120)
    grid = {"alphas": (0.5, 1.0), "lams": (0.02, 0.1), "rhos": (0.5, 1.0)}
    found = cross_validate(MultiTask(quantiles=()), frame, y, **grid, folds=3, seed=4)
    assert len(found.table) == 8
    row = found.table.iloc[3]
    losses = []
    for part in np.array_split(numpy_stream(4, "folds").permutation(120), 3):
        rest = np.setdiff1d(np.arange(120), part)
        own = MultiTask(alpha=row["alpha"], lam=row["lam"], rho=row["rho"], quantiles=())
        own.fit(frame.iloc[rest], y[rest])
        error = np.mean((y[part] - own.predict(frame.iloc[part])) ** 2)
        labels = y[part] > own.threshold_
        p = own.predict_proba(frame.iloc[part])[:, 1]
        share = np.mean(y[rest] > own.threshold_)

        def entropy(p, labels=labels):
            return -np.mean(np.where(labels, np.log(p), np.log(1 - p)))

        one = error / np.mean((y[part] - y[rest].mean()) ** 2)
        losses.append((one + entropy(p) / entropy(share)) / 2)
    assert row["loss"] == pytest.approx(np.mean(losses), rel=1e-3)
    assert row["error"] == pytest.approx(np.std(losses, ddof=1) / np.sqrt(3), rel=1e-2)
    assert found.table["loss"].is_monotonic_increasing
    assert found.model.lam == found.table["lam"][0]
    assert not hasattr(found.model, "columns_")


def test_cross_validation_prefers_what_predicts():
    noise = np.random.default_rng(0).standard_normal((240, 90))

    def wide(seed):
        frame, y = table(seed=seed)
        return pd.concat([frame, pd.DataFrame(noise).add_prefix("noise")], axis=1), y

    x, y = wide(0)
    done = []
    found = cross_validate(
        MultiTask(quantiles=()), x, y, seed=0, progress=lambda *now: done.append(now)
    )
    assert done == [(k, 5) for k in range(1, 6)]
    chosen = found.model.fit(x, y).score(*wide(1))
    overfit = MultiTask(lam=1e-5, quantiles=()).fit(x, y).score(*wide(1))
    assert chosen > overfit + 0.05


def test_path_has_the_weights_of_its_models():
    frame, y = table()
    path = regularisation_path(MultiTask(rho=0.9), frame, y)
    assert (np.diff(path.lams) < 0).all()
    own = MultiTask(rho=0.9, lam=float(path.lams[7]), quantiles=()).fit(frame, y)
    assert path.regression[7] == pytest.approx(own.regression_.weights, abs=1e-5)
    assert path.classification[7] == pytest.approx(own.classification_.weights, abs=1e-4)
    assert path.names == own.columns_.names
    assert not path.classification[0].any()
    assert path.classification[-1].any()


# scikit-learn


def test_scikit_learns_own_checks_pass():
    # Two do not apply: it says that a regressor predicts no probabilities, which this one does,
    # and arrays of other libraries are checked only where SCIPY_ARRAY_API is set. `lam` is small
    # because the checks set alpha to .01, taking it for the strength of a penalty.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(MultiTask(lam=1e-4), on_fail=None)
    bad = {result["check_name"] for result in results if result["status"] != "passed"}
    assert bad == {"check_regressors_no_decision_function", "check_array_api_input"}
    assert len(results) > 40


def test_scikit_learns_model_selection_works():
    frame, y = table()
    model = MultiTask(lam=0.01, quantiles=())
    assert isinstance(model, Estimator)
    assert clone(model).get_params() == model.get_params()
    assert cross_val_score(model, frame, y, cv=3).min() > 0.5

    def auc(estimator, x, y):
        return estimator.evaluate(x, y)["AUC"]

    search = GridSearchCV(model, {"lam": [0.01, 1.0]}, scoring=auc, cv=3).fit(frame, y)
    assert search.best_params_ == {"lam": 0.01}
    labels = (frame["rooms"] > 3).astype(int)
    GridSearchCV(model, {"rho": [0.5, 1.0]}, cv=3).fit(frame, y, labels=labels)


# What is refused


REFUSED = {
    "constant target": (lambda x, y: (x, np.ones(len(y))), "a target that varies; got 1 in all"),
    "NaN in the target": (
        lambda x, y: (x, np.where(np.arange(len(y)) == 3, np.nan, y)),
        "a target without NaN or inf; got nan in row 3",
    ),
    "too few targets": (lambda x, y: (x, y[:-1]), "one per row of features; got inconsistent 239"),
    "text as the target": (
        lambda x, y: (x, ["dear"] * len(y)),
        "numbers as the target; got 'dear'",
    ),
    "nothing varies": (
        lambda x, y: (x.assign(area=1.0, rooms=1, city="a", quality="b"), y),
        "at least one feature that varies among the training rows",
    ),
    "infinity": (
        lambda x, y: (x.assign(area=np.inf), y),
        "column 'area' without infinity; got inf in row 0",
    ),
    "dates": (
        lambda x, y: (x.assign(sold=pd.Timestamp("2010-01-01")), y),
        "numbers or categories in column 'sold'",
    ),
    "one row": (lambda x, y: (x[:1], y[:1]), "at least 2 rows to learn from"),
    "no row": (lambda x, y: (x[:0], y[:0]), "rows and features"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_learned_from_is_refused_in_one_sentence(what):
    change, sentence = REFUSED[what]
    with pytest.raises((BadType, BadValue), match=sentence):
        MultiTask().fit(*change(*table()))


def test_labels_and_settings_are_refused_in_one_sentence():
    frame, y = table()
    with pytest.raises(BadValue, match="labels of two classes; got one class, 1, in all of 240"):
        MultiTask().fit(frame, y, np.ones(240))
    with pytest.raises(BadValue, match="labels 0 and 1; got 2 in row 0"):
        MultiTask().fit(frame, y, np.full(240, 2))
    for settings, sentence in {
        ("alpha", 0.0): "alpha as a finite number > 0",
        ("beta", -1.0): "beta as a finite number > 0",
        ("lam", 0.0): "lam as a finite number > 0",
        ("rho", 1.5): r"rho as a finite number in \[0, 1\]",
        ("premium_share", 1.5): "premium_share as a finite number",
        ("quantiles", (0.1, 0.1)): "quantiles as a tuple of distinct levels",
        ("quantiles", (1.5,)): "each of quantiles as a finite number",
        ("fewest", 0): "fewest as an integer >= 1",
    }.items():
        with pytest.raises((BadType, BadValue), match=sentence):
            MultiTask(**dict([settings])).fit(frame, y)
    with pytest.raises(BadValue, match="some lams; got none"):
        cross_validate(MultiTask(), frame, y, lams=(), seed=1)
    with pytest.raises(BadValue, match="folds as an integer"):
        cross_validate(MultiTask(), frame, y, folds=1, seed=1)


def test_columns_without_use_are_named_in_a_warning():
    frame, y = table()
    with pytest.warns(UserWarning, match=r"columns that do not vary .* \(street\); they are left"):
        MultiTask().fit(frame.assign(street="Pave"), y)
    with pytest.warns(UserWarning, match=r"columns without any value .* \(pool\); they are left"):
        model = MultiTask().fit(frame.assign(pool=np.nan), y)
    assert "pool" not in model.importances_.index


def test_columns_that_changed_are_refused():
    frame, y = table()
    model = MultiTask().fit(frame, y)
    with pytest.raises(BadType, match="numbers in column 'rooms', as in training; got 'many'"):
        model.predict(frame.assign(rooms="many"))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.drop(columns="area"))
