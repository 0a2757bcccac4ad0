"""The coalescent simulators: trees, closed forms of both kinds of mutation, and oracles."""

import csv
import json
from collections import Counter
from importlib.resources import files

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import comb
from scipy.stats import chi2_contingency, chisquare, expon, gamma, ks_2samp, kstest, norm

from sbi_kit.checks import BadType, BadValue
from sbi_kit.testing import check_simulator
from simulators.coalescent import Coalescent, CoalescentSites, _tree
from tests.oracles import coalescent as oracle

ALARM = 1e-5


def repeated(b, *parameters):
    return np.tile(np.array(parameters, dtype=float), (b, 1))


def microsatellites(b, n, *parameters, loci=8, seed=0, **settings):
    model = Coalescent(chromosomes=n, loci=loci, **settings)
    return model.simulate(repeated(b, *parameters), np.random.default_rng(seed), n)


def counts(b, n, *parameters, seed=0, **settings):
    model = CoalescentSites(chromosomes=n, **settings)
    return model.simulate(repeated(b, *parameters), np.random.default_rng(seed))


def trees(b, n, growth, seed=0):
    """Parents, and the ages of the n - 1 ancestors, each with b rows."""
    rng = np.random.default_rng(seed)
    parents, ages = np.zeros((b, 2 * n - 1), dtype=np.int64), np.full((b, 2 * n - 1), np.nan)
    for parent, age in zip(parents, ages, strict=True):
        _tree(rng, growth, parent, age)
    return parents, ages


def assert_mean(values, mean):
    """Within Monte Carlo error of the mean, each column; values (b, ...)."""
    values = np.asarray(values, dtype=float)
    error = values.std(axis=0) / np.sqrt(len(values))
    limit = norm.isf(ALARM / 2 / max(np.size(error), 1))
    assert (np.abs(values.mean(axis=0) - mean) < limit * error).all()


def assert_as_often(seen, probabilities):
    """Non-negative integers occur with these probabilities; the last bin takes the rest."""
    size = len(probabilities)
    observed = np.bincount(np.minimum(np.asarray(seen, dtype=int), size), minlength=size + 1)
    expected = len(seen) * np.append(probabilities, 1 - np.sum(probabilities))
    kept = expected > 5
    observed = np.append(observed[kept], observed[~kept].sum())
    expected = np.append(expected[kept], expected[~kept].sum())
    if expected[-1] < 1:
        observed, expected = observed[:-1], expected[:-1] * observed[:-1].sum() / len(seen)
        expected *= observed.sum() / expected.sum()
    assert chisquare(observed, expected).pvalue > ALARM


def assert_alike(first, second):
    """Two samples (b, k) have the same distribution in each column and in the sum of all."""
    first, second = np.asarray(first), np.asarray(second)
    pairs = [*zip(first.T, second.T, strict=True), (first.sum(axis=1), second.sum(axis=1))]
    for one, other in pairs:
        assert ks_2samp(one, other, method="asymp").pvalue > ALARM


@pytest.mark.parametrize(
    "model",
    [
        Coalescent(),
        Coalescent(chromosomes=(2, 9), loci=3, theta=(1, 50), log_uniform=True, growth=10.0),
        CoalescentSites(),
        CoalescentSites(chromosomes=12, sites=None, log_uniform=True, growth=100.0),
    ],
    ids=["loci", "few loci, growth", "sites", "infinite sites, growth"],
)
def test_keeps_the_simulator_contract(model):
    check_simulator(model)


def test_trees_join_all_chromosomes_two_by_two():
    n = 7
    parents, ages = trees(300, n, 0.0)
    for parent, age in zip(parents[:, :-1], ages, strict=True):
        assert sorted(parent) == sorted([*range(n, 2 * n - 1)] * 2)
        assert (parent > np.arange(2 * n - 2)).all()
        assert (age[:n] == 0).all()
        assert (np.diff(age[n - 1 :]) > 0).all()


def test_waits_are_exponential_with_one_rate_for_each_pair():
    n = 20
    _, ages = trees(20_000, n, 0.0)
    waits = np.diff(ages[:, n - 1 :], axis=1)  # of n, n - 1, ..., 2 lineages
    k = np.arange(n, 1, -1)
    assert_mean(waits, 2 / (k * (k - 1)))
    assert_mean(ages[:, -1], 2 * (1 - 1 / n))
    assert_mean(waits @ k, 2 * (1 / np.arange(1, n)).sum())
    for column, size in zip(waits.T, k, strict=True):
        assert kstest(column, expon(scale=2 / (size * (size - 1))).cdf).pvalue > ALARM
    assert np.abs(np.corrcoef(waits.T) - np.eye(n - 1)).max() < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("growth", [0.05, 1.0, 30.0])
def test_growing_populations_meet_at_a_growing_rate(growth):
    _, ages = trees(10_000, 5, growth)
    # Cumulative rates of a pair, (exp(g t) - 1) / g, make the waits those of no growth.
    waits = np.diff(np.expm1(growth * ages[:, 4:]) / growth, axis=1)
    for column, k in zip(waits.T, (5, 4, 3, 2), strict=True):
        assert kstest(column, expon(scale=2 / (k * (k - 1))).cdf).pvalue > ALARM
    _, pair = trees(20_000, 2, growth, seed=1)
    assert_mean(pair[:, 2], quad(lambda t: np.exp(-np.expm1(growth * t) / growth), 0, 20)[0])


@pytest.mark.parametrize("growth", [5e-324, 1e-300, 1e-13, 1e-11, 1e-8])
def test_slow_growth_approaches_none(growth):
    steady, slow = (trees(50, 20, rate)[1][:, 20:] for rate in (0.0, growth))
    np.testing.assert_allclose(slow, steady, rtol=1e-6)


def test_every_genealogy_of_four_is_as_frequent_as_it_should_be():
    parents, _ = trees(20_000, 4, 0.0)
    joined = Counter(tuple(np.flatnonzero(parent[:4] == 4)) for parent in parents)
    assert len(joined) == 6
    assert chisquare(list(joined.values())).pvalue > ALARM
    # The second ancestor joins the two that are left with probability 1/3.
    balanced = [np.sum(parent[:4] == 5) == 2 for parent in parents]
    assert_mean(balanced, 1 / 3)


def test_repeats_have_the_variance_and_homozygosity_of_the_stepwise_model():
    for theta in (0.5, 5.0, 20.0):
        x = microsatellites(8_000, 20, theta)
        assert_mean(x.var(axis=1, ddof=1).mean(axis=1), theta / 2)
        heterozygosity = Coalescent.summaries(x)[:, 1]
        assert_mean(heterozygosity, 1 - 1 / np.sqrt(1 + 2 * theta))


def test_a_repeat_is_lost_as_often_as_gained():
    x = microsatellites(20_000, 4, 1.0)
    assert_mean(((x - x.mean(axis=1, keepdims=True)) ** 3).mean(axis=(1, 2)), 0)


@pytest.mark.parametrize("theta", [0.3, 5.0])
def test_two_chromosomes_differ_by_repeats_of_the_exact_distribution(theta):
    x = microsatellites(60_000, 2, theta, loci=1)[..., 0]
    assert (x.min(axis=1) == 0).all()
    # P(0) = 1 / root, P(+-d) = r^d / root: a walk of geometric length (Wehrhahn 1975).
    root = np.sqrt(1 + 2 * theta)
    ratio = (1 + theta - root) / theta
    probability = np.append(1, 2 * ratio ** np.arange(1, 12)) / root
    assert_as_often(x.max(axis=1), probability)


def test_growth_shortens_the_time_of_two_chromosomes():
    growth, theta = 3.0, 4.0
    time = quad(lambda t: np.exp(-np.expm1(growth * t) / growth), 0, 20)[0]
    x = microsatellites(60_000, 2, theta, growth, loci=1, growth=10.0)[..., 0]
    assert_mean(x.max(axis=1) ** 2, theta * time)
    s = counts(60_000, 2, theta, growth, sites=None, growth=10.0)[:, 0]
    assert_mean(s, theta * time)


def test_every_pair_of_rows_and_every_locus_are_alike():
    n, loci = 6, 3
    x = microsatellites(40_000, n, 2.0, loci=loci)
    pairs = [x[:, i] == x[:, j] for i in range(n) for j in range(i)]
    assert_mean(np.stack(pairs, axis=1).reshape(len(x), -1), 1 / np.sqrt(5))
    assert_mean((x - x.mean(axis=1, keepdims=True)).reshape(len(x), -1), 0)
    spread = x.var(axis=1)
    for other in (1, 2):
        assert ks_2samp(spread[:, 0], spread[:, other], method="asymp").pvalue > ALARM


def test_unlinked_loci_are_independent():
    spread = np.log1p(microsatellites(20_000, 10, 5.0, loci=4).var(axis=1))
    assert np.abs(np.corrcoef(spread.T) - np.eye(4)).max() < 5 / np.sqrt(20_000)


def test_datasets_of_a_batch_are_independent():
    spread = np.log1p(microsatellites(20_000, 10, 5.0, loci=1).var(axis=1)[:, 0])
    assert abs(np.corrcoef(spread[1:], spread[:-1])[0, 1]) < 5 / np.sqrt(20_000)


def test_lengths_are_whole_repeats_above_the_shortest_of_the_sample():
    x = microsatellites(500, 20, 15.0)
    assert (x % 1 == 0).all()
    assert (x.min(axis=1) == 0).all()
    assert not Coalescent().data.nested
    assert microsatellites(2_000, 20, 15.0)[:, 0].mean() > (
        microsatellites(2_000, 2, 15.0)[:, 0].mean() + 1
    )


@pytest.mark.parametrize("theta", [0.5, 5.0])
def test_infinite_sites_have_watterson_s_moments(theta):
    n = 20
    a, b = (1 / np.arange(1, n)).sum(), (1 / np.arange(1, n) ** 2).sum()
    segregating = counts(60_000, n, theta, sites=None)[:, 0]
    mean, variance = theta * a, theta * a + theta**2 * b
    assert_mean(segregating, mean)
    assert_mean((segregating - mean) ** 2, variance)
    if theta == 5:
        assert (round(mean, 2), round(variance, 1)) == (17.74, 57.6)


def test_two_chromosomes_differ_at_theta_sites_by_a_geometric_law():
    theta = 3.0
    x = counts(60_000, 2, theta, sites=None)
    assert_mean(x[:, 0], theta)
    assert_as_often(x[:, 0], (theta / (1 + theta)) ** np.arange(25) / (1 + theta))
    np.testing.assert_array_equal(x[:, 1], 1 + (x[:, 0] > 0))


def test_segregating_sites_follow_their_exact_distribution():
    n, theta = 6, 2.0
    # Tavaré (1984), Theor. Popul. Biol. 26:119.
    i, s = np.arange(1, n)[:, None], np.arange(30)
    terms = (-1.0) ** (i - 1) * comb(n - 2, i - 1) * (theta / (theta + i)) ** (s + 1)
    probability = (n - 1) / theta * terms.sum(axis=0)
    assert_as_often(counts(60_000, n, theta, sites=None)[:, 0], probability)


@pytest.mark.parametrize(("n", "theta"), [(8, 1.0), (63, 8.0)])
def test_lineages_follow_ewens_formula(n, theta):
    # Chromosome i + 1 is of a new kind with probability theta / (theta + i).
    probability = np.ones(1)
    for i in range(n):
        new = theta / (theta + i)
        probability = np.append(probability * (1 - new), 0) + np.append(0, probability * new)
    lineages = counts(40_000, n, theta, sites=None)[:, 1]
    assert_mean(lineages, (theta / (theta + np.arange(n))).sum())
    assert_as_often(lineages, np.maximum(probability, 0))


@pytest.mark.parametrize(
    ("sites", "rate_shape"), [(1, None), (5, None), (64, 0.5), (65, None), (360, 0.1)]
)
def test_two_sequences_differ_at_a_finite_site_after_an_odd_number_of_mutations(sites, rate_shape):
    theta = 6.0
    shares = oracle.shares(sites, rate_shape)
    x = counts(40_000, 2, theta, sites=sites, rate_shape=rate_shape)
    assert_mean(x[:, 0], (theta * shares / (1 + 2 * theta * shares)).sum())
    np.testing.assert_array_equal(x[:, 1], 1 + (x[:, 0] > 0))


def test_positions_share_mutations_as_quantiles_of_a_gamma_distribution():
    model = CoalescentSites(sites=10_000, rate_shape=0.5)
    np.testing.assert_allclose(model.site_shares, oracle.shares(10_000, 0.5), rtol=1e-8)
    assert model.site_shares.sum() == pytest.approx(1, rel=1e-12)
    rates = 10_000 * model.site_shares
    assert kstest(rates, gamma(0.5, scale=2).cdf).statistic < 0.01
    np.testing.assert_allclose(CoalescentSites(rate_shape=None).site_shares, 1 / 360)
    np.testing.assert_allclose(CoalescentSites(rate_shape=1e6).site_shares, 1 / 360, rtol=0.01)
    assert np.isfinite(CoalescentSites(rate_shape=0.01).site_shares).all()


def test_many_sites_are_as_good_as_infinitely_many():
    assert_alike(
        counts(5_000, 15, 5.0, sites=50_000, rate_shape=None),
        counts(20_000, 15, 5.0, sites=None, seed=1),
    )


def test_recurrent_mutation_allows_more_lineages_than_sites_do_otherwise():
    x = counts(5_000, 63, 15.0)
    assert (x[:, 1] > x[:, 0] + 1).any()
    infinite = counts(5_000, 63, 15.0, sites=None)
    assert (infinite[:, 1] <= infinite[:, 0] + 1).all()
    assert infinite[:, 0].mean() > 1.5 * x[:, 0].mean()


def test_one_site_has_at_most_two_states():
    x = counts(2_000, 10, 10.0, sites=1)
    assert set(map(tuple, x)) == {(0.0, 1.0), (1.0, 2.0)}


@pytest.mark.parametrize("growth", [0.0, 20.0])
def test_microsatellites_agree_with_the_oracles(growth):
    n, loci = 7, 3
    model = Coalescent(chromosomes=n, loci=loci, growth=growth)
    rng = np.random.default_rng(3)
    theta = model.prior.sample(8_000, rng)
    x = model.simulate(theta, rng, n)
    others = oracle.vectorised(theta, rng, n, loci)
    assert others.shape == x.shape

    def described(tables):
        lengths = np.sort(tables, axis=1)  # (b, n, loci)
        return np.column_stack([Coalescent.summaries(tables), *lengths[:, 1:, 0].T])

    assert_alike(described(x), described(others))
    looped = np.stack([oracle.loop(row, rng, n, loci) for row in theta[:300]])
    assert looped.shape[1:] == x.shape[1:]
    assert_alike(described(x), described(looped))


@pytest.mark.parametrize("growth", [0.0, 20.0])
@pytest.mark.parametrize(("sites", "rate_shape"), [(None, None), (100, None), (100, 0.2)])
def test_sites_agree_with_the_oracles(growth, sites, rate_shape):
    n = 12
    model = CoalescentSites(chromosomes=n, sites=sites, rate_shape=rate_shape, growth=growth)
    rng = np.random.default_rng(4)
    theta = model.prior.sample(5_000, rng)
    x = model.simulate(theta, rng)
    others = oracle.vectorised_sites(theta, rng, n, sites, rate_shape)
    looped = np.stack([oracle.loop_sites(row, rng, n, sites, rate_shape) for row in theta[:300]])
    assert others.shape == x.shape
    for other in (others, looped):
        assert_alike(x, other)
    # The two columns together: lineages by class of sites.
    classes = np.quantile(x[:, 0], [0.2, 0.4, 0.6, 0.8])
    for low in range(5):
        ours, theirs = (y[np.searchsorted(classes, y[:, 0]) == low, 1] for y in (x, others))
        levels = np.unique(np.quantile(ours, [0.25, 0.5, 0.75]))
        table = [
            np.bincount(np.searchsorted(levels, y), minlength=len(levels) + 1)
            for y in (ours, theirs)
        ]
        table = np.array(table)[:, np.sum(table, axis=0) > 0]
        assert table.shape[1] == 1 or chi2_contingency(table).pvalue > ALARM


def test_summaries_are_those_computed_by_hand():
    x = microsatellites(20, 9, 4.0, loci=3)
    for table, (log_variance, heterozygosity, alleles) in zip(
        x, Coalescent.summaries(x), strict=True
    ):
        kinds = [Counter(column) for column in table.T]
        alike = [sum(c * (c - 1) for c in kind.values()) / (9 * 8) for kind in kinds]
        assert log_variance == pytest.approx(np.log(np.var(table, axis=0, ddof=1).mean()))
        assert heterozygosity == pytest.approx(1 - np.mean(alike))
        assert alleles == pytest.approx(np.mean([len(kind) for kind in kinds]))


def test_summaries_ignore_order_and_origin_and_survive_no_variation():
    x = microsatellites(1, 9, 4.0, loci=3)[0]
    shuffled = np.random.default_rng(0).permuted(x, axis=0)[:, ::-1] + [10.0, 0.0, -3.0]
    np.testing.assert_allclose(Coalescent.summaries(shuffled), Coalescent.summaries(x))
    alike = np.zeros((10, 4))
    np.testing.assert_allclose(Coalescent.summaries(alike), [np.log(1 / 80), 0, 1])
    alike[0, 0] = 1  # the least variation that a sample can have
    np.testing.assert_allclose(Coalescent.summaries(alike)[0], np.log(1 / 40))


@pytest.mark.parametrize(
    ("x", "error"),
    [
        ([1.0, 2.0], BadValue),
        (3.0, BadValue),
        (np.zeros((1, 8)), BadValue),
        (np.zeros((5, 20, 0)), BadValue),
        ([[1.0, np.nan], [2.0, 3.0]], BadValue),
        ([[1.0, 2.0], [3.0]], BadType),
        ("alleles", BadType),
    ],
)
def test_summaries_refuse_what_is_no_sample(x, error):
    with pytest.raises(error, match="alleles"):
        Coalescent.summaries(x)


def test_a_dataset_does_not_depend_on_those_after_it():
    model, sites = Coalescent(), CoalescentSites()
    theta = model.prior.sample(9, np.random.default_rng(5))
    few = model.simulate(theta[:4], np.random.default_rng(6), 20)
    np.testing.assert_array_equal(few, model.simulate(theta, np.random.default_rng(6), 20)[:4])
    few = sites.simulate(theta[:4], np.random.default_rng(6))
    np.testing.assert_array_equal(few, sites.simulate(theta, np.random.default_rng(6))[:4])


def test_extreme_parameters_give_finite_data():
    ends = [[0.0, 0.0], [0.0, 1e6], [1e6, 0.0], [1e6, 1e6], [1e-300, 1e-300]]
    x = Coalescent(growth=1.0, loci=1).simulate(np.array(ends), np.random.default_rng(0), 5)
    assert np.isfinite(x).all()
    assert not x[[0, 1, 4]].any()
    s = CoalescentSites(growth=1.0, chromosomes=5).simulate(
        np.array(ends), np.random.default_rng(0)
    )
    assert np.isfinite(s).all()
    assert s[[0, 1, 4]].tolist() == [[0, 1]] * 3


def test_growth_is_a_parameter_only_if_asked_for():
    for model in (Coalescent, CoalescentSites):
        assert model().prior.names == ("theta",)
        assert model(growth=7.0).prior.names == ("theta", "growth")
        draws = model(growth=7.0, theta=(2, 3)).prior.sample(4_000, np.random.default_rng(0))
        assert kstest(draws[:, 0] - 2, "uniform").pvalue > ALARM
        assert kstest(draws[:, 1] / 7, "uniform").pvalue > ALARM


def test_prior_of_theta_is_uniform_or_uniform_in_the_logarithm():
    for model in (Coalescent, CoalescentSites):
        draws = model().prior.sample(4_000, np.random.default_rng(0))[:, 0]
        assert kstest((draws - 0.1) / 19.9, "uniform").pvalue > ALARM
        draws = model(log_uniform=True).prior.sample(4_000, np.random.default_rng(0))[:, 0]
        assert kstest(np.log(draws / 0.1) / np.log(200), "uniform").pvalue > ALARM


def test_observed_microsatellites_are_fixed_and_plausible_under_their_truth():
    model = Coalescent()
    assert model.observed.shape == (20, 8)
    np.testing.assert_array_equal(model.observed, Coalescent().observed)
    assert 0.1 < model.observed_theta[0] < 20
    theta = model.observed_theta[None].repeat(4_000, axis=0)
    replicates = model.summaries(model.simulate(theta, np.random.default_rng(7), 20))
    share = (replicates < model.summaries(model.observed)).mean(axis=0)
    assert ((share > 0.005) & (share < 0.995)).all()
    assert Coalescent(chromosomes=(5, 9), loci=2, growth=3.0).observed.shape == (5, 2)


def test_observed_mitochondria_are_those_of_1991():
    np.testing.assert_array_equal(CoalescentSites().observed, [26, 28])
    text = files("simulators").joinpath("data", "nuu_chah_nulth_1991.csv").read_text("utf-8")
    (row,) = csv.DictReader(text.splitlines())
    assert row == {
        "chromosomes": "63",
        "sites": "360",
        "segregating_sites": "26",
        "lineages": "28",
    }
    assert CoalescentSites().sites == int(row["sites"])
    assert CoalescentSites(chromosomes=62).observed is None


def test_observed_mitochondria_are_ordinary_only_where_few_positions_mutate():
    def as_rare(b, theta, **settings):
        seen = Counter(map(tuple, counts(b, 63, theta, **settings)))
        return sum(c for c in seen.values() if c <= seen[26.0, 28.0]) / b

    assert as_rare(30_000, 15.0) == pytest.approx(1 / 12, abs=0.03)
    for theta in (5.0, 10.0, 15.0):
        assert as_rare(5_000, theta, rate_shape=None) == 0


def test_settings_are_stored_under_their_own_names_and_may_come_from_json():
    settings = {"chromosomes": (5, 9), "loci": 3, "theta": (1.0, 2.0), "growth": 4.0}
    model = Coalescent(**json.loads(json.dumps(settings)), log_uniform=True)
    assert model == Coalescent(**settings, log_uniform=True)
    assert {name: getattr(model, name) for name in settings} == settings
    assert model.log_uniform
    assert model.data.columns == ("locus_1", "locus_2", "locus_3")
    assert model.data.n_range == (5, 9)
    assert model.data.columns_exchangeable
    settings = {"chromosomes": 5, "sites": 90, "rate_shape": 0.3, "theta": (1.0, 2.0)}
    sites = CoalescentSites(**json.loads(json.dumps(settings)), growth=1.0)
    assert sites == CoalescentSites(**settings, growth=1.0)
    assert {name: getattr(sites, name) for name in settings} == settings
    assert sites.data.columns == ("segregating_sites", "lineages")
    assert CoalescentSites(theta=[1, 2]).theta == (1.0, 2.0)


BOTH = [
    ({"chromosomes": 1}, BadValue, "chromosomes as an integer >= 2; got 1"),
    ({"theta": (2.0, 1.0)}, BadValue, r"highest theta as a finite number in \(2, 1e\+06\]; got 1"),
    ({"theta": 5.0}, BadType, r"theta as \(lowest, highest\); got 5.0; pass two numbers"),
    ({"theta": (1.0, 2.0, 3.0)}, BadType, r"theta as \(lowest, highest\)"),
    ({"theta": (-1.0, 2.0)}, BadValue, r"lowest theta as a finite number in \[0, 1e\+06\]; got -1"),
    ({"theta": (1.0, 2e6)}, BadValue, "highest theta as a finite number"),
    ({"theta": (0.0, 2.0), "log_uniform": True}, BadValue, "LogUniform with low > 0"),
    ({"log_uniform": 1}, BadType, "log_uniform as True or False; got 1"),
    ({"growth": -1.0}, BadValue, r"growth as a finite number in \[0, 1e\+06\]; got -1"),
    ({"growth": "1"}, BadType, "growth as a finite number"),
    ({"mu": 1.0}, TypeError, "unexpected keyword argument 'mu'"),
]


@pytest.mark.parametrize(
    ("model", "settings", "error", "message"),
    [(model, *case) for model in (Coalescent, CoalescentSites) for case in BOTH]
    + [
        (Coalescent, {"chromosomes": (1, 5)}, BadValue, "chromosomes as an integer >= 2; got 1"),
        (Coalescent, {"chromosomes": (5, 2)}, BadValue, "largest n as an integer >= 5; got 2"),
        (Coalescent, {"loci": 0}, BadValue, "loci as an integer >= 1; got 0"),
        (CoalescentSites, {"chromosomes": (5, 9)}, BadType, "chromosomes as an integer >= 2"),
        (CoalescentSites, {"sites": 0}, BadValue, r"sites as an integer in \[1, 1e\+06\]; got 0"),
        (CoalescentSites, {"sites": 3.5}, BadType, "sites as an integer"),
        (CoalescentSites, {"rate_shape": 0.0}, BadValue, "rate_shape as a finite number in"),
        (CoalescentSites, {"rate_shape": "1"}, BadType, "rate_shape as a finite number in"),
    ],
)
def test_bad_settings_are_refused(model, settings, error, message):
    with pytest.raises(error, match=message):
        model(**settings)


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ([[1.0]], r"theta of shape \(b, 2\); got \(1, 1\); pass one row \(theta, growth\)"),
        ([[1.0, 1.0], [np.nan, 1.0]], "theta without NaN or inf; got nan at row 1 of column"),
        ([[-1.0, 1.0]], r"parameter theta in \[0, 1e\+06\]; got -1 in row 0"),
        ([[1.0, -1.0]], r"parameter growth in \[0, 1e\+06\]; got -1 in row 0"),
        ([[1e7, 1.0]], r"parameter theta in \[0, 1e\+06\]; got 1e\+07 in row 0"),
    ],
)
def test_bad_parameters_are_refused(theta, message):
    with pytest.raises(BadValue, match=message):
        Coalescent(growth=1.0).simulate(np.array(theta), np.random.default_rng(0), 20)
    with pytest.raises(BadValue, match=message):
        CoalescentSites(growth=1.0).simulate(np.array(theta), np.random.default_rng(0))


def test_a_sample_of_one_is_refused():
    with pytest.raises(BadValue, match="n as an integer >= 2; got 1"):
        Coalescent().simulate(np.ones((1, 1)), np.random.default_rng(0), 1)
