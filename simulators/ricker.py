"""The Ricker map: a population that booms and crashes, seen through a Poisson count.

From N_1 on, each generation is counted and then reproduces,

    x_t ~ Poisson(rho N_t),   N_{t+1} = r N_t exp(-N_t + e_t),   e_t ~ N(0, sigma^2),

after Ricker (1954), "Stock and recruitment", J. Fish. Res. Board Can. 11:559, with noise and
observation as in Wood (2010), "Statistical inference for noisy nonlinear ecological dynamic
systems", Nature 466:1102, doi:10.1038/nature09319, who calls rho phi. The priors

    r ~ U(1, 90),   sigma ~ U(0.05, 0.7),   rho ~ U(0, 15)

are those of Radev, Mertens, Voss, Ardizzone & Köthe (2020), "BayesFlow", arXiv:2003.06281.

N is in units of the density at which crowding divides births by e. Above r = 15 or so the map is
chaotic, and the likelihood of the noise too irregular to be explored (Wood 2010). At small rho next
to nothing is counted, and then neither r nor sigma is identifiable. A crash may reach exp(-1000)
and recover, so the path is followed in log N.
"""

from dataclasses import dataclass
from functools import cached_property
from math import exp, log

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from sbi_kit.checks import (
    BadValue,
    expect_array,
    expect_bounds,
    expect_finite,
    expect_flag,
    expect_integer,
    expect_number,
    expect_rng,
    expect_theta,
)
from sbi_kit.contracts import Array
from sbi_kit.data import Series
from sbi_kit.prior import Prior, Uniform
from sbi_kit.seeds import numpy_stream

# Within these, every mean count is far below 2^63, where the integers of the sampler end.
_RANGES = {"r": (0.0, 1e3), "log_r": (-7.0, 7.0), "sigma": (0.0, 2.0), "rho": (0.0, 1e4)}
_R = (1.0, 90.0)
_CLASSIC = {"r": exp(3.8), "log_r": 3.8, "sigma": 0.3, "rho": 10.0, "u": 0.5}


@dataclass(frozen=True, kw_only=True)
class Ricker:
    """A noisy Ricker map, counted once a generation.

    Parameters: `r`, offspring per head where there is no crowding, 0 to 1,000 (or its logarithm
    `log_r`, -7 to 7); `sigma`, standard deviation of the environment's noise in log N, 0 to 2;
    `rho`, expected count per unit of N, 0 to 10,000. All are without unit. The one column is
    `count`, one per generation.

    Args:
        n: Generations observed, fixed or (fewest, most).
        r: Bounds of the uniform prior of r.
        sigma: Bounds of the uniform prior of sigma.
        rho: Bounds of the uniform prior of rho.
        log_r: Bounds of a uniform prior of log r; the parameter is then `log_r` in place of `r`.
        initial_population: N_1, above 0 and at most 1e6.
        burn_in: Generations simulated before the first that is observed, at most 1,000,000.
        dummy: Whether there is a last parameter `u` ~ U(0, 1) that the data do not depend on, so
            that its posterior must be its prior.

    Raises:
        BadValue: An argument is outside its range, or both r and log_r are given.
        BadType: It is of another type.

    >>> model = Ricker(n=6)
    >>> theta = np.array([[np.exp(3.8), 0.0, 10.0]])  # no noise: N = 10, 0.02, 0.89, 16.3, 6e-5
    >>> model.simulate(theta, np.random.default_rng(0), 6)[0, :, 0]
    array([104.,   0.,   8., 150.,   0.,   0.])
    """

    n: int | tuple[int, int] = (100, 500)
    r: tuple[float, float] = _R
    sigma: tuple[float, float] = (0.05, 0.7)
    rho: tuple[float, float] = (0.0, 15.0)
    log_r: tuple[float, float] | None = None
    initial_population: float = 10.0
    burn_in: int = 0
    dummy: bool = False

    def __post_init__(self) -> None:
        expect_number("initial_population", self.initial_population, low=0, high=1e6, open_low=True)
        expect_integer("burn_in", self.burn_in, low=0, high=1_000_000)
        expect_flag("dummy", self.dummy)
        for name in _RANGES:
            if name != "log_r" or self.log_r is not None:
                low, high = _RANGES[name]
                bounds = expect_bounds(name, getattr(self, name), low=low, high=high)
                object.__setattr__(self, name, bounds)
        if self.log_r is not None and self.r != _R:
            raise BadValue("a prior of r or of log_r", "both", "leave one of them out")
        object.__setattr__(self, "n", self.data.n)

    @cached_property
    def prior(self) -> Prior:
        """Independent uniform priors of r or log_r, sigma, rho and, if asked for, u."""
        growth = {"r": Uniform(*self.r)} if self.log_r is None else {"log_r": Uniform(*self.log_r)}
        dummy = {"u": Uniform(0.0, 1.0)} if self.dummy else {}
        return Prior(**growth, sigma=Uniform(*self.sigma), rho=Uniform(*self.rho), **dummy)

    @cached_property
    def data(self) -> Series:
        """A series of counts."""
        return Series(columns=("count",), n=self.n, nested=True)

    def simulate(self, theta: Array, rng: np.random.Generator, n: int) -> Array:
        """Simulate the counts of n generations.

        Args:
            theta: r or log_r, sigma, rho and, if there is one, u, shape (b, d).
            rng: Source of all randomness.
            n: Generations observed.

        Returns:
            Counts, shape (b, n, 1).

        Raises:
            BadValue: `theta` has another shape, holds NaN or infinity, or lies outside the ranges
                of the class; or n < 1.
        """
        names = self.prior.names
        ranges = {name: _RANGES[name] for name in names if name != "u"}
        growth, sigma, rho = np.ascontiguousarray(expect_theta(theta, names, ranges=ranges).T[:3])
        with np.errstate(divide="ignore"):  # r = 0: nobody has offspring
            log_r = np.log(growth) if self.log_r is None else growth
        counts = np.empty((len(rho), expect_integer("n", n, low=1)))
        start = log(self.initial_population)
        _count(expect_rng(rng), log_r, sigma, rho, start, self.burn_in, counts)
        return counts[..., None]

    @staticmethod
    def summaries(x: ArrayLike) -> Array:
        """Fifteen classical summaries of series of counts, after Wood (2010).

        Approximate Bayesian computation compares these: the mean and the share of zeros; log(1 + .)
        of the variance, and the autocorrelations at lags 1 to 5; the coefficients of the regression
        of y_{t+1}^.3 on y_t^.3 and y_t^.6, which follows the map; and quantiles of the differences
        from count to count, in sds. The last stand for Wood's regression of the ordered differences
        on those of the data observed, which a summary that serves every dataset cannot know.

        Args:
            x: Counts, shape (b, n, 1), n >= 7, of any origin.

        Returns:
            The summaries, shape (b, 15); what a constant series has not is 0.

        Raises:
            BadType, BadValue: The shape is another, or an entry is no finite number.

        >>> Ricker.summaries(Ricker().observed[None])[0, :3].round(2)
        array([37.95,  0.39,  8.13])
        """
        do = "pass series of 7 counts or more as (b, n, 1)"
        counts = expect_array("counts", x, ("b", "n", 1), do=do)[..., 0]
        expect_finite("counts", counts.reshape(-1, 1), ("count",), do=do)
        if counts.shape[1] < 7:
            raise BadValue("series of 7 counts or more", str(counts.shape[1]), do)
        mean = counts.mean(axis=1, keepdims=True)
        centred, variance = counts - mean, counts.var(axis=1)
        scale = np.where(variance > 0, variance, 1.0)
        lagged = [(centred[:, k:] * centred[:, :-k]).mean(axis=1) / scale for k in range(1, 6)]
        steps = np.diff(counts, axis=1) / np.sqrt(scale)[:, None]
        return np.column_stack(
            [
                mean,
                (counts == 0).mean(axis=1),
                np.log1p(variance),
                *lagged,
                _follow_map(counts),
                np.quantile(steps, [0.05, 0.25, 0.5, 0.75, 0.95], axis=1).T,
            ]
        )

    @cached_property
    def observed_theta(self) -> Array:
        """The parameters behind `observed`, shape (d,).

        Wood's (2010) log r = 3.8, sigma = 0.3, rho = 10 and, if there is a dummy, u = 0.5; where
        the prior excludes these, its medians.
        """
        theta = np.array([_CLASSIC[name] for name in self.prior.names])
        if np.isfinite(self.prior.log_prob(theta)):
            return theta
        return self.prior.unwhiten(np.zeros(len(theta)))

    @cached_property
    def observed(self) -> Array:
        """One simulated, not measured, series of the fewest generations, shape (n, 1).

        It never changes; `observed_theta` is the truth behind it.
        """
        rng = numpy_stream(0, "ricker: counts")
        counts: Array = self.simulate(self.observed_theta[None], rng, self.data.n_range[0])[0]
        return counts


def _follow_map(counts: Array) -> Array:
    """Regression of y_{t+1}^.3 on y_t^.3 and y_t^.6 without a constant, shape (b, 2)."""
    root = np.maximum(counts, 0.0) ** 0.3
    before, after = root[:, :-1], root[:, 1:]
    design = np.stack([before, before**2], axis=2)  # (b, n - 1, 2)
    gram = np.einsum("bni,bnj->bij", design, design) + 1e-9 * np.eye(2)
    return np.linalg.solve(gram, np.einsum("bni,bn->bi", design, after)[..., None])[..., 0]


@njit(cache=True, nogil=True)
def _count(
    rng: np.random.Generator,
    log_r: Array,
    sigma: Array,
    rho: Array,
    start: float,
    burn_in: int,
    counts: Array,
) -> None:
    """Fill `counts` (b, n) from log N = start, burn_in generations before the first count."""
    for row in range(counts.shape[0]):
        log_size = start
        for t in range(-burn_in, counts.shape[1]):
            size = exp(log_size)
            if t >= 0:
                counts[row, t] = rng.poisson(rho[row] * size)
            log_size += log_r[row] - size + sigma[row] * rng.standard_normal()
