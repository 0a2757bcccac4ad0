"""What autoencoders and variational autoencoders share: layers, scaling, and batches with noise.

Columns are centred one by one but scaled by one number, so that squared errors and densities mean
the same as in the data's own units, as those of PCA and PPCA do.
"""

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sbi_kit.checks import BadType, expect_integer, expect_name
from sbi_kit.contracts import Array
from sbi_kit.rows import RowBatches, split_rows
from sbi_kit.seeds import torch_seed
from sbi_kit.summary.encoded import ACTIVATIONS
from sbi_kit.train import Recipe, State, train

_REPEATS = 8  # times that validation rows are seen, each time with other noise
_RAREST = 1e-3  # smallest share that a Bernoulli decoder starts from


@dataclass(frozen=True)
class Scale:
    """Centre of each column and the root mean square of all deviations from them."""

    centre: Array
    size: float

    @classmethod
    def of(cls, x: Array) -> "Scale":
        """The scale of rows x (rows, columns), of which some column varies."""
        centre = x.mean(axis=0)
        return cls(centre, float(np.sqrt(np.square(x - centre).mean())))

    def inwards(self, x: Array) -> Tensor:
        """Rows as the networks see them, float32 (rows, columns)."""
        return as_tensor((x - self.centre) / self.size)

    def shares(self, y: Tensor) -> Tensor:
        """Scaled rows of columns in [0, 1], back in their units and free of rounding errors."""
        return (y * self.size + as_tensor(self.centre)).clamp(0, 1)

    def outwards(self, y: Tensor) -> Array:
        """The inverse of `inwards`."""
        return as_array(y) * self.size + self.centre


@dataclass(frozen=True, kw_only=True)
class Training:
    """The settings of a training, which both autoencoders have under the same names."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int
    share: float
    seed: int

    def run(self, module: nn.Module, loss: Callable[..., Tensor], x: Tensor, noise: int) -> State:
        """Train a module on rows x and leave it frozen with its best weights.

        Args:
            module: What to train.
            loss: Maps a batch, rows (b, columns) and standard normal noise (b, noise), to (b,).
            x: All rows; a random share is for validation.
            noise: Width of the noise; without any, it is zero.

        Raises:
            BadType, BadValue: A setting is out of its range.
        """
        training, validation = split_rows(len(x), share=self.share, seed=self.seed)
        rows = RowBatches((x,), training, validation, batch_size=self.batch_size, seed=self.seed)
        recipe = Recipe(
            steps=self.steps,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
        )
        state = train(module, lambda batch: loss(*batch), _Noisy(rows, noise, self.seed), recipe)
        module.requires_grad_(False)
        return state


class _Noisy:
    """Batches with noise, which is a function of seed and step as they are."""

    def __init__(self, rows: RowBatches, width: int, seed: int) -> None:
        self._rows, self._width, self._seed = rows, width, seed

    def training(self, step: int) -> tuple[Tensor, Tensor]:
        (x,) = self._rows.training(step)
        return x, self._noise(len(x), "noise", step)

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        for repeat in range(_REPEATS if self._width else 1):
            for place, (x,) in enumerate(self._rows.validation()):
                yield x, self._noise(len(x), "validation noise", repeat, place)

    def rows(self, step: int) -> list[int]:
        return self._rows.rows(step)

    def _noise(self, rows: int, purpose: str, *index: int) -> Tensor:
        generator = torch.Generator().manual_seed(torch_seed(self._seed, purpose, *index))
        return torch.randn(rows, self._width, generator=generator)


def expect_hidden(hidden: object) -> tuple[int, ...]:
    """Return the sizes of hidden layers; there may be none.

    Raises:
        BadType, BadValue: They are no tuple or list of whole numbers above zero.
    """
    if not isinstance(hidden, (tuple, list)):
        do = "pass (64, 64), say, or () for a linear network"
        raise BadType("hidden as a tuple of layer sizes", repr(hidden), do)
    return tuple(expect_integer("size of a hidden layer", size, low=1) for size in hidden)


def build_layers(sizes: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers between sizes, with the activation between each two.

    Raises:
        UnknownName: There is no such activation.
    """
    between = ACTIVATIONS[expect_name("activation", activation, ACTIVATIONS)]
    parts: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        parts += [nn.Linear(inputs, outputs), between()]
    return nn.Sequential(*parts[:-1])


def start_at_shares(decoder: nn.Sequential, x: Array) -> None:
    """Set the last biases so that a Bernoulli decoder starts at the columns' means."""
    last = decoder[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias.copy_(torch.logit(as_tensor(x.mean(axis=0).clip(_RAREST, 1 - _RAREST))))


def frozen_encoder(encoder: nn.Sequential, scale: Scale, components: int) -> nn.Sequential:
    """A copy that takes rows in their own units and returns the first `components` outputs."""
    frozen = copy.deepcopy(encoder).eval().requires_grad_(False)
    first, last = frozen[0], frozen[-1]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    weights = as_array(first.weight) / scale.size
    shift = as_tensor(as_array(first.bias) - weights @ scale.centre)
    first.weight, first.bias = nn.Parameter(as_tensor(weights)), nn.Parameter(shift)
    last.weight, last.bias = (
        nn.Parameter(last.weight[:components].clone()),
        nn.Parameter(last.bias[:components].clone()),
    )
    last.out_features = components
    return frozen.requires_grad_(False)


def as_tensor(values: Array) -> Tensor:
    """Float32 tensor of an array."""
    return torch.from_numpy(np.array(values, dtype=np.float32))


def as_array(values: Tensor) -> Array:
    """Float64 array of a tensor."""
    return values.detach().numpy().astype(np.float64)
