"""A bank of simulations: parameters, datasets and what became of each, in memory or on disk.

Rows lie in shards that are opened when they are needed, so a bank may be larger than memory;
parameters, sizes and statuses are read once, when first asked for. Datasets of different size are
kept end to end (values and offsets) and padded only when taken. A row that holds NaN or inf, or
whose simulation failed, keeps its place and its parameters: `usable_rows` leaves it out of what is
trained on, and says where in parameter space such rows fall.
"""

import functools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sbi_kit import contracts
from sbi_kit.checks import BadValue, expect_number
from sbi_kit.context import names_of
from sbi_kit.contracts import Array, IntArray
from sbi_kit.data import AnyLayout, Datasets, layout_from_dict
from sbi_kit.manifest import MANIFEST, Record, read_failures, read_manifest, show_parameters
from sbi_kit.prior import prior_from_dict
from sbi_kit.shards import FAILED, NON_FINITE, OK, Rows, StatusArray, open_shard, verify_shard

_MAPPED = 64  # shards mapped at once, each of which holds a file open,
_BYTES = 50_000_000  # and bytes of theirs: pages that were read count as memory in use


@dataclass(frozen=True)
class Block:
    """Rows start..stop - 1 of a bank, wherever they are."""

    start: int
    stop: int
    read: Callable[[], Rows]


@final
class Bank:
    """Simulations of one model; `simulate` makes one, `Bank.open` reads one back.

    Attributes:
        simulator: Name and settings of the model.
        prior: The prior its parameters were drawn from.
        data: The layout of one dataset.
        seed: The seed it was simulated with.
        path: Its directory; None in memory.
        model: The simulator itself if this process ran it, else None.
        blocks: Where its rows lie, in order.
        failures: One record per simulation that raised: row, seed, key of its random stream,
            parameters, exception.
    """

    def __init__(
        self,
        header: Record,
        blocks: Sequence[Block],
        *,
        prior: contracts.Prior,
        data: AnyLayout,
        failures: Sequence[Record],
        path: Path | None,
        model: contracts.Simulator | None,
    ) -> None:
        self.header = header
        self.simulator: dict[str, Any] = header["simulator"]
        self.seed: int = header["seed"]
        self.prior = prior
        self.data = data
        self.failures = list(failures)
        self.path = path
        self.model = model
        self.blocks = tuple(blocks)
        self._stops = np.array([block.stop for block in blocks], dtype=np.int64)
        self._mapped: dict[int, Rows] = {}

    @classmethod
    def open(cls, path: str | PathLike[str]) -> "Bank":
        """Open a bank on disk; its datasets are read when they are taken.

        Raises:
            BadValue: There is no bank, it is of another version, or a file of it was truncated or
                edited. `verify` also compares the contents with their checksums.
        """
        folder = Path(path)
        manifest = read_manifest(folder)
        header = manifest.header
        try:
            prior = prior_from_dict(header["prior"])
            data = layout_from_dict(header["data"])
            if not isinstance(header["simulator"]["name"], str) or type(header["seed"]) is not int:
                raise TypeError("simulator or seed")
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise BadValue(
                f"the header of {folder / MANIFEST} to name simulator, prior, data and seed",
                f"{type(error).__name__}: {error}",
                "the file was edited or damaged, so restore it",
            ) from error
        sizes = {
            "parameters": len(prior.names),
            "columns": len(data.columns),
            "context": len(names_of(data)),
        }
        blocks = []
        for entry in manifest.entries:
            rows = entry.stop - entry.start
            read = functools.partial(open_shard, folder / entry.shard, rows=rows, **sizes)
            read()
            blocks.append(Block(entry.start, entry.stop, read))
        failures = read_failures(folder)
        return cls(
            header, blocks, prior=prior, data=data, failures=failures, path=folder, model=None
        )

    def __len__(self) -> int:
        return int(self._stops[-1]) if len(self._stops) else 0

    def __repr__(self) -> str:
        place = "in memory" if self.path is None else f"at {self.path}"
        return f"Bank({len(self)} simulations of {self.simulator['name']!r} {place})"

    def head(self, rows: int) -> "Bank":
        """The first simulations as a bank of their own that reads the same files."""
        blocks = [
            Block(block.start, min(block.stop, rows), block.read)
            for block in self.blocks
            if block.start < rows
        ]
        return Bank(
            self.header,
            blocks,
            prior=self.prior,
            data=self.data,
            failures=[record for record in self.failures if record["row"] < rows],
            path=self.path,
            model=self.model,
        )

    @property
    def theta(self) -> Array:
        """Parameters in the prior's units, shape (rows, d)."""
        return self._index[0]

    @property
    def n(self) -> IntArray:
        """Number of observations of each dataset, shape (rows,); 0 where the simulation failed."""
        return self._index[1]

    @property
    def status(self) -> StatusArray:
        """0 usable, 1 holds inf or an undeclared NaN, 2 the simulation failed; shape (rows,)."""
        return self._index[2]

    @property
    def context(self) -> Array:
        """What is known of each dataset besides, shape (rows, c); c = 0 where nothing is."""
        return self._index[3]

    @property
    def usable(self) -> IntArray:
        """The rows whose status is 0; `usable_rows` also complains about the others."""
        return np.flatnonzero(self.status == OK)

    def flat(self, rows: ArrayLike | slice) -> tuple[Array, IntArray]:
        """Datasets end to end: values (sum of n, columns) and offsets (len(rows) + 1,).

        The i-th of the asked rows owns values[offsets[i]:offsets[i + 1]].

        Raises:
            BadValue: A row is not in the bank.
        """
        index = self._expect_rows(rows)
        n = self.n[index]
        offsets = np.concatenate([[0], np.cumsum(n)])
        values = np.empty((int(offsets[-1]), len(self.data.columns)))
        block = np.searchsorted(self._stops, index, side="right")
        order = np.argsort(block, kind="stable")
        edges = np.flatnonzero(np.diff(block[order])) + 1
        for mine in np.split(order, edges) if len(order) else []:
            number = int(block[mine[0]])
            source = self._open(number)
            local = index[mine] - self.blocks[number].start
            wanted = _spans(source.offsets[local], n[mine])
            values[_spans(offsets[mine], n[mine])] = source.values[wanted]
        return values, offsets

    def take(self, rows: ArrayLike | slice) -> tuple[Array, Datasets]:
        """Parameters (b, d) and datasets of some rows, in the order asked for.

        Raises:
            BadValue: A row is not in the bank.
        """
        index = self._expect_rows(rows)
        values, _ = self.flat(index)
        n = self.n[index]
        padded = np.zeros((len(n), int(n.max(initial=1)), values.shape[1]))
        datasets = Datasets(padded, n, self.context[index])
        padded[datasets.mask] = values
        return self.theta[index], datasets

    def table(self) -> Array:
        """All usable datasets as one table in memory, shape (usable rows, n * columns).

        All numbers of a dataset stand in one row, observation after observation, which is what the
        models of `sbi_kit.latent` are fitted to; what is known of it besides is left out.

        Raises:
            BadValue: Datasets differ in size; or as of `usable_rows`.

        Warns:
            UserWarning: Some rows are left out, as by `usable_rows`.
        """
        rows = usable_rows(self)
        sizes = np.unique(self.n[rows])
        if len(sizes) > 1:
            raise BadValue(
                "datasets of one size, to make one row of each",
                f"{sizes[0]} to {sizes[-1]} observations",
                "simulate with a fixed n",
            )
        return self.flat(rows)[0].reshape(len(rows), -1)

    def chunks(self, rows: IntArray, *, observations: int) -> Iterator[Datasets]:
        """The datasets of some rows, in order, at most so many observations at a time."""
        size = max(1, observations // self.data.n_range[1])
        for start in range(0, len(rows), size):
            yield self.take(rows[start : start + size])[1]

    def context_range(self, rows: IntArray) -> dict[str, list[float]]:
        """Lowest and highest value of each context, by name, over some rows."""
        values = self.context[rows]
        low, high = values.min(axis=0).tolist(), values.max(axis=0).tolist()
        names = names_of(self.data)
        return {name: [a, b] for name, a, b in zip(names, low, high, strict=True)}

    def release(self) -> None:
        """Let go of the files that were mapped, whose pages count as memory in use."""
        self._mapped.clear()

    def verify(self) -> None:
        """Read every shard of a bank on disk and compare its checksum with the manifest.

        Raises:
            BadValue: One was changed; the message names it.
        """
        if self.path is not None:
            for entry in read_manifest(self.path).entries:
                verify_shard(self.path / entry.shard, entry.sha256)

    @functools.cached_property
    def _index(self) -> tuple[Array, IntArray, StatusArray, Array]:
        theta = np.empty((len(self), len(self.prior.names)))
        n = np.empty(len(self), dtype=np.int64)
        status = np.empty(len(self), dtype=np.uint8)
        context = np.empty((len(self), len(names_of(self.data))))
        for number, block in enumerate(self.blocks):
            rows, part = self._open(number), slice(block.start, block.stop)
            size = block.stop - block.start
            theta[part] = rows.theta[:size]
            n[part] = np.diff(rows.offsets[: size + 1])
            status[part] = rows.status[:size]
            context[part] = rows.context[:size]
            whole = rows.offsets[0] == 0 and rows.offsets[-1] == len(rows.values)
            if not whole or n[part].min() < 0 or status[part].max() > FAILED:
                raise BadValue(
                    f"offsets and statuses of rows {block.start} to {block.stop - 1} in order",
                    "others",
                    "the shard was edited, so restore it or simulate anew",
                )
        for array in (theta, n, status, context):
            array.flags.writeable = False
        return theta, n, status, context

    def _open(self, number: int) -> Rows:
        if number not in self._mapped:
            rows = self.blocks[number].read()
            older = list(self._mapped.items())  # another thread may map and unmap, too
            size = rows.values.nbytes + sum(other.values.nbytes for _, other in older)
            while older and (size > _BYTES or len(older) >= _MAPPED):
                oldest, other = older.pop(0)
                size -= other.values.nbytes
                self._mapped.pop(oldest, None)
            self._mapped[number] = rows
        return self._mapped[number]

    def _expect_rows(self, rows: ArrayLike | slice) -> IntArray:
        every = np.arange(len(self))
        try:
            if isinstance(rows, slice):
                return every[rows]
            index = np.asarray(rows)
            return np.atleast_1d(every[index if index.size else index.astype(np.int64)]).ravel()
        except IndexError as error:
            raise BadValue(
                f"rows of a bank of {len(self)}", str(error), "ask for rows that are there"
            ) from None


def usable_rows(bank: Bank, *, bad_share: float = 0.2) -> IntArray:
    """The rows to train on, in order; complains once about the others.

    Args:
        bank: Any bank.
        bad_share: Largest tolerable share of simulations that failed or hold NaN or inf.

    Raises:
        BadValue: The bank is empty; nothing in it is usable; or more than the tolerable share is
            not, with where in parameter space those rows fall.

    Warns:
        UserWarning: Some rows are left out; how many, and the parameters of the first few.
    """
    share = expect_number("bad_share", bad_share, low=0, high=1)
    if len(bank) == 0:
        raise BadValue("a bank with simulations in it", "an empty one", "simulate into it first")
    bad = np.flatnonzero(bank.status != OK)
    if len(bad) == 0:
        return bank.usable
    counts = _counts(bank, bad)
    if len(bad) == len(bank):
        raise BadValue("usable simulations", f"{counts}; {_first(bank)}", "repair the simulator")
    if len(bad) > share * len(bank):
        where, worst = _where(bank)
        raise BadValue(
            f"at most {share:.0%} of the simulations unusable",
            f"{counts}; {where}",
            f"{worst} separates bad from good ones most, so repair the simulator there, narrow "
            f"its prior, or raise bad_share",
        )
    shown = "; ".join(f"row {row}: {_point(bank, row)}" for row in bad[:3])
    more = ", ..." if len(bad) > 3 else ""
    warnings.warn(f"{counts}; they are left out ({shown}{more}).", UserWarning, stacklevel=2)
    return bank.usable


def _counts(bank: Bank, bad: IntArray) -> str:
    non_finite = int(np.sum(bank.status == NON_FINITE))
    kinds = [(non_finite, "hold NaN or inf"), (len(bad) - non_finite, "failed")]
    each = " and ".join(f"{count} {text}" for count, text in kinds if count)
    return f"{len(bad)} of {len(bank)} simulations are unusable ({each})"


def _first(bank: Bank) -> str:
    if not bank.failures:
        return f"the first has {_point(bank, 0)}"
    first = bank.failures[0]
    return (
        f"the first failure is row {first['row']} ({show_parameters(first['parameters'])}): "
        f"{first['exception']}"
    )


def _point(bank: Bank, row: int) -> str:
    return show_parameters(dict(zip(bank.prior.names, bank.theta[row].tolist(), strict=True)))


def _where(bank: Bank) -> tuple[str, str]:
    """Each parameter among bad and good rows, and the one whose distributions differ most."""
    is_bad = bank.status != OK
    texts, gaps = [], []
    for name, values in zip(bank.prior.names, bank.theta.T, strict=True):
        bad, good = np.sort(values[is_bad]), np.sort(values[~is_bad])
        texts.append(f"{name} is {_spread(bad)} in bad rows and {_spread(good)} in good ones")
        # Kolmogorov-Smirnov distance
        below = (np.searchsorted(part, values, "right") / len(part) for part in (bad, good))
        gaps.append(float(np.abs(np.subtract(*below)).max()))
    return ", ".join(texts), bank.prior.names[int(np.argmax(gaps))]


def _spread(values: Array) -> str:
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return f"{middle:.3g} (5-95 % {low:.3g} to {high:.3g})"


def _spans(starts: IntArray, sizes: IntArray) -> NDArray[np.int64]:
    """Indices start, start + 1, ... of each span, one span after the other."""
    ends = np.cumsum(sizes)
    return np.repeat(starts - (ends - sizes), sizes) + np.arange(int(ends[-1]))
