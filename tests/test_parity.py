"""The parity solver: at the ceiling, by either way, and what it refuses."""

import numpy as np
import pytest

from sbi_kit.checks import BadType, BadValue
from sbi_kit.contracts import Estimator
from sbi_kit.supervised import ParitySolver
from sbi_kit.supervised.parity import _shape, _solve
from simulators.kryptonite import Kryptonite


def rows_of(model, rows, seed):
    frame = model.generate(rows, np.random.default_rng(seed))
    return frame[list(model.features)], frame["label"].to_numpy(), frame


def disguised(model, rows, seed):
    """Data whose noise tells nothing, normal on every column."""
    x, y, _ = rows_of(model, rows, seed)
    bits = x.to_numpy() > 0.5
    return bits + 0.08 * np.random.default_rng(seed).standard_normal(bits.shape), y


@pytest.mark.parametrize("n", [9, 15, 45])
def test_at_the_ceiling(n):
    model = Kryptonite(n=n)
    x, y, _ = rows_of(model, model.default_rows, seed=1)
    fresh, labels, frame = rows_of(model, 20_000, seed=2)
    solver = ParitySolver().fit(x, y)
    assert isinstance(solver, Estimator)
    assert solver.method_ == "shapes"
    assert solver.shapes_ == model.roles
    assert (solver.predict(fresh) == model.best_guess(frame)).all()
    error = np.sqrt(model.best_accuracy * (1 - model.best_accuracy) / 20_000)
    assert abs(solver.score(fresh, labels) - model.best_guess_accuracy) < 4 * error
    assert solver.flip_rate_ == pytest.approx(0.25 / np.sqrt(n), rel=0.2)


@pytest.mark.parametrize("n", [9, 45])
def test_elimination_where_the_noise_tells_nothing(n):
    model = Kryptonite(n=n)
    x, y = disguised(model, 4_000, seed=3)
    solver = ParitySolver().fit(x, y)
    assert solver.method_ == "elimination"
    assert solver.parity_.tolist() == [role != "uniform" for role in model.roles]
    assert not solver.trust_.any()
    assert solver.score(*disguised(model, 4_000, seed=4)) > model.best_accuracy - 0.01


def test_probabilities_follow_the_flips():
    model = Kryptonite(n=9, flip_scale=1.2)
    x, y, _ = rows_of(model, 40_000, seed=5)
    solver = ParitySolver().fit(x, y)
    p = solver.predict_proba(x)
    assert p.sum(axis=1) == pytest.approx(1)
    assert (solver.classes_[p.argmax(axis=1)] == solver.predict(x)).mean() > 0.999
    wrong = solver.predict(x) != y
    share = (x.to_numpy()[:, solver.trust_] > 0.5).mean(axis=1)
    for value in np.unique(share):
        here = share == value
        said = p[here].min(axis=1).mean()
        assert abs(said - wrong[here].mean()) < 4 * np.sqrt(0.25 / here.sum())


def test_the_other_constant_and_other_names_of_classes():
    x, y, _ = rows_of(Kryptonite(n=9), 2_000, seed=6)
    names = np.where(y == 1, "a", "b")  # class 1 is "b", for an even parity
    solver = ParitySolver().fit(x, names)
    assert solver.constant_ == 1
    assert (solver.predict(x) == names).mean() > 0.94
    assert ParitySolver().fit(x, y).constant_ == 0


@pytest.mark.parametrize("seed", range(5))
def test_equations_over_two_elements(seed):
    rng = np.random.default_rng(seed)
    a, wanted = rng.integers(0, 2, (20, 12)).astype(bool), rng.integers(0, 2, 12).astype(bool)
    right = (a.astype(int) @ wanted.astype(int)) % 2 == 1
    found = _solve(np.hstack([a, right[:, None]]))
    assert (found == wanted).all()
    assert _solve(np.hstack([a[:11], right[:11, None]])) is None


@pytest.mark.parametrize("shape", ["uniform", "laplace", "gaussian"])
def test_shapes_of_noise(shape):
    rng = np.random.default_rng(7)
    draw = {"uniform": lambda k: rng.uniform(-3, 3, k), "laplace": lambda k: rng.laplace(0, 3, k)}
    noise = draw.get(shape, rng.standard_normal)(2_000)
    assert _shape(noise) == shape


def coins(x):
    return np.random.default_rng(0).integers(0, 2, len(x))


@pytest.mark.parametrize(
    ("change", "label", "sentence"),
    [
        (lambda x: (x - 0.5) * 2, coins, "features that are bits, 0 and 1, under noise"),
        (lambda x: x * 0, coins, "'x0' with 0% ones"),
        (lambda x: x, coins, "labels that are a parity of the features' bits but for some flips"),
        (lambda x: x, np.zeros_like, "two classes; got one class"),
    ],
)
def test_other_data_are_refused_in_one_sentence(change, label, sentence):
    x, y, _ = rows_of(Kryptonite(n=9), 500, seed=8)
    with pytest.raises(BadValue, match=sentence):
        ParitySolver(attempts=20).fit(change(x.to_numpy()), label(y))


def test_settings_and_too_few_rows_are_refused():
    x, y, _ = rows_of(Kryptonite(n=9), 8, seed=9)
    with pytest.raises(BadType, match="attempts as an integer >= 1"):
        ParitySolver(attempts=0.5).fit(x, y)
    with pytest.raises(BadValue, match="labels that are a parity"):
        ParitySolver().fit(x.to_numpy().round() + 0.0, y)
