"""What a Ricker map's counts tell: python -m tests.benchmarks.ricker_exact [--series 300]

The exact posterior of each of some fresh series of T = 500, 300 and 100 counts beside the amortized
one: prior times the exact likelihood of `tests.oracles.ricker_likelihood`, by importance sampling
in whitened space. The first proposals are draws of the amortized posterior, of a wider t law and of
the prior; later rounds add kernels around the weighted draws so far (West 1993, "Approximating
posterior distributions by mixtures", J. R. Statist. Soc. B 55:409) until all draws are worth 80. A
draw is weighted by the density of all proposals together.

The R² of exact means is 1 - E Var(theta | x) / Var theta. Few series without information decide
E Var, so the variance of the amortized posteriors, known for 20,000 series, is its control variate:
that is "R² exact", and "plain" is without. Further columns: R² of exact and amortized means here;
of the amortized ones of the 20,000; quantiles of the R² that 500 series have if their means are
exact, by resampling these; the published R²; and a Kolmogorov-Smirnov p-value of the exact
posterior's mass below the truth, which is uniform. The gap is E [log p(truth | x) - log q(truth |
x)], p exact and q amortized. A posterior from 50,000 simulations takes 10 CPU minutes, 300 series
of 500 counts 8 more.
"""

import argparse
import time
import warnings
from dataclasses import dataclass, fields

import numpy as np
import torch
from scipy.special import logsumexp
from scipy.stats import kstest, multivariate_t

import sbi_kit as sk
from tests.oracles.ricker_likelihood import log_likelihood

SIZES, MANY, DRAWS = (500, 300, 100), 20_000, 1_000
FIRST, LATER = (60, 40, 10), 140  # draws of the posterior, the t law and the prior; of kernels
ROUNDS, ENOUGH = 6, 80  # rounds at most, and the effective draws that end them
FREEDOM, SPACING, PRINTED = 5, 1.5, 500
PUBLISHED = {  # Radev et al. 2019, 500 series each: r, sigma, rho
    100: (0.927, 0.779, 0.985),
    300: (0.970, 0.922, 0.997),
    500: (0.980, 0.919, 0.996),  # in another table .978 .936 .996
}


@dataclass(frozen=True)
class Exact:
    """What is known of one series: means and variances (d,), and numbers.

    `gap` is the log density of the truth under the exact posterior less that under the amortized
    one, in nats; `below` the exact posterior's mass below each parameter of the truth.
    """

    mean: np.ndarray
    variance: np.ndarray
    amortized: np.ndarray
    amortized_variance: np.ndarray
    below: np.ndarray
    gap: float
    effective: float
    rounds: int


def standard_normal(u):
    """Log density of N(0, I) at u (s, d)."""
    return -0.5 * (u**2).sum(axis=1) - 0.5 * u.shape[1] * np.log(2 * np.pi)


def normalised(log_weight):
    """Weights (s,) of sum 1."""
    return np.exp(log_weight - logsumexp(log_weight))


class Kernels:
    """t kernels around weighted points, drawn to their mean so that the whole is no wider."""

    def __init__(self, centres, weight, width, covariance):
        d = centres.shape[1]
        mean = weight @ centres
        self.centres = mean + np.sqrt(1 - width**2) * (centres - mean)
        self.weight = weight
        self.kernel = multivariate_t(np.zeros(d), width**2 * covariance, df=FREEDOM)

    @classmethod
    def around(cls, u, weight, least):
        """Of Silverman's width times 1.2, lest a tail be left out."""
        d, effective = u.shape[1], 1 / (weight**2).sum()
        width = min(1.2 * (4 / ((d + 2) * effective)) ** (1 / (d + 4)), 1.0)
        covariance = np.cov(u.T, aweights=weight, ddof=0) + least / effective
        return cls(u, weight, width, covariance)

    def draw(self, size, rng):
        where = rng.choice(len(self.weight), size, p=self.weight)
        drawn = self.centres[where] + self.kernel.rvs(size, random_state=rng)
        return drawn.clip(-7, 7)  # further out there is neither prior nor proposal to speak of

    def log_density(self, u):
        away = (u[:, None] - self.centres).reshape(-1, u.shape[1])
        with np.errstate(divide="ignore"):
            log_weight = np.log(self.weight)
        return logsumexp(self.kernel.logpdf(away).reshape(len(u), -1) + log_weight, axis=1)


def exact(posterior, truth, x, draws, rng):
    """The exact posterior of one series x (T, 1) with truth (d,) and amortized draws (s, d)."""
    prior, u_draws = posterior.prior, posterior.prior.whiten(draws)
    spread = np.cov(u_draws.T)
    wide = Kernels(u_draws.mean(axis=0, keepdims=True), np.ones(1), 1.0, 1.4 * spread)
    plain = rng.standard_normal((FIRST[2], len(truth)))
    batches = [np.concatenate([u_draws[: FIRST[0]], wide.draw(FIRST[1], rng), plain])]
    laws = []
    theta, found = np.empty((0, len(truth))), np.empty(0)
    while True:
        theta = np.concatenate([theta, prior.unwhiten(batches[-1])])
        fresh = log_likelihood(theta[len(found) :], x, spacing=SPACING)
        found = np.concatenate([found, fresh])
        u = np.concatenate(batches)
        target = found + standard_normal(u)
        log_q = posterior.log_prob(theta[None], x[None])[0] - prior.log_prob(theta)
        densities = [log_q + standard_normal(u), wide.log_density(u), standard_normal(u)]
        densities += [law.log_density(u) for law in laws]
        sizes = np.array([*FIRST, *[LATER] * len(laws)]) / len(u)
        log_weight = target - logsumexp(np.stack(densities) + np.log(sizes)[:, None], axis=0)
        weight = normalised(log_weight)
        effective = 1 / (weight**2).sum()
        if len(batches) == ROUNDS or (len(batches) > 1 and effective >= ENOUGH):
            break
        laws.append(Kernels.around(u, weight, spread))
        batches.append(laws[-1].draw(LATER, rng))
    mean = weight @ theta
    evidence = logsumexp(log_weight) - np.log(len(u))
    at_truth = log_likelihood(truth, x, spacing=SPACING)[0] + prior.log_prob(truth) - evidence
    return Exact(
        mean=mean,
        variance=weight @ (theta - mean) ** 2 / (1 - 1 / effective),
        amortized=draws.mean(axis=0),
        amortized_variance=draws.var(axis=0),
        below=weight @ (theta < truth),
        gap=float(at_truth - posterior.log_prob(truth[None], x[None])[0]),
        effective=float(effective),
        rounds=len(batches),
    )


def amortized(posterior, x):
    """Means and variances of the amortized posteriors of many series, each (b, d)."""
    means, variances = [], []
    for start in range(0, len(x), 500):
        draws = posterior.sample(x[start : start + 500], draws=DRAWS, seed=start)
        means.append(draws.mean(axis=1))
        variances.append(draws.var(axis=1))
    return np.concatenate(means), np.concatenate(variances)


def report(posterior, n, series):
    """Print how exact and amortized posteriors do on series of n counts."""
    rng = np.random.default_rng((77, n))
    theta = posterior.prior.sample(MANY, rng)
    x = posterior.model.simulate(theta, rng, n)
    start = time.process_time()
    known = []
    for first in range(0, series, 20):
        some = slice(first, min(first + 20, series))
        draws = posterior.sample(x[some], draws=DRAWS, seed=first)
        rows = zip(theta[some], x[some], draws, strict=True)
        known += [exact(posterior, *row, rng) for row in rows]
    seconds = time.process_time() - start
    few = {
        part.name: np.array([getattr(one, part.name) for one in known]) for part in fields(Exact)
    }
    show(n, theta, *amortized(posterior, x), few)
    print(f"         {seconds / series:.2f} CPU s a series", flush=True)


def controlled(variance, control, control_of_many):
    """Means of `variance` (b, d) over many series and standard errors, by a line in the control."""
    means, errors = [], []
    for y, z, many in zip(variance.T, control.T, control_of_many.T, strict=True):
        slope, constant = np.polyfit(z, y, 1)
        rest = (y - constant - slope * z).var() / len(y)
        means.append(constant + slope * many.mean())
        errors.append(np.sqrt(rest + slope**2 * many.var() / len(many)))
    return np.array(means), np.array(errors)


def show(n, theta, means, variances, few):
    """Print one line per parameter.

    Truths, amortized means and variances of many series are (MANY, d); `few` has the fields of
    `Exact` for the first of them, each (series, ...).
    """
    scale, series = theta.var(axis=0), len(few["mean"])
    truth = theta[:series]
    errors = (truth - few["mean"]) ** 2
    left, left_error = controlled(few["variance"], few["amortized_variance"], variances)
    of_many = (theta - means) ** 2
    picked = np.random.default_rng(0).integers(series, size=(10_000, PRINTED))
    low, high = np.quantile(
        1 - errors[picked].mean(axis=1) / truth[picked].var(axis=1), [0.025, 0.975], axis=0
    )
    columns = {
        "R² exact": 1 - left / scale,
        "se": left_error / scale,
        "plain": 1 - few["variance"].mean(axis=0) / scale,
        " se": few["variance"].std(axis=0) / scale / np.sqrt(series),
        "here": 1 - errors.mean(axis=0) / scale,
        "amort.": 1 - ((truth - few["amortized"]) ** 2).mean(axis=0) / scale,
        "of many": 1 - of_many.mean(axis=0) / scale,
        "  se": of_many.std(axis=0) / scale / np.sqrt(len(theta)),
        "2.5 %": low,
        "97.5 %": high,
        "printed": np.array(PUBLISHED[n]),
        "rank p": np.array([kstest(column, "uniform").pvalue for column in few["below"].T]),
    }
    print(f"\nT = {n}  " + "".join(f"{name:>9}" for name in columns))
    for row, name in enumerate(("r", "sigma", "rho")):
        print(f"{name:>7}  " + "".join(f"{column[row]:9.4f}" for column in columns.values()))
    gap, effective = few["gap"], few["effective"]
    print(
        f"         gap {gap.mean():.3f} ± {gap.std() / np.sqrt(series):.3f} nats (median "
        f"{np.median(gap):.3f}); effective draws {np.median(effective):.0f}, at least "
        f"{effective.min():.0f}"
    )


def main() -> None:
    """Train a posterior and compare it with the exact one."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.ricker_exact")
    parser.add_argument("--series", type=int, default=300, help="of each length")
    parser.add_argument("--simulations", type=int, default=50_000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*unlike everything simulated")
    model = sk.load_simulator("ricker")
    posterior = sk.fit(sk.simulate(model, arguments.simulations, seed=1), seed=2)
    for n in SIZES:
        report(posterior, n, arguments.series)


if __name__ == "__main__":
    main()
