"""The epidemic simulator and its exact posterior against independent oracles."""

import json
from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import dblquad
from scipy.stats import binom, chisquare, ks_2samp, kstest

from sbi_kit.checks import BadType, BadValue
from sbi_kit.data import stack
from sbi_kit.testing import check_simulator
from simulators.sir import SIR
from tests.oracles.sir import loop, vectorised

MODEL = SIR()
SMALL = SIR(population=200, n=(2, 60), initial_infected=3)


def simulate(model, b, n, seed):
    rng = np.random.default_rng(seed)
    theta = model.prior.sample(b, rng)
    return theta, model.simulate(theta, rng, n)


def people(model, row, b, n, seed):
    """Susceptible, infected and recovered people, each (b, n), of b replicates."""
    theta = np.tile(np.asarray(row, dtype=float), (b, 1))
    x = model.simulate(theta, np.random.default_rng(seed), n) * model.population
    np.testing.assert_allclose(x, np.rint(x), atol=1e-9 * model.population)
    return np.rint(x).transpose(2, 0, 1)


def fit_to_binomial(x, n, p):
    """p-value of chi-square with about 40 cells that the distribution function makes equal."""
    cuts = np.unique(binom.ppf([*np.arange(0.025, 1, 0.025), 0.999], n, p))
    cuts = cuts[cuts < n]
    mass = np.diff([0, *binom.cdf(cuts, n, p), 1])
    seen = np.bincount(np.searchsorted(cuts, x), minlength=len(mass))
    return chisquare(seen, mass * len(x)).pvalue


def scipys_log_likelihood(model, x, beta, gamma):
    """By scipy's binomial, shape of beta or gamma: the infections' factor, the recoveries'."""
    s, i, r = np.rint(np.asarray(x) * model.population).T
    force = (i[:-1] + model.imports) / model.population * model.dt
    infection = 1 - np.exp(-np.multiply.outer(beta, force))
    recovery = 1 - np.exp(-np.asarray(gamma)[..., None] * model.dt)
    return (
        binom.logpmf(s[:-1] - s[1:], s[:-1], infection).sum(axis=-1),
        binom.logpmf(r[1:] - r[:-1], i[:-1], recovery).sum(axis=-1),
    )


@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        SIR(population=7, initial_infected=0, n=(3, 9), dt=2.0, imports=1.5, gamma=(0.1, 0.2)),
    ],
    ids=["default", "seven people"],
)
def test_keeps_the_simulator_contract(model):
    check_simulator(model)


def test_people_are_neither_made_nor_lost_nor_come_back():
    _, x = simulate(MODEL, 500, 300, seed=0)
    np.testing.assert_allclose(x.sum(axis=2), 1, rtol=1e-12)
    assert (x >= 0).all()
    assert (np.diff(x[..., 0], axis=1) <= 0).all()
    assert (np.diff(x[..., 2], axis=1) >= 0).all()
    np.testing.assert_array_equal(x[:, 0], np.tile([0.999, 0.001, 0.0], (500, 1)))
    assert x[..., 1].max() > 0.3  # some epidemics take off
    assert (x[:, -1, 1] == 0).any()  # and some die out


FEW = [(1, 0.3), (5, 0.5), (7, 0.9), (15, 0.51), (21, 0.4999), (40, 0.2499), (40, 0.2501)]
MANY = [(1_000, 1e-3), (1_000, 0.00999), (1_000, 0.01001), (400, 0.7), (10**5, 0.02)]
HUGE = [(10**8, 0.3), (10**9, 1e-10), (10**9, 9.9e-9)]


@pytest.mark.parametrize(("n", "p"), [*FEW, *MANY, *HUGE])
def test_recoveries_in_a_step_are_binomial(n, p):
    dt = 0.3
    model = SIR(population=n, initial_infected=n, dt=dt)
    _, _, recovered = people(model, [0.5, -np.log1p(-p) / dt], 100_000, 2, seed=1)
    assert fit_to_binomial(recovered[:, 1], n, p) > 1e-5


@pytest.mark.parametrize("beta", [0.05, 0.7, 8.0, 60.0])
def test_infections_in_a_step_are_binomial(beta):
    model = SIR(population=600, initial_infected=120, dt=0.2, imports=30.0)
    susceptible, infected, recovered = people(model, [beta, 0.0], 100_000, 2, seed=2)
    p = 1 - np.exp(-beta * (120 + 30) / 600 * 0.2)
    new = 480 - susceptible[:, 1]
    assert fit_to_binomial(new, 480, p) > 1e-5
    np.testing.assert_array_equal(infected[:, 1], 120 + new)
    assert not recovered.any()


def test_both_draws_of_a_step_are_from_the_old_state_and_independent():
    model = SIR(population=1_000, initial_infected=50, dt=1.0)
    susceptible, infected, recovered = people(model, [12.0, 2.0], 50_000, 2, seed=3)
    new, gone = 950 - susceptible[:, 1], recovered[:, 1]
    assert new.mean() > 300  # who could not recover at once
    assert gone.max() <= 50
    p = 1 - np.exp(-2.0)
    assert abs(gone.mean() - 50 * p) < 5 * np.sqrt(50 * p * (1 - p) / 50_000)
    assert abs(gone.var() - 50 * p * (1 - p)) < 5 * 50 * p * (1 - p) * np.sqrt(2 / 50_000)
    assert abs(np.corrcoef(new, gone)[0, 1]) < 5 / np.sqrt(50_000)
    np.testing.assert_array_equal(infected[:, 1], 50 + new - gone)


def test_a_second_step_starts_from_the_first():
    model = SIR(population=300, initial_infected=20, dt=0.5, imports=2.0)
    susceptible, infected, recovered = people(model, [1.5, 0.8], 50_000, 3, seed=4)
    force = 1.5 * (infected[:, 1] + 2.0) / 300 * 0.5
    expected = susceptible[:, 1] * (1 - np.exp(-force))
    excess = susceptible[:, 1] - susceptible[:, 2] - expected
    assert abs(excess.mean()) < 5 * excess.std() / np.sqrt(50_000)
    share = 1 - np.exp(-0.8 * 0.5)
    excess = recovered[:, 2] - recovered[:, 1] - infected[:, 1] * share
    assert abs(excess.mean()) < 5 * excess.std() / np.sqrt(50_000)
    assert abs(np.corrcoef(excess, infected[:, 1])[0, 1]) < 5 / np.sqrt(50_000)


def test_without_recovery_nobody_recovers_and_without_infection_nobody_falls_ill():
    _, _, recovered = people(MODEL, [0.9, 0.0], 50, 400, seed=5)
    assert not recovered.any()
    susceptible, _, recovered = people(MODEL, [0.0, 0.5], 50, 400, seed=6)
    assert (susceptible == 999).all()
    assert recovered[:, -1].any()


def test_a_closed_healthy_population_stays_healthy_and_imports_end_that():
    closed = SIR(imports=0.0)
    susceptible, infected, _ = people(closed, [0.9, 1e6], 50, 30, seed=7)  # recovers at once
    over = infected == 0
    assert over[:, -1].all()
    assert (over[:, 1:] >= over[:, :-1]).all()
    assert (np.diff(susceptible, axis=1)[over[:, :-1]] == 0).all()
    opened = SIR(initial_infected=0, imports=4.0)
    susceptible, _, _ = people(opened, [0.9, 1e6], 50, 300, seed=8)
    assert (susceptible[:, -1] < 999).all()


@pytest.mark.parametrize("row", [(0.0, 0.0), (1e300, 1e300), (1e300, 0.0), (0.01, 1e-300)])
def test_extreme_rates_end_in_whole_people(row):
    s, i, r = people(MODEL, row, 20, 50, seed=9)
    assert (s + i + r == 1_000).all()
    assert min(s.min(), i.min(), r.min()) >= 0


def statistics(x):
    """What tells epidemics apart, each (b,)."""
    yield "susceptible in the end", x[:, -1, 0]
    yield "recovered in the end", x[:, -1, 2]
    yield "largest share infected", x[..., 1].max(axis=1)
    yield "when", x[..., 1].argmax(axis=1)
    yield "infected on average", x[..., 1].mean(axis=1)
    yield "steps without infection", (np.diff(x[..., 0], axis=1) == 0).mean(axis=1)


@pytest.mark.parametrize(
    ("b", "n", "settings"),
    [
        (3_000, 200, {}),
        (3_000, 60, {"population": 50, "initial_infected": 4, "dt": 0.7, "imports": 0.0}),
    ],
)
def test_epidemics_are_distributed_as_those_of_a_vectorised_oracle(b, n, settings):
    rng = np.random.default_rng(10)
    model = SIR(**settings)
    own = model.simulate(model.prior.sample(b, rng), rng, n)
    other = vectorised(model.prior.sample(b, rng), rng, n, **settings)
    for (name, ours), (_, theirs) in zip(statistics(own), statistics(other), strict=True):
        assert ks_2samp(ours, theirs).pvalue > 1e-5, name


def test_epidemics_of_one_parameter_are_distributed_as_those_of_a_loop():
    row = (0.8, 0.3)
    own = MODEL.simulate(np.tile(row, (300, 1)), np.random.default_rng(11), 150)
    rng = np.random.default_rng(12)
    other = np.stack([loop(row, rng, 150) for _ in range(300)])
    for (name, ours), (_, theirs) in zip(statistics(own), statistics(other), strict=True):
        assert ks_2samp(ours, theirs).pvalue > 1e-5, name


def test_same_seed_gives_the_same_epidemics():
    first, again = (simulate(MODEL, 5, 200, seed=13)[1] for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_prior_is_uniform_below_a_uniform():
    beta, gamma = MODEL.prior.sample(20_000, np.random.default_rng(14)).T
    assert kstest(beta, "uniform", (0.01, 0.99)).pvalue > 1e-4
    assert kstest(gamma / beta, "uniform").pvalue > 1e-4
    assert abs(np.corrcoef(gamma / beta, beta)[0, 1]) < 5 / np.sqrt(20_000)
    free = SIR(beta=(0.2, 0.4), gamma=(0.5, 3.0))
    beta, gamma = free.prior.sample(20_000, np.random.default_rng(15)).T
    assert kstest(beta, "uniform", (0.2, 0.2)).pvalue > 1e-4
    assert kstest(gamma, "uniform", (0.5, 2.5)).pvalue > 1e-4


def test_log_likelihood_is_scipys_product_of_binomials():
    theta, x = simulate(MODEL, 30, 250, seed=16)
    want = [sum(scipys_log_likelihood(MODEL, *args)) for args in zip(x, *theta.T, strict=True)]
    np.testing.assert_allclose(MODEL.log_likelihood(theta, x), want, rtol=1e-9)
    beta, gamma = theta.T
    want = sum(scipys_log_likelihood(MODEL, x[0], beta, gamma))
    np.testing.assert_allclose(MODEL.log_likelihood(theta, x[0]), want, rtol=1e-9)


def every_path(model, n):
    """All paths of n points that could possibly occur, each (n, 3)."""
    states = [[(model.population - model.initial_infected, model.initial_infected, 0)]]
    paths = states
    for _ in range(n - 1):
        longer = []
        for path in paths:
            s, i, r = path[-1]
            steps = product(range(s + 1), range(i + 1))
            longer += [[*path, (s - new, i + new - gone, r + gone)] for new, gone in steps]
        paths = longer
    return np.array(paths) / model.population


def test_probabilities_of_all_paths_sum_to_one_at_any_rates_and_on_average():
    model = SIR(population=4, initial_infected=2, dt=1.5, n=4)
    paths = every_path(model, 4)
    for theta in ([0.4, 0.3], [2.0, 0.0], [0.0, 5.0]):
        total = np.exp(model.log_likelihood(np.tile(theta, (len(paths), 1)), paths)).sum()
        assert total == pytest.approx(1, abs=1e-12)
    total = np.exp(model.exact_posterior(paths).log_evidence).sum()
    assert total == pytest.approx(1, abs=1e-10)


def test_rates_of_zero_have_finite_likelihood_only_where_nothing_happened():
    still = np.array([[0.9, 0.1, 0.0]] * 3)
    model = SIR(population=10, n=3)
    np.testing.assert_allclose(model.log_likelihood([[0.0, 0.0]], still), 0, atol=1e-12)
    recovery, infection = still.copy(), still.copy()
    recovery[2] = [0.9, 0.0, 0.1]
    infection[2] = [0.8, 0.2, 0.0]
    got = model.log_likelihood([[0.3, 0.0], [0.0, 0.3]], [recovery, infection])
    assert (got == -np.inf).all()


def test_exact_posterior_agrees_with_a_fine_grid():
    posterior = MODEL.exact_posterior(MODEL.observed)
    beta = np.linspace(0.3, 0.95, 700)
    gamma = np.linspace(0.05, 0.3, 500)
    factors = scipys_log_likelihood(MODEL, MODEL.observed, beta, gamma)
    log_density = np.add.outer(*factors) - np.log(beta * 0.99)[:, None]
    assert log_density.max() - log_density[[0, -1]].max() > 30
    weight = np.exp(log_density - log_density.max())
    cell = (beta[1] - beta[0]) * (gamma[1] - gamma[0])
    evidence = np.log(weight.sum() * cell) + log_density.max()
    weight /= weight.sum()
    along = weight.sum(axis=1), weight.sum(axis=0)
    mean = np.array([along[0] @ beta, along[1] @ gamma])
    sd = np.sqrt([along[0] @ (beta - mean[0]) ** 2, along[1] @ (gamma - mean[1]) ** 2])
    np.testing.assert_allclose(posterior.log_evidence, evidence, atol=1e-8)
    np.testing.assert_allclose(posterior.mean()[0], mean, rtol=1e-8)
    np.testing.assert_allclose(posterior.sd()[0], sd, rtol=1e-8)
    theta = np.column_stack([beta[:500:50], gamma[::50]])
    want = log_density[range(0, 500, 50), range(0, 500, 50)] - evidence
    np.testing.assert_allclose(posterior.log_prob(theta[None])[0], want, atol=1e-6)


CUT_OFF = {
    "gamma faster than beta": (SIR(population=30, initial_infected=10, n=8, dt=0.5), [0.2, 1.5]),
    "no information": (SIR(population=30, n=2), [0.2, 0.1]),
    "box": (
        SIR(population=30, initial_infected=5, n=12, beta=(0.4, 0.5), gamma=(0.1, 0.3)),
        [2.0, 0.0],
    ),
    "gamma from above 0": (
        SIR(population=30, initial_infected=5, n=12, beta=(0.1, 2.0), gamma=(0.1, "beta")),
        [0.5, 0.2],
    ),
    "beta from 0": (
        SIR(population=30, initial_infected=5, n=12, beta=(0.0, 2.0), imports=0.0),
        [0.1, 0.2],
    ),
}


@pytest.mark.parametrize(("model", "row"), CUT_OFF.values(), ids=CUT_OFF)
def test_exact_posterior_agrees_with_adaptive_quadrature(model, row):
    x = model.simulate(np.array([row]), np.random.default_rng(17), model.n)[0]
    (low, high), (gamma_low, gamma_high) = model.beta, model.gamma

    def top(beta):
        return beta if gamma_high == "beta" else gamma_high

    def integral(value):
        def density(gamma, beta):
            log_density = sum(scipys_log_likelihood(model, x, beta, gamma))
            width = (high - low) * (top(beta) - gamma_low)
            return value(beta, gamma) * np.exp(log_density) / width * scale

        return dblquad(density, low, high, gamma_low, top, epsabs=0, epsrel=1e-8)[0]

    posterior = model.exact_posterior(x)
    scale = np.exp(-posterior.log_evidence[0])
    assert integral(lambda beta, gamma: 1) == pytest.approx(1, abs=1e-6)
    mean, sd = posterior.mean()[0], posterior.sd()[0]
    assert integral(lambda beta, gamma: beta) == pytest.approx(mean[0], rel=1e-6)
    assert integral(lambda beta, gamma: gamma) == pytest.approx(mean[1], rel=1e-6)
    assert integral(lambda beta, gamma: (beta - mean[0]) ** 2) ** 0.5 == pytest.approx(
        sd[0], rel=1e-6
    )
    assert integral(lambda beta, gamma: (gamma - mean[1]) ** 2) ** 0.5 == pytest.approx(
        sd[1], rel=1e-6
    )


def test_density_integrates_to_one_also_far_from_the_prior():
    wild = SIR(initial_infected=200)
    theta = np.array([[0.05, 1.0], [0.01, 5.0], [0.9, 40.0], [0.5, 0.1], [20.0, 0.0]])
    x = wild.simulate(theta, np.random.default_rng(18), 300)
    posterior = wild.exact_posterior(x)
    node, weight = np.polynomial.legendre.leggauss(300)
    node, weight = (node + 1) / 2, weight / 2
    for row in range(len(x)):
        alone = wild.exact_posterior(x[row])
        (low, high), (gamma_low, gamma_high) = alone.beta_range[0], alone.gamma_range[0]
        total = 0.0
        # Over beta in pieces, in each of which the interval of gamma is a smooth function of beta.
        edges = np.unique(np.clip([low, gamma_low, gamma_high, high], low, high))
        for left, right in pairwise(edges):
            beta = left + (right - left) * node
            floor = np.minimum(gamma_low, beta)
            length = np.minimum(gamma_high, beta) - floor
            gamma = floor[:, None] + length[:, None] * node
            grid = np.stack(np.broadcast_arrays(beta[:, None], gamma), axis=-1)
            density = np.exp(alone.log_prob(grid.reshape(1, -1, 2))).reshape(gamma.shape)
            total += (right - left) * weight @ (length * (density @ weight))
        assert total == pytest.approx(1, abs=1e-8)
    assert (posterior.mean()[:, 1] < posterior.mean()[:, 0]).all()


def test_narrow_posterior_is_the_normal_one():
    model = SIR(population=10**8, initial_infected=10**6)
    x = model.simulate(np.array([[0.6, 0.15]]), np.random.default_rng(19), 200)
    posterior = model.exact_posterior(x)
    _, i, r = np.rint(x[0] * 10**8).T
    gone, at_risk = r[-1], i[:-1].sum()
    share = gone / at_risk
    gamma = -np.log1p(-share) / 0.1
    sd = np.sqrt(share / (1 - share) / at_risk) / 0.1
    assert abs(posterior.mean()[0, 1] - gamma) < 1e-2 * sd
    assert posterior.sd()[0, 1] == pytest.approx(sd, rel=1e-4)
    assert posterior.sd()[0, 0] < 1e-3
    assert (np.abs(posterior.mean()[0] - [0.6, 0.15]) < 5 * posterior.sd()[0]).all()


def test_a_start_alone_leaves_the_prior():
    posterior = MODEL.exact_posterior([[0.999, 0.001, 0.0]])
    np.testing.assert_allclose(posterior.mean(), [[0.505, 0.2525]], rtol=1e-10)
    variance = 0.99**2 / 12
    gamma_variance = variance / 4 + (variance + 0.505**2) / 12  # of the mean and of the uniform
    np.testing.assert_allclose(posterior.sd() ** 2, [[variance, gamma_variance]], rtol=1e-10)
    theta = MODEL.prior.sample(50, np.random.default_rng(20))
    np.testing.assert_allclose(posterior.log_prob(theta[None])[0], MODEL.prior.log_prob(theta))
    np.testing.assert_allclose(posterior.log_evidence, 0, atol=1e-12)


@pytest.mark.parametrize(("model", "n"), [(MODEL, 200), (SMALL, 20)], ids=["default", "small"])
def test_true_rates_are_draws_of_the_exact_posterior(model, n):
    """Simulation-based calibration, of both rates and of the density (Talts et al. 2018)."""
    b, draws = 500, 127
    theta, x = simulate(model, b, n, seed=21)
    posterior = model.exact_posterior(x)
    sample = posterior.sample(draws, seed=22)
    heights = posterior.log_prob(sample) < posterior.log_prob(theta)[:, None]
    for below in (sample[..., 0] < theta[:, :1], sample[..., 1] < theta[:, 1:], heights):
        seen = np.bincount(below.sum(axis=1) // 8, minlength=16)
        assert chisquare(seen).pvalue > 1e-4
    z = (theta - posterior.mean()) / posterior.sd()
    assert (np.abs(z.mean(axis=0)) < 5 / np.sqrt(b)).all()
    squares = z**2
    assert (np.abs(squares.mean(axis=0) - 1) < 5 * squares.std(axis=0) / np.sqrt(b)).all()


def test_draws_have_the_moments_of_the_posterior_and_stay_in_the_prior():
    wild = SIR(initial_infected=200)
    theta = np.array([[0.05, 1.0], [0.01, 5.0], [0.9, 40.0], [0.5, 0.1], [0.9, 0.0]])
    posterior = wild.exact_posterior(wild.simulate(theta, np.random.default_rng(23), 100))
    draws = posterior.sample(40_000, seed=24)
    mean, sd = posterior.mean()[:, None], posterior.sd()[:, None]
    z = (draws - mean) / sd
    assert (np.abs(z.mean(axis=1)) < 5 / np.sqrt(40_000)).all()
    error = (z**2).std(axis=1) / np.sqrt(40_000)
    assert (np.abs((z**2).mean(axis=1) - 1) < 5 * error + 1e-3).all()
    assert np.isfinite(posterior.log_prob(draws)).all()
    nodes = (posterior.beta - mean[..., 0]) * (posterior.gamma_mean - mean[..., 1])
    covariance = (posterior.weights * nodes).sum(axis=1) / sd.prod(axis=-1)[:, 0]
    joint = z.prod(axis=2)
    gap = np.abs(joint.mean(axis=1) - covariance)
    assert (gap < 5 * joint.std(axis=1) / np.sqrt(40_000) + 1e-3).all()


def test_same_seed_gives_the_same_draws_of_the_posterior():
    posterior = MODEL.exact_posterior(MODEL.observed)
    first, again, other = (posterior.sample(10, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_log_prob_takes_one_row_or_many_for_each_dataset():
    theta, x = simulate(SMALL, 3, 30, seed=25)
    posterior = SMALL.exact_posterior(x)
    draws = posterior.sample(4, seed=26)
    many = posterior.log_prob(draws)
    assert many.shape == (3, 4)
    for column in range(4):
        np.testing.assert_allclose(posterior.log_prob(draws[:, column]), many[:, column])
    outside = [[0.5, 0.6], [-0.5, -0.6], [0.5, np.inf]]
    assert (posterior.log_prob(outside) == -np.inf).all()
    with pytest.raises(BadValue, match=r"theta of shape \(3, 2\); got \(2, 2\)"):
        posterior.log_prob(theta[:2])
    with pytest.raises(BadValue, match="draws as an integer >= 1; got 0"):
        posterior.sample(0, seed=1)


def test_posterior_of_ragged_data_in_any_form_is_that_of_each_alone():
    tables = [simulate(SMALL, 1, n, seed=n)[1][0] for n in (60, 7, 1, 33)]
    together = SMALL.exact_posterior(tables)
    for row, table in enumerate(tables):
        frame = pd.DataFrame(table, columns=SMALL.data.columns)[["recovered", "infected"]]
        frame["susceptible"] = table[:, 0].round(5)
        for form in (table, frame, stack([table])):
            alone = SMALL.exact_posterior(form)
            np.testing.assert_allclose(alone.mean()[0], together.mean()[row], rtol=1e-12)
            np.testing.assert_allclose(alone.sd()[0], together.sd()[row], rtol=1e-12)
            np.testing.assert_allclose(alone.log_evidence[0], together.log_evidence[row])
    theta = SMALL.prior.sample(4, np.random.default_rng(27))
    each = [SMALL.log_likelihood(theta[[i]], table)[0] for i, table in enumerate(tables)]
    np.testing.assert_allclose(SMALL.log_likelihood(theta, tables), each)


def test_more_datasets_than_are_integrated_at_once():
    _, x = simulate(SMALL, 130, 10, seed=28)
    together = SMALL.exact_posterior(x).mean()
    for row in (0, 63, 64, 129):
        np.testing.assert_allclose(SMALL.exact_posterior(x[row]).mean()[0], together[row])


def test_observed_is_fixed_and_its_truth_is_plausible():
    assert MODEL.observed.shape == (200, 3)
    np.testing.assert_array_equal(MODEL.observed, SIR().observed)
    assert MODEL.observed[-1, 1] > 0.1  # it takes off
    posterior = MODEL.exact_posterior(MODEL.observed)
    gap = (MODEL.observed_theta - posterior.mean()[0]) / posterior.sd()[0]
    assert (np.abs(gap) < 3).all()
    np.testing.assert_array_equal(MODEL.observed_theta, [0.6, 0.15])
    np.testing.assert_allclose(SIR(beta=(1.0, 3.0)).observed_theta, [2.0, 1.0])


def test_settings_are_stored_under_their_own_names_and_may_come_from_json():
    settings = {
        "n": (5, 9),
        "population": 50,
        "initial_infected": 2,
        "dt": 0.5,
        "imports": 0.0,
        "beta": (0.1, 3.0),
        "gamma": (0.05, "beta"),
    }
    model = SIR(**json.loads(json.dumps(settings)))
    assert {name: getattr(model, name) for name in settings} == settings
    assert model == SIR(**settings)
    assert hash(model) == hash(SIR(**settings))
    assert model.prior.names == ("beta", "gamma")
    assert model.data.columns == ("susceptible", "infected", "recovered")
    assert model.data.n_range == (5, 9)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"n": 0}, BadValue, "n as an integer >= 1; got 0"),
        ({"population": 0}, BadValue, r"population as an integer in \[1, 1e\+09\]; got 0"),
        ({"population": 1e3}, BadType, "population as an integer .*; got 1000.0"),
        ({"initial_infected": 1_001}, BadValue, r"initial_infected .* in \[0, 1000\]; got 1001"),
        ({"initial_infected": 0, "imports": 0}, BadValue, "someone infectious; got no infected"),
        ({"dt": 0.0}, BadValue, "dt as a finite number > 0; got 0"),
        ({"imports": -1}, BadValue, "imports as a finite number >= 0; got -1"),
        ({"beta": (0.5, 0.5)}, BadValue, "highest beta as a finite number > 0.5; got 0.5"),
        ({"beta": 0.5}, BadValue, r"beta as \(lowest, highest\); got 0.5; pass both bounds"),
        ({"beta": (0.1, "gamma")}, BadType, "highest beta as a number; got 'gamma'"),
        ({"gamma": (0, "bet")}, BadType, "highest gamma as a number or 'beta'; got 'bet'"),
        ({"gamma": (-0.1, 1)}, BadValue, "lowest gamma as a finite number >= 0; got -0.1"),
        ({"gamma": (0.1, "beta")}, BadValue, "lowest gamma at most the lowest beta of 0.01"),
        ({"iota": 1.0}, TypeError, "unexpected keyword argument 'iota'"),
    ],
)
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        SIR(**settings)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ([[0.5]], r"theta of shape \(b, 2\); got \(1, 1\); pass one row \(beta, gamma\)"),
        ([[0.5, np.nan]], "theta without NaN or inf; got nan at row 0 of column 'gamma'"),
        ([[0.5, 0.1], [-0.5, 0.1]], "beta >= 0; got -0.5 in row 1"),
        ([[0.5, -0.1]], "gamma >= 0; got -0.1 in row 0"),
    ],
)
def test_bad_parameters_are_refused(theta, message):
    with pytest.raises(BadValue, match=message):
        MODEL.simulate(np.array(theta), np.random.default_rng(0), 200)
    with pytest.raises(BadValue, match=message):
        MODEL.log_likelihood(np.array(theta), MODEL.observed)


GOOD = np.array([[0.7, 0.3, 0.0], [0.6, 0.3, 0.1], [0.6, 0.2, 0.2]])


@pytest.mark.parametrize(
    ("at", "row", "message"),
    [
        (1, [6, 3, 1], "that sum to 1; got 10 in row 1 of dataset 0; divide the numbers"),
        (2, [0.6, 0.2, 0.1], "that sum to 1; got 0.9 in row 2 of dataset 0"),
        (0, [0.74, 0.26, 0.0], "whole people in a population of 10; got 7.4 susceptible in row 0"),
        (2, [0.6, 0.5, -0.1], "whole people in a population of 10; got -1 recovered in row 2"),
        (2, [0.7, 0.1, 0.2], "nothing else; got 6, 3, 1 -> 7, 1, 2 from row 1 of dataset 0"),
        (2, [0.6, 0.4, 0.0], "nothing else; got 6, 3, 1 -> 6, 4, 0 from row 1 of dataset 0"),
        (2, [0.1, 0.4, 0.5], "got 6, 3, 1 -> 1, 4, 5 from row 1 of dataset 0; pass every step"),
    ],
)
def test_data_that_are_no_path_are_refused(at, row, message):
    model = SIR(population=10)
    model.exact_posterior(GOOD)
    x = GOOD.copy()
    x[at] = row
    with pytest.raises(BadValue, match=message):
        model.exact_posterior(x)


def test_data_that_need_imports_or_do_not_pair_with_parameters_are_refused():
    x = np.array([[0.9, 0.0, 0.1], [0.8, 0.1, 0.1]])
    SIR(population=10).exact_posterior(x)
    with pytest.raises(BadValue, match="got 9, 0, 1 -> 8, 1, 1 from row 0 of dataset 1"):
        SIR(population=10, imports=0.0).exact_posterior([GOOD, x])
    with pytest.raises(BadValue, match="1 or 3 datasets for 3 rows of theta; got 2"):
        MODEL.log_likelihood(np.ones((3, 2)), np.stack([MODEL.observed] * 2))
    with pytest.raises(BadValue, match="susceptible, infected, recovered; got only S"):
        MODEL.exact_posterior({"S": [1.0]})
