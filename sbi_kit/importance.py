"""Importance correction: where the likelihood is known, draws are weighted to the exact posterior.

Draws theta of q(theta | x) stand for the posterior with weights p(x | theta) p(theta) / q(theta |
x). The largest weights are replaced by the quantiles of a Pareto law fitted to them (Vehtari,
Simpson, Gelman, Yao and Gabry 2024, JMLR 25:72); its shape k-hat tells whether the correction can
be trusted: below min(1 − 1 / log10 s, .7) for s draws. Weights move draws that are there, so a
posterior too narrow or in the wrong place gives a large k-hat, and nothing is corrected.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from sbi_kit.arviz_bridge import psis
from sbi_kit.checks import BadValue, expect_array, expect_integer
from sbi_kit.contracts import Array, Posterior, Prior
from sbi_kit.data import Datasets
from sbi_kit.seeds import numpy_stream

LogLikelihood: TypeAlias = Callable[[Array, Datasets], Array]
FEWEST = 100  # draws that a tail can be fitted to
_HIGHEST = 0.7  # k-hat above which no number of draws that anybody has suffices
_EQUAL = 1e-9  # nats by which weights differ that are equal but for rounding


@dataclass(frozen=True, eq=False)
class Correction:
    """Draws of b posteriors, weighted to the exact ones.

    Attributes:
        draws: The draws resampled by their weights, of equal weight, shape (b, s, d).
        weights: Smoothed weights of the draws that came in, each row of sum 1, shape (b, s).
        k_hat: Shape of the Pareto tail of the raw weights, shape (b,); the lower the better, 0
            where weights are equal, inf where too few draws have any weight.
        effective: Effective number of draws, 1 / sum of squared weights, shape (b,).
        mean: Weighted means, shape (b, d).
        sd: Weighted standard deviations, shape (b, d).
    """

    draws: Array
    weights: Array
    k_hat: Array
    effective: Array
    mean: Array
    sd: Array

    @property
    def limit(self) -> float:
        """The k-hat from which on a correction from so many draws is not reliable."""
        return min(1 - 1 / math.log10(self.weights.shape[1]), _HIGHEST)

    @property
    def reliable(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Whether each dataset's correction can be trusted, shape (b,)."""
        return np.asarray(self.k_hat < self.limit)

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        b, s = self.weights.shape
        bad = np.flatnonzero(~self.reliable)
        if not len(bad):
            worst = int(np.argmax(self.k_hat))
            found = f"k-hat {self.k_hat[worst]:.2f} at most, below {self.limit:.2f}"
            return (
                f"The correction is reliable ({found}); {s} draws are worth "
                f"{self.effective.min():.0f} or more."
            )
        return (
            f"The correction of {len(bad)} of {b} datasets is not reliable (k-hat "
            f"{self.k_hat[bad[0]]:.2f} in dataset {bad[0]}, not below {self.limit:.2f}): their "
            "posterior lacks part of the exact one, so train it longer or draw more."
        )


def correct(
    posterior: Posterior, x: Datasets, log_likelihood: LogLikelihood, *, draws: int, seed: int
) -> Correction:
    """Draw from a posterior and weight the draws by the likelihood.

    Args:
        posterior: Any posterior.
        x: The b observed datasets.
        log_likelihood: `log_likelihood(theta, x)`, theta (s, d) and one dataset to (s,), such as
            the method of that name of `simulators.influenza`.
        draws: Draws per dataset, s, at least 100.
        seed: Seed of the draws and of the resampling.

    Raises:
        BadValue: As for `weigh`, or an array that was returned has another shape.
        BadType: draws or seed is no integer.
    """
    s = expect_integer("draws", draws, low=FEWEST)
    shape = (len(x), s)
    fix = "correct the posterior"
    theta = posterior.sample(x, draws=s, seed=seed)
    theta = expect_array("draws", theta, (*shape, len(posterior.prior.names)), do=fix)
    log_q = expect_array("log_q", posterior.log_prob(theta, x), shape, do=fix)
    return correct_draws(posterior.prior, x, log_likelihood, theta=theta, log_q=log_q, seed=seed)


def correct_draws(
    prior: Prior,
    x: Datasets,
    log_likelihood: LogLikelihood,
    *,
    theta: Array,
    log_q: Array,
    seed: int,
) -> Correction:
    """Weight draws that are there already, as `correct` does.

    Args:
        prior: The posterior's prior.
        x: The b observed datasets.
        log_likelihood: `log_likelihood(theta, x)`, theta (s, d) and one dataset to (s,), such as
            the method of that name of `simulators.influenza`.
        theta: Draws of the posterior, shape (b, s, d), s at least 100.
        log_q: Their log density under the posterior, shape (b, s).
        seed: Seed of the resampling.

    Raises:
        BadValue: As for `weigh`, or log_likelihood returns an array of another shape.
    """
    fix = "return one number per row of theta"
    rows = [x.take(np.array([i])) for i in range(len(x))]
    likelihood = np.stack(
        [
            expect_array("log likelihood", log_likelihood(points, row), (len(points),), do=fix)
            for points, row in zip(theta, rows, strict=True)
        ]
    )
    return weigh(
        theta,
        log_q=log_q,
        log_prior=expect_array("log_prior", prior.log_prob(theta), log_q.shape, do="correct prior"),
        log_likelihood=likelihood,
        seed=seed,
    )


def weigh(
    theta: ArrayLike,
    *,
    log_q: ArrayLike,
    log_prior: ArrayLike,
    log_likelihood: ArrayLike,
    seed: int,
) -> Correction:
    """Weight draws whose densities are known.

    Args:
        theta: Draws of each of b posteriors, shape (b, s, d), s at least 100.
        log_q: Their log density under the posterior that they are of, shape (b, s).
        log_prior: Their log density under the prior, shape (b, s).
        log_likelihood: Log probability of the data of each, up to a constant, shape (b, s).
        seed: Seed of the resampling.

    Raises:
        BadValue: Shapes do not fit, there are fewer than 100 draws, log_q is not finite, or one of
            the others is NaN or inf.
        BadType: One of them holds something other than numbers.

    >>> z = np.random.default_rng(0).standard_normal((1, 4000, 1))
    >>> log_q, exact = -z[..., 0] ** 2 / 2, -((z[..., 0] - 0.5) ** 2)
    >>> found = weigh(z, log_q=log_q, log_prior=0 * exact, log_likelihood=exact, seed=1)
    >>> bool(found.reliable[0]), bool(abs(found.mean[0, 0] - 0.5) < 0.03)
    (True, True)
    """
    advice = "pass draws (b, s, d) and three arrays (b, s)"
    points = expect_array("theta", theta, ("b", "s", "d"), do=advice)
    b, s, _ = points.shape
    expect_integer("draws", s, low=FEWEST)
    raw = np.zeros((b, s))
    for name, term, sign in (
        ("log_q", log_q, -1.0),
        ("log_prior", log_prior, 1.0),
        ("log_likelihood", log_likelihood, 1.0),
    ):
        values = expect_array(name, term, (b, s), do=advice)
        # A draw may be impossible, but not under the density that it was drawn from.
        bad = np.isnan(values) | (values == np.inf) | ((values == -np.inf) & (sign < 0))
        if bad.any():
            row, column = np.argwhere(bad)[0]
            got = f"{values[row, column]} at draw {column} of dataset {row}"
            raise BadValue(f"{name} as logarithms of densities", got, f"correct {name}")
        raw += sign * values
    smoothed = [_smooth(row) for row in raw]
    weights = np.stack([weight for weight, _ in smoothed])
    return corrected(points, weights, np.array([shape for _, shape in smoothed]), seed=seed)


def corrected(theta: Array, weights: Array, k_hat: Array, *, seed: int) -> Correction:
    """The correction that smoothed weights are, such as those that `infer` notes of its draws.

    Args:
        theta: Draws of each of b posteriors, shape (b, s, d).
        weights: Their smoothed weights, each row of sum 1, shape (b, s).
        k_hat: Shape of the Pareto tail of the raw weights, shape (b,).
        seed: Seed of the resampling.
    """
    mean = np.einsum("bs,bsd->bd", weights, theta)
    squares = np.einsum("bs,bsd->bd", weights, (theta - mean[:, None]) ** 2)
    return Correction(
        draws=_resample(theta, weights, seed),
        weights=weights,
        k_hat=k_hat,
        effective=1 / np.square(weights).sum(axis=1),
        mean=mean,
        sd=np.sqrt(squares),
    )


def _smooth(log_weights: Array) -> tuple[Array, float]:
    """Smoothed weights (s,) of sum 1 of one dataset and their k-hat; -inf stands for weight 0."""
    s = len(log_weights)
    there = np.isfinite(log_weights)
    if not there.any():
        return np.full(s, 1 / s), math.inf
    shape, smoothed = math.inf, log_weights.copy()
    tail = np.sort(log_weights)[-math.ceil(min(s / 5, 3 * math.sqrt(s))) :]
    if tail[-1] - tail[0] < _EQUAL:
        shape = 0.0
    elif there.sum() >= FEWEST:
        smoothed[there], shape = psis(log_weights[there])
    weights = np.exp(smoothed - smoothed.max())
    return weights / weights.sum(), math.inf if math.isnan(shape) else shape


def _resample(theta: Array, weights: Array, seed: int) -> Array:
    """As many draws of equal weight, stratified and in random order, shape (b, s, d)."""
    b, s, _ = theta.shape
    drawn = np.empty_like(theta)
    for row in range(b):
        rng = numpy_stream(seed, "importance", row)
        cumulative = np.cumsum(weights[row])
        places = (rng.permutation(s) + rng.random(s)) / s * cumulative[-1]
        index = np.searchsorted(cumulative, places, side="right")
        drawn[row] = theta[row, np.minimum(index, s - 1)]
    return drawn
