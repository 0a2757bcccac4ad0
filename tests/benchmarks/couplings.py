"""Which coupling is the default: python -m tests.benchmarks.couplings [TASK ...] [--seeds N]

The tasks of `tests.benchmarks.peers`, by default two_moons, slcp and regression; from the same
simulations a fit with spline couplings and one with affine couplings, all else by default, on one
thread, for each seed. Printed: the mean −log q(θ | x) of 2,000 held-out rows in natural units, of
the exact posterior where it is known, CPU seconds and steps of the fit.
"""

import argparse
import time

import torch

import sbi_kit as sk
from sbi_kit.flow import BENDS
from tests.benchmarks.peers.tasks import HELD_OUT, HELD_OUT_SEED, TASKS, TRAINING_SEED


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.couplings")
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'task':<12}{'coupling':<10}{'seed':>4}{'−log q':>9}{'CPU s':>8}{'steps':>8}")
    for name in arguments.tasks or ("two_moons", "slcp", "regression"):
        task = TASKS[name]
        bank = sk.simulate(task.model, task.simulations, seed=TRAINING_SEED)
        theta, x = sk.simulate(task.model, HELD_OUT, seed=HELD_OUT_SEED).take(slice(None))
        if task.exact is not None:
            print(f"{name:<12}{'exact':<14}{-task.exact(theta, x).mean():>9.3f}")
        for coupling in BENDS:
            for seed in range(1, arguments.seeds + 1):
                start = time.process_time()
                posterior = sk.fit(bank, seed=seed, coupling=coupling)
                seconds = time.process_time() - start
                nll = -posterior.log_prob(theta, x).mean()
                steps = posterior.history["steps_done"]
                print(
                    f"{name:<12}{coupling:<10}{seed:>4}{nll:>9.3f}{seconds:>8.0f}{steps:>8}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
