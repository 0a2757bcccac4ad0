"""What the heads of a linear model minimise: losses of a predictor eta, convex and smooth.

Each gives the mean loss over rows and, row by row, its first two derivatives by eta:

- `Squared`: (y - eta)^2, for the mean of a standardised target;
- `Entropy`: log(1 + exp(eta)) - y eta, both halves of the binary cross-entropy, y 0 or 1;
- `Pinball`: tau u + h log(1 + exp(-u / h)) of the residual u = y - eta, which tends to the check
  loss max(tau u, (tau - 1) u) of the quantile tau as the bandwidth h falls to 0. It is that loss
  convolved with a logistic density of scale h (He, Pan, Tan & Zhou 2023, J. Econometrics 232:367).
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import expit

from sbi_kit.contracts import Array

_FLATTEST = 1e-4  # of the smoothed check loss: where no residual is small, it has no curvature


class Loss(Protocol):
    """A convex loss of a linear predictor."""

    @property
    def quadratic(self) -> bool:
        """Whether the second derivative is the same everywhere."""

    def value(self, eta: Array, y: Array) -> float:
        """Mean over rows."""

    def derivatives(self, eta: Array, y: Array) -> tuple[Array, Array]:
        """The first and the second of each row by eta, shapes (rows,)."""

    def constant(self, y: Array) -> float:
        """The eta that is best if it is the same in all rows."""


@dataclass(frozen=True)
class Squared:
    """Squared error."""

    quadratic = True

    def value(self, eta: Array, y: Array) -> float:
        return float(np.mean((y - eta) ** 2))

    def derivatives(self, eta: Array, y: Array) -> tuple[Array, Array]:
        return 2 * (eta - y), np.full(len(y), 2.0)

    def constant(self, y: Array) -> float:
        return float(y.mean())


@dataclass(frozen=True)
class Entropy:
    """Binary cross-entropy of labels 0 and 1; eta are the log odds of 1."""

    quadratic = False

    def value(self, eta: Array, y: Array) -> float:
        return float(np.mean(np.logaddexp(0, eta) - y * eta))

    def derivatives(self, eta: Array, y: Array) -> tuple[Array, Array]:
        p = expit(eta)
        return p - y, p * (1 - p)

    def constant(self, y: Array) -> float:
        share = y.mean()
        return float(np.log(share / (1 - share)))


@dataclass(frozen=True)
class Pinball:
    """Smoothed check loss of the quantile `tau`."""

    tau: float
    bandwidth: float

    quadratic = False

    def value(self, eta: Array, y: Array) -> float:
        u = y - eta
        return float(np.mean(self.tau * u + self.bandwidth * np.logaddexp(0, -u / self.bandwidth)))

    def derivatives(self, eta: Array, y: Array) -> tuple[Array, Array]:
        above = expit((eta - y) / self.bandwidth)
        curvature = np.maximum(above * (1 - above), _FLATTEST) / self.bandwidth
        return above - self.tau, curvature

    def constant(self, y: Array) -> float:
        return float(np.quantile(y, self.tau))
