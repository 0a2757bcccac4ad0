"""Each inference model once: python -m tests.benchmarks.recovery [NAME ...]

By the default recipe, or with other --simulations, --seconds of training or --threads.

For each model: a bank of simulations, `fit` with its defaults on one thread, then 5,000 fresh
datasets at each of a few sizes n. Of 500, a few without information, whose errors are the largest,
would decide R². Printed per parameter: R² of the posterior means and its standard error; the share
of truths in the central 90 % interval, and the calibration error, the median over the levels 1 to
99 % of the distance between a level and that share; the posterior sd over the root mean squared
error, its root mean square, which is one for posteriors as wide as they err, and its mean, which is
less where datasets differ in what they tell; published R² where there are any. Seconds of training
are those of the CPU and, in brackets, of the clock.
"""

import argparse
import time

import numpy as np
import torch

import sbi_kit as sk

DATASETS, DRAWS = 5_000, 1_000
TOGETHER = 500  # datasets whose draws are held at a time
LEVELS = np.arange(1, 100) / 100
SIMULATIONS = {
    "regression": 100_000,
    "influenza": 200_000,
    "lotka_volterra": 100_000,
    "ricker": 50_000,
    "sir": 50_000,
    "ddm": 40_000,
    "levy": 25_000,
    "lca": 40_000,
    "splat": 20_000,
    "coalescent": 50_000,
    "coalescent_sites": 100_000,
}
SIZES = {
    "regression": (50, 500),
    "ricker": (100, 300, 500),
    "sir": (200, 350, 500),
    "ddm": (100, 1_000),
    "levy": (100, 320, 550, 1_000),
    "lca": (200, 300),
}
# Radev et al. 2019, summary network and coupling flow trained together on a GPU.
PUBLISHED = {
    ("ricker", 100): (0.927, 0.779, 0.985),
    ("ricker", 300): (0.970, 0.922, 0.997),
    ("ricker", 500): (0.980, 0.919, 0.996),
    ("sir", 200): (0.954, 0.945),
    ("sir", 350): (0.982, 0.981),
    ("sir", 500): (0.987, 0.986),
    ("levy", 100): (0.940, 0.940, 0.895, 0.907, 0.994, 0.811),
    ("levy", 550): (0.986, 0.986, 0.976, 0.980, 0.999, 0.956),
    ("levy", 1_000): (0.991, 0.991, 0.987, 0.987, 0.999, 0.971),
}


def fresh(model, n: int, seed: int):
    """Parameters and data of new simulations, their draws from streams of their own."""
    rng = np.random.default_rng((seed, n))
    theta = model.prior.sample(DATASETS, rng)
    if isinstance(model.data, sk.Vector):
        return theta, model.simulate(theta, rng)
    return theta, model.simulate(theta, rng, n)


def judged(posterior, theta, x):
    """Posterior means, sds and shares of draws below the truth, each (datasets, d)."""
    parts = []
    for start in range(0, len(theta), TOGETHER):
        some = slice(start, start + TOGETHER)
        draws = posterior.sample(x[some], draws=DRAWS, seed=start)  # (b, draws, d)
        below = (draws < theta[some, None]).mean(axis=1)
        parts.append((draws.mean(axis=1), draws.std(axis=1), below))
    return (np.concatenate(part) for part in zip(*parts, strict=True))


def report(name: str, posterior, model, n: int) -> None:
    """Print one line per parameter."""
    theta, x = fresh(model, n, seed=77)
    mean, sd, below = judged(posterior, theta, x)
    error = (theta - mean) ** 2
    lost = error / theta.var(axis=0)
    r_squared, uncertain = 1 - lost.mean(axis=0), lost.std(axis=0) / np.sqrt(len(theta))
    inside = np.abs(2 * below - 1)  # the level of the central interval that ends at the truth
    covered = np.array([(inside <= level).mean(axis=0) for level in LEVELS])
    calibration = np.median(np.abs(covered - LEVELS[:, None]), axis=0)
    rmse = np.sqrt(error.mean(axis=0))
    root, plain = np.sqrt((sd**2).mean(axis=0)) / rmse, sd.mean(axis=0) / rmse
    published = PUBLISHED.get((name, n), (None,) * theta.shape[1])
    at_90 = (inside <= 0.9).mean(axis=0)
    columns = (r_squared, uncertain, at_90, calibration, root, plain, published)
    for parameter, *figures, other in zip(model.prior.names, *columns, strict=True):
        beside = "" if other is None else f"{other:.3f}"
        print(f"  {n:>5}  {parameter:<20}" + "".join(f"{f:>8.3f}" for f in figures), beside)
    print(f"  {n:>5}  mean coverage {at_90.mean():.3f} (sd .004 for each if exact)", flush=True)


def main() -> None:
    """Fit the models asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.recovery")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SIMULATIONS))
    parser.add_argument("--simulations", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in arguments.names or SIMULATIONS:
        model = sk.load_simulator(name)
        rows = arguments.simulations or SIMULATIONS[name]
        start = time.process_time()
        bank = sk.simulate(model, rows, seed=1)
        simulated, clock = time.process_time(), time.monotonic()
        posterior = sk.fit(bank, seed=2, seconds=arguments.seconds)
        trained, elapsed = time.process_time(), time.monotonic() - clock
        history = posterior.history
        steps = f"{history['steps_done']} steps, best at {history['best_step']}"
        print(f"\n{name}: {rows:,} simulations in {simulated - start:.0f} s, ", end="")
        print(f"trained in {trained - simulated:.0f} s ({elapsed:.0f} s, {steps})", flush=True)
        print(
            "      n  parameter                 R²      se  in 90 %    cal  rms sd    sd published"
        )
        for n in SIZES.get(name, (model.data.n_range[1],)):
            report(name, posterior, model, n)


if __name__ == "__main__":
    main()
