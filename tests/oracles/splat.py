"""Splat counts (Zappia, Phipson & Oshlack 2017), written twice without compiled code."""

import math

import numpy as np


def vectorised(theta, rng, n, *, genes=100, bcv_df=60.0, midpoint=None, slope=-1.0):
    """Counts of all datasets at once, shape (b, n, genes), from numpy's own distributions."""
    shape, rate, location, probability, scale, library_location, library_scale, bcv = np.asarray(
        theta, dtype=float
    ).T[:, :, None]
    b = len(shape)
    base = rng.gamma(shape, 1 / rate, size=(b, genes))
    factor = rng.lognormal(location, scale, size=(b, genes))
    factor = np.where(factor < 1, 1 / factor, factor)
    is_outlier = rng.random((b, genes)) < probability
    gene_mean = np.where(is_outlier, np.median(base, axis=1, keepdims=True) * factor, base)
    proportion = gene_mean / gene_mean.sum(axis=1, keepdims=True)
    library = rng.lognormal(library_location, library_scale, size=(b, n))
    cell_mean = library[:, :, None] * proportion[:, None, :]
    spread = np.sqrt(bcv_df / rng.chisquare(bcv_df, size=(b, 1, genes)))
    squared_bcv = ((bcv[:, :, None] + 1 / np.sqrt(cell_mean)) * spread) ** 2
    true_mean = rng.gamma(1 / squared_bcv, cell_mean * squared_bcv)
    counts = rng.poisson(true_mean)
    if midpoint is not None:
        with np.errstate(divide="ignore", over="ignore"):
            lost = 1 / (1 + np.exp(-slope * (np.log(true_mean) - midpoint)))
        counts = counts * (rng.random(counts.shape) >= lost)
    return counts.astype(float)


def loop(theta_row, rng, n, *, genes=100, bcv_df=60.0, midpoint=None, slope=-1.0):
    """Counts of one dataset, shape (n, genes), one number after the other."""
    shape, rate, location, probability, scale, library_location, library_scale, bcv = theta_row
    base = [rng.gamma(shape, 1 / rate) for _ in range(genes)]
    ordered = sorted(base)
    median = (ordered[(genes - 1) // 2] + ordered[genes // 2]) / 2
    gene_means = []
    for mean in base:
        if rng.uniform() < probability:
            factor = math.exp(rng.normal(location, scale))
            gene_means.append(median * (1 / factor if factor < 1 else factor))
        else:
            gene_means.append(mean)
    total = sum(gene_means)
    spreads = [math.sqrt(bcv_df / rng.chisquare(bcv_df)) for _ in range(genes)]
    rows = []
    for _ in range(n):
        library = math.exp(rng.normal(library_location, library_scale))
        row = []
        for gene_mean, spread in zip(gene_means, spreads, strict=True):
            mean = library * gene_mean / total
            variation = (bcv + mean**-0.5) * spread
            true_mean = rng.gamma(1 / variation**2, mean * variation**2)
            count = rng.poisson(true_mean)
            if midpoint is not None and count > 0:
                lost = 1 / (1 + math.exp(-slope * (math.log(true_mean) - midpoint)))
                if rng.uniform() < lost:
                    count = 0
            row.append(float(count))
        rows.append(row)
    return np.array(rows)
