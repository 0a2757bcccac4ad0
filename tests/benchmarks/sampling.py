"""How fast posteriors are sampled: python -m tests.benchmarks.sampling [--products]

A posterior of `regression` with 5 predictors and n = 50, of the default architecture, fitted to
2,000 simulations in 2 passes: how well it was fitted changes nothing here. Draws per CPU second on
one thread; beside it the share of that time which the matrix products of the same call, made step
by step in torch, take when they run alone, on operands of the same shapes, strides and type: at 1 a
sampler is as fast as these. --products lists the costliest of them. Peak memory is the growth of
the resident set during the call, less the draws that it returns; negative where memory from before
served again. At last, wall seconds of `calibrate` on two threads: 1,000 datasets × 1,000 draws × 5
parameters, sampled and judged.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import sbi_kit as sk
from sbi_kit import mixture
from tests.benchmarks.memory import peak, resident

CASES = ((200, 1_000), (1, 1_000_000), (10_000, 1_000))
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "linear", "matmul"}
REPEATS = 50  # of one product; the time of more is extrapolated


class Recorder(TorchDispatchMode):
    """Counts the matrix products that run inside it, by operation and operands."""

    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[tuple[Any, ...]] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in PRODUCTS:
            tensors = [a for a in args if isinstance(a, torch.Tensor)]
            self.products[func, *((tuple(a.shape), a.stride(), a.dtype) for a in tensors)] += 1
        return func(*args, **(kwargs or {}))


def cpu_seconds(run: Callable[[], object], repeats: int = 1) -> float:
    """CPU seconds of the fastest of some runs."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def product_seconds(func, *operands: tuple[Any, ...], count: int) -> float:
    """CPU seconds of one recorded product, run alone as often as it was."""
    tensors = []
    for shape, stride, dtype in operands:
        last = sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
        tensors.append(torch.randn(last + 1, dtype=dtype).as_strided(shape, stride))
    runs = min(count, REPEATS)
    with torch.inference_mode():
        func(*tensors)
        return cpu_seconds(lambda: [func(*tensors) for _ in range(runs)], 3) * count / runs


def report(posterior: sk.NeuralPosterior, x: np.ndarray, draws: int, listed: bool) -> None:
    """Print the line of one case."""
    d = len(posterior.prior.names)

    def run() -> None:
        posterior.sample(x, draws=draws, seed=5)

    with patch.object(mixture, "sampler", lambda flow: flow.draw), Recorder() as recorder:
        posterior.sample(x[:200], draws=draws, seed=5)
    share = len(x) / min(len(x), 200)  # more datasets are more of the same chunks
    alone = {key: share * product_seconds(*key, count=n) for key, n in recorder.products.items()}
    before = resident("VmRSS")
    memory = peak(run) - before - 8 * len(x) * draws * d
    seconds = cpu_seconds(run, 3 if len(x) * draws <= 200_000 else 1)
    print(
        f"{len(x):>7,} x {draws:>9,}{len(x) * draws / seconds:>15,.0f}"
        f"{sum(alone.values()) / seconds:>10.2f}{memory / 1e6:>12.0f}",
        flush=True,
    )
    if listed:
        for (func, *operands), value in sorted(alone.items(), key=lambda item: -item[1])[:8]:
            shapes = " ".join(str(shape) for shape, *_ in operands)
            print(f"{value / seconds:>10.3f}  {func.overloadpacket.__name__} {shapes}")


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    model = sk.load_simulator("regression", {"predictors": 5, "n": 50})
    posterior = sk.fit(sk.simulate(model, 2_000, seed=1), seed=2, steps=15, members=1)
    held_out = sk.simulate(model, max(b for b, _ in CASES), seed=3)
    x = held_out.take(slice(None))[1].values
    posterior.sample(x[:10], draws=100, seed=4)
    print(" datasets x draws   draws / CPU s  products   MB beyond")
    for b, draws in CASES:
        report(posterior, x[:b], draws, "--products" in sys.argv)
    torch.set_num_threads(2)
    start = time.perf_counter()
    sk.calibrate(posterior, held_out.head(1_000), draws=1_000, seed=6)
    print(f"calibrate, 1,000 x 1,000 x 5 on two threads: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
