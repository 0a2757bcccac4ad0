"""Batches of a bank for the training loop, ragged datasets padded as little as possible.

Each pass goes through the training rows in a new random order, in batches of similar n. Where any
part of a dataset is a smaller dataset (`Exchangeable.nested`), or the beginning of a series a
shorter one (`Series.nested`), three batches in four see a part of each: any part of a set, of a
size drawn log-uniformly, or the beginning of a series, of a length drawn uniformly. The same
simulations then teach every n, differently in each pass, at less cost.

Standardised datasets lie end to end in a window, in float32 and without padding. If one window
holds them all, it is read once. Else a pass visits blocks of neighbouring rows in random order,
reads as many as a window holds, and shuffles rows within the window: beside a bank, in memory or on
disk, stand one window and, if they are few, the validation rows; and a batch is still a function of
the step alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sbi_kit.bank import Bank
from sbi_kit.contracts import Array, IntArray
from sbi_kit.data import Series, has_parts
from sbi_kit.device import CPU, send
from sbi_kit.encoder import to_tensor
from sbi_kit.seeds import numpy_stream
from sbi_kit.summary.encoded import AnyStandardizer

_SORTED = 16  # batches among which rows are sorted by n
_WHOLE = 0.25  # share of batches that see whole datasets
_BLOCK = 1_000  # neighbouring rows, which are read together
_BLOCKS = 4  # blocks in a window at least
_WINDOW = 32_000_000  # bytes of a window
_KEPT = 2  # windows full of validation rows that are kept
_TOGETHER = 4_096  # observations standardised together: they stay in cache


@dataclass(frozen=True)
class _Window:
    """Standardised observations of the datasets at some ascending places, end to end."""

    places: IntArray
    starts: IntArray
    flat: Tensor


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
        window: Bytes of standardised observations to hold at a time, roughly; a batch at least.
        device: Where the window is, and the batches made of it.
    """

    def __init__(
        self,
        bank: Bank,
        training: IntArray,
        validation: IntArray,
        *,
        summary: str,
        standardizer: AnyStandardizer,
        batch_size: int,
        seed: int,
        window: int = _WINDOW,
        device: torch.device = CPU,
    ) -> None:
        self.seed, self.device = seed, device
        self.batch_size = min(batch_size, len(training))
        self.trained = len(training)
        self.per_pass = len(training) // self.batch_size
        self._bank, self._summary, self._standardizer = bank, summary, standardizer
        rows = np.concatenate([training, validation])
        observations = len(rows) if summary == "identity" else int(bank.n[rows].sum())
        share = window / (4 * standardizer.features * observations)
        self._streamed = share < 1
        if self._streamed:  # neighbours in the bank become neighbours here
            rows = np.concatenate([np.sort(training), np.sort(validation)])
            together = max(1, int(share * len(rows)) // self.batch_size)  # batches in a window
            self._together = together if together < _SORTED else together // _SORTED * _SORTED
        else:
            self._together = self.per_pass
        self.bank_rows = rows
        self.n = np.ones_like(rows) if summary == "identity" else bank.n[rows]
        self.smallest = bank.data.n_range[0] if has_parts(bank.data) else None
        self.ordered = isinstance(bank.data, Series)
        self.u = send(to_tensor(bank.prior.whiten(bank.theta[rows])), device)
        self._pass = (-1, np.empty((0, 0), dtype=np.int64))
        self._window: tuple[tuple[int, int], _Window] | None = None
        # Validation rows are read again and again, so they stay if they are few.
        kept = np.arange(len(training) if self._streamed else 0, len(rows))
        fits = not self._streamed or _KEPT * share * len(rows) >= len(kept)
        self._kept = self._read(kept) if fits else None

    def training(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """The batch of a step."""
        index = self._index(step)
        n, first = self.n[index], np.zeros_like(index)
        if self.smallest is not None:
            rng = numpy_stream(self.seed, "parts", step)
            if rng.random() > _WHOLE:
                if self.ordered:
                    size = int(rng.integers(self.smallest, int(n.min()), endpoint=True))
                else:
                    size = _log_uniform(self.smallest, int(n.min()), rng)
                    first = (rng.random(len(n)) * (n - size + 1)).astype(np.int64)
                n = np.full_like(n, size)
        return self._batch(self._window_of(step), index, first, n)

    def validation(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """All validation rows, whole, those of a window in order of n."""
        rows = np.arange(self.trained, len(self.n))
        size = self._together * self.batch_size if self._streamed else len(rows)
        for part in np.split(rows, range(size, len(rows), size)):
            window = self._kept or self._read(part)
            order = part[np.argsort(self.n[part], kind="stable")]
            for index in np.split(order, range(self.batch_size, len(order), self.batch_size)):
                yield self._batch(window, index, np.zeros_like(index), self.n[index])

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
        """The batches of one pass, shape (per_pass, batch_size), those of a window together."""
        rng = numpy_stream(self.seed, "order", number)
        order, size = np.arange(self.trained), self.trained
        if self._streamed:
            size = self._together * self.batch_size
            block = max(1, min(_BLOCK, size // _BLOCKS))
            blocks = np.split(order, range(block, len(order), block))
            order = np.concatenate([blocks[i] for i in rng.permutation(len(blocks))])
        windows = np.split(order, range(size, len(order), size))
        order = np.concatenate([rng.permutation(window) for window in windows])
        order = order[: self.per_pass * self.batch_size]
        if self.n.min() == self.n.max():
            return order.reshape(self.per_pass, self.batch_size)
        chunk = min(_SORTED, self._together) * self.batch_size
        chunks = np.split(order, range(chunk, len(order), chunk))
        by_size = [part[np.argsort(self.n[part], kind="stable")] for part in chunks]
        batches = np.concatenate(by_size).reshape(self.per_pass, self.batch_size)
        edges = range(self._together, self.per_pass, self._together)
        return np.concatenate(
            [part[rng.permutation(len(part))] for part in np.split(batches, edges)]
        )

    def _window_of(self, step: int) -> _Window:
        """The window that holds the batch of a step."""
        if not self._streamed and self._kept is not None:
            return self._kept
        number, place = divmod(step, self.per_pass)
        start = place - place % self._together
        if self._window is None or self._window[0] != (number, start):
            self._index(step)
            places = np.sort(self._pass[1][start : start + self._together], axis=None)
            self._window = None  # or there would be two at a time
            self._window = (number, start), self._read(places)
        return self._window[1]

    def _read(self, places: IntArray) -> _Window:
        """Read and standardise the datasets at ascending places, block by block."""
        ends = np.cumsum(self.n[places])
        flat = torch.empty(int(ends[-1]), self._standardizer.features, dtype=torch.float32)
        free = flat.numpy()
        for block in np.split(places, range(_BLOCK, len(places), _BLOCK)):
            values = observations(self._bank, self.bank_rows[block], self._summary)
            standardise(values, self._standardizer, out=free)
            free = free[len(values) :]
            if self._streamed:
                self._bank.release()
        return _Window(places, ends - self.n[places], send(flat, self.device))

    def _batch(
        self, window: _Window, index: IntArray, first: IntArray, n: IntArray
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Observations first..first + n − 1 of the datasets at `index`."""
        longest, last = int(n.max()), len(window.flat) - 1
        starts = window.starts[np.searchsorted(window.places, index)] + first
        sent = send(torch.from_numpy(np.stack([index, starts, n])), self.device)
        places = sent[1][:, None] + torch.arange(longest, device=self.device)
        # Beyond a dataset's end stand its neighbour's values, which the summary masks.
        x = window.flat.index_select(0, places.clamp_max_(last).flatten())
        return self.u.index_select(0, sent[0]), x.view(len(index), longest, -1), sent[2]


def observations(bank: Bank, rows: IntArray, summary: str) -> Array:
    """What a summary sees of some rows, end to end, shape (sum of n, columns and context)."""
    values, offsets = bank.flat(rows)
    n, context = np.diff(offsets), bank.context[rows]
    if summary == "identity":  # all numbers of a dataset are one observation
        values, n = values.reshape(len(rows), -1), np.ones(len(rows), dtype=np.int64)
    if context.shape[1]:
        values = np.concatenate([values, np.repeat(context, n, axis=0)], axis=1)
    return values


def standardise(values: Array, standardizer: AnyStandardizer, out: NDArray[np.float32]) -> None:
    """Write features of values (m, k) into the first m rows of `out`, with little memory."""
    for start in range(0, len(values), _TOGETHER):
        part = values[start : start + _TOGETHER]
        out[start : start + len(part)] = standardizer(part)


def _log_uniform(low: int, high: int, rng: np.random.Generator) -> int:
    """An integer low..high, its logarithm uniform."""
    return min(high, int(math.exp(rng.uniform(math.log(low), math.log(high + 1)))))
