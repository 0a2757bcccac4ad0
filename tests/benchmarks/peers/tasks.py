"""What is learned: the models, the rows that all contestants share, and data as peers take them.

- regression: a set of 50 rows, d = 5, exact posterior known.
- ricker: a series of 100 to 500 counts; 25 rows each share a length.
- two_moons, slcp: Lueckmann, Boelts, Greenberg, Gonçalves & Macke (2021), arXiv:2101.04653,
  appendix T, with data of two and of eight numbers.
- toy: two parameters in unlike units seen through noise, their densities known: not for the race
  but to see that each adapter returns a density of natural units.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import multivariate_normal, truncnorm

import sbi_kit as sk

HELD_OUT = 2_000
TRAINING_SEED, HELD_OUT_SEED, FIT_SEED = 1, 2, 3
BOX_LOW, BOX_HIGH = np.array([0.0, -1.0]), np.array([20.0, 3.0])  # prior of the toy
NOISE = np.array([2.0, 0.5])


@dataclass(frozen=True)
class Task:
    """A model and what the comparison must know about it.

    Attributes:
        model: The simulator.
        simulations: Training rows.
        bounds: Lower and upper bounds (d,) of a uniform prior; None where it is N(0, I).
        log_counts: Whether peers are given log(1 + x), as a practised user would.
        exact: Log density (b,) of theta (b, d) under the exact posterior of datasets, if known.
    """

    model: Any
    simulations: int
    bounds: tuple[np.ndarray, np.ndarray] | None = None
    log_counts: bool = False
    exact: Callable[[np.ndarray, Any], np.ndarray] | None = None


def two_moons(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A noisy half circle, shifted by theta (b, 2); (b, 2)."""
    angle = rng.uniform(-np.pi / 2, np.pi / 2, len(theta))
    radius = rng.normal(0.1, 0.01, len(theta))
    shift = np.stack([-np.abs(theta.sum(axis=1)), theta[:, 1] - theta[:, 0]], axis=1) / np.sqrt(2)
    return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], axis=1) + shift


def slcp(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Four points of the plane from one normal distribution given by theta (b, 5); (b, 8)."""
    mean = theta[:, None, :2]
    sd = theta[:, None, 2:4] ** 2
    correlation = np.tanh(theta[:, 4:])
    first, second = np.moveaxis(rng.standard_normal((len(theta), 4, 2)), -1, 0)
    second = correlation * first + np.sqrt(1 - correlation**2) * second
    return (mean + sd * np.stack([first, second], axis=-1)).reshape(len(theta), 8)


def toy(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Theta (b, 2) with noise of its own scale each; (b, 2)."""
    return theta + NOISE * rng.standard_normal(theta.shape)


def toy_density(theta: np.ndarray, x: Any) -> np.ndarray:
    """The toy's posterior: normals cut off at the prior's bounds."""
    center = x.values[:, 0]
    low, high = (BOX_LOW - center) / NOISE, (BOX_HIGH - center) / NOISE
    return truncnorm.logpdf(theta, low, high, loc=center, scale=NOISE).sum(axis=1)


def regression_density(theta: np.ndarray, x: Any) -> np.ndarray:
    """The exact posterior of the regression."""
    moments = zip(theta, *REGRESSION.exact_posterior(x), strict=True)
    return np.array([multivariate_normal.logpdf(*each) for each in moments])


def vector_model(name: str, simulate: Callable[..., np.ndarray], k: int, low, high) -> Any:
    """A model of a uniform prior and of k numbers."""
    bounds = zip(low, high, strict=True)
    prior = sk.Prior(**{f"theta_{i}": sk.Uniform(*pair) for i, pair in enumerate(bounds, 1)})
    data = sk.Vector(columns=tuple(f"x_{i}" for i in range(1, k + 1)))
    return sk.Simulator(name=name, prior=prior, data=data, simulate=simulate)


def uniform_task(name: str, simulate: Callable[..., np.ndarray], k: int, low, high, exact=None):
    """A task of such a model."""
    model = vector_model(name, simulate, k, low, high)
    return Task(model, 10_000, (np.asarray(low, float), np.asarray(high, float)), exact=exact)


REGRESSION = sk.load_simulator("regression", {"predictors": 5, "n": 50})
RICKER_BOUNDS = (np.array([1.0, 0.05, 0.0]), np.array([90.0, 0.7, 15.0]))
TASKS = {
    "regression": Task(REGRESSION, 20_000, exact=regression_density),
    "ricker": Task(sk.load_simulator("ricker"), 20_000, RICKER_BOUNDS, log_counts=True),
    "two_moons": uniform_task("two_moons", two_moons, 2, [-1, -1], [1, 1]),
    "slcp": uniform_task("slcp", slcp, 8, [-3] * 5, [3] * 5),
    "toy": uniform_task("toy", toy, 2, BOX_LOW, BOX_HIGH, toy_density),
}


def digest(bank: Any) -> str:
    """What tells one set of simulations from another."""
    values, offsets = bank.flat(slice(None))
    parts = (bank.theta, values, offsets)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]


def as_table(task: Task, x: Any) -> np.ndarray:
    """Datasets as peers take them, float32.

    (b, k) of numbers, (b, n, k) of sets; series of any length as (b, longest, 2), zeros before the
    first count and a second column that is 1 where there is one.
    """
    values = np.log1p(x.values) if task.log_counts else x.values
    if isinstance(task.model.data, sk.Vector):
        return values[:, 0].astype(np.float32)
    if isinstance(task.model.data, sk.Exchangeable):
        return values.astype(np.float32)
    longest = task.model.data.n_range[1]
    table = np.zeros((len(x), longest, 2), dtype=np.float32)
    for row, series, n in zip(table, values, x.n, strict=True):
        row[longest - n :, 0] = series[:n, 0]
        row[longest - n :, 1] = 1
    return table
