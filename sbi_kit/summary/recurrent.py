"""Recurrent summary of a time series: GRU or LSTM, both ways, over a convolution that shortens it.

A strided gated convolution turns a long series into at most 64 steps, its products seeing
neighbouring time points together; two cells read these, one from the beginning and one from the
end. The features are the last state of each, the mean of their states over time, and log n.
"""

import math

import torch
from torch import Tensor, nn

from sbi_kit.summary.cells import Cell
from sbi_kit.summary.ragged import log_size, mask_of
from sbi_kit.summary.windows import Windows

_STEPS = 64  # recurrent steps for the longest series


class Recurrent(nn.Module):
    """Series (b, n, inputs) with lengths (b,) to features (b, width).

    Args:
        inputs: Size of one time point.
        width: Size of the features.
        cell: "gru" or "lstm".
        hidden: Width of convolution and cells.
        longest: The longest series to expect, which sets the stride.
    """

    def __init__(self, inputs: int, width: int, *, cell: str, hidden: int, longest: int) -> None:
        super().__init__()
        self.windows = Windows(inputs, hidden, stride=math.ceil(longest / _STEPS))
        self.forwards = Cell(hidden, hidden, kind=cell, backwards=False)
        self.backwards = Cell(hidden, hidden, kind=cell, backwards=True)
        self.mix = nn.Linear(4 * hidden + 1, width)

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        windows, steps = self.windows(x, n)
        alive = mask_of(windows, steps).T.to(x.dtype).contiguous()  # (steps, b)
        series = windows.transpose(0, 1).contiguous()  # (steps, b, hidden)
        there, back = self.forwards(series, alive), self.backwards(series, alive)
        last = there.gather(0, (steps - 1).expand(1, *there.shape[1:]))[0]  # (hidden, b)
        # States are zero after the end, so their sum is over the series alone.
        parts = [last, back[0], there.sum(0) / steps, back.sum(0) / steps]
        features: Tensor = self.mix(torch.cat([torch.cat(parts).T, log_size(x, n)], dim=-1))
        return features
