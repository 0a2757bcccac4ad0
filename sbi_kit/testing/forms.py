"""How plug-ins are called, the form of what they return, and how parameters are shown."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sbi_kit.checks import BadInput, BadType, BadValue, show_shape
from sbi_kit.contracts import Array


def call(name: str, function: Callable[[], Any]) -> Any:
    """What a function returns.

    Raises:
        BadInput: It was refused by the package, or failed in any other way.
    """
    try:
        return function()
    except BadInput:
        raise
    except Exception as error:
        got = " ".join(f"{type(error).__name__}: {error}".split())
        raise BadValue(f"{name} to run", got, "repair it") from error


def expect_result(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """Refuse anything but an array of numbers of that shape.

    Raises:
        BadType, BadValue: It is something else; the message says what.
    """
    wanted = f"{name} to return an array of shape {show_shape(shape)}"
    if not isinstance(value, np.ndarray):
        raise BadType(wanted, type(value).__name__, "return a numpy array")
    if value.dtype.kind not in "buif":
        raise BadType(wanted, f"an array of {value.dtype}", "return numbers")
    if value.shape != shape:
        raise BadValue(wanted, show_shape(value.shape), "return one row per row of theta")


def show(names: tuple[str, ...], theta: Array) -> str:
    """Parameters by name, as in "beta = 1.7, gamma = 0.5"."""
    return ", ".join(f"{name} = {value:.4g}" for name, value in zip(names, theta, strict=True))
