"""Wide & deep: a class by a network that looks at the features twice.

    logit P(class 1 | x) = w . [relu(A x), deep(x)],   deep = (linear, relu, batch norm, dropout)^3

The wide part is one layer on the inputs, which fits what is simple in them, the deep part composes
(Cheng et al. 2016, arXiv:1606.07792). Beside it stands the fully connected network, which is the
deep part alone. The objective is the cross-entropy and, while training, a penalty on all squared
weights. It is a part of the loss, not a decay beside it: as Adam scales each weight's step by the
size of its gradients, a weight that nothing else pulls at goes to zero as fast as others move.

What the network does not use costs it accuracy all the same, a little noise for every input, or all
of it: the parity of 16 bits is not found among 24, and is without the others. So inputs are pruned
(`sbi_kit.supervised.pruning`), a second network is trained on the rest, and the better one is kept.

Each unit of the deep part's first layer begins with one input, and bends at a random place of it.
So the layer begins as splines of single features, which can straighten each of them before the
next layers combine them; from dense random weights, the noise of all inputs adds up in every unit.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from torch import Tensor, nn
from torch.nn import functional

from sbi_kit.checks import BadType, expect_flag, expect_integer, expect_number
from sbi_kit.contracts import Array, IntArray
from sbi_kit.rows import RowBatches, split_rows
from sbi_kit.seeds import torch_seed
from sbi_kit.supervised.classes import read_classes
from sbi_kit.supervised.columns import learn_columns
from sbi_kit.supervised.lesson import (
    FEWEST_OF_NETWORKS,
    expect_enough,
    expect_target,
    read_features,
)
from sbi_kit.supervised.multitask import tagged, two_sided
from sbi_kit.supervised.pruning import useful
from sbi_kit.train import Progress, Recipe, State, train

_EVALUATE_EVERY = 50  # steps


class WideDeepNetwork(nn.Module):
    """The network of both classifiers.

    Args:
        inputs: Number of features.
        wide: Units of the wide part; 0 leaves it out.
        deep: Units of each layer of the deep part.
        dropout: Share of the units that a training step leaves out, after each deep layer.

    Attributes:
        settings: All of these by name.
    """

    def __init__(self, inputs: int, *, wide: int, deep: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.settings = {"inputs": inputs, "wide": wide, "deep": tuple(deep), "dropout": dropout}
        self.wide = nn.Sequential(nn.Linear(inputs, wide), nn.ReLU()) if wide else None
        sizes = (inputs, *deep)
        linear = [nn.Linear(*pair) for pair in pairwise(sizes)]
        layers: list[nn.Module] = []
        for layer in linear:
            size = layer.out_features
            layers += [layer, nn.ReLU(), nn.BatchNorm1d(size), nn.Dropout(dropout)]
        self.deep = nn.Sequential(*layers)
        self.head = nn.Linear(wide + sizes[-1], 1)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        _one_input_each(linear[0])

    def forward(self, x: Tensor) -> Tensor:
        """Log odds of class 1: x (b, inputs) to (b,)."""
        h = self.deep(x)
        if self.wide is not None:
            h = torch.cat([self.wide(x), h], dim=1)  # (b, wide + last of deep)
        return self.head(h)[:, 0]  # type: ignore[no-any-return]

    def losses(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The cross-entropy of each row, (b,)."""
        x, labels = batch
        return functional.binary_cross_entropy_with_logits(self(x), labels, reduction="none")

    def squares(self) -> Tensor:
        """The sum of all squared weights, biases and norms left out."""
        layers = (layer for layer in self.modules() if isinstance(layer, nn.Linear))
        return torch.stack([layer.weight.square().sum() for layer in layers]).sum()


@torch.no_grad()
def _one_input_each(layer: nn.Linear) -> None:
    """Weight 1 or -1 on one input of each unit, and a random place for its bend."""
    units = torch.arange(layer.out_features)
    layer.weight.zero_()
    layer.weight[units, units % layer.in_features] = 2.0 * torch.randint(2, units.shape) - 1
    nn.init.uniform_(layer.bias, -1, 1)


class _TwoClassNetwork(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """What both classifiers do; each has settings of its own, as scikit-learn reads them there."""

    deep: Sequence[int]
    dropout: float
    steps: int
    batch_size: int
    learning_rate: float
    penalty: float
    prune: bool
    patience: int
    validation_share: float
    fewest: int
    seed: int

    def _wide_units(self) -> int:
        """Units of the wide part, checked; 0 where there is none."""
        raise NotImplementedError

    def fit(self, x: Any, y: Any, *, progress: Progress | None = None) -> Self:
        """Learn from rows.

        Args:
            x: Features: a frame, or an array (rows, features).
            y: Two classes of any names, shape (rows,).
            progress: Called about every half second.

        Raises:
            BadType, BadValue: A setting is out of its range, or the rows cannot be learned from.
        """
        wide = self._wide_units()
        self._expect_settings()
        expect_target(self, x, y)
        frame = read_features(self, x, reset=True)
        self.classes_, labels = read_classes(y, len(frame))
        expect_enough(len(frame), FEWEST_OF_NETWORKS, "train a network")
        parts = split_rows(len(frame), share=self.validation_share, seed=self.seed)
        columns = learn_columns(frame.iloc[parts[0]], fewest=self.fewest)
        x_all, y_all = (torch.from_numpy(part).float() for part in (columns(frame), labels))
        network, state = self._train(x_all, y_all, parts, wide, progress)
        if self.prune:
            used = useful(network.losses, x_all, y_all, parts, seed=self.seed)
            if 0 < len(used) < x_all.shape[1]:
                again, second = self._train(x_all[:, used], y_all, parts, wide, progress, member=1)
                if second.best < state.best:
                    network, state, columns = again, second, columns.only(used)
        # In float64, what is predicted of a row does not depend on the rows beside it.
        self.network_, self.columns_ = network.double(), columns
        self.evaluations_ = state.evaluations
        return self

    def _train(
        self,
        x: Tensor,
        labels: Tensor,
        parts: tuple[IntArray, IntArray],
        wide: int,
        progress: Progress | None,
        *,
        member: int = 0,
    ) -> tuple[WideDeepNetwork, State]:
        """A network trained on the rows of the first part, judged by those of the second."""
        batches = RowBatches((x, labels), *parts, batch_size=self.batch_size, seed=self.seed)
        recipe = Recipe(
            steps=self.steps,
            learning_rate=self.learning_rate,
            weight_decay=0.0,
            evaluate_every=_EVALUATE_EVERY,
            patience=self.patience,
        )

        def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
            losses = network.losses(batch)
            return losses + self.penalty * network.squares() if network.training else losses

        # Weights and dropout draw from the global generator, which is left as it was.
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(torch_seed(self.seed, "wide and deep"))
            inputs = x.shape[1]
            network = WideDeepNetwork(inputs, wide=wide, deep=self.deep, dropout=self.dropout)
            state = train(
                network, loss, batches, recipe, progress=progress, member=member, members=member + 1
            )
        return network, state

    def _expect_settings(self) -> None:
        if not isinstance(self.deep, (tuple, list)) or not self.deep:
            raise BadType("deep as a tuple of sizes", repr(self.deep), "give each layer's units")
        for size in self.deep:
            expect_integer("each of deep", size, low=1)
        expect_number("dropout", self.dropout, low=0, high=0.9)
        expect_integer("batch_size", self.batch_size, low=2)
        expect_number("penalty", self.penalty, low=0)
        expect_flag("prune", self.prune)
        expect_integer("fewest", self.fewest, low=1)

    def predict(self, x: Any) -> NDArray[Any]:
        """The more probable class of each row, shape (rows,)."""
        log_odds = self._log_odds(x)
        return np.asarray(self.classes_[(log_odds > 0).astype(np.int64)])

    def predict_proba(self, x: Any) -> Array:
        """Probabilities of both classes, shape (rows, 2)."""
        log_odds = self._log_odds(x)
        return two_sided(log_odds)

    @torch.no_grad()
    def _log_odds(self, x: Any) -> Array:
        """Log odds of class 1, shape (rows,)."""
        frame = read_features(self, x)
        return np.asarray(self.network_(torch.from_numpy(self.columns_(frame))).numpy())

    def __sklearn_tags__(self) -> Tags:
        tags = tagged(super().__sklearn_tags__())
        tags.classifier_tags.multi_class = False
        return tags


class WideDeep(_TwoClassNetwork):
    """Two classes by a wide layer and a deep network, side by side.

    Features may be any frame: numbers may have gaps, all else is a category. What is learned of
    them (medians, levels, means, scales) is learned from the rows that the weights are trained on.

    Args:
        wide: Units of the wide part.
        deep: Units of each layer of the deep part.
        dropout: Share of the deep part's units that a training step leaves out.
        steps: Gradient steps at most.
        batch_size: Rows per step, at least two.
        learning_rate: The highest rate.
        penalty: Weight of the sum of squared weights in the training loss.
        prune: Whether to train again on the columns that are useful, if these are not all.
        patience: Evaluations without improvement, one every 50 steps, before the rate is lowered
            and training ends.
        validation_share: Share of the rows that tell when to stop; of 70 % of a table, 3/7 leave a
            split of 40, 30 and 30 %.
        fewest: Rows that a category needs for an indicator.
        seed: Seed of the split, the weights, dropout and the order of batches.

    Attributes:
        classes_: The two classes; the second is class 1.
        network_: The trained `WideDeepNetwork`.
        columns_: How frames become matrices, of the columns that the network sees.
        evaluations_: Of each evaluation the step, the training loss, its penalty included, and the
            validation loss; of the network that was kept.
    """

    def __init__(
        self,
        *,
        wide: int = 256,
        deep: Sequence[int] = (256, 128, 64),
        dropout: float = 0.2,
        steps: int = 8_000,
        batch_size: int = 512,
        learning_rate: float = 1e-2,
        penalty: float = 1e-4,
        prune: bool = True,
        patience: int = 20,
        validation_share: float = 0.1,
        fewest: int = 10,
        seed: int = 0,
    ) -> None:
        self.wide = wide
        self.deep = deep
        self.dropout = dropout
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.penalty = penalty
        self.prune = prune
        self.patience = patience
        self.validation_share = validation_share
        self.fewest = fewest
        self.seed = seed

    def _wide_units(self) -> int:
        return expect_integer("wide", self.wide, low=1)


class FullyConnected(_TwoClassNetwork):
    """Two classes by a fully connected network, the deep part of `WideDeep` alone.

    Args and attributes are those of `WideDeep`, but for `wide`.
    """

    def __init__(
        self,
        *,
        deep: Sequence[int] = (128, 64),
        dropout: float = 0.1,
        steps: int = 8_000,
        batch_size: int = 512,
        learning_rate: float = 1e-2,
        penalty: float = 2e-4,
        prune: bool = True,
        patience: int = 20,
        validation_share: float = 0.1,
        fewest: int = 10,
        seed: int = 0,
    ) -> None:
        self.deep = deep
        self.dropout = dropout
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.penalty = penalty
        self.prune = prune
        self.patience = patience
        self.validation_share = validation_share
        self.fewest = fewest
        self.seed = seed

    def _wide_units(self) -> int:
        return 0
