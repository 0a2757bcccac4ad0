"""Write a posterior to its directory, which is alike for every method, its certificate with it."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sbi_kit.certificate import write_certificate
from sbi_kit.checks import BadType
from sbi_kit.data import layout_to_dict
from sbi_kit.observing import Simulated
from sbi_kit.posterior_file import write_posterior
from sbi_kit.prior import Prior, prior_to_dict


def save_posterior(
    posterior: Simulated,
    path: str | PathLike[str],
    *,
    method: str,
    document: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    arrays: Mapping[str, Mapping[str, Any]],
    packages: Sequence[str],
    overwrite: bool,
) -> None:
    """Write what describes a posterior, and what it is made of.

    Args:
        posterior: The posterior.
        path: Its directory.
        method: By which `load` knows who reads it back.
        document: What else describes it, as JSON values.
        weights: Tensors by their full names.
        arrays: Arrays of each part by name.
        packages: Distributions whose versions are noted.
        overwrite: Whether to replace a posterior that is there.

    Raises:
        BadValue: The directory holds something already and `overwrite` is false.
        BadType: The prior is not one of `sbi_kit.Prior`, and cannot be written.
    """
    if not isinstance(posterior.prior, Prior):
        raise BadType(
            "a prior made with sbi_kit.Prior, which a file can hold",
            type(posterior.prior).__name__,
            "use one to be able to save",
        )
    full = {
        "method": method,
        "simulator": posterior.simulator,
        "prior": prior_to_dict(posterior.prior),
        "data": layout_to_dict(posterior.data),
        **document,
        "training": posterior.history,
        "versions": {name: version(name) for name in packages},
    }
    tensors = dict(weights)
    for part, named in arrays.items():
        tensors |= {f"{part}.{k}": torch.from_numpy(np.array(v)) for k, v in named.items()}
    digest = write_posterior(Path(path), full, tensors, overwrite=overwrite)
    if posterior.certificate is not None and posterior.certificate.posterior == digest:
        write_certificate(Path(path), posterior.certificate)
