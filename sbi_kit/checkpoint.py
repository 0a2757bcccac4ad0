"""A file of tensors and notes that appears whole or not at all, and holds no code.

The format is safetensors with the notes as JSON in its header. A file has one or more parts, one
for each member of an ensemble whose training has begun; to write one of them keeps the others.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sbi_kit.checks import BadValue
from sbi_kit.files import write_whole

_NOTES = "sbi_kit"


def write_checkpoint(
    path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any], *, part: int = 0
) -> None:
    """Write tensors and JSON-able notes as a part of the file `path`.

    Raises:
        BadValue: There is a file already, and it is no such file, or was truncated.
    """
    all_, all_notes = _read(path) if path.exists() else ({}, {})
    others = {name: tensor for name, tensor in all_.items() if not name.startswith(f"{part}.")}
    mine = {f"{part}.{k}": tensor.detach().cpu().contiguous() for k, tensor in tensors.items()}
    metadata = {_NOTES: json.dumps({**all_notes, str(part): notes})}
    write_whole(path, save(others | mine, metadata=metadata))


def read_checkpoint(
    path: Path, *, part: int = 0
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors and notes that `write_checkpoint` wrote, or None if there is no such part.

    Raises:
        BadValue: The file is no such file, or was truncated.
    """
    if not path.exists():
        return None
    tensors, notes = _read(path)
    if str(part) not in notes:
        return None
    start = f"{part}."
    mine = {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
    return mine, notes[str(part)]


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of all parts, under their numbers, and the notes by number."""
    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(json.loads(file.metadata()[_NOTES]))
            return {name: file.get_tensor(name) for name in file.keys()}, notes  # noqa: SIM118
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise BadValue(
            f"a whole checkpoint in {path}", f"{type(error).__name__}: {error}", "remove it"
        ) from error
