"""Gated layers: sufficient statistics are mostly products, so the networks can multiply.

y = (A x + a) * g(B x + b), a gated linear unit (Dauphin et al. 2017, arXiv:1612.08083) whose gate
is the identity near zero, so that products such as x_i x_j are exact, and saturates beyond, so that
an outlier is not squared again in every layer.
"""

import torch
from torch import Tensor, nn

_BOUND = 4.0


class Gated(nn.Module):
    """One gated layer, (..., inputs) to (..., outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.linear(x).chunk(2, dim=-1)
        return gated(value, gate)


class GatedBlock(nn.Module):
    """A residual gated layer, (..., width) to (..., width); new, it is the identity.

    Its input is scaled down where it is large, and only there: products of products stay bounded,
    while sizes near one, which carry information, are kept.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = Gated(width, width)
        self.outer = nn.Linear(width, width)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor) -> Tensor:
        bounded = x * torch.rsqrt(1 + x.square().mean(-1, keepdim=True))
        residual: Tensor = self.outer(self.inner(bounded))
        return x + residual


def gated(value: Tensor, gate: Tensor) -> Tensor:
    """value * gate for gates well below the bound, value * ±bound for gates far above."""
    return value * gate * torch.rsqrt(1 + (gate / _BOUND).square())
