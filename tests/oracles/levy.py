"""Lévy flights and diffusions, written twice without the simulator's kernel.

Rows of theta are v_1, v_2, z_r, a, t_0, alpha (Lévy) or v, z_r, a, t_0 (diffusion). The noise has
scale c = 1/sqrt(2), so that alpha = 2 has increments of variance dt. Stable numbers come from the
formula of Chambers, Mallows & Stuck (1976) as printed, the angle's cosine included.
"""

import math

import numpy as np


def stable(alpha, rng, size):
    angle = rng.uniform(-np.pi / 2, np.pi / 2, size)
    tilt = np.cos((1 - alpha) * angle) / rng.standard_exponential(size)
    return np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha) * tilt ** ((1 - alpha) / alpha)


def vectorised(theta, rng, n, *, dt=0.001, max_time=5.0, s_v=0.0, s_z=0.0, s_t=0.0):
    """All trials take a step together; those that ended are taken out. Shape (b, n, columns)."""
    theta = np.asarray(theta, dtype=float)
    columns = 2 if theta.shape[1] == 6 else 1
    shape = (len(theta), n, columns)
    z, a, t_0 = (theta[:, columns + i, None, None] for i in range(3))
    alpha = theta[:, 5, None, None] if columns == 2 else 2.0
    drift = theta[:, None, :columns] + s_v * rng.standard_normal(shape)
    start = a * (z + s_z * rng.uniform(-0.5, 0.5, shape))
    rt = t_0 + s_t * rng.uniform(-0.5, 0.5, shape)
    move = (drift * dt).ravel()
    bound = np.broadcast_to(a, shape).ravel()
    alpha = np.broadcast_to(alpha, shape).ravel()
    scale = math.sqrt(0.5) * dt ** (1 / alpha)
    x = start.ravel()
    taken = np.zeros(len(x), dtype=int)
    upper = np.ones(len(x), dtype=bool)
    trial = np.arange(len(x))
    for step in range(1, round(max_time / dt) + 1):
        if columns == 2:
            noise = stable(alpha, rng, len(x))
        else:
            noise = math.sqrt(2) * rng.standard_normal(len(x))
        x = x + move + scale * noise
        taken[trial] = step
        inside = (x > 0) & (x < bound)
        upper[trial[x <= 0]] = False
        if not inside.all():
            x, move, bound, alpha, scale, trial = (
                part[inside] for part in (x, move, bound, alpha, scale, trial)
            )
    rt = rt + dt * taken.reshape(shape)
    return np.where(upper.reshape(shape), rt, -rt)


def loop(theta_row, rng, n, *, dt=0.001, max_time=5.0):
    """One dataset, step by step, shape (n, columns)."""
    *drifts, z, a, t_0, alpha = theta_row if len(theta_row) == 6 else (*theta_row, 2.0)
    scale = math.sqrt(0.5) * dt ** (1 / alpha)
    rows = []
    for _ in range(n):
        row = []
        for drift in drifts:
            x, t = a * z, 0.0
            while 0 < x < a and t < max_time - dt / 2:
                u = (rng.random() - 0.5) * math.pi
                v = rng.exponential()
                s = math.sin(alpha * u) / math.cos(u) ** (1 / alpha)
                s *= (math.cos((1 - alpha) * u) / v) ** ((1 - alpha) / alpha)
                x += drift * dt + scale * s
                t += dt
            row.append(t + t_0 if x > 0 else -t - t_0)
        rows.append(row)
    return np.array(rows)
