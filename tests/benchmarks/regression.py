"""Closeness to an exact posterior at every n: python -m tests.benchmarks.regression [simulations]

Bayesian linear regression with its exact posterior, by default from 100,000 simulations and the
default settings of `fit`, on one thread. For 300 fresh datasets at each n: the full Gaussian
Kullback-Leibler divergence of the learned posterior from the exact one, E_q[log p̂ − log p] on the
exact side (log density of the truth below the exact posterior's), and the ratio of sds; with the
2019 networks' divergences beside them. CPU seconds include the simulations.
"""

import sys

import numpy as np

from tests.benchmarks.default_fit import default_fit

PUBLISHED = {50: 0.30, 100: None, 300: 0.11, 500: 0.19}
DRAWS = 4_000


def gaussian_kl(mean: np.ndarray, cov: np.ndarray, exact_mean: np.ndarray, exact_cov: np.ndarray):
    """KL(N(mean, cov) || N(exact)), each (b, ...), shape (b,)."""
    precision = np.linalg.inv(exact_cov)
    error = mean - exact_mean
    trace = np.einsum("bij,bji->b", precision, cov)
    distance = np.einsum("bi,bij,bj->b", error, precision, error)
    log_dets = np.linalg.slogdet(exact_cov)[1] - np.linalg.slogdet(cov)[1]
    return 0.5 * (trace + distance - mean.shape[1] + log_dets)


def main() -> None:
    """Print the table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    model, posterior = default_fit("regression", rows)
    print("   n   KL to exact   published 2019   log density below exact   sd / exact sd")
    rng = np.random.default_rng(77)
    for n, published in PUBLISHED.items():
        theta = model.prior.sample(300, rng)
        x = model.simulate(theta, rng, n)
        mean, cov = model.exact_posterior(x)
        draws = posterior.sample(x, draws=DRAWS, seed=3)
        own = np.stack([np.cov(each.T) for each in draws])
        kl = gaussian_kl(draws.mean(axis=1), own, mean, cov).mean()
        error = np.linalg.solve(np.linalg.cholesky(cov), (theta - mean)[..., None])[..., 0]
        exact = -0.5 * (error**2).sum(axis=1) - 0.5 * np.linalg.slogdet(2 * np.pi * cov)[1]
        below = (exact - posterior.log_prob(theta, x)).mean()
        ratio = np.sqrt(np.einsum("bii->bi", own) / np.einsum("bii->bi", cov)).mean()
        beside = "-" if published is None else f"{published:.2f}"
        print(f"{n:>4}   {kl:>11.3f}   {beside:>14}   {below:>23.3f}   {ratio:>13.3f}")


if __name__ == "__main__":
    main()
