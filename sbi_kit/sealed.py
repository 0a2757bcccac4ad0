"""Documents that carry a digest of themselves, alone or beside the weights that they describe.

Each is JSON that begins with its format and version and ends with a digest of the rest, the
weights' own digest included, so that what was truncated, edited or mixed up is refused before
anything is built of it. These are checksums against accidents, no signatures.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sbi_kit.checks import BadValue

WEIGHTS = "weights.safetensors"
RESTORE = "restore it from a copy or fit again"
DAMAGED = f"it was edited or damaged, so {RESTORE}"


@dataclass(frozen=True)
class Form:
    """What documents of a kind describe, as in "a posterior", their file's name and format."""

    describes: str
    file: str
    format: str
    version: int


def seal(form: Form, content: Mapping[str, Any], weights: bytes | None = None) -> tuple[bytes, str]:
    """What stands in a document's file, and its digest; TypeError, ValueError if it is no JSON."""
    document = {"format": form.format, "version": form.version, **content}
    if weights is not None:
        document["weights"] = hashlib.sha256(weights).hexdigest()
    digest = digest_of(document)
    text = json.dumps({**document, "digest": digest}, indent=1, allow_nan=False) + "\n"
    return text.encode(), digest


def read_sealed(folder: Path, form: Form) -> tuple[dict[str, Any], bytes]:
    """A document and the weights beside it, both as they were written.

    Raises:
        FileNotFoundError, NotADirectoryError: One of them is not there.
        BadValue: The document is of another format or version, or a file was truncated or edited.
    """
    path = folder / form.file
    text, weights = path.read_bytes(), (folder / WEIGHTS).read_bytes()
    document = unseal(form, path, text)
    if document.get("weights") != hashlib.sha256(weights).hexdigest():
        raise changed(folder / WEIGHTS, "contents that do not fit their digest")
    return document, weights


def unseal(form: Form, path: Path, text: bytes, *, do: str | None = None) -> dict[str, Any]:
    """The document of a file, whatever is wrong with which is refused with what to do about it.

    Raises:
        BadValue: It is of another format or version, or was truncated or edited.
    """
    document = parse(path, text, do=do or DAMAGED)
    if not isinstance(document, dict) or document.get("format") != form.format:
        wanted = f"{path} to describe {form.describes} of sbi_kit"
        raise BadValue(wanted, "something else", do or RESTORE)
    if (version := document.get("version")) != form.version:
        wanted = f"{path} in version {form.version} of the format"
        other = "open it with the release of sbi_kit that wrote it, or fit again"
        raise BadValue(wanted, f"version {version!r}", do or other)
    if document.get("digest") != digest_of(document):
        raise changed(path, "contents that do not fit its digest", do=do or DAMAGED)
    return document


def parse(path: Path, text: bytes, *, do: str) -> Any:
    """The JSON value that stands in a file, which is refused if it holds no whole one."""
    try:
        return json.loads(text)
    except (RecursionError, ValueError) as error:
        raise changed(path, f"no whole JSON ({error})", do=do) from None


def changed(path: Path, got: str, *, do: str = DAMAGED) -> BadValue:
    """The error of a file or directory that is not as it was written."""
    return BadValue(f"{path} as sbi_kit wrote it", got, do)


def digest_of(document: Mapping[str, Any]) -> str:
    """Checksum of a document of JSON values without its own digest, however it is spaced."""
    rest = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
