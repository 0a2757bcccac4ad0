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
        windows = runs(x, n, around=self.stride, stride=self.stride)
        features = gated(self.linear(windows))
        return features, torch.div(n - 1, self.stride, rounding_mode="floor") + 1


def runs(x: Tensor, n: Tensor, *, around: int, stride: int) -> Tensor:
    """Every stride-th time point of series (b, n, inputs) with as many to each side, and a mask.

    Returns:
        Shape (b, ⌈n / stride⌉, (2 around + 1) (inputs + 1)); zeros where there is none.
    """
    mask = mask_of(x, n)[..., None]  # (b, n, 1)
    channels = torch.cat([x.masked_fill(~mask, 0.0), mask.to(x.dtype)], dim=-1)
    size, width = 2 * around + 1, channels.shape[-1]
    padded = nn.functional.pad(channels, (0, 0, around, around))
    # Consecutive time points are consecutive in memory: each run of them is one run of numbers.
    return padded.flatten(1).unfold(1, size * width, stride * width)
