"""A spline coupling as one operation of autograd, for one point per dataset, as in training.

Each half is bent by a network of one hidden layer that sees the other half and the context:

    p = V silu(W a + c) + v,   b' = spline(b; p),   log |db'/db| = Σ log slopes.

That is some thirty operations on few numbers. What autograd keeps and does for each of them takes
longer than the arithmetic, so the gradient is written out here. It is computed in float32 on a CPU,
where `sbi_kit.spline` has compiled kernels; elsewhere `sbi_kit.flow` composes the same of parts.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sbi_kit.spline import PARAMETERS, gradients, transform


class Weights(NamedTuple):
    """Of the network that bends a half of m numbers.

    Attributes:
        inner: W, shape (hidden, given).
        outer: V, shape (m PARAMETERS, hidden).
        bias: v, shape (m PARAMETERS,).
    """

    inner: Tensor
    outer: Tensor
    bias: Tensor


def couple(
    u: Tensor,
    context: Tensor,
    order: tuple[Tensor, Tensor],
    of_second: Weights,
    of_first: Weights,
) -> tuple[Tensor, Tensor]:
    """Permute, then bend the second half given the first, and the first given that.

    Args:
        u: Points (b, d), in float32 on a CPU.
        context: Shape (b, 2 hidden): of the network for the second half, then of the other.
        order: A permutation (d,), by which the first d // 2 are the first half, and its inverse.
        of_second: The network that bends the second half.
        of_first: The network that bends the first half.

    Returns:
        Points (b, d), and log |d points / d u|, shape (b,).
    """
    points, log_slope = _Couple.apply(  # type: ignore[no-untyped-call]
        u, context, *order, *of_second, *of_first
    )
    return points, log_slope


class _Bent(NamedTuple):
    """What the gradient needs of a half that was bent."""

    x: Tensor  # (b, m), as it was
    given: Tensor  # (b, given)
    sums: Tensor  # (b, hidden), W a + c
    hidden: Tensor  # (b, hidden), silu of these
    parameters: Tensor  # (b, m, PARAMETERS)
    inner: Tensor
    outer: Tensor


class _Couple(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, u: Tensor, context: Tensor, order: Tensor, restore: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        d, hidden = u.shape[1], context.shape[1] // 2
        a, b = u[:, order].split([d // 2, d - d // 2], dim=1)
        b, log_slope_b, bent_b = _bend(b, a, context[:, :hidden], Weights(*weights[:3]))
        a, log_slope_a, bent_a = _bend(a, b, context[:, hidden:], Weights(*weights[3:]))
        ctx.save_for_backward(restore, *bent_b, *bent_a)
        return torch.cat([a, b], dim=1), log_slope_a + log_slope_b

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_points: Tensor, of_log: Tensor) -> tuple[Tensor | None, ...]:
        restore, *saved = ctx.saved_tensors
        parts = len(_Bent._fields)
        bent_b, bent_a = _Bent(*saved[:parts]), _Bent(*saved[parts:])
        of_a, of_b = of_points.split([bent_a.x.shape[1], bent_b.x.shape[1]], dim=1)
        of_a, of_given_b, of_context_a, *of_first = _unbend(bent_a, of_a, of_log)
        of_b, of_given_a, of_context_b, *of_second = _unbend(bent_b, of_b + of_given_b, of_log)
        of_u = torch.cat([of_a + of_given_a, of_b], dim=1)[:, restore]
        of_context = torch.cat([of_context_b, of_context_a], dim=1)
        return of_u, of_context, None, None, *of_second, *of_first


def _bend(
    x: Tensor, given: Tensor, context: Tensor, weights: Weights
) -> tuple[Tensor, Tensor, _Bent]:
    sums = torch.addmm(context, given, weights.inner.T)
    hidden = functional.silu(sums)
    parameters = torch.addmm(weights.bias, hidden, weights.outer.T).view(*x.shape, PARAMETERS)
    y, log_slope = transform(x[:, None], parameters)
    bent = _Bent(x, given, sums, hidden, parameters, weights.inner, weights.outer)
    return y[:, 0], log_slope[:, 0].sum(1), bent


def _unbend(bent: _Bent, of_y: Tensor, of_log: Tensor) -> tuple[Tensor, ...]:
    """Gradients for x, given, context and the three weights."""
    of_log = of_log[:, None, None].expand(-1, 1, bent.x.shape[1])
    of_x, of_parameters = gradients(bent.x[:, None], bent.parameters, of_y[:, None], of_log)
    of_parameters = of_parameters.flatten(1)
    of_sums = torch.ops.aten.silu_backward(of_parameters @ bent.outer, bent.sums)
    return (
        of_x[:, 0],
        of_sums @ bent.inner,
        of_sums,
        of_sums.T @ bent.given,
        of_parameters.T @ bent.hidden,
        of_parameters.sum(0),
    )
