"""Predator and prey: the cycle of lynx and hare, seen in the pelts that trappers sold.

Hares u and lynx v follow the equations of Lotka (1925) and Volterra (1926),

    u' = (alpha - beta v) u,   v' = (-gamma + delta u) v,   u(0) = hare_0,   v(0) = lynx_0,

and are observed once a year, year 0 included: y_k(t) ~ LogNormal(log z_k(t), sigma_k), where z is
(u, v). Model and priors are those of Carpenter (2018), "Predator-Prey Population Dynamics: the
Lotka-Volterra model in Stan":

    alpha, gamma ~ N+(1, 0.5),             beta, delta ~ N+(0.05, 0.05),
    hare_0, lynx_0 ~ LogNormal(log 10, 1),   sigma_hare, sigma_lynx ~ LogNormal(-1, 1).

In the logarithms a = log u and b = log v the system is Hamiltonian: it conserves

    H = delta e^a - gamma a + beta e^b - alpha b,

so every path is a cycle around (gamma / delta, alpha / beta), of period 2 pi / sqrt(alpha gamma)
where it is small. Where H is large the populations explode and vanish in turn, through hundreds of
e-folds; such paths are part of the prior and are followed to their end. From a point of the path,
with p = beta v, q = delta u, U = u(t + s) / u(t), V = v(t + s) / v(t) and W = U V, Taylor's
coefficients satisfy

    (k + 1) U_{k+1} = alpha U_k - p W_k,   (k + 1) V_{k+1} = q W_k - gamma V_k,

and those of a and b follow from a' = alpha - p V, b' = -gamma + q U (Jorba & Zou 2005, Experimental
Mathematics 14:99, on steps and orders). The polynomial of a step also serves the years within it.

Pelts are a share of the animals. If c times as many hares had lived for each pelt, delta / c would
give the same data, and likewise beta for the lynx: both are known per pelt, neither share is known.
"""

import csv
import math
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

import numpy as np
from numba import njit

from sbi_kit.checks import (
    BadType,
    BadValue,
    expect_integer,
    expect_number,
    expect_pairing,
    expect_rng,
    expect_theta,
)
from sbi_kit.contracts import Array
from sbi_kit.data import Series, read
from sbi_kit.prior import LogNormal, Prior, TruncatedNormal

_ORDER = 20  # of the Taylor polynomials; 16 to 24 are equally fast
_OVER = 1 / np.arange(1.0, _ORDER + 1)  # to multiply is several times faster than to divide
_LONGEST_STEP = 5.0  # over the fastest rate: terms of exp beyond order 20 shrink fourfold
_STEPS_PER_YEAR = 10_000  # 100,000 draws of the prior need 6 a year, at most
_LEAST = np.finfo(np.float64).tiny
_LOG_RANGE = (-700.0, 350.0)  # of what is returned: above zero, and its square is finite

_RATES = dict.fromkeys(("alpha", "beta", "gamma", "delta"), (0.0, np.inf))
_SIZES = dict.fromkeys(("hare_0", "lynx_0", "sigma_hare", "sigma_lynx"), (_LEAST, np.inf))


@dataclass(frozen=True, kw_only=True)
class LotkaVolterra:
    """Hares and lynx over the years, counted in thousands of pelts with log-normal noise.

    Parameters: `alpha`, growth of hares without lynx [1/year]; `beta`, loss of hares to each
    thousand lynx pelts [1/year]; `gamma`, loss of lynx without hares [1/year]; `delta`, growth of
    lynx by each thousand hare pelts [1/year]; `hare_0` and `lynx_0`, the populations in year 0
    [thousands of pelts]; `sigma_hare` and `sigma_lynx`, standard deviations of the logarithm of the
    counts, without unit. The rates are not negative, the others positive. The columns are `hare`
    and `lynx`, in thousands of pelts. A value beyond e^-700 or e^350 is returned as that bound.

    Args:
        years: Yearly observations, year 0 included, fixed or (fewest, most).
        alpha: Mean and sd of the normal, truncated at 0, that is the prior of alpha; sd above 0.
        beta: The same for beta.
        gamma: The same for gamma.
        delta: The same for delta.
        hare_0: Mean and sd of the logarithm of hare_0 under its log-normal prior; sd above 0.
        lynx_0: The same for lynx_0.
        sigma_hare: The same for sigma_hare.
        sigma_lynx: The same for sigma_lynx.
        tolerance: Largest error of one step of the integration in log u or log v, 1e-15 to 1e-3;
            over 20 years errors add up to ten times as much, in rare violent paths to a thousand.

    Raises:
        BadValue: An argument is outside its range.
        BadType: It is not a number, or no pair of numbers where a mean and sd are asked for.

    >>> model = LotkaVolterra()
    >>> theta = np.array([[0.547, 0.0277, 0.800, 0.0241, 34.04, 5.94, 0.248, 0.252]])
    >>> model.populations(theta)[0, [0, 5, 10]].round(1)  # half a cycle, a whole one
    array([[34. ,  5.9],
           [18.7, 39.4],
           [31.8,  5.9]])
    >>> model.simulate(theta, np.random.default_rng(0), 21).shape
    (1, 21, 2)
    """

    years: int | tuple[int, int] = 21
    alpha: tuple[float, float] = (1.0, 0.5)
    beta: tuple[float, float] = (0.05, 0.05)
    gamma: tuple[float, float] = (1.0, 0.5)
    delta: tuple[float, float] = (0.05, 0.05)
    hare_0: tuple[float, float] = (math.log(10), 1.0)
    lynx_0: tuple[float, float] = (math.log(10), 1.0)
    sigma_hare: tuple[float, float] = (-1.0, 1.0)
    sigma_lynx: tuple[float, float] = (-1.0, 1.0)
    tolerance: float = 1e-11

    def __post_init__(self) -> None:
        for name in (*_RATES, *_SIZES):
            object.__setattr__(self, name, _expect_mean_and_sd(name, getattr(self, name)))
        expect_number("tolerance", self.tolerance, low=1e-15, high=1e-3)
        object.__setattr__(self, "years", self.data.n)
        self.prior  # noqa: B018  refuses means so low that nothing is left above 0

    @property
    def units(self) -> dict[str, str]:
        """Units of what has one."""
        rates = dict.fromkeys(("alpha", "beta", "gamma", "delta"), "1/year")
        counts = dict.fromkeys(("hare_0", "lynx_0", "hare", "lynx"), "thousand pelts")
        return rates | counts | {"time": "year"}

    @cached_property
    def prior(self) -> Prior:
        """Independent priors of the eight parameters."""
        return Prior(
            alpha=TruncatedNormal(*self.alpha, low=0.0),
            beta=TruncatedNormal(*self.beta, low=0.0),
            gamma=TruncatedNormal(*self.gamma, low=0.0),
            delta=TruncatedNormal(*self.delta, low=0.0),
            hare_0=LogNormal(*self.hare_0),
            lynx_0=LogNormal(*self.lynx_0),
            sigma_hare=LogNormal(*self.sigma_hare),
            sigma_lynx=LogNormal(*self.sigma_lynx),
        )

    @cached_property
    def data(self) -> Series:
        """A series of yearly counts."""
        return Series(columns=("hare", "lynx"), n=self.years, nested=True)

    @cached_property
    def observed(self) -> Array:
        """Pelts of hare and lynx, 1900 to 1920, shape (21, 2); fewer if `years` are fewer.

        From Hewitt (1921), *The Conservation of the Wild Life of Canada*;
        `simulators/data/hudson_bay_pelts.md` has the details.
        """
        table = files("simulators").joinpath("data", "hudson_bay_pelts.csv").read_text("utf-8")
        rows = csv.DictReader(table.splitlines())
        pelts = [[float(row[name]) for name in self.data.columns] for row in rows]
        return np.array(pelts)[: self.data.n_range[1]]

    def simulate(self, theta: Array, rng: np.random.Generator, n: int) -> Array:
        """Simulate the counts of the first n years.

        Args:
            theta: The parameters in the order of the prior, shape (b, 8).
            rng: Source of all randomness.
            n: Number of years, year 0 included.

        Returns:
            Thousands of pelts of hare and lynx, shape (b, n, 2).

        Raises:
            BadValue: `theta` has another shape, is negative, NaN or infinite, or so extreme that
                the path cannot be followed; or n < 1.
        """
        logs = self._log_populations(theta, n)  # (b, n, 2)
        sigma = np.asarray(theta, dtype=np.float64)[:, None, 6:]  # (b, 1, 2)
        logs += sigma * expect_rng(rng).standard_normal(logs.shape)
        return _exp(logs)

    def populations(self, theta: Array, n: int | None = None) -> Array:
        """The populations u(t) and v(t), t = 0, ..., n - 1, which are the medians of the counts.

        Args:
            theta: The parameters in the order of the prior, shape (b, 8); the sigmas are not used.
            n: Number of years, year 0 included; the most of `years` if not given.

        Returns:
            Hares and lynx in thousands of pelts, shape (b, n, 2).

        Raises:
            BadValue: As `simulate`.
        """
        return _exp(self._log_populations(theta, self.data.n_range[1] if n is None else n))

    def log_likelihood(self, theta: Array, x: Any) -> Array:
        """Exact log likelihood, the sum over years and columns of log LogNormal(y; log z, sigma).

        Args:
            theta: The parameters in the order of the prior, shape (b, 8).
            x: One dataset for all rows of theta, or b datasets, one for each; in any form that
                `sbi_kit.data.read` takes, also of different n.

        Returns:
            Log likelihood in nats, shape (b,).

        Raises:
            BadValue: As `simulate`; or x holds values that are not positive, or neither 1 nor b
                datasets.

        >>> model = LotkaVolterra()
        >>> theta = [[0.547, 0.0277, 0.800, 0.0241, 34.04, 5.94, 0.248, 0.252]]
        >>> model.log_likelihood(theta, model.observed).round(2)
        array([-124.26])
        """
        datasets = read(x, self.data)
        pelts = np.where(datasets.mask[..., None], datasets.values, 1.0)  # (1 or b, n, 2)
        if (pelts <= 0).any():
            got = f"{pelts[pelts <= 0][0]:g}"
            raise BadValue("counts of pelts > 0", got, "leave out the years before or after it")
        mean = self._log_populations(theta, pelts.shape[1])  # (b, n, 2)
        expect_pairing(len(datasets), len(mean))
        sigma = np.asarray(theta, dtype=np.float64)[:, None, 6:]  # (b, 1, 2)
        y = np.log(pelts)
        with np.errstate(over="ignore"):  # a sigma near zero makes other data impossible
            terms = -0.5 * ((y - mean) / sigma) ** 2 - np.log(sigma) - y - 0.5 * math.log(2 * np.pi)
        total: Array = np.where(datasets.mask[..., None], terms, 0.0).sum(axis=(1, 2))
        return total

    def _log_populations(self, theta: Array, n: int) -> Array:
        """Logarithms of the populations, shape (b, n, 2)."""
        checked = expect_theta(theta, self.prior.names, ranges={**_RATES, **_SIZES})
        logs = np.empty((len(checked), expect_integer("n", n, low=1), 2))
        failed = _solve(np.array(checked[:, :6], order="C"), self.tolerance, logs)
        if failed >= 0:
            values = zip(self.prior.names[:6], checked[failed], strict=False)
            raise BadValue(
                f"parameters whose path takes at most {_STEPS_PER_YEAR} steps a year",
                f"{', '.join(f'{name} {value:g}' for name, value in values)} in row {failed}",
                "choose lower rates",
            )
        return logs


def _expect_mean_and_sd(name: str, value: Any) -> tuple[float, float]:
    """A pair of numbers, also from a list, as JSON has it."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise BadType(f"{name} as (mean, sd) of its prior", repr(value), "pass two numbers")
    mean = expect_number(f"mean of {name}", value[0])
    return mean, expect_number(f"sd of {name}", value[1], low=0, open_low=True)


def _exp(logs: Array) -> Array:
    """Values in thousands of pelts from their logarithms, which are overwritten."""
    return np.exp(np.clip(logs, *_LOG_RANGE, out=logs), out=logs)


@njit(cache=True, nogil=True, error_model="numpy")
def _solve(theta: Array, tolerance: float, logs: Array) -> int:
    """Fill `logs` (b, n, 2) with log u and log v, year by year.

    Returns the first row that could not be followed, or -1.
    """
    years = logs.shape[1]
    prey, predator, product = np.empty(_ORDER), np.empty(_ORDER), np.empty(_ORDER)
    for row in range(len(theta)):
        alpha, gamma = theta[row, 0], theta[row, 2]
        log_beta, log_delta = np.log(theta[row, 1]), np.log(theta[row, 3])  # -inf if the rate is 0
        a, b = math.log(theta[row, 4]), math.log(theta[row, 5])
        logs[row, 0] = a, b
        time, year, steps = 0.0, 1, 0
        while year < years:
            p, q = math.exp(log_beta + b), math.exp(log_delta + a)
            # In units of the fastest rate all coefficients are of order one or below.
            rate = max(alpha, gamma, p, q, _LEAST)
            steps += 1
            if not rate < np.inf or steps > _STEPS_PER_YEAR * (years - 1):
                return row
            growth, eaten, death, fed = alpha / rate, p / rate, gamma / rate, q / rate
            _expand(growth, eaten, death, fed, prey, predator, product)
            step = _step(eaten, fed, prey, predator, tolerance) / rate
            while year < years and year <= time + step:
                s = (year - time) * rate
                logs[row, year, 0] = a + growth * s - eaten * _integral(predator, s)
                logs[row, year, 1] = b - death * s + fed * _integral(prey, s)
                year += 1
            s = step * rate
            a += growth * s - eaten * _integral(predator, s)
            b += fed * _integral(prey, s) - death * s
            time += step
    return -1


@njit(cache=True, nogil=True, error_model="numpy")
def _expand(
    growth: float,
    eaten: float,
    death: float,
    fed: float,
    prey: Array,
    predator: Array,
    product: Array,
) -> None:
    """Taylor coefficients of U, V and W = U V, where U = V = 1 at the start."""
    product[:] = 0.0
    prey[0] = predator[0] = product[0] = 1.0
    for k in range(1, _ORDER):
        u = (growth * prey[k - 1] - eaten * product[k - 1]) * _OVER[k - 1]
        v = (fed * product[k - 1] - death * predator[k - 1]) * _OVER[k - 1]
        # Adding up all products of a new pair is faster than a convolution for each W_k.
        for j in range(min(k, _ORDER - k)):
            product[k + j] += u * predator[j] + v * prey[j]
        if 2 * k < _ORDER:
            product[2 * k] += u * v
        prey[k], predator[k] = u, v


@njit(cache=True, nogil=True, error_model="numpy")
def _step(eaten: float, fed: float, prey: Array, predator: Array, tolerance: float) -> float:
    """The step at which the last two terms of a and of b are within the tolerance."""
    step = _LONGEST_STEP
    for k in (_ORDER - 2, _ORDER - 1):
        last = max(eaten * abs(predator[k]), fed * abs(prey[k])) / (k + 1)
        if last > 0:
            step = min(step, (tolerance / last) ** (1 / (k + 1)))
    return step


@njit(cache=True, nogil=True, error_model="numpy")
def _integral(coefficients: Array, s: float) -> float:
    """Integral from 0 to s of the polynomial with these coefficients."""
    total = 0.0
    for k in range(_ORDER - 1, -1, -1):
        total = total * s + coefficients[k] * _OVER[k]
    return total * s
