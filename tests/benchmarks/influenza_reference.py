"""The reference posterior of the 1978 outbreak, computed twice without the package's simulator.

1. Quadrature: curves by scipy's adaptive DOP853, likelihood by `scipy.stats.nbinom`, priors by
   `scipy.stats`, summed over a dense grid of (beta, gamma, log 1/phi).
2. Markov chains: affine-invariant ensembles (Goodman & Weare 2010) in the logarithms, on the
   package's own `log_likelihood` and prior, with split R-hat (Gelman et al. 2013).

Both are printed beside the published figures. Under a minute on one core:

    python -m tests.benchmarks.influenza_reference
"""

import numpy as np
from scipy.integrate import solve_ivp
from scipy.stats import expon, nbinom, truncnorm

from simulators.influenza import Influenza

NAMES = ("beta", "gamma", "1/phi", "R0")
PUBLISHED = {  # mean, sd, 2.5 % and 97.5 % quantiles
    "beta": (1.736, 0.054, 1.641, 1.852),
    "gamma": (0.540, 0.046, 0.452, 0.636),
    "1/phi": (0.139, 0.077, np.nan, np.nan),
    "R0": (3.24, 0.29, 2.75, 3.88),
}
POPULATION = 763.0
COUNTS = np.array([3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4])


def quadrature(beta_points, gamma_points, phi_points):
    """Grid points (g, 4) with R0 beside the parameters, and their posterior weights (g,)."""
    beta = np.linspace(1.3, 2.6, beta_points)
    gamma = np.linspace(0.2, 1.0, gamma_points)
    log_phi_inv = np.linspace(np.log(5e-3), np.log(3.0), phi_points)
    pairs = np.stack(np.meshgrid(beta, gamma, indexing="ij"), axis=-1).reshape(-1, 2)
    mean = curves(pairs)  # (pairs, days)
    log_prior = truncnorm.logpdf(pairs[:, 0], -2.0, np.inf, 2.0, 1.0)
    log_prior += truncnorm.logpdf(pairs[:, 1], -0.8, np.inf, 0.4, 0.5)
    log_density = np.empty((len(pairs), phi_points))
    for column, value in enumerate(np.exp(log_phi_inv)):
        likelihood = nbinom.logpmf(COUNTS, 1 / value, 1 / (1 + mean * value)).sum(axis=1)
        # The grid is even in log 1/phi, whose Jacobian is 1/phi.
        jacobian = expon.logpdf(value, scale=0.2) + np.log(value)
        log_density[:, column] = likelihood + log_prior + jacobian
    weight = np.exp(log_density - log_density.max()).ravel()
    pairs = pairs.repeat(phi_points, axis=0)
    phi_inv = np.tile(np.exp(log_phi_inv), len(mean))
    return np.column_stack([pairs, phi_inv, pairs[:, 0] / pairs[:, 1]]), weight / weight.sum()


def curves(pairs):
    """Infected boys on days 1..14 for each (beta, gamma), all in one adaptive solution."""
    beta, gamma = pairs.T

    def slope(_, state):
        log_susceptible, log_infected = state.reshape(2, -1)
        return np.concatenate(
            [
                -beta * np.exp(log_infected) / POPULATION,
                beta * np.exp(log_susceptible) / POPULATION - gamma,
            ]
        )

    start = np.repeat([np.log(POPULATION - 1), 0.0], len(pairs))
    days = np.arange(1, len(COUNTS) + 1)
    path = solve_ivp(slope, (0, days[-1]), start, "DOP853", days, rtol=1e-10, atol=1e-10)
    return np.exp(path.y[len(pairs) :])


def chains(walkers, steps, ensembles, seed):
    """Draws (ensembles, steps, walkers, 4) after as many steps of burn-in, R0 beside the rest."""
    model, rng = Influenza(), np.random.default_rng(seed)

    def log_density(log_theta):
        theta = np.exp(log_theta)
        prior = model.prior.log_prob(theta) + log_theta.sum(axis=1)
        return model.log_likelihood(theta, model.observed) + prior

    shape = (ensembles, 2, walkers // 2)
    state = rng.normal(np.log([2.0, 0.5, 0.2]), 0.3, size=(*shape, 3))
    density = log_density(state.reshape(-1, 3)).reshape(shape)
    kept = np.empty((ensembles, steps, walkers, 3))
    for step in range(2 * steps):
        for half in (0, 1):
            # The two halves of an ensemble take turns, each moving along lines to the other.
            partners = rng.integers(shape[2], size=(ensembles, shape[2], 1))
            other = np.take_along_axis(state[:, 1 - half], partners, axis=1)
            stretch = (1 + rng.random((ensembles, shape[2]))) ** 2 / 2  # g(z) ~ z^-1/2 on 1/2..2
            moved = other + stretch[..., None] * (state[:, half] - other)
            proposed = log_density(moved.reshape(-1, 3)).reshape(ensembles, -1)
            ratio = 2 * np.log(stretch) + proposed - density[:, half]
            accepted = np.log(rng.random(ratio.shape)) < ratio
            state[:, half][accepted] = moved[accepted]
            density[:, half][accepted] = proposed[accepted]
        if step >= steps:
            kept[:, step - steps] = state.reshape(ensembles, walkers, 3)
    theta = np.exp(kept)
    return np.concatenate([theta, theta[..., :1] / theta[..., 1:2]], axis=-1)


def split_r_hat(draws):
    """Split R-hat of each column of draws (chains, steps, columns)."""
    half = draws.shape[1] // 2
    parts = np.concatenate([draws[:, :half], draws[:, half : 2 * half]])
    within = parts.var(axis=1, ddof=1).mean(axis=0)
    between = parts.mean(axis=1).var(axis=0, ddof=1)
    return np.sqrt((half - 1) / half + between / within)


def summary(values, weight):
    """Mean, sd, 2.5 % and 97.5 % quantiles of each column, shape (4, columns)."""
    mean = weight @ values
    sd = np.sqrt(weight @ (values - mean) ** 2)
    quantiles = np.empty((2, values.shape[1]))
    for column, value in enumerate(values.T):
        levels, where = np.unique(value, return_inverse=True)
        # The mass of a grid point lies half on either side of it.
        mass = np.bincount(where, weight)
        quantiles[:, column] = np.interp([0.025, 0.975], np.cumsum(mass) - mass / 2, levels)
    return np.stack([mean, sd, *quantiles])


def main():
    exact = summary(*quadrature(131, 121, 70))
    draws = chains(walkers=32, steps=1_500, ensembles=4, seed=1)
    flat = draws.reshape(-1, 4)
    sampled = summary(flat, np.full(len(flat), 1 / len(flat)))
    # The walkers of an ensemble depend on each other: an ensemble counts as one chain.
    r_hat = split_r_hat(draws.reshape(4, -1, 4))
    print(f"{'':8}{'':12}{'mean':>9}{'sd':>9}{'2.5 %':>9}{'97.5 %':>9}{'split R-hat':>13}")
    for column, name in enumerate(NAMES):
        rows = {"quadrature": exact[:, column], "chains": sampled[:, column]}
        for label, figures in {**rows, "published": PUBLISHED[name]}.items():
            line = f"{name:8}{label:12}" + "".join(f"{figure:9.4f}" for figure in figures)
            print(line + (f"{r_hat[column]:13.4f}" if label == "chains" else ""))


if __name__ == "__main__":
    main()
