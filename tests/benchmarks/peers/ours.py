"""sbi_kit with the defaults of `fit`."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import sbi_kit as sk
from sbi_kit.checkpoint import read_checkpoint
from sbi_kit.fitting import fit  # imported here, so that torch is before the clock starts
from tests.benchmarks.peers.clock import Clock, Trained
from tests.benchmarks.peers.tasks import FIT_SEED, Task

_STEPS = 50  # that stand for an epoch, where these are limited


def train(task: Task, bank: Any, held_out: Any, epochs: int | None) -> Trained:
    """Fit; the weights at each evaluation are kept and judged afterwards, outside the clock."""
    kept: list[tuple[float, Path]] = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "latest"
        clock = Clock()

        def keep(_: Any) -> None:
            seconds = clock.seconds()
            with clock.paused():
                if not checkpoint.exists():
                    return
                copy = Path(folder) / str(checkpoint.stat().st_mtime_ns)
                if not copy.exists():
                    shutil.copy(checkpoint, copy)
                    kept.append((seconds, copy))

        steps = None if epochs is None else _STEPS * epochs
        posterior = fit(bank, seed=FIT_SEED, steps=steps, checkpoint=checkpoint, progress=keep)
        seconds = clock.seconds()
        network = posterior.encoder.network
        best = {name: weights.clone() for name, weights in network.state_dict().items()}
        theta, x = held_out.take(slice(None))
        curve = []
        for then, path in kept:
            tensors, _ = read_checkpoint(path)
            # The average of recent weights is what a training ends with; after that, the best are.
            part = "average" if "average." + next(iter(best)) in tensors else "best"
            network.load_state_dict({name: tensors[f"{part}.{name}"] for name in best})
            curve.append((then, -float(posterior.log_prob(theta, x).mean())))
        network.load_state_dict(best)

    def sample(x: Any, draws: int) -> np.ndarray:
        tables = x.values[:, 0] if isinstance(task.model.data, sk.Vector) else x.each()
        return posterior.sample(tables, draws=draws, seed=FIT_SEED)

    history = posterior.history
    settings = f"{posterior.architecture.summary}, {history['steps_done']} steps"
    return Trained(posterior.log_prob, sample, curve, seconds, settings)
