"""The influenza simulator: curve, counts and likelihood against independent oracles."""

import csv
from datetime import date, timedelta
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize
from scipy.stats import chisquare, nbinom, poisson

from sbi_kit.checks import BadType, BadValue
from sbi_kit.testing import check_simulator
from simulators.influenza import Influenza

COUNTS = [3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4]
MODEL = Influenza()


def parameters(betas, gammas, phi_inv=0.1):
    return np.array([(beta, gamma, phi_inv) for beta in betas for gamma in gammas])


def solved(theta, days=14, population=763.0):
    """The curve by an adaptive solver, in the unknowns and to a tolerance of its own."""
    beta, gamma = theta[:, 0], theta[:, 1]

    def slope(_, state):
        susceptible, infected = state.reshape(2, -1)
        new = beta * susceptible * infected / population
        return np.concatenate([-new, new - gamma * infected])

    start = np.repeat([population - 1, 1.0], len(theta))
    at = np.arange(1, days + 1)
    path = solve_ivp(slope, (0, days), start, "DOP853", at, rtol=1e-11, atol=1e-12)
    return path.y[len(theta) :]


@pytest.mark.parametrize(
    "model",
    [MODEL, Influenza(population=50, days=(3, 10), initial_infected=2)],
    ids=["default", "small school"],
)
def test_keeps_the_simulator_contract(model):
    check_simulator(model)


def test_curve_solves_the_equations_over_the_whole_prior():
    theta = parameters([0.01, 0.5, 1.7, 3.0, 4.5, 6.0], [0.0, 0.05, 0.4, 1.0, 2.5])
    np.testing.assert_allclose(MODEL.infected(theta), solved(theta), rtol=1e-6, atol=1e-9)


def test_integration_converges_at_sixth_order():
    theta = parameters([2.0, 4.0], [0.2, 1.0])
    truth = solved(theta)
    coarse, fine = (
        np.abs(Influenza(steps_per_day=steps).infected(theta) / truth - 1).max() for steps in (2, 4)
    )
    assert 2**5.5 < coarse / fine < 2**7


def test_curve_without_recovery_is_logistic():
    beta, t = np.array([0.3, 1.7, 4.0])[:, None], np.arange(1, 15)
    logistic = 763 / (1 + 762 * np.exp(-beta * t))
    np.testing.assert_allclose(MODEL.infected(parameters(beta[:, 0], [0.0])), logistic, rtol=1e-7)


def test_curve_without_infection_decays_exponentially():
    model = Influenza(initial_infected=20)
    gamma, t = np.array([0.0, 0.4, 20.0])[:, None], np.arange(1, 15)
    curve = model.infected(parameters([0.0], gamma[:, 0]))
    np.testing.assert_allclose(curve, 20 * np.exp(-gamma * t), rtol=1e-12)


def test_twice_the_rates_are_half_the_time():
    theta = parameters([1.0, 2.0], [0.2, 0.7])
    slow, fast = MODEL.infected(theta, 14), MODEL.infected(theta * [2, 2, 1], 7)
    np.testing.assert_allclose(fast, slow[:, 1::2], rtol=1e-6)


def test_curve_stays_below_the_peak_that_conservation_allows():
    theta = MODEL.prior.sample(2_000, np.random.default_rng(0))
    curve = MODEL.infected(theta)
    share = np.minimum(theta[:, 1] / theta[:, 0] * 763 / 762, 1)  # S / S(0) at the peak
    # I + S - (gamma N / beta) log S is constant along a path (Kermack & McKendrick 1927).
    peak = 763 - 762 * share + 763 * (theta[:, 1] / theta[:, 0]) * np.log(share)
    assert (curve > 0).all()
    assert (curve <= peak[:, None] * (1 + 1e-6)).all()


def test_a_curve_does_not_depend_on_its_batch():
    theta = MODEL.prior.sample(5_000, np.random.default_rng(1))
    together = MODEL.infected(theta)
    for row in (0, 1, 4_095, 4_096, 4_999):
        np.testing.assert_allclose(MODEL.infected(theta[[row]])[0], together[row], rtol=1e-12)
    np.testing.assert_array_equal(MODEL.infected(theta, 5), together[:, :5])


@pytest.mark.parametrize("phi_inv", [0.0, 1e-300, 1e-9, 0.139, 3.0])
def test_counts_have_the_moments_of_a_negative_binomial(phi_inv):
    theta = np.array([[1.74, 0.54, phi_inv]])
    x = MODEL.simulate(theta.repeat(20_000, axis=0), np.random.default_rng(2), 14)[..., 0]
    mean = MODEL.infected(theta)[0]
    variance = mean + mean**2 * phi_inv
    assert (x % 1 == 0).all()
    assert (np.abs(x.mean(axis=0) - mean) < 5 * np.sqrt(variance / len(x))).all()
    squares = (x - mean) ** 2
    assert (np.abs(squares.mean(axis=0) - variance) < 5 * squares.std(axis=0) / len(x) ** 0.5).all()


@pytest.mark.parametrize("phi_inv", [0.0, 0.3])
def test_counts_occur_as_often_as_the_likelihood_says(phi_inv):
    theta = np.array([[1.74, 0.54, phi_inv]])
    x = MODEL.simulate(theta.repeat(50_000, axis=0), np.random.default_rng(3), 1)[:, 0, 0]
    mass = np.exp(MODEL.log_likelihood(theta.repeat(12, axis=0), np.arange(12.0).reshape(12, 1, 1)))
    seen = [(x == count).sum() for count in range(12)]
    expected = 50_000 * np.append(mass, 1 - mass.sum())
    assert chisquare([*seen, 50_000 - sum(seen)], expected).pvalue > 1e-3


def test_days_of_one_dataset_are_independent_given_the_curve():
    theta = np.array([[1.74, 0.54, 0.5]]).repeat(20_000, axis=0)
    x = MODEL.simulate(theta, np.random.default_rng(4), 14)[..., 0]
    assert np.abs(np.corrcoef(x.T) - np.eye(14)).max() < 5 / np.sqrt(20_000)


def test_vanishing_epidemics_give_zeros():
    theta = np.array([[0.0, 60.0, 0.1], [0.0, 60.0, 0.0], [0.0, 60.0, 80.0]])
    assert not MODEL.simulate(theta, np.random.default_rng(5), 14)[:, 1:].any()
    assert (MODEL.log_likelihood(theta, np.zeros(14)) > -1e-20).all()
    assert (MODEL.log_likelihood(theta, MODEL.observed) < -1e4).all()


def test_log_likelihood_is_scipys_negative_binomial():
    theta = MODEL.prior.sample(200, np.random.default_rng(6))
    size = 1 / theta[:, 2:]
    mean = MODEL.infected(theta)
    want = nbinom.logpmf(COUNTS, size, size / (size + mean)).sum(axis=1)
    np.testing.assert_allclose(MODEL.log_likelihood(theta, MODEL.observed), want, rtol=1e-9)


@pytest.mark.parametrize("phi_inv", [1e-12, 1e-9, 1e-6, 0.999e-3, 1.001e-3, 1e-2, 1.0, 50.0])
def test_log_likelihood_keeps_its_digits_at_every_dispersion(phi_inv):
    theta = np.array([[1.74, 0.54, phi_inv]])
    mean = MODEL.infected(theta)[0]
    # Gamma(x + phi) / Gamma(phi) phi^-x, factor by factor: no cancellation anywhere.
    rising = [np.log1p(phi_inv * np.arange(count)).sum() for count in COUNTS]
    log_factorial = [np.log(np.arange(1, count + 1)).sum() for count in COUNTS]
    counts = np.array(COUNTS)
    terms = rising + counts * np.log(mean) - (counts + 1 / phi_inv) * np.log1p(phi_inv * mean)
    want = (terms - log_factorial).sum()
    np.testing.assert_allclose(MODEL.log_likelihood(theta, COUNTS), [want], atol=1e-8, rtol=1e-11)


def test_log_likelihood_without_dispersion_is_poisson():
    theta = np.array([[1.74, 0.54, 0.0], [2.0, 0.3, 1e-300]])
    want = poisson.logpmf(COUNTS, MODEL.infected(theta)).sum(axis=1)
    np.testing.assert_allclose(MODEL.log_likelihood(theta, COUNTS), want, atol=1e-6, rtol=0)


def test_likelihood_sums_to_one():
    counts = np.arange(4_000.0).reshape(-1, 1, 1)
    for phi_inv in (0.0, 1e-4, 0.139, 1.0):
        theta = np.tile([4.0, 0.5, phi_inv], (len(counts), 1))
        total = np.exp(MODEL.log_likelihood(theta, counts)).sum()
        assert total == pytest.approx(1, abs=1e-9)


def test_log_likelihood_takes_one_dataset_or_one_a_row_also_ragged():
    theta = parameters([1.5, 1.9], [0.5])
    both = MODEL.log_likelihood(theta, [np.array(COUNTS), np.array(COUNTS[:6])])
    assert both[0] == pytest.approx(MODEL.log_likelihood(theta, COUNTS)[0])
    assert both[1] == pytest.approx(MODEL.log_likelihood(theta, COUNTS[:6])[1])
    frame = pd.DataFrame({"date": range(14), "in_bed": COUNTS})
    np.testing.assert_array_equal(
        MODEL.log_likelihood(theta, frame), MODEL.log_likelihood(theta, MODEL.observed)
    )


def test_maximum_likelihood_is_the_published_one():
    def loss(log_theta):
        return -MODEL.log_likelihood(np.exp(log_theta)[None], COUNTS)[0]

    options = {"xatol": 1e-7, "fatol": 1e-9, "maxiter": 2_000}
    fit = minimize(loss, np.log([2.0, 0.4, 0.2]), method="Nelder-Mead", options=options)
    beta, gamma, phi_inv = np.exp(fit.x)
    assert beta == pytest.approx(1.7266, abs=1e-4)
    assert gamma == pytest.approx(0.5410, abs=1e-4)
    assert 1 / phi_inv == pytest.approx(11.97, abs=0.01)
    assert -fit.fun == pytest.approx(-60.835, abs=1e-3)


def test_posterior_on_a_grid_is_the_published_one():
    axes = (np.linspace(1.4, 2.3, 46), np.linspace(0.27, 0.9, 43), np.linspace(-4.6, 0.6, 40))
    theta = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    log_phi_inv = theta[:, 2].copy()
    theta[:, 2] = np.exp(log_phi_inv)
    log_density = MODEL.log_likelihood(theta, MODEL.observed) + MODEL.prior.log_prob(theta)
    weight = np.exp(log_density + log_phi_inv - log_density.max())
    weight /= weight.sum()
    values = np.column_stack([theta, MODEL.basic_reproduction_number(theta)])
    mean = weight @ values
    sd = np.sqrt(weight @ (values - mean) ** 2)
    # tests/benchmarks/influenza_reference.py: quadrature with scipy's solver and densities.
    np.testing.assert_allclose(mean, [1.7349, 0.5420, 0.1375, 3.2224], rtol=1e-3)
    np.testing.assert_allclose(sd, [0.0529, 0.0454, 0.0748, 0.2760], rtol=5e-3)
    # Published, from 18,000 correlated draws: equal within their Monte Carlo error.
    published_mean, published_sd = [1.736, 0.540, 0.139, 3.24], [0.054, 0.046, 0.077, 0.29]
    assert (np.abs(mean - published_mean) < 0.1 * sd).all()
    np.testing.assert_allclose(sd, published_sd, rtol=0.06)


def test_observed_is_the_outbreak_of_1978():
    np.testing.assert_array_equal(MODEL.observed, np.array(COUNTS, dtype=float)[:, None])
    text = files("simulators").joinpath("data", "influenza_1978.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    days = [date.fromisoformat(row["date"]) for row in rows]
    assert days == [date(1978, 1, 22) + timedelta(days=day) for day in range(14)]
    assert Influenza(days=(4, 9)).observed.tolist() == [[count] for count in COUNTS[:9]]


def test_settings_are_stored_under_their_own_names():
    model = Influenza(days=[7, 14], population=1_000, beta_mean=1.5, phi_inv_rate=2.0)
    assert (model.days, model.population, model.beta_mean) == ((7, 14), 1_000, 1.5)
    assert model == Influenza(days=(7, 14), population=1_000, beta_mean=1.5, phi_inv_rate=2.0)
    assert model.prior.names == ("beta", "gamma", "phi_inv")
    assert model.data.columns == ("in_bed",)
    assert model.data.n_range == (7, 14)


def test_priors_are_the_published_ones():
    rng = np.random.default_rng(7)
    draws = MODEL.prior.sample(50_000, rng)
    plain = rng.normal([2.0, 0.4], [1.0, 0.5], size=(100_000, 2))
    for column, normal in zip(draws.T[:2], plain.T, strict=True):
        normal = normal[normal > 0]
        np.testing.assert_allclose(column.mean(), normal.mean(), rtol=0.01)
        np.testing.assert_allclose(column.std(), normal.std(), rtol=0.02)
    np.testing.assert_allclose([draws[:, 2].mean(), draws[:, 2].std()], 0.2, rtol=0.03)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"population": 1}, BadValue, "population as an integer >= 2; got 1"),
        ({"population": 763.5}, BadType, "population as an integer >= 2; got 763.5"),
        ({"days": 0}, BadValue, "n as an integer >= 1; got 0"),
        ({"initial_infected": 0}, BadValue, "initial_infected as a finite number > 0; got 0"),
        ({"initial_infected": 763}, BadValue, "below the population of 763; got 763"),
        ({"steps_per_day": 0}, BadValue, "steps_per_day as an integer >= 1; got 0"),
        ({"beta_sd": 0.0}, BadValue, "beta_sd as a finite number > 0; got 0"),
        ({"gamma_mean": np.nan}, BadValue, "gamma_mean as a finite number; got nan"),
        ({"phi_inv_rate": -1.0}, BadValue, "phi_inv_rate as a finite number > 0; got -1"),
        ({"reporting": 1.0}, TypeError, "unexpected keyword argument 'reporting'"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Influenza(**settings)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ([[1.0, 0.5]], r"theta of shape \(b, 3\); got \(1, 2\); pass one row \(beta, gamma"),
        ([[1.0, np.inf, 0.1]], "theta without NaN or inf; got inf at row 0 of column 'gamma'"),
        ([[1.0, 0.5, 0.1], [1.0, 0.5, -0.1]], "phi_inv >= 0; got -0.1 in row 1"),
        ([[1e5, 0.5, 0.1]], "beta 100000 and gamma 0.5 per day in row 0; raise steps_per_day"),
    ],
)
def test_bad_parameters_are_refused(theta, message):
    with pytest.raises(BadValue, match=message):
        MODEL.simulate(np.array(theta), np.random.default_rng(0), 14)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([3, -8, 26], "whole counts >= 0 in column 'in_bed'; got -8; pass raw counts"),
        ([3, 8.5, 26], "whole counts >= 0 in column 'in_bed'; got 8.5"),
        (np.ones((2, 14, 1)), "1 or 3 datasets for 3 rows of theta; got 2"),
        ({"cases": [1, 2]}, "the columns in_bed; got only cases"),
    ],
)
def test_bad_data_are_refused(x, message):
    with pytest.raises(BadValue, match=message):
        MODEL.log_likelihood(parameters([1.0], [0.2, 0.5, 0.9]), x)
