"""Splat: counts of RNA molecules in single cells, with outlier genes and over-dispersion.

The model of Zappia, Phipson & Oshlack (2017), "Splatter: simulation of single-cell RNA sequencing
data", Genome Biology 18:174, for one group of cells c and exchangeable genes g:

    library of a cell    L_c ~ LogNormal(mu_L, sigma_L)
    base mean of a gene  lambda_g ~ Gamma(alpha, rate beta)
    outlier              with probability pi_O:  m_g = median(lambda) max(F_g, 1 / F_g),
                         F_g ~ LogNormal(mu_O, sigma_O);  otherwise  m_g = lambda_g
    mean in a cell       mean_gc = L_c m_g / sum m
    variation            BCV_gc = (phi + mean_gc^-1/2) sqrt(df / X_g),   X_g ~ chi2_df, one a gene
                         mean'_gc ~ Gamma(1 / BCV_gc^2, scale mean_gc BCV_gc^2)
    count                x_gc ~ Poisson(mean'_gc), set to 0 where it is dropped out,
                         P(drop) = 1 / (1 + exp(-k (log mean'_gc - x_0)))

Given the mean, a count has mean mean_gc and variance mean_gc + mean_gc^2 (phi + mean_gc^-1/2)^2
df / (df - 2).

The rate beta cancels in m_g / sum m: it is not identifiable, and its posterior is its prior. The
others are identifiable only as far as a hundred genes and forty cells allow. Whoever saw the base
means (up to their scale), which genes are outliers, their factors and the libraries would recover,
at the default priors, alpha with R^2 = .72, mu_O .93, pi_O .93, sigma_O .84, mu_L .96 and sigma_L
.76 (posterior means by quadrature); the counts alone show less.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit

from sbi_kit.checks import (
    BadValue,
    expect_bounds,
    expect_integer,
    expect_number,
    expect_rng,
    expect_theta,
)
from sbi_kit.contracts import Array
from sbi_kit.data import Matrix, read
from sbi_kit.prior import Prior, Uniform
from sbi_kit.seeds import numpy_stream

# What the kernel can take: within these, no intermediate result overflows or is 0 / 0.
_RANGES = {
    "mean_shape": (0.05, 1e6),
    "mean_rate": (1e-50, 1e50),
    "outlier_location": (-50.0, 50.0),
    "outlier_probability": (0.0, 1.0),
    "outlier_scale": (0.0, 30.0),
    "library_location": (-50.0, 50.0),
    "library_scale": (0.0, 10.0),
    "bcv": (0.0, 1e3),
}
_LEAST_MEAN = 1e-30  # a count has this probability, at most, of not being 0
_INVERSION_BELOW = 10.0  # where the constants of transformed rejection begin to hold
_MOST_BY_INVERSION = 200.0  # P(Poisson(10) >= 200) < 1e-160: only rounding gets there
_STIRLING_FROM = 16.0
_OUTLIER_MADS = 2.0


@dataclass(frozen=True, kw_only=True)
class Splat:
    """A table of counts, cells in rows and genes in columns; the order of neither has a meaning.

    Parameters: `mean_shape` alpha in [0.05, 1e6] and `mean_rate` beta in [1e-50, 1e50] of the base
    means; `outlier_location` mu_O in [-50, 50] and `outlier_scale` sigma_O in [0, 30] of the
    logarithm of an outlier's factor; `outlier_probability` pi_O in [0, 1]; `library_location` mu_L
    in [-50, 50] and `library_scale` sigma_L in [0, 10] of the logarithm of a cell's library, its
    expected number of counts; `bcv` phi in [0, 1000], the biological coefficient of variation that
    remains at high expression. All are without unit and their priors are uniform. Data are raw
    counts.

    Args:
        genes: Columns of a dataset, at least 2.
        cells: Rows of a dataset, fixed or (fewest, most), at least 1.
        bcv_df: Degrees of freedom df of a gene's own variation, at least 1.
        dropout_midpoint: The log mean x_0 at which half of the counts are lost; None for no
            dropout.
        dropout_shape: Slope k of the logistic curve; negative if low means are lost more often.
        mean_shape: Bounds of the uniform prior of mean_shape.
        mean_rate: The same for mean_rate.
        outlier_location: The same for outlier_location.
        outlier_probability: The same for outlier_probability.
        outlier_scale: The same for outlier_scale.
        library_location: The same for library_location.
        library_scale: The same for library_scale.
        bcv: The same for bcv.

    Raises:
        BadValue: An argument is outside its range, or bounds are not two ascending numbers.
        BadType: It is not a number.

    >>> theta = np.array([[1.5, 1.0, 2.0, 0.1, 0.5, 8.0, 0.0, 0.3]])
    >>> x = Splat().simulate(theta, np.random.default_rng(0), 1_000)
    >>> x.shape
    (1, 1000, 100)
    >>> (x.sum(axis=2).mean() / np.exp(8.0)).round(1)  # all libraries have their median size
    np.float64(1.0)
    """

    genes: int = 100
    cells: int | tuple[int, int] = 40
    bcv_df: float = 60.0
    dropout_midpoint: float | None = None
    dropout_shape: float = -1.0
    mean_shape: tuple[float, float] = (1.0, 2.0)
    mean_rate: tuple[float, float] = (0.1, 5.0)
    outlier_location: tuple[float, float] = (0.5, 5.0)
    outlier_probability: tuple[float, float] = (0.01, 0.5)
    outlier_scale: tuple[float, float] = (0.1, 2.0)
    library_location: tuple[float, float] = (6.0, 10.0)
    library_scale: tuple[float, float] = (1.0, 2.0)
    bcv: tuple[float, float] = (0.1, 0.9)

    def __post_init__(self) -> None:
        expect_integer("genes", self.genes, low=2)
        expect_number("bcv_df", self.bcv_df, low=1)
        if self.dropout_midpoint is not None:
            expect_number("dropout_midpoint", self.dropout_midpoint)
        expect_number("dropout_shape", self.dropout_shape)
        for name, (low, high) in _RANGES.items():
            bounds = expect_bounds(name, getattr(self, name), low=low, high=high)
            object.__setattr__(self, name, bounds)
        object.__setattr__(self, "cells", self.data.n)

    @cached_property
    def prior(self) -> Prior:
        """Independent uniform parameters."""
        return Prior(**{name: Uniform(*getattr(self, name)) for name in _RANGES})

    @cached_property
    def data(self) -> Matrix:
        """A table of counts, one row a cell and one column a gene."""
        columns = tuple(f"gene_{i}" for i in range(1, self.genes + 1))
        return Matrix(columns=columns, n=self.cells, columns_exchangeable=True, nested=True)

    def simulate(self, theta: Array, rng: np.random.Generator, n: int) -> Array:
        """Simulate the counts of n cells.

        Args:
            theta: The eight parameters, shape (b, 8).
            rng: Source of all randomness.
            n: Number of cells.

        Returns:
            Counts, shape (b, n, genes).

        Raises:
            BadValue: `theta` has another shape, or holds NaN or a value out of range; or n < 1.
        """
        parameters = np.ascontiguousarray(expect_theta(theta, self.prior.names, ranges=_RANGES))
        counts = np.empty((len(parameters), expect_integer("n", n, low=1), self.genes))
        dropout = self.dropout_midpoint is not None
        midpoint = float(self.dropout_midpoint or 0.0)
        _simulate(
            parameters,
            expect_rng(rng),
            float(self.bcv_df),
            dropout,
            midpoint,
            float(self.dropout_shape),
            counts,
        )
        return counts

    def moment_estimate(self, x: Any) -> Array:
        """Estimate the parameters as Zappia et al. (2017) do: part by part, from simple moments.

        Libraries are fitted by the row sums; outlier genes are those whose log mean, after
        normalisation by the row sums, exceeds the median by 2 median absolute deviations; the
        others' means give the shape of the gamma distribution, by the closed form of Ye & Chen
        (2017, The American Statistician 71:177); over-dispersion of the genes gives bcv. Each
        estimate is held within the prior's bounds. The prior mean stands for what has no estimate,
        as always for mean_rate: a rate can be fitted to normalised means, but in their units, and
        that of the base means leaves no trace in the data. Dropout is not accounted for.

        Over the default prior this recovers the libraries and bcv, outlier_location in part. The
        rest is worse than the prior mean, because many outliers stretch the median absolute
        deviation until they hide below it; it is a baseline to compare with, not a good estimate.

        Args:
            x: Datasets in any form that `sbi_kit.data.read` takes, also of different n.

        Returns:
            Estimates, shape (b, 8).

        Raises:
            BadValue: The data do not have this model's columns, or hold other than counts.

        >>> model = Splat()
        >>> model.moment_estimate(np.zeros((40, 100)))[0, 0]  # no counts: the prior mean
        np.float64(1.5)
        """
        tables = read(x, self.data).each()
        for table in tables:
            bad = (table < 0) | (table % 1 != 0)
            if bad.any():
                raise BadValue("whole counts >= 0", f"{table[bad][0]:g}", "pass raw counts")
        bounds = np.array([getattr(self, name) for name in _RANGES])  # (8, 2)
        estimates = np.array([_moments(table, self.bcv_df) for table in tables])
        held: Array = np.clip(estimates, bounds[:, 0], bounds[:, 1])
        return np.where(np.isnan(held), bounds.mean(axis=1), held)

    @cached_property
    def observed_theta(self) -> Array:
        """The parameters behind `observed`, shape (8,): a fixed draw of the prior."""
        parameters: Array = self.prior.sample(1, numpy_stream(0, "splat: parameters"))[0]
        return parameters

    @cached_property
    def observed(self) -> Array:
        """One simulated, not measured, dataset of the fewest cells, shape (n, genes).

        It never changes; `observed_theta` is the truth behind it.
        """
        rng = numpy_stream(0, "splat: counts")
        counts: Array = self.simulate(self.observed_theta[None], rng, self.data.n_range[0])[0]
        return counts


def _moments(counts: Array, df: float) -> Array:
    """Estimates from one table (n, genes), before they are held in bounds; NaN where none is."""
    shape = location = probability = scale = library_location = library_scale = bcv = np.nan
    counts = counts[counts.sum(axis=1) > 0]
    size = counts.sum(axis=1, keepdims=True)
    if len(size):
        library_location = np.log(size).mean()
    if len(size) > 1:
        library_scale = np.log(size).std(ddof=1)
        bcv = _bcv_from_moments(counts, size, df)
    mean = (counts / size).mean(axis=0) if len(size) else np.zeros(0)
    log_mean = np.log(mean[mean > 0])
    if len(log_mean) > 1:
        above = log_mean - np.median(log_mean)
        # A normal variable's median absolute deviation is its sd / 1.4826.
        outlier = above > _OUTLIER_MADS * 1.4826 * np.median(np.abs(above))
        probability = outlier.mean()
        if outlier.sum() > 1:
            location, scale = above[outlier].mean(), above[outlier].std(ddof=1)
        y = np.exp(above[~outlier])
        covariance = np.mean(y * above[~outlier]) - y.mean() * above[~outlier].mean()
        if covariance > 0:
            shape = y.mean() / covariance  # Ye & Chen (2017)
    libraries = (library_location, library_scale)
    return np.array([shape, np.nan, location, probability, scale, *libraries, bcv])


def _bcv_from_moments(counts: Array, size: Array, df: float) -> float:
    """Solve E[((x - m)^2 - m) / m^2] = df / (df - 2) (phi^2 + 2 phi m^-1/2 + 1 / m) for phi.

    Both sides are summed over cells with weights m^2, then averaged over the genes that have at
    least one count a cell: the others' excess is all Poisson and sampling noise.
    """
    m = size * (counts / size).mean(axis=0)
    m = m[:, counts.mean(axis=0) >= 1]
    if m.shape[1] == 0 or df <= 2:
        return np.nan
    x = counts[:, counts.mean(axis=0) >= 1]
    weight = (m**2).sum(axis=0)
    excess = ((x - m) ** 2 * len(x) / (len(x) - 1) - m).sum(axis=0) / weight
    linear = ((m**1.5).sum(axis=0) / weight).mean()
    constant = (m.sum(axis=0) / weight).mean()
    inside = linear**2 - constant + excess.mean() * (df - 2) / df
    return float(np.sqrt(max(inside, 0.0)) - linear)


@njit(cache=True, nogil=True, error_model="numpy")
def _simulate(
    theta: Array,
    rng: np.random.Generator,
    df: float,
    dropout: bool,
    midpoint: float,
    slope: float,
    counts: Array,
) -> None:
    """Fill `counts` (b, n, genes)."""
    b, n, genes = counts.shape
    proportion = np.empty(genes)
    variation = np.empty(genes)  # df / X_g
    for i in range(b):
        library_location, library_scale, bcv = theta[i, 5], theta[i, 6], theta[i, 7]
        _draw_gene_means(theta[i], rng, proportion)
        for g in range(genes):
            variation[g] = df / (2.0 * _gamma(rng, 0.5 * df))
        for c in range(n):
            library = math.exp(library_location + library_scale * rng.standard_normal())
            # Two loops, means first: branches of either sampler alone are predicted better.
            for g in range(genes):
                mean = library * proportion[g]
                if mean > _LEAST_MEAN:
                    squared_bcv = (bcv + 1.0 / math.sqrt(mean)) ** 2 * variation[g]
                    mean *= squared_bcv * _gamma(rng, 1.0 / squared_bcv)
                counts[i, c, g] = mean
            for g in range(genes):
                mean = counts[i, c, g]
                count = _poisson(rng, mean)
                if dropout and count > 0.0:
                    lost = 1.0 / (1.0 + math.exp(-slope * (math.log(mean) - midpoint)))
                    if rng.random() < lost:
                        count = 0.0
                counts[i, c, g] = count


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_gene_means(theta: Array, rng: np.random.Generator, proportion: Array) -> None:
    """Fill `proportion` (genes,) with m_g / sum m."""
    shape, rate, location, probability, scale = theta[0], theta[1], theta[2], theta[3], theta[4]
    for g in range(len(proportion)):
        proportion[g] = _gamma(rng, shape) / rate
    median = np.median(proportion)
    total = 0.0
    for g in range(len(proportion)):
        if rng.random() < probability:
            # Of a factor and its inverse, the one that is not below 1.
            log_factor = abs(location + scale * rng.standard_normal())
            proportion[g] = median * math.exp(log_factor)
        total += proportion[g]
    for g in range(len(proportion)):
        proportion[g] /= total


@njit(cache=True, nogil=True, error_model="numpy")
def _gamma(rng: np.random.Generator, shape: float) -> float:
    """Gamma(shape, 1), shape > 0, by Marsaglia & Tsang (2000, ACM Trans. Math. Softw. 26:363)."""
    boost = 1.0
    if shape < 1.0:
        boost = math.exp(-rng.standard_exponential() / shape)  # a uniform to the power 1 / shape
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        z = rng.standard_normal()
        v = 1.0 + c * z
        if v <= 0.0:
            continue
        v = v * v * v
        u = 1.0 - rng.random()
        if u < 1.0 - 0.0331 * z**4 or math.log(u) < 0.5 * z * z + d * (1.0 - v + math.log(v)):
            return d * v * boost


@njit(cache=True, nogil=True, error_model="numpy")
def _poisson(rng: np.random.Generator, mean: float) -> float:
    """Poisson(mean): by inversion, or PTRS (Hoermann 1993, Insur. Math. Econ. 12:39) from 10 on."""
    k: float = 0.0
    if mean < _INVERSION_BELOW:
        u = rng.random()
        if u < 1.0 - mean:  # below the mass at 0, without the cost of its exponential
            return k
        mass = math.exp(-mean)
        while u >= mass and k < _MOST_BY_INVERSION:
            u -= mass
            k += 1.0
            mass *= mean / k
        return k
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u = rng.random() - 0.5
        v = rng.random()
        u_s = 0.5 - abs(u)
        k = np.floor((2.0 * a / u_s + b) * u + mean + 0.43)
        if u_s >= 0.07 and v <= v_r:
            return k
        if k < 0.0 or (u_s < 0.013 and v > u_s):
            continue
        if math.log(v * inverse_alpha / (a / (u_s * u_s) + b)) <= _log_poisson_mass(k, mean):
            return k


@njit(cache=True, nogil=True, error_model="numpy")
def _log_poisson_mass(k: float, mean: float) -> float:
    """Log P(k) without the textbook formula's cancellation; to 1e-11 + 1e-15 sqrt(mean)."""
    if k < _STIRLING_FROM:
        return k * math.log(mean) - mean - math.lgamma(k + 1.0)
    excess = (mean - k) / k
    stirling = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * k * k)) / (k * k)) / k
    return k * (math.log1p(excess) - excess) - 0.5 * math.log(2.0 * math.pi * k) - stirling
