"""What every summary does with datasets of different n in one padded batch.

Law: what stands in the padding changes nothing, and neither does its length.
"""

import torch
from torch import Tensor

from sbi_kit.device import at_a_time

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


def max_over(x: Tensor, n: Tensor) -> Tensor:
    """The largest of the true observations, feature by feature, (b, n, f) to (b, f)."""
    return x.masked_fill(~mask_of(x, n)[..., None], -torch.inf).amax(dim=1)


def log_size(x: Tensor, n: Tensor) -> Tensor:
    """log n as a feature of order one and of x's type, (b,) to (b, 1)."""
    return n.to(x.dtype).log()[:, None] / 2 - 2
