"""Files that appear whole or not at all.

A file is written under a temporary name, flushed to the disk, and renamed into its place: a kill or
a power cut at any time leaves the old file or the new one, never half of one.
"""

import os
import uuid
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, replacing what had its name."""
    publish(path.parent, write(path.parent, path.name, content), path.name)


def write(folder: Path, name: str, content: bytes) -> str:
    """Write a file that `publish` will name; returns its temporary name."""
    temporary = f".{name}-{uuid.uuid4().hex}.tmp"
    try:
        with (folder / temporary).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        (folder / temporary).unlink(missing_ok=True)
        raise
    return temporary


def publish(folder: Path, temporary: str, name: str) -> None:
    """Give a written file its name, replacing what had it."""
    (folder / temporary).replace(folder / name)
    # A rename is on the disk only when its directory is; Windows cannot open directories.
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
