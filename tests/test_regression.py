"""The regression simulator against independent oracles for its exact posterior."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, kstest, norm

from sbi_kit.checks import BadType, BadValue
from sbi_kit.testing import check_simulator
from simulators.regression import Regression


def simulate(model, b, n, seed):
    rng = np.random.default_rng(seed)
    theta = model.prior.sample(b, rng)
    return theta, model.simulate(theta, rng, n)


@pytest.mark.parametrize(
    "model",
    [Regression(), Regression(predictors=1, n=3, noise_sd=0.3, prior_sd=2.5)],
    ids=["default", "one predictor"],
)
def test_keeps_the_simulator_contract(model):
    check_simulator(model)


@pytest.mark.parametrize(("k", "n", "noise_sd", "prior_sd"), [(4, 50, 1.0, 1.0), (3, 2, 0.2, 3.0)])
def test_exact_posterior_is_ridge_regression(k, n, noise_sd, prior_sd):
    model = Regression(predictors=k, n=n, noise_sd=noise_sd, prior_sd=prior_sd)
    _, x = simulate(model, 5, n, seed=1)
    mean, covariance = model.exact_posterior(x)
    for rows, m, v in zip(x, mean, covariance, strict=True):
        # The prior is k more observations of the coefficients themselves.
        design = np.vstack([rows[:, :k] / noise_sd, np.eye(k) / prior_sd])
        response = np.concatenate([rows[:, k] / noise_sd, np.zeros(k)])
        inverse_r = np.linalg.inv(np.linalg.qr(design)[1])
        np.testing.assert_allclose(m, np.linalg.lstsq(design, response)[0], rtol=1e-9)
        np.testing.assert_allclose(v, inverse_r @ inverse_r.T, rtol=1e-9, atol=1e-13)


def test_exact_posterior_agrees_with_quadrature_of_likelihood_times_prior():
    model = Regression(predictors=2, n=6, noise_sd=0.7, prior_sd=1.5)
    _, x = simulate(model, 1, 6, seed=2)
    axis = np.linspace(-8, 8, 801)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    log_density = norm.logpdf(grid, scale=1.5).sum(axis=1)
    for *predictors, response in x[0]:
        log_density += norm.logpdf(response, grid @ predictors, 0.7)
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    mean = weight @ grid
    covariance = (grid - mean).T @ ((grid - mean) * weight[:, None])
    got = model.exact_posterior(x)
    np.testing.assert_allclose(got[0][0], mean, atol=1e-8)
    np.testing.assert_allclose(got[1][0], covariance, atol=1e-8)


@pytest.mark.parametrize("n", [2, 40])
def test_truth_is_standard_normal_under_the_exact_posterior(n):
    model = Regression(n=n, noise_sd=0.8, prior_sd=1.3)
    theta, x = simulate(model, 2_000, n, seed=n)
    mean, covariance = model.exact_posterior(x)
    roots = np.linalg.cholesky(covariance)
    z = np.linalg.solve(roots, (theta - mean)[..., None])[..., 0]
    assert kstest((z**2).sum(axis=1), chi2(4).cdf).pvalue > 1e-3
    for column in z.T:
        assert kstest(column, "norm").pvalue > 1e-3
    np.testing.assert_allclose(np.cov(z.T), np.eye(4), atol=5 * np.sqrt(2 / 2_000))


def test_prior_predictive_moments():
    model = Regression(predictors=3, noise_sd=0.5, prior_sd=2.0)
    _, x = simulate(model, 40_000, 1, seed=3)
    *predictors, response = x[:, 0].T
    for column in predictors:
        assert kstest(column, "norm").pvalue > 1e-3
    variance = 3 * 2.0**2 + 0.5**2
    error = np.sqrt(np.var(response**2) / len(response))
    assert abs(response.mean()) < 4 * np.sqrt(variance / len(response))
    assert abs(np.mean(response**2) - variance) < 4 * error


def test_data_given_coefficients_are_linear_with_the_noise_asked_for():
    model = Regression(predictors=2, noise_sd=0.1)
    theta = np.array([[1.0, -2.0], [0.5, 3.0]])
    x = model.simulate(theta, np.random.default_rng(4), 20_000)
    residual = x[..., 2] - np.einsum("bnk,bk->bn", x[..., :2], theta)
    np.testing.assert_allclose(residual.std(axis=1), 0.1, rtol=0.03)
    assert abs(np.corrcoef(residual)[0, 1]) < 0.03


def test_exact_posterior_of_ragged_data_is_that_of_each_alone():
    model = Regression()
    tables = [simulate(model, 1, n, seed=n)[1][0] for n in (50, 500, 7)]
    mean, covariance = model.exact_posterior(tables)
    for row, table in enumerate(tables):
        alone = model.exact_posterior(table)
        np.testing.assert_allclose(mean[row], alone[0][0], rtol=1e-10)
        np.testing.assert_allclose(covariance[row], alone[1][0], rtol=1e-10, atol=1e-15)


def test_exact_posterior_ignores_the_order_of_rows_and_of_named_columns():
    model = Regression()
    _, x = simulate(model, 1, 60, seed=5)
    frame = pd.DataFrame(x[0][::-1], columns=model.data.columns)
    frame = frame[["y", "x_4", "x_2", "x_1", "x_3"]]
    for got, want in zip(model.exact_posterior(frame), model.exact_posterior(x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-15)


def test_observed_is_fixed_and_its_truth_is_plausible():
    model = Regression()
    assert model.observed.shape == (50, 5)
    np.testing.assert_array_equal(model.observed, Regression().observed)
    mean, covariance = model.exact_posterior(model.observed)
    gap = model.observed_theta - mean[0]
    assert gap @ np.linalg.solve(covariance[0], gap) < chi2(4).isf(1e-3)


def test_settings_are_stored_under_their_own_names_and_n_may_come_from_json():
    model = Regression(predictors=2, n=[5, 9], noise_sd=0.5, prior_sd=3.0)
    assert (model.predictors, model.n, model.noise_sd, model.prior_sd) == (2, (5, 9), 0.5, 3.0)
    assert model == Regression(predictors=2, n=(5, 9), noise_sd=0.5, prior_sd=3.0)
    assert model.prior.names == ("beta_1", "beta_2")
    assert model.data.columns == ("x_1", "x_2", "y")
    assert model.data.n_range == (5, 9)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"predictors": 0}, BadValue, "predictors as an integer >= 1; got 0"),
        ({"predictors": 1.5}, BadType, "predictors as an integer >= 1; got 1.5"),
        ({"noise_sd": 0}, BadValue, "noise_sd as a finite number > 0; got 0"),
        ({"prior_sd": -1.0}, BadValue, "prior_sd as a finite number > 0; got -1"),
        ({"prior_sd": "1"}, BadType, "prior_sd as a finite number > 0; got '1'"),
        ({"n": (5, 2)}, BadValue, "largest n as an integer >= 5; got 2"),
        ({"sd": 1.0}, TypeError, "unexpected keyword argument 'sd'"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Regression(**settings)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        (np.zeros((3, 2)), r"theta of shape \(b, 4\); got \(3, 2\); pass one row \(beta_1, "),
        (np.zeros(4), r"theta of shape \(b, 4\); got \(4,\)"),
        ([[0, 0, np.nan, 0]], "theta without NaN or inf; got nan at row 0 of column 'beta_3'"),
    ],
)
def test_bad_parameters_are_refused(theta, message):
    with pytest.raises(BadValue, match=message):
        Regression().simulate(theta, np.random.default_rng(0), 50)


def test_bad_data_are_refused():
    with pytest.raises(BadValue, match="x_4, Y; did you mean 'y' by 'Y'"):
        Regression().exact_posterior({name: [1.0] for name in ("x_1", "x_2", "x_3", "x_4", "Y")})
    with pytest.raises(BadValue, match="n as an integer >= 1; got 0"):
        Regression().simulate(np.zeros((1, 4)), np.random.default_rng(0), 0)
