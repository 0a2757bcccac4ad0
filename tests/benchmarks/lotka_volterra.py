"""The pelts against their reference posterior: python -m tests.benchmarks.lotka_volterra [seed]

100,000 simulations and the default settings of `fit`, on one thread. Printed are the distance of
each posterior mean from the reference's in its sds and the ratio of sds, first of the amortized
posterior as it is, then of its draws weighted by prior times likelihood over their density, with
Pareto-smoothed weights (Vehtari et al. 2024, arXiv:1507.02646).

The last lines show the obstacle. On data simulated at the reference means the amortized posterior
is right on average. The residuals of the pelts, however, are correlated from year to year, as those
of the model never are: a network that judges the noise by the roughness of a series, which is
nearly as good in simulations, then finds it too small.
"""

import sys
import time

import numpy as np
import torch

import sbi_kit as sk
from sbi_kit.arviz_bridge import load_arviz

# Means and sds by Markov chains, 4 x 280,000 draws; `tests/test_lotka_volterra.py` checks them.
MEAN = np.array([0.547, 0.0277, 0.800, 0.0241, 34.04, 5.94, 0.248, 0.252])
SD = np.array([0.064, 0.0042, 0.091, 0.0036, 2.91, 0.53, 0.043, 0.044])
DRAWS = 100_000


def show(what: str, mean: np.ndarray, sd: np.ndarray) -> None:
    """Print distances of means and ratios of sds."""
    print(f"{what:<22}" + "".join(f"{value:>+11.2f}" for value in (mean - MEAN) / SD))
    print(f"{'':<22}" + "".join(f"{f'x {value:.2f}':>11}" for value in sd / SD))


def main() -> None:
    """Print the table, by default for seed 1."""
    torch.set_num_threads(1)
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    model = sk.load_simulator("lotka_volterra")
    start = time.process_time()
    posterior = sk.fit(sk.simulate(model, 100_000, seed=seed), seed=seed + 10)
    print(f"simulated and trained in {time.process_time() - start:.0f} CPU s\n")
    print(f"{'':<22}" + "".join(f"{name:>11}" for name in model.prior.names))
    draws = posterior.sample(model.observed, draws=DRAWS, seed=3)
    log_q, draws = posterior.log_prob(draws, model.observed)[0], draws[0]
    show("amortized", draws.mean(axis=0), draws.std(axis=0))
    log_p = model.prior.log_prob(draws) + model.log_likelihood(draws, model.observed)
    log_weights, k_hat = load_arviz().psislw(log_p - log_q)
    weights = np.exp(log_weights) / np.exp(log_weights).sum()
    mean = weights @ draws
    show("weighted", mean, np.sqrt(weights @ (draws - mean) ** 2))
    print(f"k-hat {k_hat:.2f}, effective draws {1 / (weights**2).sum():,.0f} of {DRAWS:,}\n")
    again = model.simulate(np.tile(MEAN, (500, 1)), np.random.default_rng(5), 21)
    means = posterior.sample(again, draws=500, seed=1).mean(axis=1)
    show("simulated at the means", means.mean(axis=0), means.std(axis=0))
    residual = np.log(model.observed) - np.log(model.populations(MEAN[None])[0])
    simulated = np.log(again) - np.log(model.populations(MEAN[None]))
    lag = lambda r: np.corrcoef(r[1:], r[:-1])[0, 1]  # noqa: E731
    for column, name in enumerate(model.data.columns):
        rarer = np.mean([lag(each) > lag(residual[:, column]) for each in simulated[..., column]])
        print(
            f"{name} residuals: correlation from year to year {lag(residual[:, column]):.2f}, ",
            end="",
        )
        print(f"higher in {rarer:.1%} of simulations")


if __name__ == "__main__":
    main()
