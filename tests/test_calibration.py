"""The calibration check against posteriors known to be exact, too narrow, too wide and shifted."""

import json
import math
from itertools import combinations_with_replacement, pairwise

import numpy as np
import pytest
from scipy.special import bdtr, ndtr, ndtri
from scipy.stats import kstest

from sbi_kit.arviz_bridge import read_netcdf, write_netcdf
from sbi_kit.checks import BadType, BadValue
from sbi_kit.diagnostics.bands import simultaneous_band
from sbi_kit.diagnostics.calibration import (
    Verdict,
    calibrate,
    coverage,
    ecdf_band,
    rank_ecdf,
    sbc_ranks,
    sensitivity,
)
from sbi_kit.diagnostics.ranks import compare
from sbi_kit.diagnostics.uniformity import uniformity
from tests.oracles.conjugate import EXACT_SD, NOISE, Bank, Conjugate, Normals, watched


def null_ranks(rng, b, draws, d):
    return rng.integers(0, draws + 1, size=(b, d))


# Bands


def brute_force(b, points):
    """Every possible vector of counts of b uniform numbers at the points, with its probability."""
    points = np.asarray(points)
    cells = np.diff([0.0, *points, 1.0])
    for counts in combinations_with_replacement(range(b + 1), len(points)):
        inside = np.diff([0, *counts, b])
        ways = math.factorial(b) / math.prod(map(math.factorial, inside))
        yield np.array(counts), ways * np.prod(cells**inside)


@pytest.mark.parametrize(
    ("b", "points"), [(3, (0.2, 0.5, 0.6)), (7, (0.25, 0.5, 0.75)), (5, (0.1,))]
)
def test_level_and_p_value_agree_with_enumeration(b, points):
    band = simultaneous_band(b, points, level=0.8)
    counts, weights = zip(*brute_force(b, points), strict=True)
    heights, weights = np.stack(counts, axis=1) / b, np.array(weights)
    assert weights.sum() == pytest.approx(1)
    tails = [
        np.minimum(bdtr(heights * b, b, z), bdtr(b - heights * b, b, 1 - z))
        for heights, z in zip(heights, points, strict=True)
    ]
    statistic = np.min(tails, axis=0)
    expected = [weights[statistic <= s * (1 + 1e-9)].sum() for s in statistic]
    np.testing.assert_allclose(band.p_values(heights), expected, atol=1e-10)
    inside = band.holds(heights)
    assert weights[inside].sum() >= 0.8
    np.testing.assert_array_equal(inside, band.p_values(heights) > 0.2)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.995])
@pytest.mark.parametrize(("b", "draws"), [(2, 9), (30, 7), (100, 100), (500, 500), (2_000, 99)])
def test_inside_the_band_is_a_p_value_above_the_size(b, draws, level):
    band = ecdf_band(b, draws, level=level)
    ranks = null_ranks(np.random.default_rng(b), b, draws, 60)
    heights = rank_ecdf(ranks, draws)
    np.testing.assert_array_equal(band.holds(heights), band.p_values(heights) > 1 - level)


def test_band_is_symmetric_and_narrows_with_the_root_of_b():
    band, finer = ecdf_band(500, 999), ecdf_band(2_000, 999)
    np.testing.assert_allclose(band.lower, 1 - band.upper[::-1], atol=1e-12)
    np.testing.assert_allclose(band.points, np.arange(1, 100) / 100)
    middle = (band.upper - band.lower)[49] / (finer.upper - finer.lower)[49]
    assert middle == pytest.approx(2, rel=0.05)


def test_pointwise_band_is_the_binomial_interval():
    # One point: the band is the central interval of one binomial count.
    band = simultaneous_band(100, (0.5,), level=0.95)
    assert (band.lower[0], band.upper[0]) == (0.4, 0.6)


def outside_share(repetitions, b, draws, seed):
    ranks = null_ranks(np.random.default_rng(seed), b, draws, repetitions)
    return 1 - ecdf_band(b, draws).holds(rank_ecdf(ranks, draws)).mean()


def test_false_alarms_of_the_band_quickly():
    # 4 standard errors of 2,000 repetitions at 5 %.
    assert outside_share(2_000, 200, 99, seed=1) == pytest.approx(0.05, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(("b", "draws"), [(100, 500), (500, 500), (2_000, 1_000), (500, 17)])
def test_false_alarms_of_the_band(b, draws):
    rates = [outside_share(1_000, b, draws, seed) for seed in range(10)]
    assert np.mean(rates) == pytest.approx(0.05, abs=0.0075)


@pytest.mark.slow
@pytest.mark.parametrize(("d", "sizes"), [(1, (1,)), (1, (10, 100)), (5, (1,))])
def test_false_alarms_of_the_verdict(d, sizes):
    # Columns, joint checks and strata; repetitions share the posterior, not the data.
    names = tuple("abcde"[:d])
    scales = (1.0,) * d
    exact = Conjugate(names, scales=scales)
    banks = (Bank(300, names, seed=seed, scales=scales, sizes=sizes) for seed in range(1_000))
    passed = [calibrate(exact, bank, draws=100, seed=3).passed for bank in banks]
    # The law is an upper bound; Bonferroni leaves some of it unspent.
    assert 0.01 < 1 - np.mean(passed) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1_000)


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 5])
@pytest.mark.parametrize(
    "wrong", [{"ratio": 0.8}, {"ratio": 1.2}, {"shift": 0.25}], ids=lambda wrong: str(wrong)
)
def test_power_of_the_verdict(d, wrong):
    # The fewest datasets of which the text speaks; all parameters are wrong.
    names = tuple("abcde"[:d])
    scales = (1.0,) * d
    posterior = Conjugate(names, scales=scales, **wrong)
    banks = (Bank(300, names, seed=seed, scales=scales) for seed in range(300))
    passed = [calibrate(posterior, bank, draws=200, seed=3).passed for bank in banks]
    assert 1 - np.mean(passed) >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / 300)


@pytest.mark.parametrize("draws", [19, 250])
def test_p_values_of_the_null_are_uniform(draws):
    ranks = null_ranks(np.random.default_rng(7), 300, draws, 400)
    both = coverage(ranks, draws)
    p_ranks = ecdf_band(300, draws).p_values(rank_ecdf(ranks, draws))
    p_coverage = both.band.p_values(both.values)
    # Counts are whole, so p-values are stochastically a little larger than uniform: one-sided.
    for p in (p_ranks, p_coverage):
        assert kstest(p, "uniform", alternative="greater").pvalue > 0.01
        assert np.mean(p) == pytest.approx(0.5, abs=0.05)


# Ranks


def test_ranks_are_those_of_each_dataset_and_parameter():
    bank, posterior = Bank(40), Conjugate()
    ranks = sbc_ranks(posterior, bank, draws=50, seed=9)
    seen = watched(posterior)
    np.testing.assert_array_equal(sbc_ranks(posterior, bank, draws=50, seed=9), ranks)
    (drawn,) = seen
    for i, truth in enumerate(bank.theta):
        for j, value in enumerate(truth):
            assert ranks[i, j] == sum(draw < value for draw in drawn[i, :, j])


def test_mixed_axes_would_hide_a_posterior_three_times_too_narrow():
    # As many draws as datasets, so that swapped axes have the right shape.
    bank, narrow = Bank(300, sizes=(100,)), Conjugate(ratio=1 / 3)
    theta, x = bank.take(np.arange(300))
    drawn = narrow.sample(x, draws=300, seed=1)
    mixed, _ = compare(theta, drawn.swapaxes(0, 1))
    assert uniformity(mixed, 300).p_values.min() > 0.05
    ranks = sbc_ranks(narrow, bank, draws=300, seed=1)
    assert np.isin(ranks, (0, 300)).mean() > 0.3
    assert ecdf_band(300, 300).p_values(rank_ecdf(ranks, 300)).max() < 1e-10
    verdict = calibrate(narrow, bank, draws=300, seed=1)
    assert not any(verdict.passed_by_parameter.values())
    assert not any(check.passed for check in verdict.joint)


def test_ranks_do_not_depend_on_memory_chunks_being_alike():
    # 300 datasets × 4,000 draws × 2 need two calls, whose noise must differ.
    class Recorder(Conjugate):
        def sample(self, x, *, draws, seed):
            seeds.append((len(x), seed))
            return super().sample(x, draws=draws, seed=seed)

    seeds = []
    ranks = sbc_ranks(Recorder(), Bank(300), draws=4_000, seed=2)
    sizes, used = zip(*seeds, strict=True)
    assert len(set(used)) == len(used) == 2
    assert sum(sizes) == len(ranks) == 300
    assert kstest(ranks[:, 0] / 4_000, "uniform").pvalue > 0.01


def test_same_seed_same_ranks_and_other_seed_other_ranks():
    bank = Bank(30)
    first, again = (sbc_ranks(Conjugate(), bank, draws=99, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != sbc_ranks(Conjugate(), bank, draws=99, seed=5)).mean() > 0.5


def test_ties_are_broken_uniformly():
    class Rounded(Conjugate):
        def sample(self, x, *, draws, seed):
            return np.zeros((len(x), draws, 2))

    bank = Bank(2_000)
    bank.theta = np.zeros_like(bank.theta)
    ranks = sbc_ranks(Rounded(), bank, draws=10, seed=1)
    assert ranks.min() == 0
    assert ranks.max() == 10
    assert (ecdf_band(2_000, 10).p_values(rank_ecdf(ranks, 10)) > 0.01).all()


def test_discrete_parameters_keep_uniform_ranks():
    # Coins: theta in {0, 1} with an exact posterior that has ties in almost every dataset.
    class Coin:
        prior = Normals(("heads",), (1.0,))

        def sample(self, x, *, draws, seed):
            share = x.values[:, 0, 0]
            drawn = np.random.default_rng(seed).random((len(x), draws)) < share[:, None]
            return drawn[:, :, None].astype(float)

    bank = Bank(3_000, ("heads",), scales=(1.0,))
    rng = np.random.default_rng(0)
    bank.x = rng.beta(1, 3, size=(3_000, 1))
    bank.theta = (rng.random((3_000, 1)) < bank.x).astype(float)
    ranks = sbc_ranks(Coin(), bank, draws=30, seed=1)
    assert ecdf_band(3_000, 30).p_values(rank_ecdf(ranks, 30))[0] > 0.01


# Coverage


@pytest.mark.parametrize("draws", [99, 1_000])
@pytest.mark.parametrize("ratio", [0.6, 0.8, 1.25])
def test_coverage_and_calibration_error_have_their_closed_form(draws, ratio):
    # PIT values of a normal posterior with a wrong sd, at normal quantiles: no sampling noise.
    u = ndtr(ndtri((np.arange(20_000) + 0.5) / 20_000) / ratio)
    ranks = np.floor(u * (draws + 1)).astype(int)[:, None]
    curve = coverage(ranks, draws)

    def closed(level):
        return 2 * ndtr(ratio * ndtri((1 + level) / 2)) - 1

    np.testing.assert_allclose(curve.values[:, 0], closed(curve.levels), atol=1e-3)
    assert curve.at(0.9)[0] == pytest.approx(closed(0.9), abs=0.003)
    fine = (np.arange(10_000) + 0.5) / 10_000
    assert curve.error[0] == pytest.approx(np.median(np.abs(closed(fine) - fine)), abs=0.005)
    assert not curve.band.holds(curve.values)[0]


@pytest.mark.parametrize("draws", [2, 5, 9, 50, 99, 199, 500, 1_999])
def test_levels_are_the_percents_as_closely_as_ranks_allow(draws):
    every_rank = np.arange(draws + 1)[:, None]
    curve = coverage(every_rank, draws)
    np.testing.assert_allclose(curve.values[:, 0], curve.levels, atol=1e-12)
    assert (np.diff(curve.levels) > 0).all()
    if draws >= 199:
        np.testing.assert_allclose(curve.levels, np.arange(1, 100) / 100, atol=1 / draws)


# Verdict


@pytest.fixture(scope="module")
def exact() -> Verdict:
    return calibrate(Conjugate(), Bank(500), draws=500, seed=1)


def test_exact_posterior_passes_with_its_closed_form_numbers(exact):
    assert exact.passed
    assert exact.passed_by_parameter == {"a": True, "b": True}
    assert (exact.p_values > 0.05).all()
    r2 = 1 / (1 + NOISE**2)
    np.testing.assert_allclose(exact.r2, r2, atol=0.04)
    np.testing.assert_allclose(exact.relative_sd, EXACT_SD, rtol=0.1)
    theta = Bank(500).theta
    rmse = EXACT_SD * np.array([1, 1000])
    np.testing.assert_allclose(exact.nrmse, rmse / np.ptp(theta, axis=0), rtol=0.1)
    entropy = 2 * 0.5 * np.log(2 * np.pi * np.e * EXACT_SD**2) + np.log(1000)
    assert abs(exact.log_score + entropy) < 4 * exact.log_score_error
    assert exact.log_score_error == pytest.approx(1 / math.sqrt(500), rel=0.15)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (Conjugate(ratio=0.8), "too narrow"),
        (Conjugate(ratio=1.2), "too wide"),
        (Conjugate(shift=0.3), "too high"),
        (Conjugate(shift=-0.3), "too low"),
    ],
)
@pytest.mark.parametrize("b", [500, 2_000])
def test_wrong_posteriors_are_rejected_for_the_right_reason(wrong, reason, b):
    verdict = calibrate(wrong, Bank(b, seed=3), draws=250, seed=1)
    assert verdict.passed_by_parameter == {"a": False, "b": False}
    assert verdict.sentence.startswith("Miscalibrated")
    assert verdict.sentence.count(reason) == 2


def test_exact_posterior_has_the_best_log_score():
    bank = Bank(300)
    scores = [
        calibrate(Conjugate(ratio=ratio), bank, draws=50, seed=1).log_score
        for ratio in (0.8, 1.0, 1.2)
    ]
    assert max(scores) == scores[1]


def test_power_counts_only_the_wrong_parameter():
    class HalfWrong(Conjugate):
        def sample(self, x, *, draws, seed):
            return super().sample(x, draws=draws, seed=seed) + np.array([0, 300.0])

    verdict = calibrate(HalfWrong(), Bank(500), draws=250, seed=2)
    assert verdict.passed_by_parameter == {"a": True, "b": False}
    assert not verdict.passed
    assert "draws of b (p = " in verdict.sentence


@pytest.mark.parametrize(("b", "draws"), [(60, 99), (500, 20), (500, 500)])
def test_stated_sensitivity_is_the_power_measured_by_simulation(b, draws):
    seen = sensitivity(b, draws)
    rng = np.random.default_rng(5)
    repetitions = 400
    for shift, ratio in ((seen.shift, 1), (0, seen.narrow), (0, seen.wide)):
        # The rank of z among draws of N(shift, ratio²) is binomial given z.
        z = rng.normal(size=(b, repetitions))
        ranks = rng.binomial(draws, ndtr((z - shift) / ratio))
        found = (uniformity(ranks, draws).p_values <= 0.05).mean()
        # At least the stated power; that four tests look together adds a few percent.
        assert 0.8 - 0.06 < found < 0.9


def test_sensitivity_grows_with_the_number_of_datasets():
    seen = [sensitivity(b, 500) for b in (50, 200, 800, 3_200)]
    assert all(a.shift > b.shift for a, b in pairwise(seen))
    assert all(a.narrow < b.narrow < 1 < b.wide < a.wide for a, b in pairwise(seen))
    assert seen[1].shift / seen[3].shift == pytest.approx(4, rel=0.1)
    hopeless = sensitivity(2, 2)
    assert (hopeless.shift, hopeless.narrow, hopeless.wide) == (math.inf, 0, math.inf)


def test_strata_are_those_asked_for():
    few, many = Bank(120), Bank(240)
    assert calibrate(Conjugate(), few, draws=20, seed=1).strata == ()
    assert len(calibrate(Conjugate(), many, draws=20, seed=1).strata) == 4
    assert calibrate(Conjugate(), many, draws=20, seed=1, regions=1).strata == ()
    cut = calibrate(Conjugate(), few, draws=20, seed=1, regions=4).strata
    assert [part.label for part in cut[:2]] == ["a part 1 of 4", "a part 2 of 4"]
    assert sum(len(part.rows) for part in cut) == 2 * 120


def test_the_level_is_shared_out_and_spent_once():
    verdict = calibrate(Conjugate(), Bank(300), draws=50, seed=1, level=0.9)
    columns = len(verdict.names) * verdict.size
    joint = sum(check.size for check in verdict.joint)
    strata = sum(part.size * len(part.p_values) for part in verdict.strata)
    np.testing.assert_allclose([columns, joint, strata], [0.07, 0.015, 0.015])
    uncut = calibrate(Conjugate(), Bank(300), draws=50, seed=1, level=0.9, regions=1)
    assert uncut.size == pytest.approx(0.085 / 2)


def test_few_datasets_never_earn_praise():
    verdict = calibrate(Conjugate(), Bank(60), draws=100, seed=1)
    assert verdict.passed
    assert not verdict.enough
    assert "Too few datasets for a verdict (60 datasets; use 100 or more)" in verdict.sentence
    assert f"a shift of {verdict.sensitivity.shift:.2f} posterior sd" in verdict.sentence
    tiny = calibrate(Conjugate(), Bank(2), draws=2, seed=1)
    assert "no error of any size" in tiny.sentence
    assert tiny.to_dict()["smallest_seen"]["shift"] is None


def test_no_verdict_says_calibrated(exact):
    assert "calibrated" not in str(exact)
    assert exact.sentence.startswith("No miscalibration found (500 datasets, joint 95 % bands)")


def test_table_has_one_row_per_parameter(exact):
    head, *rows, strata, score, sentence = str(exact).splitlines()
    assert head.split()[:2] == ["parameter", "p-value"]
    assert [row.split()[0] for row in rows] == ["a", "b", "highest", "TARP"]
    assert len(head) <= 100
    assert strata.startswith("6 of 6 strata passed; smallest p-value")
    assert len({len(line) for line in (head, *rows)}) == 1
    cells = rows[1].split()
    assert cells[2] == "yes"
    assert float(cells[3]) == pytest.approx(exact.coverage.at(0.5)[1], abs=5e-4)
    assert float(cells[6]) == pytest.approx(exact.r2[1], abs=5e-4)
    assert score.startswith("log score")
    assert sentence == exact.sentence


def test_table_is_100_columns_wide_at_most():
    names = ("rate_of_recovery_of_those_in_hospital", "rate_of_recovery_of_those_at_home")
    verdict = calibrate(Conjugate(names, ratio=0.5), Bank(300, names), draws=50, seed=1)
    *table, _, _ = str(verdict).splitlines()
    assert len([line for line in table if line.startswith("failed ")]) == 6
    assert max(map(len, table)) <= 100
    assert table[1].startswith("rate_of_recov")


def test_json_round_trip(exact):
    entry = json.loads(json.dumps(exact.to_dict(), allow_nan=False))
    assert entry["passed"] is True
    assert entry["datasets"] == entry["draws"] == 500
    assert entry["parameters"]["b"]["r2"] == exact.r2[1]
    np.testing.assert_array_equal(entry["parameters"]["a"]["coverage"], exact.coverage.values[:, 0])
    assert entry["quantities"] == {}
    assert entry["joint"]["TARP"]["p_value"] == exact.tarp.p_value
    assert [part["label"] for part in entry["strata"]] == [part.label for part in exact.strata]
    assert entry["strata"][0]["p_values"]["b"] == exact.strata[0].p_values[1]


def test_arviz_gets_every_column_quantities_included(tmp_path):
    quantities = {"ratio": lambda theta: theta[:, 0] / theta[:, 1]}
    verdict = calibrate(Conjugate(), Bank(40), draws=20, seed=1, quantities=quantities)
    write_netcdf(verdict.to_arviz(), tmp_path / "check.nc")
    read = read_netcdf(tmp_path / "check.nc")
    assert list(read["prior_sbc"].data_vars) == list(verdict.names) == ["a", "b", "ratio"]
    for i, name in enumerate(verdict.names):
        np.testing.assert_array_equal(read["prior"][name].values[0], verdict.truth[:, i])
        uniform = (verdict.ranks[:, i] + 0.5) / 21
        np.testing.assert_allclose(read["prior_sbc"][name].values[0], uniform)
        for kind in ("mean", "median", "sd"):
            column = read["recovery"][kind].sel(parameter=name).values[0]
            np.testing.assert_array_equal(column, getattr(verdict, kind)[:, i])
    stats = read["sample_stats_prior"]
    np.testing.assert_array_equal(stats["log_q"].values[0], verdict.log_q)
    np.testing.assert_array_equal(stats["n"].values[0], verdict.n)
    marks = read["prior"].attrs
    assert (marks["posterior_draws"], marks["seed"], marks["level"]) == ("20", "1", "0.95")
    assert marks["calibration"] == verdict.sentence


def test_truth_outside_the_posterior_support_scores_minus_infinity():
    class Bounded(Conjugate):
        def log_prob(self, theta, x):
            values = super().log_prob(theta, x)
            values[3, 0] = -np.inf
            return values

    verdict = calibrate(Bounded(), Bank(100), draws=20, seed=1)
    assert verdict.log_score == -math.inf
    assert verdict.region_ranks[3] == 0
    assert verdict.to_dict()["log_score"] is None


def test_constant_parameter_has_no_r2():
    bank = Bank(100)
    bank.theta[:, 1] = 7.0
    verdict = calibrate(Conjugate(), bank, draws=20, seed=1)
    assert math.isnan(verdict.r2[1])
    assert verdict.to_dict()["parameters"]["b"]["nrmse"] is None


def test_failed_simulations_are_left_out():
    assert sbc_ranks(Conjugate(), Bank(50, drop=(0, 7)), draws=9, seed=1).shape == (48, 2)


# Bad input


class Broken(Conjugate):
    """Returns what `sample_as` and `density_as` make of the right answer."""

    sample_as = staticmethod(lambda drawn: drawn)
    density_as = staticmethod(lambda values: values)

    def sample(self, x, *, draws, seed):
        return self.sample_as(super().sample(x, draws=draws, seed=seed))

    def log_prob(self, theta, x):
        return self.density_as(super().log_prob(theta, x))


def put(array, index, value):
    array[index] = value
    return array


def broken(**attributes):
    posterior = Broken()
    for name, value in attributes.items():
        setattr(posterior, name, value)
    return posterior


@pytest.mark.parametrize(
    ("posterior", "bank", "settings", "error", "message"),
    [
        (Conjugate(("a", "c")), Bank(9), {}, BadValue, r"parameters \(a, c\); got a, b; simulate"),
        ("runs/flu", Bank(9), {}, BadType, r"with prior, sample and log_prob; got str; pass what"),
        (Conjugate(), "banks/flu", {}, BadType, r"a bank of simulations; got str; pass what sim"),
        (Conjugate(), Bank(9), {"draws": 0}, BadValue, r"Expected draws as an integer >= "),
        (Conjugate(), Bank(9), {"draws": 1.5}, BadType, r"draws as an integer .*got 1.5"),
        (Conjugate(), Bank(9), {"seed": -1}, BadValue, r"seed as an integer >= 0; got -1"),
        (Conjugate(), Bank(9), {"level": 95}, BadValue, r"level as a finite number in \[0.5, "),
        (Conjugate(), Bank(9), {"regions": 5}, BadValue, r"regions as an integer in \[1, 4\]; got"),
        (Conjugate(), Bank(9), {"regions": 2.0}, BadType, r"regions as an integer .*got 2.0"),
        (Conjugate(), Bank(1), {}, BadValue, r"at least 2 simulations; got 1 usable"),
        (Conjugate(), Bank(3, drop=(0, 2)), {}, BadValue, r"at least 2 simulations; got 1 usable"),
        (
            broken(sample_as=lambda drawn: drawn.swapaxes(0, 1)),
            Bank(9),
            {},
            BadValue,
            r"posterior draws of shape \(9, 20, 2\); got \(20, 9, 2\); correct the posterior's",
        ),
        (
            broken(sample_as=lambda drawn: put(drawn, (3, 4, 1), np.nan)),
            Bank(9),
            {},
            BadValue,
            r"posterior draws without NaN or inf; got nan at row \(3, 4\) of column 'b'",
        ),
        (
            broken(density_as=lambda values: values[:, None]),
            Bank(9),
            {},
            BadValue,
            r"log densities of shape \(9, 21\); got \(9, 1, 21\); correct the posterior's log_prob",
        ),
        (
            broken(density_as=lambda values: put(values, 5, np.nan)),
            Bank(9),
            {},
            BadValue,
            r"log densities below inf; got nan at dataset 5; correct the posterior's log_prob",
        ),
    ],
)
def test_bad_input_gets_one_sentence(posterior, bank, settings, error, message):
    with pytest.raises(error, match=message):
        calibrate(posterior, bank, **{"draws": 20, "seed": 1, **settings})


@pytest.mark.parametrize(
    ("b", "draws", "level"), [(0, 9, 0.95), (9, 0, 0.95), (9, 9, 1.0), (9, 9, 0)]
)
def test_bands_refuse_impossible_sizes(b, draws, level):
    with pytest.raises(BadValue, match=r"Expected (b|draws|level) as a"):
        ecdf_band(b, draws, level=level)
