"""A fitted multi-task model as a directory: `model.json` and `weights.safetensors`.

The first holds settings, names, levels and units, the second all arrays, and neither anything that
could be run. The document carries the digest of the weights, so that half a model is never taken
for one.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import safetensors.numpy

from sbi_kit.checks import BadType, BadValue
from sbi_kit.contracts import Array
from sbi_kit.files import publish, write
from sbi_kit.supervised.columns import Columns
from sbi_kit.supervised.lesson import TargetScale
from sbi_kit.supervised.multitask import MultiTask
from sbi_kit.supervised.proximal import Head

FORMAT, VERSION = "sbi_kit.multitask", 1
DOCUMENT, WEIGHTS = "model.json", "weights.safetensors"
_RESTORE = "restore it from a copy or fit again"
_Arrays: TypeAlias = dict[str, Any]


def save_model(model: MultiTask, folder: Path, *, overwrite: bool = False) -> None:
    """Write a fitted model.

    Raises:
        BadType: It is no fitted `MultiTask`.
        BadValue: The directory holds a model and `overwrite` is false.
    """
    if not isinstance(model, MultiTask) or not hasattr(model, "columns_"):
        raise BadType("a fitted MultiTask", type(model).__name__, "fit it first")
    if (folder / DOCUMENT).exists() and not overwrite:
        got = f"{folder}, which holds one"
        raise BadValue("a directory without a model", got, "choose another, or pass overwrite=True")
    weights = safetensors.numpy.save(_arrays(model))
    document = {
        "format": FORMAT,
        "version": VERSION,
        "settings": {**model.get_params(), "quantiles": list(model.quantiles)},
        "features": [str(name) for name in getattr(model, "feature_names_in_", [])] or None,
        "width": model.n_features_in_,
        "medians": dict(model.columns_.medians),
        "levels": {name: list(levels) for name, levels in model.columns_.levels.items()},
        "target": {"mean": model.scale_.mean, "sd": model.scale_.sd},
        "threshold": model.threshold_,
        "importances": list(model.importances_.index),
        "weights": hashlib.sha256(weights).hexdigest(),
    }
    text = json.dumps(document, indent=1, allow_nan=False, default=float) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    staged = write(folder, WEIGHTS, weights), write(folder, DOCUMENT, text.encode())
    for temporary, name in zip(staged, (WEIGHTS, DOCUMENT), strict=True):
        publish(folder, temporary, name)


def load_model(folder: Path) -> MultiTask:
    """The model that `save_model` wrote.

    Raises:
        BadValue: There is none, it is of another version, or it was truncated or edited.
    """
    try:
        text, weights = (folder / DOCUMENT).read_bytes(), (folder / WEIGHTS).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        do = "pass the directory that save_model wrote"
        raise BadValue(f"a model in {folder}", "none", do) from None
    try:
        document = json.loads(text)
        if (document["format"], document["version"]) != (FORMAT, VERSION):
            got = f"{document['format']} {document['version']}"
            do = "open it with the release of sbi_kit that wrote it"
            raise BadValue(f"{folder} in version {VERSION} of {FORMAT}", got, do)
        if document["weights"] != hashlib.sha256(weights).hexdigest():
            raise ValueError("weights that do not fit their digest")
        return _restore(document, safetensors.numpy.load(weights))
    except BadValue:
        raise
    except (
        LookupError,
        TypeError,
        ValueError,
        RecursionError,
        safetensors.SafetensorError,
    ) as error:
        wanted = f"{folder} as sbi_kit wrote it"
        raise BadValue(wanted, f"{type(error).__name__}: {error}", _RESTORE) from None


def _arrays(model: MultiTask) -> _Arrays:
    heads = [model.regression_, model.classification_, *model.quantile_heads_]
    return {
        "kept": model.columns_.kept,
        "mean": model.columns_.mean,
        "scale": model.columns_.scale,
        "heads": np.stack([np.append(head.weights, head.intercept) for head in heads]),
        "importances": np.ascontiguousarray(model.importances_.to_numpy()),
    }


def _restore(document: dict[str, Any], arrays: _Arrays) -> MultiTask:
    settings = document["settings"]
    model = MultiTask(**{**settings, "quantiles": tuple(settings["quantiles"])})
    levels = {name: tuple(each) for name, each in document["levels"].items()}
    model.columns_ = Columns(
        document["medians"], levels, arrays["kept"], arrays["mean"], arrays["scale"]
    )
    heads: list[Array] = list(arrays["heads"])
    if len(heads) != 2 + len(model.quantiles) or len(heads[0]) != len(model.columns_.names) + 1:
        raise ValueError("weights of another shape")
    regression, classification, *quantiles = [Head(row[:-1], float(row[-1])) for row in heads]
    model.regression_, model.classification_ = regression, classification
    model.quantile_heads_ = tuple(quantiles)
    model.scale_ = TargetScale(document["target"]["mean"], document["target"]["sd"])
    model.threshold_ = document["threshold"]
    model.n_features_in_ = document["width"]
    if document["features"] is not None:
        model.feature_names_in_ = np.array(document["features"], dtype=object)
    model.importances_ = pd.DataFrame(
        arrays["importances"],
        index=document["importances"],
        columns=["regression", "classification", "both"],
    )
    return model
