"""A file of tensors and notes that appears whole or not at all, and holds no code.

The format is safetensors with the notes as JSON in its header.
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


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able notes to `path`."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = save(plain, metadata={_NOTES: json.dumps(notes)})
    write_whole(path, data)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and notes that `write_checkpoint` wrote.

    Raises:
        BadValue: The file is no such file, or was truncated.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = json.loads(file.metadata()[_NOTES])
            return {name: file.get_tensor(name) for name in file.keys()}, notes  # noqa: SIM118
    except (SafetensorError, TypeError, KeyError, ValueError) as error:
        raise BadValue(
            f"a whole checkpoint in {path}", f"{type(error).__name__}: {error}", "remove it"
        ) from error
