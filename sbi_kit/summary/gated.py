"""Gated layers: sufficient statistics are mostly products, so the networks can multiply.

y = (A x + a) * g(B x + b), a gated linear unit (Dauphin et al. 2017, arXiv:1612.08083) whose gate
is the identity near zero, so that products such as x_i x_j are exact, and saturates beyond, so that
an outlier is not squared again in every layer.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_BOUND = 4.0


class Gated(nn.Module):
    """One gated layer, (..., inputs) to (..., outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * outputs)

    def forward(self, x: Tensor) -> Tensor:
        return gated(self.linear(x))


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
        residual: Tensor = self.outer(self.inner(bounded(x)))
        return x + residual


class _Gate(torch.autograd.Function):
    """value * gate / sqrt(1 + (gate / bound)²) of linear (..., 2 h), in few passes over memory."""

    @staticmethod
    def forward(ctx: Any, linear: Tensor) -> Tensor:
        value, gate = linear.chunk(2, dim=-1)
        damping = gate.square().mul_(_BOUND**-2).add_(1.0).rsqrt_()
        ctx.save_for_backward(linear, damping)
        return (value * gate).mul_(damping)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        linear, damping = ctx.saved_tensors
        value, gate = linear.chunk(2, dim=-1)
        damped = grad * damping
        result = torch.empty_like(linear)
        of_value, of_gate = result.chunk(2, dim=-1)
        torch.mul(damped, gate, out=of_value)
        # d/dg [g / sqrt(1 + (g / c)²)] = (1 + (g / c)²)^(−3/2), the damping cubed.
        torch.mul(damped.mul_(value), damping.square(), out=of_gate)
        return result


def gated(linear: Tensor) -> Tensor:
    """Values times saturating gates, the two halves of linear (..., 2 h); shape (..., h)."""
    product: Tensor = _Gate.apply(linear)  # type: ignore[no-untyped-call]
    return product


def bounded(x: Tensor) -> Tensor:
    """x (..., f) scaled down where its root mean square over f is large, and only there."""
    return x * torch.rsqrt(1 + x.square().mean(-1, keepdim=True))
