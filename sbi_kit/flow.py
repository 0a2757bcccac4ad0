"""Conditional coupling flow: the density q(u | features), and the only file that knows nflows.

A flow maps u to z ~ N(0, I) by steps whose Jacobians are triangular, so that
log q(u | f) = log N(z; 0, I) + log |dz/du|. Three kinds of step, all driven by the features f:

- `TriangularAffine`: z = T(f) (u − m(f)) with T lower triangular. It places and scales the
  posterior and is exact where that is normal; a posterior a thousand times narrower than its prior
  is no work for it.
- `Coupling` (Dinh et al. 2017, arXiv:1605.08803), two-sided with a fixed permutation: each half is
  bent given the other, number by number, by an affine map with a soft clamp on the scale (Ardizzone
  et al. 2019, arXiv:1907.02392; Radev et al. 2020, arXiv:2003.06281) or by a rational-quadratic
  spline (Durkan et al. 2019, arXiv:1906.04032).
- `Elementwise`, a spline, for one parameter, where there are no halves.

Whatever of a step depends on the features alone is computed once per dataset, for all steps in one
matrix product (the projection), and broadcast over draws.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.transforms.base import Transform
from torch import Tensor, nn
from torch.nn import functional

from sbi_kit.coupling import Weights, couple
from sbi_kit.device import suits_kernels
from sbi_kit.spline import PARAMETERS, inverse_spline, spline

_CLAMP = 1.9  # |log scale| of one coupling, as in the 2019 paper
_FARTHEST = 6.0  # |z|, in training, beyond which a dataset's pull no longer grows
_STEEPEST = 15.0  # |log scale| of the triangular step: three million times narrower than the prior


class TriangularAffine(Transform):  # type: ignore[misc]  # nflows is untyped
    """z = exp(a) * (v + N v), v = u − m; m, a and the strictly lower N come from the context."""

    below: Tensor

    def __init__(self, d: int) -> None:
        super().__init__()
        self.d = d
        self.context_size = 2 * d + d * (d - 1) // 2
        below = torch.tril_indices(d, d, -1, device="cpu")  # torch takes a second for it on "meta"
        self.register_buffer("below", below, persistent=False)

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale, lower = self.parts(context)
        centred = inputs - mean  # (..., d)
        outputs = (centred + _times(lower, centred)) * log_scale.exp()
        return outputs, log_scale.sum(-1).expand(outputs.shape[:-1])

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_scale, lower = self.parts(context)
        scaled = inputs * (-log_scale).exp()
        identity = torch.eye(self.d, dtype=lower.dtype, device=lower.device)
        unit = torch.linalg.solve_triangular(
            lower + identity, identity.expand_as(lower), upper=False, unitriangular=True
        )  # the inverse is as small as the matrix, and shared by all draws
        outputs = _times(unit, scaled) + mean
        return outputs, -log_scale.sum(-1).expand(outputs.shape[:-1])

    def parts(self, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """m (..., d), a (..., d) and N (..., d, d)."""
        mean, log_scale, entries = context.split(
            [self.d, self.d, self.context_size - 2 * self.d], dim=-1
        )
        lower = entries.new_zeros(*entries.shape[:-1], self.d, self.d)
        lower[..., self.below[0], self.below[1]] = entries
        # Beyond the bounds float32 overflows, for data unlike any that were simulated.
        return mean, log_scale.clamp(-_STEEPEST, _STEEPEST), lower


@dataclass(frozen=True)
class Bend:
    """A monotone map of numbers (..., m), which takes parameters (..., m, parameters)."""

    parameters: int
    forward: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    inverse: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _affine(x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    log_scale, shift = _clamped(parameters)
    return x * log_scale.exp() + shift, log_scale


def _inverse_affine(y: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
    log_scale, shift = _clamped(parameters)
    return (y - shift) * (-log_scale).exp(), -log_scale


def _clamped(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Log scales, softly clamped, and shifts."""
    log_scale, shift = parameters.unbind(-1)
    return _CLAMP * torch.tanh(log_scale / _CLAMP), shift


BENDS = {
    "affine": Bend(2, _affine, _inverse_affine),
    "spline": Bend(PARAMETERS, spline, inverse_spline),
}


class Coupling(Transform):  # type: ignore[misc]
    """Permute, then bend the second half given the first, and the first given that."""

    permutation: Tensor
    restore: Tensor

    def __init__(self, d: int, hidden: int, bend: Bend) -> None:
        super().__init__()
        self.first, self.second = d // 2, d - d // 2
        self.context_size = 2 * hidden
        self.bend = bend
        permutation = torch.randperm(d)
        self.register_buffer("permutation", permutation)
        self.register_buffer("restore", torch.argsort(permutation))
        self.of_second = Conditioner(self.first, hidden, (self.second, bend.parameters))
        self.of_first = Conditioner(self.second, hidden, (self.first, bend.parameters))

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        if self.bend is BENDS["spline"] and inputs.dim() == 2 and suits_kernels(inputs):
            order = self.permutation, self.restore
            weights = self.of_second.weights(), self.of_first.weights()
            return couple(inputs, context, order, *weights)
        one, two = context.chunk(2, dim=-1)
        a, b = inputs[..., self.permutation].split([self.first, self.second], dim=-1)
        b, log_slope_b = self.bend.forward(b, self.of_second(a, one))
        a, log_slope_a = self.bend.forward(a, self.of_first(b, two))
        return torch.cat([a, b], dim=-1), log_slope_a.sum(-1) + log_slope_b.sum(-1)

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        one, two = context.chunk(2, dim=-1)
        a, b = inputs.split([self.first, self.second], dim=-1)
        a, log_slope_a = self.bend.inverse(a, self.of_first(b, two))
        b, log_slope_b = self.bend.inverse(b, self.of_second(a, one))
        outputs = torch.cat([a, b], dim=-1)[..., self.restore]
        return outputs, log_slope_a.sum(-1) + log_slope_b.sum(-1)


class Elementwise(Transform):  # type: ignore[misc]
    """Spline of each component, its parameters from the context; zeros give the identity."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.d = d
        self.context_size = d * PARAMETERS

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        outputs, log_slope = spline(inputs, context.unflatten(-1, (self.d, -1)))
        return outputs, log_slope.sum(-1)

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        outputs, log_slope = inverse_spline(inputs, context.unflatten(-1, (self.d, -1)))
        return outputs, log_slope.sum(-1)


class Steps(Transform):  # type: ignore[misc]
    """Transforms in sequence, each with its own share of the projected context."""

    def __init__(self, steps: list[Transform]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)
        self.sizes: list[int] = [step.context_size for step in steps]

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        total = inputs.new_zeros(inputs.shape[:-1])
        for step, share in zip(self.steps, context.split(self.sizes, dim=-1), strict=True):
            inputs, log_det = step(inputs, share)
            total = total + log_det
        return inputs, total

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        total = inputs.new_zeros(inputs.shape[:-1])
        shares = context.split(self.sizes, dim=-1)
        for step, share in zip(self.steps[::-1], shares[::-1], strict=True):
            inputs, log_det = step.inverse(inputs, share)  # type: ignore[operator]
            total = total + log_det
        return inputs, total


class ConditionalFlow(nn.Module):
    """The density of u (b, d), or of draws (b, s, d), given features (b, f).

    It starts close to N(0, I) whatever the features, which is the prior of whitened parameters.

    Args:
        d: Number of parameters.
        features: Size f of the features.
        coupling: "affine" or "spline".
        blocks: Coupling blocks; a single parameter has a spline instead.
        hidden: Width of each coupling's network.
    """

    def __init__(self, d: int, features: int, *, coupling: str, blocks: int, hidden: int) -> None:
        super().__init__()
        bends = (
            [Coupling(d, hidden, BENDS[coupling]) for _ in range(blocks)]
            if d > 1
            else [Elementwise(d)]
        )
        steps = Steps([TriangularAffine(d), *bends])
        projection = nn.Linear(features, sum(steps.sizes))
        with torch.no_grad():
            # Couplings start as the identity whatever their context; the other steps at zero.
            near_zero = slice(0, steps.sizes[0] if d > 1 else None)
            projection.weight[near_zero] *= 0.1
            projection.bias[near_zero] = 0.0
        self.d = d
        self.flow = Flow(steps, StandardNormal([d]), embedding_net=projection)

    # Properties, because a module with two names would be written to files twice.
    @property
    def steps(self) -> Steps:
        """The transforms from u to z."""
        return cast(Steps, self.flow._transform)

    @property
    def projection(self) -> nn.Linear:
        """The map of features to the context of all steps."""
        return cast(nn.Linear, self.flow._embedding_net)

    def log_prob(self, u: Tensor, features: Tensor) -> Tensor:
        """log q(u | features) of u (b, d), shape (b,)."""
        return self._log_density(u, self.projection(features))

    def context(self, features: Tensor) -> Tensor:
        """What the steps need of features (b, f), computed once for any number of draws."""
        context: Tensor = self.projection(features)[:, None]
        return context

    def log_prob_of_draws(self, u: Tensor, context: Tensor) -> Tensor:
        """log q(u | features) of draws (b, s, d), shape (b, s)."""
        return self._log_density(u, context)

    def _log_density(self, u: Tensor, context: Tensor) -> Tensor:
        noise, log_det = self.steps(u, context)
        energy = noise.square()
        if self.training:
            energy = _forgiving(energy)
        log_normal = -0.5 * (energy.sum(-1) + self.d * math.log(2 * math.pi))
        return torch.add(log_normal, log_det)

    def draw(self, noise: Tensor, context: Tensor) -> Tensor:
        """Draws of u from noise ~ N(0, I), both (b, s, d)."""
        draws: Tensor = self.steps.inverse(noise, context)[0]
        return draws


class Conditioner(nn.Module):
    """How one half is bent, (..., *shape), given the other half and the context."""

    def __init__(self, given: int, hidden: int, shape: tuple[int, int]) -> None:
        super().__init__()
        self.shape = shape
        self.inner = nn.Linear(given, hidden, bias=False)  # the projection carries the bias
        self.outer = nn.Linear(hidden, math.prod(shape))
        # Zero: a new coupling is the identity.
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, half: Tensor, context: Tensor) -> Tensor:
        hidden = self.inner(half).add_(context)
        hidden = functional.silu(hidden, inplace=not torch.is_grad_enabled())
        parameters: Tensor = self.outer(hidden).unflatten(-1, self.shape)
        return parameters

    def weights(self) -> Weights:
        """All that is learned."""
        return Weights(self.inner.weight, self.outer.weight, self.outer.bias)


def _forgiving(energy: Tensor) -> Tensor:
    """z², but growing like a logarithm beyond the last z that a normal sample ever holds.

    A young and narrow posterior can be a thousand of its sds off. Such a dataset would otherwise
    outweigh all others of its batch; so its gradient is bounded, and that of all others untouched.
    """
    limit = _FARTHEST**2
    return torch.where(
        energy < limit, energy, limit * (1 + (energy.clamp_min(limit) / limit).log())
    )


def _times(matrix: Tensor, vectors: Tensor) -> Tensor:
    """Product of matrices (..., d, d) with vectors (..., d), broadcast over draws."""
    return (matrix @ vectors[..., None])[..., 0]
