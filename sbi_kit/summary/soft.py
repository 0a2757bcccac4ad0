"""The soft bound of standardised features, and how it is undone.

A feature stays as it is up to five units and grows like a logarithm beyond, so that no outlier
dominates a network. Moments are sums over observations, in which the largest count the most; they
are formed of the values behind the bound, and bounded themselves.
"""

import torch
from torch import Tensor

LINEAR = 5.0  # units up to which a feature stays as it is
_FARTHEST = 30.0  # beyond it, exp of which still has a square in float32


def softened(x: Tensor) -> Tensor:
    """x where |x| <= 5, growing like a logarithm beyond."""
    return x.clamp(-LINEAR, LINEAR) + x.sign() * torch.log1p((x.abs() - LINEAR).clamp_min(0.0))


def unsoftened(x: Tensor) -> Tensor:
    """The inverse of `softened`, up to values of 1e13.

    >>> x = torch.tensor([-300.0, -1.0, 0.0, 4.0, 7.5])
    >>> torch.allclose(unsoftened(softened(x)), x)
    True
    """
    beyond = (x.abs() - LINEAR).clamp(0.0, _FARTHEST)
    values = x.clamp(-LINEAR, LINEAR) + x.sign() * torch.expm1(beyond)
    return values.where(x.isfinite(), x)
