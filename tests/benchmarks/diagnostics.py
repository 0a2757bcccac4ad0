"""What judging costs beyond sampling: python -m tests.benchmarks.diagnostics

A posterior of `regression` with 5 parameters and n = 50, fitted to 2,000 simulations in a few
steps: how well it was fitted changes nothing here. 1,000 held-out datasets with 1,000 draws each,
on two threads: wall seconds of the draws alone, of `calibrate` beyond them, of a local check, of
every figure of the verdict and of a pair plot, light and dark, as SVG, and of a whole report.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import sbi_kit as sk
from sbi_kit import plots
from sbi_kit.diagnostics.local import check_locally

DATASETS, DRAWS = 1_000, 1_000


def seconds(run: Callable[[], object]) -> float:
    """Wall seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    torch.set_num_threads(2)
    model = sk.load_simulator("regression", {"predictors": 5, "n": 50})
    posterior = sk.fit(sk.simulate(model, 2_000, seed=1), seed=2, steps=50, members=1)
    held_out = sk.simulate(model, DATASETS, seed=3)
    theta, x = held_out.take(slice(None))
    sk.calibrate(posterior, held_out.head(10), draws=100, seed=4)  # imports, compiled kernels
    sampling = seconds(lambda: posterior.sample(x, draws=DRAWS, seed=5))
    start = time.perf_counter()
    verdict = sk.calibrate(posterior, held_out, draws=DRAWS, seed=5)
    numbers = time.perf_counter() - start - sampling
    one = x.take([0])
    local = seconds(lambda: check_locally(posterior, held_out, one, draws=100, seed=6))
    draws, prior = posterior.sample(one, draws=4_000, seed=7)[0], theta

    def draw() -> None:
        for dark in (False, True):
            for figure in plots.OF_VERDICT:
                plots.to_svg(figure(verdict, dark=dark))
            plots.to_svg(plots.pairs(posterior.prior.names, draws, prior, dark=dark))

    figures = seconds(draw)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        settings = {"verdict": verdict, "draws": 4_000, "seed": 8}
        written = seconds(lambda: sk.report(posterior, one, page, **settings))
        size = page.stat().st_size
    print(f"{DATASETS:,} datasets x {DRAWS:,} draws x {theta.shape[1]} parameters, two threads")
    print(f"{'draws':<32}{sampling:>6.1f} s")
    print(f"{'calibrate beyond them':<32}{numbers:>6.1f} s")
    print(f"{'local check at one dataset':<32}{local:>6.1f} s")
    print(f"{'9 figures, light and dark':<32}{figures:>6.1f} s")
    print(f"{'report':<32}{written:>6.1f} s, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
