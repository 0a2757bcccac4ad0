"""Which inputs a network of two classes should see, asked after a first training on all of them.

If the network learned anything, its losses tell: each input's values are shuffled among validation
rows, and where that costs nothing the input is not used (Breiman 2001,
doi:10.1023/A:1010933404324). If it did not, pairs of training rows that differ in one input tell,
where there are any (`sbi_kit.supervised.effects`). Anything is sure at four standard errors: what
was learned, against the loss of the shares of both classes, and what shuffling costs.
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sbi_kit.contracts import IntArray
from sbi_kit.seeds import numpy_stream
from sbi_kit.supervised.effects import influential

Losses: TypeAlias = Callable[[tuple[Tensor, Tensor]], Tensor]

_SURE = 4.0  # standard errors


@torch.no_grad()
def useful(
    losses: Losses, x: Tensor, labels: Tensor, parts: tuple[IntArray, IntArray], *, seed: int
) -> IntArray:
    """Inputs that the network uses or, if it has not surely learned, that pairs of rows point to.

    Args:
        losses: The cross-entropy of each row of inputs and labels, as the network has it.
        x: Standardised inputs, shape (rows, inputs).
        labels: Classes, 0 or 1, shape (rows,).
        parts: Rows that it was trained on, in random order, and rows that it was not.
        seed: Seed of the shuffling, and of the choice among pairs.

    Returns:
        Their places, ascending; none if neither tells.
    """
    training, validation = parts
    rows = x[validation], labels[validation]
    share = labels[training].mean().expand(len(validation))
    by_share = functional.binary_cross_entropy(share, rows[1], reduction="none")
    if not _surely_positive(by_share - losses(rows)):
        found = influential(x[training].numpy(), labels[training].numpy(), seed=seed)
        if len(found) < x.shape[1]:
            return found
    return _used(losses, *rows, seed=seed)


def _used(losses: Losses, x: Tensor, labels: Tensor, *, seed: int) -> IntArray:
    """Inputs without whose order, among rows x (rows, inputs), the loss is surely higher."""
    rng = numpy_stream(seed, "shuffled inputs")
    before = losses((x, labels))
    used = []
    for place in range(x.shape[1]):
        shuffled = x.clone()
        shuffled[:, place] = x[torch.from_numpy(rng.permutation(len(x))), place]
        if _surely_positive(losses((shuffled, labels)) - before):
            used.append(place)
    return np.array(used, dtype=np.int64)


def _surely_positive(rise: Tensor) -> bool:
    """Whether the mean of differences is above zero by far more than its standard error."""
    return bool(rise.mean() > _SURE * rise.std() / math.sqrt(len(rise)))
