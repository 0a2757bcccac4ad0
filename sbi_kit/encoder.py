"""From datasets to summaries: lay out, standardise, summarise, whatever their sizes."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sbi_kit.checks import BadValue
from sbi_kit.context import names_of
from sbi_kit.contracts import Array, IntArray
from sbi_kit.data import AnyLayout, Datasets, Matrix, Vector, missable
from sbi_kit.device import device_of, moved, send
from sbi_kit.familiarity import column_statistics
from sbi_kit.network import Network
from sbi_kit.summary.encoded import AnyStandardizer

_TOGETHER = 50_000  # observations, padding included, per pass through the summary


@dataclass(frozen=True)
class Encoder:
    """The way of a dataset to its summary.

    Attributes:
        data: The layout of one dataset.
        summary: Name of the summary network.
        standardizer: The map of values to the networks' inputs.
        networks: Summary network and flow of each member of an ensemble, or of the only one.
    """

    data: AnyLayout
    summary: str
    standardizer: AnyStandardizer
    networks: tuple[Network, ...]

    @property
    def network(self) -> Network:
        """The first member, which is what a fit of one member would be."""
        return self.networks[0]

    def on(self, device: torch.device) -> "Encoder":
        """The same, with its networks on a device."""
        return replace(self, networks=tuple(moved(network, device) for network in self.networks))

    @torch.inference_mode()
    def summarise(self, x: Datasets) -> Tensor:
        """The summary networks' outputs for b datasets side by side, shape (b, members * width).

        They are where the networks are.
        """
        rows = as_rows(x, self.data, self.summary)
        order = np.argsort(rows.n, kind="stable")  # similar sizes together: little padding
        size = max(1, _TOGETHER // rows.values.shape[1])
        device, parts = device_of(self.network), []
        for index in np.split(order, range(size, len(order), size)):
            part = rows.take(index)
            tensors = [send(tensor, device) for tensor in to_tensors(part, self.standardizer)]
            members = [network.features(*tensors) for network in self.networks]
            parts.append(torch.cat(members, dim=-1))
        return torch.cat(parts)[send(torch.from_numpy(np.argsort(order)), device)]

    def describe(self, x: Datasets, summaries: Tensor) -> Array:
        """What strange datasets are told by: their summaries and, beside them, plain statistics.

        Args:
            x: b datasets.
            summaries: What `summarise` returned for them, shape (b, members * width).

        Returns:
            Both, shape (b, members * width + statistics).
        """
        rows = as_rows(x, self.data, self.summary)
        size = max(1, _TOGETHER // rows.values.shape[1])
        parts = [
            self._statistics(rows.take(slice(start, start + size)))
            for start in range(0, len(rows), size)
        ]
        seen = [summaries.cpu().numpy(), np.concatenate(parts)]
        return np.concatenate(seen, axis=1, dtype=np.float64)

    @property
    def statistics(self) -> int:
        """How many statistics `describe` sets beside the summaries."""
        blank = np.zeros((1, 1, self.standardizer.columns))
        return int(self._statistics(Datasets(blank, np.ones(1, dtype=np.int64))).shape[1])

    def _statistics(self, rows: Datasets) -> Array:
        values = self.standardizer(rows.values)
        if isinstance(self.data, Vector) or self.summary == "identity":
            return values[:, 0].astype(np.float64)
        exchangeable = isinstance(self.data, Matrix) and self.data.columns_exchangeable
        return column_statistics(values, rows.n, exchangeable=exchangeable)


def to_tensors(x: Datasets, standardizer: AnyStandardizer) -> tuple[Tensor, Tensor]:
    """Datasets as a summary network takes them: x (b, n, inputs) and n (b,)."""
    return to_tensor(standardizer(x.values)), torch.from_numpy(x.n.copy())


def to_tensor(values: NDArray[np.floating[Any]]) -> Tensor:
    """A float32 tensor with memory of its own."""
    return torch.from_numpy(np.array(values, dtype=np.float32))


def as_rows(x: Datasets, layout: AnyLayout, summary: str) -> Datasets:
    """Datasets as a summary sees them: for the identity, all numbers of a dataset in one row.

    Their context stands in the last columns of every row.

    Raises:
        BadValue: That summary needs a fixed n, and a dataset has another.
    """
    if isinstance(layout, Vector) or summary != "identity":
        return _with_context(x.values, x.n, x.context)
    size = layout.n_range[1]
    wrong = np.flatnonzero(x.n != size)
    if len(wrong):
        raise BadValue(
            f"datasets of exactly {size} observations, which is what this posterior was trained on",
            f"{x.n[wrong[0]]} in dataset {wrong[0]}",
            "complete it, or train another with a range for n",
        )
    values = x.values[:, :size].reshape(len(x), 1, -1)
    return _with_context(values, np.ones(len(x), dtype=np.int64), x.context)


def row_columns(layout: AnyLayout, summary: str) -> list[str]:
    """Names of the columns of what `as_rows` returns."""
    names = list(layout.columns)
    if summary == "identity" and not isinstance(layout, Vector):
        names = [f"{name}[{i}]" for i in range(layout.n_range[1]) for name in names]
    return [*names, *names_of(layout)]


def row_missable(layout: AnyLayout, summary: str) -> IntArray:
    """Places of the columns of what `as_rows` returns whose values may be missing."""
    places = missable(layout)
    if summary != "identity" or isinstance(layout, Vector):
        return places
    starts = len(layout.columns) * np.arange(layout.n_range[1])
    return (starts[:, None] + places).ravel()


def _with_context(values: Array, n: IntArray, context: Array) -> Datasets:
    if context.shape[1]:
        b, longest, _ = values.shape
        spread = np.broadcast_to(context[:, None], (b, longest, context.shape[1]))
        values = np.concatenate([values, spread], axis=2)
    return Datasets(values, n)
