"""What every summary does with datasets of different n in one padded batch.

Law: what stands in the padding changes nothing, and neither does its length.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sbi_kit.device import at_a_time, suits_kernels
from sbi_kit.summary import pass_kernels

_TOGETHER = 4_096  # observations, padding included


def mask_of(x: Tensor, n: Tensor) -> Tensor:
    """True where x (b, n, ...) holds a true observation of a dataset of size n (b,); (b, n)."""
    return torch.arange(x.shape[1], device=x.device) < n[:, None]


def at_once(x: Tensor) -> int:
    """Datasets of x (b, n, f) to work on at a time, so that what is made stays in cache."""
    return max(1, at_a_time(_TOGETHER, x.device) // x.shape[1])


def mean_over(x: Tensor, n: Tensor) -> Tensor:
    """Mean over the true observations, (b, n, f) to (b, f), as one matrix product."""
    weights = mask_of(x, n).to(x.dtype) / n[:, None]  # (b, n)
    return torch.bmm(weights[:, None], x)[:, 0]


class _Pool(torch.autograd.Function):
    """The compiled pass of `mean_and_max`, and its compiled gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, n: Tensor) -> Tensor:
        pooled, place = pass_kernels.pool(x.detach().contiguous().numpy(), n.numpy())
        ctx.n, ctx.place, ctx.longest = n, place, x.shape[1]
        return torch.from_numpy(pooled)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad = grad.contiguous()
        of_x = pass_kernels.pool_gradient(grad.numpy(), ctx.n.numpy(), ctx.place, ctx.longest)
        return torch.from_numpy(of_x), None


def mean_and_max(x: Tensor, n: Tensor) -> Tensor:
    """Mean and largest of the true observations by feature, (b, n, f) to (b, 2 f)."""
    if suits_kernels(x):
        pooled: Tensor = _Pool.apply(x, n)  # type: ignore[no-untyped-call]
        return pooled
    largest = x.masked_fill(~mask_of(x, n)[..., None], -torch.inf).amax(dim=1)
    return torch.cat([mean_over(x, n), largest], dim=-1)


def log_size(x: Tensor, n: Tensor) -> Tensor:
    """log n as a feature of order one and of x's type, (b,) to (b, 1)."""
    return n.to(x.dtype).log()[:, None] / 2 - 2
