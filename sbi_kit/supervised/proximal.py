"""Linear heads under an elastic-net penalty: one solver for every loss, alone or along a path.

    min over (b, w)   weight * mean_i l(y_i, b + x_i'w) + lam [rho |w|_1 + (1 - rho) |w|_2^2]

Proximal Newton (Lee, Sun & Saunders 2014, SIAM J. Optim. 24:1420): the loss is replaced by its
second-order expansion, whose penalised minimum `sbi_kit.supervised.descent` finds; a backtracking
line search on the objective makes every step a descent. The intercept b bears no penalty and is
eliminated from the expansion. The Hessian, which costs rows * p^2, is kept from step to step and
along a path for as long as steps with it converge fast. For squared errors the expansion is exact,
and a whole path needs no more than X'X.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sbi_kit.contracts import Array
from sbi_kit.supervised.descent import minimise_quadratic, violation
from sbi_kit.supervised.losses import Loss

_STEPS = 200  # Newton steps at most
_HALVINGS = 40
_FAST = 0.2  # a violation that falls to this share or less does without a new Hessian
_ARMIJO = 1e-4
_INEXACT = 1e-1  # violation left in an expansion's minimum, over that before the step
_RIDGE = 1e-3  # rho below which a path begins no higher


@dataclass(frozen=True)
class Penalty:
    """The elastic net lam [rho |w|_1 + (1 - rho) |w|_2^2]."""

    lam: float
    rho: float

    @property
    def l1(self) -> float:
        """Weight of the absolute values."""
        return self.lam * self.rho

    @property
    def l2(self) -> float:
        """Weight of the squares."""
        return self.lam * (1 - self.rho)

    def __call__(self, w: Array) -> float:
        return float(self.l1 * np.abs(w).sum() + self.l2 * (w @ w))


@dataclass(frozen=True, eq=False)
class Head:
    """A linear predictor: intercept + x'weights, weights of shape (p,)."""

    weights: Array
    intercept: float

    def __call__(self, x: Array) -> Array:
        """The predictor of each row of x (rows, p)."""
        return np.asarray(x @ self.weights + self.intercept)


@dataclass(frozen=True, eq=False)
class _Expansion:
    """A loss to second order, the intercept eliminated."""

    matrix: Array  # (p, p)
    mixed: Array  # second derivatives by weights and intercept, over that by the intercept
    curvature: float  # by the intercept


@dataclass(frozen=True, eq=False)
class Task:
    """What one head learns: features (rows, p), a target (rows,), a loss and its weight."""

    x: Array
    y: Array
    loss: Loss
    weight: float = 1.0

    def value(self, head: Head, penalty: Penalty) -> float:
        """The objective."""
        return self.weight * self.loss.value(head(self.x), self.y) + penalty(head.weights)

    def start(self) -> Head:
        """No weights, and the best intercept."""
        return Head(np.zeros(self.x.shape[1]), self.loss.constant(self.y))

    def largest_lam(self, rho: float) -> float:
        """The smallest lam at which all weights are zero, for rho not too small."""
        slopes, _ = self.gradient(self.start()(self.x))
        return float(np.abs(slopes).max(initial=0.0)) / max(rho, _RIDGE)

    def gradient(self, eta: Array) -> tuple[Array, float]:
        """Minus the gradient of the weighted loss by weights (p,) and by the intercept."""
        first, _ = self.loss.derivatives(eta, self.y)
        scale = -self.weight / len(self.y)
        return scale * (first @ self.x), scale * float(first.sum())

    def expand(self, eta: Array) -> _Expansion:
        """The Hessian of the weighted loss."""
        _, second = self.loss.derivatives(eta, self.y)
        second = self.weight / len(self.y) * second
        total = float(second.sum())
        mean = second @ self.x / total
        # Centred before the product: afterwards, equal digits would cancel.
        rooted = (self.x - mean) * np.sqrt(second)[:, None]
        return _Expansion(rooted.T @ rooted, mean, total)


def fit_head(task: Task, penalty: Penalty, *, tolerance: float = 1e-10) -> Head:
    """The minimiser for one penalty.

    Args:
        task: What to learn.
        penalty: The elastic net.
        tolerance: Largest violation of an optimality condition, as a share of the gradient where
            all weights are zero.
    """
    return next(_walk(task, [penalty], tolerance))


def fit_path(
    task: Task, lams: Sequence[float] | Array, *, rho: float, tolerance: float = 1e-6
) -> list[Head]:
    """The minimisers for many lam, each found from the one before; best in falling order.

    Args:
        task: What to learn.
        lams: Strengths of the penalty.
        rho: Share of the absolute values in it.
        tolerance: As for `fit_head`.
    """
    return list(_walk(task, [Penalty(float(lam), rho) for lam in lams], tolerance))


def _walk(task: Task, penalties: Sequence[Penalty], tolerance: float) -> Iterator[Head]:
    """The minimiser for each penalty."""
    head = task.start()
    eta = head(task.x)
    slopes, _ = task.gradient(eta)
    allowed = tolerance * float(np.abs(slopes).max(initial=0.0))
    expansion = task.expand(eta)
    if task.loss.quadratic:
        weights, constant = head.weights, head.intercept
        for penalty in penalties:
            weights = minimise_quadratic(
                expansion.matrix, slopes, weights, l1=penalty.l1, l2=penalty.l2, tolerance=allowed
            )
            yield Head(weights, constant - float(expansion.mixed @ weights))
        return
    state = _State(head, eta, expansion)
    for penalty in penalties:
        state = _newton(task, penalty, state, allowed)
        yield state.head


@dataclass(frozen=True, eq=False)
class _State:
    """Where the search is: the head, its predictor of all rows, and the last Hessian."""

    head: Head
    eta: Array
    expansion: _Expansion


def _newton(task: Task, penalty: Penalty, state: _State, allowed: float) -> _State:
    """The minimiser from a first guess."""
    l1, l2 = penalty.l1, penalty.l2
    before = np.inf
    for _ in range(_STEPS):
        head = state.head
        slopes, slope = task.gradient(state.eta)
        apart = max(abs(slope), violation(slopes, head.weights, l1=l1, l2=l2))
        if apart <= allowed:
            break
        if apart > _FAST * before:
            state = replace(state, expansion=task.expand(state.eta))
        before = apart
        expansion = state.expansion
        weights = minimise_quadratic(
            expansion.matrix,
            expansion.matrix @ head.weights + slopes - expansion.mixed * slope,
            head.weights,
            l1=l1,
            l2=l2,
            tolerance=max(0.1 * allowed, _INEXACT * apart),
        )
        change = weights - head.weights
        shift = slope / expansion.curvature - float(expansion.mixed @ change)
        fall = float(slopes @ change) + slope * shift + penalty(head.weights) - penalty(weights)
        moved = _search(task, penalty, state, Head(change, shift), fall)
        if moved is None:  # as low as numbers of 53 bits can tell
            break
        state = moved
    else:
        warnings.warn(
            f"Expected a minimum within {_STEPS} Newton steps; got conditions of optimality "
            f"violated by {before:.1e} at lam {penalty.lam:g}; take a larger lam.",
            UserWarning,
            stacklevel=4,
        )
    return state


def _search(task: Task, penalty: Penalty, state: _State, step: Head, fall: float) -> _State | None:
    """The longest halved step that lowers the objective by enough of `fall`; None if none does."""
    head, along = state.head, step(task.x)
    now = task.weight * task.loss.value(state.eta, task.y) + penalty(head.weights)
    room = 4 * np.finfo(np.float64).eps * abs(now)
    length = 1.0
    for _ in range(_HALVINGS):
        weights, eta = head.weights + length * step.weights, state.eta + length * along
        value = task.weight * task.loss.value(eta, task.y) + penalty(weights)
        if value <= now - _ARMIJO * length * fall + room:
            moved = Head(weights, head.intercept + length * step.intercept)
            return replace(state, head=moved, eta=eta)
        length /= 2
    return None
