"""Wide & deep: its shapes, its beginning, what it learns, keeps and refuses."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

from sbi_kit.checks import BadType, BadValue
from sbi_kit.contracts import Estimator
from sbi_kit.rows import RowBatches, split_rows
from sbi_kit.supervised import FullyConnected, WideDeep, load_model, save_model
from sbi_kit.supervised.wide_deep import WideDeepNetwork
from sbi_kit.train import Recipe, train
from simulators.kryptonite import Kryptonite

SMALL = {"deep": (16, 8), "steps": 200, "batch_size": 64}
BOTH = pytest.mark.parametrize("method", [WideDeep, FullyConnected])


def circles(rows=600, seed=0):
    """Classes that no line separates."""
    x = np.random.default_rng(seed).standard_normal((rows, 2))
    return x, np.where(np.sum(x**2, axis=1) > 1.4, "far", "near")


@pytest.fixture(scope="module")
def fitted():
    x, y = circles()
    return WideDeep(wide=16, **SMALL, seed=3).fit(x, y)


def test_shapes_and_number_of_weights():
    network = WideDeepNetwork(15, wide=256, deep=(256, 128, 64), dropout=0.3)
    kinds = [type(layer).__name__ for layer in network.deep]
    assert kinds == ["Linear", "ReLU", "BatchNorm1d", "Dropout"] * 3
    assert {layer.p for layer in network.deep if isinstance(layer, torch.nn.Dropout)} == {0.3}
    wide = 15 * 256 + 256
    linear = (15 * 256 + 256) + (256 * 128 + 128) + (128 * 64 + 64)
    norms, head = 2 * (256 + 128 + 64), (256 + 64) + 1
    assert sum(w.numel() for w in network.parameters()) == wide + linear + norms + head
    assert network(torch.randn(7, 15)).shape == (7,)
    narrow = WideDeepNetwork(15, wide=0, deep=(128, 64), dropout=0.3)
    count = (15 * 128 + 128) + (128 * 64 + 64) + 2 * (128 + 64) + 64 + 1
    assert sum(w.numel() for w in narrow.parameters()) == count


def test_each_deep_unit_begins_with_one_input():
    network = WideDeepNetwork(5, wide=4, deep=(12, 3), dropout=0.0)
    first, wide = network.deep[0].weight.detach(), network.wide[0].weight.detach()
    assert torch.equal(first.abs().sum(dim=1), torch.ones(12))
    assert torch.equal(first.abs().argmax(dim=1), torch.arange(12) % 5)
    assert (wide != 0).all()


def test_log_odds_are_the_head_on_both_parts_and_losses_their_cross_entropy():
    torch.manual_seed(0)
    network = WideDeepNetwork(3, wide=4, deep=(6, 5), dropout=0.5).double().eval()
    x, labels = torch.randn(8, 3).double(), torch.tensor([0.0, 1] * 4).double()
    h = x
    for k in (0, 4):
        h = torch.relu(network.deep[k](h))
        norm = network.deep[k + 2]
        h = (h - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps)
        h = h * norm.weight + norm.bias
    both = torch.cat([torch.relu(network.wide[0](x)), h], dim=1)
    wanted = (both @ network.head.weight.T + network.head.bias)[:, 0]
    found = network(x)
    assert torch.allclose(found, wanted, rtol=1e-12, atol=1e-12)
    p = torch.sigmoid(wanted)
    entropy = -torch.where(labels == 1, p.log(), (1 - p).log())
    assert torch.allclose(network.losses((x, labels)), entropy, rtol=1e-10)


def test_learns_what_a_line_cannot_and_says_how_sure_it_is(fitted):
    x, y = circles(seed=1)
    assert fitted.score(x, y) > 0.93
    assert list(fitted.classes_) == ["far", "near"]
    p = fitted.predict_proba(x)
    assert p.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert (fitted.classes_[p.argmax(axis=1)] == fitted.predict(x)).all()
    # Dropout and batch statistics are off: a row alone is predicted as among others, every time.
    assert (fitted.predict_proba(x) == p).all()
    assert fitted.predict_proba(x[:1]) == pytest.approx(p[:1], rel=1e-12)


@BOTH
def test_same_seed_same_network_and_the_global_generator_stays(method):
    x, y = circles(200)
    state = torch.get_rng_state()
    settings = {**SMALL, "steps": 20, "dropout": 0.2}
    one, two, other = (
        method(**settings, seed=seed).fit(x, y).predict_proba(x) for seed in (1, 1, 2)
    )
    assert (torch.get_rng_state() == state).all()
    assert (one == two).all()
    assert (one != other).any()


def test_preparation_is_learned_from_the_rows_that_train():
    x, y = circles(100)
    model = WideDeep(wide=4, **{**SMALL, "steps": 5}, validation_share=3 / 7, seed=5).fit(x, y)
    means = model.columns_.mean
    assert not np.allclose(means, x.mean(axis=0), atol=1e-6)
    training, validation = split_rows(100, share=3 / 7, seed=5)
    assert (len(training), len(validation)) == (57, 43)
    assert means == pytest.approx(x[training].mean(axis=0))


def test_the_best_average_is_kept_with_its_running_statistics():
    torch.manual_seed(0)
    x = torch.randn(400, 2) * 3 + 5  # far from what batch norm begins with
    labels = (x[:, 0] > 5).float()
    network = WideDeepNetwork(2, wide=0, deep=(8,), dropout=0.0)
    batches = RowBatches((x, labels), np.arange(300), np.arange(300, 400), batch_size=50, seed=0)
    state = train(network, network.losses, batches, Recipe(steps=200, evaluate_every=20))
    with torch.no_grad():
        again = network.losses((x[300:], labels[300:])).mean().item()
    assert again == pytest.approx(state.best, rel=1e-5)
    assert state.best == min(validation for _, _, validation in state.evaluations)
    hidden = torch.relu(network.deep[0](x[:300])).mean(dim=0)
    assert network.deep[2].running_mean.detach() == pytest.approx(hidden.detach(), rel=0.2, abs=0.1)


def test_frames_with_gaps_and_categories():
    x, y = circles(400)
    frame = pd.DataFrame(x, columns=["a", "b"])
    frame["kind"] = np.where(y == "far", "u", "v")
    frame.loc[3, "a"] = np.nan
    model = WideDeep(wide=8, **SMALL).fit(frame, y)
    assert model.score(frame, y) > 0.97


def test_learns_the_parity_of_six_bits():
    source = Kryptonite(n=9)
    frame = source.generate(9_000, np.random.default_rng(40))
    fresh = source.generate(20_000, np.random.default_rng(41))
    model = WideDeep(wide=32, deep=(64, 32), batch_size=256, steps=1_500, patience=6, seed=0)
    model.fit(frame[list(source.features)], frame["label"])
    best = float(np.mean(source.best_guess(fresh) == fresh["label"]))
    assert best - model.score(fresh[list(source.features)], fresh["label"]) < 0.01
    informed = [n for n, r in zip(source.features, source.roles, strict=True) if r != "uniform"]
    assert list(model.columns_.names) == informed


def test_where_a_network_learns_nothing_pairs_of_rows_tell_which_inputs_matter(tmp_path):
    source = Kryptonite(n=15)
    frame, fresh = (source.generate(rows, np.random.default_rng(rows)) for rows in (4_000, 10_000))
    (x, y), (unseen, truth) = ((f[list(source.features)], f["label"]) for f in (frame, fresh))
    settings = {"wide": 32, "deep": (64, 32), "batch_size": 128, "patience": 6, "seed": 0}
    coin = WideDeep(**settings, steps=1_000, prune=False).fit(x, y)
    assert coin.score(unseen, truth) < 0.55
    model = WideDeep(**settings, steps=1_000).fit(x, y)
    assert model.score(unseen, truth) > 0.85
    informed = [n for n, r in zip(source.features, source.roles, strict=True) if r != "uniform"]
    assert list(model.columns_.names) == informed
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert (again.predict_proba(unseen) == model.predict_proba(unseen)).all()


@pytest.mark.slow
def test_learns_the_parity_of_sixteen_bits_among_twenty_four():
    source = Kryptonite(n=24)
    frame = source.generate(source.default_rows, np.random.default_rng(4))
    x, y = frame[list(source.features)], frame["label"]
    model = WideDeep(seed=4).fit(x[:33_600], y[:33_600])
    assert len(model.columns_.names) == 16
    assert model.score(x[33_600:], y[33_600:]) > 0.85


def test_what_is_not_used_is_left_out_unless_that_is_worse_or_not_wanted():
    x, y = circles(800)
    noise = np.random.default_rng(5).standard_normal((800, 3))
    both = np.column_stack([noise[:, :1], x, noise[:, 1:]])
    settings = {"wide": 16, **SMALL, "steps": 400, "seed": 1}
    pruned, whole = (WideDeep(**settings, prune=prune).fit(both, y) for prune in (True, False))
    assert pruned.columns_.names == ("x1", "x2")
    assert len(whole.columns_.names) == 5
    fresh, truth = circles(800, seed=2)
    noisy = np.column_stack([noise[:, :1], fresh, noise[:, 1:]])
    # What was left out is not looked at, gaps or not.
    odd = noisy.copy()
    odd[:, [0, 3, 4]] = np.nan
    assert (pruned.predict_proba(noisy) == pruned.predict_proba(odd)).all()
    assert (whole.predict_proba(noisy) != whole.predict_proba(odd)).any()
    losses = [min(loss for *_, loss in model.evaluations_) for model in (pruned, whole)]
    assert losses[0] < losses[1]
    assert pruned.score(noisy, truth) > 0.93


def test_of_a_coin_nothing_is_pruned():
    x, _ = circles(300)
    y = np.random.default_rng(3).integers(2, size=300)
    assert len(WideDeep(wide=4, **{**SMALL, "steps": 50}).fit(x, y).columns_.names) == 2


def test_the_penalty_takes_away_weights_that_nothing_pulls_at():
    x, y = circles(800)
    both = np.column_stack([x, np.random.default_rng(5).standard_normal((800, 2))])
    sizes = []
    for penalty in (0.0, 1e-2):
        model = WideDeep(wide=16, **SMALL, seed=1, penalty=penalty, prune=False).fit(both, y)
        weights = model.network_.wide[0].weight.detach().abs().mean(dim=0)
        sizes.append(float(weights[2:].mean() / weights[:2].mean()))
    assert sizes[1] < 0.5 * sizes[0]
    network = WideDeepNetwork(2, wide=1, deep=(2,), dropout=0.0)
    layers = network.wide[0], network.deep[0], network.head
    wanted = sum(float(layer.weight.detach().square().sum()) for layer in layers)
    assert float(network.squares().detach()) == pytest.approx(wanted)


@BOTH
def test_scikit_learns_model_selection_works(method):
    x, y = circles(120)
    model = method(**{**SMALL, "steps": 10})
    assert isinstance(model, Estimator)
    assert clone(model).get_params() == model.get_params()
    GridSearchCV(model, {"learning_rate": [1e-3, 1e-2]}, cv=2).fit(x, y)


@pytest.mark.slow
@pytest.mark.parametrize("method", [WideDeep, FullyConnected])
def test_scikit_learns_own_checks_pass(method):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(method(steps=100, batch_size=32, deep=(32, 16)), on_fail=None)
    bad = {result["check_name"] for result in results if result["status"] != "passed"}
    assert bad <= {"check_array_api_input"}  # which needs a setting of scipy's
    assert len(results) > 40


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"wide": 0}, "wide as an integer >= 1"),
        ({"deep": ()}, "deep as a tuple of sizes"),
        ({"deep": 64}, "deep as a tuple of sizes"),
        ({"deep": (8, 0)}, "each of deep as an integer >= 1"),
        ({"dropout": 1.0}, "dropout as a finite number"),
        ({"batch_size": 1}, "batch_size as an integer >= 2"),
        ({"fewest": 0}, "fewest as an integer >= 1"),
        ({"validation_share": 0.0}, "share as a finite number"),
        ({"patience": 0}, "patience as an integer >= 1"),
        ({"penalty": -1.0}, "penalty as a finite number"),
        ({"prune": 1}, "prune"),
    ],
)
def test_settings_are_refused_in_one_sentence(settings, sentence):
    with pytest.raises((BadType, BadValue), match=sentence):
        WideDeep(**settings).fit(*circles(60))


@pytest.mark.parametrize(
    ("y", "sentence"),
    [
        (np.zeros(60), "two classes; got one class, 0.0, in all of 60 rows"),
        (np.arange(60) % 3, "two classes; got Only binary classification is supported"),
        (np.arange(59) % 2, "classes of 60 rows, one per row of features; got inconsistent 59"),
    ],
)
def test_classes_are_refused_in_one_sentence(y, sentence):
    with pytest.raises(BadValue, match=sentence):
        FullyConnected().fit(circles(60)[0], y)


def test_too_few_rows_are_refused():
    with pytest.raises(BadValue, match="at least 10 rows to train a network; got n_samples = 8"):
        WideDeep().fit(np.arange(16.0).reshape(8, 2), np.arange(8) % 2)
