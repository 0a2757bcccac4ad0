"""Strata: chosen by the data they leave ranks uniform, and they find what averages hide."""

import numpy as np
import pytest

import sbi_kit as sk
from sbi_kit.diagnostics.calibration import calibrate
from sbi_kit.diagnostics.ranks import compare
from sbi_kit.diagnostics.strata import strata_of
from sbi_kit.diagnostics.uniformity import uniformity
from tests.oracles.conjugate import Bank, Conjugate

NONE = np.empty((9, 0))


def test_right_on_average_and_wrong_at_n_100_is_found():
    bank = Bank(1_500, sizes=(100, 300, 1_000), seed=2)
    posterior = Conjugate(ratio_at=((100, 0.8), (1_000, 1.25)))
    verdict = calibrate(posterior, bank, draws=200, seed=1)
    assert verdict.passed_by_parameter == {"a": True, "b": True}
    assert not verdict.passed
    by_size = {part.label: part for part in verdict.strata if part.label.startswith("n ")}
    assert list(by_size) == ["n = 100", "n = 300", "n = 1000"]
    assert [part.passed for part in by_size.values()] == [False, True, False]
    assert by_size["n = 100"].faults == ("too narrow", "too narrow")
    assert by_size["n = 1000"].faults == ("too wide", "too wide")
    assert "given n = 100, intervals of a (p = " in verdict.sentence
    lines = [line for line in str(verdict).splitlines() if line.startswith("failed n = 1000 (500")]
    assert "b too wide (p = " in lines[0]
    assert calibrate(Conjugate(), bank, draws=200, seed=1).passed


def test_wrong_in_one_region_is_found_there():
    class LowWrong(Conjugate):
        """Half an sd too high where a is low, half too low where it is high."""

        def _normal(self, x):
            mean, sd = super()._normal(x)
            push = np.where(mean[:, 0] < -0.4, 0.5, np.where(mean[:, 0] > 0.4, -0.5, 0.0))
            return mean + push[:, None] * sd * [1, 0], sd

    verdict = calibrate(LowWrong(), Bank(1_500), draws=200, seed=1)
    failed = {part.label: part for part in verdict.strata if not part.passed}
    assert set(failed) == {"a low third", "a high third"}
    assert failed["a low third"].faults[0] == "too high"
    assert failed["a high third"].faults[0] == "too low"
    assert failed["a low third"].failed.tolist() == [0]


def least_p_value(theta, drawn, places):
    """Of the ranks of theta (b, 1) in the thirds of the datasets along places (b, 1)."""
    below, _ = compare(theta, drawn)
    parts = strata_of(np.ones(len(theta)), NONE[: len(theta)], places, ("a",), 3)
    draws = drawn.shape[1]
    return min(uniformity(below[rows], draws).p_values[0] for _, rows in parts)


@pytest.mark.parametrize("noise", [0.5, 100.0])
def test_only_symmetric_functions_of_truth_and_draws_may_choose(noise):
    # The posterior is exact; with a noise of 100 the data say nothing.
    rng = np.random.default_rng(5)
    theta = rng.normal(size=(6_000, 1))
    mean = (theta + noise * rng.normal(size=theta.shape)) / (1 + noise**2)
    sd = noise / np.sqrt(1 + noise**2)
    drawn = mean[:, None] + sd * rng.normal(size=(6_000, 20, 1))
    assert least_p_value(theta, drawn, (theta + drawn.sum(axis=1)) / 21) > 0.01
    assert least_p_value(theta, drawn, theta) < 1e-10
    if noise == 100.0:
        assert least_p_value(theta, drawn, drawn.mean(axis=1)) < 1e-10


def test_exact_posterior_of_data_that_say_nothing_passes_with_few_draws():
    class Prior(Conjugate):
        def _normal(self, x):
            return np.zeros((len(x), 2)), np.tile(self.scales, (len(x), 1))

    verdict = calibrate(Prior(), Bank(6_000), draws=20, seed=1)
    assert len(verdict.strata) == 6
    assert verdict.passed


def test_every_dataset_is_in_one_part_along_each_axis():
    rng = np.random.default_rng(0)
    n, context = rng.integers(20, 200, size=100), rng.normal(size=(100, 2))
    places = rng.normal(size=(100, 2))
    parts = dict(strata_of(n, context, places, ("dose", "age", "a", "b"), 3))
    assert list(parts)[3:7] == [
        "dose low third",
        "dose middle third",
        "dose high third",
        "age low third",
    ]
    for first in range(0, 15, 3):
        rows = np.concatenate(list(parts.values())[first : first + 3])
        np.testing.assert_array_equal(np.sort(rows), np.arange(100))
        assert all(28 <= len(part) <= 39 for part in list(parts.values())[first : first + 3])
    for label, part in list(parts.items())[:3]:
        assert label == f"n {n[part].min()}..{n[part].max()}"
    assert places[parts["b low third"], 1].max() < places[parts["b middle third"], 1].min()


def test_known_quantities_have_their_names():
    model = sk.Simulator(
        name="dosed",
        prior=sk.Prior(a=sk.Normal(0, 1)),
        data=sk.Vector(("x",), context=sk.Prior(dose=sk.Uniform(0, 1))),
        simulate=lambda theta, rng, context: theta * context + rng.standard_normal(theta.shape),
    )

    class Before:
        prior = model.prior

        def sample(self, x, *, draws, seed):
            theta = self.prior.sample(len(x) * draws, np.random.default_rng(seed))
            return theta.reshape(len(x), draws, 1)

        def log_prob(self, theta, x):
            return self.prior.log_prob(theta)

    verdict = calibrate(Before(), sk.simulate(model, 300, seed=1), draws=50, seed=2)
    thirds = ["low third", "middle third", "high third"]
    wanted = [f"{name} {third}" for name in ("dose", "a") for third in thirds]
    assert [part.label for part in verdict.strata] == wanted


def test_what_does_not_vary_is_not_cut():
    same = np.ones(9, np.int64)
    places = np.stack([np.arange(9.0), np.zeros(9)], axis=1)
    parts = strata_of(same, np.ones((9, 1)), places, ("dose", "a", "b"), 2)
    assert [label for label, _ in parts] == ["a low half", "a high half"]
    assert strata_of(same, NONE, places, ("a", "b"), 1) == []


def test_sizes_of_one_kind_stay_together():
    n = np.array([5] * 7 + [6, 7])
    parts = strata_of(n, NONE, np.zeros((9, 0)), (), 2)
    assert [(label, len(rows)) for label, rows in parts] == [("n = 5", 7), ("n 6..7", 2)]


def test_strata_say_how_little_they_see():
    verdict = calibrate(Conjugate(), Bank(300), draws=100, seed=1)
    part = verdict.strata[0]
    assert len(part.rows) == 100
    assert part.sensitivity.shift > 1.5 * verdict.sensitivity.shift
    entry = verdict.to_dict()["strata"][0]
    assert entry["datasets"] == 100
    assert entry["smallest_seen"]["shift"] == part.sensitivity.shift
