import math

import numpy as np
import pytest
from scipy import stats

from sbi_kit.familiarity import Familiarity, fit_familiarity


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
    np.testing.assert_allclose(
        fit_familiarity(training, held_out).score(held_out), exact, rtol=1e-3
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
    reference = Familiarity(np.zeros(1), np.ones((1, 1)), scores)
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
