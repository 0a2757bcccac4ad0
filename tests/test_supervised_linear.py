"""The linear solver: conditions of optimality, known minimisers, exact zeros, paths."""

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression, QuantileRegressor, Ridge

from sbi_kit.supervised import proximal
from sbi_kit.supervised.descent import minimise_quadratic, violation
from sbi_kit.supervised.losses import Entropy, Pinball, Squared
from sbi_kit.supervised.proximal import Head, Penalty, Task, fit_head, fit_path


def design(rows=300, columns=12, seed=0, alike=0.6):
    """Correlated standardised features, a standardised target and labels."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, columns)) + alike * rng.standard_normal((rows, 1))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    y = x[:, 0] - 0.7 * x[:, 1] + 0.3 * x[:, 2] + rng.standard_normal(rows)
    labels = (y > np.quantile(y, 0.7)).astype(float)
    return x, (y - y.mean()) / y.std(), labels


LOSSES = {
    "squared": Squared(),
    "entropy": Entropy(),
    "pinball": Pinball(0.3, 0.05),
}
PENALTIES = [Penalty(0.05, 1.0), Penalty(0.05, 0.5), Penalty(0.05, 0.0), Penalty(1e-4, 0.9)]


def task_of(name, weight=1.0):
    x, y, labels = design()
    return Task(x, labels if name == "entropy" else y, LOSSES[name], weight)


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives_are_those_of_the_loss(name):
    loss, rng = LOSSES[name], np.random.default_rng(1)
    eta = 0.1 * rng.standard_normal(9)
    y = rng.integers(0, 2, 9) * 0.2
    first, second = loss.derivatives(eta, y)
    for i in range(9):
        one, step = slice(i, i + 1), 1e-5
        low, mid, high = (loss.value(eta[one] + s, y[one]) for s in (-step, 0, step))
        assert first[i] == pytest.approx((high - low) / (2 * step), rel=1e-5, abs=1e-6)
        assert second[i] == pytest.approx((high - 2 * mid + low) / step**2, rel=1e-3, abs=1e-4)


def test_smoothed_pinball_loss_tends_to_the_check_loss():
    u = np.array([-2.0, -0.5, 0.3, 1.0])
    check = np.maximum(0.3 * u, -0.7 * u).mean()
    gaps = [Pinball(0.3, h).value(-u, np.zeros(4)) - check for h in (0.5, 0.1, 0.01)]
    assert gaps[0] > gaps[1] > gaps[2] >= 0
    assert gaps[2] < 1e-9


@pytest.mark.parametrize("penalty", PENALTIES, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_a_minimiser_satisfies_the_conditions_of_optimality(name, penalty):
    task = task_of(name, weight=0.4)
    head = fit_head(task, penalty)
    slopes, slope = task.gradient(head(task.x))
    assert violation(slopes, head.weights, l1=penalty.l1, l2=penalty.l2) < 1e-9
    assert abs(slope) < 1e-9
    rng = np.random.default_rng(0)
    lowest = task.value(head, penalty)
    for scale in (1e-3, 1e-1):
        step = scale * rng.standard_normal(13)
        other = Head(head.weights + step[1:], head.intercept + step[0])
        assert task.value(other, penalty) > lowest


@pytest.mark.parametrize(("weight", "lam"), [(1.0, 0.1), (0.25, 0.02), (3.0, 0.4)])
def test_squared_errors_give_lasso_ridge_and_elastic_net(weight, lam):
    x, y, _ = design()
    task, own = Task(x, y, Squared(), weight), lam / weight
    tight = {"tol": 1e-14, "max_iter": 100_000}
    peers = {
        1.0: Lasso(alpha=own / 2, **tight),
        0.0: Ridge(alpha=len(y) * own, solver="cholesky"),
        0.5: ElasticNet(alpha=own * 0.75, l1_ratio=1 / 3, **tight),
    }
    for rho, peer in peers.items():
        head = fit_head(task, Penalty(lam, rho))
        assert head.weights == pytest.approx(peer.fit(x, y).coef_, abs=1e-8)
        assert head.intercept == pytest.approx(peer.intercept_, abs=1e-8)


def test_entropy_gives_logistic_regression():
    x, _, labels = design()
    lam, weight = 0.01, 0.7
    head = fit_head(Task(x, labels, Entropy(), weight), Penalty(lam, 0.0))
    peer = LogisticRegression(
        C=weight / (2 * lam * len(labels)), solver="newton-cholesky", tol=1e-12
    ).fit(x, labels)
    assert head.weights == pytest.approx(peer.coef_[0], abs=1e-8)
    assert head.intercept == pytest.approx(peer.intercept_[0], abs=1e-8)


def test_pinball_gives_quantile_regression():
    x, y, _ = design()
    for tau in (0.1, 0.5, 0.9):
        head = fit_head(Task(x, y, Pinball(tau, 0.005)), Penalty(0.01, 1.0))
        peer = QuantileRegressor(quantile=tau, alpha=0.01).fit(x, y)

        def objective(eta, weights, tau=tau):
            u = y - eta
            check = np.maximum(tau * u, (tau - 1) * u).mean()
            return check + 0.01 * np.abs(weights).sum()

        assert objective(head(x), head.weights) < objective(peer.predict(x), peer.coef_) + 2e-4
        assert np.mean(y < head(x)) == pytest.approx(tau, abs=0.01)


def test_zeros_are_exact_and_from_the_largest_lam_on_there_is_nothing_else():
    for name in LOSSES:
        task = task_of(name)
        top = task.largest_lam(1.0)
        inner = fit_head(task, Penalty(0.3 * top, 1.0)).weights
        assert 0 < np.count_nonzero(inner) < 12
        if name == "pinball":  # whose best constant is that of the loss before it was smoothed
            top *= 1.1
        assert not fit_head(task, Penalty(1.0001 * top, 1.0)).weights.any()
        assert fit_head(task, Penalty(0.98 * task.largest_lam(1.0), 1.0)).weights.any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_path_has_the_minimisers_of_its_lams(name):
    task = task_of(name)
    top = task.largest_lam(0.8)
    lams = np.geomspace(top, 1e-3 * top, 12)
    path = fit_path(task, lams, rho=0.8, tolerance=1e-11)
    for lam, head in zip(lams, path, strict=True):
        alone = fit_head(task, Penalty(lam, 0.8))
        assert head.weights == pytest.approx(alone.weights, abs=1e-8)
    penalties = [Penalty(lam, 0.8) for lam in lams]
    sizes = [penalty(h.weights) / penalty.lam for penalty, h in zip(penalties, path, strict=True)]
    assert sizes == sorted(sizes)  # as lam falls, the weights grow


def test_columns_that_repeat_others_are_no_obstacle():
    x, y, labels = design()
    twice = np.hstack([x, x, x[:, :1] + x[:, 1:2]])
    for target, loss in ((y, Squared()), (labels, Entropy())):
        for rho in (0.0, 0.5, 1.0):
            penalty = Penalty(0.01, rho)
            task = Task(twice, target, loss)
            head = fit_head(task, penalty)
            slopes, _ = task.gradient(head(task.x))
            assert violation(slopes, head.weights, l1=penalty.l1, l2=penalty.l2) < 1e-9


def test_columns_that_are_nearly_alike_are_solved_to_the_end():
    x, y, _ = design(alike=30.0)
    task, penalty = Task(x, y, Squared()), Penalty(1e-4, 1.0)
    head = fit_head(task, penalty)
    slopes, _ = task.gradient(head(task.x))
    assert violation(slopes, head.weights, l1=penalty.l1, l2=0.0) < 1e-9


def test_labels_that_a_line_separates_have_a_minimiser():
    x = np.linspace(-1, 1, 40)[:, None]
    labels = (x[:, 0] > 0).astype(float)
    penalty = Penalty(1e-6, 0.5)
    task = Task(x, labels, Entropy())
    head = fit_head(task, penalty)
    slopes, _ = task.gradient(head(task.x))
    assert violation(slopes, head.weights, l1=penalty.l1, l2=penalty.l2) < 1e-8


def test_quadratic_without_penalty_is_solved():
    rng = np.random.default_rng(3)
    root = rng.standard_normal((6, 6))
    a, c = root @ root.T + np.eye(6), rng.standard_normal(6)
    w = minimise_quadratic(a, c, np.zeros(6), l1=0.0, l2=0.0, tolerance=1e-13)
    assert a @ w == pytest.approx(c, abs=1e-11)


def test_a_search_that_is_cut_short_says_so(monkeypatch):
    monkeypatch.setattr(proximal, "_STEPS", 1)
    with pytest.warns(UserWarning, match="a minimum within 1 Newton steps; got conditions"):
        fit_head(task_of("entropy"), Penalty(0.01, 1.0))
