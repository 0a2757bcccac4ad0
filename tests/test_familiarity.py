import math

import numpy as np
import pytest
from scipy import stats

import sbi_kit as sk
from sbi_kit.data import Datasets
from sbi_kit.familiarity import Familiarity, column_statistics, fit_familiarity
from simulators.regression import Regression


def gaussian(rows, seed, f=6):
    """Correlated features of very different scale."""
    mixing = np.random.default_rng(0).normal(size=(f, f)) * np.geomspace(1e-3, 1e2, f)
    return (np.random.default_rng(seed).normal(size=(rows, f)) @ mixing + 5).astype(np.float32)


@pytest.fixture(scope="module")
def reference():
    return fit_familiarity(gaussian(4_000, 1), gaussian(1_000, 2))


def p_of(reference, features):
    return reference.p_value(reference.score(features))


def test_p_values_of_new_simulations_are_uniform(reference):
    p = p_of(reference, gaussian(2_000, 3))
    # Held-out scores are a sample too, hence the effective size.
    assert stats.kstest(p, "uniform").statistic < 1.9 * math.sqrt(1 / 2_000 + 1 / 1_000)
    for level in (0.01, 0.05, 0.2):
        assert abs((p < level).mean() - level) < 4 * math.sqrt(level * (1 / 2_000 + 1 / 1_000))


def test_the_score_is_the_mahalanobis_distance_per_feature():
    training, held_out = gaussian(5_000, 1).astype(float), gaussian(100, 2).astype(float)
    covariance = np.cov(training.T, bias=True)
    centred = held_out - training.mean(0)
    exact = np.sqrt(np.einsum("bi,ij,bj->b", centred, np.linalg.inv(covariance), centred) / 6)
    # In units of what 95 % of the held-out simulations stay below.
    np.testing.assert_allclose(
        fit_familiarity(training, held_out).score(held_out),
        exact / np.quantile(exact, 0.95),
        rtol=1e-3,
    )


def test_p_values_fall_as_scores_rise(reference):
    top = reference.scores[-1]
    scores = np.concatenate([np.linspace(0, 1.5 * top, 3_001), np.geomspace(1.5 * top, 1e6, 100)])
    p = reference.p_value(scores)
    assert (np.diff(p) <= 0).all()
    assert p[0] == 1
    assert p.min() >= 0
    assert p[-1] < 1e-12


def test_shifted_data_have_tiny_p_values(reference):
    shift = 8 * gaussian(4_000, 1).std(0)
    p = p_of(reference, gaussian(200, 4) + shift)
    assert p.max() < 1e-3
    near, far = (p_of(reference, gaussian(200, 4) + k * shift).max() for k in (1, 10))
    assert far < 1e-3 * near


def test_scores_do_not_feel_an_affine_map_of_the_features(reference):
    def move(features):
        return 1e3 * features.astype(float) @ np.triu(np.ones((6, 6))) - 7

    moved = fit_familiarity(move(gaussian(4_000, 1)), move(gaussian(1_000, 2)))
    np.testing.assert_allclose(moved.scores, reference.scores, rtol=1e-2)


def test_95_percent_of_simulations_are_usual(reference):
    assert abs((reference.scores < reference.usual).mean() - 0.95) < 0.002


def test_directions_without_spread_are_left_out():
    training = gaussian(1_000, 1)
    doubled = np.concatenate([training, training, np.ones((1_000, 2))], axis=1)
    reference = fit_familiarity(doubled, doubled[:100])
    assert reference.whitener.shape == (14, 6)
    assert np.isfinite(reference.scores).all()


def test_constant_features_make_everything_familiar():
    constant = np.full((60, 3), 2.5, dtype=np.float32)
    reference = fit_familiarity(constant, constant[:10])
    assert p_of(reference, constant[:4] + 9).tolist() == [1, 1, 1, 1]


def test_tied_scores_give_valid_p_values():
    coins = np.where(np.random.default_rng(0).random((400, 1)) < 0.5, -1.0, 1.0)
    coins -= coins[:300].mean()  # both sides equally far but for rounding
    reference = fit_familiarity(coins[:300], coins[300:])
    p = p_of(reference, np.array([[1.0], [-1.0], [0.0], [5.0]]) - 0.0)
    assert np.isfinite(p).all()
    assert ((p >= 0) & (p <= 1)).all()
    assert p[3] < 0.05


@pytest.mark.parametrize(
    "scores", [np.zeros(20), np.r_[np.zeros(19), 1.0], np.ones(20), np.ones(1), np.ones(2)]
)
def test_degenerate_references_give_valid_p_values(scores):
    one = np.ones((1, 1))
    reference = Familiarity(np.zeros(1), one, np.zeros(1, np.int64), scores, one)
    p = reference.p_value(np.array([0.0, 0.5, 1.0, 1.5, 100.0]))
    assert np.isfinite(p).all()
    assert (np.diff(p) <= 0).all()
    assert ((p >= 0) & (p <= 1)).all()


@pytest.mark.parametrize("rows", [10, 50])
def test_fewer_simulations_than_features(rows):
    reference = fit_familiarity(gaussian(rows, 1, f=128), gaussian(10, 2, f=128))
    assert reference.whitener.shape[1] == rows // 10
    p = p_of(reference, gaussian(200, 3, f=128))
    assert (p < 0.02).mean() < 0.3  # few simulations are no reason for alarm


def test_arrays_restore_a_reference(reference):
    same = Familiarity(**reference.arrays())
    features = gaussian(50, 5)
    assert np.array_equal(p_of(same, features), p_of(reference, features))


# Several datasets together


def test_the_discrepancy_is_zero_on_average_and_its_p_value_uniform(reference):
    found = [reference.compare(gaussian(30, 100 + k), seed=k) for k in range(200)]
    values, p = (np.array([getattr(one, name) for one in found]) for name in ("value", "p_value"))
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(200)
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert abs((p <= 0.05).mean() - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize("wrong", ["shifted", "narrow", "contaminated"])
def test_several_usual_datasets_may_be_strange_together(reference, wrong):
    alone, together = [], []
    for k in range(20):
        u = np.random.default_rng(200 + k).normal(size=(40, 6))
        if wrong == "shifted":
            u += 0.6
        elif wrong == "narrow":
            u *= 0.4
        else:
            u[:16] *= 2.5
        spread = reference.reference.std(axis=0)
        features = (spread * u) @ np.linalg.pinv(reference.whitener) + reference.center
        alone.append((p_of(reference, features) < 0.05).mean())
        together.append(reference.compare(features, seed=k).p_value)
    assert np.mean(alone) < 0.5  # most of them look usual
    assert np.mean(np.array(together) <= 0.05) >= 0.9


def test_one_dataset_or_one_simulation_is_not_compared(reference):
    assert reference.compare(gaussian(1, 3), seed=1) is None
    alone = fit_familiarity(gaussian(100, 1), gaussian(1, 2))
    assert alone.compare(gaussian(5, 3), seed=1) is None


def test_many_datasets_are_thinned(reference):
    first, again = (reference.compare(gaussian(3_000, 3), seed=1) for _ in range(2))
    assert first == again
    assert first.p_value > 0.01
    assert len(reference.reference) == 500


# Two views


def two_views(seed, rows=3_000):
    """A view of six features, and one of two on another scale."""
    rng = np.random.default_rng(seed)
    return np.hstack([gaussian(rows, seed), 100 * rng.standard_t(5, size=(rows, 2))])


def test_the_worse_of_two_views_counts():
    both = fit_familiarity(two_views(1), two_views(2), (6, 2))
    assert both.view.tolist() == [0] * 6 + [1] * 2
    alone = [
        fit_familiarity(two_views(1)[:, part], two_views(2)[:, part])
        for part in (slice(0, 6), slice(6, 8))
    ]
    new = two_views(3)
    scores = [
        one.score(new[:, part]) for one, part in zip(alone, (slice(0, 6), slice(6, 8)), strict=True)
    ]
    np.testing.assert_allclose(both.score(new), np.max(scores, axis=0))
    p = both.p_value(both.score(new))
    assert abs((p < 0.05).mean() - 0.05) < 0.02
    for place in (slice(0, 6), slice(6, 8)):  # strange to one view is strange
        moved = new.copy()
        moved[:, place] += 10 * new[:, place].std(0)
        assert (both.p_value(both.score(moved)) < 0.05).all()


def test_a_view_without_spread_says_nothing():
    flat = [np.hstack([gaussian(1_000, seed), np.ones((1_000, 2))]) for seed in (1, 2)]
    both, alone = fit_familiarity(*flat, (6, 2)), fit_familiarity(flat[0][:, :6], flat[1][:, :6])
    np.testing.assert_allclose(both.scores, alone.scores)


def test_statistics_of_columns_in_closed_form():
    values = np.array([[[1.0, 0.0], [3.0, 0.0], [9.0, 9.0]], [[5.0, -1.0], [9.0, 9.0], [9.0, 9.0]]])
    found = column_statistics(values, np.array([2, 1]), exchangeable=False)
    tiny = math.log(1e-3)
    first = [2, 0, math.log(1.001), tiny, 1, 0, 3, 0, math.log(2)]
    second = [5, -1, tiny, tiny, 5, -1, 5, -1, 0]
    np.testing.assert_allclose(found, [first, second])


@pytest.mark.parametrize("exchangeable", [False, True])
def test_statistics_do_not_feel_padding_or_neighbours_or_the_order_of_rows(exchangeable):
    rng = np.random.default_rng(1)
    values, n = rng.normal(size=(5, 9, 4)), np.array([9, 3, 1, 7, 5])
    found = column_statistics(values, n, exchangeable=exchangeable)
    assert found.shape == (5, 21 if exchangeable else 17)
    padded = np.where((np.arange(9) < n[:, None])[:, :, None], values, np.nan)
    padded = np.concatenate([np.nan_to_num(padded, nan=1e9), np.full((5, 6, 4), -1e9)], axis=1)
    np.testing.assert_array_equal(column_statistics(padded, n, exchangeable=exchangeable), found)
    for row in range(5):
        table = values[row, None, : n[row]][:, ::-1]
        alone = column_statistics(table, n[[row]], exchangeable=exchangeable)
        np.testing.assert_allclose(alone[0], found[row])
    turned = column_statistics(values[:, :, ::-1], n, exchangeable=exchangeable)
    assert np.allclose(turned, found) == exchangeable


# Power


def corrupted(x, kind, rng):
    """Datasets of (x_1, x_2, y) as a strange world would make them."""
    values = x.values.copy()
    if kind == "shifted":
        values += 1.5 * values[x.mask].std(axis=0)
    elif kind == "scaled":
        values *= 3.0
    elif kind == "contaminated":  # a tenth of the responses is off by six sds
        strange = rng.random(x.mask.shape) < 0.1
        signs = np.sign(rng.normal(size=strange.shape))
        values[..., -1] += 6 * values[x.mask][:, -1].std() * signs * strange
    elif kind == "narrow":  # a summary network may have no use for it
        values[..., 0] *= 0.1
    return Datasets(values, x.n, x.context)


@pytest.fixture(scope="module")
def trained():
    model = Regression(predictors=2, n=(40, 80))
    bank = sk.simulate(model, 6_000, seed=1)
    posterior = sk.fit(bank, seed=2, steps=30, validation_share=0.4, width=32, hidden=32)
    return model, posterior


def p_of_posterior(posterior, x):
    encoder = posterior.encoder
    score = posterior.familiarity.score(encoder.describe(x, encoder.summarise(x)))
    return posterior.familiarity.p_value(score)


def test_strange_data_are_found_and_usual_ones_are_not(trained):
    model, posterior = trained
    fresh = sk.simulate(model, 3_000, seed=77)
    usual = fresh.take(np.arange(3_000))[1]
    assert (p_of_posterior(posterior, usual) < 0.05).mean() == pytest.approx(0.05, abs=0.015)
    rng = np.random.default_rng(3)
    some = usual.take(np.arange(500))
    for kind in ("shifted", "scaled", "contaminated", "narrow"):
        p = p_of_posterior(posterior, corrupted(some, kind, rng))
        assert (p < 0.05).mean() >= 0.9, kind


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_false_alarm_rate(trained, seed):
    model, posterior = trained
    usual = sk.simulate(model, 10_000, seed=100 + seed)
    p = p_of_posterior(posterior, usual.take(np.arange(10_000))[1])
    pairs = 1 / len(p) + 1 / len(posterior.familiarity.scores)  # both are samples
    for level in (0.01, 0.05, 0.2):
        error = math.sqrt(level * (1 - level) * pairs)
        assert (p < level).mean() == pytest.approx(level, abs=3 * error)
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.015)


def test_neighbours_do_not_matter(trained):
    model, posterior = trained
    x = sk.simulate(model, 6, seed=9).take(np.arange(6))[1]
    together = p_of_posterior(posterior, x)
    alone = [p_of_posterior(posterior, x.take(np.array([i])))[0] for i in range(6)]
    np.testing.assert_allclose(together, alone, rtol=1e-3)
