"""CPU seconds of a contestant, and what it hands back."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np


def cpu_seconds() -> float:
    """User and system seconds of this process and of its children that ended."""
    return sum(os.times()[:4])


class Clock:
    """CPU seconds since it was made, without those it was paused for."""

    def __init__(self) -> None:
        self._started = cpu_seconds()
        self._left_out = 0.0

    def seconds(self) -> float:
        return cpu_seconds() - self._started - self._left_out

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens in the block."""
        before = cpu_seconds()
        try:
            yield
        finally:
            self._left_out += cpu_seconds() - before


@dataclass(frozen=True)
class Trained:
    """A posterior, whoever trained it.

    Attributes:
        log_prob: Log densities (b,) in natural units of theta (b, d), given b datasets.
        sample: Draws (b, draws, d) for b datasets, as its users would ask for them.
        curve: (CPU seconds, mean −log q of the held-out rows) while it was trained.
        seconds: CPU seconds of its training.
        settings: What it was told beside its defaults, in words.
    """

    log_prob: Callable[[np.ndarray, Any], np.ndarray]
    sample: Callable[[Any, int], np.ndarray]
    curve: list[tuple[float, float]]
    seconds: float
    settings: str
