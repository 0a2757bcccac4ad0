"""Deep set: a summary of exchangeable observations that does not depend on their order.

s(x) = mix(mean_i φ(x_i), mean_i ψ(x_i), mean_i x_i, log n) (Zaheer et al. 2017, arXiv:1703.06114).
φ is one gated layer, whose products suit moments. ψ suits the shape of a distribution: its first
gates are bends, shallow and steep, spread over the space of the data, and two more gated layers
combine them. The mean alone would be blind to the number of observations, and the posterior's width
would be the same at every n; so log n stands beside it.
"""

import math

import torch
from torch import Tensor, nn

from sbi_kit.summary.gated import Gated, GatedBlock
from sbi_kit.summary.ragged import log_size, mask_of, mean_over

_SLOPES = (0.3, 8.0)  # of the first gates of ψ, log-uniform
_SPREAD = 2.0  # standard deviation of where they bend; columns are standardised


class DeepSet(nn.Module):
    """Observations (b, n, inputs) with sizes (b,) to features (b, width).

    Args:
        inputs: Size of an observation.
        width: Size of the features.
        hidden: Width of φ and of what ψ gives; inside, ψ is half as wide.
    """

    def __init__(self, inputs: int, width: int, *, hidden: int) -> None:
        super().__init__()
        narrow = max(1, hidden // 2)
        self.products = Gated(inputs, hidden)
        self.shape = nn.Sequential(
            _bends(inputs, narrow), GatedBlock(narrow), Gated(narrow, hidden)
        )
        self.mix = nn.Linear(2 * hidden + inputs + 1, width)

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        x = x.masked_fill(~mask_of(x, n)[..., None], 0.0)
        each = torch.cat([self.products(x), self.shape(x), x], dim=-1)
        features: Tensor = self.mix(torch.cat([mean_over(each, n), log_size(x, n)], dim=-1))
        return features


def _bends(inputs: int, outputs: int) -> Gated:
    """A gated layer whose gates change sign at random places, with random slopes."""
    layer = Gated(inputs, outputs)
    direction = nn.functional.normalize(torch.randn(outputs, inputs), dim=1)
    slope = torch.empty(outputs).uniform_(*map(math.log, _SLOPES)).exp()
    with torch.no_grad():  # the second half of the outputs are the gates
        layer.linear.weight[outputs:] = slope[:, None] * direction
        layer.linear.bias[outputs:] = -slope * _SPREAD * torch.randn(outputs)
    return layer
