"""The probability of a one among zeros and ones.

With s ones among n, log p(y | π) = s log π + (n − s) log(1 − π). Its score, Σ (y − π) / π(1 − π),
is zero at π = s / n, and the information there is n / π(1 − π). Wilson's interval (1927, J. Am.
Stat. Assoc. 22:209) holds every probability that is within z of its own standard errors of s / n,
|s/n − p| <= z √(p(1 − p) / n): it is inside [0, 1] and of sensible width also where all
observations are the same and the standard error says nothing.
"""

import math
import warnings
from typing import Self

import numpy as np
from scipy.special import ndtri, xlog1py, xlogy

from sbi_kit.checks import BadValue, expect_number
from sbi_kit.contracts import Array
from sbi_kit.mle.columns import Column, expect_fitted, read_column
from sbi_kit.mle.estimate import Estimate
from sbi_kit.prior import Prior, Uniform


class Bernoulli:
    """Maximum likelihood for zeros and ones.

    Args:
        level: Probability that the interval is to hold the truth with, above 0 and below 1.

    Attributes:
        probability_: π, the share of ones.
        standard_error_: √(π(1 − π) / n); NaN where all observations are the same.
        interval_: Wilson's interval.
        log_likelihood_: At π, in nats.
        estimate_: All of this as an `Estimate`, with π bounded to (0, 1).

    >>> coin = Bernoulli().fit([1, 1, 0, 1])
    >>> coin.probability_, round(coin.standard_error_, 4)
    (0.75, 0.2165)
    """

    probability_: float
    standard_error_: float
    interval_: tuple[float, float]
    log_likelihood_: float
    estimate_: Estimate

    def __init__(self, *, level: float = 0.95) -> None:
        self.level = level

    def fit(self, y: Column) -> Self:
        """Learn from zeros and ones (n,); warns where they are all the same.

        Raises:
            BadValue: There is none, or something else among them; or level is out of range.
            BadType: They are no numbers.
        """
        level = expect_number("level", self.level, low=0.0, high=1.0, open_low=True)
        if level == 1.0:
            raise BadValue("level below 1", "1", "choose one like 0.95")
        flips = read_binary(y)
        n, share = len(flips), float(flips.mean())
        z = float(ndtri(0.5 + level / 2))
        middle, spread = share + z**2 / (2 * n), share * (1 - share) / n + z**2 / (4 * n**2)
        half, shrink = z * math.sqrt(spread), 1 + z**2 / n
        self.interval_ = max(0.0, (middle - half) / shrink), min(1.0, (middle + half) / shrink)
        self.probability_ = share
        self.standard_error_ = math.sqrt(share * (1 - share) / n) if 0 < share < 1 else math.nan
        self.log_likelihood_ = self.log_likelihood(flips)
        self.estimate_ = Estimate(
            names=("probability",),
            values=np.array([share]),
            covariance=np.array([[self.standard_error_**2]]),
            log_likelihood=self.log_likelihood_,
            converged=0 < share < 1,
            gradients="closed form",
            prior=Prior(probability=Uniform(0, 1)),
        )
        if share in (0, 1):
            warnings.warn(
                f"All {n} observations are {share:.0f}, so the likelihood is largest at the bound "
                "and there is no standard error; use interval_.",
                UserWarning,
                stacklevel=2,
            )
        return self

    def log_prob(self, y: Column) -> Array:
        """Log probability of each of zeros and ones (n,), shape (n,)."""
        expect_fitted(self, "probability_")
        flips = read_binary(y)
        ones, zeros = xlogy(flips, self.probability_), xlog1py(1 - flips, -self.probability_)
        return np.asarray(ones + zeros, dtype=np.float64)

    def log_likelihood(self, y: Column) -> float:
        """The sum of `log_prob`, in nats."""
        return float(self.log_prob(y).sum())


def read_binary(y: Column, n: int | str = "n") -> Array:
    """Zeros and ones (n,) as float64.

    Raises:
        BadValue: There is none, or another number of them than n, or something else among them.
        BadType: They are no numbers.
    """
    values = read_column("y", y, n)
    other = (values != 0) & (values != 1)
    if other.any():
        row = int(np.argmax(other))
        advice = "code the two classes as 0 and 1"
        raise BadValue("y of zeros and ones", f"{values[row]:g} at row {row}", advice)
    return values
