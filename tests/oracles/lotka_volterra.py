"""Lotka-Volterra with log-normal counts, by scipy's solver and by plain Python."""

import math

import numpy as np
from scipy.integrate import solve_ivp


def solved(theta, n, rtol=1e-11, atol=1e-12):
    """Logarithms of both populations, (b, n, 2), all rows in one system."""
    alpha, beta, gamma, delta, hare, lynx = np.asarray(theta, dtype=float)[:, :6].T

    def slope(_, state):
        log_hare, log_lynx = state.reshape(2, -1)
        return np.concatenate(
            [alpha - beta * np.exp(log_lynx), delta * np.exp(log_hare) - gamma],
        )

    start = np.log(np.concatenate([hare, lynx]))
    if n == 1:
        return start.reshape(2, -1, 1).transpose(1, 2, 0)
    # A trial step into a spike may overflow; the solver then takes a shorter one.
    with np.errstate(over="ignore", invalid="ignore"):
        at = np.arange(n)
        path = solve_ivp(slope, (0, n - 1), start, "DOP853", at, rtol=rtol, atol=atol)
    assert path.success, path.message
    return path.y.reshape(2, len(alpha), n).transpose(1, 2, 0)


def vectorised(theta, rng, n, *, rtol=1e-9):
    """All datasets at once, (b, n, 2)."""
    theta = np.asarray(theta, dtype=float)
    logs = solved(theta, n, rtol=rtol, atol=rtol)
    return np.exp(logs + theta[:, None, 6:] * rng.standard_normal(logs.shape))


def loop(theta_row, rng, n, *, tolerance=1e-9):
    """One dataset, (n, 2), by step doubling of the classical Runge-Kutta method."""
    *rates, hare, lynx, sigma_hare, sigma_lynx = map(float, theta_row)
    a, b = math.log(hare), math.log(lynx)
    rows, step = [], 0.1
    for year in range(n):
        if year:
            a, b, step = _next_year(rates, a, b, step, tolerance)
        noise = rng.standard_normal(), rng.standard_normal()
        rows.append([math.exp(a + sigma_hare * noise[0]), math.exp(b + sigma_lynx * noise[1])])
    return np.array(rows)


def _next_year(rates, a, b, step, tolerance):
    left = 1.0
    while left > 0:
        h = min(step, left)
        try:
            whole = _runge_kutta(rates, a, b, h)
            half = _runge_kutta(rates, *_runge_kutta(rates, a, b, h / 2), h / 2)
            error = max(abs(x - y) for x, y in zip(whole, half, strict=True)) / 15
        except OverflowError:
            error = math.inf
        if error <= tolerance:
            # The error is of fifth order and known, so it is taken off.
            a, b = (y + (y - x) / 15 for x, y in zip(whole, half, strict=True))
            left -= h
        if h == step or error > tolerance:
            step = h * min(4.0, max(0.2, 0.9 * (tolerance / max(error, 1e-300)) ** 0.2))
    return a, b, step


def _runge_kutta(rates, a, b, h):
    alpha, beta, gamma, delta = rates

    def slope(a, b):
        return alpha - beta * math.exp(b), delta * math.exp(a) - gamma

    a1, b1 = slope(a, b)
    a2, b2 = slope(a + h / 2 * a1, b + h / 2 * b1)
    a3, b3 = slope(a + h / 2 * a2, b + h / 2 * b2)
    a4, b4 = slope(a + h * a3, b + h * b3)
    return a + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4), b + h / 6 * (b1 + 2 * b2 + 2 * b3 + b4)
