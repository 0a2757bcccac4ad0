"""Influenza in an English boarding school, 1978: a deterministic epidemic, counted with noise.

Susceptible and infected boys follow the SIR model (Kermack & McKendrick 1927),

    S' = -beta S I / N,   I' = beta S I / N - gamma I,   I(0) = I_0,   S(0) = N - I_0,

and the number in bed on day t = 1, 2, ... is negative binomial with mean I(t) and variance
I(t) + I(t)^2 / phi. Model and priors are those of Grinsztajn, Semenova, Margossian & Riou (2021),
"Bayesian workflow for disease transmission modeling in Stan", doi:10.1002/sim.9164:

    beta ~ N+(2, 1),   gamma ~ N+(0.4, 0.5),   1 / phi ~ Exp(5).

In logarithms the equations are a Hamiltonian system whose two halves are each solved exactly,
S <- S exp(-h beta I / N) and I <- I exp(h (beta S / N - gamma)). Composing them to sixth order
(Blanes & Moan 2002, J. Comput. Appl. Math. 142:313, scheme S10) keeps both positive, and at six
steps a day it is within 1e-6 of the solution, relatively, up to beta = 6 per day.
"""

import csv
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

import numpy as np
from scipy.special import gammaln, xlogy

from sbi_kit.checks import (
    BadValue,
    expect_integer,
    expect_number,
    expect_pairing,
    expect_rng,
    expect_theta,
)
from sbi_kit.contracts import Array
from sbi_kit.data import Series, read
from sbi_kit.prior import Exponential, Prior, TruncatedNormal

# Blanes & Moan (2002), table 2, S10: fractions of a step for S and, in between, for I.
_S = [0.0502627644003922, 0.413514300428344, 0.0450798897943977]
_S += [-0.188054853819569, 0.541960678450780]
_I = [0.148816447901042, -0.132385865767784, 0.067307604692185, 0.432666402578175]
_I += [0.5 - sum(_I)]
_S_FRACTIONS = np.array([*_S, 1 - 2 * sum(_S), *_S[::-1]])
_I_FRACTIONS = np.array([*_I, *_I[::-1]])

_ROWS_IN_CACHE = 4_096
_LEAST_PHI_INV = 1e-12  # indistinguishable from Poisson, and 1 / phi_inv stays finite


@dataclass(frozen=True, kw_only=True)
class Influenza:
    """An outbreak in a closed population, observed once a day.

    Parameters: `beta`, infections per infected boy and day in a wholly susceptible school;
    `gamma`, recoveries per infected boy and day; `phi_inv`, over-dispersion of the counts, without
    unit, 0 for Poisson. All are positive. The one column is `in_bed`, a count per day.

    Args:
        population: Size N of the school, at least 2.
        days: Days observed, fixed or (fewest, most) for an outbreak that may still be going on.
        initial_infected: Infected on day 0, the day before the first count; above 0, below N.
        beta_mean: Mean of the normal, before truncation at 0, that is the prior of beta [1/day].
        beta_sd: Its standard deviation [1/day], above 0.
        gamma_mean: The same for gamma [1/day].
        gamma_sd: Its standard deviation [1/day], above 0.
        phi_inv_rate: Rate of the exponential prior of phi_inv, above 0.
        steps_per_day: Integration steps; in proportion more for rates beyond 6 per day.

    Raises:
        BadValue: An argument is outside its range.
        BadType: It is not a number.

    >>> model = Influenza()
    >>> theta = np.array([[1.74, 0.54, 0.14]])
    >>> model.infected(theta)[0, [0, 5, 13]].round(2)
    array([  3.3 , 246.49,  14.55])
    >>> model.simulate(theta, np.random.default_rng(0), 14).shape
    (1, 14, 1)
    """

    population: int = 763
    days: int | tuple[int, int] = 14
    initial_infected: float = 1.0
    beta_mean: float = 2.0
    beta_sd: float = 1.0
    gamma_mean: float = 0.4
    gamma_sd: float = 0.5
    phi_inv_rate: float = 5.0
    steps_per_day: int = 6

    def __post_init__(self) -> None:
        expect_integer("population", self.population, low=2)
        expect_integer("steps_per_day", self.steps_per_day, low=1)
        infected = expect_number("initial_infected", self.initial_infected, low=0, open_low=True)
        if infected >= self.population:
            raise BadValue(
                f"initial_infected below the population of {self.population}",
                f"{infected:g}",
                "leave someone susceptible",
            )
        for mean in ("beta_mean", "gamma_mean"):
            expect_number(mean, getattr(self, mean))
        for scale in ("beta_sd", "gamma_sd", "phi_inv_rate"):
            expect_number(scale, getattr(self, scale), low=0, open_low=True)
        object.__setattr__(self, "days", self.data.n)

    @property
    def units(self) -> dict[str, str]:
        """Units of what has one."""
        return {"beta": "1/day", "gamma": "1/day", "in_bed": "boys", "time": "day"}

    @cached_property
    def prior(self) -> Prior:
        """Independent priors of beta, gamma and phi_inv."""
        return Prior(
            beta=TruncatedNormal(self.beta_mean, self.beta_sd, low=0.0),
            gamma=TruncatedNormal(self.gamma_mean, self.gamma_sd, low=0.0),
            phi_inv=Exponential(self.phi_inv_rate),
        )

    @cached_property
    def data(self) -> Series:
        """A series of daily counts."""
        return Series(columns=("in_bed",), n=self.days, nested=True)

    @cached_property
    def observed(self) -> Array:
        """Boys in bed, 22 January to 4 February 1978, shape (14, 1); fewer if `days` are fewer.

        From Anonymous (1978), "Influenza in a boarding school", British Medical Journal 1:587, as
        in the R package `outbreaks`; `simulators/data/influenza_1978.md` has the details.
        """
        table = files("simulators").joinpath("data", "influenza_1978.csv").read_text("utf-8")
        counts = [float(row["in_bed"]) for row in csv.DictReader(table.splitlines())]
        return np.array(counts)[: self.data.n_range[1], None]

    def simulate(self, theta: Array, rng: np.random.Generator, n: int) -> Array:
        """Simulate the counts of the first n days.

        Args:
            theta: beta, gamma, phi_inv, shape (b, 3).
            rng: Source of all randomness.
            n: Number of days.

        Returns:
            Counts, shape (b, n, 1).

        Raises:
            BadValue: `theta` has another shape, or is negative, NaN or infinite; or n < 1.
        """
        expect_rng(rng)
        mean = self.infected(theta, n)  # (b, n)
        phi_inv = np.maximum(np.asarray(theta, dtype=np.float64)[:, 2:], _LEAST_PHI_INV)  # (b, 1)
        # A Poisson variable whose mean is gamma distributed is negative binomial.
        mean *= phi_inv * rng.standard_gamma(1 / phi_inv, size=mean.shape)
        return rng.poisson(mean)[..., None].astype(np.float64)

    def infected(self, theta: Array, n: int | None = None) -> Array:
        """The expected counts I(1), ..., I(n).

        Args:
            theta: beta, gamma, phi_inv (not used), shape (b, 3).
            n: Number of days; the most of `days` if not given.

        Returns:
            Infected boys, shape (b, n).

        Raises:
            BadValue: As `simulate`, or the steps are too long for so fast an epidemic.
        """
        rates = expect_theta(
            theta, self.prior.names, ranges=dict.fromkeys(self.prior.names, (0.0, np.inf))
        )
        days = expect_integer("n", self.data.n_range[1] if n is None else n, low=1)
        curves = np.empty((len(rates), days))
        for start in range(0, len(rates), _ROWS_IN_CACHE):
            rows = slice(start, start + _ROWS_IN_CACHE)
            self._integrate(rates[rows, 0], rates[rows, 1], curves[rows])
        if not np.isfinite(curves).all():
            row = int(np.argmin(np.isfinite(curves).all(axis=1)))
            raise BadValue(
                "rates that the integration can follow",
                f"beta {rates[row, 0]:g} and gamma {rates[row, 1]:g} per day in row {row}",
                f"raise steps_per_day above {self.steps_per_day}",
            )
        return curves

    def _integrate(self, beta: Array, gamma: Array, curves: Array) -> None:
        """Fill `curves` (b, days) with I at the end of each day."""
        step = 1 / self.steps_per_day
        s_rate = -step * np.outer(_S_FRACTIONS, beta / self.population)  # (11, b)
        i_rate = step * np.outer(_I_FRACTIONS, beta / self.population)  # (10, b)
        recovery = step * np.outer(_I_FRACTIONS, gamma)  # (10, b)
        susceptible = np.full(len(beta), self.population - float(self.initial_infected))
        infected = np.full(len(beta), float(self.initial_infected))
        factor = np.empty(len(beta))
        # Written out in place: the calls, not the arithmetic, are the cost at a few hundred rows.
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for day in range(curves.shape[1]):
                for _ in range(self.steps_per_day):
                    for s_part, i_part, decay in zip(s_rate, i_rate, recovery, strict=False):
                        np.exp(np.multiply(s_part, infected, out=factor), out=factor)
                        np.multiply(susceptible, factor, out=susceptible)
                        np.multiply(i_part, susceptible, out=factor)
                        np.exp(np.subtract(factor, decay, out=factor), out=factor)
                        np.multiply(infected, factor, out=infected)
                    np.exp(np.multiply(s_rate[-1], infected, out=factor), out=factor)
                    np.multiply(susceptible, factor, out=susceptible)
                curves[:, day] = infected

    def log_likelihood(self, theta: Array, x: Any) -> Array:
        """Exact log likelihood, the sum over days of log NegBin(x_t; mean I(t), phi).

        Args:
            theta: beta, gamma, phi_inv, shape (b, 3).
            x: One dataset for all rows of theta, or b datasets, one for each; in any form that
                `sbi_kit.data.read` takes, also of different n.

        Returns:
            Log likelihood in nats, shape (b,).

        Raises:
            BadValue: As `simulate`; or x holds other than counts, or neither 1 nor b datasets.

        >>> model = Influenza()
        >>> model.log_likelihood([[1.7266, 0.5410, 1 / 11.97]], model.observed).round(3)
        array([-60.835])
        """
        datasets = read(x, self.data)
        counts = datasets.values[..., 0]  # (1 or b, n)
        if (counts < 0).any() or (counts % 1 != 0).any():
            bad = counts[(counts < 0) | (counts % 1 != 0)][0]
            raise BadValue("whole counts >= 0 in column 'in_bed'", f"{bad:g}", "pass raw counts")
        mean = self.infected(theta, counts.shape[1])  # (b, n)
        expect_pairing(len(datasets), len(mean))
        terms = _log_negative_binomial(counts, mean, np.asarray(theta, dtype=np.float64)[:, 2:])
        total: Array = np.where(datasets.mask, terms, 0.0).sum(axis=1)
        return total

    @staticmethod
    def basic_reproduction_number(theta: Array) -> Array:
        """R_0 = beta / gamma, infections by one boy in a susceptible school: (..., 3) to (...).

        >>> Influenza.basic_reproduction_number([1.5, 0.5, 0.1])
        np.float64(3.0)
        """
        rates = np.asarray(theta, dtype=np.float64)
        with np.errstate(divide="ignore"):
            return np.divide(rates[..., 0], rates[..., 1])


def _log_negative_binomial(count: Array, mean: Array, phi_inv: Array) -> Array:
    """Log mass at `count` for the given mean and variance mean + phi_inv mean^2."""
    phi = 1 / np.maximum(phi_inv, _LEAST_PHI_INV)
    # log Gamma(count + phi) - log Gamma(phi) - count log phi, by Stirling's series where the
    # difference of the two logarithms would cancel.
    large = np.maximum(phi, 1e3)
    stirling = (count + large - 0.5) * np.log1p(count / large) - count
    stirling += (1 / (count + large) - 1 / large) / 12
    direct = gammaln(count + phi) - gammaln(phi) - count * np.log(phi)
    ratio = np.where(phi < 1e3, direct, stirling)
    total: Array = (
        ratio - gammaln(count + 1) + xlogy(count, mean) - (count + phi) * np.log1p(mean / phi)
    )
    return total
