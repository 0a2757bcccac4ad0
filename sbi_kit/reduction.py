"""From datasets to the few numbers that approximate Bayesian computation compares.

Summaries of a dataset are scaled and then projected to one number per parameter, the regression of
the whitened parameters u on the summaries, their squares, what is known exactly (the size of a
dataset, its context) and products with that: an estimate of the posterior mean, the summary that
loses least of it (semi-automatic ABC; Fearnhead and Prangle 2012, JRSS B 74:419). Each is in units
of its residual, so that a parameter which the data say nothing about does not count in a distance.
What is known exactly stands beside them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sbi_kit.checks import BadValue, expect_array
from sbi_kit.context import names_of
from sbi_kit.contracts import Array, IntArray
from sbi_kit.data import AnyLayout, Datasets, Matrix, Vector
from sbi_kit.discrepancies import defaults

SummaryFunction: TypeAlias = Callable[..., Any]

_TOGETHER = 500_000  # observations that are summarised in one call
_MOST_PAIRS = 10  # columns whose correlations are among the standard summaries
_RIDGES = 1e-10, 1.0  # smallest and largest, of the largest variance along a direction
_REACH = 8.0  # sds beyond which a summary is taken for this far


@dataclass(frozen=True, eq=False)
class Reduction:
    """The map from datasets to k numbers; `fit_reduction` makes one.

    Attributes:
        data: The layout of one dataset.
        function: The summaries of datasets of one size; None stands for the standard ones.
        counts: Which columns hold counts, shape (columns,).
        center: Median of each of p summaries, which also stands for NaN, shape (p,).
        scale: Their spread, shape (p,).
        intercept: Of the projection, shape (d,); empty where there is none.
        slopes: Of the projection on summaries, their squares, what is known and products with it,
            shape (2 p + e + e p, d); empty where there is none.
        known_center: Mean of log n, where n varies, and of the context, shape (e,).
        known_scale: Their sd, shape (e,).
    """

    data: AnyLayout
    function: SummaryFunction | None
    counts: NDArray[np.bool_]
    center: Array
    scale: Array
    intercept: Array
    slopes: Array
    known_center: Array
    known_scale: Array

    def __call__(self, x: Datasets) -> Array:
        """The numbers of b datasets, shape (b, k)."""
        raw = summaries_of(x, self.data, self.function, self.counts)
        if raw.shape[1] != len(self.center):
            raise BadValue(
                f"{len(self.center)} summaries, as of the simulations",
                f"{raw.shape[1]}",
                "return as many whatever the data",
            )
        return self.reduce(raw, known_of(x, self.data))

    def reduce(self, raw: Array, known: Array) -> Array:
        """The numbers (b, k) of datasets with summaries raw (b, p) and known quantities (b, e)."""
        z = _scaled(raw, self.center, self.scale)
        beside = (known - self.known_center) / self.known_scale
        if self.slopes.size:
            z = self.intercept + _terms(z, beside) @ self.slopes
        return np.concatenate([z, beside], axis=1)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays by name, to be saved."""
        kept = [field.name for field in fields(self) if field.name not in ("data", "function")]
        return {name: getattr(self, name) for name in kept}


def fit_reduction(
    chunks: Iterable[Datasets],
    u: Array,
    layout: AnyLayout,
    function: SummaryFunction | None,
    *,
    semi_automatic: bool,
) -> tuple[Reduction, Array]:
    """Learn scales and projection from simulations.

    Args:
        chunks: N simulated datasets, some at a time.
        u: Their whitened parameters, shape (N, d).
        layout: What one dataset looks like.
        function: Maps datasets of one size, shape (r, n, columns), or (r, columns) of a `Vector`,
            to summaries (r, p); where there is a context, it is passed as `context=`, a mapping.
        semi_automatic: Whether to project to one number per parameter.

    Returns:
        The reduction, and the numbers of all simulations, shape (N, k).

    Raises:
        BadValue: The function returns another shape, or no summary ever changes.
    """
    counts: NDArray[np.bool_] | None = None
    parts, others = [], []
    for x in chunks:
        counts = _counts(x) if counts is None else counts  # as the first of them look
        parts.append(summaries_of(x, layout, function, counts))
        others.append(known_of(x, layout))
    widths = sorted({part.shape[1] for part in parts})
    if counts is None or len(widths) > 1:
        got = " and ".join(map(str, widths)) or "no simulations"
        raise BadValue("one number of summaries", got, "return as many whatever the data")
    raw, known = np.concatenate(parts), np.concatenate(others)
    center, scale = _spread(raw)
    mean, sd = known.mean(axis=0), known.std(axis=0)
    sd[sd == 0] = 1.0
    intercept, slopes = np.zeros(0), np.zeros((0, 0))
    if semi_automatic:
        terms = _terms(_scaled(raw, center, scale), (known - mean) / sd)
        intercept, slopes = _project(terms, u)
    made = Reduction(layout, function, counts, center, scale, intercept, slopes, mean, sd)
    return made, made.reduce(raw, known)


def summaries_of(
    x: Datasets, layout: AnyLayout, function: SummaryFunction | None, counts: NDArray[np.bool_]
) -> Array:
    """Summaries of b datasets, those of one size at a time, shape (b, p)."""
    found: Array | None = None
    for rows, size in _of_one_size(x.n):
        values = x.values[rows, :size]
        if function is None:
            part = _standard(values, layout, counts)
        else:
            context = dict(zip(names_of(layout), x.context[rows].T, strict=True))
            given = values[:, 0] if isinstance(layout, Vector) else values
            part = np.asarray(
                function(given.copy(), context=context) if context else function(given.copy())
            )
            do = "return one row of numbers for each dataset"
            part = expect_array("summaries", part, (len(rows), "p"), do=do)
        if found is None:
            found = np.empty((len(x), part.shape[1]))
        elif part.shape[1] != found.shape[1]:
            raise BadValue(
                f"{found.shape[1]} summaries of datasets of {size} observations, as of others",
                str(part.shape[1]),
                "return as many whatever the data",
            )
        found[rows] = part
    return np.zeros((0, 0)) if found is None else found


def known_of(x: Datasets, layout: AnyLayout) -> Array:
    """What is known exactly of b datasets: log n, if n varies, and the context; shape (b, e)."""
    low, high = layout.n_range
    size = np.log(x.n[:, None].astype(np.float64)) if low < high else np.zeros((len(x), 0))
    return np.concatenate([size, x.context], axis=1)


def _of_one_size(n: IntArray) -> Iterator[tuple[IntArray, int]]:
    """Rows of datasets of one size, not too many at a time, and the size."""
    order = np.argsort(n, kind="stable")
    sizes, starts = np.unique(n[order], return_index=True)
    for size, rows in zip(sizes.tolist(), np.split(order, starts[1:]), strict=True):
        step = max(1, _TOGETHER // size)
        for start in range(0, len(rows), step):
            yield rows[start : start + step], size


def _standard(values: Array, layout: AnyLayout, counts: NDArray[np.bool_]) -> Array:
    """The default discrepancies of r datasets, and the correlations of their columns, (r, p)."""
    parts = list(defaults(values, layout, counts).values())
    columns = values.shape[2]
    if not isinstance(layout, (Vector, Matrix)) and 1 < columns <= _MOST_PAIRS:
        with np.errstate(invalid="ignore", divide="ignore"):
            present = ~np.isnan(values)
            centred = np.where(present, values - np.nanmean(values, axis=1, keepdims=True), 0.0)
            product = np.einsum("rni,rnj->rij", centred, centred)
            sd = np.sqrt(np.einsum("rii->ri", product))
            correlation = product / (sd[:, :, None] * sd[:, None, :])
        parts += [correlation[:, i, j] for i in range(columns) for j in range(i)]
    return np.stack(parts, axis=1)


def _counts(x: Datasets) -> NDArray[np.bool_]:
    """Which columns hold whole numbers from 0 on, shape (columns,)."""
    seen = np.where(x.mask[:, :, None] & np.isfinite(x.values), x.values, 0.0)
    return np.asarray(((seen >= 0) & (seen == np.rint(seen))).all(axis=(0, 1)))


def _spread(raw: Array) -> tuple[Array, Array]:
    """Median and spread of each of p summaries (N, p); that of a constant is infinite."""
    finite = np.where(np.isfinite(raw), raw, np.nan)
    finite[:, np.isnan(finite).all(axis=0)] = 0.0
    center = np.nanmedian(finite, axis=0)
    low, high = np.nanquantile(finite, [0.25, 0.75], axis=0)
    scale, sd = (high - low) / 1.349, np.nanstd(finite, axis=0)  # 1.349 sds of a normal
    scale = np.where(scale > 1e-3 * sd, scale, sd)
    if not (scale > 0).any():
        raise BadValue("summaries that vary", "the same in all simulations", "choose others")
    return center, np.where(scale > 0, scale, np.inf)


def _scaled(raw: Array, center: Array, scale: Array) -> Array:
    """Summaries in units of their spread, (b, p); what is not finite is in the middle."""
    z = (np.where(np.isfinite(raw), raw, center) - center) / scale
    return np.asarray(np.clip(z, -_REACH, _REACH))


def _terms(z: Array, beside: Array) -> Array:
    """What is regressed on: z (b, p), its squares, beside (b, e), and products of the two."""
    products = (z[:, :, None] * beside[:, None, :]).reshape(len(z), -1)
    return np.concatenate([z, np.square(z), beside, products], axis=1)


def _project(features: Array, u: Array) -> tuple[Array, Array]:
    """Intercept (d,) and slopes (f, d) of a ridge regression, in units of the residuals' sd."""
    mean, target = features.mean(axis=0), u - u.mean(axis=0)
    centred = features - mean
    gram, cross = centred.T @ centred, centred.T @ target
    variance, vectors = np.linalg.eigh(gram)
    variance, along = np.maximum(variance, 0.0), vectors.T @ cross  # (f,), (f, d)
    ridges = np.geomspace(*_RIDGES, 25) * max(float(variance[-1]), 1e-12)
    weights = 1 / (variance + ridges[:, None])  # (ridges, f)
    explained = np.einsum("rf,fd->rd", weights * (2 - weights * variance), along**2)
    free = 1 - (weights * variance).sum(axis=1) / len(u)
    # Generalised cross-validation: the error of leaving out one simulation, on average.
    errors = (np.square(target).sum(axis=0) - explained) / np.square(free)[:, None]
    best = np.argmin(errors, axis=0)
    slopes = vectors @ (weights[best].T * along)
    residual = np.sqrt(errors[best, np.arange(u.shape[1])] / len(u))
    slopes = slopes / np.maximum(residual, 1e-6)
    return -mean @ slopes, slopes
