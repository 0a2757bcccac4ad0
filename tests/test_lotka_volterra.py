"""The Lotka-Volterra simulator: paths, noise, likelihood and the published posterior."""

import csv
import json
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.stats import chi2, ks_2samp, kstest, lognorm, truncnorm

from sbi_kit.checks import BadType, BadValue
from sbi_kit.testing import check_simulator
from simulators.lotka_volterra import LotkaVolterra
from tests.oracles.lotka_volterra import loop, solved, vectorised

MODEL = LotkaVolterra()
NAMES = MODEL.prior.names
# Carpenter (2018): alpha, beta, gamma, delta, hare_0, lynx_0, sigma_hare, sigma_lynx.
PUBLISHED_MEAN = np.array([0.547, 0.0277, 0.800, 0.0241, 34.04, 5.94, 0.248, 0.252])
PUBLISHED_SD = np.array([0.064, 0.0042, 0.091, 0.0036, 2.91, 0.53, 0.043, 0.044])
PELTS = {
    "hare": "30 47.2 70.2 77.4 36.3 20.6 18.1 21.4 22 25.4 27.1 40.3 57 76.6 52.3 19.5 11.2 7.6 "
    "14.6 16.2 24.7",
    "lynx": "4 6.1 9.8 35.2 59.4 41.7 19 13 8.3 9.1 7.4 8 12.3 19.5 45.7 51.1 29.7 15.8 9.7 10.1 "
    "8.6",
}


@cache
def prior_draws():
    return MODEL.prior.sample(100_000, np.random.default_rng(0))


@cache
def prior_logs():
    return np.log(MODEL.populations(prior_draws()))


def invariant(theta, logs):
    """The conserved H, and the sum of the sizes of its terms."""
    alpha, beta, gamma, delta = theta[:, :4].T[..., None]
    a, b = logs[..., 0], logs[..., 1]
    terms = np.stack([delta * np.exp(a), -gamma * a, beta * np.exp(b), -alpha * b])
    return terms.sum(axis=0), np.abs(terms).sum(axis=0)


@cache
def hardest():
    """Rows of the prior's draws: the first, and the most violent, deepest, highest and fastest."""
    theta, logs = prior_draws(), prior_logs()
    energy = invariant(theta, logs[:, :1])[0][:, 0]
    frequency = theta[:, 0] * theta[:, 2]
    orders = (-energy, logs.min(axis=(1, 2)), -logs.max(axis=(1, 2)), -frequency)
    return np.concatenate([np.arange(40), *(np.argsort(order)[:8] for order in orders)])


@cache
def hardest_solved():
    """Those rows' logarithms by scipy's solver, one system each."""
    return np.concatenate([solved(prior_draws()[[row]], 21) for row in hardest()])


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        LotkaVolterra(years=(4, 9), alpha=(0.5, 0.1), sigma_lynx=(-3.0, 0.2), tolerance=1e-6),
    ],
    ids=["default", "few years"],
)
def test_keeps_the_simulator_contract(model):
    check_simulator(model)


def test_path_solves_the_equations_also_where_it_is_most_violent():
    assert hardest_solved().min() < -400  # such paths are among them
    np.testing.assert_allclose(prior_logs()[hardest()], hardest_solved(), rtol=1e-10, atol=3e-8)


def test_path_conserves_the_energy_over_the_whole_prior():
    energy, size = invariant(prior_draws(), prior_logs())
    assert np.abs((energy - energy[:, :1]) / size).max() < 1e-7
    assert (np.ptp(prior_logs(), axis=1) > 1).mean() > 0.9  # it is not that nothing moves


def test_every_draw_of_the_prior_gives_positive_finite_data():
    assert np.isfinite(prior_logs()).all()
    x = MODEL.simulate(prior_draws(), np.random.default_rng(1), 21)
    assert x.shape == (100_000, 21, 2)
    assert np.isfinite(x).all()
    assert (x > 0).all()


def test_corners_of_the_prior_are_followed():
    rng = np.random.default_rng(2)
    theta = MODEL.prior.unwhiten(rng.choice([-4.0, 0.0, 4.0], (2_000, 8)))
    x = MODEL.simulate(theta, rng, 21)
    assert np.isfinite(x).all()
    assert (x > 0).all()
    assert (x**2 < np.inf).all()
    fine = LotkaVolterra(tolerance=1e-14).populations(theta)
    np.testing.assert_allclose(MODEL.populations(theta), fine, rtol=1e-5)


def test_fixed_point_stays():
    theta = prior_draws()[:500].copy()
    theta[:, 4] = theta[:, 2] / theta[:, 3]
    theta[:, 5] = theta[:, 0] / theta[:, 1]
    still = np.broadcast_to(theta[:, None, 4:6], (500, 21, 2))
    np.testing.assert_allclose(MODEL.populations(theta), still, rtol=1e-9)


@pytest.mark.parametrize(("alpha", "gamma", "period"), [(0.5, 0.9, 8.0), (1.3, 0.2, 5.0)])
def test_small_cycles_are_harmonic_with_the_known_period(alpha, gamma, period):
    # Rates in such a unit of time that 2 pi / sqrt(alpha gamma) is the period wanted.
    alpha, gamma = np.array([alpha, gamma]) * 2 * np.pi / period / np.sqrt(alpha * gamma)
    beta, delta, amplitude = 0.03, 0.02, 1e-5
    centre = np.array([gamma / delta, alpha / beta])
    start = centre * np.exp([amplitude, 0.0])
    path = MODEL.populations(np.array([[alpha, beta, gamma, delta, *start, 0.1, 0.1]]))[0]
    angle = 2 * np.pi * np.arange(21) / period
    wave = np.stack([np.cos(angle), np.sqrt(gamma / alpha) * np.sin(angle)], axis=1)
    np.testing.assert_allclose(np.log(path / centre) / amplitude, wave, atol=1e-4)


def test_hares_without_lynx_to_eat_them_grow_exponentially():
    t = np.arange(21)
    theta = np.array([[0.7, 0.0, 0.4, 0.0, 5.0, 8.0, 0.1, 0.1]])
    path = MODEL.populations(theta)[0]
    np.testing.assert_allclose(path[:, 0], 5 * np.exp(0.7 * t), rtol=1e-9)
    np.testing.assert_allclose(path[:, 1], 8 * np.exp(-0.4 * t), rtol=1e-9)


@pytest.mark.parametrize("beta", [1e-3, 0.1, 5.0])
def test_lynx_that_cannot_feed_die_out_and_hares_recover(beta):
    t = np.arange(21)
    theta = np.array([[0.7, beta, 0.4, 0.0, 5.0, 8.0, 0.1, 0.1]])
    eaten = beta * 8 * (1 - np.exp(-0.4 * t)) / 0.4
    path = np.log(MODEL.populations(theta)[0])
    np.testing.assert_allclose(path[:, 0], np.log(5) + 0.7 * t - eaten, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(path[:, 1], np.log(8) - 0.4 * t, rtol=1e-9, atol=1e-9)


def test_half_the_rates_are_twice_the_time():
    theta = prior_draws()[:2_000]
    slow = MODEL.populations(theta * [0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1], 41)
    np.testing.assert_allclose(slow[:, ::2], MODEL.populations(theta), rtol=1e-6)


def test_rates_of_each_other_are_per_unit_of_the_counts():
    theta = prior_draws()[:2_000]
    other = theta * [1, 1 / 7, 1, 1 / 3, 3, 7, 1, 1]
    path = MODEL.populations(theta)
    np.testing.assert_allclose(MODEL.populations(other), path * [3, 7], rtol=1e-6)


def test_a_path_does_not_depend_on_its_batch_or_length():
    theta = prior_draws()[:300]
    together = MODEL.populations(theta)
    for row in (0, 1, 150, 299):
        np.testing.assert_array_equal(MODEL.populations(theta[[row]])[0], together[row])
    np.testing.assert_array_equal(MODEL.populations(theta, 5), together[:, :5])
    np.testing.assert_array_equal(MODEL.populations(theta, 1)[:, 0], together[:, 0])
    readonly = np.asfortranarray(theta)
    readonly.flags.writeable = False
    np.testing.assert_array_equal(MODEL.populations(readonly), together)


def test_tolerance_sets_the_error():
    theta = prior_draws()[:5_000]
    truth = np.log(LotkaVolterra(tolerance=1e-15).populations(theta))
    bounds = np.array([1e-4, 1e-6, 1e-8, 1e-10, 1e-12])
    errors = np.array(
        [
            np.abs(np.log(LotkaVolterra(tolerance=bound).populations(theta)) - truth)
            for bound in bounds
        ]
    ).max(axis=(2, 3))
    # A step's error is within the bound; a path takes 15 to 40 of them and may magnify it.
    usual, most = np.quantile(errors, [0.95, 1], axis=1) / bounds
    assert (most > 3).all()
    assert (most < 3_000).all()
    assert (usual < 130).all()
    assert usual[-1] < 40


def test_residuals_are_normal_with_the_sigmas_from_year_0_on():
    b = 20_000
    theta = np.tile([0.55, 0.028, 0.8, 0.024, 34.0, 6.0, 0.25, 0.8], (b, 1))
    x = MODEL.simulate(theta, np.random.default_rng(3), 21)
    z = np.log(x / MODEL.populations(theta[:1])) / [0.25, 0.8]  # (b, 21, 2)
    assert np.abs(z.mean(axis=0)).max() < 5 / np.sqrt(b)
    assert np.abs((z**2).mean(axis=0) - 1).max() < 5 * np.sqrt(2 / b)
    for column in z.reshape(b, -1).T:
        assert kstest(column, "norm").pvalue > 1e-5
    # 42 x 41 / 2 correlations, each N(0, 1 / b) if the counts are independent.
    correlation = np.corrcoef(z.reshape(b, -1).T)
    assert np.abs(correlation - np.eye(42)).max() < 5.5 / np.sqrt(b)


def test_same_rng_same_data_and_no_two_datasets_alike():
    theta = np.tile(PUBLISHED_MEAN, (50, 1))
    x = MODEL.simulate(theta, np.random.default_rng(4), 21)
    np.testing.assert_array_equal(x, MODEL.simulate(theta, np.random.default_rng(4), 21))
    assert len(np.unique(x)) == x.size


def test_extreme_noise_and_paths_are_returned_at_the_bounds():
    theta = np.array([[1.0, 5.0, 0.01, 0.05, 10.0, 900.0, 500.0, 1e-9]])
    path = MODEL.populations(theta)[0]
    assert path[0, 0] == pytest.approx(10)
    np.testing.assert_allclose(path[1:, 0], np.exp(-700), rtol=1e-12)
    x = MODEL.simulate(theta.repeat(100, axis=0), np.random.default_rng(5), 1)[:, 0, 0]
    np.testing.assert_allclose([x.min(), x.max()], np.exp([-700, 350]), rtol=1e-12)


def test_data_of_the_prior_are_distributed_as_those_of_scipys_solver():
    theta = prior_draws()[:400]
    ours = np.log(MODEL.simulate(theta.repeat(10, axis=0), np.random.default_rng(6), 21))
    theirs = np.log(vectorised(theta, np.random.default_rng(7), 21))
    for year in (0, 1, 4, 10, 20):
        for column in (0, 1):
            assert ks_2samp(ours[:, year, column], theirs[:, year, column]).pvalue > 1e-5


def test_data_at_one_theta_are_distributed_as_those_of_both_oracles():
    theta = np.tile([0.9, 0.06, 1.2, 0.04, 20.0, 8.0, 0.4, 0.2], (4_000, 1))
    ours = np.log(MODEL.simulate(theta, np.random.default_rng(8), 12))
    rng = np.random.default_rng(9)
    oracles = [vectorised(theta, rng, 12), np.stack([loop(row, rng, 12) for row in theta[:300]])]
    for theirs in oracles:
        for year in (0, 3, 7, 11):
            for column in (0, 1):
                p = ks_2samp(ours[:, year, column], np.log(theirs[:, year, column])).pvalue
                assert p > 1e-5


def test_paths_agree_with_plain_python():
    theta = prior_draws()[hardest()[:8]].copy()
    theta[:, 6:] = 1e-300
    rng = np.random.default_rng(10)
    theirs = np.stack([loop(row, rng, 21) for row in theta])
    np.testing.assert_allclose(MODEL.simulate(theta, rng, 21), theirs, rtol=1e-6)


def test_log_likelihood_is_scipys_log_normal():
    theta, median = prior_draws()[hardest()], np.exp(hardest_solved())
    want = lognorm.logpdf(MODEL.observed, theta[:, None, 6:], scale=median).sum(axis=(1, 2))
    got = MODEL.log_likelihood(theta, MODEL.observed)
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_log_likelihood_takes_one_dataset_or_one_a_row_also_ragged():
    theta = np.stack([PUBLISHED_MEAN, PUBLISHED_MEAN * 1.1])
    pelts = MODEL.observed
    both = MODEL.log_likelihood(theta, [pelts, pelts[:6]])
    assert both[0] == pytest.approx(MODEL.log_likelihood(theta, pelts)[0])
    assert both[1] == pytest.approx(MODEL.log_likelihood(theta, pelts[:6])[1])
    year_by_year = [
        lognorm.logpdf(pelts[t], theta[1, 6:], scale=MODEL.populations(theta)[1, t]).sum()
        for t in range(6)
    ]
    assert both[1] == pytest.approx(sum(year_by_year))


def test_columns_are_found_by_name():
    text = files("simulators").joinpath("data", "hudson_bay_pelts.csv")
    with text.open() as file:
        frame = pd.read_csv(file)
    assert list(frame.columns) == ["year", "lynx", "hare"]
    theta = PUBLISHED_MEAN[None]
    want = MODEL.log_likelihood(theta, MODEL.observed)
    np.testing.assert_array_equal(MODEL.log_likelihood(theta, frame), want)
    assert abs(MODEL.log_likelihood(theta, MODEL.observed[:, ::-1]) - want) > 10


def test_log_likelihood_of_an_impossible_sigma_is_minus_infinity():
    theta = np.array([[*PUBLISHED_MEAN[:6], 1e-300, 0.25]])
    assert MODEL.log_likelihood(theta, MODEL.observed) == -np.inf


def test_posterior_of_the_pelts_is_the_published_one():
    """Importance sampling of log theta from a t distribution around the mode."""

    def target(w):
        theta = np.exp(w)
        likelihood = MODEL.log_likelihood(theta, MODEL.observed)
        return MODEL.prior.log_prob(theta) + likelihood + w.sum(axis=1)

    start = np.log([0.5, 0.03, 0.8, 0.03, 30, 5, 0.3, 0.3])
    mode = minimize(lambda w: -target(w[None])[0], start, options={"gtol": 1e-3}).x
    signs = np.array([(1, 1), (1, -1), (-1, 1), (-1, -1)])
    step = 1e-3 * np.eye(8)
    points = [mode + s * x + t * y for x in step for y in step for s, t in signs]
    values = target(np.array(points)).reshape(8, 8, 4)
    curvature = -(values @ [1, -1, -1, 1]) / 4e-6
    root = np.linalg.cholesky(np.linalg.inv(curvature))

    rng, draws, df = np.random.default_rng(11), 40_000, 10
    z = rng.standard_normal((draws, 8)) * np.sqrt(df / rng.chisquare(df, (draws, 1)))
    w = mode + 1.1 * z @ root.T
    log_weight = target(w) + (df + 8) / 2 * np.log1p((z**2).sum(axis=1) / df)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    effective = 1 / (weight**2).sum()
    mean = weight @ np.exp(w)
    sd = np.sqrt(weight @ (np.exp(w) - mean) ** 2)

    assert effective > 10_000
    # The published digits are as coarse as 1.5 % of an sd, the sds' as coarse as 1.4 %.
    assert (np.abs(mean - PUBLISHED_MEAN) < 0.06 * PUBLISHED_SD).all()
    np.testing.assert_allclose(sd, PUBLISHED_SD, rtol=0.05)


def test_observed_are_the_pelts_of_1900_to_1920():
    pelts = np.stack([np.array(PELTS[name].split(), dtype=float) for name in ("hare", "lynx")], 1)
    np.testing.assert_array_equal(MODEL.observed, pelts)
    text = files("simulators").joinpath("data", "hudson_bay_pelts.csv").read_text("utf-8")
    assert [int(row["year"]) for row in csv.DictReader(text.splitlines())] == [*range(1900, 1921)]
    np.testing.assert_array_equal(LotkaVolterra(years=(4, 9)).observed, pelts[:9])
    np.testing.assert_array_equal(LotkaVolterra(years=40).observed, pelts)


def test_observed_are_plausible_at_the_published_posterior():
    residual = np.log(MODEL.observed / MODEL.populations(PUBLISHED_MEAN[None])[0])
    z = residual / PUBLISHED_MEAN[6:]
    assert chi2(42).ppf(1e-3) < (z**2).sum() < chi2(42).isf(1e-3)


def test_settings_are_stored_under_their_own_names_and_come_back_from_json():
    settings = {
        "years": (4, 9),
        "alpha": (0.5, 0.1),
        "hare_0": (3.0, 0.2),
        "sigma_lynx": (-2.0, 0.5),
        "tolerance": 1e-9,
    }
    model = LotkaVolterra(**settings)
    assert {name: getattr(model, name) for name in settings} == settings
    assert LotkaVolterra(**json.loads(json.dumps(settings))) == model
    assert hash(model) == hash(LotkaVolterra(**settings))
    assert model.data.columns == ("hare", "lynx")
    assert model.data.n_range == (4, 9)


def test_priors_are_the_published_ones():
    draws = dict(zip(NAMES, prior_draws().T, strict=True))
    for name in ("alpha", "gamma"):
        assert kstest(draws[name], truncnorm(-2, np.inf, 1, 0.5).cdf).pvalue > 1e-5
    for name in ("beta", "delta"):
        assert kstest(draws[name], truncnorm(-1, np.inf, 0.05, 0.05).cdf).pvalue > 1e-5
    for name in ("hare_0", "lynx_0"):
        assert kstest(draws[name], lognorm(1, scale=10).cdf).pvalue > 1e-5
    for name in ("sigma_hare", "sigma_lynx"):
        assert kstest(draws[name], lognorm(1, scale=np.exp(-1)).cdf).pvalue > 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_each_setting_moves_its_own_prior_only(name):
    mean, sd = getattr(MODEL, name)
    moved = LotkaVolterra(**{name: (mean + sd, 0.5 * sd)})
    u = np.random.default_rng(12).standard_normal((100, 8))
    changed = (moved.prior.unwhiten(u) != MODEL.prior.unwhiten(u)).any(axis=0)
    assert [other for other, moves in zip(NAMES, changed, strict=True) if moves] == [name]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"years": 0}, BadValue, "n as an integer >= 1; got 0"),
        ({"years": (9, 4)}, BadValue, "largest n as an integer >= 9; got 4"),
        ({"alpha": 1.0}, BadType, r"alpha as \(mean, sd\) of its prior; got 1.0; pass two numb"),
        ({"gamma": (1.0, 0.5, 0)}, BadType, r"gamma as \(mean, sd\) of its prior; got \(1.0,"),
        ({"beta": (0.05, 0)}, BadValue, "sd of beta as a finite number > 0; got 0"),
        ({"delta": ("a", 1)}, BadType, "mean of delta as a finite number; got 'a'"),
        ({"delta": (-9.0, 1)}, BadValue, "mass between low and high"),
        ({"lynx_0": (np.nan, 1)}, BadValue, "mean of lynx_0 as a finite number; got nan"),
        ({"sigma_hare": (0, -1)}, BadValue, "sd of sigma_hare as a finite number > 0; got -1"),
        ({"tolerance": 0}, BadValue, r"tolerance as a finite number in \[1e-15, 0.001\]; got 0"),
        ({"sigma": (0, 1)}, TypeError, "unexpected keyword argument 'sigma'"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        LotkaVolterra(**settings)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("alpha", -0.1, "parameter alpha >= 0; got -0.1 in row 1"),
        ("delta", np.inf, "theta without NaN or inf; got inf at row 1 of column 'delta'"),
        ("hare_0", 0.0, "parameter hare_0 >= 2.22507e-308; got 0 in row 1"),
        ("sigma_lynx", 0.0, "parameter sigma_lynx >= 2.22507e-308; got 0 in row 1"),
        (
            "alpha",
            1e300,
            "10000 steps a year; got alpha 1e\\+300, beta 0.0277, .* in row 1; choose",
        ),
        ("beta", 1e308, "10000 steps a year; got .* beta 1e\\+308, .* in row 1; choose lower"),
        ("lynx_0", 1e308, "10000 steps a year; got .* lynx_0 1e\\+308 in row 1; choose lower"),
    ],
)
@pytest.mark.parametrize("method", ["simulate", "populations", "log_likelihood"])
def test_bad_parameters_are_refused(method, column, value, message):
    theta = np.tile(PUBLISHED_MEAN, (3, 1))
    theta[1, NAMES.index(column)] = value
    calls = {
        "simulate": lambda: MODEL.simulate(theta, np.random.default_rng(0), 21),
        "populations": lambda: MODEL.populations(theta),
        "log_likelihood": lambda: MODEL.log_likelihood(theta, MODEL.observed),
    }
    with pytest.raises(BadValue, match=message):
        calls[method]()


def test_bad_shapes_are_refused():
    with pytest.raises(BadValue, match=r"theta of shape \(b, 8\); got \(8,\); pass one row \(alph"):
        MODEL.populations(PUBLISHED_MEAN)
    with pytest.raises(BadValue, match="n as an integer >= 1; got 0"):
        MODEL.simulate(PUBLISHED_MEAN[None], np.random.default_rng(0), 0)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[30.0, 4.0], [47.2, 0.0]], "counts of pelts > 0; got 0; leave out the years"),
        ([[30.0, 4.0], [-1.0, 6.1]], "counts of pelts > 0; got -1"),
        (np.ones((2, 21, 2)), "1 or 3 datasets for 3 rows of theta; got 2"),
        ({"hares": [1, 2], "lynx": [1, 2]}, "columns hare, lynx; got only hares, lynx"),
    ],
)
def test_bad_data_are_refused(x, message):
    with pytest.raises(BadValue, match=message):
        MODEL.log_likelihood(np.tile(PUBLISHED_MEAN, (3, 1)), x)
