"""Monotone rational-quadratic splines (Durkan et al. 2019, arXiv:1906.04032).

On [−B, B] a spline has K bins of widths w_k and heights h_k, and slopes δ_k at the knots between
them; beyond, and in slope at ±B, it is the identity. With s = h_k / w_k, t = (x − x_k) / w_k and
D = s + (δ_k + δ_{k+1} − 2 s) t (1 − t) in the bin of x,

    y = y_k + h_k (s t² + δ_k t (1 − t)) / D,
    dy/dx = s² (δ_{k+1} t² + 2 s t (1 − t) + δ_k (1 − t)²) / D².

A flow splines few numbers at a time, and often. On a CPU and in float32, compiled kernels with
gradients written out take what a network says of the splines and make one pass, where torch would
make a hundred; elsewhere torch does it.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sbi_kit import spline_kernels
from sbi_kit.device import suits_kernels
from sbi_kit.spline_kernels import BINS

PARAMETERS = 3 * BINS - 1  # of one spline
_BOUND = 4.0  # B; what is splined is close to N(0, 1)
_LEAST = 1e-3  # share of [−B, B] that a bin has at least, and the least slope
_ONE = math.log(math.expm1(1 - _LEAST))  # what softplus makes a slope of one
LIMITS = _BOUND, _LEAST, _ONE  # as compiled kernels take them


def spline(x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Spline points, each component by its own parameters.

    Args:
        x: Points (b, draws, m).
        parameters: Shape (b, draws, m, PARAMETERS), or (b, 1, m, PARAMETERS) for all draws of a
            row. Zeros give the identity.

    Returns:
        y and log dy/dx, both (b, draws, m).
    """
    return _apply(_Kernel.apply if suits_kernels(x) else _in_torch, x, parameters)


def inverse_spline(y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """x and log dx/dy of points y, all as in `spline`."""
    return _apply(_InverseKernel.apply if suits_kernels(y) else _inverse_in_torch, y, parameters)


def _apply(method: Any, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """A method on points (rows, repeats, m), which share parameters (rows, m, PARAMETERS)."""
    rows, m = math.prod(parameters.shape[:-2]), x.shape[-1]
    points = x.reshape(rows, -1, m)
    moved, log_slope = method(points, parameters.reshape(rows, m, PARAMETERS))
    return moved.view(x.shape), log_slope.view(x.shape)


class _Kernel(torch.autograd.Function):
    """A compiled forward pass and its compiled gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        y, log_slope = transform(x, parameters)
        ctx.save_for_backward(x, parameters)
        return y, log_slope

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor, grad_log: Tensor) -> tuple[Tensor, ...]:
        x, parameters = ctx.saved_tensors
        return gradients(x, parameters, grad_y, grad_log)


class _InverseKernel(torch.autograd.Function):
    """The compiled inverse; its gradient is that of the forward pass by the implicit function."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        x, log_slope = _call(spline_kernels.transform, y, parameters, True)
        ctx.save_for_backward(x, parameters, log_slope)
        return x, log_slope

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_x: Tensor, grad_log: Tensor) -> tuple[Tensor, ...]:
        x, parameters, log_slope = ctx.saved_tensors
        # f(x; p) = y gives dx = (dy − f_p dp) / f_x, and log dx/dy = −log f_x at (x, p).
        zeros, ones = torch.zeros_like(x), torch.ones_like(x)
        of_log, _ = gradients(x, parameters, zeros, ones)
        of_y = (grad_x - grad_log * of_log) * log_slope.exp()
        _, of_parameters = gradients(x, parameters, -of_y, -grad_log)
        return of_y, of_parameters


def transform(x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    """y and log dy/dx by the compiled kernel, without a record for autograd.

    Args:
        x: Points (rows, repeats, m), in float32 on a CPU.
        parameters: Shape (rows, m, PARAMETERS).
    """
    y, log_slope = _call(spline_kernels.transform, x, parameters, False)
    return y, log_slope


def gradients(x: Tensor, parameters: Tensor, of_y: Tensor, of_log: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients for x and its parameters, given those for what `transform` returned."""
    of_x, of_parameters = _call(spline_kernels.gradients, x, parameters, of_y, of_log)
    return of_x, of_parameters


def _call(kernel: Any, *given: Tensor | bool) -> tuple[Tensor, ...]:
    arrays = [
        part.detach().contiguous().numpy() if isinstance(part, Tensor) else part for part in given
    ]
    return tuple(map(torch.from_numpy, kernel(*arrays, *LIMITS)))


def _read(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Shares (rows, m, 2, BINS) of the interval, and slopes (rows, m, BINS − 1)."""
    shares = parameters[..., : 2 * BINS].unflatten(-1, (2, BINS)).softmax(-1)
    return shares, functional.softplus(parameters[..., 2 * BINS :] + _ONE)


def _in_torch(x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    at = x.clamp(-_BOUND, _BOUND)
    left, width, bottom, height, slope_0, slope_1 = _bins(at, 0, *_read(parameters))
    t = (at - left) / width
    s = height / width
    rise = s * t.square() + slope_0 * t * (1 - t)
    y = bottom + height * rise / (s + (slope_0 + slope_1 - 2 * s) * t * (1 - t))
    inside = at == x
    return torch.where(inside, y, x), inside * _log_slope(t, s, slope_0, slope_1)


def _inverse_in_torch(y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    at = y.clamp(-_BOUND, _BOUND)
    left, width, bottom, height, slope_0, slope_1 = _bins(at, 1, *_read(parameters))
    s = height / width
    bend = (at - bottom) * (slope_0 + slope_1 - 2 * s)
    a, b = height * (s - slope_0) + bend, height * slope_0 - bend
    c = s * (at - bottom)
    # The root in [0, 1], in the form that loses no digits; rounding can take it below zero.
    t = 2 * c / (b + (b.square() + 4 * a * c).clamp_min(0.0).sqrt())
    inside = at == y
    return torch.where(inside, left + t * width, y), inside * -_log_slope(t, s, slope_0, slope_1)


def _bins(at: Tensor, axis: int, shares: Tensor, slopes: Tensor) -> tuple[Tensor, ...]:
    """Left, width, bottom, height and the slopes at both ends of the bin of each point."""
    sizes = (shares * (1 - BINS * _LEAST) + _LEAST) * (2 * _BOUND)  # (rows, m, 2, BINS)
    knots = functional.pad(sizes.cumsum(-1), (1, 0)) - _BOUND
    ends = functional.pad(slopes + _LEAST, (1, 1), value=1.0)
    number = (at[..., None] >= knots[:, None, :, axis, 1:-1]).sum(-1, keepdim=True)

    def of(values: Tensor, shift: int = 0) -> Tensor:
        all_ = values[:, None].expand(-1, at.shape[1], -1, -1)
        return all_.gather(-1, number + shift)[..., 0]

    width, height = of(sizes[:, :, 0]), of(sizes[:, :, 1])
    return of(knots[:, :, 0]), width, of(knots[:, :, 1]), height, of(ends), of(ends, 1)


def _log_slope(t: Tensor, s: Tensor, slope_0: Tensor, slope_1: Tensor) -> Tensor:
    p = t * (1 - t)
    top = slope_1 * t.square() + 2 * s * p + slope_0 * (1 - t).square()
    return 2 * torch.log(s / (s + (slope_0 + slope_1 - 2 * s) * p)) + top.log()
