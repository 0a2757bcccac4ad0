"""ABC by hand-made, standard and learned summaries: python -m tests.benchmarks.rejection [MODEL]

For `coalescent` (5,600 simulations, the nearest 300, as in the reference of Beaumont, Zhang and
Balding 2002, whose three summaries give R² of log theta .931 with regression) and for `ricker` at
T = 500: R² of posterior means of 500 fresh datasets, the share of truths in the central 90 %
interval, mean effective sample size and CPU seconds, of rejection alone and with regression.
Learned summaries are the means of a posterior network that `fit` trained on 20,000 other
simulations; the last row is that posterior itself.
"""

import argparse
import time

import numpy as np
import torch

import sbi_kit as sk

SIZES = {"coalescent": (5_600, 300 / 5_600), "ricker": (50_000, 0.01)}
TRAINING, FRESH, DRAWS = 20_000, 500, 500


def recovery(posterior: sk.Posterior, theta: np.ndarray, x: object, *, log: bool) -> str:
    """R² by parameter, coverage and CPU seconds of the draws."""
    start = time.process_time()
    draws = posterior.sample(x, draws=DRAWS, seed=3)
    seconds = time.process_time() - start
    change = np.log if log else np.asarray
    truth, mean = change(theta), change(draws).mean(axis=1)
    r2 = 1 - np.square(truth - mean).mean(0) / truth.var(0)
    low, high = np.quantile(draws, [0.05, 0.95], axis=1)
    covered = ((theta > low) & (theta < high)).mean()
    return f"R² {' '.join(f'{value:.3f}' for value in r2)}  in 90 % {covered:.3f}  {seconds:.1f} s"


def main() -> None:
    """Print a row for each way of ABC."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("models", nargs="*", default=list(SIZES))
    torch.set_num_threads(1)
    for name in parser.parse_args().models:
        settings = {"n": 500} if name == "ricker" else {}
        model = sk.load_simulator(name, settings)
        rows, quantile = SIZES[name]
        bank = sk.simulate(model, rows, seed=1)
        theta, x = sk.simulate(model, FRESH, seed=2).take(np.arange(FRESH))
        start = time.process_time()
        neural = sk.fit(sk.simulate(model, TRAINING, seed=4), seed=5)
        trained = time.process_time() - start
        bare = sk.Simulator(
            name="bare", prior=model.prior, data=model.data, simulate=model.simulate
        )
        standard = sk.simulate(bare, rows, seed=1)
        log = name == "coalescent"
        print(f"{name}: {rows:,} simulations, {quantile:.2%} accepted")
        for label, source, options in (
            ("hand-made", bank, {"semi_automatic": False}),
            ("hand-made, projected", bank, {}),
            ("standard, projected", standard, {}),
            ("learned, projected", bank, {"summaries": neural.estimate}),
        ):
            for adjust in (False, True):
                posterior = sk.fit_abc(source, quantile=quantile, adjust=adjust, **options)
                found = recovery(posterior, theta, x, log=log)
                worth = np.mean([one.effective for one in posterior.accept(x)])
                how = "regression" if adjust else "rejection"
                print(f"  {label:<22}{how:<12}{found}  effective {worth:.0f}", flush=True)
        found = recovery(neural, theta, x, log=log)
        print(f"  {'amortized':<22}{f'{trained:.0f} s':<12}{found}", flush=True)


if __name__ == "__main__":
    main()
