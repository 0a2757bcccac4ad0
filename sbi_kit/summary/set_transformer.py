"""Set transformer: a summary of exchangeable observations that lets them look at each other.

    MAB(q, x) = block(q + attention of q to x)
    ISAB(x) = MAB(x, MAB(inducing, x))
    s(x) = mix(MAB(seeds, ISAB(ISAB(φ(x)))), mean_i x_i, log n)

(Lee et al. 2019, arXiv:1810.00825), φ and block gated. A few learned inducing points look at the
observations and the observations at these, so time and memory grow like n, not n². Attention is a
weighted mean and as blind to n as a mean is; so log n stands beside what it pools. Keys beyond a
dataset's end are masked.
"""

import torch
from torch import Tensor, nn

from sbi_kit.summary.gated import Gated, GatedBlock, bounded
from sbi_kit.summary.ragged import log_size, mask_of, mean_over

_INDUCING, _SEEDS = 16, 4  # points that stand for a set inside, and that pool it
_BLOCKS = 2
_HEADS = 4  # fewer where they do not divide the width


class SetTransformer(nn.Module):
    """Observations (b, n, inputs) with sizes (b,) to features (b, width).

    Args:
        inputs: Size of an observation.
        width: Size of the features.
        hidden: Width of attention and of the gated layers after it.
    """

    def __init__(self, inputs: int, width: int, *, hidden: int) -> None:
        super().__init__()
        self.each = Gated(inputs, hidden)
        self.blocks = nn.ModuleList(_Induced(hidden) for _ in range(_BLOCKS))
        self.pool = _Learned(_SEEDS, hidden)
        self.mix = nn.Linear(_SEEDS * hidden + inputs + 1, width)

    def forward(self, x: Tensor, n: Tensor) -> Tensor:
        mask = mask_of(x, n)
        x = x.masked_fill(~mask[..., None], 0.0)
        each = self.each(x)  # (b, n, hidden)
        for block in self.blocks:
            each = block(each, mask)
        parts = [self.pool(each, mask).flatten(1), mean_over(x, n), log_size(x, n)]
        features: Tensor = self.mix(torch.cat(parts, dim=-1))
        return features


class _Attention(nn.Module):
    """Queries (b, q, width) look at those keys (b, k, width) that mask (b, k) says are there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(h for h in range(1, _HEADS + 1) if width % h == 0)
        self.of_query = nn.Linear(width, width)
        self.of_key = nn.Linear(width, 2 * width)
        self.outer = nn.Linear(width, width)
        self.after = GatedBlock(width)

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
        query = self._split(self.of_query(bounded(queries)))
        key, value = map(self._split, self.of_key(bounded(keys)).chunk(2, dim=-1))
        seen = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=None if mask is None else mask[:, None, None]
        )
        residual = self.outer(seen.transpose(1, 2).flatten(2))
        result: Tensor = self.after(queries + residual)
        return result

    def _split(self, x: Tensor) -> Tensor:
        """(b, n, width) to (b, heads, n, width / heads)."""
        heads: Tensor = x.unflatten(-1, (self.heads, -1))
        return heads.transpose(1, 2)


class _Learned(nn.Module):
    """Learned points that look at a set, (b, n, width) to (b, points, width)."""

    def __init__(self, points: int, width: int) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.randn(points, width))
        self.attention = _Attention(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        result: Tensor = self.attention(self.points.expand(len(x), -1, -1), x, mask)
        return result


class _Induced(nn.Module):
    """Observations look at what a few points saw of them, (b, n, width) to (b, n, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inducing = _Learned(_INDUCING, width)
        self.attention = _Attention(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        result: Tensor = self.attention(x, self.inducing(x, mask), None)
        return result
