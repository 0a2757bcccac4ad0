"""Deep set: a summary of exchangeable observations that does not depend on their order.

s(x) = mix(mean_i v_i v_iᵀ, mean_i ψ(x_i), max_i ψ(x_i), log n) with v = (1, x) (Zaheer et al. 2017,
arXiv:1703.06114). The moments, with the relations between columns, are all there is to know of
normal data. ψ suits the shape of a distribution: its first gates are bends, shallow and steep,
spread over the space of the data, and two more gated layers combine them. Means come slowly to what
a single observation tells, such as where a distribution ends or how far its tail reaches; so the
largest value of each feature stands beside its mean. Both would be blind to the number of
observations, and the posterior's width would be the same at every n; so log n is there too.
"""

import torch
from torch import Tensor, nn

from sbi_kit.summary.bends import bends
from sbi_kit.summary.gated import Gated, GatedBlock
from sbi_kit.summary.moments import Moments
from sbi_kit.summary.ragged import at_once, log_size, mask_of, mean_and_max
from sbi_kit.summary.soft import softened, unsoftened


class DeepSet(nn.Module):
    """Observations (b, n, inputs) with sizes (b,) to features (b, width).

    Args:
        inputs: Size of an observation.
        width: Size of the features.
        hidden: Width of what ψ gives; inside, it is half as wide.
    """

    def __init__(self, inputs: int, width: int, *, hidden: int) -> None:
        super().__init__()
        narrow = max(1, hidden // 2)
        self.moments = Moments(inputs, relations=True)
        self.shape = nn.Sequential(bends(inputs, narrow), GatedBlock(narrow), Gated(narrow, hidden))
        self.mix = nn.Linear(self.moments.size + 2 * hidden + 1, width)

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        x = x.masked_fill(~mask_of(x, n)[..., None], 0.0)
        parts = [self.moments(unsoftened(x), n), self._shapes(x, n), log_size(x, n)]
        features: Tensor = self.mix(torch.cat(parts, dim=-1))
        return features

    def adapt(self, x: Tensor, n: Tensor, zero: Tensor) -> None:
        """Learn the scales of the moments from some datasets."""
        x = x.masked_fill(~mask_of(x, n)[..., None], 0.0)
        self.moments.adapt(unsoftened(x), n, unsoftened(zero))

    def _shapes(self, x: Tensor, n: Tensor) -> Tensor:
        """The mean and the largest of each ψ, (b, 2 hidden).

        Some datasets are seen at a time, so that what is computed stays in cache.
        """
        size = at_once(x)
        pairs = zip(x.split(size), n.split(size), strict=True)
        return torch.cat([_pooled(self.shape(part), sizes) for part, sizes in pairs])


def _pooled(x: Tensor, n: Tensor) -> Tensor:
    mean, largest = mean_and_max(x, n).chunk(2, dim=-1)
    return torch.cat([mean, softened(largest)], dim=-1)
