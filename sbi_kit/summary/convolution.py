"""Convolutional summary of a time series: residual gated convolutions, each half as long.

    y_0 = windows of x,   y_k = mean of pairs of y_{k-1} + W g(windows of y_{k-1})

A strided gated convolution turns a long series into at most 64 steps. Each level, residual as in
He et al. 2016 (arXiv:1512.03385), halves them and so doubles the span of the products it sees; all
levels together cost no more than the first of them twice. The features are the mean over time and
the last time point of every y_k, and log n.
"""

import math

import torch
from torch import Tensor, nn

from sbi_kit.summary.gated import bounded
from sbi_kit.summary.ragged import log_size, mask_of, mean_over
from sbi_kit.summary.windows import Windows

_STEPS = 64  # steps of the first level for the longest series
_DEEPEST = 4  # residual levels, fewer where a series is soon one step


class Convolution(nn.Module):
    """Series (b, n, inputs) with lengths (b,) to features (b, width).

    Args:
        inputs: Size of one time point.
        width: Size of the features.
        hidden: Width of every level.
        longest: The longest series to expect, which sets the stride and the number of levels.
    """

    def __init__(self, inputs: int, width: int, *, hidden: int, longest: int) -> None:
        super().__init__()
        stride = math.ceil(longest / _STEPS)
        levels = min(_DEEPEST, max(1, math.ceil(math.log2(longest / stride))))
        self.windows = Windows(inputs, hidden, stride=stride)
        self.levels = nn.ModuleList(Halving(hidden) for _ in range(levels))
        self.mix = nn.Linear(2 * hidden * (levels + 1) + 1, width)

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        y, steps = self.windows(x, n)
        parts = [*_pooled(y, steps), log_size(x, n)]
        for level in self.levels:
            y, steps = level(y, steps)
            parts += _pooled(y, steps)
        features: Tensor = self.mix(torch.cat(parts, dim=-1))
        return features


class Halving(nn.Module):
    """A residual level, (b, n, width) to (b, ⌈n / 2⌉, width); new, it takes the means of pairs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = Windows(width, width, stride=2)
        self.outer = nn.Linear(width, width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        inner, half = self.inner(bounded(x), n)
        x = x.masked_fill(~mask_of(x, n)[..., None], 0.0)
        if x.shape[1] % 2:
            x = nn.functional.pad(x, (0, 0, 0, 1))
        # A last time point without partner is its own mean.
        pairs = (n[:, None] - 2 * torch.arange(x.shape[1] // 2, device=x.device)).clamp(1, 2)
        means = x.unflatten(1, (-1, 2)).sum(2) / pairs[..., None].to(x.dtype)
        return means + self.outer(inner), half


def _pooled(y: Tensor, n: Tensor) -> list[Tensor]:
    """Mean over time and last time point of y (b, n, f), each (b, f)."""
    last = y.gather(1, (n - 1)[:, None, None].expand(-1, 1, y.shape[-1]))[:, 0]
    return [mean_over(y.masked_fill(~mask_of(y, n)[..., None], 0.0), n), last]
