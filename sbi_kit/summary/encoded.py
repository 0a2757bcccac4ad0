"""A fitted encoder in front of the networks: PCA, probabilistic PCA or an autoencoder as a summary.

Datasets of a fixed size, all their numbers in one row, are encoded by a network that was fitted
beforehand and stays as it is; its codes, standardised, are what the flow is conditioned on. Codes
are computed in float64, as offsets much larger than the spread would cost float32 its digits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sbi_kit.checks import BadValue, expect_name
from sbi_kit.contracts import Array
from sbi_kit.summary.standardize import Standardizer

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}


@runtime_checkable
class Encoding(Protocol):
    """A fitted model of rows, such as those of `sbi_kit.latent`."""

    def encoder(self) -> nn.Sequential:
        """A network of linear layers with one activation between them, rows to codes."""


def is_encoding(model: object) -> TypeGuard[Encoding]:
    """Whether something is a model with an encoder; the class of one is none."""
    return isinstance(model, Encoding) and not isinstance(model, type)


@dataclass(frozen=True)
class EncodedStandardizer:
    """The map of rows to standardised codes; what follows the encoded columns stays beside them.

    Attributes:
        weights: Of each layer, shape (outputs, inputs).
        biases: Of each layer, shape (outputs,).
        activation: What is between the layers: "relu", "silu" or "tanh".
        inner: The map of codes, and of what stands beside them, to features.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    activation: str
    inner: Standardizer

    @property
    def columns(self) -> int:
        """Columns that it takes."""
        width, codes = self.weights[0].shape[1], self.weights[-1].shape[0]
        return int(width) + self.inner.columns - int(codes)

    @property
    def features(self) -> int:
        """Features that it gives."""
        return self.inner.features

    @property
    def zero(self) -> Array:
        """As that of a `Standardizer`: what a code of zero becomes."""
        return self.inner.zero

    def features_from(self, column: int) -> int:
        """Number of features made of this code and those after it."""
        return self.inner.features_from(column)

    def __call__(self, values: Array) -> NDArray[np.float32]:
        """Features (..., f) of values (..., columns)."""
        return self.inner(encode(values, self.weights, self.biases, self.activation))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All arrays by name, to be saved."""
        layers: dict[str, NDArray[np.generic]] = {}
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            layers |= {f"weight_{place}": weight, f"bias_{place}": bias}
        return {**self.inner.arrays(), **layers}


AnyStandardizer = Standardizer | EncodedStandardizer


def layers_of(encoding: Encoding, columns: int) -> tuple[tuple[Array, ...], tuple[Array, ...], str]:
    """Weights, biases and activation of a fitted encoder.

    Args:
        encoding: The fitted model.
        columns: Numbers in a dataset.

    Raises:
        BadValue: It takes another number of columns, or is made of other layers.
    """
    parts = list(encoding.encoder())
    linear = [part for part in parts[::2] if isinstance(part, nn.Linear)]
    between = {type(part) for part in parts[1::2]}
    names = [name for name, kind in ACTIVATIONS.items() if kind in between]
    if len(linear) != len(parts[::2]) or len(between) > 1 or len(names) != len(between):
        got = ", ".join(type(part).__name__ for part in parts)
        wanted = f"an encoder of linear layers with one of {', '.join(ACTIVATIONS)} between them"
        raise BadValue(wanted, got, "use a model of sbi_kit.latent")
    weights = tuple(np.asarray(part.weight.detach().numpy(), dtype=np.float64) for part in linear)
    biases = tuple(
        np.zeros(part.out_features)
        if part.bias is None
        else np.asarray(part.bias.detach().numpy(), dtype=np.float64)
        for part in linear
    )
    if weights[0].shape[1] != columns:
        raise BadValue(
            f"an encoder of datasets with {columns} numbers",
            f"one of rows with {weights[0].shape[1]}",
            "fit it to bank.table(), all numbers of a dataset in one row",
        )
    return weights, biases, names[0] if names else "relu"


def encode(
    values: Array, weights: tuple[Array, ...], biases: tuple[Array, ...], activation: str
) -> Array:
    """Codes of the first columns of values (..., columns), the other columns beside them."""
    width = weights[0].shape[1]
    hidden = values[..., :width] @ weights[0].T + biases[0]
    for weight, bias in zip(weights[1:], biases[1:], strict=True):
        hidden = _activate(hidden, activation) @ weight.T + bias
    return np.concatenate([hidden, values[..., width:]], axis=-1)


def standardizer_from(arrays: Mapping[str, Any], activation: str | None) -> AnyStandardizer:
    """The map that `arrays` were saved of, with the activation of its encoder, if it has one."""
    if activation is None:
        return Standardizer(**arrays)
    layers = sum(name.startswith("weight_") for name in arrays)
    weights = tuple(arrays[f"weight_{place}"] for place in range(layers))
    biases = tuple(arrays[f"bias_{place}"] for place in range(layers))
    rest = {k: v for k, v in arrays.items() if not k.startswith(("weight_", "bias_"))}
    name = expect_name("activation", activation, ACTIVATIONS)
    return EncodedStandardizer(weights, biases, name, Standardizer(**rest))


def _activate(hidden: Array, activation: str) -> Array:
    if activation == "tanh":
        return np.tanh(hidden)
    if activation == "relu":
        return np.maximum(hidden, 0.0)
    silu: Array = hidden * 0.5 * (1 + np.tanh(hidden / 2))  # x sigmoid(x), without overflow
    return silu
