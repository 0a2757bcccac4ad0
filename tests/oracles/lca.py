"""The leaky competing accumulator, written twice without the simulator's kernel.

Rows of theta are the drifts by condition and option, threshold, t_0, leak, inhibition. A trial
without a response has rt = time_limit and no choice.
"""

import math
import random

import numpy as np


def vectorised(
    theta,
    rng,
    n,
    *,
    accumulators=3,
    conditions=2,
    noise=1.0,
    dt=0.001,
    time_limit=5.0,
    clip=True,
    start=0.0,
):
    """All trials take a step together; those that ended are taken out. Shape (b, n, columns)."""
    theta = np.asarray(theta, dtype=float)
    b, trials = len(theta), len(theta) * n
    row = np.repeat(np.arange(b), n)
    condition = rng.integers(conditions, size=trials)
    drift = theta[:, :-4].reshape(b, conditions, accumulators)[row, condition]
    threshold, t_0, leak, inhibition = theta[row, -4:].T[..., None]
    x = np.tile(start * threshold, accumulators)
    rt = np.full(trials, float(time_limit))
    choice = np.zeros((trials, accumulators))
    trial = np.arange(trials)
    for step in range(1, round(time_limit / dt) + 1):
        others = x.sum(axis=1, keepdims=True) - x
        slope = drift - leak * x - inhibition * others
        x = x + slope * dt + noise * np.sqrt(dt) * rng.standard_normal(x.shape)
        if clip:
            x = np.maximum(x, 0)
        ended = (x >= threshold).any(axis=1)
        if ended.any():
            rt[trial[ended]] = t_0[ended, 0] + step * dt
            choice[trial[ended], x[ended].argmax(axis=1)] = 1
            x, drift, threshold, t_0, leak, inhibition, trial = (
                part[~ended] for part in (x, drift, threshold, t_0, leak, inhibition, trial)
            )
    shown = np.empty((trials, 0))
    if conditions == 2:
        shown = condition[:, None]
    elif conditions > 2:
        shown = np.eye(conditions)[condition]
    return np.column_stack([rt, choice, shown]).reshape(b, n, -1)


def loop(theta_row, rng, n, *, noise=1.0, dt=0.001, time_limit=5.0):
    """One dataset of three options in two conditions, step by step, shape (n, columns)."""
    *drifts, threshold, t_0, leak, inhibition = (float(value) for value in theta_row)
    source = random.Random(int(rng.integers(2**62)))
    sd = noise * math.sqrt(dt)
    rows = []
    for _ in range(n):
        condition = source.randrange(2)
        v = drifts[3 * condition : 3 * condition + 3]
        x = [0.0, 0.0, 0.0]
        row = [time_limit, 0, 0, 0, condition]
        for step in range(1, round(time_limit / dt) + 1):
            old = list(x)
            for i in range(3):
                others = sum(old) - old[i]
                change = (v[i] - leak * old[i] - inhibition * others) * dt
                x[i] = max(0.0, old[i] + change + source.gauss(0.0, sd))
            if max(x) >= threshold:
                row[0] = t_0 + step * dt
                row[1 + x.index(max(x))] = 1
                break
        rows.append(row)
    return np.array(rows, dtype=float)
