"""The public benchmark of simulation-based inference: python -m tests.benchmarks.c2st [TASK ...]

Classifier two-sample test between our amortized posterior, fitted once per task and number of
simulations with the defaults of `fit`, and the reference posteriors of the benchmark (Lueckmann et
al. 2021, arXiv:2101.04653), on its simulators, priors and observations. The protocol is the
paper's, and its own code: 10,000 draws against 10,000 reference draws, z-scored by these, a network
of two hidden layers of 10 d, accuracy over 5 folds. 0.5 is perfect, 1 is useless.

NPE is amortized as ours is; SNPE spends all its simulations on one observation. Their figures are
the published means over all ten observations (github.com/sbi-benchmark/results), ours the mean over
those that were asked for. --quick takes 1,000 draws, which understates the score: for development
only. CPU seconds are those of `fit`, on one thread. It needs, beside scikit-learn,

    pip install --no-deps sbibm pyro-ppl pyro-api opt_einsum
"""

import argparse
import importlib.util
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from sbibm.tasks import get_task

import sbi_kit as sk

PUBLISHED = {  # (NPE, SNPE) at 1,000, 10,000 and 100,000 simulations
    "two_moons": {1_000: (0.725, 0.643), 10_000: (0.606, 0.554), 100_000: (0.542, 0.530)},
    "gaussian_linear_uniform": {
        1_000: (0.696, 0.631), 10_000: (0.553, 0.527), 100_000: (0.509, 0.507),
    },
    "slcp": {1_000: (0.975, 0.965), 10_000: (0.901, 0.845), 100_000: (0.831, 0.666)},
}  # fmt: skip
DRAWS, QUICK = 10_000, 1_000


def model_of(name: str) -> sk.Simulator:
    """The simulator and the uniform prior of a task."""
    task = get_task(name)
    run, bounds = task.get_simulator(), task.get_prior_params()
    pairs = zip(bounds["low"].tolist(), bounds["high"].tolist(), strict=True)

    def simulate(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            return run(torch.from_numpy(theta).float()).numpy()

    return sk.Simulator(
        name=name,
        prior=sk.Prior(**{f"theta_{i}": sk.Uniform(*pair) for i, pair in enumerate(pairs, 1)}),
        data=sk.Vector(columns=tuple(f"x_{i}" for i in range(1, task.dim_data + 1))),
        simulate=simulate,
    )


def draws_of(
    name: str, simulations: int, observations: list[int], draws: int
) -> tuple[np.ndarray, float]:
    """Draws (observations, draws, d) of a fitted posterior, and the CPU seconds of the fit."""
    torch.set_num_threads(1)
    bank = sk.simulate(model_of(name), simulations, seed=1)
    start = time.process_time()
    posterior = sk.fit(bank, seed=2)
    seconds = time.process_time() - start
    observed = [get_task(name).get_observation(number).numpy() for number in observations]
    return posterior.sample(np.concatenate(observed), draws=draws, seed=3), seconds


def score(name: str, observation: int, draws: np.ndarray) -> float:
    """C2ST of draws (draws, d) against as many of the reference posterior."""
    torch.set_num_threads(1)
    # By its file, because the package it stands in imports others that are gone.
    root = Path(importlib.util.find_spec("sbibm").origin).parent
    spec = importlib.util.spec_from_file_location("sbibm_c2st", root / "metrics" / "c2st.py")
    metric = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(metric)
    reference = get_task(name).get_reference_posterior_samples(observation)[: len(draws)]
    return float(metric.c2st(reference, torch.from_numpy(draws).float()))


def report(name: str, simulations: int, scores: list[float], seconds: float) -> None:
    """Print one line of the table."""
    npe, snpe = PUBLISHED[name].get(simulations, (np.nan, np.nan))
    each = "".join(f"{value:>6.3f}" for value in scores)
    mean = np.mean(scores)
    verdict = f"{'below' if mean < npe else 'NOT below':>11}{'below' if mean < snpe else '-':>6}"
    print(
        f"{name:<25}{simulations:>8}{each}{mean:>8.3f}{npe:>8.3f}{snpe:>8.3f}{verdict}"
        f"{seconds:>9.1f}",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", choices=[[], *PUBLISHED])
    parser.add_argument("--simulations", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--observations", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} draws, for development")
    asked = parser.parse_args()
    draws = QUICK if asked.quick else DRAWS
    print(f"{draws:,} draws" + (": understates the scores" if asked.quick else ""))
    heads = "".join(f"{f'x{number}':>6}" for number in asked.observations)
    print(f"{'':25}{'rows':>8}{heads}{'mean':>8}{'NPE':>8}{'SNPE':>8}   than NPE, SNPE    CPU s")
    cases = [(name, rows) for name in asked.tasks or PUBLISHED for rows in asked.simulations]
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        fits = [pool.submit(draws_of, *case, asked.observations, draws) for case in cases]
        for (name, rows), fit in zip(cases, fits, strict=True):
            theta, seconds = fit.result()
            names = [name] * len(theta)
            scores = list(pool.map(score, names, asked.observations, theta))
            report(name, rows, scores, seconds)


if __name__ == "__main__":
    main()
