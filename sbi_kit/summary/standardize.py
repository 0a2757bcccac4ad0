"""Robust standardisation: measured columns of any scale and tail become features of order one.

A column is centred by its median and scaled by its quartiles, and grows like a logarithm beyond
five units, so no outlier dominates. A heavy-tailed column (counts over decades, say) is shown a
second time on a logarithmic scale. A value that is missing, NaN, becomes 0 in both views; where
that may happen, one more feature is 1 where there is a value and 0 where there is none. All of it
happens in float64, before the networks' float32 could lose a small spread beside a large offset.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from sbi_kit.contracts import Array, IntArray
from sbi_kit.summary.soft import LINEAR

_HEAVY = 6.0  # tail ratio above which a column is heavy-tailed: 3.8 normal, 6.6 exponential
_WIDE = 5.0  # ratio of large to small values above which a column of one sign is shown as logarithm
_ENOUGH = 500_000  # values whose quantiles are as good as those of all


@dataclass(frozen=True)
class Standardizer:
    """The map from k columns to k + m + p features; `fit_standardizer` makes one.

    Attributes:
        center: Median of each column, shape (k,).
        scale: Robust spread of each column, shape (k,).
        heavy: The m columns that are also shown on a logarithmic scale.
        origin: Where their logarithmic scale is centred, shape (m,).
        unit: Where it turns from linear to logarithmic, shape (m,).
        log_center: Mean of the logarithmic view, shape (m,).
        log_scale: Standard deviation of the logarithmic view, shape (m,).
        missable: The p columns whose values may be missing.
        order: Which feature stands where; empty if they stay as they are, first all linear views,
            then all logarithmic ones, then what tells which values are there.
    """

    center: Array
    scale: Array
    heavy: IntArray
    origin: Array
    unit: Array
    log_center: Array
    log_scale: Array
    missable: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    order: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def columns(self) -> int:
        """Number of columns, k."""
        return len(self.center)

    @property
    def features(self) -> int:
        """Number of features, k + m + p."""
        return self.features_from(0)

    def features_from(self, column: int) -> int:
        """Number of features made of this column and those after it."""
        more = int(np.sum(self.heavy >= column)) + int(np.sum(self.missable >= column))
        return len(self.center) - column + more

    def __call__(self, values: Array) -> NDArray[np.float32]:
        """Features (..., k + m + p) of values (..., k)."""
        linear = (values - self.center) / self.scale
        logarithmic = np.arcsinh((values[..., self.heavy] - self.origin) / self.unit)
        logarithmic = (logarithmic - self.log_center) / self.log_scale
        features = _softened(np.concatenate([linear, logarithmic], axis=-1))
        if len(self.missable):
            there = ~np.isnan(values[..., self.missable])
            features = np.concatenate([np.where(np.isnan(features), 0.0, features), there], -1)
        return (features[..., self.order] if len(self.order) else features).astype(np.float32)

    @property
    def zero(self) -> Array:
        """What zero becomes in each linear view, and -inf for all other features, (k + m + p,)."""
        linear = _softened(-self.center / self.scale)
        others = np.full(self.features - len(linear), -np.inf)
        zero = np.concatenate([linear, others])
        return zero[self.order] if len(self.order) else zero

    def repeated(self, columns: int) -> "Standardizer":
        """The map of one column, for that many alike: first all linear views, then all others."""
        parts = {name: np.repeat(array, columns) for name, array in vars(self).items()}
        for name in ("heavy", "missable"):
            parts[name] = np.arange(columns * len(vars(self)[name]))
        return Standardizer(**parts)

    def beside(self, other: "Standardizer") -> "Standardizer":
        """The map of this one's columns and then the other's: all features of these, then those."""
        k = len(self.center)
        parts = {
            name: np.concatenate([mine, getattr(other, name)]) for name, mine in vars(self).items()
        }
        for name in ("heavy", "missable"):
            parts[name][len(getattr(self, name)) :] += k
        # Features by kind, as they come: those of the first map are to stand before the second's.
        kinds = [(len(a.center), len(a.heavy), len(a.missable)) for a in (self, other)]
        whose = np.concatenate([np.repeat([0, 1], counts) for counts in zip(*kinds, strict=True)])
        return Standardizer(**{**parts, "order": np.argsort(whose, kind="stable")})

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The attributes by name, to be saved; `Standardizer(**arrays)` is the inverse."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def fit_standardizer(values: Array, missable: Sequence[int] | IntArray = ()) -> Standardizer:
    """Learn the standardisation of values (rows, k); constant columns become zeros.

    Args:
        values: Columns to standardise; what is NaN is left out.
        missable: Places of the columns whose values may be missing.
    """
    sample = values[:: max(1, len(values) // _ENOUGH)]
    quantile, mean, std = np.quantile, np.mean, np.std
    if np.isnan(sample).any():
        quantile, mean, std = np.nanquantile, np.nanmean, np.nanstd
        sample = np.where(np.isnan(sample).all(axis=0), 0.0, sample)
    low, center, high = quantile(sample, [0.25, 0.5, 0.75], axis=0)
    sd = std(sample, axis=0)
    scale = _spread(low, high, sd)
    heavy = np.flatnonzero(_heavy(sample, low, center, high, quantile))
    origin, unit, log_center, log_scale = _log_view(sample[:, heavy], center[heavy], mean, std)
    return Standardizer(
        center=center,
        scale=scale,
        heavy=heavy,
        origin=origin,
        unit=unit,
        log_center=log_center,
        log_scale=log_scale,
        missable=np.array(missable, dtype=np.int64),
    )


def fit_views(values: Array) -> dict[str, Array]:
    """The scale on which every column of values (rows, k) is shown, each array of shape (k,).

    `wide` is 1 for columns that differ by orders of magnitude, which are shown as
    arsinh((values - origin) / unit), and 0 for all others, which stay as they are; `center` and
    `scale` standardise what is shown.
    """
    low, center, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
    small, large = np.quantile(np.abs(values), [0.05, 0.95], axis=0)
    crossing = (values < 0).any(axis=0) & (values > 0).any(axis=0)
    wide = np.where(crossing, _heavy(values, low, center, high, np.quantile), large > _WIDE * small)
    origin, unit, log_center, log_scale = _log_view(values, center, np.mean, np.std)
    return {
        "wide": wide.astype(np.float64),
        "origin": origin,
        "unit": unit,
        "center": np.where(wide, log_center, center),
        "scale": np.where(wide, log_scale, _spread(low, high, values.std(axis=0))),
    }


def constant_columns(values: Array, names: Sequence[str]) -> list[str]:
    """Names of the columns of values (rows, k) that never change, or have no value at all."""
    constant = (values == values[:1]).all(axis=0) | np.isnan(values).all(axis=0)
    return [name for name, same in zip(names, constant, strict=True) if same]


def _heavy(
    values: Array, low: Array, center: Array, high: Array, quantile: Callable[..., Array]
) -> NDArray[np.bool_]:
    """Which columns (rows, k) have tails much longer than the half of the values inside."""
    edges = quantile(values, [0.005, 0.995], axis=0)
    tail = np.maximum(center - edges[0], edges[1] - center)
    heavy: NDArray[np.bool_] = tail > _HEAVY * (high - low) / 2 + 1e-12 * np.abs(center)
    return heavy


def _log_view(
    values: Array, center: Array, mean: Callable[..., Array], std: Callable[..., Array]
) -> tuple[Array, Array, Array, Array]:
    """Origin, unit, log_center and log_scale of columns (rows, k) with these medians."""
    origin, unit = _log_axes(values, center)
    logarithmic = np.arcsinh((values - origin) / unit)
    log_scale = _first_positive(std(logarithmic, axis=0), np.ones_like(center))
    return origin, unit, mean(logarithmic, axis=0), log_scale


def _log_axes(values: Array, center: Array) -> tuple[Array, Array]:
    """Origin and unit of each column: zero if all of it is on one side of zero, else its median."""
    origin = np.where((values < 0).any(axis=0) & (values > 0).any(axis=0), center, 0.0)
    sizes = np.abs(values - origin)
    unit = [np.quantile(s[s > 0], 0.05) if (s > 0).any() else 1.0 for s in sizes.T]
    return origin, np.array(unit, dtype=np.float64)


def _spread(low: Array, high: Array, sd: Array) -> Array:
    """Scale by the quartiles; a column that is mostly one value (zeros, say) has none to go by."""
    return _first_positive((high - low) / 1.349, sd, np.ones_like(sd))


def _first_positive(*candidates: Array) -> Array:
    """Element by element the first candidate that is above zero."""
    chosen = candidates[-1]
    for candidate in reversed(candidates[:-1]):
        chosen = np.where(candidate > 0, candidate, chosen)
    return chosen


def _softened(features: Array) -> Array:
    """Features in place, logarithmic beyond the linear range."""
    size = np.abs(features)
    beyond = size > LINEAR  # few, and their logarithms are the dearest part
    features[beyond] = np.sign(features[beyond]) * (LINEAR + np.log1p(size[beyond] - LINEAR))
    return features
