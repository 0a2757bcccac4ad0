"""A class that is the parity of some noisy bits, found by algebra: what a network could reach.

Each feature is a bit b_j under noise of its own, and the label is the parity of the bits of a set
A, flipped now and then. Rounding reads the bits, and what it leaves, x_j - b_j, shows the shape of
the noise: whichever of uniform, Laplacian and normal noise is most likely. The bits under noise
that is not uniform are the first candidates for A.

If their parity is not the label, A is solved for. The label is a linear equation over GF(2),

    y_i = s_0 + sum_j s_j b_ij   (mod 2),   A = {j: s_j = 1},

so n + 1 independent rows without a flip give s by Gaussian elimination. Rows are drawn until s
holds on far more than half of all rows; another s holds on about half of them (Prange 1962, IRE
Trans. Inf. Theory 8:5). At flip rate e that takes (1 - e)^-(n + 1) attempts, or a few times that.

Flips are as frequent as the share of ones among the bits under uniform noise outside of A, times a
rate that is learned; where there are none, equally frequent everywhere.
"""

import math
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sbi_kit.checks import BadValue, expect_integer
from sbi_kit.contracts import Array, IntArray
from sbi_kit.seeds import numpy_stream
from sbi_kit.supervised.classes import read_classes
from sbi_kit.supervised.lesson import expect_target

_WIDEST = 0.25  # standard deviation of noise under which rounding reads bits; U(0, 1) leaves 0.29
_RAREST = 0.01  # share of ones or zeros in a column of bits
_CLEAR = 6.0  # standard errors above one half at which a parity is no chance
_SHAPES = ("uniform", "laplace", "gaussian")
_LEAST = 1e-12  # width of noise that is none


class ParitySolver(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """The parity of noisy bits, by the shapes of their noise or by elimination over GF(2).

    Args:
        attempts: Sets of rows that elimination tries at most.
        seed: Seed of these sets.

    Attributes:
        classes_: The two classes.
        shapes_: The noise of each feature, "uniform", "laplace" or "gaussian".
        parity_: Whether each feature's bit is in the parity, shape (n,).
        constant_: Which class an even parity means, 0 or 1.
        method_: How the parity was found, "shapes" or "elimination".
        trust_: Whether each feature's bit tells how frequent flips are, shape (n,).
        flip_rate_: Share of flipped labels where all those bits are 1.

    >>> rng = np.random.default_rng(0)
    >>> bits = rng.integers(0, 2, (500, 4))
    >>> x = bits + np.hstack([rng.normal(0, 0.1, (500, 2)), rng.uniform(-0.02, 0.02, (500, 2))])
    >>> solver = ParitySolver().fit(x, bits[:, 0] ^ bits[:, 1])
    >>> solver.parity_.tolist(), solver.method_
    ([True, True, False, False], 'shapes')
    """

    def __init__(self, *, attempts: int = 2_000, seed: int = 0) -> None:
        self.attempts = attempts
        self.seed = seed

    def fit(self, x: Any, y: Any) -> Self:
        """Find the parity.

        Args:
            x: Features, a frame or an array (rows, n), bits under noise.
            y: Two classes, shape (rows,).

        Raises:
            BadType, BadValue: A setting is out of its range, features are no bits under noise, or
                no parity of them is the label more often than not.
        """
        expect_integer("attempts", self.attempts, low=1)
        expect_target(self, x, y)
        values = np.asarray(validate_data(self, X=x, dtype=np.float64))
        self.classes_, codes = read_classes(y, len(values))
        bits, noise = _read(values, [str(name) for name in _names(self, values.shape[1])])
        labels = codes.astype(np.int64)
        self.shapes_ = tuple(_shape(column) for column in noise.T)
        uniform = np.array([shape == "uniform" for shape in self.shapes_])
        self.method_, parity = "shapes", np.append(~uniform, False)
        even = _mismatch(bits, labels, parity)
        parity[-1] = even > 0.5
        if not _clear(min(even, 1 - even), len(labels)):
            rng = numpy_stream(self.seed, "parity rows")
            self.method_, parity = "elimination", _eliminate(bits, labels, self.attempts, rng)
        self.parity_, self.constant_ = parity[:-1], int(parity[-1])
        self.trust_ = uniform & ~self.parity_
        flips = self._parity(bits) != labels
        self.flip_rate_ = float(flips.sum() / max(1.0, self._trust(bits).sum()))
        return self

    def predict(self, x: Any) -> NDArray[Any]:
        """The class of each row, shape (rows,)."""
        bits = self._bits(x)
        return np.asarray(self.classes_[self._parity(bits)])

    def predict_proba(self, x: Any) -> Array:
        """Probabilities of both classes, shape (rows, 2)."""
        bits = self._bits(x)
        flip = np.minimum(self.flip_rate_ * self._trust(bits), 0.5)
        one = np.where(self._parity(bits) == 1, 1 - flip, flip)
        return np.stack([1 - one, one], axis=1)

    def _bits(self, x: Any) -> IntArray:
        check_is_fitted(self)
        values = validate_data(self, X=x, dtype=np.float64, reset=False)
        return (np.asarray(values) > 0.5).astype(np.int64)

    def _parity(self, bits: IntArray) -> IntArray:
        found: IntArray = (bits[:, self.parity_].sum(axis=1) + self.constant_) % 2
        return found

    def _trust(self, bits: IntArray) -> Array:
        """Flips are as frequent as this, (rows,)."""
        if not self.trust_.any():
            return np.ones(len(bits))
        return np.asarray(bits[:, self.trust_].mean(axis=1))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


def _names(estimator: BaseEstimator, n: int) -> Any:
    return getattr(estimator, "feature_names_in_", [f"x{j}" for j in range(n)])


def _read(values: Array, names: list[str]) -> tuple[IntArray, Array]:
    """Bits (rows, n) and their noise (rows, n), if that is what the features are."""
    bits = (values > 0.5).astype(np.int64)
    noise = values - bits
    ones, widths = bits.mean(axis=0), np.sqrt(np.mean(noise**2, axis=0))
    bad = (widths > _WIDEST) | (ones < _RAREST) | (ones > 1 - _RAREST)
    if bad.any():
        j = int(np.argmax(bad))
        raise BadValue(
            f"features that are bits, 0 and 1, under noise of standard deviation <= {_WIDEST}",
            f"{names[j]!r} with {ones[j]:.0%} ones and noise of {widths[j]:.3g}",
            "use WideDeep for other features",
        )
    return bits, noise


def _shape(noise: Array) -> str:
    """The most likely shape of noise about 0: each at its own best width."""
    width = max(_LEAST, float(np.abs(noise).max()))
    scale = max(_LEAST, float(np.abs(noise).mean()))
    sd = max(_LEAST, float(np.sqrt(np.mean(noise**2))))
    # Log likelihoods per value.
    fits = (-np.log(2 * width), -np.log(2 * scale) - 1, -np.log(sd) - np.log(2 * np.pi * np.e) / 2)
    return _SHAPES[int(np.argmax(fits))]


def _mismatch(bits: IntArray, labels: IntArray, parity: NDArray[np.bool_]) -> float:
    """Share of the rows where a parity, its constant last, is not the label."""
    told = (bits[:, parity[:-1]].sum(axis=1) + parity[-1]) % 2
    return float(np.mean(told != labels))


def _clear(mismatch: float, rows: int) -> bool:
    """Whether so few mismatches are no chance."""
    return mismatch < 0.5 - _CLEAR * 0.5 / math.sqrt(rows)


def _eliminate(
    bits: IntArray, labels: IntArray, attempts: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """The parity, its constant last, that a random set of rows implies and the others confirm."""
    rows, n = bits.shape
    system = np.hstack([bits, np.ones((rows, 1), dtype=np.int64), labels[:, None]]).astype(bool)
    for _ in range(attempts if rows > n else 0):
        # A few more rows than unknowns, so that they are seldom dependent.
        chosen = rng.choice(rows, size=min(rows, n + 1 + 8), replace=False)
        parity = _solve(system[chosen])
        if parity is not None and _clear(_mismatch(bits, labels, parity), rows):
            return parity
    raise BadValue(
        "labels that are a parity of the features' bits but for some flips",
        f"none found in {attempts} attempts on {rows} rows of {n} features",
        "add rows or attempts, or use WideDeep",
    )


def _solve(system: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """The unknowns of equations over GF(2), right-hand sides last; None if rows are dependent.

    Only as many equations are used as there are unknowns.
    """
    left = system.copy()
    unknowns = left.shape[1] - 1
    for k in range(unknowns):
        pivots = np.flatnonzero(left[k:, k])
        if not len(pivots):
            return None
        pivot = k + pivots[0]
        left[[k, pivot]] = left[[pivot, k]]
        others = left[:, k].copy()
        others[k] = False
        left[others] ^= left[k]
    return left[:unknowns, -1]
