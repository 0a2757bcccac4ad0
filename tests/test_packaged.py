"""Laws of every simulator and generator that comes with the package."""

import pickle
import tomllib
from pathlib import Path

import numpy as np
import pytest

import sbi_kit as sk
from sbi_kit.checks import BadInput
from sbi_kit.data import read
from sbi_kit.registry import is_generator, load_any
from sbi_kit.simulator import describe, rebuild

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
NAMES = sorted(PROJECT["entry-points"]["sbi_kit.simulators"])
GENERATORS = [name for name in NAMES if is_generator(load_any(name))]
SIMULATORS = [name for name in NAMES if name not in GENERATORS]


def test_each_is_of_one_kind():
    assert GENERATORS == ["housing", "kryptonite"]
    for name in GENERATORS:
        with pytest.raises(BadInput, match="parameters to infer; got a generator of labelled"):
            sk.load_simulator(name)
    for name in SIMULATORS:
        with pytest.raises(BadInput, match="generate labelled data; got a simulator"):
            sk.load_generator(name)


@pytest.mark.parametrize("name", SIMULATORS)
def test_a_simulator_is_rebuilt_from_what_its_bank_records(name):
    model = sk.load_simulator(name)
    known = describe(model)
    assert known["name"] == name
    assert rebuild(known, model.prior) == model
    assert pickle.loads(pickle.dumps(model)) == model


@pytest.mark.parametrize("name", SIMULATORS)
def test_settings_are_frozen_and_misspelt_ones_refused(name):
    model = sk.load_simulator(name)
    with pytest.raises(AttributeError):
        model.data = None
    with pytest.raises(BadInput, match=f"settings of simulator '{name}' among .*; got 'siize'"):
        sk.load_simulator(name, {"siize": 3})


@pytest.mark.parametrize("name", SIMULATORS)
def test_a_bank_of_few_rows_holds_finite_data_of_every_dataset(name):
    bank = sk.simulate(sk.load_simulator(name), 4, seed=1)
    theta, x = bank.take(np.arange(4))
    assert np.isfinite(theta).all()
    assert np.isfinite(x.values).all()


@pytest.mark.parametrize("name", SIMULATORS)
def test_observed_data_are_one_dataset_and_their_truth_is_in_the_prior(name):
    model = sk.load_simulator(name)
    x = read(model.observed, model.data)
    low, high = model.data.n_range
    assert len(x) == 1
    assert low <= x.n[0] <= high
    real = {"influenza", "lotka_volterra", "coalescent_sites"}
    assert hasattr(model, "observed_theta") == (name not in real)
    if name not in real:
        assert np.isfinite(model.prior.log_prob(model.observed_theta))
        assert "simulated, not measured" in type(model).observed.__doc__


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_is_rebuilt_from_its_settings(name):
    model = sk.load_generator(name)
    settings = describe(model)["settings"]
    assert sk.load_generator(name, settings) == model
    frame = model.generate(50, np.random.default_rng(0))
    again = sk.load_generator(name, settings).generate(50, np.random.default_rng(0))
    assert frame.equals(again)
