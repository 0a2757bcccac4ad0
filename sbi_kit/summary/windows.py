"""Windows of a series: the gated convolution, strided, that every summary of a series begins with.

y_j = g(W [x_{j s - h} ... x_{j s + h}]), g a gate, s the stride: a window sees the products of
neighbouring time points. Beyond the ends of a series it sees zeros, and one channel more that says
which time points exist, so that an end is told from a zero.
"""

import torch
from torch import Tensor, nn

from sbi_kit.summary.gated import gated
from sbi_kit.summary.ragged import mask_of


class Windows(nn.Module):
    """Series (b, n, inputs) with lengths (b,) to (b, ⌈n / stride⌉, outputs) with lengths (b,).

    What stands in the padding changes nothing before the end of the shortened series.

    Args:
        inputs: Size of one time point.
        outputs: Size of one window's features.
        stride: Time points between windows; each sees as many to its left and to its right.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.linear = nn.Linear((2 * stride + 1) * (inputs + 1), 2 * outputs)

    def forward(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        mask = mask_of(x, n)[..., None]  # (b, n, 1)
        channels = torch.cat([x.masked_fill(~mask, 0.0), mask.to(x.dtype)], dim=-1)
        size, stride, width = 2 * self.stride + 1, self.stride, channels.shape[-1]
        padded = nn.functional.pad(channels, (0, 0, stride, stride))
        # Consecutive time points are consecutive in memory: each window is one run of numbers.
        windows = padded.flatten(1).unfold(1, size * width, stride * width)  # (b, steps, ...)
        features = gated(self.linear(windows))
        return features, torch.div(n - 1, stride, rounding_mode="floor") + 1
