"""Memory of a fit: python -m tests.benchmarks.memory [--simulations N] [--gigabytes G] [--folder F]

`regression`, n = 50..500, one pass of training on one thread, each case in a process of its own.
Held in memory: N (100,000) simulations and the default network. The baseline is the resident set
once all that fitting imports is imported, before there is a bank; the peak is the highest while
`fit` runs (VmHWM, set back before it); the ratio is (peak − baseline) / bytes of the bank's arrays,
to be 1.3 at most. On disk: G (10) gigabytes written to folder F by another process and removed
again, and a small network, for the sake of time; the peak is that of the whole process, interpreter
and torch included, to be 1 GB at most. Pages of mapped files count as resident. Linux only.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROW_BYTES = 8 * (275 * 5 + 4)  # of a dataset of mean size and its parameters
SMALL = {"width": 16, "hidden": 8, "blocks": 1}


def resident(field: str) -> int:
    """A line of this process's status in bytes: VmRSS is now, VmHWM the highest so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def peak(run: Callable[[], object]) -> int:
    """The highest resident set while something runs, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is now the present one
    run()
    return resident("VmHWM")


def held(simulations: int) -> None:
    """Print the line of a bank in memory."""
    import torch

    import sbi_kit as sk
    from sbi_kit import fitting, simulation  # noqa: F401  # what is lazy belongs to the baseline

    torch.set_num_threads(1)
    model = sk.load_simulator("regression")
    baseline = resident("VmRSS")
    bank = sk.simulate(model, simulations, seed=1)
    size = 8 * (bank.theta.size + len(bank.data.columns) * int(bank.n.sum()) + len(bank))
    after = resident("VmRSS")
    start = time.process_time()
    highest = peak(lambda: sk.fit(bank, seed=2, steps=8, validation_share=0.01))
    print(
        f"in memory: bank {size / 1e6:,.0f} MB, baseline {baseline / 1e6:,.0f} MB, before fit "
        f"{after / 1e6:,.0f} MB, peak {highest / 1e6:,.0f} MB: ratio "
        f"{(highest - baseline) / size:.2f}; {time.process_time() - start:.0f} CPU s"
    )


def write(folder: str, simulations: int) -> None:
    """Simulate a bank into a folder."""
    import sbi_kit as sk

    sk.simulate(sk.load_simulator("regression"), simulations, seed=1, path=folder)


def streamed(folder: str) -> None:
    """Print the line of a bank on disk."""
    import torch

    import sbi_kit as sk

    torch.set_num_threads(1)
    bank = sk.Bank.open(folder)
    size = sum(file.stat().st_size for file in Path(folder).iterdir())
    start = time.process_time()
    sk.fit(bank, seed=2, steps=8, validation_share=0.01, **SMALL)
    highest = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"on disk: bank {size / 1e6:,.0f} MB, {len(bank):,} rows, peak {highest / 1e6:,.0f} MB; "
        f"{time.process_time() - start:.0f} CPU s"
    )


def main() -> None:
    """Print both lines; with --task, do one part of it in this process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--simulations", type=int, default=100_000)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--folder", help="where there is room for the bank on disk")
    parser.add_argument("--task", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    rows = round(asked.gigabytes * 1e9 / ROW_BYTES)
    if asked.task:
        task, folder = asked.task
        {
            "held": lambda: held(asked.simulations),
            "write": lambda: write(folder, rows),
            "streamed": lambda: streamed(folder),
        }[task]()
        return
    # A process inherits its parent's highest resident set: this one imports next to nothing.
    with tempfile.TemporaryDirectory(dir=asked.folder) as parent:
        for task in ("held", "write", "streamed"):
            command = [sys.executable, "-m", "tests.benchmarks.memory", "--task", task]
            command += [f"{parent}/bank", "--simulations", str(asked.simulations)]
            command += ["--gigabytes", str(asked.gigabytes)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
