"""Recurrent summary of a time series: GRU or LSTM over a convolution that shortens it.

A strided gated convolution turns a long series into at most 64 steps, its products
seeing neighbouring time points together; a GRU (Cho et al. 2014, arXiv:1406.1078) or LSTM
(Hochreiter & Schmidhuber 1997) reads these. The features are its last state, the mean of its states
over time, and log n.
"""

import math

import torch
from torch import Tensor, nn

from sbi_kit.summary.gated import gated
from sbi_kit.summary.ragged import log_size, mask_of, mean_over

_STEPS = 64  # recurrent steps for the longest series
CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}


class Recurrent(nn.Module):
    """Series (b, n, inputs) with lengths (b,) to features (b, width).

    Args:
        inputs: Size of one time point.
        width: Size of the features.
        cell: "gru" or "lstm".
        hidden: Width of convolution and cell.
        longest: The longest series to expect, which sets the stride.
    """

    def __init__(self, inputs: int, width: int, *, cell: str, hidden: int, longest: int) -> None:
        super().__init__()
        self.stride = math.ceil(longest / _STEPS)
        # One more channel says which time points exist, so that the end of the series is no zero.
        self.convolution = nn.Conv1d(
            inputs + 1, 2 * hidden, 2 * self.stride + 1, stride=self.stride, padding=self.stride
        )
        self.cell = CELLS[cell](hidden, hidden, batch_first=True)
        self.mix = nn.Linear(2 * hidden + 1, width)

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        mask = mask_of(x, n)[..., None]  # (b, n, 1)
        channels = torch.cat([x.masked_fill(~mask, 0.0), mask.to(x.dtype)], dim=-1)
        windows = gated(self.convolution(channels.mT).mT)  # (b, steps, hidden)
        steps = torch.div(n - 1, self.stride, rounding_mode="floor") + 1  # (b,)
        states = self.cell(windows)[0]  # (b, steps, hidden)
        last = states.gather(1, (steps - 1)[:, None, None].expand(-1, 1, states.shape[-1]))[:, 0]
        # The cell reads forwards, so states up to `steps` know nothing of the padding after them.
        parts = [last, mean_over(states, steps), log_size(x, n)]
        features: Tensor = self.mix(torch.cat(parts, dim=-1))
        return features
