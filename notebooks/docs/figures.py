"""The figures of `how/diagnostics`: posteriors that are right, and wrong in known ways.

A dataset has n rows, each the d parameters with normal noise of sd 1, and the prior is standard
normal. So the exact posterior of each parameter is normal, with mean sum(x) / (n + 1) and variance
1 / (n + 1), and can be spoilt on purpose.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import sbi_kit as sk
from sbi_kit import plots
from sbi_kit.contracts import Array
from sbi_kit.data import Datasets
from sbi_kit.diagnostics.local import LocalCheck, check_locally
from sbi_kit.familiarity import Familiarity, fit_familiarity
from sbi_kit.importance import Correction, correct

DATASETS, DRAWS = 500, 300
Drawing = Callable[..., Figure]


def repeated(*names: str, n: int | tuple[int, int], noise: float = 1.0) -> sk.Simulator:
    """The model: n noisy readings of each parameter."""

    def simulate(theta: Array, rng: np.random.Generator, n: int) -> Array:
        return theta[:, None] + noise * rng.normal(size=(len(theta), n, len(names)))

    return sk.Simulator(
        name="repeated",
        prior=sk.Prior(**{name: sk.Normal(0, 1) for name in names}),
        data=sk.Exchangeable(columns=tuple(f"x_{name}" for name in names), n=n),
        simulate=simulate,
    )


@dataclass(frozen=True)
class Spoilt:
    """The exact posterior, its sds times `ratio`, moved by `shift` exact sds.

    `ratio(n)` may depend on the number of readings.
    """

    model: sk.Simulator
    ratio: Callable[[Array], Array]
    shift: Array
    noise: float = 1.0

    @property
    def prior(self) -> sk.Prior:
        """That of the model."""
        return self.model.prior

    def _normal(self, x: Datasets) -> tuple[Array, Array]:
        precision = 1 + x.n[:, None] / self.noise**2
        exact = np.sqrt(1 / precision)
        mean = x.values.sum(axis=1) / self.noise**2 / precision
        return mean + self.shift * exact, exact * self.ratio(x.n[:, None])

    def sample(self, x: Datasets, *, draws: int, seed: int) -> Array:
        """Draw from the spoilt normals, shape (b, draws, d)."""
        mean, sd = self._normal(x)
        z = np.random.default_rng(seed).normal(size=(len(x), draws, mean.shape[1]))
        return mean[:, None] + sd[:, None] * z

    def log_prob(self, theta: Array, x: Datasets) -> Array:
        """Log density of theta (b, draws, d), shape (b, draws)."""
        mean, sd = (part[:, None] for part in self._normal(x))
        return (-0.5 * ((theta - mean) / sd) ** 2 - np.log(sd) - 0.919).sum(axis=-1)


def four() -> sk.Verdict:
    """One parameter that is right and three that are wrong, each in its own way."""
    model = repeated("right", "narrow", "wide", "shifted", n=(2, 40))
    ratio, shift = np.array([1, 0.7, 1.4, 1]), np.array([0, 0, 0, 0.4])
    posterior = Spoilt(model, lambda n: ratio + 0 * n, shift)
    return sk.calibrate(posterior, sk.simulate(model, DATASETS, seed=1), draws=DRAWS, seed=2)


def by_size() -> sk.Verdict:
    """Too narrow where data are few and too wide where they are many, right on average."""
    model = repeated("mu", n=(2, 40))
    posterior = Spoilt(
        model, lambda n: np.where(n < 15, 0.7, np.where(n < 28, 1, 1.5)), np.zeros(1)
    )
    return sk.calibrate(posterior, sk.simulate(model, 600, seed=3), draws=DRAWS, seed=4)


@dataclass(frozen=True)
class Together:
    """A posterior of two parameters of which the data show the sum alone.

    x = a + b + noise. The exact posterior has a correlation of almost −1; this one has the right
    marginals, and none.
    """

    model: sk.Simulator
    prior = property(lambda self: self.model.prior)

    def sample(self, x: Datasets, *, draws: int, seed: int) -> Array:
        """Draw a and b from their marginals, shape (b, draws, 2)."""
        mean, sd = self._normal(x)
        return mean + sd * np.random.default_rng(seed).normal(size=(len(x), draws, 2))

    def log_prob(self, theta: Array, x: Datasets) -> Array:
        """Log density of theta (b, draws, 2), shape (b, draws)."""
        mean, sd = self._normal(x)
        return (-0.5 * ((theta - mean) / sd) ** 2 - np.log(sd) - 0.919).sum(axis=-1)

    def _normal(self, x: Datasets) -> tuple[Array, float]:
        gain = 1 / (2 + 0.3**2)
        return gain * x.values[:, :, :1], float(np.sqrt(1 - gain))


def uncorrelated() -> sk.Verdict:
    """Right for each parameter, wrong for both together."""
    model = sk.Simulator(
        name="sum",
        prior=sk.Prior(a=sk.Normal(0, 1), b=sk.Normal(0, 1)),
        data=sk.Vector(columns=("total",)),
        simulate=lambda theta, rng: (
            theta.sum(1, keepdims=True) + 0.3 * rng.normal(size=(len(theta), 1))
        ),
    )
    held_out = sk.simulate(model, DATASETS, seed=5)
    return sk.calibrate(Together(model), held_out, draws=DRAWS, seed=6, regions=1)


def statistics(x: Datasets) -> Array:
    """Mean and log sd of each column of datasets of one size, shape (b, 2 d)."""
    return np.concatenate([x.values.mean(axis=1), np.log(x.values.std(axis=1))], axis=1)


def strange() -> tuple[Array, Familiarity]:
    """Scores of data like the simulations, and of data that scatter twice as much."""
    model = repeated("mu", n=20)
    known, held_out, usual = (sk.simulate(model, 1_000, seed=seed) for seed in (7, 8, 9))
    parts = [statistics(bank.take(bank.usable)[1]) for bank in (known, held_out)]
    familiarity = fit_familiarity(*parts)
    noisier = sk.simulate(repeated("mu", n=20, noise=2.0), 1, seed=10)
    seen = [statistics(bank.take(np.arange(1))[1]) for bank in (usual, noisier)]
    return familiarity.score(np.concatenate(seen)), familiarity


def weighted() -> Correction:
    """Draws of a posterior a little too wide and of one half as wide as it should be, weighted."""
    model = repeated("a", "b", "c", n=10)
    x = sk.simulate(model, 2, seed=11).take(np.arange(2))[1]

    def log_likelihood(theta: Array, x: Datasets) -> Array:
        return -0.5 * np.square(x.values - theta[:, None]).sum(axis=(1, 2))

    ratio = np.array([[1.2], [0.5]])
    return correct(
        Spoilt(model, lambda _: ratio, np.zeros(3)), x, log_likelihood, draws=1_000, seed=12
    )


@dataclass(frozen=True)
class InACorner:
    """A posterior that is right, but not where the mean of the first column is above 1."""

    right: Spoilt
    wrong: Spoilt
    prior = property(lambda self: self.right.prior)

    def sample(self, x: Datasets, *, draws: int, seed: int) -> Array:
        """Draw from the one or the other, shape (b, draws, d)."""
        there = x.values[:, :, 0].mean(axis=1) > 1
        both = [each.sample(x, draws=draws, seed=seed) for each in (self.wrong, self.right)]
        return np.where(there[:, None, None], *both)

    def log_prob(self, theta: Array, x: Datasets) -> Array:
        """Log density of theta (b, draws, d), shape (b, draws)."""
        there = x.values[:, :, 0].mean(axis=1) > 1
        both = [each.log_prob(theta, x) for each in (self.wrong, self.right)]
        return np.where(there[:, None], *both)


def in_a_corner() -> LocalCheck:
    """The local check of it, at data where it is right and where it is not."""
    model = repeated("a", "b", n=10)
    right = Spoilt(model, lambda n: 1 + 0 * n, np.zeros(2))
    wrong = Spoilt(model, lambda n: np.array([1.0, 0.6]) + 0 * n, np.array([0.6, 0.0]))
    x = Datasets(np.zeros((2, 10, 2)), np.array([10, 10]))
    x.values[:, :, 0] = np.array([[-0.5], [1.7]]) + np.linspace(-1.6, 1.6, 10)
    x.values[:, :, 1] = np.linspace(1.6, -1.6, 10)
    held_out = sk.simulate(model, 2_000, seed=13)
    return check_locally(InACorner(right, wrong), held_out, x, draws=100, seed=14)


def drawings() -> Iterator[tuple[str, Drawing]]:
    """Every figure with its name; each is drawn twice, for light and for dark pages."""
    each = four()
    for drawing in (plots.rank_ecdf, plots.rank_histogram, plots.coverage, plots.contraction):
        yield drawing.__name__, lambda dark, drawing=drawing: drawing(each, dark=dark)
    sizes, joint = by_size(), uncorrelated()
    yield "strata", lambda dark: plots.strata(sizes, dark=dark)
    yield "joint_coverage", lambda dark: plots.joint_coverage(joint, dark=dark)
    scores, known = strange()
    p_values = known.p_value(scores)
    yield "familiarity", lambda dark: plots.familiarity(scores, known.scores, p_values, dark=dark)
    correction, local = weighted(), in_a_corner()
    yield "importance_weights", lambda dark: plots.importance_weights(correction, dark=dark)
    yield "local_check", lambda dark: plots.local_check(local, dark=dark)


def write(folder: Path) -> None:
    """Write all figures as SVG."""
    folder.mkdir(exist_ok=True)
    for name, draw in drawings():
        for shade, dark in (("light", False), ("dark", True)):
            (folder / f"{name}_{shade}.svg").write_text(plots.to_svg(draw(dark)), encoding="utf-8")
