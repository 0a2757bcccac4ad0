"""CPU seconds of a contestant, and what it hands back."""

import math
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


class Course:
    """A peer's training as it goes: its clock, its curve, and whether its time is up.

    Args:
        cpu_seconds: Time to train.
    """

    def __init__(self, cpu_seconds: float = math.inf) -> None:
        self.clock = Clock()
        self.curve: list[tuple[float, float]] = []
        self.cut_off = False  # whether it was stopped because its time was up
        self._limit = cpu_seconds

    def late(self) -> bool:
        return self.clock.seconds() >= self._limit

    def judge(self, nll: Callable[[], float]) -> None:
        """Add a point to the curve and print it; what that takes is left out."""
        seconds = self.clock.seconds()
        with self.clock.paused():
            self.curve.append((seconds, nll()))
            print(f"{seconds:.0f} CPU s: {self.curve[-1][1]:.3f}", flush=True)

    def trained_for(self, epochs: int) -> str:
        """In words."""
        return f"{epochs} epochs" + ", cut off" * self.cut_off


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
