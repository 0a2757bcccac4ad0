"""A fitted estimator as a directory: `model.json` and `weights.safetensors`.

The first holds the method's name, settings, names, levels and units, the second all arrays, and
neither anything that could be run. The document is sealed with the weights, so that half a model is
never taken for one, nor an edited one for what was fitted.
"""

import json
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from sbi_kit.checks import BadInput, BadType, BadValue, show_names
from sbi_kit.files import publish, write
from sbi_kit.sealed import WEIGHTS, Form, changed, read_sealed, seal
from sbi_kit.supervised.learned import METHODS, Parts, put_together, take_apart

DOCUMENT = "model.json"
FORM = Form("an estimator", DOCUMENT, "sbi_kit.estimator", 1)
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
    text, _ = seal(FORM, _content(model, parts), weights)
    folder.mkdir(parents=True, exist_ok=True)
    staged = write(folder, WEIGHTS, weights), write(folder, DOCUMENT, text)
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
        document, weights = read_sealed(folder, FORM)
    except (FileNotFoundError, NotADirectoryError):
        do = "pass the directory that save_model wrote"
        raise BadValue(f"a model in {folder}", "none", do) from None
    try:
        arrays = safetensors.numpy.load(weights)
        return _restore(document, {name: np.array(array) for name, array in arrays.items()})
    except (*_MISFITS, safetensors.SafetensorError) as error:
        got = str(error) if isinstance(error, BadInput) else f"{type(error).__name__}: {error}"
        raise changed(folder, " ".join(got.split())) from None


def _content(model: Any, parts: Parts) -> dict[str, Any]:
    """What the document says of the estimator, as JSON values."""
    names = getattr(model, "feature_names_in_", None)
    full = {
        "method": type(model).__name__,
        "settings": model.get_params(),
        "features": None if names is None else [str(name) for name in names],
        "width": model.n_features_in_,
        "learned": parts.facts,
    }
    try:
        plain: dict[str, Any] = json.loads(json.dumps(full, default=_plain))
    except TypeError as error:
        raise BadType("settings that a file can hold", str(error), "use numbers and text") from None
    return plain


def _plain(value: object) -> object:
    """A number of numpy's as one of Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(repr(value))


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
