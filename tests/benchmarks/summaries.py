"""Every suitable summary network: python -m tests.benchmarks.summaries [simulator] [simulations]

One bank of simulations, by default 20,000 of `ricker`, and one `fit` on it for each summary that
suits its layout, with default settings on one thread. Printed: the validation loss, the mean of
−log q(u | x) over held-out simulations, lower is better; CPU seconds of the fit, with the
milliseconds of one step; steps done, and the step of the best weights. Names of summaries after
the number of simulations restrict the table to them.
"""

import sys
import time

import torch

import sbi_kit as sk
from sbi_kit.checks import BadValue
from sbi_kit.summary import SUMMARIES


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    simulator = sys.argv[1] if len(sys.argv) > 1 else "ricker"
    simulations = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
    bank = sk.simulate(sk.load_simulator(simulator), simulations, seed=1)
    print(f"{simulations:,} simulations of {simulator}")
    print(f"{'summary':<16}{'loss':>9}{'CPU s':>9}{'ms a step':>12}{'steps':>8}{'best at':>9}")
    for name in sys.argv[3:] or SUMMARIES:
        start = time.process_time()
        try:
            history = sk.fit(bank, seed=2, summary=name).history
        except BadValue as refusal:
            print(f"{name:<16}{refusal}")
            continue
        seconds = time.process_time() - start
        loss, steps, best = (history[key] for key in ("validation_loss", "steps_done", "best_step"))
        each = 1_000 * seconds / steps  # validation included
        print(f"{name:<16}{loss:>9.4f}{seconds:>9.0f}{each:>12.1f}{steps:>8}{best:>9}", flush=True)


if __name__ == "__main__":
    main()
