"""The Ricker simulator: counts, path and noise against hand computations and other programs."""

import json
from math import exp, log

import numpy as np
import pytest
from scipy.stats import chisquare, ks_2samp, kstest, poisson

from sbi_kit.checks import BadType, BadValue
from sbi_kit.testing import check_simulator
from simulators.ricker import Ricker
from tests.oracles.ricker import loop, vectorised

MODEL = Ricker()


def counts(model, row, b, n, seed):
    """Counts (b, n) of b replicates of one parameter vector."""
    theta = np.tile(np.asarray(row, dtype=float), (b, 1))
    return model.simulate(theta, np.random.default_rng(seed), n)[..., 0]


def fit_to_poisson(x, mean):
    """p-value of chi-square with about 40 cells that the distribution function makes equal."""
    cuts = np.unique(poisson.ppf([*np.arange(0.025, 1, 0.025), 0.999], mean))
    mass = np.diff([0, *poisson.cdf(cuts, mean), 1])
    seen = np.bincount(np.searchsorted(cuts, x), minlength=len(mass))
    return chisquare(seen, mass * len(x)).pvalue


def hand_path(r, start, generations):
    size = [start]
    for _ in range(generations - 1):
        size.append(r * size[-1] * exp(-size[-1]))
    return np.array(size)


@pytest.mark.parametrize(
    "model",
    [MODEL, Ricker(n=(2, 30), log_r=(0.5, 5), initial_population=0.7, burn_in=9, dummy=True)],
    ids=["default", "log_r, dummy and burn-in"],
)
def test_keeps_the_simulator_contract(model):
    check_simulator(model)


@pytest.mark.parametrize("mean", [0.01, 0.7, 5.0, 9.99, 10.0, 10.01, 50.0, 1e3, 1e4])
def test_first_count_is_poisson_with_mean_rho_times_the_initial_population(mean):
    x = counts(Ricker(initial_population=2.5), [40.0, 0.5, mean / 2.5], 200_000, 1, seed=1)[:, 0]
    assert (x % 1 == 0).all()
    assert fit_to_poisson(x, mean) > 1e-5


@pytest.mark.parametrize(("initial", "rho"), [(1e-300, 1.0), (5e-324, 1e4), (1e6, 0.0)])
def test_a_vanishing_mean_gives_no_count(initial, rho):
    assert not counts(Ricker(initial_population=initial), [40.0, 0.5, rho], 100, 1, seed=0).any()


def test_without_noise_counts_are_poisson_around_the_path_computed_by_hand():
    r, rho, start = 40.0, 12.0, 5.0
    path = rho * hand_path(r, start, 6)
    x = counts(Ricker(initial_population=start), [r, 0.0, rho], 40_000, 6, seed=2)
    assert path.min() < 0.2  # a crash is among them
    assert path.max() > 60
    assert (np.abs(x.mean(axis=0) - path) < 5 * np.sqrt(path / len(x))).all()
    spread = np.sqrt((path + 2 * path**2) / len(x))  # of a Poisson sample's variance
    assert (np.abs(x.var(axis=0) - path) < 5 * spread).all()
    assert np.abs(np.corrcoef(x.T) - np.eye(6)).max() < 5 / np.sqrt(len(x))
    assert min(fit_to_poisson(column, mean) for column, mean in zip(x.T, path, strict=True)) > 1e-5


def test_count_comes_before_the_update_and_the_noise_after_the_first_count():
    x = counts(Ricker(initial_population=3.0), [50.0, 2.0, 1e4], 2_000, 2, seed=3)
    assert kstest(x[:, 0], poisson(3e4).cdf).pvalue > 1e-4
    log_second = np.log(x[:, 1] / 1e4)
    assert abs(log_second.mean() - (log(50 * 3) - 3)) < 5 * 2.0 / np.sqrt(2_000)


def test_noise_is_recovered_from_the_increments():
    r, sigma, rho = 3.0, 0.3, 1e4
    x = counts(Ricker(initial_population=1.1), [r, sigma, rho], 40, 400, seed=4)
    size = x / rho  # N within 1 %
    noise = np.diff(np.log(size)) - log(r) + size[:, :-1]
    # Counting adds at most 1 / (rho N) for each end of an increment to the variance.
    counted = (2 / (rho * size.min())) ** 0.5
    assert counted < 0.1 * sigma
    assert abs(noise.mean()) < 5 * sigma / np.sqrt(noise.size)
    assert abs(noise.std() - sigma) < 5 * sigma / np.sqrt(2 * noise.size) + counted**2 / sigma
    assert kstest(noise.ravel(), "norm", (0, sigma)).pvalue > 1e-4
    lagged = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
    assert abs(lagged) < 5 / np.sqrt(noise.size)
    across = np.corrcoef(noise) - np.eye(40)  # each dataset has noise of its own
    assert np.abs(across).max() < 6 / np.sqrt(399)


def test_crash_beyond_the_smallest_float_recovers():
    r, start = 90.0, 1_500.0
    # log N falls to log(90 * 1500) - 1500 = -1488 and rises by log 90 = 4.5 in each generation.
    recovery = int((1_500 - log(1_500)) / log(r))
    x = counts(Ricker(initial_population=start), [r, 0.0, 10.0], 50, recovery + 5, seed=5)
    assert not x[:, 1 : recovery - 5].any()
    assert x[:, recovery - 1 :].any(axis=1).all()


@pytest.mark.parametrize(
    "row", [(0.0, 0.3, 10.0), (90.0, 0.7, 0.0), (1e-300, 2.0, 1e4), (1e3, 2.0, 1e4), (0.5, 0.0, 15)]
)
def test_extreme_parameters_end_in_finite_whole_counts(row):
    x = counts(Ricker(initial_population=1e6), row, 20, 300, seed=6)
    assert (x >= 0).all()
    assert (x % 1 == 0).all()
    x = counts(Ricker(), row, 20, 300, seed=7)
    assert np.isfinite(x).all()
    if row[0] < 1:
        assert x[:, 0].sum() > 0
        assert not x[:, 50:].any()


def test_counts_are_finite_over_the_prior():
    rng = np.random.default_rng(8)
    x = MODEL.simulate(MODEL.prior.sample(2_000, rng), rng, 500)
    assert x.shape == (2_000, 500, 1)
    assert (x >= 0).all()
    assert (x % 1 == 0).all()
    assert 100 < x.max() < 1e6


def statistics(x):
    """What tells Ricker series apart, each (b,)."""
    x = x[..., 0]
    squares = np.sqrt(x)
    centred = squares - squares.mean(axis=1, keepdims=True)
    power = (centred**2).sum(axis=1) + 1e-9
    yield "first", x[:, 0]
    yield "last", x[:, -1]
    yield "mean", x.mean(axis=1)
    yield "largest", x.max(axis=1)
    yield "zeros", (x == 0).mean(axis=1)
    for lag in (1, 2):
        yield f"lag {lag}", (centred[:, lag:] * centred[:, :-lag]).sum(axis=1) / power


@pytest.mark.parametrize(("b", "n", "settings"), [(4_000, 100, {}), (4_000, 20, {"burn_in": 7})])
def test_series_are_distributed_as_those_of_a_vectorised_oracle(b, n, settings):
    rng = np.random.default_rng(9)
    theta = MODEL.prior.sample(b, rng)
    own = Ricker(initial_population=4.0, **settings).simulate(theta, rng, n)
    other = vectorised(MODEL.prior.sample(b, rng), rng, n, initial_population=4.0, **settings)
    for (name, ours), (_, theirs) in zip(statistics(own), statistics(other), strict=True):
        assert ks_2samp(ours, theirs).pvalue > 1e-5, name


@pytest.mark.parametrize("row", [(44.7, 0.3, 10.0), (6.0, 0.6, 3.0)])
def test_series_of_one_parameter_are_distributed_as_those_of_a_loop(row):
    own = counts(MODEL, row, 400, 60, seed=10)[..., None]
    rng = np.random.default_rng(11)
    other = np.stack([loop(row, rng, 60) for _ in range(400)])
    for (name, ours), (_, theirs) in zip(statistics(own), statistics(other), strict=True):
        assert ks_2samp(ours, theirs).pvalue > 1e-5, name


def test_same_seed_gives_the_same_series_and_the_first_is_not_the_second():
    first, again = (counts(MODEL, [44.7, 0.3, 10.0], 2, 100, seed=12) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()


def test_log_r_is_the_logarithm_of_r():
    theta = MODEL.prior.sample(50, np.random.default_rng(13))
    model = Ricker(log_r=(1.0, 4.0))
    logged = np.column_stack([np.log(theta[:, 0]), theta[:, 1:]])
    ours = model.simulate(logged, np.random.default_rng(14), 100)
    np.testing.assert_array_equal(ours, MODEL.simulate(theta, np.random.default_rng(14), 100))
    draws = model.prior.sample(5_000, np.random.default_rng(15))[:, 0]
    assert kstest(draws, "uniform", (1.0, 3.0)).pvalue > 1e-4


def test_dummy_changes_nothing():
    model = Ricker(dummy=True)
    theta = model.prior.sample(50, np.random.default_rng(16))
    x = model.simulate(theta, np.random.default_rng(17), 100)
    without = MODEL.simulate(theta[:, :3], np.random.default_rng(17), 100)
    np.testing.assert_array_equal(x, without)
    moved = np.column_stack([theta[:, :3], np.full(50, -1e6)])
    np.testing.assert_array_equal(model.simulate(moved, np.random.default_rng(17), 100), x)
    u = model.prior.sample(5_000, np.random.default_rng(18))[:, 3]
    assert kstest(u, "uniform").pvalue > 1e-4


def test_burn_in_is_simulated_but_not_recorded():
    path = 100 * hand_path(8.0, 10.0, 8)[5:]
    x = counts(Ricker(burn_in=5), [8.0, 0.0, 100.0], 2_000, 3, seed=19)
    assert (np.abs(x.mean(axis=0) - path) < 5 * np.sqrt(path / 2_000)).all()
    one = Ricker(initial_population=1.0, burn_in=1)
    noisy = counts(one, [8.0, 0.4, 1e4], 4_000, 1, seed=20)[:, 0] / 1e4
    assert abs(np.log(noisy).std() - 0.4) < 5 * 0.4 / np.sqrt(8_000) + 1e-3


def test_bounds_of_the_priors_are_those_given():
    model = Ricker(r=(2, 3), sigma=(0.1, 0.2), rho=(5.0, 6.0))
    draws = model.prior.sample(5_000, np.random.default_rng(21))
    for column, low, width in zip(draws.T, (2, 0.1, 5), (1, 0.1, 1), strict=True):
        assert kstest(column, "uniform", (low, width)).pvalue > 1e-4
    low, high = MODEL.prior.unwhiten([[-40.0] * 3, [40.0] * 3])
    np.testing.assert_allclose(low, [1, 0.05, 0], atol=1e-9)
    np.testing.assert_allclose(high, [90, 0.7, 15], atol=1e-9)


def test_observed_is_fixed_and_plausible_under_its_truth():
    assert MODEL.observed.shape == (100, 1)
    np.testing.assert_array_equal(MODEL.observed, Ricker().observed)
    np.testing.assert_allclose(MODEL.observed_theta, [exp(3.8), 0.3, 10.0])
    assert np.isfinite(MODEL.prior.log_prob(MODEL.observed_theta))
    fresh = counts(MODEL, MODEL.observed_theta, 1_000, 100, seed=22)[..., None]
    for (name, one), (_, many) in zip(
        statistics(MODEL.observed[None]), statistics(fresh), strict=True
    ):
        below, above = (many <= one).mean(), (many >= one).mean()
        assert min(below, above) > 0.005, name


def test_observed_follows_the_parameters():
    model = Ricker(log_r=(3.0, 5.0), dummy=True, n=(30, 60))
    np.testing.assert_allclose(model.observed_theta, [3.8, 0.3, 10.0, 0.5])
    assert model.observed.shape == (30, 1)
    np.testing.assert_array_equal(model.observed, Ricker(n=30).observed)
    narrow = Ricker(r=(1.0, 5.0))
    np.testing.assert_allclose(narrow.observed_theta, [3.0, 0.375, 7.5])


def test_settings_are_stored_under_their_own_names_and_may_come_from_json():
    settings = {
        "n": (50, 80),
        "sigma": (0.1, 0.5),
        "rho": (1.0, 20.0),
        "log_r": (2.0, 5.0),
        "initial_population": 2.5,
        "burn_in": 50,
        "dummy": True,
    }
    model = Ricker(**json.loads(json.dumps(settings)))
    assert {name: getattr(model, name) for name in settings} == settings
    assert model == Ricker(**settings)
    assert hash(model) == hash(Ricker(**settings))
    assert model.prior.names == ("log_r", "sigma", "rho", "u")
    assert MODEL.prior.names == ("r", "sigma", "rho")
    assert (model.data.columns, model.data.n_range) == (("count",), (50, 80))
    rebuilt = Ricker(**{name: getattr(MODEL, name) for name in MODEL.__dataclass_fields__})
    assert rebuilt == MODEL


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n": 0}, BadValue, "n as an integer >= 1; got 0"),
        ({"r": (3.0, 3.0)}, BadValue, r"highest r as a finite number in \(3, 1000\]; got 3"),
        ({"r": 3.0}, BadType, r"r as \(lowest, highest\); got 3.0; pass two numbers"),
        ({"r": (1, 2, 3)}, BadType, r"r as \(lowest, highest\); got \(1, 2, 3\)"),
        ({"r": (1.0, 2e3)}, BadValue, r"highest r as a finite number in \(1, 1000\]; got 2000"),
        (
            {"sigma": (-0.1, 0.5)},
            BadValue,
            r"lowest sigma as a finite number in \[0, 2\]; got -0.1",
        ),
        ({"rho": ("0", 5)}, BadType, r"lowest rho as a finite number in \[0, 10000\]; got '0'"),
        ({"log_r": (0, 8)}, BadValue, r"highest log_r as a finite number in \(0, 7\]; got 8"),
        ({"log_r": (1, 2), "r": (1, 8)}, BadValue, "a prior of r or of log_r; got both"),
        ({"initial_population": 0}, BadValue, r"initial_population .* in \(0, 1e\+06\]; got 0"),
        ({"burn_in": -1}, BadValue, r"burn_in as an integer in \[0, 1e\+06\]; got -1"),
        ({"burn_in": 2.0}, BadType, "burn_in as an integer in .* got 2.0"),
        ({"dummy": 1}, BadType, "dummy as True or False; got 1"),
        ({"phi": (0, 1)}, TypeError, "unexpected keyword argument 'phi'"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Ricker(**settings)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ([[40.0, 0.3]], r"theta of shape \(b, 3\); got \(1, 2\); pass one row \(r, sigma, rho\)"),
        ([[40.0, np.nan, 10.0]], "theta without NaN or inf; got nan at row 0 of column 'sigma'"),
        ([[40.0, 0.3, 1.0], [-1.0, 0.3, 1.0]], r"r in \[0, 1000\]; got -1 in row 1"),
        ([[40.0, -0.3, 1.0]], r"sigma in \[0, 2\]; got -0.3 in row 0"),
        ([[40.0, 0.3, 1e5]], r"rho in \[0, 10000\]; got 100000 in row 0"),
    ],
)
def test_bad_parameters_are_refused(theta, message):
    with pytest.raises(BadValue, match=message):
        MODEL.simulate(np.array(theta), np.random.default_rng(0), 100)


def test_no_generation_is_refused():
    with pytest.raises(BadValue, match="n as an integer >= 1; got 0"):
        MODEL.simulate(np.array([[40.0, 0.3, 10.0]]), np.random.default_rng(0), 0)


# Summaries


def test_summaries_are_what_they_are_called():
    theta = np.array([[exp(3.8), 0.3, 10.0], [20.0, 0.5, 3.0]])
    x = Ricker().simulate(theta, np.random.default_rng(0), 60)
    found = Ricker.summaries(x)
    assert found.shape == (2, 15)
    for row, y in zip(found, x[..., 0], strict=True):
        assert row[0] == pytest.approx(y.mean())
        assert row[1] == pytest.approx((y == 0).mean())
        assert row[2] == pytest.approx(np.log1p(y.var()))
        centred = y - y.mean()
        for lag in range(1, 6):
            expected = (centred[lag:] * centred[:-lag]).mean() / y.var()
            assert row[2 + lag] == pytest.approx(expected)
        design = np.column_stack([y[:-1] ** 0.3, y[:-1] ** 0.6])
        slopes = np.linalg.lstsq(design, y[1:] ** 0.3, rcond=None)[0]
        np.testing.assert_allclose(row[8:10], slopes, rtol=1e-5)
        steps = np.diff(y) / y.std()
        np.testing.assert_allclose(row[10:], np.quantile(steps, [0.05, 0.25, 0.5, 0.75, 0.95]))


def test_summaries_of_constant_series_are_finite():
    found = Ricker.summaries(np.zeros((2, 9, 1)))
    np.testing.assert_array_equal(found, np.eye(15)[[1, 1]])


def test_summaries_refuse_what_are_no_series():
    with pytest.raises(BadValue, match=r"counts of shape \(b, n, 1\); got \(9, 1\); pass series"):
        Ricker.summaries(np.zeros((9, 1)))
    with pytest.raises(BadValue, match="series of 7 counts or more; got 6; pass series"):
        Ricker.summaries(np.zeros((1, 6, 1)))
    with pytest.raises(BadValue, match="counts"):
        Ricker.summaries(np.full((1, 9, 1), np.nan))
