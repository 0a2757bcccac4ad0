"""A trained posterior as a directory: `posterior.json` and `weights.safetensors`.

The first says all about it (format version, prior, layout, architecture, training, versions of
libraries) and is sealed with the weights, which is checked before anything is built; there is
nothing in either file that could be run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from sbi_kit.checks import BadValue
from sbi_kit.files import publish, write
from sbi_kit.sealed import WEIGHTS, Form, changed, read_sealed, seal

DOCUMENT, CHECKPOINT, CERTIFICATE = "posterior.json", "checkpoint.safetensors", "certificate.json"
FORM = Form("a posterior", DOCUMENT, "sbi_kit.posterior", 4)


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
    weights = safetensors.torch.save({k: t.detach().cpu().contiguous() for k, t in tensors.items()})
    text, digest = seal(FORM, document, weights)
    folder.mkdir(parents=True, exist_ok=True)
    # Both are on the disk before either gets its name: replacing a posterior is two renames.
    staged = write(folder, WEIGHTS, weights), write(folder, DOCUMENT, text)
    (folder / CERTIFICATE).unlink(missing_ok=True)
    for temporary, name in zip(staged, (WEIGHTS, DOCUMENT), strict=True):
        publish(folder, temporary, name)
    return digest


def read_posterior(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The document and the tensors that `write_posterior` wrote.

    Raises:
        BadValue: There is none, it is of another version, or a file was truncated or edited.
    """
    try:
        document, weights = read_sealed(folder, FORM)
    except (FileNotFoundError, NotADirectoryError) as error:
        name, do = Path(str(error.filename)).name, "pass the directory that fit or save wrote"
        raise BadValue(f"a posterior in {folder}", f"no {name}", do) from None
    try:
        return document, safetensors.torch.load(weights)
    except (safetensors.SafetensorError, ValueError) as error:
        raise changed(folder / WEIGHTS, str(error)) from None
