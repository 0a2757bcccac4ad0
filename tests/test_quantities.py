"""Test quantities are judged as parameters are, and find what parameters do not show."""

import numpy as np
import pytest

import sbi_kit as sk
from sbi_kit.checks import BadType, BadValue
from tests.oracles.conjugate import NOISE, Bank, Conjugate
from tests.test_regions import UNIT, SumPosterior, Sums


def log_likelihood(theta, x):
    return -0.5 * ((x.values - theta) ** 2).sum(axis=-1) / NOISE**2


def test_a_quantity_of_parameters_has_the_numbers_of_a_parameter():
    bank = Bank(150)
    plain = sk.calibrate(Conjugate(), bank, draws=60, seed=1)
    twice = {"twice a": lambda theta: 2 * theta[:, 0], "minus b": lambda theta: -theta[:, 1]}
    verdict = sk.calibrate(Conjugate(), bank, draws=60, seed=1, quantities=twice)
    assert verdict.names == ("a", "b", "twice a", "minus b")
    assert verdict.quantities == ("twice a", "minus b")
    np.testing.assert_array_equal(verdict.ranks[:, :2], plain.ranks)
    np.testing.assert_array_equal(verdict.ranks[:, 2], plain.ranks[:, 0])
    np.testing.assert_array_equal(verdict.ranks[:, 3], 60 - plain.ranks[:, 1])
    np.testing.assert_array_equal(verdict.truth[:, 2], 2 * plain.truth[:, 0])
    np.testing.assert_allclose(verdict.r2[2:], plain.r2)
    np.testing.assert_array_equal(verdict.tarp_ranks, plain.tarp_ranks)
    entry = verdict.to_dict()
    assert list(entry["parameters"]) == ["a", "b"]
    assert entry["quantities"]["twice a"]["r2"] == pytest.approx(plain.r2[0])
    assert str(verdict).splitlines()[3].startswith("twice a")


def test_a_quantity_shows_a_lost_correlation():
    total = {"sum": lambda theta: theta.sum(axis=1)}
    bank, wrong = Sums(500, **UNIT), SumPosterior(exact=False)
    verdict = sk.calibrate(wrong, bank, draws=100, seed=1, quantities=total, regions=1)
    assert verdict.passed_by_parameter == {"a": True, "b": True, "sum": False}
    assert "intervals of sum (p = " in verdict.sentence


def test_the_prior_as_posterior_is_found_by_the_log_likelihood_alone():
    class Ignorant(Conjugate):
        def _normal(self, x):
            return np.zeros((len(x), 2)), np.tile(self.scales, (len(x), 1))

    bank = Bank(300, **UNIT)
    fit = {"log likelihood": sk.Quantity(log_likelihood)}
    verdict = sk.calibrate(Ignorant(**UNIT), bank, draws=100, seed=1, quantities=fit)
    assert verdict.passed_by_parameter == {"a": True, "b": True, "log likelihood": False}
    assert all(check.passed for check in verdict.joint)
    assert sk.calibrate(Conjugate(**UNIT), bank, draws=100, seed=1, quantities=fit).passed


def test_infinite_values_are_ranked_and_have_no_moments():
    cut = {"log a": lambda theta: np.log(np.maximum(theta[:, 0], 0))}
    with np.errstate(divide="ignore"):
        verdict = sk.calibrate(Conjugate(), Bank(400), draws=40, seed=1, quantities=cut)
    assert verdict.passed
    assert verdict.to_dict()["quantities"]["log a"]["r2"] is None
    assert verdict.to_dict()["quantities"]["log a"]["contraction"] is None


@pytest.mark.parametrize(
    ("quantities", "error", "message"),
    [
        ([np.sum], BadType, r"quantities as a mapping from names to functions; got list; write"),
        ({"R0": 2.0}, BadType, r"functions; got 'R0': 2.0; write"),
        ({"a": np.sum}, BadValue, r"quantities named other than a, b; got 'a'; rename"),
        ({"R0": np.sum}, BadValue, r"values of quantity 'R0' of shape \(189,\); got \(\); return"),
        (
            {"R0": sk.Quantity(lambda theta, x: theta)},
            BadValue,
            r"quantity 'R0' of shape \(9, 21\); got \(9, 21, 2\); return one",
        ),
        (
            {"R0": lambda theta: np.full(len(theta), np.nan)},
            BadValue,
            r"quantity 'R0' without NaN; got NaN at theta = \[.*\]; correct the function",
        ),
    ],
)
def test_bad_quantities_get_one_sentence(quantities, error, message):
    with pytest.raises(error, match=message):
        sk.calibrate(Conjugate(), Bank(9), draws=20, seed=0, quantities=quantities)
