"""A stochastic epidemic: a chain of binomials whose posterior is known on a grid.

Of N people S_t are susceptible, I_t infected and R_t recovered. In every step of length dt, all
from the old state,

    infections ~ Bin(S_t, 1 - exp(-beta (I_t + imports) / N dt)),
    recoveries ~ Bin(I_t, 1 - exp(-gamma dt)),

a chain binomial in the manner of Reed & Frost (Abbey 1952, Hum. Biol. 24:201; Bailey 1975, "The
Mathematical Theory of Infectious Diseases"). The settings and the priors, in which an epidemic's
basic reproduction number beta / gamma is above 1,

    beta ~ U(0.01, 1),   gamma | beta ~ U(0, beta),

are those of Radev, Mertens, Voss, Ardizzone & Köthe (2020), "BayesFlow", arXiv:2003.06281.

Every step is seen, so the likelihood is a product of binomials: a factor in beta, from the
infections, times one in gamma, from the recoveries, each log-concave. The two are dependent a
posteriori only through the prior. `exact_posterior` integrates over both by Gauss-Legendre
quadrature where the density is. An outbreak that dies out at once identifies neither.
"""

from dataclasses import dataclass
from functools import cached_property
from math import exp, floor, lgamma, log, log1p, sqrt
from typing import Any, Literal

import numpy as np
from numba import njit
from scipy.special import gammaln

from sbi_kit.checks import (
    BadType,
    BadValue,
    expect_integer,
    expect_number,
    expect_pairing,
    expect_rng,
    expect_theta,
)
from sbi_kit.contracts import Array, IntArray
from sbi_kit.data import Datasets, Series, read
from sbi_kit.prior import Prior, Uniform
from sbi_kit.seeds import numpy_stream
from simulators.sir_posterior import GridPosterior, Paths, integrate

_CLASSIC = (0.6, 0.15)
_WHOLE = 0.01  # people by which rounded shares may be off
_DATASETS_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class SIR:
    """A chain-binomial epidemic in a closed population, every step of it observed.

    Parameters: `beta`, infections per infected person and unit of time in a wholly susceptible
    population; `gamma`, recoveries per infected person and unit of time; both are at least 0. The
    columns `susceptible`, `infected` and `recovered` are shares of the population that sum to 1;
    the first row is the state at the start.

    Args:
        n: Time points, the start included, fixed or (fewest, most); they span (n - 1) dt.
        population: Number N of people, 1 to 1e9.
        initial_infected: Infected at the start, 0 to N; the others are susceptible.
        dt: Length of a step in the unit of time of the rates, above 0.
        imports: Infection from outside, as if so many more were infected; at least 0.
        beta: Bounds of the uniform prior of beta, at least 0.
        gamma: Bounds of the uniform prior of gamma, at least 0; the upper is a number or "beta".

    Raises:
        BadValue: An argument is outside its range, or nobody could ever be infected.
        BadType: It is of another type.

    >>> model = SIR()
    >>> posterior = model.exact_posterior(model.observed)
    >>> model.observed_theta, posterior.mean().round(2), posterior.sd().round(3)
    (array([0.6 , 0.15]), array([[0.58, 0.14]]), array([[0.029, 0.013]]))
    """

    n: int | tuple[int, int] = (200, 500)
    population: int = 1_000
    initial_infected: int = 1
    dt: float = 0.1
    imports: float = 0.5
    beta: tuple[float, float] = (0.01, 1.0)
    gamma: tuple[float, float | Literal["beta"]] = (0.0, "beta")

    def __post_init__(self) -> None:
        people = expect_integer("population", self.population, low=1, high=10**9)
        infected = expect_integer("initial_infected", self.initial_infected, low=0, high=people)
        expect_number("dt", self.dt, low=0, open_low=True)
        if infected + expect_number("imports", self.imports, low=0) == 0:
            raise BadValue("someone infectious", "no infected and no imports", "raise one of them")
        object.__setattr__(self, "beta", _expect_bounds("beta", self.beta))
        object.__setattr__(self, "gamma", _expect_bounds("gamma", self.gamma, or_name="beta"))
        if self.gamma[1] == "beta" and self.gamma[0] > self.beta[0]:
            raise BadValue(
                f"lowest gamma at most the lowest beta of {self.beta[0]:g}",
                f"{self.gamma[0]:g}",
                "keep gamma's bounds in order at every beta",
            )
        object.__setattr__(self, "n", self.data.n)

    @cached_property
    def prior(self) -> Prior:
        """Uniform beta, and gamma uniform below it unless its upper bound is a number."""
        return Prior(beta=Uniform(*self.beta), gamma=Uniform(*self.gamma))

    @cached_property
    def data(self) -> Series:
        """A series of shares of the population."""
        columns = ("susceptible", "infected", "recovered")
        return Series(columns=columns, n=self.n, nested=True)

    def simulate(self, theta: Array, rng: np.random.Generator, n: int) -> Array:
        """Simulate epidemics of n time points.

        Args:
            theta: beta, gamma, shape (b, 2).
            rng: Source of all randomness.
            n: Time points, the start included.

        Returns:
            Shares of the population, shape (b, n, 3).

        Raises:
            BadValue: `theta` has another shape, or is negative, NaN or infinite; or n < 1.
        """
        beta, gamma = np.ascontiguousarray(self._expect_theta(theta).T)
        shares = np.empty((len(beta), expect_integer("n", n, low=1), 3))
        start = (self.population, self.initial_infected)
        _spread(
            expect_rng(rng),
            beta * self.dt,
            -np.expm1(-gamma * self.dt),
            *start,
            self.imports,
            shares,
        )
        return shares

    def log_likelihood(self, theta: Array, x: Any) -> Array:
        """Exact log likelihood of every step given the first row of the data.

        Args:
            theta: beta, gamma, shape (b, 2).
            x: One dataset for all rows of theta, or b datasets, one for each; in any form that
                `sbi_kit.data.read` takes, also of different n.

        Returns:
            Log likelihood in nats, shape (b,); -inf where the data cannot occur.

        Raises:
            BadValue: As `simulate`; or x is no path of this model, or neither 1 nor b datasets.

        >>> model = SIR(population=2, n=2)  # one infected, who recovers while the other escapes
        >>> model.log_likelihood([[0.4, 0.3]], [[0.5, 0.5, 0.0], [0.5, 0.0, 0.5]])
        array([-3.5515204])
        >>> np.log(-np.expm1(-0.03)) - 0.4 * 1.5 / 2 * 0.1
        np.float64(-3.551520...)
        """
        beta, gamma = self._expect_theta(theta).T
        paths = self._paths(x)
        expect_pairing(len(paths.exposed), len(beta))
        shape = (len(paths.exposed), -1)
        return paths.log_likelihood(beta.reshape(shape), gamma.reshape(shape)).ravel()

    def exact_posterior(self, x: Any) -> GridPosterior:
        """The posterior of each dataset, given its first row.

        Args:
            x: Datasets in any form that `sbi_kit.data.read` takes, also of different n.

        Returns:
            The posterior, by quadrature to about 1e-10.

        Raises:
            BadValue: The data do not have this model's columns, are not finite, or are no path
                of this model: shares of another population, steps left out, people coming back.
        """
        paths = self._paths(x)
        chunks = range(0, len(paths.exposed), _DATASETS_AT_ONCE)
        parts = [integrate(self, paths.take(slice(i, i + _DATASETS_AT_ONCE))) for i in chunks]
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return GridPosterior(model=self, _paths=paths, **arrays)

    @cached_property
    def observed_theta(self) -> Array:
        """The rates behind `observed`, shape (2,).

        beta = 0.6 and gamma = 0.15, an epidemic that takes off within 20 units of time; where the
        prior excludes these, its medians.
        """
        theta = np.array(_CLASSIC)
        if np.isfinite(self.prior.log_prob(theta)):
            return theta
        return self.prior.unwhiten(np.zeros(2))

    @cached_property
    def observed(self) -> Array:
        """One simulated, not measured, epidemic of the fewest time points, shape (n, 3).

        It never changes; `observed_theta` is the truth behind it.
        """
        rng = numpy_stream(0, "sir: epidemic")
        shares: Array = self.simulate(self.observed_theta[None], rng, self.data.n_range[0])[0]
        return shares

    def highest_gamma(self, beta: Array) -> Array:
        """Upper bound of gamma's prior at each beta, of the same shape."""
        return beta if self.gamma[1] == "beta" else np.full_like(beta, self.gamma[1])

    def _expect_theta(self, theta: Array) -> Array:
        names = self.prior.names
        return expect_theta(theta, names, ranges=dict.fromkeys(names, (0.0, np.inf)))

    def _paths(self, x: Any) -> Paths:
        """What the likelihood needs of the data, once they are known to be paths."""
        datasets = read(x, self.data)
        people = _expect_people(datasets, self.data.columns, self.population)  # (b, n, 3)
        step = datasets.mask[:, 1:]
        susceptible, infected = (np.where(step, people[:, :-1, i], 0) for i in (0, 1))
        infections = np.where(step, people[:, :-1, 0] - people[:, 1:, 0], 0)
        recoveries = np.where(step, people[:, 1:, 2] - people[:, :-1, 2], 0)
        pressure = (infected + self.imports) * (self.dt / self.population)
        jump = (infections < 0) | (recoveries < 0) | (recoveries > infected)
        jump |= (infections > 0) & (pressure == 0)
        if jump.any():
            dataset, row = (int(i) for i in np.argwhere(jump)[0])
            states = (", ".join(map(str, people[dataset, at])) for at in (row, row + 1))
            raise BadValue(
                "steps in which people are infected, or recover from infection, and nothing else",
                f"{' -> '.join(states)} from row {row} of dataset {dataset}",
                "pass every step of the chain, in order",
            )
        ways = _log_ways(susceptible, infections) + _log_ways(infected, recoveries)
        return Paths(
            infections=infections.astype(np.float64),
            pressure=pressure,
            escaped=(pressure * (susceptible - infections)).sum(axis=1),
            recovered=recoveries.sum(axis=1).astype(np.float64),
            exposed=infected.sum(axis=1).astype(np.float64),
            log_ways=ways.sum(axis=1),
            dt=self.dt,
        )


@njit(cache=True, nogil=True)
def _spread(
    rng: np.random.Generator,
    beta: Array,
    recovery: Array,
    population: int,
    initial_infected: int,
    imports: float,
    shares: Array,
) -> None:
    """Fill `shares` (b, n, 3); beta is per step, recovery a probability per step, both (b,)."""
    for row in range(shares.shape[0]):
        susceptible, infected, recovered = population - initial_infected, initial_infected, 0
        for t in range(shares.shape[1]):
            if t > 0:
                p = -np.expm1(-beta[row] * (infected + imports) / population)
                infections = _binomial(rng, susceptible, p)
                recoveries = _binomial(rng, infected, recovery[row])
                susceptible -= infections
                infected += infections - recoveries
                recovered += recoveries
            shares[row, t, 0] = susceptible / population
            shares[row, t, 1] = infected / population
            shares[row, t, 2] = recovered / population


@njit(nogil=True, inline="always")
def _binomial(rng: np.random.Generator, n: int, p: float) -> int:
    """One binomial number; inlined, since handing on the generator costs more than a draw."""
    if p > 0.5:
        return n - _rare(rng, n, 1 - p)
    return _rare(rng, n, p)


@njit(nogil=True, inline="always")
def _rare(rng: np.random.Generator, n: int, p: float) -> int:
    """One binomial number for p <= 1/2: by inversion, or rejection where many are expected."""
    if n * p >= 10:
        return _rejected(rng, n, p)
    # (1 - p)^n >= 1 - n p, so most of the zeros need no exponential function.
    u = rng.random()
    if u < 1 - n * p:
        return 0
    none = exp(n * log1p(-p))
    odds = p / (1 - p)
    while True:
        k, mass = 0, none
        while u >= mass and k < n and k < 110:
            u -= mass
            mass *= odds * (n - k) / (k + 1)
            k += 1
        if u < mass:
            return k
        u = rng.random()  # the masses, rounded, sum to less than the first u


@njit(nogil=True, inline="always")
def _rejected(rng: np.random.Generator, n: int, p: float) -> int:
    """Transformed rejection with a squeeze, BTRS (Hörmann 1993, J. Stat. Comput. Simul. 46:101)."""
    sd = sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * sd
    a = -0.0873 + 0.0248 * b + 0.01 * p
    alpha = (2.83 + 5.1 / b) * sd
    log_odds = log(p / (1 - p))
    mode = floor((n + 1) * p)
    while True:
        u = rng.random() - 0.5
        v = rng.random()
        distance = 0.5 - abs(u)
        k = floor((2 * a / distance + b) * u + n * p + 0.5)
        if distance >= 0.07 and v <= 0.92 - 4.2 / b:
            return int(k)
        if k < 0 or k > n:
            continue
        log_mass = (k - mode) * log_odds + lgamma(mode + 1) + lgamma(n - mode + 1)
        log_mass -= lgamma(k + 1) + lgamma(n - k + 1)
        if log(v * alpha / (a / distance**2 + b)) <= log_mass:
            return int(k)


def _log_ways(n: IntArray, k: IntArray) -> Array:
    """Logarithm of the binomial coefficient."""
    ways: Array = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return ways


def _expect_people(datasets: Datasets, columns: tuple[str, ...], population: int) -> IntArray:
    """The people behind the shares, shape (b, n, 3); padding is zero."""
    people = datasets.values * population
    off = (np.abs(people.sum(axis=-1) - population) > 3 * _WHOLE) & datasets.mask
    if off.any():
        dataset, row = (int(i) for i in np.argwhere(off)[0])
        raise BadValue(
            f"shares {', '.join(columns)} that sum to 1",
            f"{datasets.values[dataset, row].sum():g} in row {row} of dataset {dataset}",
            "divide the numbers of people by the population",
        )
    whole = np.rint(people)
    off = (np.abs(people - whole) > _WHOLE) | (whole < 0)
    if off.any():
        dataset, row, column = (int(i) for i in np.argwhere(off)[0])
        got = f"{people[dataset, row, column]:g} {columns[column]}"
        raise BadValue(
            f"shares of whole people in a population of {population}",
            f"{got} in row {row} of dataset {dataset}",
            "set population to that of the data, and neither smooth nor round them",
        )
    return whole.astype(np.int64)


def _expect_bounds(name: str, bounds: Any, *, or_name: str | None = None) -> tuple[float, Any]:
    """Bounds of a uniform prior of a rate; the upper may be the name of another rate."""
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise BadValue(f"{name} as (lowest, highest)", repr(bounds), "pass both bounds")
    low = expect_number(f"lowest {name}", bounds[0], low=0)
    if isinstance(bounds[1], str):
        if bounds[1] != or_name:
            wanted = f"highest {name} as a number" + (f" or {or_name!r}" if or_name else "")
            raise BadType(wanted, repr(bounds[1]), "pass one of them")
        return low, or_name
    return low, expect_number(f"highest {name}", bounds[1], low=low, open_low=True)
