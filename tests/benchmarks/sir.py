"""Closeness to the exact posterior of an epidemic: python -m tests.benchmarks.sir [simulations]

The chain-binomial epidemic of `simulators.sir` with its posterior by quadrature, by default from
200,000 simulations and the default settings of `fit`, on one thread. For 1,000 fresh datasets at
each T: how far the learned log density of the truth lies below the exact one, with its standard
error; the ratio of posterior sds, averaged on a logarithmic scale; and R² of the posterior means,
learned and exact. CPU seconds include the simulations.
"""

import sys

import numpy as np

from tests.benchmarks.default_fit import default_fit

LENGTHS = (200, 350, 500)
DATASETS = 1_000
DRAWS = 1_000


def r2(truth: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Share of the truths' variance that the means explain, each (b, d), shape (d,)."""
    return 1 - ((truth - mean) ** 2).mean(axis=0) / truth.var(axis=0)


def main() -> None:
    """Print the table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    model, posterior = default_fit("sir", rows)
    print("   T   log density below exact   sd / exact sd    R² beta, gamma       of exact means")
    rng = np.random.default_rng(77)
    for n in LENGTHS:
        theta = model.prior.sample(DATASETS, rng)
        x = model.simulate(theta, rng, n)
        exact = model.exact_posterior(x)
        below = exact.log_prob(theta) - posterior.log_prob(theta, x)
        error = below.std() / np.sqrt(DATASETS)
        draws = posterior.sample(x, draws=DRAWS, seed=3)
        ratio = np.exp(np.log(draws.std(axis=1) / exact.sd()).mean(axis=0))
        own, best = r2(theta, draws.mean(axis=1)), r2(theta, exact.mean())
        print(
            f"{n:>4}   {below.mean():>12.3f} ± {error:.3f}      {ratio[0]:.3f}, {ratio[1]:.3f}"
            f"      {own[0]:.4f}, {own[1]:.4f}      {best[0]:.4f}, {best[1]:.4f}"
        )


if __name__ == "__main__":
    main()
