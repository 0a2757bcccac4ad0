"""Batches of a bank for the training loop, ragged datasets padded as little as possible.

Datasets are standardised once and kept end to end. Each pass goes through the training rows in a
new random order, in batches of similar n. Where any part of a dataset is a smaller dataset
(`Exchangeable.nested`), three batches in four see a random part of each, of a size drawn
log-uniformly: the same simulations then teach every n, differently in each pass, at less cost.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from sbi_kit.bank import Bank
from sbi_kit.contracts import IntArray
from sbi_kit.data import Exchangeable, Matrix
from sbi_kit.encoder import as_rows, to_tensor
from sbi_kit.seeds import numpy_stream
from sbi_kit.summary.standardize import Standardizer

_SORTED = 16  # batches among which rows are sorted by n
_WHOLE = 0.25  # share of batches that see whole datasets
_BLOCK = 1_000  # rows standardised at a time


class BankBatches:
    """Batches (u (b, d), x (b, n, inputs), n (b,)) of a bank.

    Args:
        bank: The simulations.
        training: Rows to train on.
        validation: Rows to validate on.
        summary: Name of the summary they are made for.
        standardizer: The map of values to features.
        batch_size: Datasets per batch.
        seed: Seed of order and parts.
    """

    def __init__(
        self,
        bank: Bank,
        training: IntArray,
        validation: IntArray,
        *,
        summary: str,
        standardizer: Standardizer,
        batch_size: int,
        seed: int,
    ) -> None:
        self.seed = seed
        self.batch_size = min(batch_size, len(training))
        self.bank_rows = np.concatenate([training, validation])
        self.trained = len(training)
        self.per_pass = len(training) // self.batch_size
        low, high = bank.data.n_range
        nested = isinstance(bank.data, (Exchangeable, Matrix)) and bank.data.nested and low < high
        self.smallest = low if nested else None
        self.u = to_tensor(bank.prior.whiten(bank.theta[self.bank_rows]))
        self.n, self.flat = _load(bank, self.bank_rows, summary, standardizer)
        self.starts = np.concatenate([[0], np.cumsum(self.n)])[:-1]
        self._pass = (-1, np.empty((0, 0), dtype=np.int64))

    def training(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """The batch of a step."""
        index = self._index(step)
        n, starts = self.n[index], self.starts[index]
        if self.smallest is not None:
            rng = numpy_stream(self.seed, "parts", step)
            if rng.random() > _WHOLE:
                size = _log_uniform(self.smallest, int(n.min()), rng)
                starts = starts + (rng.random(len(n)) * (n - size + 1)).astype(np.int64)
                n = np.full_like(n, size)
        return self._batch(index, starts, n)

    def validation(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """All validation rows, whole, in order of n."""
        rows = np.arange(self.trained, len(self.n))
        rows = rows[np.argsort(self.n[rows], kind="stable")]
        for index in np.split(rows, range(self.batch_size, len(rows), self.batch_size)):
            yield self._batch(index, self.starts[index], self.n[index])

    def rows(self, step: int) -> list[int]:
        """The bank's rows in the batch of a step."""
        rows: list[int] = self.bank_rows[self._index(step)].tolist()
        return rows

    def _index(self, step: int) -> IntArray:
        number, place = divmod(step, self.per_pass)
        if number != self._pass[0]:
            self._pass = number, self._order(number)
        index: IntArray = self._pass[1][place]
        return index

    def _order(self, number: int) -> IntArray:
        """The batches of one pass, shape (per_pass, batch_size)."""
        rng = numpy_stream(self.seed, "order", number)
        order = rng.permutation(self.trained)[: self.per_pass * self.batch_size]
        if self.n.min() == self.n.max():
            return order.reshape(self.per_pass, self.batch_size)
        chunk = _SORTED * self.batch_size
        chunks = np.split(order, range(chunk, len(order), chunk))
        by_size = [part[np.argsort(self.n[part], kind="stable")] for part in chunks]
        batches = np.concatenate(by_size).reshape(self.per_pass, self.batch_size)
        return batches[rng.permutation(self.per_pass)]

    def _batch(
        self, index: IntArray, starts: IntArray, n: IntArray
    ) -> tuple[Tensor, Tensor, Tensor]:
        longest = int(n.max())
        # Beyond a dataset's end stand its neighbour's values, which the summary masks.
        places = np.minimum(starts[:, None] + np.arange(longest), len(self.flat) - 1)
        x = self.flat.index_select(0, torch.from_numpy(places.ravel()))
        u = self.u.index_select(0, torch.from_numpy(index))
        return u, x.view(len(index), longest, -1), torch.from_numpy(n)


def _load(
    bank: Bank, rows: IntArray, summary: str, standardizer: Standardizer
) -> tuple[IntArray, Tensor]:
    """Sizes (rows,) and standardised observations end to end, read block by block."""
    sizes, parts = [], []
    for block in np.split(rows, range(_BLOCK, len(rows), _BLOCK)):
        x = as_rows(bank.take(block)[1], bank.data, summary)
        sizes.append(x.n)
        parts.append(to_tensor(standardizer(x.values[x.mask])))
    return np.concatenate(sizes), torch.cat(parts)


def _log_uniform(low: int, high: int, rng: np.random.Generator) -> int:
    """An integer low..high, its logarithm uniform."""
    return min(high, int(math.exp(rng.uniform(math.log(low), math.log(high + 1)))))
