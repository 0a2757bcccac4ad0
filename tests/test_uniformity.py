"""Tests of uniform ranks: their laws, and what the moments add to the curves."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import chi2, kstest, norm

from sbi_kit.diagnostics.uniformity import uniformity


def ranks_of(u, draws):
    return np.minimum(np.floor(u * (draws + 1)).astype(np.int64), draws)[:, None]


@pytest.mark.parametrize("b", [30, 1_000])
@pytest.mark.parametrize("ratio", [0.85, 1.0, 1.15])
def test_width_has_the_p_value_of_chi_squared(b, ratio):
    # With a million draws normal scores are normal numbers, the sum of their squares chi-squared.
    z = np.random.default_rng(b).normal(size=b) * ratio
    p_value = uniformity(ranks_of(ndtr(z), 999_999), 999_999).p_width[0]
    total = (z**2).sum()
    expected = min(1, 2 * min(chi2.cdf(total, b), chi2.sf(total, b)))
    assert p_value == pytest.approx(expected, rel=0.02, abs=1e-12)


@pytest.mark.parametrize("shift", [-0.2, 0.01, 0.1])
def test_shift_has_the_p_value_of_a_normal_mean(shift):
    z = np.random.default_rng(4).normal(size=200) + shift
    p_value = uniformity(ranks_of(ndtr(z), 99_999), 99_999).p_shift[0]
    expected = 2 * norm.sf(abs(z.sum()) / np.sqrt(200))
    assert p_value == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("b", "draws"), [(20, 19), (100, 2), (100, 7), (300, 250)])
def test_p_values_of_moments_keep_their_size(b, draws):
    ranks = np.random.default_rng(b).integers(0, draws + 1, size=(b, 400))
    tests = uniformity(ranks, draws)
    for p in (tests.p_shift, tests.p_width):
        # Few draws leave few values that the sums can have, so only one side is held to account.
        assert kstest(p, "uniform", alternative="greater").pvalue > 0.001 or draws == 2
        assert (p <= 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert (tests.p_values <= 0.05).mean() < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize(("shift", "ratio"), [(0, 1.2), (0.25, 1)])
def test_moments_see_more_than_the_curves_alone(shift, ratio):
    rng = np.random.default_rng(11)
    ranks = rng.binomial(200, ndtr((rng.normal(size=(300, 300)) - shift) / ratio))
    tests = uniformity(ranks, 200)
    curves = 2 * np.minimum(tests.p_ranks, tests.p_coverage)
    found, without = (tests.p_values <= 0.025).mean(), (curves <= 0.025).mean()
    assert found > without + 0.02
    assert found > 0.9


def test_curves_see_what_moments_do_not():
    # A posterior with two peaks where the truth has one: mean and sd right, the form wrong.
    tests = uniformity(ranks_of(np.where(np.arange(400) % 2, 0.16, 0.84), 199), 199)
    assert min(tests.p_shift[0], tests.p_width[0]) > 0.5
    assert tests.p_values[0] < 1e-10


@pytest.mark.parametrize(
    ("shift", "ratio", "word"),
    [(0, 0.7, "too narrow"), (0, 1.5, "too wide"), (0.5, 1, "too high"), (-0.5, 1, "too low")],
)
def test_fault_is_that_of_the_posterior(shift, ratio, word):
    z = ndtri((np.arange(500) + 0.5) / 500)  # of the truth
    assert uniformity(ranks_of(ndtr((z - shift) / ratio), 300), 300).fault(0) == word
