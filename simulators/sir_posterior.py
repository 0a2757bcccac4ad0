"""The exact posterior of the chain-binomial epidemic in `simulators.sir`, by quadrature.

Every step is seen, so the likelihood is a product of binomials: a factor in beta, from the
infections, times one in gamma, from the recoveries, each log-concave. The two are dependent a
posteriori only through the prior, which may bound gamma by beta. Nodes of Gauss-Legendre
quadrature in beta, and in gamma at each of these, lie where the density is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from scipy.special import xlogy

from sbi_kit.checks import expect_array, expect_integer
from sbi_kit.contracts import Array
from sbi_kit.seeds import numpy_stream

if TYPE_CHECKING:
    from simulators.sir import SIR

_DROP = 40.0  # nats below the largest density at which the grid ends
_BETA_NODES, _GAMMA_NODES = 128, 64
_MESH = 2_049


@dataclass(frozen=True, kw_only=True, eq=False)
class Paths:
    """b epidemics, as far as the likelihood depends on them; rates are (b, m) in its methods."""

    infections: Array  # in each step, (b, n - 1)
    pressure: Array  # (I + imports) dt / N before each step, (b, n - 1)
    escaped: Array  # sum of pressures over people and steps without infection, (b,)
    recovered: Array  # recoveries in all, (b,)
    exposed: Array  # infected people at risk of recovery, summed over steps, (b,)
    log_ways: Array  # sum of the logarithms of the binomial coefficients, (b,)
    dt: float

    def take(self, rows: slice) -> "Paths":
        """Some of the epidemics."""
        arrays = {name: part[rows] for name, part in vars(self).items() if name != "dt"}
        return Paths(**arrays, dt=self.dt)

    def log_infections(self, beta: Array) -> Array:
        """The factor of the likelihood in beta, shape (b, m)."""
        terms = -beta * self.escaped[:, None]
        _add_infections(np.ascontiguousarray(beta), self.infections, self.pressure, terms)
        return terms

    def log_recoveries(self, gamma: Array) -> Array:
        """The factor of the likelihood in gamma, shape (b, m)."""
        stayed = (self.exposed - self.recovered)[:, None]
        terms = xlogy(self.recovered[:, None], -np.expm1(-gamma * self.dt))
        return (terms - gamma * self.dt * stayed).astype(np.float64)

    def log_likelihood(self, beta: Array, gamma: Array) -> Array:
        """Log probability of the data, shape (b, m)."""
        return self.log_infections(beta) + self.log_recoveries(gamma) + self.log_ways[:, None]

    def likeliest_gamma(self) -> Array:
        """Where `log_recoveries` is largest, shape (b, 1); infinite if all recover at once."""
        with np.errstate(divide="ignore"):
            share = self.recovered / np.maximum(self.exposed, 1)
            gamma: Array = -np.log1p(-share[:, None]) / self.dt
        return gamma


@dataclass(frozen=True, kw_only=True, eq=False)
class GridPosterior:
    """The exact posterior of beta and gamma given each of b epidemics.

    The grid is one of quadrature nodes: m values of beta for each dataset, and for each of these
    the moments of gamma given beta.

    Attributes:
        model: The simulator, with its prior.
        beta: Nodes between the ends outside which the density is negligible, shape (b, m).
        beta_range: Those ends, shape (b, 2).
        weights: Posterior probability of each node, shape (b, m).
        gamma_mean: Posterior mean of gamma given each beta, shape (b, m).
        gamma_sd: Posterior standard deviation of gamma given each beta, shape (b, m).
        gamma_range: Ends outside which the density is negligible, shape (b, 2).
        log_evidence: Log probability of the data, averaged over the prior, shape (b,).

    >>> from simulators.sir import SIR
    >>> model = SIR(n=1)  # the start alone says nothing, so this is the prior
    >>> posterior = model.exact_posterior([[0.999, 0.001, 0.0]])
    >>> posterior.mean()
    array([[0.505 , 0.2525]])
    >>> posterior.sample(3, seed=1).shape
    (1, 3, 2)
    """

    model: "SIR"
    beta: Array
    beta_range: Array
    weights: Array
    gamma_mean: Array
    gamma_sd: Array
    gamma_range: Array
    log_evidence: Array
    _paths: Paths

    def mean(self) -> Array:
        """Posterior means of beta and gamma, shape (b, 2)."""
        nodes = np.stack([self.beta, self.gamma_mean], axis=-1)
        mean: Array = np.einsum("bm,bmd->bd", self.weights, nodes)
        return mean

    def sd(self) -> Array:
        """Posterior standard deviations of beta and gamma, shape (b, 2)."""
        nodes = np.stack([self.beta, self.gamma_mean], axis=-1)
        squares = (nodes - self.mean()[:, None]) ** 2
        squares[..., 1] += self.gamma_sd**2
        sd: Array = np.sqrt(np.einsum("bm,bmd->bd", self.weights, squares))
        return sd

    def log_prob(self, theta: Array) -> Array:
        """Normalised log density: theta (b, 2) to (b,), or (b, draws, 2) to (b, draws).

        Raises:
            BadValue: `theta` has another shape, or holds NaN.
            BadType: It holds something other than numbers.
        """
        b = len(self.beta)
        shape: list[int | str] = [b, "draws", 2] if np.ndim(theta) == 3 else [b, 2]
        values = expect_array("theta", theta, shape, do="pass one row per dataset")
        log_prior = self.model.prior.log_prob(values)
        # Where the prior's density is zero, the likelihood may not exist.
        known = np.where(np.isfinite(log_prior)[..., None], values, 1.0).reshape(b, -1, 2)
        log_likelihood = self._paths.log_likelihood(known[..., 0], known[..., 1])
        log_prob: Array = log_prior + (log_likelihood - self.log_evidence[:, None]).reshape(
            log_prior.shape
        )
        return log_prob

    def sample(self, draws: int, *, seed: int) -> Array:
        """Independent draws, by inverting the distribution functions of beta and gamma | beta.

        Args:
            draws: Draws for each dataset.
            seed: Seed of the draws.

        Returns:
            Draws, shape (b, draws, 2), from a density that is exact to about 1e-3.

        Raises:
            BadValue: draws < 1 or seed < 0.
            BadType: One of them is no integer.
        """
        draws = expect_integer("draws", draws, low=1)
        rng = numpy_stream(seed, "sir: posterior")
        theta = np.empty((len(self.beta), draws, 2))
        share, cumulative = _cumulative()
        for row, drawn in enumerate(theta):
            low, high = self.beta_range[row]
            below = np.maximum.accumulate(cumulative @ self.weights[row])
            drawn[:, 0] = np.interp(
                rng.random(draws) * below[-1], below, low + (high - low) * share
            )
            # At every beta, gamma has the same density, cut off at its upper bound.
            low, high = self.gamma_range[row]
            gamma = low + (high - low) * share
            log_density = self._paths.take(slice(row, row + 1)).log_recoveries(gamma[None])[0]
            density = np.exp(log_density - log_density.max())
            below = np.append(0.0, np.cumsum(density[1:] + density[:-1]))
            in_reach = np.interp(self.model.highest_gamma(drawn[:, 0]), gamma, below)
            drawn[:, 1] = np.interp(rng.random(draws) * in_reach, below, gamma)
        return theta


def integrate(model: "SIR", paths: Paths) -> dict[str, Array]:
    """The arrays of a `GridPosterior`.

    Both factors of the likelihood are log-concave, hence so is their maximum over gamma as a
    function of beta: one interval of beta holds all of the mass, and one of gamma at each beta.
    """
    b = len(paths.exposed)
    lowest, highest = (np.full((b, 1), bound) for bound in model.beta)
    peak = paths.likeliest_gamma()

    def best_gamma(beta: Array) -> Array:
        return np.clip(peak, model.gamma[0], model.highest_gamma(beta))

    def profile(beta: Array) -> Array:
        return paths.log_infections(beta) + paths.log_recoveries(best_gamma(beta))

    def reach_of_gamma(beta: Array) -> tuple[Array, Array]:
        mode, lowest = best_gamma(beta), np.full_like(beta, model.gamma[0])
        bounds = (lowest, model.highest_gamma(beta))
        low, high = (_reach(paths.log_recoveries, mode, bound) for bound in bounds)
        return low, high

    mode = _maximum(profile, lowest, highest)
    ends = np.concatenate([_reach(profile, mode, end) for end in (lowest, highest)], axis=1)
    beta, step = _nodes(ends[:, :1], ends[:, 1:], _BETA_NODES)  # (b, m)
    (least, most), (low, high) = reach_of_gamma(ends), reach_of_gamma(beta)
    gamma, width = _nodes(low[..., None], high[..., None], _GAMMA_NODES)  # (b, m, k)
    log_best = paths.log_recoveries(best_gamma(beta))
    log_inner = paths.log_recoveries(gamma.reshape(b, -1)).reshape(gamma.shape)
    inner = np.exp(log_inner - log_best[..., None]) * width
    mass = inner.sum(axis=-1)
    width_of_prior = (model.highest_gamma(beta) - model.gamma[0]) * (model.beta[1] - model.beta[0])
    log_outer = paths.log_infections(beta) + log_best + np.log(mass * step / width_of_prior)
    largest = log_outer.max(axis=1, keepdims=True)
    outer = np.exp(log_outer - largest)
    total = outer.sum(axis=1, keepdims=True)
    share = inner / mass[..., None]
    gamma_mean = (share * gamma).sum(axis=-1)
    variance = (share * (gamma - gamma_mean[..., None]) ** 2).sum(axis=-1)
    return {
        "beta": beta,
        "beta_range": ends,
        "weights": outer / total,
        "gamma_mean": gamma_mean,
        "gamma_sd": np.sqrt(variance),
        "gamma_range": np.stack([least[:, 0], most[:, 1]], axis=1),  # both rise with beta
        "log_evidence": (largest + np.log(total))[:, 0] + paths.log_ways,
    }


def _maximum(function: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where a concave function is largest between low and high, each (b, 1), by thirds."""
    for _ in range(60):
        third = (high - low) / 3
        left, right = low + third, high - third
        rising = function(left) < function(right)
        low, high = np.where(rising, left, low), np.where(rising, high, right)
    return (low + high) / 2


def _reach(function: Callable[[Array], Array], mode: Array, end: Array) -> Array:
    """From the mode towards `end`, where a concave function has fallen by _DROP, or `end`."""
    level = function(mode) - _DROP
    inner, outer = mode, end
    for _ in range(50):
        middle = (inner + outer) / 2
        above = function(middle) >= level
        inner, outer = np.where(above, middle, inner), np.where(above, outer, middle)
    return np.where(function(end) >= level, end, outer)


@cache
def _legendre(nodes: int) -> tuple[Array, Array]:
    """Nodes and weights of Gauss-Legendre quadrature on (0, 1)."""
    x, weight = np.polynomial.legendre.leggauss(nodes)
    return (x + 1) / 2, weight / 2


def _nodes(low: Array, high: Array, nodes: int) -> tuple[Array, Array]:
    """Nodes and weights between low and high, each (..., 1), shape (..., nodes)."""
    x, weight = _legendre(nodes)
    return low + (high - low) * x, (high - low) * weight


@cache
def _cumulative() -> tuple[Array, Array]:
    """A mesh (k,) on 0..1, and the (k, m) that take a density at the nodes to its integral.

    The interpolating polynomial is sum_j P_j(s) (j + 1/2) sum_i w_i P_j(s_i) f_i on -1..1, and the
    integral of (2 j + 1) P_j is P_{j+1} - P_{j-1}.
    """
    vander = np.polynomial.legendre.legvander
    mesh, at = np.linspace(-1, 1, _MESH), np.polynomial.legendre.leggauss(_BETA_NODES)[0]
    p = vander(mesh, _BETA_NODES)
    integral = np.concatenate([p[:, :1] + p[:, 1:2], p[:, 2:] - p[:, :-2]], axis=1) / 2
    return (mesh + 1) / 2, integral @ vander(at, _BETA_NODES - 1).T


@njit(cache=True, nogil=True)
def _add_infections(beta: Array, infections: Array, pressure: Array, terms: Array) -> None:
    """Add sum_t infections_t log(1 - exp(-beta pressure_t)) to `terms` (b, m)."""
    for row in range(beta.shape[0]):
        for t in range(infections.shape[1]):
            if infections[row, t] > 0:
                for i in range(beta.shape[1]):
                    p = -np.expm1(-beta[row, i] * pressure[row, t])
                    terms[row, i] += infections[row, t] * np.log(p)
