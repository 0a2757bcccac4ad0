"""Where simulated shards go as they come: into memory, or into a directory that can be continued.

Both stores take the shards in the order of their rows and hand out a bank of what they have. The
directory compares its header with that of the present call before anything is written, so two
different experiments never end up in one bank.
"""

import functools
import json
import reprlib
from pathlib import Path
from typing import Any, Protocol, cast

from sbi_kit import contracts, manifest
from sbi_kit.bank import Bank, Block
from sbi_kit.checks import BadValue
from sbi_kit.chunks import Outcome
from sbi_kit.data import AnyLayout
from sbi_kit.manifest import Manifest, Record
from sbi_kit.shards import Rows, verify_shard


class Store(Protocol):
    """A place for shards."""

    @property
    def rows(self) -> int:
        """How many rows are there."""

    @property
    def folder(self) -> Path | None:
        """The directory they are in."""

    @property
    def kept(self) -> str:
        """What became of them, for the message of a failure."""

    def start(self) -> None:
        """Get ready for the first shard."""

    def keep(self, outcome: Outcome) -> None:
        """Add the next shard."""


class MemoryStore:
    """Keeps shards in memory, after those of a bank if there is one already."""

    def __init__(
        self, header: Record, model: contracts.Simulator, found: Bank | None = None
    ) -> None:
        self.rows = len(found) if found else 0
        self.folder: Path | None = None
        self.kept = "pass a path to keep the rows before"
        self._header = header
        self._model = model
        self._blocks: list[Block] = list(found.blocks) if found else []
        self._failures: list[Record] = list(found.failures) if found else []

    def start(self) -> None:
        """Get ready for the first shard."""

    def keep(self, outcome: Outcome) -> None:
        """Add the next shard."""
        self._failures += outcome.failures
        if outcome.rows is not None:
            start, self.rows = self.rows, self.rows + len(outcome.rows)
            self._blocks.append(Block(start, self.rows, functools.partial(_itself, outcome.rows)))

    def bank(self) -> Bank:
        """What is there."""
        return Bank(
            self._header,
            self._blocks,
            prior=self._model.prior,
            data=cast(AnyLayout, self._model.data),
            failures=self._failures,
            path=None,
            model=self._model,
        )


class FolderStore:
    """Records shards in a directory.

    Args:
        folder: The directory.
        header: What is to be simulated.
        found: The manifest that is there, if any.

    Raises:
        BadValue: The manifest that is there is of another call; the message says what differs.
    """

    def __init__(
        self, folder: Path, header: Record, model: contracts.Simulator, found: Manifest | None
    ) -> None:
        if found:
            _expect_same(folder, found.header, json.loads(json.dumps(header)))
        self.rows = found.rows if found else 0
        self.folder = folder
        self._header = header
        self._model = model
        self._found = found

    @property
    def kept(self) -> str:
        """What became of the rows."""
        return f"the {self.rows} rows before are saved in {self.folder}"

    def start(self) -> None:
        """Create the directory, or make the one that is there ready to be continued."""
        if self._found is None:
            manifest.create(self.folder, self._header)
        else:
            for entry in self._found.entries:
                verify_shard(self.folder / entry.shard, entry.sha256)
            manifest.restore(self.folder, self._found)
        manifest.sweep(self.folder)

    def keep(self, outcome: Outcome) -> None:
        """Record the next shard, which the task may have written under a temporary name."""
        manifest.record_failures(self.folder, outcome.failures)
        written = outcome.written
        if outcome.rows is not None:
            written = manifest.stage(self.folder, self.rows, outcome.rows)
        if written is not None:
            entry, temporary = written
            manifest.commit(self.folder, entry, temporary)
            self.rows = entry.stop

    def bank(self) -> Bank:
        """What is there."""
        bank = Bank.open(self.folder)
        bank.model = self._model
        return bank


def _itself(rows: Rows) -> Rows:
    return rows


def _expect_same(folder: Path, found: Record, wanted: Record) -> None:
    # Where series do not say that they are nested, they are used as if not so.
    if "nested" not in found["data"]:
        data = {key: value for key, value in wanted["data"].items() if key != "nested"}
        wanted = {**wanted, "data": data}
    differences = _differences(found, wanted)
    if differences:
        more = f" and {len(differences) - 3} more" if len(differences) > 3 else ""
        raise BadValue(
            f"the bank in {folder} to be of the same call",
            "; ".join(differences[:3]) + more,
            "choose another folder or the same settings",
        )


def _differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """Where two headers differ, as "seed 1 there and 2 here"."""
    if found == wanted:
        return []
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            text
            for key in dict.fromkeys([*wanted, *found])
            for text in _differences(found.get(key), wanted.get(key), f"{name} {key}".strip())
        ]
    return [f"{name} {reprlib.repr(found)} there and {reprlib.repr(wanted)} here"]
