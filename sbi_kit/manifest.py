"""The manifest of a bank on disk: which simulations there are, and nothing else counts.

`manifest.jsonl` is append-only: a header line that says what is simulated, then one line per shard
with its rows and checksum. A shard exists if and only if its line does, and a last line without its
end (the process was killed) does not count. So a kill at any moment loses only what was not yet
recorded, and whatever was once recorded stays readable. `failures.jsonl` beside it has one line per
simulation that raised. Neither holds the time of day: the same seed gives the same bytes.
"""

import contextlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sbi_kit.checks import BadValue
from sbi_kit.files import publish, write_whole
from sbi_kit.shards import FAILED, NON_FINITE, OK, Rows, write_shard

FORMAT = "sbi_kit.bank"
VERSION = 1
MANIFEST = "manifest.jsonl"
FAILURES = "failures.jsonl"

Record: TypeAlias = dict[str, Any]

_SHARD = re.compile(r"[0-9]{12,}\.safetensors")
_TEMPORARY = re.compile(r"\.[0-9a-z.]+-[0-9a-f]{32}\.tmp")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """One shard's line in the manifest: its file, rows start..stop - 1, checksum and counts."""

    shard: str
    start: int
    stop: int
    sha256: str
    ok: int
    non_finite: int
    failed: int


@dataclass(frozen=True)
class Manifest:
    """What a manifest says: the header, the shards without a gap, and how many bytes are whole."""

    header: Record
    entries: tuple[Entry, ...]
    whole: int

    @property
    def rows(self) -> int:
        """Number of simulations that are there."""
        return self.entries[-1].stop if self.entries else 0


def create(folder: Path, header: Record) -> None:
    """Start a bank: the directory and a manifest of one line."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / MANIFEST, _line(header))


def stage(folder: Path, start: int, rows: Rows) -> tuple[Entry, str]:
    """Write a shard that `commit` will record; returns its entry and its temporary name."""
    name = f"{start:012d}.safetensors"
    temporary, checksum = write_shard(folder, name, rows)
    ok, non_finite, failed = (int(np.sum(rows.status == s)) for s in (OK, NON_FINITE, FAILED))
    return Entry(name, start, start + len(rows), checksum, ok, non_finite, failed), temporary


def commit(folder: Path, entry: Entry, temporary: str) -> None:
    """Publish a shard: its final name, then its line in the manifest."""
    publish(folder, temporary, entry.shard)
    _append(folder / MANIFEST, _line(asdict(entry)))


def record_failures(folder: Path, records: Sequence[Record]) -> None:
    """Append to the failure log."""
    if records:
        _append(folder / FAILURES, b"".join(map(_line, records)))


def restore(folder: Path, manifest: Manifest) -> None:
    """Make a killed or failed bank ready to be continued: cut off what was never recorded."""
    with (folder / MANIFEST).open("r+b") as file:
        file.truncate(manifest.whole)
    log = folder / FAILURES
    if log.exists():
        kept = [record for record in read_failures(folder) if record["row"] < manifest.rows]
        content = b"".join(map(_line, kept))
        if not kept:
            log.unlink()
        elif content != log.read_bytes():
            write_whole(folder / FAILURES, content)


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed processes left."""
    for file in folder.iterdir():
        if _TEMPORARY.fullmatch(file.name):
            file.unlink(missing_ok=True)


def is_bank(folder: Path) -> bool:
    """Whether a directory holds a bank; False where there is nothing yet.

    Raises:
        BadValue: Something else is there.
    """
    if (folder / MANIFEST).is_file():
        return True
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise BadValue("path as a directory for a bank", f"the file {folder}", "choose another")
    other = [file.name for file in folder.iterdir() if not _TEMPORARY.fullmatch(file.name)]
    if other:
        raise BadValue(
            "path as a bank, an empty directory or a new one",
            f"{folder} with {min(other)!r} in it",
            "choose another directory",
        )
    return False


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a bank.

    Raises:
        BadValue: There is none, or it has no header, another format or version, or a damaged line.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise BadValue(f"a bank with a {MANIFEST}", f"none in {folder}", "check the path")
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    lines = content[:whole].split(b"\n")[:-1]
    header = _parse(lines[0], path, 1) if lines else {}
    if header.get("format") != FORMAT:
        raise BadValue(
            f"{path} to begin with a header of format {FORMAT!r}",
            f"{header.get('format')!r}",
            "the bank's first line is lost or the file is another's, so simulate anew",
        )
    if header.get("version") != VERSION:
        raise BadValue(
            f"a bank of format version {VERSION}",
            f"version {header.get('version')!r} in {path}",
            "read it with the sbi_kit that wrote it",
        )
    found: dict[int, Entry] = {}
    for number, line in enumerate(lines[1:], start=2):
        entry = _entry(_parse(line, path, number), path, number)
        if found.setdefault(entry.start, entry) != entry:
            raise _damaged(path, number, "a second shard for the same rows")
    entries: list[Entry] = []
    while (row := entries[-1].stop if entries else 0) in found:
        entries.append(found[row])
    return Manifest(header, tuple(entries), whole)


def read_failures(folder: Path) -> list[Record]:
    """The failure log; a last line without its end is left out.

    Raises:
        BadValue: A line is damaged.
    """
    path = folder / FAILURES
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        record = _parse(line, path, number)
        kinds = {"row": int, "parameters": dict, "exception": str}
        if not all(isinstance(record.get(key), kind) for key, kind in kinds.items()):
            raise _damaged(path, number, f"no {', '.join(kinds)}")
        records.append(record)
    return records


def show_parameters(parameters: dict[str, float]) -> str:
    """Parameters as in "rate=1.5, size=30"."""
    return ", ".join(f"{name}={value:.6g}" for name, value in parameters.items())


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        end = file.tell()
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            # Whole lines or none, so that later lines never follow half a line.
            with contextlib.suppress(OSError):
                os.truncate(path, end)
            raise


def _line(entry: Record) -> bytes:
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"


def _parse(line: bytes, path: Path, number: int) -> Record:
    try:
        record = json.loads(line)
    except (RecursionError, ValueError):
        record = None
    if not isinstance(record, dict):
        raise _damaged(path, number, "no JSON object")
    return record


def _entry(record: Record, path: Path, number: int) -> Entry:
    """An entry that can be trusted: above all, its file lies in the bank's own directory."""
    kinds = Entry.__annotations__
    if set(record) != set(kinds) or any(type(record[k]) is not kinds[k] for k in kinds):
        raise _damaged(path, number, "other fields than a shard's")
    entry = Entry(**record)
    if not _SHARD.fullmatch(entry.shard) or entry.shard != f"{entry.start:012d}.safetensors":
        raise _damaged(path, number, f"the shard name {entry.shard!r}")
    counts = entry.ok + entry.non_finite + entry.failed
    if not 0 <= entry.start < entry.stop or counts != entry.stop - entry.start:
        raise _damaged(path, number, "counts that are not its rows'")
    if not _HASH.fullmatch(entry.sha256):
        raise _damaged(path, number, "no checksum")
    return entry


def _damaged(path: Path, number: int, got: str) -> BadValue:
    return BadValue(
        f"line {number} of {path} as sbi_kit wrote it",
        got,
        "the file was edited or damaged, so restore it or simulate into another directory",
    )
