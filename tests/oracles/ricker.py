"""The Ricker map again: an array of populations at a time, and one population in plain Python."""

import math

import numpy as np


def vectorised(theta, rng, n, *, initial_population=10.0, burn_in=0):
    """Counts (b, n, 1) for r, sigma, rho (b, 3): every generation of all populations at once."""
    r, sigma, rho = np.asarray(theta, dtype=float).T
    noise = sigma * rng.standard_normal((burn_in + n, len(r)))
    log_size = np.empty((burn_in + n, len(r)))
    log_size[0] = np.log(initial_population)
    for t in range(burn_in + n - 1):
        log_size[t + 1] = np.log(r) + log_size[t] - np.exp(log_size[t]) + noise[t]
    return rng.poisson(rho * np.exp(log_size[burn_in:])).T[..., None].astype(float)


def loop(theta_row, rng, n, *, initial_population=10.0, burn_in=0):
    """Counts (n, 1) for one r, sigma, rho."""
    r, sigma, rho = (float(value) for value in theta_row)
    log_size = math.log(initial_population)
    counts = []
    for t in range(burn_in + n):
        size = math.exp(log_size)
        if t >= burn_in:
            counts.append([float(rng.poisson(rho * size))])
        log_size = math.log(r) + log_size - size + sigma * rng.standard_normal()
    return np.array(counts)
