"""A trained posterior as a directory: `posterior.json` and `weights.safetensors`.

The first says all about it (format version, prior, layout, architecture, training, versions of
libraries) and carries a digest of itself and of the weights. Reading checks version and digest
before anything is built, and there is nothing in either file that could be run.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from sbi_kit.checks import BadValue
from sbi_kit.files import digest_of, publish, write

FORMAT, VERSION = "sbi_kit.posterior", 4
DOCUMENT, WEIGHTS, CHECKPOINT = "posterior.json", "weights.safetensors", "checkpoint.safetensors"
CERTIFICATE = "certificate.json"
RESTORE = "restore it from a copy or fit again"


def expect_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a directory that holds something a posterior must not be written over.

    Raises:
        BadValue: It is a file, it holds a posterior and `overwrite` is false, or it holds other
            files and no posterior.
    """
    if folder.is_file():
        raise BadValue("a directory for the posterior", f"the file {folder}", "choose another")
    if (folder / DOCUMENT).exists():
        if not overwrite:
            raise BadValue(
                "a directory without a posterior",
                f"{folder}, which holds one",
                "choose another, or pass overwrite=True (--overwrite)",
            )
        return
    # What an interrupted fit left behind may stay: a checkpoint, and hidden files and folders.
    others = [
        entry.name
        for entry in (folder.iterdir() if folder.exists() else ())
        if entry.name not in (CERTIFICATE, CHECKPOINT, WEIGHTS) and not entry.name.startswith(".")
    ]
    if others:
        raise BadValue(
            "an empty or new directory for the posterior",
            f"{folder} with {', '.join(sorted(others)[:3])} in it",
            "choose another",
        )


def write_posterior(
    folder: Path, document: Mapping[str, Any], tensors: Mapping[str, Tensor], *, overwrite: bool
) -> str:
    """Write both files; the document last, so that half a posterior is never taken for one.

    The certificate of a posterior that is replaced goes first.

    Returns:
        The digest of the document.

    Raises:
        BadValue: As for `expect_free`.
    """
    expect_free(folder, overwrite=overwrite)
    weights = safetensors.torch.save({name: t.detach().contiguous() for name, t in tensors.items()})
    full = {
        "format": FORMAT,
        "version": VERSION,
        **document,
        "weights": hashlib.sha256(weights).hexdigest(),
    }
    full["digest"] = digest_of(full)
    text = json.dumps(full, indent=1, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    # Both are on the disk before either gets its name: replacing a posterior is two renames.
    staged = write(folder, WEIGHTS, weights), write(folder, DOCUMENT, text.encode())
    (folder / CERTIFICATE).unlink(missing_ok=True)
    for temporary, name in zip(staged, (WEIGHTS, DOCUMENT), strict=True):
        publish(folder, temporary, name)
    return str(full["digest"])


def read_posterior(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The document and the tensors that `write_posterior` wrote.

    Raises:
        BadValue: There is none, it is of another version, or a file was truncated or edited.
    """
    try:
        text, weights = (folder / DOCUMENT).read_bytes(), (folder / WEIGHTS).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        name = Path(str(error.filename)).name
        raise BadValue(
            f"a posterior in {folder}", f"no {name}", "pass the directory that fit or save wrote"
        ) from None
    document = _parse(text, folder / DOCUMENT)
    if document.get("digest") != digest_of(document):
        raise _changed(folder / DOCUMENT, "contents that do not fit its digest")
    if document.get("weights") != hashlib.sha256(weights).hexdigest():
        raise _changed(folder / WEIGHTS, "contents that do not fit their digest")
    try:
        return document, safetensors.torch.load(weights)
    except (safetensors.SafetensorError, ValueError) as error:
        raise _changed(folder / WEIGHTS, str(error)) from None


def _parse(text: bytes, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise _changed(path, f"no whole JSON ({error})") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BadValue(f"{path} to describe a posterior of sbi_kit", "something else", RESTORE)
    if document.get("version") != VERSION:
        raise BadValue(
            f"{path} in version {VERSION} of the format",
            f"version {document.get('version')!r}",
            "open it with the release of sbi_kit that wrote it, or fit again",
        )
    return document


def _changed(path: Path, got: str) -> BadValue:
    return BadValue(f"{path} as sbi_kit wrote it", got, f"it was edited or damaged, so {RESTORE}")
