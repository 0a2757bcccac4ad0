"""Training and drawing on the CPU and on a GPU: python -m tests.benchmarks.device [--compile]

Two moons (vectors), sets of 50 of `regression` and series of 100 to 500 of `ricker`, with default
settings: gradient steps a second, evaluations included, from the first of these on; and draws a
second, in the prior's units. The CPU works on one thread. Where torch has a GPU, its figures stand
beside with their ratio to the CPU's, and how often a step made the program wait for it, as torch
reports; an evaluation should twice. --compile adds a training whose network went through
`torch.compile` with CUDA graphs, which pay, if at all, where all batches have one shape.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

import sbi_kit as sk
from sbi_kit import learning
from sbi_kit.network import Architecture, Network
from sbi_kit.train import Report
from tests.benchmarks.peers.tasks import TASKS

STEPS = {"cpu": 160, "cuda": 2_000}
DRAWS = {"cpu": 5_000, "cuda": 200_000}  # of each of
DATASETS = 20

MODELS = ("two_moons", "regression", "ricker")


class Watch:
    """Notes step, time and waits at every report of a training."""

    def __init__(self, waits: list[warnings.WarningMessage]) -> None:
        self.waits = waits
        self.notes: list[tuple[int, float, int]] = []

    def __call__(self, report: Report) -> None:
        self.notes.append((report.step, time.perf_counter(), len(self.waits)))

    @property
    def rates(self) -> tuple[float, float]:
        """Steps a second and waits a step, from the first report to the last."""
        steps, seconds, waits = np.subtract(self.notes[-1], self.notes[0])
        return steps / seconds, waits / steps


@contextmanager
def waiting(device: str) -> Iterator[list[warnings.WarningMessage]]:
    """A list that grows whenever the program waits for the GPU in the block."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", ".*synchronizing CUDA operation")
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("warn")
        try:
            yield seen
        finally:
            if device == "cuda":
                torch.cuda.set_sync_debug_mode("default")


@contextmanager
def compiling() -> Iterator[None]:
    """Networks that are built in the block are compiled."""
    build = learning.build_network

    def compiled(sizes: Architecture, seed: int) -> Network:
        network = build(sizes, seed)
        network.compile(mode="reduce-overhead")
        return network

    learning.build_network = compiled
    try:
        yield
    finally:
        learning.build_network = build


def training(bank: sk.Bank, device: str) -> tuple[sk.NeuralPosterior, float, float]:
    """A posterior, with steps a second and waits a step."""
    with waiting(device) as waits:
        watch = Watch(waits)
        posterior = sk.fit(
            bank, seed=2, members=1, steps=STEPS[device], device=device, progress=watch
        )
    return posterior, *watch.rates


def drawing(posterior: sk.NeuralPosterior, x: object, device: str) -> float:
    """Draws a second."""
    there = posterior.on(device)

    def sample() -> None:
        there.sample(x, draws=DRAWS[device], seed=3)

    sample()  # GPU libraries are loaded, and memory is there
    return DATASETS * DRAWS[device] / seconds_of(sample)


def seconds_of(run: Callable[[], object]) -> float:
    """Wall-clock seconds of the fastest of three runs."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    there = torch.cuda.is_available()
    print(f"GPU: {torch.cuda.get_device_name()}" if there else "no CUDA device: skipped")
    print(f"{'':12}{'':10}{'steps / s':>12}{'ratio':>8}{'waits a step':>14}", end="")
    print(f"{'draws / s':>14}{'ratio':>8}")
    for name in MODELS:
        bank = sk.simulate(TASKS[name].model, 10_000 if name == "two_moons" else 3_000, seed=1)
        x = bank.take(slice(0, DATASETS))[1]
        posterior, steps, _ = training(bank, "cpu")
        draws = drawing(posterior, x, "cpu")
        print(f"{name:12}{'CPU':10}{steps:>12.1f}{'':22}{draws:>14,.0f}", flush=True)
        if there:
            _, faster, waits = training(bank, "cuda")
            more = drawing(posterior, x, "cuda")
            print(f"{'':12}{'GPU':10}{faster:>12.1f}{faster / steps:>8.2f}{waits:>14.3f}", end="")
            print(f"{more:>14,.0f}{more / draws:>8.2f}", flush=True)
        if there and "--compile" in sys.argv:
            with compiling():
                _, faster, waits = training(bank, "cuda")
            print(f"{'':12}{'compiled':10}{faster:>12.1f}{faster / steps:>8.2f}{waits:>14.3f}")


if __name__ == "__main__":
    main()
