"""A linear map as a network, so that a linear model can serve as a summary too."""

import numpy as np
import torch
from torch import nn

from sbi_kit.contracts import Array


def linear_encoder(weights: Array, centre: Array) -> nn.Sequential:
    """A frozen network of weights (components, columns) times rows less a centre (columns,)."""
    layer = nn.Linear(weights.shape[1], weights.shape[0])
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(weights, dtype=np.float32)))
        layer.bias.copy_(torch.from_numpy(np.array(-weights @ centre, dtype=np.float32)))
    return nn.Sequential(layer).eval().requires_grad_(False)
