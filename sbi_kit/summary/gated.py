"""Gated layers: sufficient statistics are mostly products, so the networks can multiply.

y = (A x + a) * g(B x + b), a gated linear unit (Dauphin et al. 2017, arXiv:1612.08083) whose gate
is the identity near zero, so that products such as x_i x_j are exact, and saturates beyond, so that
an outlier is not squared again in every layer.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from sbi_kit.device import suits_kernels
from sbi_kit.summary import pass_kernels
from sbi_kit.summary.pass_kernels import BOUND


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
        inner, outer = self.inner.linear, self.outer
        if suits_kernels(x):
            result: Tensor = _Block.apply(  # type: ignore[no-untyped-call]
                x, inner.weight, inner.bias, outer.weight, outer.bias
            )
            return result
        residual: Tensor = outer(gated(inner(bounded(x))))
        return x + residual


class _ByRows(torch.autograd.Function):
    """A compiled pass over the rows of x (..., f), and its compiled gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Any, gradient: Any) -> Tensor:
        ctx.save_for_backward(x)
        ctx.gradient = gradient
        return torch.from_numpy(kernel(_rows(x).numpy())).view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        of_x = ctx.gradient(_rows(x).numpy(), _rows(grad).numpy())
        return torch.from_numpy(of_x).view(x.shape), None, None


class _Block(torch.autograd.Function):
    """A residual gated layer as one operation: autograd's part of many would take longer."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, inner: Tensor, inner_bias: Tensor, outer: Tensor, outer_bias: Tensor
    ) -> Tensor:
        rows = _rows(x)
        scaled = torch.from_numpy(pass_kernels.bound(rows.numpy()))
        linear = torch.addmm(inner_bias, scaled, inner.T)
        product = torch.from_numpy(pass_kernels.gate(linear.numpy()))
        ctx.save_for_backward(rows, scaled, linear, product, inner, outer)
        return torch.addmm(outer_bias, product, outer.T).add_(rows).view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, scaled, linear, product, inner, outer = ctx.saved_tensors
        of_result = _rows(grad)
        of_product = of_result @ outer
        of_linear = torch.from_numpy(pass_kernels.gate_gradient(linear.numpy(), of_product.numpy()))
        of_scaled = of_linear @ inner
        of_rows = torch.from_numpy(pass_kernels.bound_gradient(rows.numpy(), of_scaled.numpy()))
        return (
            of_rows.add_(of_result).view(grad.shape),
            of_linear.T @ scaled,
            of_linear.sum(0),
            of_result.T @ product,
            of_result.sum(0),
        )


def _rows(x: Tensor) -> Tensor:
    return x.detach().reshape(-1, x.shape[-1]).contiguous()


def gated(linear: Tensor) -> Tensor:
    """Values times saturating gates, the two halves of linear (..., 2 h); shape (..., h)."""
    if suits_kernels(linear):
        product: Tensor = _ByRows.apply(  # type: ignore[no-untyped-call]
            linear, pass_kernels.gate, pass_kernels.gate_gradient
        )
        return product
    value, gate = linear.chunk(2, dim=-1)
    return value * gate * torch.rsqrt(1 + (gate / BOUND).square())


def bounded(x: Tensor) -> Tensor:
    """x (..., f) scaled down where its root mean square over f is large, and only there."""
    if suits_kernels(x):
        scaled: Tensor = _ByRows.apply(  # type: ignore[no-untyped-call]
            x, pass_kernels.bound, pass_kernels.bound_gradient
        )
        return scaled
    return x * torch.rsqrt(1 + x.square().mean(-1, keepdim=True))
