"""Pareto-smoothed weights, alike with ArviZ of either version."""

import numpy as np
import pytest

from sbi_kit.arviz_bridge import psis


@pytest.mark.parametrize("shape", [0.2, 0.5, 1.0])
def test_k_hat_is_the_shape_of_a_pareto_tail(shape):
    # Powers of uniform numbers have an exact Pareto tail; its estimate has an sd of .04 to .08.
    uniform = np.random.default_rng(1).random((20, 4_000))
    found = [psis(-shape * np.log(row))[1] for row in uniform]
    assert np.mean(found) == pytest.approx(shape, abs=0.05)


def test_smoothing_keeps_the_order_and_all_but_the_largest_weights():
    raw = 1.5 * np.random.default_rng(1).normal(size=1_000)
    before = raw.copy()
    smoothed, _ = psis(raw)
    np.testing.assert_array_equal(raw, before)
    order = np.argsort(raw)
    assert (np.diff(smoothed[order]) >= 0).all()
    body = order[:800]
    np.testing.assert_allclose(np.diff(smoothed[body]), np.diff(raw[body]), atol=1e-9)
    assert np.ptp(smoothed) < np.ptp(raw)
