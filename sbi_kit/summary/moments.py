"""Means and second moments of observations: exact, and the cost of one small matrix product.

mean_i v_i v_iᵀ with v = (1, x): all there is to know of normal data, and in a series, where x_i are
a time point and the step to the next, the sums of products that rates are estimated from.
"""

import torch
from torch import Tensor, nn

from sbi_kit.summary.ragged import mask_of

_WIDEST = 31  # size of x: wider observations are projected, as moments grow with its square


class Moments(nn.Module):
    """Observations (b, n, inputs) with sizes (b,) to their moments (b, `size`); zeros if n is 0.

    Args:
        inputs: Size of an observation.
    """

    upper: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        kept = min(inputs, _WIDEST)
        self.project = nn.Linear(inputs, kept) if kept < inputs else nn.Identity()
        upper = torch.triu_indices(kept + 1, kept + 1, device="cpu")[:, 1:]  # without 1 · 1
        self.register_buffer("upper", upper, persistent=False)
        self.size = upper.shape[1]

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        there = mask_of(x, n)[..., None].to(x.dtype)  # (b, n, 1)
        v = torch.cat([there, there * self.project(x)], dim=-1)
        moments = (v / n.clamp_min(1).to(x.dtype)[:, None, None]).mT @ v  # (b, kept + 1, kept + 1)
        return moments[:, self.upper[0], self.upper[1]]
