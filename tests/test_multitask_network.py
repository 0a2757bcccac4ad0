"""The network with a shared trunk: its objective, what it learns, what it refuses."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

from sbi_kit.checks import BadType, BadValue
from sbi_kit.contracts import Estimator
from sbi_kit.supervised.multitask import MultiTask
from sbi_kit.supervised.network import MultiTaskNetwork, SharedTrunk

SMALL = {"width": 16, "dropout": 0.0, "steps": 400, "batch_size": 64, "learning_rate": 5e-3}


def folded(rows=1_500, seed=0):
    """A target that no linear model predicts."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, 3))
    return x, np.abs(x[:, 0]) + 0.1 * rng.standard_normal(rows)


@pytest.fixture(scope="module")
def fitted():
    return MultiTaskNetwork(**SMALL, seed=3).fit(*folded())


def test_objective_is_the_weighted_sum_of_the_tasks_losses():
    torch.manual_seed(0)
    network = SharedTrunk(3, width=8, dropout=0.0, levels=[0.1, 0.9]).double()
    x, y = torch.randn(6, 3).double(), torch.randn(6).double()
    labels = torch.tensor([0.0, 1, 1, 0, 1, 0]).double()
    mean, log_odds, quantiles = (part.detach().numpy() for part in network(x))
    p = 1 / (1 + np.exp(-log_odds))
    entropy = -np.where(labels == 1, np.log(p), np.log(1 - p))
    left = y.numpy()[:, None] - quantiles
    taus = np.array([0.1, 0.9])
    pinball = np.where(left > 0, taus * left, (taus - 1) * left).mean(axis=1)
    wanted = 0.7 * (y.numpy() - mean) ** 2 + 2.0 * entropy + 0.7 * pinball
    found = network.losses((x, y, labels), 0.7, 2.0).detach().numpy()
    assert found == pytest.approx(wanted, rel=1e-6)
    assert (quantiles[:, 0] < quantiles[:, 1]).all()


def test_heads_of_a_trunk_share_what_linear_heads_do_not():
    network = SharedTrunk(3, width=8, dropout=0.0, levels=[])
    x, y, labels = torch.randn(5, 3), torch.randn(5), torch.ones(5)
    network.losses((x, y, labels), 0.0, 1.0).sum().backward()
    assert network.entry.weight.grad.abs().sum() > 0  # the class alone moves the trunk,
    assert not network.regression.weight.grad.any()  # and not the other head


def test_learns_what_a_linear_model_cannot(fitted):
    x, y = folded(seed=1)
    reached = fitted.evaluate(x, y)
    linear = MultiTask(lam=1e-3, quantiles=()).fit(*folded()).evaluate(x, y)
    assert reached["R2"] > 0.9
    assert reached["AUC"] > 0.97
    assert linear["R2"] < 0.05
    assert linear["AUC"] < 0.55
    quantiles = fitted.predict_quantiles(x)
    assert np.mean(y[:, None] < quantiles, axis=0) == pytest.approx([0.1, 0.5, 0.9], abs=0.08)
    assert (np.diff(quantiles, axis=1) > 0).all()
    probabilities = fitted.predict_proba(x)
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_same_seed_same_network_and_the_global_generator_stays(fitted):
    x, y = folded()
    state = torch.get_rng_state()
    short = {**SMALL, "steps": 20, "dropout": 0.2}
    one, two, other = (
        MultiTaskNetwork(**short, seed=seed).fit(x, y).predict(x) for seed in (1, 1, 2)
    )
    assert (torch.get_rng_state() == state).all()
    assert (one == two).all()
    assert (one != other).any()
    assert fitted.predict(x[:1]) == pytest.approx(fitted.predict(x)[:1], rel=1e-12)


def test_scikit_learns_model_selection_works():
    x, y = folded(300)
    model = MultiTaskNetwork(**{**SMALL, "steps": 20}, quantiles=())
    assert isinstance(model, Estimator)
    assert clone(model).get_params() == model.get_params()
    GridSearchCV(model, {"alpha": [0.5, 1.0]}, cv=2).fit(x, y)


@pytest.mark.slow
def test_scikit_learns_own_checks_pass():
    # As for the linear model, two do not apply.
    settings = {"batch_size": 32, "learning_rate": 0.02, "width": 16, "dropout": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(MultiTaskNetwork(steps=60, **settings), on_fail=None)
    bad = {result["check_name"] for result in results if result["status"] != "passed"}
    assert bad == {"check_regressors_no_decision_function", "check_array_api_input"}
    assert len(results) > 40


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"alpha": 0, "beta": 0}, "a task to learn; got alpha = beta = 0"),
        ({"beta": -1.0}, "beta as a finite number >= 0"),
        ({"width": 0}, "width as an integer >= 1"),
        ({"dropout": 1.0}, "dropout as a finite number"),
        ({"steps": 0}, "steps as an integer >= 1"),
        ({"quantiles": (0.5, 0.5)}, "quantiles as a tuple of distinct levels"),
    ],
)
def test_settings_are_refused_in_one_sentence(settings, sentence):
    with pytest.raises((BadType, BadValue), match=sentence):
        MultiTaskNetwork(**settings).fit(*folded(50))


def test_few_rows_are_refused():
    with pytest.raises(BadValue, match="at least 10 rows to train a network; got n_samples = 9"):
        MultiTaskNetwork().fit(*folded(9))


def test_estimators_are_found_by_name():
    import sbi_kit.supervised as room

    assert room.MultiTask is MultiTask
    assert room.MultiTaskNetwork is MultiTaskNetwork
    assert {"MultiTask", "MultiTaskNetwork"} < set(dir(room)) == set(room.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Multitask'"):
        room.Multitask  # noqa: B018
