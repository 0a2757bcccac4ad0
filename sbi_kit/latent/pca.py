"""Principal component analysis by a singular value decomposition (Pearson 1901, Hotelling 1933).

The code of a row is its projection on the M axes of largest variance, z = Uᵀ(x − μ); decoding, U z
+ μ, is the best approximation of the rows by an affine subspace of M dimensions. It is PPCA's limit
σ → 0, where the posterior mean of PPCA's code is z over the sds along the axes.
"""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from sbi_kit.checks import expect_integer
from sbi_kit.contracts import Array
from sbi_kit.latent.linear import linear_encoder
from sbi_kit.latent.spectrum import spectrum
from sbi_kit.latent.table import (
    expect_codes,
    expect_components,
    expect_fitted,
    expect_rows,
    expect_training,
)
from sbi_kit.seeds import numpy_stream


class PCA:
    """Principal component analysis.

    Args:
        components: M, size of a code, below the number of columns.

    Attributes:
        mean_: μ, shape (columns,).
        axes_: U, orthonormal, shape (columns, components), the largest entry of each positive.
        variances_: Variances 1/N along the axes, falling, shape (components,).
        explained_: Share of the total variance that each explains, shape (components,).

    >>> x = np.array([[0.0, 0, 1], [1, 1, 0], [2, 2, 1], [3, 3, 0]])
    >>> model = PCA(components=2).fit(x)
    >>> bool(abs(model.decode(model.encode(x)) - x).max() < 1e-12)
    True
    """

    def __init__(self, *, components: int) -> None:
        self.components = components

    def fit(self, x: ArrayLike) -> Self:
        """Learn from finite rows x (rows, columns).

        Raises:
            BadType, BadValue: x is no such table, `components` is out of its range, or the rows
                have fewer dimensions.

        Warns:
            UserWarning: A column is constant.
        """
        array = expect_training(x)
        components = expect_components(self.components, array.shape[1])
        found = spectrum(array)
        found.expect_rank(components)
        self.mean_ = found.mean
        self.axes_ = found.axes[:, :components]
        self.variances_ = found.variances[:components]
        self.explained_: Array = self.variances_ / found.variances.sum()
        return self

    def encode(self, x: ArrayLike) -> Array:
        """Projections of rows x (rows, columns) on the axes, shape (rows, components)."""
        codes: Array = self._centred(x) @ self.axes_
        return codes

    def decode(self, z: ArrayLike) -> Array:
        """The points of codes z (rows, components) in the subspace, shape (rows, columns)."""
        expect_fitted(self)
        decoded: Array = expect_codes(z, self.axes_.shape[1]) @ self.axes_.T + self.mean_
        return decoded

    def reconstruction_errors(self, x: ArrayLike) -> Array:
        """Mean squared distance of rows x from their approximations.

        Returns:
            One for each number of components 0..M, shape (components + 1,), never rising; of the
            training rows, it is the sum of the variances left out.
        """
        rest = self._centred(x)
        errors = [np.square(rest).sum(axis=1).mean()]
        for axis in self.axes_.T:
            rest = rest - np.outer(rest @ axis, axis)
            errors.append(np.square(rest).sum(axis=1).mean())
        return np.array(errors)

    def score(self, x: ArrayLike) -> float:
        """Less the mean squared distance of rows x from their approximations: no density."""
        return -float(self.reconstruction_errors(x)[-1])

    def sample(self, rows: int, *, seed: int) -> Array:
        """Draw rows in the subspace, shape (rows, columns), with the variances along the axes."""
        expect_fitted(self)
        rows = expect_integer("rows", rows, low=1)
        codes = numpy_stream(seed, "pca: sample").normal(size=(rows, len(self.variances_)))
        return self.decode(codes * np.sqrt(self.variances_))

    def encoder(self) -> nn.Sequential:
        """A frozen network of `encode`, for rows in float32 (b, columns)."""
        expect_fitted(self)
        return linear_encoder(self.axes_.T, self.mean_)

    def _centred(self, x: ArrayLike) -> Array:
        expect_fitted(self)
        centred: Array = expect_rows(x, columns=len(self.mean_)) - self.mean_
        return centred
