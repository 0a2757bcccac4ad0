"""Simulations as files: immutable shards that appear whole or not at all.

A shard is a `.safetensors` file with theta (r, d), values (sum of n, columns), offsets (r + 1,),
status (r,) and, where there is any, context (r, c). It is written under a temporary name, flushed
to the disk and renamed, so a reader never sees half of one; it is read by mapping it into memory,
so a bank may be larger than that.
Nothing is pickled, and its header is checked against the file's size before any number is read.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sbi_kit.checks import BadValue
from sbi_kit.contracts import Array, IntArray
from sbi_kit.files import write

OK, NON_FINITE, FAILED = 0, 1, 2

StatusArray: TypeAlias = NDArray[np.uint8]

_DTYPES = {"theta": "F64", "values": "F64", "offsets": "I64", "status": "U8"}
_WITH_CONTEXT = {**_DTYPES, "context": "F64"}
_NUMPY = {"F64": "<f8", "I64": "<i8", "U8": "u1"}


@dataclass(frozen=True)
class Rows:
    """r simulations, their observations one below the other.

    Attributes:
        theta: Parameters, shape (r, d).
        values: Observations, shape (sum of n, columns).
        offsets: Row i owns values[offsets[i]:offsets[i + 1]], shape (r + 1,).
        status: 0 usable, 1 holds NaN or inf, 2 the simulator failed (no observations), shape (r,).
        context: What is known of each dataset besides, shape (r, c); c may be 0.
    """

    theta: Array
    values: Array
    offsets: IntArray
    status: StatusArray
    context: Array

    def __len__(self) -> int:
        return len(self.theta)


def join(parts: Sequence[Rows]) -> Rows:
    """Simulations one after the other."""
    n = np.concatenate([np.diff(part.offsets) for part in parts])
    return Rows(
        np.concatenate([part.theta for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([[0], np.cumsum(n)]),
        np.concatenate([part.status for part in parts]),
        np.concatenate([part.context for part in parts]),
    )


def write_shard(folder: Path, name: str, rows: Rows) -> tuple[str, str]:
    """Write a shard that `publish` will name; returns its temporary name and its checksum."""
    from safetensors.numpy import save

    parts = _dtypes(rows.context.shape[1])
    content = save({part: np.ascontiguousarray(getattr(rows, part)) for part in parts})
    return write(folder, name, content), hashlib.sha256(content).hexdigest()


def open_shard(path: Path, *, rows: int, parameters: int, columns: int, context: int) -> Rows:
    """Map a shard into memory; nothing but its header is read.

    Raises:
        BadValue: The file is missing, truncated, or not what the manifest says.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = int.from_bytes(file.read(8), "little")
            if 8 + head > size:
                raise _bad_shard(path, f"{size} bytes")
            tensors = json.loads(file.read(head))
        shapes = {"theta": (rows, parameters), "offsets": (rows + 1,), "status": (rows,)}
        shapes["values"] = (int(tensors["values"]["shape"][0]), columns)
        shapes["context"] = (rows, context)
        dtypes = _dtypes(context)
        ends = [8 + head + int(tensors[name]["data_offsets"][1]) for name in dtypes]
        if max(ends) != size:
            raise _bad_shard(path, f"{size} bytes instead of {max(ends)}")
        content = np.asarray(np.memmap(path, mode="r"))
        parts = {
            name: _tensor(content[8 + head :], tensors[name], dtype, shapes[name])
            for name, dtype in dtypes.items()
        }
    except FileNotFoundError:
        raise _bad_shard(path, "no file") from None
    except BadValue:
        raise
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise _bad_shard(path, f"a damaged header ({error})") from None
    return Rows(**{"context": np.empty((rows, 0)), **parts})


def verify_shard(path: Path, sha256: str) -> None:
    """Read a whole shard and compare its checksum.

    Raises:
        BadValue: It differs.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise _bad_shard(path, "another checksum")


def _dtypes(context: int) -> dict[str, str]:
    """The tensors of a shard; without context they are those of a bank that never had any."""
    return _WITH_CONTEXT if context else _DTYPES


def _tensor(
    content: NDArray[np.uint8], entry: dict[str, Any], dtype: str, shape: tuple[int, ...]
) -> NDArray[Any]:
    start, stop = entry["data_offsets"]
    kind = np.dtype(_NUMPY[dtype])
    fits = entry["dtype"] == dtype and tuple(entry["shape"]) == shape
    if not fits or start < 0 or stop - start != math.prod(shape) * kind.itemsize:
        raise ValueError(f"{entry} where {dtype} of shape {shape} belongs")
    tensor: NDArray[Any] = content[start:stop].view(kind).reshape(shape)
    return tensor


def _bad_shard(path: Path, got: str) -> BadValue:
    return BadValue(
        f"shard {path} as the manifest records it",
        got,
        "it was truncated or edited, so restore it or simulate into another directory",
    )
