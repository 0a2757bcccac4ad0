"""Deep set: a summary of exchangeable observations that does not depend on their order.

s(x) = mix(mean_i φ(x_i), mean_i x_i, log n) (Zaheer et al. 2017, arXiv:1703.06114), φ a gated
layer. The mean alone would be blind to the number of observations, and the posterior's width would
be the same at every n; so log n stands beside it.
"""

import torch
from torch import Tensor, nn

from sbi_kit.summary.gated import Gated
from sbi_kit.summary.ragged import log_size, mask_of, mean_over


class DeepSet(nn.Module):
    """Observations (b, n, inputs) with sizes (b,) to features (b, width).

    Args:
        inputs: Size of an observation.
        width: Size of the features.
        hidden: Width of the network that sees one observation.
    """

    def __init__(self, inputs: int, width: int, *, hidden: int) -> None:
        super().__init__()
        self.observation = Gated(inputs, hidden)
        self.mix = nn.Linear(hidden + inputs + 1, width)

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        x = x.masked_fill(~mask_of(x, n)[..., None], 0.0)
        each = torch.cat([self.observation(x), x], dim=-1)  # (b, n, hidden + inputs)
        features: Tensor = self.mix(torch.cat([mean_over(each, n), log_size(x, n)], dim=-1))
        return features
