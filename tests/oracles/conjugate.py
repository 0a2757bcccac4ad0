"""Normal location models with their exact posterior, which can be made wrong in known ways.

theta ~ N(0, I) times a scale per parameter, x = theta + noise, both in that scale.
"""

import math
from dataclasses import dataclass

import numpy as np

from sbi_kit.data import Datasets

NOISE = 0.5
EXACT_SD = NOISE / math.sqrt(1 + NOISE**2)


@dataclass
class Normals:
    """Independent normals with mean 0; judges need no more than names and draws."""

    names: tuple[str, ...]
    scales: tuple[float, ...] = (1.0, 1000.0)

    def sample(self, b, rng):
        return rng.normal(size=(b, len(self.names))) * self.scales


@dataclass
class Bank:
    """Held-out simulations; a dataset of n observations is given by their mean, which suffices."""

    b: int
    names: tuple[str, ...] = ("a", "b")
    seed: int = 0
    scales: tuple[float, ...] = (1.0, 1000.0)
    drop: tuple[int, ...] = ()
    sizes: tuple[int, ...] = (1,)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        shape = (self.b, len(self.names))
        theta = rng.normal(size=shape)
        self.n = np.resize(self.sizes, self.b)
        self.theta = theta * self.scales
        noise = NOISE / np.sqrt(self.n)[:, None]
        self.x = (theta + noise * rng.normal(size=shape)) * self.scales
        self.prior = Normals(self.names, self.scales)
        self.usable = np.setdiff1d(np.arange(self.b), self.drop)

    def __len__(self):
        return self.b

    def take(self, rows):
        return self.theta[rows], Datasets(self.x[rows][:, None], self.n[rows])


def watched(posterior):
    """A list that every later call of the posterior's `sample` adds its draws to."""
    seen, sample = [], posterior.sample

    def spy(x, *, draws, seed):
        seen.append(sample(x, draws=draws, seed=seed))
        return seen[-1]

    posterior.sample = spy
    return seen


@dataclass
class Conjugate:
    """The exact posterior of `Bank`, its sd times `ratio`, moved by `shift` exact sds.

    `ratio_at` has other ratios for datasets of some sizes.
    """

    names: tuple[str, ...] = ("a", "b")
    shift: float = 0.0
    ratio: float = 1.0
    scales: tuple[float, ...] = (1.0, 1000.0)
    ratio_at: tuple[tuple[int, float], ...] = ()

    def __post_init__(self):
        self.prior = Normals(self.names, self.scales)

    def _normal(self, x):
        """Mean and sd, shapes (b, d)."""
        precision = x.n[:, None] / NOISE**2
        ratio = np.array([dict(self.ratio_at).get(n, self.ratio) for n in x.n.tolist()])[:, None]
        sd = np.array(self.scales) / np.sqrt(1 + precision)
        return x.values[:, 0] * precision / (1 + precision) + self.shift * sd, ratio * sd

    def sample(self, x, *, draws, seed):
        mean, sd = self._normal(x)
        z = np.random.default_rng(seed).normal(size=(len(x), draws, len(self.names)))
        return mean[:, None] + sd[:, None] * z

    def log_prob(self, theta, x):
        mean, sd = self._normal(x)
        if theta.ndim == 3:
            mean, sd = mean[:, None], sd[:, None]
        return (-0.5 * ((theta - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)).sum(-1)
