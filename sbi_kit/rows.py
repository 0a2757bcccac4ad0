"""Batches of a table in memory for the training loop: any number of tensors aligned by row.

Each pass goes through the training rows in a new random order; rows left over at its end wait for
another pass. The validation part is fixed. A batch is a tuple of the tensors' rows, in the order
the tensors were given, and a function of seed and step alone, so it makes no difference which
batches were asked for before.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sbi_kit.checks import BadType, BadValue, expect_integer, expect_number, show_shape
from sbi_kit.contracts import IntArray
from sbi_kit.device import send
from sbi_kit.seeds import numpy_stream

_TOGETHER = 4_096  # validation rows in a batch


def split_rows(rows: int, *, share: float, seed: int) -> tuple[IntArray, IntArray]:
    """Split rows 0..rows − 1 at random into a training and a validation part.

    Args:
        rows: How many there are, at least two.
        share: Share of them for validation, in (0, 1]; each part gets one at least.
        seed: Seed of the split.

    Returns:
        Row numbers of both parts, in random order.

    Raises:
        BadType, BadValue: An argument is out of its range.

    >>> [len(part) for part in split_rows(10, share=0.2, seed=1)]
    [8, 2]
    """
    rows = expect_integer("rows", rows, low=2)
    share = expect_number("share", share, low=0, high=1, open_low=True)
    held_out = min(max(1, round(share * rows)), rows - 1)
    order = numpy_stream(seed, "split rows").permutation(rows)
    return order[held_out:], order[:held_out]


class RowBatches:
    """Batches (first (b, ...), second (b, ...), ...) of tensors aligned by row.

    Args:
        tensors: One or more tensors of any type on one device, shape (rows, ...) each.
        training: Row numbers to train on.
        validation: Row numbers to validate on.
        batch_size: Rows per batch, or all training rows if these are fewer.
        seed: Seed of the order.

    Raises:
        BadType, BadValue: There is no tensor, or one of another length; a part is empty, or names
            rows that are not there; or batch_size is below one.

    >>> x, y = torch.arange(6.0)[:, None], torch.arange(6)
    >>> batches = RowBatches((x, y), np.arange(4), np.arange(4, 6), batch_size=2, seed=1)
    >>> [part.shape for part in batches.training(0)], batches.per_pass
    ([torch.Size([2, 1]), torch.Size([2])], 2)
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        training: ArrayLike,
        validation: ArrayLike,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        self._tensors = _expect_aligned(tensors)
        self.seed = seed
        self.training_rows = _expect_rows("training", training, len(tensors[0]))
        self.validation_rows = _expect_rows("validation", validation, len(tensors[0]))
        size = expect_integer("batch_size", batch_size, low=1)
        self.batch_size = min(size, len(self.training_rows))
        self.per_pass = len(self.training_rows) // self.batch_size
        self._pass = (-1, np.empty(0, dtype=np.int64))

    def training(self, step: int) -> tuple[Tensor, ...]:
        """The batch of a step."""
        return self._take(self._index(step))

    def validation(self) -> Iterator[tuple[Tensor, ...]]:
        """All validation rows, some thousands at a time, always in the same order."""
        rows = self.validation_rows
        for index in np.split(rows, range(_TOGETHER, len(rows), _TOGETHER)):
            yield self._take(index)

    def rows(self, step: int) -> list[int]:
        """The numbers of the rows in the batch of a step."""
        rows: list[int] = self._index(step).tolist()
        return rows

    def _index(self, step: int) -> IntArray:
        number, place = divmod(step, self.per_pass)
        if number != self._pass[0]:
            rng = numpy_stream(self.seed, "rows", number)
            self._pass = number, rng.permutation(self.training_rows)
        return self._pass[1][place * self.batch_size : (place + 1) * self.batch_size]

    def _take(self, index: IntArray) -> tuple[Tensor, ...]:
        places = send(torch.from_numpy(index), self._tensors[0].device)
        return tuple(tensor.index_select(0, places) for tensor in self._tensors)


def _expect_aligned(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    lengths = [len(tensor) for tensor in tensors]
    if not lengths or len(set(lengths)) > 1:
        got = f"{', '.join(map(str, lengths))} rows" if lengths else "none"
        raise BadValue("tensors of as many rows each", got, "pass one row of each per case")
    return tuple(tensors)


def _expect_rows(name: str, rows: ArrayLike, most: int) -> IntArray:
    """Row numbers as an array, if there are any and all of them exist."""
    index = np.asarray(rows)
    if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
        got = f"{index.dtype} of shape {show_shape(index.shape)}"
        raise BadType(f"{name} as a list of row numbers", got, "pass integers")
    if not len(index) or index.min() < 0 or index.max() >= most:
        got = f"{index.min()} to {index.max()}" if len(index) else "none"
        raise BadValue(f"{name} rows in [0, {most - 1}]", got, "split the rows that are there")
    return index.astype(np.int64)
