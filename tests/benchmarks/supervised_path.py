"""How fast regularisation paths are: python -m tests.benchmarks.supervised_path [--repeats N]

Lasso and elastic net over 100 strengths on 3,000 rows of 300 features, once independent and once
correlated (.9 between neighbours); ours and scikit-learn's own paths in turn, both from the raw
matrix on, each at its default tolerance and at a tight one. Seconds are the median of the repeats,
one thread. The gap is how far the worst objective along the path is above the lowest found by any,
over the objective: both solve the same problem, so a small one makes the times comparable.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.linear_model import enet_path

from sbi_kit.supervised.losses import Squared
from sbi_kit.supervised.proximal import Head, Penalty, Task, fit_path

ROWS, FEATURES, LAMS = 3_000, 300, 100


def problem(correlation: float) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features, neighbours correlated, and a target that 40 of them make."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, FEATURES))
    for j in range(1, FEATURES):
        x[:, j] = correlation * x[:, j - 1] + np.sqrt(1 - correlation**2) * x[:, j]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    weights = np.where(np.arange(FEATURES) % 7 == 0, rng.standard_normal(FEATURES), 0)
    y = x @ weights + 3 * rng.standard_normal(ROWS)
    return x, (y - y.mean()) / y.std()


def ours(x: Any, y: Any, lams: Any, rho: float, tolerance: float) -> list[Head]:
    """Our path."""
    return fit_path(Task(x, y, Squared()), lams, rho=rho, tolerance=tolerance)


def theirs(x: Any, y: Any, lams: Any, rho: float, tolerance: float) -> list[Head]:
    """scikit-learn's path; its objective is half of ours, its squares are halved again."""
    absolute, square = lams * rho / 2, lams * (1 - rho)
    alphas = absolute + square
    share = float(absolute[0] / alphas[0])
    _, weights, _ = enet_path(x, y, l1_ratio=share, alphas=alphas, tol=tolerance, max_iter=100_000)
    return [Head(column, 0.0) for column in weights.T]


CASES: tuple[tuple[str, Callable[..., list[Head]], float], ...] = (
    ("sbi_kit, default", ours, 1e-6),
    ("scikit-learn, default", theirs, 1e-4),
    ("sbi_kit, tight", ours, 1e-10),
    ("scikit-learn, tight", theirs, 1e-8),
)


def measure(correlation: float, rho: float, repeats: int) -> None:
    """Print one problem's times."""
    x, y = problem(correlation)
    task = Task(x, y, Squared())
    top = task.largest_lam(rho)
    lams = np.geomspace(top, 1e-3 * top, LAMS)
    times: dict[str, list[float]] = {name: [] for name, _, _ in CASES}
    values = {}
    for repeat in range(repeats + 1):
        for name, solve, tolerance in CASES:
            start = time.perf_counter()
            heads = solve(x, y, lams, rho, tolerance)
            if repeat:  # the first compiles
                times[name].append(time.perf_counter() - start)
            penalties = [Penalty(float(lam), rho) for lam in lams]
            pairs = zip(heads, penalties, strict=True)
            values[name] = np.array([task.value(head, penalty) for head, penalty in pairs])
    lowest = np.min(list(values.values()), axis=0)
    print(f"correlation {correlation:g}, rho {rho:g}")
    median = {name: statistics.median(each) for name, each in times.items()}
    for name, seconds in median.items():
        gap = float(((values[name] - lowest) / lowest).max())
        print(f"  {name:22} {seconds:7.3f} s   gap {gap:.0e}")
    for kind in ("default", "tight"):
        ratio = median[f"sbi_kit, {kind}"] / median[f"scikit-learn, {kind}"]
        print(f"  ratio, {kind:15} {ratio:7.2f}")


def main() -> None:
    """Print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    for correlation in (0.0, 0.9):
        for rho in (1.0, 0.5):
            measure(correlation, rho, repeats)


if __name__ == "__main__":
    main()
