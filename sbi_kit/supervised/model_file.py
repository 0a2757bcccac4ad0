"""A fitted estimator as a directory: `model.json` and `weights.safetensors`.

The first holds the method's name, settings, names, levels and units, the second all arrays, and
neither anything that could be run. The document carries a digest of itself and of the weights, so
that half a model is never taken for one, nor an edited one for what was fitted.
"""

import hashlib
import json
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from sbi_kit.checks import BadInput, BadType, BadValue, show_names
from sbi_kit.files import digest_of, publish, write
from sbi_kit.supervised.learned import METHODS, Parts, put_together, take_apart

FORMAT, VERSION = "sbi_kit.estimator", 1
DOCUMENT, WEIGHTS = "model.json", "weights.safetensors"
_RESTORE = "restore it from a copy or fit again"
_MISFITS = ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError


def save_model(model: Any, path: str | PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted estimator of this package into a directory.

    Args:
        model: A `MultiTask`, `MultiTaskNetwork`, `WideDeep`, `FullyConnected` or `ParitySolver`.
        path: The directory.
        overwrite: Whether to replace a model that is there.

    Raises:
        BadType: It is none of these or was not fitted, or a setting or class is neither a number
            nor text.
        BadValue: The directory holds a model and `overwrite` is false, or it is a file.
    """
    folder, name = Path(path), type(model).__name__
    if name not in METHODS or not isinstance(model, _kind(name)):
        raise BadType(f"one of {show_names(list(METHODS))}", name, "save estimators of this kind")
    try:
        parts = take_apart(model)
    except AttributeError:
        raise BadType(f"a fitted {name}", "one that was not fitted", "fit it first") from None
    if folder.is_file():
        raise BadValue("a directory for the model", f"the file {folder}", "choose another")
    if (folder / DOCUMENT).exists() and not overwrite:
        got = f"{folder}, which holds one"
        raise BadValue("a directory without a model", got, "choose another, or pass overwrite=True")
    arrays = {key: np.ascontiguousarray(array) for key, array in parts.arrays.items()}
    weights = safetensors.numpy.save(arrays)
    document = _document(model, parts, weights)
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    staged = write(folder, WEIGHTS, weights), write(folder, DOCUMENT, text.encode())
    for temporary, file in zip(staged, (WEIGHTS, DOCUMENT), strict=True):
        publish(folder, temporary, file)


def load_model(path: str | PathLike[str]) -> Any:
    """The estimator that `save_model` wrote; nothing in its files is executed.

    Returns:
        An estimator of the same kind, with the same settings and predictions; lists among the
        settings are tuples.

    Raises:
        BadValue: There is none, it is of another version, or it was truncated or edited.
    """
    folder = Path(path)
    try:
        text, weights = (folder / DOCUMENT).read_bytes(), (folder / WEIGHTS).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        do = "pass the directory that save_model wrote"
        raise BadValue(f"a model in {folder}", "none", do) from None
    document = _parse(text, folder / DOCUMENT)
    if document.get("digest") != digest_of(document):
        raise _changed(folder / DOCUMENT, "contents that do not fit its digest")
    if document.get("weights") != hashlib.sha256(weights).hexdigest():
        raise _changed(folder / WEIGHTS, "contents that do not fit their digest")
    try:
        arrays = safetensors.numpy.load(weights)
        return _restore(document, {name: np.array(array) for name, array in arrays.items()})
    except (*_MISFITS, safetensors.SafetensorError) as error:
        got = str(error) if isinstance(error, BadInput) else f"{type(error).__name__}: {error}"
        raise _changed(folder, " ".join(got.split())) from None


def _document(model: Any, parts: Parts, weights: bytes) -> dict[str, Any]:
    """What stands in the document, as JSON values."""
    names = getattr(model, "feature_names_in_", None)
    full = {
        "format": FORMAT,
        "version": VERSION,
        "method": type(model).__name__,
        "settings": model.get_params(),
        "features": None if names is None else [str(name) for name in names],
        "width": model.n_features_in_,
        "learned": parts.facts,
        "weights": hashlib.sha256(weights).hexdigest(),
    }
    try:
        plain: dict[str, Any] = json.loads(json.dumps(full, default=_plain))
    except TypeError as error:
        raise BadType("settings that a file can hold", str(error), "use numbers and text") from None
    return {**plain, "digest": digest_of(plain)}


def _plain(value: object) -> object:
    """A number of numpy's as one of Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(repr(value))


def _parse(text: bytes, path: Path) -> dict[str, Any]:
    """The document, if it is one of this version."""
    try:
        document = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise _changed(path, f"no whole JSON ({error})") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        wanted = f"{path} to describe an estimator of sbi_kit"
        raise BadValue(wanted, "something else", _RESTORE)
    if document.get("version") != VERSION:
        wanted, got = f"{path} in version {VERSION} of the format", repr(document.get("version"))
        do = "open it with the release of sbi_kit that wrote it, or fit again"
        raise BadValue(wanted, f"version {got}", do)
    return document


def _restore(document: dict[str, Any], arrays: dict[str, Any]) -> Any:
    """The estimator; whatever does not fit raises something."""
    settings = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in document["settings"].items()
    }
    if document["method"] not in METHODS:
        raise ValueError(f"no method is called {document['method']!r}")
    model = _kind(document["method"])(**settings)
    model.n_features_in_ = document["width"]
    if document["features"] is not None:
        model.feature_names_in_ = np.array(document["features"], dtype=object)
    put_together(model, Parts(document["learned"], arrays))
    return model


def _kind(name: str) -> Any:
    """The class of a name in `METHODS`; imported when it is asked for, because some need torch."""
    return getattr(import_module("sbi_kit.supervised"), name)


def _changed(path: Path, got: str) -> BadValue:
    return BadValue(f"{path} as sbi_kit wrote it", got, f"it was edited or damaged, so {_RESTORE}")
