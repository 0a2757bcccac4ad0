"""The four models of maximum likelihood: against other solvers, by their score, and refusals."""

import math
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import root
from scipy.special import expit
from scipy.stats import multivariate_normal, norm

from sbi_kit.checks import BadType, BadValue
from sbi_kit.differences import finite_differences
from sbi_kit.mle import Bernoulli, Gaussian, Linear, Logistic, fit
from sbi_kit.mle.logistic import probability

FLIPS = [1, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1]


def correlated(n=60, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


def classes_of(x, seed=1):
    rng = np.random.default_rng(seed)
    slope = rng.normal(size=x.shape[1])
    return (rng.random(len(x)) < expit(x @ slope - 0.5)).astype(float)


# Gaussian


def test_a_gaussian_has_the_mean_and_both_covariances():
    x = correlated()
    model = Gaussian().fit(x)
    np.testing.assert_allclose(model.mean_, x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(model.covariance_, np.cov(x.T, bias=True), rtol=1e-12)
    np.testing.assert_allclose(model.unbiased_covariance_, np.cov(x.T), rtol=1e-12)
    np.testing.assert_allclose(model.variance_, x.var(axis=0), rtol=1e-12)
    np.testing.assert_allclose(model.unbiased_variance_, x.var(axis=0, ddof=1), rtol=1e-12)


def test_the_density_of_a_gaussian_is_scipys():
    x, new = correlated(), correlated(seed=5)
    model = Gaussian().fit(x)
    exact = multivariate_normal(x.mean(axis=0), np.cov(x.T, bias=True))
    np.testing.assert_allclose(model.log_prob(new), exact.logpdf(new), rtol=1e-11)
    assert model.log_likelihood_ == pytest.approx(exact.logpdf(x).sum(), rel=1e-11)
    assert model.log_likelihood(new) == pytest.approx(exact.logpdf(new).sum(), rel=1e-11)


def test_errors_of_a_gaussian_are_those_of_the_information():
    x = correlated(n=40, d=2)
    model, rows = Gaussian().fit(x), torch.from_numpy(x)

    def log_likelihood(theta):  # means, variances and covariance
        (a, b), (s, t, c) = theta[:, :2].T, theta[:, 2:].T
        covariance = torch.stack([torch.stack([s, c], -1), torch.stack([c, t], -1)], -2)
        normal = torch.distributions.MultivariateNormal(torch.stack([a, b], -1), covariance)
        return normal.log_prob(rows[:, None]).sum(0)

    one = [*model.mean_, *model.variance_, model.covariance_[0, 1]]
    found = fit(log_likelihood, np.array(one) * 1.05)
    np.testing.assert_allclose(found.values, one, rtol=1e-6)
    errors = model.covariance_standard_errors_
    expected = [*model.mean_standard_errors_, errors[0, 0], errors[1, 1], errors[0, 1]]
    np.testing.assert_allclose(found.standard_errors, expected, rtol=2e-5)
    # The same as means and log sds.
    slope = np.diag([1, 1, *(0.5 / model.variance_)])
    logs = slope @ found.covariance[:4, :4] @ slope.T
    np.testing.assert_allclose(model.estimate_.covariance, logs, rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(np.exp(2 * model.estimate_.values[2:]), model.variance_)
    assert model.estimate_.names == ("mean_x_1", "mean_x_2", "log_sd_x_1", "log_sd_x_2")


def test_a_gaussian_of_one_column_takes_plain_numbers_of_any_scale():
    x = np.array([1.0, 2.0, 3.0, 6.0])
    for shift, scale in ((0, 1), (1e9, 1), (0, 1e-12), (-1e15, 1e9)):
        moved = shift + scale * x
        model = Gaussian().fit(moved, names=["t"])
        assert model.mean_[0] == pytest.approx(shift + 3 * scale, rel=1e-12)
        assert model.variance_[0] == pytest.approx(3.5 * scale**2, rel=1e-6)
        expected = norm(3, math.sqrt(3.5)).logpdf(x).sum() - 4 * math.log(scale)
        assert model.log_likelihood(moved) == pytest.approx(expected, rel=1e-6)


def test_a_variance_is_about_the_mean_where_that_must_be_rounded():
    model = Gaussian().fit(1e15 + np.arange(11.0))
    assert model.variance_[0] == pytest.approx(10, rel=1e-9)


# Bernoulli


def test_twenty_flips():
    model = Bernoulli().fit(FLIPS)
    y, p = np.array(FLIPS), model.probability_
    assert p == 13 / 20
    assert abs(((y - p) / (p * (1 - p))).sum()) < 1e-12

    def log_likelihood(point):
        return 13 * math.log(point[0]) + 7 * math.log(1 - point[0])

    assert abs(finite_differences(log_likelihood, [p])[0]) < 1e-7
    assert model.log_likelihood_ == pytest.approx(log_likelihood([p]))
    assert model.log_likelihood([1, 0]) == pytest.approx(math.log(p * (1 - p)))
    information = -finite_differences(lambda q: finite_differences(log_likelihood, q), [p])
    assert model.standard_error_ == pytest.approx(information.item() ** -0.5, rel=1e-4)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("ones", [0, 1, 13, 20])
@pytest.mark.filterwarnings("ignore:All 20 observations")
def test_ends_of_wilsons_interval_are_z_of_their_own_errors_away(ones, level):
    low, high = Bernoulli(level=level).fit([1] * ones + [0] * (20 - ones)).interval_
    z = NormalDist().inv_cdf(0.5 + level / 2)
    for end, outside in ((low, ones == 0), (high, ones == 20)):
        if outside:
            assert end == pytest.approx(ones / 20)
        else:
            assert abs(ones / 20 - end) == pytest.approx(z * math.sqrt(end * (1 - end) / 20))
    assert low < high


@pytest.mark.parametrize("value", [0, 1])
def test_flips_that_are_all_the_same_are_said_to_be(value):
    with pytest.warns(UserWarning, match=rf"All 5 observations are {value}, .* use interval_\."):
        model = Bernoulli().fit([value] * 5)
    assert model.probability_ == value
    assert math.isnan(model.standard_error_)
    assert model.log_likelihood_ == 0
    assert not model.estimate_.converged
    with pytest.raises(BadValue, match="Expected an estimate with a covariance; got one that did"):
        model.estimate_.sample(10, seed=1)


def test_draws_of_a_probability_stay_probabilities():
    draws = Bernoulli().fit([1] + [0] * 9).estimate_.sample(20_000, seed=1)[:, 0]
    assert 0 < draws.min() < 0.02
    assert draws.max() < 1
    assert np.median(draws) == pytest.approx(0.1, abs=0.005)


# Linear


@pytest.mark.parametrize("intercept", [True, False])
def test_linear_regression_is_least_squares_with_the_errors_of_the_information(intercept):
    rng = np.random.default_rng(3)
    x = correlated()
    y = x @ [1.0, -2.0, 0.5] + 3 + rng.normal(size=len(x))
    model = Linear(intercept=intercept).fit(x, y)
    design = np.column_stack([np.ones(len(x)), x]) if intercept else x
    weights, *_ = np.linalg.lstsq(design, y)
    found = [model.intercept_, *model.coefficients_] if intercept else model.coefficients_
    np.testing.assert_allclose(found, weights, rtol=1e-10)
    residuals = y - design @ weights
    assert model.noise_variance_ == pytest.approx(np.mean(residuals**2))
    divisor = len(y) - design.shape[1]
    assert model.unbiased_noise_variance_ == pytest.approx(residuals @ residuals / divisor)
    rows, targets = torch.from_numpy(design), torch.from_numpy(y)

    def log_likelihood(theta):  # weights and log sd
        normal = torch.distributions.Normal(theta[:, :-1] @ rows.T, theta[:, -1:].exp())
        return normal.log_prob(targets).sum(1)

    other = fit(log_likelihood, np.zeros(design.shape[1] + 1))
    np.testing.assert_allclose(model.estimate_.values, other.values, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(model.estimate_.covariance, other.covariance, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(model.standard_errors_, other.standard_errors[:-1], rtol=1e-5)
    assert model.log_likelihood_ == pytest.approx(other.log_likelihood, rel=1e-10)
    assert model.estimate_.names[0] == ("intercept" if intercept else "x_1")


def test_the_predictive_density_is_normal_around_the_line():
    x, y = correlated(), correlated(seed=4)[:, 0]
    model = Linear().fit(x, y)
    means = model.predict(x[:9])
    np.testing.assert_allclose(means, model.intercept_ + x[:9] @ model.coefficients_)
    exact = norm(means, math.sqrt(model.noise_variance_)).logpdf(y[:9])
    np.testing.assert_allclose(model.log_prob(x[:9], y[:9]), exact)
    assert model.log_likelihood(x, y) == pytest.approx(model.log_likelihood_)


@pytest.mark.parametrize("shift", [0.0, 2e3, 1e9])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_a_line_keeps_its_digits_far_from_the_origin(shift, scale):
    t = np.arange(8.0)
    noise = np.array([1, -1, -1, 1, 1, -1, -1, 1.0])  # at right angles to 1 and to t
    model = Linear().fit((scale * (t + shift))[:, None], 2 * t + 1 + noise)
    assert model.coefficients_[0] * scale == pytest.approx(2, rel=1e-7)
    assert model.noise_variance_ == pytest.approx(1, rel=1e-6)
    assert model.standard_errors_[1] * scale == pytest.approx(math.sqrt(1 / 42), rel=1e-6)


# Logistic


def test_the_worked_example_of_a_probability():
    linear = np.dot((4, -2, 5, -3, 11, 9), (6, 8, 2, 7, -3, 5))
    assert linear == 9
    assert float(probability(linear)) == 0.9998766054240137


@pytest.mark.parametrize("intercept", [True, False])
def test_logistic_regression_solves_the_score_equations(intercept):
    x = correlated(n=200)
    y = classes_of(x)
    model = Logistic(intercept=intercept).fit(x, y)
    design = np.column_stack([np.ones(len(x)), x]) if intercept else x

    def score(weights):
        return design.T @ (y - expit(design @ weights))

    other = root(score, np.zeros(design.shape[1]), options={"xtol": 1e-14})
    assert other.success
    np.testing.assert_allclose(model.estimate_.values, other.x, rtol=0, atol=1e-8)
    information = -finite_differences(score, other.x)
    np.testing.assert_allclose(model.covariance_, np.linalg.inv(information), rtol=1e-6, atol=1e-9)
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose(model.standard_errors_, errors, rtol=1e-7)
    assert model.iterations_ < 12


def test_probabilities_classes_and_likelihood_agree():
    x = correlated(n=200)
    y = classes_of(x)
    model = Logistic().fit(x, y)
    chances = model.predict_proba(x)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    np.testing.assert_allclose(chances[:, 1], expit(model.intercept_ + x @ model.coefficients_))
    np.testing.assert_array_equal(model.predict(x), chances[:, 1] >= 0.5)
    terms = np.log(np.where(y == 1, chances[:, 1], chances[:, 0]))
    np.testing.assert_allclose(model.log_prob(x, y), terms, rtol=1e-10)
    assert model.log_likelihood(x, y) == pytest.approx(model.log_likelihood_)
    assert model.log_likelihood_ == pytest.approx(terms.sum())


def test_scale_and_origin_of_columns_change_nothing_but_units():
    x = correlated(n=200)
    y = classes_of(x)
    scale, shift = np.array([1e9, 1e-9, 1.0]), np.array([1e12, 0.0, -5e4])
    model, moved = Logistic().fit(x, y), Logistic().fit(scale * x + shift, y)
    np.testing.assert_allclose(moved.coefficients_ * scale, model.coefficients_, rtol=1e-6)
    errors = moved.standard_errors_[1:] * scale
    np.testing.assert_allclose(errors, model.standard_errors_[1:], rtol=1e-6)


def test_steps_are_controlled_where_newtons_would_descend():
    rng = np.random.default_rng(571)
    x = rng.standard_cauchy((8, 2)) ** 3
    y = (rng.random(8) < 0.5).astype(float)
    design = np.column_stack([np.ones(8), (x - x.mean(axis=0)) / x.std(axis=0)])
    weights, heights = np.zeros(3), []
    for _ in range(20):  # without control
        p = expit(design @ weights)
        heights.append(-np.logaddexp(0, np.where(y > 0, -1, 1) * (design @ weights)).sum())
        move = np.linalg.pinv(design.T @ (design * (p * (1 - p))[:, None])) @ design.T @ (y - p)
        weights = weights + move
    assert np.diff(heights).min() < -0.1
    model = Logistic().fit(x, y)
    assert model.log_likelihood_ > max(heights)
    score = design.T @ (y - model.predict_proba(x)[:, 1])
    assert np.abs(score).max() < 1e-8


def test_certain_rows_are_not_taken_for_separation():
    x = np.r_[-100:100:5, 1.0, -1.0][:, None]
    y = np.r_[np.arange(-100, 100, 5) > 0, False, True].astype(float)
    model = Logistic().fit(x, y)
    assert np.abs(model.intercept_ + x * model.coefficients_).max() > 14
    score = x[:, 0] @ (y - model.predict_proba(x)[:, 1])
    assert abs(score) < 1e-9


TWO = np.array([[-2.0, 5], [-1, 3], [1, 4], [2, 1], [0, 2], [0, 6], [3, 3], [-3, 2]])
SEPARATED = {
    "complete": (2, [0, 0, 1, 1, 1, 1, 1, 0], "complete separation by a combination of .*'dose'"),
    "quasi-complete": (1, [0, 0, 1, 1, 0, 1, 1, 0], "quasi-complete separation by 'dose';"),
}


@pytest.mark.parametrize("kind", SEPARATED)
def test_separation_is_said(kind):
    columns, y, found = SEPARATED[kind]
    wanted = rf"Expected classes that overlap, or the likelihood has no maximum; got {found}"
    with pytest.raises(BadValue, match=wanted + r".*leave out what separates them, pass more"):
        Logistic().fit(TWO[:, :columns], y, names=("dose", "age")[:columns])


@pytest.mark.parametrize("flip", [2, 4])
def test_one_row_on_the_wrong_side_ends_separation(flip):
    y = np.array([0, 0, 1, 1, 1, 1, 1, 0])
    y[flip] = 0
    if flip == 4:
        with pytest.raises(BadValue, match="quasi-complete"):
            Logistic().fit(TWO[:, :1], y)
    else:
        assert Logistic().fit(TWO[:, :1], y).coefficients_[0] > 0


# All of them


FRAME = pd.DataFrame({"dose": [1.0, 2, 3, 4, 5, 7], "age": [30, 20, 50, 10, 40, 35], "city": "x"})


@pytest.mark.parametrize("model", [Linear(), Logistic()], ids=["linear", "logistic"])
def test_frames_and_arrays_give_the_same_under_the_columns_names(model):
    y = pd.Series([0, 1, 0, 1, 1, 0])
    model.fit(FRAME, y, names=["age", "dose"])
    assert model.names_ == ("age", "dose")
    assert model.estimate_.names[:3] == ("intercept", "age", "dose")
    by_name = model.predict(FRAME)  # whatever the order of its columns, and more of them
    values = FRAME[["age", "dose"]].to_numpy()
    np.testing.assert_array_equal(model.predict(values), by_name)
    again = type(model)().fit(values, y.to_numpy())
    np.testing.assert_array_equal(again.coefficients_, model.coefficients_)
    assert again.names_ == ("x_1", "x_2")
    with pytest.raises(BadValue, match="Expected a frame with the features; got none of age; add"):
        model.predict(FRAME[["dose"]])
    with pytest.raises(BadValue, match=r"Expected x of shape \(n, 2\); got \(6, 1\); pass one row"):
        model.predict(values[:, :1])


def test_a_gaussian_takes_columns_of_a_frame():
    model = Gaussian().fit(FRAME, names=["age"])
    assert model.names_ == ("age",)
    np.testing.assert_array_equal(model.log_prob(FRAME), model.log_prob(FRAME["age"]))


X = correlated(n=9, d=2)
Y = np.arange(9.0)
B = np.array([0, 1, 0, 1, 1, 0, 1, 0, 0.0])
DEPENDENT = np.column_stack([X, X @ [1.0, -2.0]])
WITH_NAN = np.where(X[4, 1] == X, np.nan, X)


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda: Gaussian().fit(X[:2]), BadValue, "more rows than the 2 columns; got 2 rows"),
        (lambda: Gaussian().fit([]), BadValue, "one or more rows; got none; pass data"),
        (
            lambda: Gaussian().fit(WITH_NAN),
            BadValue,
            "NaN or inf; got nan at row 4 of column 'x_2'",
        ),
        (lambda: Gaussian().fit(["a"]), BadType, r"x of shape \(n, k\) holding numbers; got"),
        (lambda: Gaussian().fit(X * [1, 0]), BadValue, "'x_2', which is constant like the mean"),
        (
            lambda: Gaussian().fit(DEPENDENT),
            BadValue,
            "got 'x_.', a combination of 'x_.', 'x_.';",
        ),
        (
            lambda: Gaussian().log_prob(X),
            BadValue,
            "a fitted Gaussian; got one that was not fitted",
        ),
        (lambda: Gaussian().fit(X, names=["a"]), BadValue, r"x of shape \(n, 1\); got \(9, 2\)"),
        (lambda: Gaussian().fit(X, names=["a", "a"]), BadValue, "distinct names; got a twice"),
        (lambda: Gaussian().fit(X, names="ab"), BadType, "names as strings; got 'ab'; pass one"),
        (lambda: Gaussian().fit(FRAME), BadType, "columns of numbers; got column 'city' of"),
        (lambda: Bernoulli().fit([0, 2]), BadValue, "zeros and ones; got 2 at row 1; code the two"),
        (lambda: Bernoulli().fit([]), BadValue, "one or more rows; got none"),
        (lambda: Bernoulli().fit([0, np.nan]), BadValue, "got nan at row 1 of column 'y'"),
        (lambda: Bernoulli(level=1.0).fit([0, 1]), BadValue, "level below 1; got 1"),
        (lambda: Bernoulli(level=0.0).fit([0, 1]), BadValue, "level as a finite number in"),
        (lambda: Bernoulli().log_prob([1]), BadValue, "a fitted Bernoulli"),
        (lambda: Linear().fit(X, Y[:8]), BadValue, r"y of shape \(9,\); got \(8,\); pass one"),
        (lambda: Linear().fit(X[:3], Y[:3]), BadValue, "more rows than the 3 coefficients; got 3"),
        (lambda: Linear().fit(DEPENDENT, Y), BadValue, "got 'x_.', a combination of 'x_.', 'x_.'"),
        (lambda: Linear().fit(X * [1, 0] + 7, Y), BadValue, "which is constant like the intercept"),
        (lambda: Linear(intercept=False).fit(X * [1, 0], Y), BadValue, "got 'x_2', which is zero;"),
        (
            lambda: Linear().fit(X, 1 + X @ [2, 3]),
            BadValue,
            "scatter around the line; got an exact",
        ),
        (lambda: Linear().fit(X, Y * 0), BadValue, "scatter around the line; got an exact"),
        (lambda: Linear(intercept=1).fit(X, Y), BadType, "intercept as True or False; got 1"),
        (lambda: Linear().fit(X, Y, names=("a", "intercept")), BadValue, "one called 'intercept'"),
        (lambda: Linear().predict(X), BadValue, "a fitted Linear; got one that was not fitted"),
        (lambda: Logistic().fit(X, Y), BadValue, "y of zeros and ones; got 2 at row 2"),
        (lambda: Logistic().fit(X, B * 0), BadValue, "both classes; got 0 in all 9 rows; pass"),
        (lambda: Logistic().fit(X, B[:8]), BadValue, r"y of shape \(9,\); got \(8,\)"),
        (
            lambda: Logistic(iterations=1).fit(X, B),
            BadValue,
            "none after 1 steps, with 0 of 9 rows",
        ),
        (
            lambda: Logistic(iterations=0).fit(X, B),
            BadValue,
            "iterations as an integer >= 1; got 0",
        ),
        (
            lambda: Logistic().fit(DEPENDENT, B),
            BadValue,
            "a combination of 'x_.', 'x_.'; leave out",
        ),
        (lambda: Logistic().predict_proba(X), BadValue, "a fitted Logistic; got one that was not"),
        (lambda: Logistic(penalty=1), TypeError, "unexpected keyword argument 'penalty'"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_sentence(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()
