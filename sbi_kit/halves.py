"""A batch of datasets in two halves, worked on at the same time, each on a thread of its own.

A summary network is many passes and products in a row, most of them too short to be shared among
threads, those of a recurrent network above all. Two halves of a batch share them all, and wait for
each other once.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import torch

Made = TypeVar("Made")


class Divide(Protocol):
    """How a batch is worked on: by parts, each with its share of the rows."""

    def __call__(self, work: Callable[[float, Any], Made], batch: Any) -> list[Made]:
        """What `work(share, part)` makes of each part, in the order of the rows."""


def whole(work: Callable[[float, Any], Made], batch: Any) -> list[Made]:
    """Work on a batch as one part."""
    return [work(1.0, batch)]


@contextmanager
def halves() -> Iterator[Divide]:
    """Work by halves on batches (u (b, d), x (b, n, inputs), n (b,)), each padded as it needs.

    The two threads, which share those that torch has, are there for the block.
    """
    threads = torch.get_num_threads()

    def divide(work: Callable[[float, Any], Made], batch: Any) -> list[Made]:
        u, x, n = batch
        middle = len(u) // 2
        if not middle:
            return whole(work, batch)
        cuts = slice(middle), slice(middle, None)
        parts = [(u[cut], x[cut, : int(n[cut].max())], n[cut]) for cut in cuts]
        return list(pool.map(work, (middle / len(u), 1 - middle / len(u)), parts))

    try:
        with ThreadPoolExecutor(2, "half", torch.set_num_threads, (max(1, threads // 2),)) as pool:
            yield divide
    finally:
        torch.set_num_threads(threads)  # or threads begun later would have no more than a half had
