"""AdamW on one vector: the optimizer of the training loop (Loshchilov & Hutter 2019).

With g the gradient, m and v its averaged value and square, both corrected for their start at zero,

    w <- (1 − rate · decay) w − rate · m / (√v + ε),   arXiv:1711.05101.

While it trains, the parameters of a module are views of one vector, and its gradient is another. A
step, and the norm of the gradient, then take a dozen operations, where it would take some for each
parameter; of a small network these would be a sixth of the time.
"""

import math

import torch
from torch import Tensor, nn

from sbi_kit.device import lags

_BETAS = 0.9, 0.99  # gradients change size within some hundred steps
_EPSILON = 1e-8


class AdamW:
    """The trainable parameters of a module, all of one type and on one device, and their moments.

    Args:
        module: What to train; `release` gives its parameters memory of their own again.
        decay: Share of a weight that a step takes off, over the rate.
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._weights = torch.cat([p.detach().flatten() for p in self._parameters])
        self._gradient: Tensor  # what the next step takes
        self._mean, self._square = torch.zeros_like(self._weights), torch.zeros_like(self._weights)
        self._steps = 0
        sizes = [p.numel() for p in self._parameters]
        for parameter, weights in zip(self._parameters, self._weights.split(sizes), strict=True):
            parameter.data = weights.view(parameter.shape)

    def gradient(self, loss: Tensor) -> Tensor:
        """The gradient of a loss, as one vector; threads may ask for it at the same time."""
        by_parameter = torch.autograd.grad(loss, self._parameters, materialize_grads=True)
        return torch.cat([gradient.flatten() for gradient in by_parameter])

    def take(self, first: Tensor, *others: Tensor) -> None:
        """Take a gradient, or the sum of several, for the next step, in the memory of the first."""
        self._gradient = first
        for other in others:
            self._gradient += other

    def clip(self, largest: float) -> Tensor:
        """The norm of the gradient, which is scaled down to the largest if it is above that."""
        norm: Tensor = self._gradient.norm()
        if lags(norm.device) or norm > largest:  # a GPU is not asked, which would be to wait
            self._gradient.mul_(torch.full_like(norm, largest).div_(norm).clamp_max_(1.0))
        return norm

    def step(self, rate: float) -> None:
        """Move the weights against the gradients."""
        self._steps += 1
        first, second = (1 - beta**self._steps for beta in _BETAS)
        self._mean.lerp_(self._gradient, 1 - _BETAS[0])
        self._square.mul_(_BETAS[1]).addcmul_(self._gradient, self._gradient, value=1 - _BETAS[1])
        size = self._square.sqrt().div_(math.sqrt(second)).add_(_EPSILON)
        self._weights.mul_(1 - rate * self.decay).addcdiv_(self._mean, size, value=-rate / first)

    def forget(self) -> None:
        """Begin anew, without moments."""
        self._mean.zero_()
        self._square.zero_()
        self._steps = 0

    def state(self) -> dict[str, Tensor]:
        """What it remembers beside the weights."""
        return {"mean": self._mean, "square": self._square, "steps": torch.tensor(self._steps)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` returned."""
        self._mean.copy_(state["mean"])
        self._square.copy_(state["square"])
        self._steps = int(state["steps"])

    def release(self) -> None:
        """Give every parameter memory of its own; after it, make no more steps."""
        for parameter in self._parameters:
            parameter.data = parameter.data.clone()
