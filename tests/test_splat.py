"""The Splat simulator: kernels against scipy, each step of the model, and independent oracles."""

from itertools import product

import numpy as np
import pytest
from numba import njit
from scipy.stats import beta, chisquare, gamma, ks_2samp, kstest, nbinom, norm, poisson

from sbi_kit.checks import BadType, BadValue
from sbi_kit.testing import check_simulator
from simulators import splat
from simulators.splat import Splat
from tests.oracles.splat import loop, vectorised

MODEL = Splat()
NAMES = (
    "mean_shape",
    "mean_rate",
    "outlier_location",
    "outlier_probability",
    "outlier_scale",
    "library_location",
    "library_scale",
    "bcv",
)
TYPICAL = dict(zip(NAMES, (1.5, 1.0, 3.0, 0.2, 0.7, 8.0, 1.2, 0.4), strict=True))
# All genes alike, no outlier, one size of all cells: the mean of a count is library / genes.
EVEN = {**TYPICAL, "mean_shape": 1e6, "outlier_probability": 0.0, "library_scale": 0.0}
# So many counts, so little variation that a row is its means.
EXACT = {"library_location": 30.0, "library_scale": 0.0, "bcv": 0.0}


def simulate(b, seed, *, n=None, model=MODEL, **parameters):
    theta = np.array([[{**TYPICAL, **parameters}[name] for name in NAMES]]).repeat(b, axis=0)
    return model.simulate(theta, np.random.default_rng(seed), n or model.data.n_range[1])


@njit
def filled(sampler, rng, parameter, draws):
    """Draws of a sampler that only compiled code calls fast enough for a sharp test."""
    out = np.empty(draws)
    for i in range(draws):
        out[i] = sampler(rng, parameter)
    return out


def assert_mean(values, expected, *, sigmas=5):
    """The mean over the first axis is what it should be, within its Monte Carlo error."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - expected) < sigmas * error).all()


def assert_counts_follow(counts, distribution):
    """Chi-square test of whole counts against a distribution of scipy's, in cells of >= 20."""
    highest = int(distribution.isf(20 / len(counts)))
    edges = np.arange(int(distribution.ppf(20 / len(counts))), highest + 1)
    edges = edges[:: max(1, len(edges) // 60)]
    mass = np.diff([0.0, *distribution.cdf(edges), 1.0])
    seen = np.bincount(np.searchsorted(edges, counts), minlength=len(mass))
    assert chisquare(seen, len(counts) * mass).pvalue > 1e-5


@pytest.mark.parametrize(
    "model",
    [MODEL, Splat(genes=3, cells=(2, 9), bcv_df=10, dropout_midpoint=1.0, bcv=(0.0, 0.2))],
    ids=["default", "few genes, dropout"],
)
def test_keeps_the_simulator_contract(model):
    check_simulator(model)


@pytest.mark.parametrize("shape", [0.02, 0.2, 0.6, 1.0, 1.5, 30.0, 1e6])
def test_gamma_kernel_is_scipys_gamma(shape):
    draws = filled(splat._gamma, np.random.default_rng(1), shape, 200_000)
    assert kstest(draws, gamma(shape).cdf).pvalue > 1e-5
    assert_mean(draws, shape)


@pytest.mark.parametrize("mean", [1e-3, 0.3, 2.0, 9.999, 10.0, 12.0, 17.0, 30.0, 300.0, 1e6])
def test_poisson_kernel_is_scipys_poisson(mean):
    draws = filled(splat._poisson, np.random.default_rng(2), mean, 2_000_000)
    assert (draws % 1 == 0).all()
    assert_counts_follow(draws, poisson(mean))


@pytest.mark.parametrize("mean", [1e9, 1e13, 1e18, 1e40])
def test_poisson_kernel_at_huge_means(mean):
    draws = filled(splat._poisson, np.random.default_rng(3), mean, 200_000)
    assert np.isfinite(draws).all()
    if mean < 1e30:  # beyond, the spacing of doubles is wider than the distribution
        assert kstest((draws - mean) / np.sqrt(mean), "norm").pvalue > 1e-5
    np.testing.assert_allclose(draws, mean, rtol=6 / np.sqrt(mean) + 1e-15)


def test_poisson_mass_keeps_its_digits():
    for mean in (10.0, 50.0, 1e4):
        k = np.unique(np.floor(mean + np.sqrt(mean) * np.linspace(-3, 8, 50)))
        mine = [splat._log_poisson_mass(float(count), mean) for count in k]
        np.testing.assert_allclose(mine, poisson(mean).logpmf(k), atol=2e-10, rtol=1e-11)
    for mean in (1e12, 1e15, 1e18):  # normal, but for a term of the order 1 / sqrt(mean)
        for z in (-3.0, 0.0, 2.0):
            k = np.floor(mean + z * np.sqrt(mean))
            normal = norm.logpdf((k - mean) / np.sqrt(mean)) - np.log(mean) / 2
            want = pytest.approx(normal, abs=20 / np.sqrt(mean) + 1e-15 * np.sqrt(mean))
            assert splat._log_poisson_mass(k, mean) == want


def test_powers_of_two_in_the_rate_change_no_bit_of_the_data():
    theta = MODEL.prior.sample(100, np.random.default_rng(4))
    data = []
    for rate in (0.25, 1.0, 4.0, 2.0**40):
        theta[:, 1] = rate
        data.append(MODEL.simulate(theta, np.random.default_rng(5), 40))
    for other in data[1:]:
        np.testing.assert_array_equal(other, data[0])


def test_rate_cancels():
    theta = MODEL.prior.sample(300, np.random.default_rng(6))
    first = MODEL.simulate(theta, np.random.default_rng(7), 40)
    theta[:, 1] = MODEL.prior.sample(300, np.random.default_rng(8))[:, 1]
    second = MODEL.simulate(theta, np.random.default_rng(7), 40)
    # A last bit may flip one draw in 1e14, and then the rest of the stream.
    assert np.mean(first == second) > 0.9


def test_libraries_are_log_normal_and_independent():
    x = simulate(1_000, 9, n=10, library_location=27.0, library_scale=1.3, bcv=0.0)
    z = (np.log(x.sum(axis=2)) - 27.0) / 1.3
    assert kstest(z.ravel(), "norm").pvalue > 1e-5
    assert np.abs(np.corrcoef(z.T) - np.eye(10)).max() < 5 / np.sqrt(1_000)


@pytest.mark.parametrize(("location", "bcv"), [(3.0, 0.9), (6.0, 0.5), (12.0, 0.1)])
def test_a_library_is_the_expected_sum_of_a_cells_counts(location, bcv):
    x = simulate(4_000, 10, n=1, library_location=location, library_scale=0.0, bcv=bcv)
    assert_mean(x.sum(axis=2)[:, 0], np.exp(location))


def test_base_means_are_gamma():
    for shape in (0.3, 1.0, 1.8):
        x = simulate(5_000, 11, n=1, mean_shape=shape, outlier_probability=0.0, **EXACT)[:, 0]
        share = x[:, 0] / x.sum(axis=1)  # of gamma variables: beta distributed
        assert kstest(share, beta(shape, 99 * shape).cdf).pvalue > 1e-5


@pytest.mark.parametrize("probability", [0.0, 0.01, 0.4, 1.0])
def test_share_of_outlier_genes(probability):
    fixed = {**EVEN, **EXACT, "outlier_location": 3.0, "outlier_scale": 0.1}
    x = simulate(1_000, 12, n=1, **{**fixed, "outlier_probability": probability})[:, 0]
    least = x.min(axis=1, keepdims=True)  # a usual gene, unless all are outliers
    outliers = (x > 5 * least).sum() if probability < 1 else x.size
    error = np.sqrt(probability * (1 - probability) / x.size)
    assert abs(outliers / x.size - probability) <= 5 * error


@pytest.mark.parametrize("genes", [100, 101])
def test_an_outlier_is_a_multiple_of_the_median_not_of_its_own_mean(genes):
    fixed = {"outlier_location": 7.0, "outlier_scale": 0.0, "outlier_probability": 0.01, **EXACT}
    x = np.sort(simulate(300, 13, n=1, model=Splat(genes=genes), **fixed)[:, 0], axis=1)
    one = (x[:, -1] > 20 * x[:, -2]) & (x[:, -1] > 0)
    assert one.sum() > 50
    median = x[one, -1] / np.exp(7.0)
    # Of all base means, one of them unseen, the median is next to that of the others.
    below, above = (genes - 1) // 2 - 1, genes // 2
    low, high = x[one, below], x[one, above]
    assert ((median > low * (1 - 1e-4)) & (median < high * (1 + 1e-4))).all()


@pytest.mark.parametrize(("location", "scale"), [(0.5, 2.0), (-1.0, 0.5), (4.0, 0.3)])
def test_factors_of_outliers_are_log_normal_and_inverted_below_one(location, scale):
    fixed = {"outlier_location": location, "outlier_scale": scale, **EXACT}
    x = simulate(5_000, 14, n=1, model=Splat(genes=2), outlier_probability=1.0, **fixed)[:, 0]
    factors = np.exp(np.random.default_rng(15).normal(location, scale, size=(20_000, 2)))
    first, second = np.log(np.maximum(factors, 1 / factors)).T
    assert ks_2samp(np.log(x[:, 0] / x[:, 1]), first - second).pvalue > 1e-5


@pytest.mark.parametrize("mean", [0.01, 0.4, 5.0, 60.0, 3_000.0])
@pytest.mark.parametrize("bcv", [0.0, 0.8])
def test_counts_without_chi_square_are_negative_binomial(mean, bcv):
    model = Splat(genes=10, bcv_df=1e12)
    fixed = {**EVEN, "library_location": np.log(10 * mean), "bcv": bcv}
    x = simulate(4_000, 16, n=2, model=model, **fixed).ravel()
    size = 1 / (bcv + mean**-0.5) ** 2
    assert_counts_follow(x, nbinom(size, size / (size + mean)))


@pytest.mark.parametrize(("mean", "bcv"), [(0.05, 0.3), (2.0, 0.9), (50.0, 0.5), (1e5, 0.2)])
def test_moments_of_counts_and_of_the_variation_that_a_gene_shares(mean, bcv):
    df = 30.0
    model = Splat(genes=10, bcv_df=df)
    fixed = {**EVEN, "library_location": np.log(10 * mean), "bcv": bcv}
    x = simulate(8_000, 17, n=2, model=model, **fixed)
    assert_mean(x.mean(axis=(1, 2)), mean)
    squares = (x - mean) ** 2
    dispersion = (mean * (bcv + mean**-0.5)) ** 2
    assert_mean(squares.mean(axis=(1, 2)), mean + dispersion * df / (df - 2))
    # Cells of a gene share its chi-square, genes of a cell share nothing.
    variance_of_inverse = 2 * df**2 / ((df - 2) ** 2 * (df - 4))
    excess = squares - mean - dispersion * df / (df - 2)
    assert_mean((excess[:, 0] * excess[:, 1]).mean(axis=1), dispersion**2 * variance_of_inverse)
    assert_mean((excess[:, 0, ::2] * excess[:, 0, 1::2]).mean(axis=1), 0.0)


def test_more_degrees_of_freedom_mean_less_variation_between_genes():
    fixed = {**EVEN, "library_location": 14.0}
    spread = [
        simulate(50, 18, n=200, model=Splat(bcv_df=df), **fixed).std(axis=1).std(axis=1).mean()
        for df in (5.0, 60.0, 1e12)
    ]
    assert spread[0] > 2 * spread[1] > 2 * spread[2]


@pytest.mark.parametrize("slope", [-1.0, -4.0, 2.0, 0.0])
@pytest.mark.parametrize("offset", [-1.5, 0.0, 0.8])
def test_dropout_is_logistic_in_the_log_mean(slope, offset):
    fixed = {**EVEN, "library_location": np.log(100 * 1e6), "bcv": 0.0}
    model = Splat(dropout_midpoint=float(np.log(1e6)) - offset, dropout_shape=slope)
    x = simulate(40, 19, model=model, **fixed)
    lost = 1 / (1 + np.exp(-slope * offset))
    assert abs(np.mean(x == 0) - lost) < 5 * np.sqrt(lost * (1 - lost) / x.size)
    np.testing.assert_allclose(x[x > 0], 1e6, rtol=0.02)  # what is left is as it was


def test_without_dropout_nothing_is_lost():
    fixed = {**EVEN, "library_location": np.log(100 * 1e6)}
    assert (simulate(20, 20, **fixed) > 0).all()
    assert not simulate(20, 20, model=Splat(dropout_midpoint=30.0, dropout_shape=-9), **fixed).any()


SUMMARIES = {
    "sum of a row": lambda x: np.log1p(x[:, 0].sum(axis=1)),
    "spread of row sums": lambda x: np.log1p(x.sum(axis=2)).std(axis=1),
    "mean of a column": lambda x: np.log1p(x[..., 0].mean(axis=1)),
    "median of column means": lambda x: np.log1p(np.median(x.mean(axis=1), axis=1)),
    "variance of a column": lambda x: np.log1p(x[..., 1].var(axis=1)),
    "coefficient of variation": lambda x: np.median(x.std(axis=1) / (x.mean(axis=1) + 0.1), axis=1),
    "share of zeros": lambda x: (x == 0).mean(axis=(1, 2)),
    "greatest count": lambda x: np.log1p(x.max(axis=(1, 2))),
}
THETAS = [
    [1.5, 1.0, 3.0, 0.2, 0.7, 8.0, 1.2, 0.4],
    [1.0, 5.0, 5.0, 0.5, 2.0, 6.0, 2.0, 0.9],
    [2.0, 0.1, 0.5, 0.01, 0.1, 10.0, 1.0, 0.1],
    [0.3, 2.0, -0.4, 0.9, 0.5, 3.0, 0.2, 0.0],
]


def assert_same_distribution(first, second):
    for name, summary in SUMMARIES.items():
        assert ks_2samp(summary(first), summary(second)).pvalue > 1e-5, name


@pytest.mark.parametrize("midpoint", [None, 2.0])
@pytest.mark.parametrize("theta", THETAS)
def test_agrees_with_numpy(theta, midpoint):
    theta = np.tile(theta, (600, 1))
    model = Splat(genes=31, cells=12, bcv_df=8.0, dropout_midpoint=midpoint, dropout_shape=-2.0)
    settings = {"genes": 31, "bcv_df": 8.0, "midpoint": midpoint, "slope": -2.0}
    want = vectorised(theta, np.random.default_rng(21), 12, **settings)
    assert_same_distribution(model.simulate(theta, np.random.default_rng(22), 12), want)


def test_agrees_with_numpy_over_the_prior():
    rng = np.random.default_rng(23)
    theta = MODEL.prior.sample(600, rng)
    want = vectorised(theta, rng, 40)
    assert_same_distribution(MODEL.simulate(MODEL.prior.sample(600, rng), rng, 40), want)


def test_agrees_with_the_loop():
    settings = {"genes": 12, "bcv_df": 9.0, "midpoint": 1.0, "slope": -1.5}
    rng = np.random.default_rng(24)
    want = np.array([loop(THETAS[0], rng, 8, **settings) for _ in range(400)])
    model = Splat(genes=12, cells=8, bcv_df=9.0, dropout_midpoint=1.0, dropout_shape=-1.5)
    got = model.simulate(np.tile(THETAS[0], (2_000, 1)), np.random.default_rng(25), 8)
    assert_same_distribution(got, want)


def test_cells_and_genes_are_exchangeable():
    x = np.log1p(simulate(4_000, 26, n=6, model=Splat(genes=7)))
    first, last = x[:2_000], x[2_000:]
    for statistic in (np.mean, np.std, np.max):
        for axis in (1, 2):
            ours, theirs = statistic(first, axis=3 - axis), statistic(last, axis=3 - axis)
            assert ks_2samp(ours[:, 0], theirs[:, -1]).pvalue > 1e-5
            assert ks_2samp(ours[:, 0], theirs[:, 1]).pvalue > 1e-5


def test_same_seed_same_data_and_no_data_shared_between_datasets():
    first, again, other = simulate(20, 27), simulate(20, 27), simulate(20, 28)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({row.tobytes() for dataset in first for row in dataset}) == 20 * 40


def test_counts_are_finite_to_the_ends_of_what_is_accepted():
    corners = np.array(list(product(*splat._RANGES.values())))
    tails = MODEL.prior.unwhiten(6 * np.array(list(product((-1.0, 1.0), repeat=8))))
    model = Splat(genes=5, bcv_df=1.0, dropout_midpoint=0.0, dropout_shape=-1e6)
    for theta in (corners, tails):
        for settings in (MODEL, model):
            x = settings.simulate(theta, np.random.default_rng(29), 20)
            assert np.isfinite(x).all()
            assert (x >= 0).all()
            assert (x % 1 == 0).all()


def test_vanishing_libraries_have_no_counts():
    assert not simulate(50, 30, library_location=-50.0).any()


def test_moment_estimate_over_the_prior():
    rng = np.random.default_rng(31)
    theta = MODEL.prior.sample(300, rng)
    estimate = MODEL.moment_estimate(MODEL.simulate(theta, rng, 40))
    assert estimate.shape == (300, 8)
    assert np.isfinite(MODEL.prior.log_prob(estimate)).all()
    r2 = 1 - ((estimate - theta) ** 2).mean(axis=0) / theta.var(axis=0)
    r2 = dict(zip(NAMES, r2, strict=True))
    assert r2["library_location"] > 0.9
    assert r2["library_scale"] > 0.6
    assert r2["bcv"] > 0.35
    assert r2["outlier_location"] > 0.05
    assert (estimate[:, 1] == 2.55).all()  # the prior mean of the rate
    assert np.corrcoef(estimate[:, 0], theta[:, 0])[0, 1] > 0.2


def test_moment_estimate_is_close_where_outliers_stand_apart():
    model = Splat(genes=1_000, cells=200)
    truth = {"outlier_location": 4.5, "outlier_probability": 0.05, "outlier_scale": 0.4}
    x = simulate(2, 32, model=model, library_location=10.0, library_scale=1.0, **truth)
    for row in model.moment_estimate(x):
        got = dict(zip(NAMES, row, strict=True))
        assert got["mean_shape"] == pytest.approx(1.5, abs=0.4)
        assert got["outlier_location"] == pytest.approx(4.5, abs=0.4)
        assert got["outlier_probability"] == pytest.approx(0.05, abs=0.03)
        assert got["outlier_scale"] == pytest.approx(0.4, abs=0.3)
        assert got["library_location"] == pytest.approx(10.0, abs=0.3)
        assert got["library_scale"] == pytest.approx(1.0, abs=0.2)
        assert got["bcv"] == pytest.approx(0.4, abs=0.1)


def test_moment_estimate_ignores_order_and_takes_ragged_data():
    model = Splat(genes=20, cells=(3, 40))
    x = simulate(1, 33, model=model)[0]
    rng = np.random.default_rng(34)
    shuffled = x[rng.permutation(40)][:, rng.permutation(20)]
    both = model.moment_estimate([x, shuffled, x[:5]])
    np.testing.assert_allclose(both[0], both[1], rtol=1e-9)
    np.testing.assert_array_equal(both[2], model.moment_estimate(x[:5])[0])


def test_moment_estimate_of_hardly_any_data_is_the_prior_mean():
    prior_mean = np.array([1.5, 2.55, 2.75, 0.255, 1.05, 8.0, 1.5, 0.5])
    np.testing.assert_allclose(MODEL.moment_estimate(np.zeros((40, 100)))[0], prior_mean)
    single = np.zeros((40, 100))
    single[3, 5] = 400.0
    got = MODEL.moment_estimate([single, np.ones((1, 100)), np.full((2, 100), 7.0)])
    assert got[0, 5] == 6.0  # log 400, held within the prior's bounds
    np.testing.assert_allclose(got[0, [0, 1, 2, 3, 4, 6, 7]], prior_mean[[0, 1, 2, 3, 4, 6, 7]])
    assert np.isfinite(MODEL.prior.log_prob(got)).all()


def test_observed_is_simulated_once_and_for_all():
    np.testing.assert_array_equal(Splat().observed, MODEL.observed)
    assert MODEL.observed.shape == (40, 100)
    assert Splat(cells=(7, 9), genes=6).observed.shape == (7, 6)
    assert np.isfinite(MODEL.prior.log_prob(MODEL.observed_theta[None])).all()
    truth = dict(zip(NAMES, MODEL.observed_theta, strict=True))
    log_sums = np.log(MODEL.observed.sum(axis=1))
    error = truth["library_scale"] / np.sqrt(40)
    assert abs(log_sums.mean() - truth["library_location"]) < 4 * error + 0.2


def test_settings_are_stored_under_their_own_names():
    model = Splat(genes=7, cells=[3, 8], mean_shape=[0.5, 3], dropout_midpoint=2, bcv=[0, 1.5])
    assert (model.cells, model.mean_shape, model.bcv) == ((3, 8), (0.5, 3.0), (0.0, 1.5))
    assert model == Splat(
        genes=7, cells=(3, 8), mean_shape=(0.5, 3.0), dropout_midpoint=2.0, bcv=(0.0, 1.5)
    )
    assert model.prior.names == NAMES
    assert model.data.columns == tuple(f"gene_{i}" for i in range(1, 8))
    assert model.data.n_range == (3, 8)
    assert model.data.columns_exchangeable
    assert model.data.nested


def test_priors_are_uniform_within_their_bounds():
    bounds = np.array(
        [(1, 2), (0.1, 5), (0.5, 5), (0.01, 0.5), (0.1, 2), (6, 10), (1, 2), (0.1, 0.9)]
    )
    draws = MODEL.prior.sample(5_000, np.random.default_rng(35))
    for column, (low, high) in zip(draws.T, bounds, strict=True):
        assert kstest(column, "uniform", args=(low, high - low)).pvalue > 1e-5
    for index, name in enumerate(NAMES):
        low, high = bounds[index, 0], bounds[index].mean()
        draws = Splat(**{name: (low, high)}).prior.sample(2_000, np.random.default_rng(36))
        assert kstest(draws[:, index], "uniform", args=(low, high - low)).pvalue > 1e-5


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"genes": 1}, BadValue, "genes as an integer >= 2; got 1"),
        ({"genes": 10.0}, BadType, "genes as an integer >= 2; got 10.0"),
        ({"cells": 0}, BadValue, "n as an integer >= 1; got 0"),
        ({"cells": (9, 3)}, BadValue, "largest n as an integer >= 9; got 3"),
        ({"bcv_df": 0.5}, BadValue, "bcv_df as a finite number >= 1; got 0.5"),
        ({"dropout_midpoint": "low"}, BadType, "dropout_midpoint as a finite number; got 'low'"),
        ({"dropout_shape": np.inf}, BadValue, "dropout_shape as a finite number; got inf"),
        ({"dropout_shape": None}, BadType, "dropout_shape as a finite number; got None"),
        ({"bcv": 0.5}, BadType, r"bcv as \(lowest, highest\); got 0.5"),
        ({"bcv": (0.5,)}, BadType, r"bcv as \(lowest, highest\); got \(0.5,\)"),
        ({"bcv": (0.5, 0.5)}, BadValue, r"highest bcv .* in \(0.5, 1000\]; got 0.5"),
        ({"bcv": (-0.1, 0.5)}, BadValue, r"lowest bcv .* in \[0, 1000\]; got -0.1"),
        ({"mean_shape": ("1", 2)}, BadType, "lowest mean_shape .* got '1'"),
        ({"outlier_probability": (0.1, 1.1)}, BadValue, r"in \(0.1, 1\]; got 1.1"),
        ({"alpha": (1, 2)}, TypeError, "unexpected keyword argument 'alpha'"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        Splat(**settings)


@pytest.mark.parametrize(
    ("index", "value", "message"),
    [
        (0, 0.01, r"mean_shape in \[0.05, 1e\+06\]; got 0.01 in row 1; simulate within"),
        (1, 0.0, r"mean_rate in \[1e-50, 1e\+50\]; got 0 in row 1"),
        (2, 51.0, r"outlier_location in \[-50, 50\]; got 51 in row 1"),
        (3, 1.5, r"outlier_probability in \[0, 1\]; got 1.5 in row 1"),
        (4, -0.1, r"outlier_scale in \[0, 30\]; got -0.1 in row 1"),
        (5, 60.0, r"library_location in \[-50, 50\]; got 60 in row 1"),
        (6, -1.0, r"library_scale in \[0, 10\]; got -1 in row 1"),
        (7, np.nan, "theta without NaN or inf; got nan at row 1 of column 'bcv'"),
    ],
)
def test_bad_parameters_are_refused(index, value, message):
    theta = np.array([THETAS[0], THETAS[0]])
    theta[1, index] = value
    with pytest.raises(BadValue, match=message):
        MODEL.simulate(theta, np.random.default_rng(0), 40)


def test_bad_calls_are_refused():
    with pytest.raises(BadValue, match=r"theta of shape \(b, 8\); got \(1, 7\)"):
        MODEL.simulate(np.ones((1, 7)), np.random.default_rng(0), 40)
    with pytest.raises(BadValue, match="n as an integer >= 1; got 0"):
        MODEL.simulate(np.array([THETAS[0]]), np.random.default_rng(0), 0)
    for bad in (-1.0, 0.5):
        with pytest.raises(BadValue, match=f"whole counts >= 0; got {bad:g}; pass raw counts"):
            MODEL.moment_estimate(np.full((40, 100), bad))
