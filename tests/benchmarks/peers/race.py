"""One contestant in a process of its own: python -m tests.benchmarks.peers.race JOB.json

Imports come first and are left out; the clock runs over training, compilation included. Then the
held-out rows are judged, draws timed, and for two parameters the density is summed over a grid.
"""

import json
import os
import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import sbi_kit as sk
from tests.benchmarks.peers.clock import Trained, cpu_seconds
from tests.benchmarks.peers.tasks import HELD_OUT, HELD_OUT_SEED, TASKS, TRAINING_SEED, Task, digest

DATASETS, DRAWS = 200, 1_000
_GRID, _GRID_DATASETS = 300, 3
_PACKAGES = ("torch", "sbi", "bayesflow", "keras", "jax", "numpy")


def draw_speed(trained: Trained, held_out: Any) -> float | None:
    """Draws per CPU second, after a first call that may compile; None if it gave up."""
    _, x = held_out.take(slice(DATASETS))
    try:
        trained.sample(x, DRAWS)
        start = cpu_seconds()
        draws = trained.sample(x, DRAWS)
    except RuntimeError:  # sbi, where nearly all draws fall outside the prior
        return None
    seconds = cpu_seconds() - start
    if draws.shape[:2] != (len(x), DRAWS):
        raise RuntimeError(f"draws of shape {draws.shape}")
    return len(x) * DRAWS / seconds


def mass(task: Task, trained: Trained, held_out: Any) -> tuple[float, float] | None:
    """Integral of the density of two parameters, everywhere near the prior and within it."""
    if task.bounds is None or len(task.bounds[0]) != 2:
        return None
    low, high = task.bounds
    margin = (high - low) / 2
    step = (high - low + 2 * margin) / _GRID
    axes = [a - m + s * (np.arange(_GRID) + 0.5) for a, m, s in zip(low, margin, step, strict=True)]
    theta = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    inside = ((theta > low) & (theta < high)).all(axis=1)
    totals = []
    for row in range(_GRID_DATASETS):
        _, x = held_out.take(np.full(len(theta), row))
        with np.errstate(invalid="ignore", divide="ignore"):  # logarithms outside of the bounds
            density = np.nan_to_num(np.exp(trained.log_prob(theta, x)), posinf=0.0)
        totals.append((density.sum() * step.prod(), density[inside].sum() * step.prod()))
    everywhere, within = np.mean(totals, axis=0)
    return float(everywhere), float(within)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        if name in sys.modules:
            found[name] = version(name)
    return found


def main() -> None:
    """Run the job and write what came of it."""
    job = json.loads(Path(sys.argv[1]).read_text())
    module = import_module(f"tests.benchmarks.peers.{job['module']}")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(job["threads"])
    imported = cpu_seconds()
    task = TASKS[job["task"]]
    bank = sk.simulate(task.model, job["simulations"], seed=TRAINING_SEED)
    held_out = sk.simulate(task.model, HELD_OUT, seed=HELD_OUT_SEED)
    theta, x = held_out.take(slice(None))
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        trained = module.train(task, bank, held_out, job["epochs"], **job["options"])
    result = {
        **job,
        "import_seconds": imported,
        "seconds": trained.seconds,
        "settings": trained.settings,
        "nll": -float(trained.log_prob(theta, x).mean()),
        "exact": None if task.exact is None else -float(task.exact(theta, x).mean()),
        "curve": trained.curve,
        "draws_per_second": draw_speed(trained, held_out),
        "mass": mass(task, trained, held_out),
        "data": f"{digest(bank)} {digest(held_out)}",
        "cores": len(os.sched_getaffinity(0)),
        "versions": _versions(),
    }
    Path(job["result"]).write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
