"""Principal axes and variances of a table, by a singular value decomposition.

With X the centred rows and X = U S Vᵀ, the covariance XᵀX / N has eigenvectors V and eigenvalues
S² / N. It is not formed, as that would square the condition number. Of tall tables the triangular
factor R of X = QR is decomposed, which has the same S and V.
"""

from dataclasses import dataclass

import numpy as np

from sbi_kit.checks import BadValue
from sbi_kit.contracts import Array


@dataclass(frozen=True)
class Spectrum:
    """Principal axes of a table of N rows.

    Attributes:
        mean: Mean of the columns, shape (columns,).
        axes: Orthonormal, shape (columns, r), r = min(N, columns); the largest entry of each is
            positive.
        variances: Variances 1/N along the axes, falling, shape (r,).
        rank: How many of them are not zero.
    """

    mean: Array
    axes: Array
    variances: Array
    rank: int

    def expect_rank(self, least: int) -> None:
        """Refuse a table of lower rank.

        Raises:
            BadValue: It is of lower rank.
        """
        if self.rank < least:
            do = "ask for fewer components, or pass more rows"
            raise BadValue(f"centred rows of rank {least} at least", f"rank {self.rank}", do)


def spectrum(x: Array) -> Spectrum:
    """Principal axes of finite rows x (N, columns)."""
    mean = x.mean(axis=0)
    centred = x - mean
    if len(x) > x.shape[1]:
        centred = np.linalg.qr(centred, mode="r")
    _, values, rows = np.linalg.svd(centred, full_matrices=False)
    precision = np.finfo(np.float64).eps * max(x.shape)
    # Centring leaves rounding errors of the size of the mean.
    floor = precision * max(values[0], float(np.abs(mean).max()))
    rank = int((values > floor).sum())
    return Spectrum(mean, oriented(rows.T), values**2 / len(x), rank)


def oriented(axes: Array) -> Array:
    """Columns with such signs that the largest entry of each is positive."""
    largest = np.abs(axes).argmax(axis=0)
    signs = np.where(np.take_along_axis(axes, largest[None], axis=0) < 0, -1.0, 1.0)
    turned: Array = axes * signs
    return turned
