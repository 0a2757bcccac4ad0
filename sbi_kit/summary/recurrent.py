"""Recurrent summary of a time series: GRU or LSTM over a convolution that shortens it.

A strided gated convolution turns a long series into at most 64 steps, its products seeing
neighbouring time points together; a cell reads these forwards, or two of half the size read them
both ways. The features are the last state of each cell, the mean of its states over time, the
moments of all time points with the steps that follow them, and log n.
"""

import math

import torch
from torch import Tensor, nn

from sbi_kit.summary.cells import Cell
from sbi_kit.summary.moments import Moments
from sbi_kit.summary.ragged import log_size, mask_of
from sbi_kit.summary.soft import unsoftened
from sbi_kit.summary.windows import Windows

WINDOWS = 64  # recurrent steps for the longest series


class Recurrent(nn.Module):
    """Series (b, n, inputs) with lengths (b,) to features (b, width).

    Args:
        inputs: Size of one time point.
        width: Size of the features.
        cell: "gru" or "lstm".
        hidden: Width of the convolution, and of all cells together.
        longest: The longest series to expect, which sets the stride.
        both_ways: Read the series backwards too, from its own end.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        *,
        cell: str,
        hidden: int,
        longest: int,
        both_ways: bool,
    ) -> None:
        super().__init__()
        self.windows = Windows(inputs, hidden, stride=math.ceil(longest / WINDOWS))
        directions = (False, True) if both_ways else (False,)
        state = max(1, hidden // len(directions))
        self.cells = nn.ModuleList(
            Cell(hidden, state, kind=cell, backwards=backwards) for backwards in directions
        )
        self.moments = Moments(2 * inputs, relations=False)
        self.mix = nn.Linear(2 * state * len(directions) + self.moments.size + 1, width)

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        windows, steps = self.windows(x, n)
        alive = mask_of(windows, steps).T.to(x.dtype).contiguous()  # (steps, b)
        series = windows.transpose(0, 1).contiguous()  # (steps, b, hidden)
        parts = []
        for cell in self.cells:
            states = cell(series, alive)  # (steps, state, b)
            last = torch.zeros_like(steps) if cell.backwards else steps - 1
            # States are zero after the end, so their sum is over the series alone.
            parts += [states.gather(0, last.expand(1, *states.shape[1:]))[0], states.sum(0) / steps]
        seen = [torch.cat(parts).T, self.moments(*_pairs(x, n)), log_size(x, n)]
        features: Tensor = self.mix(torch.cat(seen, dim=-1))
        return features

    def adapt(self, x: Tensor, n: Tensor, zero: Tensor) -> None:
        """Learn the scales of the moments from some datasets."""
        none = torch.full_like(zero, -torch.inf)
        self.moments.adapt(*_pairs(x, n), torch.cat([unsoftened(zero), none]))


def _pairs(x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
    """Each time point but the last beside the step that follows it, (b, n - 1, 2 inputs)."""
    x = unsoftened(x.masked_fill(~mask_of(x, n)[..., None], 0.0))
    return torch.cat([x[:, :-1], x.diff(dim=1)], dim=-1), n - 1
