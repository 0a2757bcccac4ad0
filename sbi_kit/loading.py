"""Read a posterior back from its directory, whatever method made it."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from sbi_kit import neural, rejection
from sbi_kit.certificate import read_certificate
from sbi_kit.checks import BadInput, BadValue
from sbi_kit.posterior_file import read_posterior
from sbi_kit.sealed import DAMAGED

SavedPosterior: TypeAlias = neural.NeuralPosterior | rejection.RejectionABC

_METHODS: dict[str, Callable[..., SavedPosterior]] = {
    neural.METHOD: neural.from_file,
    rejection.METHOD: rejection.from_file,
}
_MISFITS = ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError


def load(path: str | PathLike[str]) -> SavedPosterior:
    """Read a posterior that `save` wrote; nothing in its files is executed.

    Raises:
        BadValue: There is none, or it was edited, truncated, or written in another version.

    Warns:
        UserWarning: Its certificate was edited, damaged, or is that of other weights; the posterior
            is then one that was never checked.
    """
    folder = Path(path)
    document, tensors = read_posterior(folder)
    try:
        posterior = _METHODS[document["method"]](document, tensors)
    except _MISFITS as error:
        text = str(error) if isinstance(error, BadInput) else type(error).__name__
        wanted = f"a posterior in {folder} whose parts fit each other"
        raise BadValue(wanted, " ".join(text.split()), DAMAGED) from error
    try:
        return replace(posterior, certificate=read_certificate(folder, document["digest"]))
    except BadValue as error:
        warnings.warn(str(error), UserWarning, stacklevel=2)
        return posterior
