"""Kryptonite: a parity of noisy bits, a classification problem that defeats the usual methods.

Each of n features is a fair bit under noise of mean zero, which is uniform for a third of them,
Laplacian for a third and normal for a third:

    x_j = b_j + e_j,   e_j ~ U(-w, w),   Laplace(s)   or   N(0, sd^2).

The label is the parity of the 2n/3 bits under Laplacian and normal noise, flipped with a
probability that grows with the bits under uniform noise, of which a share S are 1:

    label = (XOR of the parity bits) XOR f,   f ~ Bernoulli(c S / sqrt(n)).

No proper subset of the parity bits tells anything about the label, so greedy and local searches
have no slope to follow (Minsky & Papert 1969, "Perceptrons"; Shalev-Shwartz, Shamir & Shammah
2017, arXiv:1703.07950). The uniform columns tell only how far to trust the parity. The data sets
named Kryptonite-n of a course at Imperial College London (2024) have this structure, with n = 9,
12, 15, 18, 24, 30 and 45, and 2000 n rows.

The mean of S is 1/2, so whoever knows the bits is right with probability 1 - c / (2 sqrt(n)). The
bits must be read off the features: rounding misreads them with probability
m = exp(-1/(2s)) / 2 under Laplacian and Phi(-1/(2 sd)) under normal noise, and the parity is then
wrong if an odd number is misread.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.special import ndtr

from sbi_kit.checks import (
    BadValue,
    expect_array,
    expect_features,
    expect_finite,
    expect_integer,
    expect_number,
    expect_rng,
)
from sbi_kit.contracts import IntArray
from sbi_kit.seeds import numpy_stream

_KINDS = ("uniform", "laplace", "gaussian")
_WIDEST = 1e6


@dataclass(frozen=True, kw_only=True)
class Kryptonite:
    """Labelled data whose label is a parity; features x_1..x_n and target label, 0 or 1.

    Which columns have which noise is fixed by `columns_seed`, not by the random numbers of the
    rows, because training and test data must have the same columns.

    Args:
        n: Number of features, a multiple of 3.
        uniform_width: Half-width w of the uniform noise, above 0 and at most 1e6, as all three.
        laplace_scale: Scale s of the Laplacian noise, above 0; its standard deviation is s sqrt(2).
        gaussian_sd: Standard deviation sd of the normal noise, above 0.
        flip_scale: The c of the probability of a flip, from 0 to sqrt(n) / 2; at most every
            second label is flipped.
        columns_seed: Seed of the order of the columns.

    Raises:
        BadValue: An argument is outside its range.
        BadType: It is not a number.

    >>> model = Kryptonite(n=9)
    >>> frame = model.generate(20_000, np.random.default_rng(0))
    >>> round(float((model.best_guess(frame) == frame["label"]).mean()), 3)
    0.958
    >>> round(model.best_accuracy, 4)
    0.9583
    """

    n: int = 9
    uniform_width: float = 0.025
    laplace_scale: float = 0.05
    gaussian_sd: float = 0.1
    flip_scale: float = 0.25
    columns_seed: int = 0

    def __post_init__(self) -> None:
        expect_integer("n", self.n, low=3)
        if self.n % 3:
            advice = f"choose {self.n - self.n % 3} or {self.n + 3 - self.n % 3}"
            raise BadValue("n as a multiple of 3", str(self.n), advice)
        for width in ("uniform_width", "laplace_scale", "gaussian_sd"):
            expect_number(width, getattr(self, width), low=0, high=_WIDEST, open_low=True)
        expect_number("flip_scale", self.flip_scale, low=0, high=np.sqrt(self.n) / 2)
        expect_integer("columns_seed", self.columns_seed, low=0)

    @cached_property
    def features(self) -> tuple[str, ...]:
        """x_1..x_n."""
        return tuple(f"x_{j}" for j in range(1, self.n + 1))

    @property
    def targets(self) -> tuple[str, ...]:
        """The label."""
        return ("label",)

    @property
    def default_rows(self) -> int:
        """As many rows as the published data sets have, 2000 n."""
        return 2_000 * self.n

    @cached_property
    def roles(self) -> tuple[str, ...]:
        """The noise of each feature: "uniform", "laplace" or "gaussian"."""
        return tuple(_KINDS[j // (self.n // 3)] for j in self._order)

    @cached_property
    def _order(self) -> IntArray:
        """The place of each feature among bits that are sorted by their noise."""
        rng = numpy_stream(self.columns_seed, "kryptonite: columns")
        return rng.permutation(self.n).astype(np.int64)

    @property
    def best_accuracy(self) -> float:
        """How often the parity of the true bits is the label, 1 - c / (2 sqrt(n))."""
        return float(1 - self.flip_scale / (2 * np.sqrt(self.n)))

    @property
    def best_guess_accuracy(self) -> float:
        """How often `best_guess` is the label; no classifier of the features does better."""
        laplace = np.exp(-0.5 / self.laplace_scale) / 2
        gaussian = ndtr(-0.5 / self.gaussian_sd)
        # E(-1)^k of k misread bits is the product of those of each.
        odd = (1 - ((1 - 2 * laplace) * (1 - 2 * gaussian)) ** (self.n // 3)) / 2
        return float(self.best_accuracy * (1 - odd) + (1 - self.best_accuracy) * odd)

    @property
    def best_scores(self) -> dict[str, float]:
        """The best that any classifier of the features can have."""
        return {"accuracy": self.best_guess_accuracy}

    def generate(self, rows: int, rng: np.random.Generator) -> pd.DataFrame:
        """Draw rows.

        Args:
            rows: How many, at least 1.
            rng: Source of all randomness.

        Returns:
            The features as float64 and the label as int64.

        Raises:
            BadType, BadValue: `rows` is no such number.
        """
        b, third = expect_integer("rows", rows, low=1), self.n // 3
        bits = expect_rng(rng).integers(0, 2, size=(b, self.n), dtype=np.int8)
        noise = np.hstack(
            [
                rng.uniform(-self.uniform_width, self.uniform_width, (b, third)),
                rng.laplace(0, self.laplace_scale, (b, third)),
                rng.normal(0, self.gaussian_sd, (b, third)),
            ]
        )
        flip = bits[:, :third].mean(axis=1) * (self.flip_scale / np.sqrt(self.n))
        label = (bits[:, third:].sum(axis=1) + (rng.random(b) < flip)) % 2
        frame = pd.DataFrame((bits + noise)[:, self._order], columns=list(self.features))
        frame[self.targets[0]] = label.astype(np.int64)
        return frame

    def best_guess(self, frame: pd.DataFrame) -> IntArray:
        """The more probable label of each row, from the parity of the rounded features.

        Args:
            frame: A frame with the features; further columns are ignored.

        Returns:
            Labels, 0 or 1, shape (rows,).

        Raises:
            BadType, BadValue: A feature is absent, or a value no finite number; the message names
                it.
        """
        told = [x for x, role in zip(self.features, self.roles, strict=True) if role != "uniform"]
        expect_features(frame, told)
        do = "pass rows without missing values"
        values = expect_array("features", frame[told].to_numpy(), ("rows", len(told)), do=do)
        read = expect_finite("features", values, told, do=do) > 0.5
        parity: IntArray = (read.sum(axis=1) % 2).astype(np.int64)
        return parity
