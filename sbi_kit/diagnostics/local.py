"""Is a posterior right at the observed data? A local classifier two-sample test.

L-C2ST (Linhart, Gramfort and Rodrigues 2023, arXiv:2306.03580) trains a classifier to tell pairs of
held-out parameters and data (theta*, x) from pairs (theta, x) with theta drawn from q(theta | x),
and asks how far from undecided it is over draws at the observed data. A posterior may pass a
check of calibration, which is one on average over all data, and fail this one.

Here the classifier is that of least squares, locally weighted, so that it costs no more than the
draws: near the observed data it is linear in functions a(z) of z, the parameters whitened by
the draws of their own dataset. These are z, its products, and a few random cosines, which see what
moments do not. With r the excess of a(z) at the true parameters over its mean over draws, w the
weights of held-out datasets like the observed and S the covariance of a(z) over draws, the
classifier's mean square is

    (Σ w r)ᵀ S⁻¹ (Σ w r).

Were q exact, the true parameters could be exchanged with any draw of their dataset; doing so at
random gives the law of the statistic and an exact p-value, whatever the weights.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from sbi_kit.checks import (
    BadType,
    BadValue,
    expect_array,
    expect_finite,
    expect_integer,
    expect_number,
)
from sbi_kit.contracts import Array, Posterior
from sbi_kit.data import Datasets, read
from sbi_kit.diagnostics.ranks import ENOUGH, HeldOut, held_out_draws
from sbi_kit.seeds import numpy_stream

Features: TypeAlias = Callable[[Datasets], Array]
_EXCHANGED = 32  # draws of a dataset that may take the place of its true parameters
_COSINES = 8
_NUMBERS = 20  # of a dataset, up to which they are its features
_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_BLOCK = 2**22  # numbers in memory at a time: 32 MiB


@dataclass(frozen=True, eq=False)
class LocalCheck:
    """What a local check found at b observed datasets.

    Attributes:
        names: The d parameters.
        p_values: p-value at each dataset, uniform for an exact posterior, shape (b,).
        statistic: Mean square of the classifier, shape (b,).
        shift: By how many posterior sds true parameters lie above the posterior mean in held-out
            datasets like the observed, on average, shape (b, d).
        width: Root mean square of the same, 1 for an exact posterior, shape (b, d).
        effective: Effective number of held-out datasets like each observed one, shape (b,).
    """

    names: tuple[str, ...]
    p_values: Array
    statistic: Array
    shift: Array
    width: Array
    effective: Array

    @property
    def sentence(self) -> str:
        """The verdict on the dataset that looks worst, in words."""
        worst = int(np.argmin(self.p_values))
        p = min(1.0, self.p_values[worst] * len(self.p_values))
        like = f"p = {p:.2g}, {self.effective[worst]:.0f} held-out datasets like it"
        if p > 0.05:
            return f"No miscalibration found near the observed data ({like})."
        place = f" dataset {worst}" if len(self.p_values) > 1 else " the observed data"
        name = int(np.argmax(np.abs(self.shift[worst]) + np.abs(np.log(self.width[worst]))))
        return (
            f"Miscalibrated near{place} ({like}): true values of {self.names[name]} lie "
            f"{self.shift[worst, name]:+.2f} posterior sd off on average, and "
            f"{self.width[worst, name]:.2f} times as far as they should."
        )


def check_locally(
    posterior: Posterior,
    bank: HeldOut,
    x: Any,
    *,
    draws: int,
    seed: int,
    features: Features | None = None,
    share: float = 0.2,
    permutations: int = 999,
    context: Mapping[str, ArrayLike] | None = None,
) -> LocalCheck:
    """Judge a posterior near observed data, by held-out simulations like them.

    The cost is that of `draws` draws for each held-out dataset, and seconds beyond: 2,000 datasets
    with 100 draws take half a second beyond sampling.

    Args:
        posterior: Any posterior.
        bank: Usable held-out simulations it was not trained on, 100 at least; 2,000 are good.
        x: The b observed datasets, in any form that `sbi_kit.data.read` accepts; `Datasets` where
            neither bank nor posterior says, by `data`, what one looks like.
        draws: Draws per dataset, at least 2 d + 10.
        seed: Seed of the draws, the cosines and the exchanges.
        features: `features(x)`, datasets to (b, f), by which likeness is judged; None takes
            `summarise` and the means and log sds of the posterior itself, half of the weight each.
        share: Share of the held-out datasets that have weight; the more, the more power and the
            less local.
        permutations: Exchanges that the p-value compares with; it is 1 / (permutations + 1) at
            least.
        context: What is known of the observed datasets besides, by name.

    Raises:
        BadValue: The data do not fit the layout, the bank's parameters are not the posterior's,
            there are fewer than 100 simulations, features are not finite, or a number is out of
            its range.
        BadType: A number is none, or nothing says what data look like.
    """
    d = len(bank.prior.names)
    draws = expect_integer("draws", draws, low=2 * d + 10)
    permutations = expect_integer("permutations", permutations, low=1)
    share = expect_number("share", share, low=0.01, high=1.0)
    x = _observed(x, bank, posterior, context)
    known = np.asarray(bank.usable)
    if len(known) < ENOUGH:
        got = f"{len(known)} usable of those in the bank"
        raise BadValue(f"at least {ENOUGH} simulations", got, f"simulate {ENOUGH} or more")
    basis = _Basis.random(d, numpy_stream(seed, "local: cosines"))
    excess, spread, scores, moments = _held_out(posterior, bank, basis, draws, seed)
    if features is None:
        drawn = posterior.sample(x, draws=draws, seed=seed)
        parts = [(*_summaries(bank, x), 0.5), (moments, _moments(drawn), 0.5)]
    else:
        parts = [(*_featured(features, bank, x), 1.0)]
    weights = _weights(parts, share)
    statistic, p_values = _test(excess, spread, weights, permutations, seed)
    return LocalCheck(
        names=tuple(bank.prior.names),
        p_values=p_values,
        statistic=statistic,
        shift=weights @ scores,
        width=np.sqrt(weights @ scores**2),
        effective=1 / np.square(weights).sum(axis=1),
    )


def _observed(
    x: Any, bank: HeldOut, posterior: Posterior, context: Mapping[str, ArrayLike] | None
) -> Datasets:
    """The observed datasets, read by the layout of the bank, or else of the posterior."""
    layout = getattr(bank, "data", None) or getattr(posterior, "data", None)
    if layout is not None:
        return read(x, layout, context)
    if not isinstance(x, Datasets):
        do = "read them first, by sbi_kit.data.read"
        raise BadType("Datasets, as neither bank nor posterior has a layout", type(x).__name__, do)
    return x


def summarise(x: Datasets) -> Array:
    """Column means, sds, quantiles and shares missing, log n and context of b datasets, (b, f)."""
    rows = [_statistics(table) for table in x.each()]
    return np.column_stack([np.stack(rows), np.log(x.n), x.context])


@dataclass(frozen=True, eq=False)
class _Basis:
    """Functions a(z) that the classifier is linear in: z, its products and some cosines.

    Attributes:
        directions: Of the cosines, shape (d, c).
        phases: Of the cosines, shape (c,).
    """

    directions: Array
    phases: Array

    @classmethod
    def random(cls, d: int, rng: np.random.Generator) -> "_Basis":
        """A basis with random cosines of unit frequency and more."""
        return cls(1.5 * rng.normal(size=(d, _COSINES)), rng.uniform(0, 2 * np.pi, _COSINES))

    def __call__(self, z: Array) -> Array:
        """Values at z (..., d), shape (..., a)."""
        i, j = np.triu_indices(z.shape[-1])
        waves = np.cos(z @ self.directions + self.phases)
        return np.concatenate([z, z[..., i] * z[..., j], waves], axis=-1)


def _held_out(
    posterior: Posterior, bank: HeldOut, basis: _Basis, draws: int, seed: int
) -> tuple[Array, Array, Array, Array]:
    """What the test needs of N held-out datasets.

    Returns:
        The excess of a(z) over its mean, of the true parameters first and then of some draws,
        (N, 1 + e, a); the covariance of a(z) within datasets, (a, a); how many posterior sds the
        true parameters lie above the posterior mean, (N, d); the posterior's moments, (N, 2 d).
    """
    excess, scores, moments = [], [], []
    total, count = np.zeros(()), 0
    for theta, _, drawn in held_out_draws(posterior, bank, draws, seed):
        pool = np.concatenate([theta[:, None], drawn], axis=1)
        # Whitened by all, as below: leaving the true ones out would tell them from the draws.
        a = basis(_whitened(pool))
        a -= a.mean(axis=1, keepdims=True)
        total = total + np.einsum("bsi,bsj->ij", a, a)
        count += len(a) * draws
        excess.append(a[:, : 1 + _EXCHANGED].copy())
        sd = drawn.std(axis=1)
        scores.append((theta - drawn.mean(axis=1)) / np.where(sd > 0, sd, 1.0))
        moments.append(_moments(pool))
    return np.concatenate(excess), total / count, np.concatenate(scores), np.concatenate(moments)


def _whitened(pool: Array) -> Array:
    """Points (b, s, d) less their mean, over the root of their covariance."""
    z = pool - pool.mean(axis=1, keepdims=True)
    sd = z.std(axis=1, keepdims=True)
    z /= np.where(sd > 0, sd, 1.0)
    correlation = z.transpose(0, 2, 1) @ z / z.shape[1]
    # Parameters that follow from others must not divide by zero.
    factor = np.linalg.cholesky(correlation + 1e-6 * np.eye(z.shape[2]))
    return np.linalg.solve(factor, z.transpose(0, 2, 1)).transpose(0, 2, 1)


def _moments(drawn: Array) -> Array:
    """Means and log sds of draws (b, s, d), shape (b, 2 d)."""
    sd = drawn.std(axis=1)
    return np.concatenate([drawn.mean(axis=1), np.log(np.where(sd > 0, sd, 1.0))], axis=1)


def _summaries(bank: HeldOut, x: Datasets) -> tuple[Array, Array]:
    """Features of held-out and observed datasets: their numbers if these are few, or statistics."""
    known = bank.take(np.asarray(bank.usable))[1]
    sizes = {*known.n.tolist(), *x.n.tolist()}
    if len(sizes) > 1 or max(sizes) * x.values.shape[2] > _NUMBERS:
        return summarise(known), summarise(x)
    size = max(sizes)
    first, second = (
        np.column_stack([part.values[:, :size].reshape(len(part), -1), part.context])
        for part in (known, x)
    )
    return np.nan_to_num(first), np.nan_to_num(second)


def _statistics(table: Array) -> Array:
    there = np.isfinite(table)
    table = np.where(there.any(axis=0), table, 0.0)
    levels = np.nanquantile(table, _LEVELS, axis=0).ravel()
    missing = 1 - there.mean(axis=0)
    return np.concatenate([np.nanmean(table, axis=0), np.nanstd(table, axis=0), levels, missing])


def _featured(features: Features, bank: HeldOut, x: Datasets) -> tuple[Array, Array]:
    """The caller's features of held-out and observed datasets."""
    known = bank.take(np.asarray(bank.usable))[1]
    parts: list[Array] = []
    for datasets in (known, x):
        width: int | str = parts[0].shape[1] if parts else "f"
        fix = "return one row of features per dataset"
        part = expect_array("features", features(datasets), (len(datasets), width), do=fix)
        names = [str(i) for i in range(part.shape[1])]
        parts.append(expect_finite("features", part, names, do="leave out what is not finite"))
    return parts[0], parts[1]


def _weights(parts: list[tuple[Array, Array, float]], share: float) -> Array:
    """Weights of N held-out datasets at each of b observed ones, rows of sum 1, shape (b, N)."""
    squares: Array | float = 0.0
    for known, observed, weight in parts:
        low, center, high = np.quantile(known, [0.25, 0.5, 0.75], axis=0)
        scale = np.where(high > low, high - low, known.std(axis=0))
        scale = np.where(scale > 0, scale, 1.0)
        # A logarithm beyond the quartiles, so that no outlier decides what is near.
        one, two = (np.arcsinh((part - center) / scale) for part in (observed, known))
        squares = squares + weight * cdist(one, two, "sqeuclidean") / known.shape[1]
    squares = np.asarray(squares)
    nearest = min(max(ENOUGH // 5, round(share * squares.shape[1])), squares.shape[1] - 1)
    reach = np.partition(squares, nearest, axis=1)[:, nearest, None] * (1 + 1e-9)
    reach = np.maximum(reach, np.finfo(np.float64).tiny)
    weights = np.maximum(0.0, 1 - squares / reach) ** 2
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _test(
    excess: Array, spread: Array, weights: Array, permutations: int, seed: int
) -> tuple[Array, Array]:
    """The statistic and its p-value at each of b observed datasets, shapes (b,)."""
    power, directions = np.linalg.eigh(spread)
    kept = power > 1e-6 * power[-1]
    white = excess @ (directions[:, kept] / np.sqrt(power[kept]))  # (N, 1 + e, a)
    statistic, p_values = np.empty(len(weights)), np.empty(len(weights))
    for row, weight in enumerate(weights):
        rng = numpy_stream(seed, "local: exchanges", row)
        near = np.flatnonzero(weight)
        points, rows = white[near], np.arange(len(near))
        found = np.square(weight[near] @ points[:, 0]).sum()
        larger, size = 1, max(1, _BLOCK // points[:, 0].size)
        for start in range(0, permutations, size):
            count = min(size, permutations - start)
            picks = rng.integers(points.shape[1], size=(count, len(near)))
            exchanged = np.einsum("k,hka->ha", weight[near], points[rows, picks])
            larger += int(np.sum(np.square(exchanged).sum(axis=1) >= found * (1 - 1e-12)))
        statistic[row], p_values[row] = found, larger / (permutations + 1)
    return statistic, p_values
