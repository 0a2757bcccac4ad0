"""How a network of single observations begins: with gates that bend all over the space of the data.

Gates that are linear near zero would see products of columns, and of a distribution's shape no more
than moments. Bends at random places, shallow and steep, see where observations lie.
"""

import math

import torch
from torch import nn

from sbi_kit.summary.gated import Gated

_SLOPES = (0.3, 8.0)  # log-uniform
_SPREAD = 2.0  # standard deviation of where they bend; columns are standardised


def bends(inputs: int, outputs: int) -> Gated:
    """A gated layer whose gates change sign at random places, with random slopes."""
    layer = Gated(inputs, outputs)
    direction = nn.functional.normalize(torch.randn(outputs, inputs), dim=1)
    slope = torch.empty(outputs).uniform_(*map(math.log, _SLOPES)).exp()
    with torch.no_grad():  # the second half of the outputs are the gates
        layer.linear.weight[outputs:] = slope[:, None] * direction
        layer.linear.bias[outputs:] = -slope * _SPREAD * torch.randn(outputs)
    return layer
