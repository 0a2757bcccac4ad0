"""Two-way summary of a matrix: blind to the order of its rows and of its columns.

Every entry sees itself, its row and its column,

    e_ij = φ(A x_ij + B r_i + C c_j),   r_i, c_j: moments of row i and of column j,

as in an exchangeable matrix layer (Hartford et al. 2018, arXiv:1803.02879), φ gated. Means of e
over columns describe rows and means over rows describe columns; each of these two sets goes through
a network of its own, as the observations of a deep set do. The entries are many and see one thin
layer; depth is where the rows and columns are.
"""

import torch
from torch import Tensor, nn

from sbi_kit.summary.gated import Gated, GatedBlock, gated
from sbi_kit.summary.ragged import log_size, mask_of, mean_over

_LARGE = 4.0  # root mean square of a row's or column's features, which are of order one


class TwoWay(nn.Module):
    """Matrices (b, n, views · columns) with n rows (b,) to features (b, width).

    Args:
        inputs: Numbers in a row: all columns in one view, then all in the next.
        width: Size of the features.
        hidden: Width of the networks that see a row or a column; an entry's has a quarter.
        columns: Number of columns.
    """

    def __init__(self, inputs: int, width: int, *, hidden: int, columns: int) -> None:
        super().__init__()
        self.views = inputs // columns
        moments, channels = 2 * self.views, max(1, hidden // 4)
        self.of_entry = nn.Linear(self.views, 2 * channels)
        self.of_row = nn.Linear(moments, 2 * channels, bias=False)
        self.of_column = nn.Linear(moments, 2 * channels, bias=False)
        self.row = nn.Sequential(Gated(channels + moments, hidden), GatedBlock(hidden))
        self.column = nn.Sequential(Gated(channels + moments, hidden), GatedBlock(hidden))
        self.mix = nn.Linear(2 * hidden + 1, width)

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        mask = mask_of(x, n)
        x = x.masked_fill(~mask[..., None], 0.0)
        entries = x.unflatten(-1, (self.views, -1)).mT  # (b, n, columns, views)
        squares = gated(torch.cat([entries, entries], dim=-1))  # they grow less where large
        moments = torch.cat([entries, squares], dim=-1)
        row = moments.mean(dim=2)  # (b, n, moments)
        column = _mean_over_rows(moments, n)  # (b, columns, moments)
        each = gated(
            self.of_entry(entries) + self.of_row(row)[:, :, None] + self.of_column(column)[:, None]
        )  # (b, n, columns, channels)
        rows = self.row(_damped(each.mean(dim=2), row))  # (b, n, hidden)
        columns = self.column(_damped(_mean_over_rows(each, n), column))  # (b, columns, hidden)
        parts = [mean_over(rows, n), columns.mean(dim=1), log_size(x, n)]
        features: Tensor = self.mix(torch.cat(parts, dim=-1))
        return features


def _mean_over_rows(x: Tensor, n: Tensor) -> Tensor:
    """Mean over the true rows, (b, n, columns, f) to (b, columns, f)."""
    mean: Tensor = mean_over(x.flatten(2), n).unflatten(-1, x.shape[2:])
    return mean


def _damped(*parts: Tensor) -> Tensor:
    """Parts side by side, (..., f), scaled down where they are large, and only there.

    A row of extreme entries would else be squared again in the layers that follow.
    """
    x = torch.cat(parts, dim=-1)
    return x * torch.rsqrt(1 + x.square().mean(-1, keepdim=True) / _LARGE**2)
