"""Two-way summary of a matrix: blind to the order of its rows and of its columns.

Every entry sees itself, its row and its column,

    e_ij = φ(A x_ij + B r_i + C c_j),   r_i, c_j: moments of row i and of column j,

as in an exchangeable matrix layer (Hartford et al. 2018, arXiv:1803.02879), φ gated. Means of e
over columns describe rows and means over rows describe columns; each of these two sets goes through
a network of its own, as the observations of a deep set do. The entries are many and see one thin
layer; depth is where the rows and columns are.

Beside them stand what sums of smooth functions of entries come to slowly: logarithms of the
variance of each row and column, and of how many values of a column are equal (the share of pairs
that are alike and the share of values that differ), which is what counts and alleles are about.
"""

import torch
from torch import Tensor, nn

from sbi_kit.summary.gated import Gated, GatedBlock, gated
from sbi_kit.summary.ragged import log_size, mask_of, mean_over

_LEAST = 1e-4  # of a variance or a share, so that it has a logarithm
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
        self.row = nn.Sequential(Gated(channels + moments + 1, hidden), GatedBlock(hidden))
        self.column = nn.Sequential(Gated(channels + moments + 3, hidden), GatedBlock(hidden))
        self.mix = nn.Linear(2 * hidden + 5, width)

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
        values = entries[..., 0].detach()
        spread = _log_variance(values, torch.ones_like(mask[..., None]).expand_as(values), dim=2)
        wide = _log_variance(values, mask[..., None].expand_as(values), dim=1)
        plain = torch.stack([wide, *_log_ties(values, mask)], dim=-1)  # (b, columns, 3)
        rows = self.row(_damped(each.mean(dim=2), row, spread[..., None]))  # (b, n, hidden)
        columns = self.column(_damped(_mean_over_rows(each, n), column, plain))
        together = torch.cat([mean_over(spread[..., None], n), plain.mean(dim=1)], dim=-1)
        parts = [mean_over(rows, n), columns.mean(dim=1), log_size(x, n), together]
        features: Tensor = self.mix(torch.cat(parts, dim=-1))
        return features


def _mean_over_rows(x: Tensor, n: Tensor) -> Tensor:
    """Mean over the true rows, (b, n, columns, f) to (b, columns, f)."""
    mean: Tensor = mean_over(x.flatten(2), n).unflatten(-1, x.shape[2:])
    return mean


def _log_variance(values: Tensor, there: Tensor, *, dim: int) -> Tensor:
    """Logarithm of the variance along an axis of values (b, n, columns), of what is there."""
    count = there.sum(dim, keepdim=True).clamp_min(1)
    mean = values.mul(there).sum(dim, keepdim=True) / count
    squares = (values - mean).square().mul(there)
    return (squares.sum(dim) / count.squeeze(dim) + _LEAST).log()


def _log_ties(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of the share of pairs that are alike and of values that differ, (b, columns)."""
    there = mask[..., None].expand_as(values)
    ordered = values.masked_fill(~there, torch.inf).sort(dim=1).values
    first = torch.ones_like(there)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    # Ordered, those alike stand together; what is not there is last.
    group = first.cumsum(dim=1) - 1
    counts = torch.zeros_like(values).scatter_add_(1, group, there.to(values.dtype))
    n = there.sum(dim=1).clamp_min(1)
    pairs = counts.square().sum(dim=1) / n.square()
    kinds = (first & there).sum(dim=1) / n
    return pairs.clamp_min(_LEAST).log(), kinds.clamp_min(_LEAST).log()


def _damped(*parts: Tensor) -> Tensor:
    """Parts side by side, (..., f), scaled down where they are large, and only there.

    A row of extreme entries would else be squared again in the layers that follow.
    """
    x = torch.cat(parts, dim=-1)
    return x * torch.rsqrt(1 + x.square().mean(-1, keepdim=True) / _LARGE**2)
