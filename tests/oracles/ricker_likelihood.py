"""The exact likelihood of a Ricker map's counts: the state is one number, so a grid filters it.

With L = log N, the prediction is p(L_{t+1} | x_1..t) = sum_i W_i N(L_{t+1}; m_i, sigma^2), m_i =
log r + L_i - exp(L_i), over the points i of generation t with their masses W_i; the next count
multiplies it by its Poisson mass, and the sum of the products is p(x_{t+1} | x_1..t). Points are
equidistant in y = L + exp(L): where N is large the map spreads neighbours N-fold, and there y is as
fine in L. No factor of an integrand is narrower in y than the precision 2 / sigma^2 + rho / 4 of
all together, and the trapezoidal rule of spacing h errs by 2 exp(-2 pi^2 / (precision h^2)) for a
normal, 5e-9 with `spacing` 1. What lies beyond 6.5 sigma, or has 1e-12 of the largest mass or less,
is left out, and parameters under which the counts are less probable than that get -inf.
"""

from math import exp, lgamma, log, pi, sqrt

import numpy as np
from numba import njit

WIDE = 6.5  # sds of the noise
TINY = 1e-12


def log_likelihood(theta, x, *, initial_population=10.0, spacing=1.0):
    """Log probabilities (s,) of counts (n,) or (n, 1) for r >= 1, sigma, rho (s, 3)."""
    counts = np.asarray(x, dtype=float).ravel()
    found = []
    for r, sigma, rho in np.atleast_2d(np.asarray(theta, dtype=float)):
        h = spacing / sqrt(2 / sigma**2 + rho / 4)
        start = log(r) + log(initial_population) - initial_population
        top = max(log(r) - 1, start) + WIDE * sigma
        # After the deepest crash of a generation, a random walk goes down no further than 60.
        lowest = int(-(exp(top) + 60) / h)
        y = h * np.arange(lowest, int((top + exp(top)) / h) + 2)
        log_sizes = solved(y)
        first = counts[0] * log(rho * initial_population) - rho * initial_population
        constants = (counts[1:] * log(rho)).sum() - sum(lgamma(x + 1) for x in counts)
        rest = _filter(log(r), sigma, rho, counts, start, h, lowest, log_sizes, y - log_sizes)
        found.append(first + constants + rest)
    return np.array(found)


def solved(y):
    """The L of which y = L + exp(L), by Newton's iterations."""
    solution = np.where(y > 1, np.log(np.maximum(y, 1)), y)
    for _ in range(5):
        size = np.exp(solution)
        solution -= (solution + size - y) / (1 + size)
    return solution


@njit(cache=True, error_model="numpy", fastmath=True)
def _spread(log_sizes, first, last, mean, sigma, mass, prediction):
    """Add a normal of that mass, but for its constant, to the prediction at first..last."""
    scale = sqrt(1 / 128) / sigma
    for j in range(first, last + 1):
        # exp(-z^2 / 2) as the 64th power of a series, 1e-8 off at most: such loops vectorise.
        a = (log_sizes[j] - mean) * scale
        a *= a
        e = 1 - a / 4 * (1 - a / 5 * (1 - a / 6 * (1 - a / 7)))
        e = 1 - a * (1 - a / 2 * (1 - a / 3 * e))
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        prediction[j] += mass * e * e


@njit(cache=True)
def _filter(log_r, sigma, rho, counts, start, h, lowest, log_sizes, sizes):
    """Sum of log p(x_t | x_1..t-1) for t = 2..n without the terms that the state is not in."""
    reach = WIDE * sigma
    means, masses = np.empty(len(sizes)), np.empty(len(sizes))
    mass, prediction = np.empty(len(sizes)), np.empty(len(sizes))
    means[0], masses[0], used = start, 1.0, 1
    total = 0.0
    for t in range(1, len(counts)):
        x = counts[t]
        low = high = means[0]
        for i in range(used):
            low, high = min(low, means[i]), max(high, means[i])
        low, high = low - reach, high + reach
        first = max(int((low + exp(low)) / h) - lowest, 0)
        last = min(int((high + exp(high)) / h) - lowest + 1, len(sizes) - 1)
        # The Poisson mass has one peak in L, and beyond exp(-60) of it there is nothing to do.
        peak = min(max(log(max(x, 1e-300) / rho), low), high)
        highest = x * peak - rho * exp(peak)
        while first < last and x * log_sizes[first] - rho * sizes[first] < highest - 60:
            first += 1
        while last > first and x * log_sizes[last] - rho * sizes[last] < highest - 60:
            last -= 1
        for j in range(first, last + 1):
            prediction[j] = 0.0
        for i in range(used):
            low, high = means[i] - reach, means[i] + reach
            a = max(int((low + exp(low)) / h) - lowest, first)
            b = min(int((high + exp(high)) / h) - lowest + 1, last)
            _spread(log_sizes, a, b, means[i], sigma, masses[i], prediction)
        largest = share = 0.0
        for j in range(first, last + 1):
            count = exp(x * log_sizes[j] - rho * sizes[j] - highest)
            mass[j] = prediction[j] * count / (1 + sizes[j])
            largest = max(largest, mass[j])
            share += mass[j]
        if not largest > 0:
            return -np.inf
        while mass[first] < TINY * largest:
            first += 1
        while mass[last] < TINY * largest:
            last -= 1
        total += log(share * h / (sigma * sqrt(2 * pi))) + highest
        used = last + 1 - first
        for i in range(used):
            masses[i] = mass[first + i] / share
            means[i] = log_r + log_sizes[first + i] - sizes[first + i]
    return total
