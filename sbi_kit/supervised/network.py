"""A number and a class from the same features: one trunk, and a head for each task on top of it.

    mean over rows of  alpha (y - m(h))^2 + beta CE(label, c(h)) + alpha mean_tau pinball_tau(h)

where h(x) = r(x) + g(r(x)) is the trunk, r linear and g two layers. Unlike separate linear heads,
the heads share h, so what one task needs of the features is there for the other (Caruana 1997,
Mach. Learn. 28:41). Quantiles are the lowest and positive steps above it, and cannot cross. A
training set is split once more: on the smaller part it is seen when learning is to stop.
"""

from collections.abc import Sequence
from typing import Any, Self

import torch
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import Tags
from torch import Tensor, nn
from torch.nn import functional

from sbi_kit.checks import BadValue, expect_integer, expect_number
from sbi_kit.contracts import Array
from sbi_kit.rows import RowBatches, split_rows
from sbi_kit.seeds import torch_seed
from sbi_kit.supervised.lesson import (
    FEWEST_OF_NETWORKS,
    Lesson,
    expect_enough,
    read_features,
    read_lesson,
    read_target,
)
from sbi_kit.supervised.multitask import evaluate, expect_levels, r_squared, tagged, two_sided
from sbi_kit.train import Progress, Recipe, train


class SharedTrunk(nn.Module):
    """The network.

    Args:
        inputs: Number of features.
        width: Size of the trunk's layers.
        dropout: Share of the trunk's hidden units that a training step leaves out.
        levels: Levels of the quantiles, rising.

    Attributes:
        settings: All of these by name.
    """

    levels: Tensor

    def __init__(self, inputs: int, *, width: int, dropout: float, levels: Sequence[float]) -> None:
        super().__init__()
        self.settings = {
            "inputs": inputs,
            "width": width,
            "dropout": dropout,
            "levels": tuple(levels),
        }
        self.entry = nn.Linear(inputs, width)
        self.body = nn.Sequential(
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(width, width),
        )
        self.regression = nn.Linear(width, 1)
        self.classification = nn.Linear(width, 1)
        self.quantiles = nn.Linear(width, len(levels)) if levels else None
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Standard target (b,), log odds of class 1 (b,) and quantiles (b, levels)."""
        entry = self.entry(x)
        h = entry + self.body(entry)  # (b, width)
        steps = h.new_empty(len(h), 0) if self.quantiles is None else self.quantiles(h)
        steps = torch.cat([steps[:, :1], functional.softplus(steps[:, 1:])], dim=1)
        return self.regression(h)[:, 0], self.classification(h)[:, 0], steps.cumsum(dim=1)

    def losses(self, batch: tuple[Tensor, Tensor, Tensor], alpha: float, beta: float) -> Tensor:
        """The objective of each row, (b,)."""
        x, y, labels = batch
        mean, log_odds, quantiles = self(x)
        entropy = functional.binary_cross_entropy_with_logits(log_odds, labels, reduction="none")
        total: Tensor = alpha * (y - mean) ** 2 + beta * entropy
        if self.quantiles is not None:
            left = y[:, None] - quantiles
            checks = torch.maximum(self.levels * left, (self.levels - 1) * left)
            total = total + alpha * checks.mean(dim=1)
        return total


class MultiTaskNetwork(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A trunk that both tasks share, with a head for a target, its quantiles and a class.

    Args:
        alpha: Weight of the squared error and of the quantiles' losses; at 0 they are not learned.
        beta: Weight of the cross-entropy; at 0 the class is not learned.
        premium_share: Share of the training rows in class 1, those of the highest target, where
            `fit` gets no labels.
        quantiles: Levels of the quantiles, each between 0 and 1.
        fewest: Rows that a category needs for an indicator.
        width: Size of the trunk's layers.
        dropout: Share of the trunk's hidden units that a training step leaves out.
        steps: Gradient steps at most.
        batch_size: Rows per step.
        learning_rate: The highest rate.
        weight_decay: AdamW's decay.
        validation_share: Share of the rows that tell when to stop.
        seed: Seed of the split, the weights and the order of batches.

    Attributes:
        network_: The trained `SharedTrunk`.
        columns_: How frames become matrices.
        scale_: Mean and standard deviation of the target.
        threshold_: What the target of class 1 is above; None if labels were given.
        evaluations_: Of each evaluation the step, the training loss and the validation loss.
    """

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        beta: float = 1.0,
        premium_share: float = 0.2,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        fewest: int = 10,
        width: int = 64,
        dropout: float = 0.3,
        steps: int = 4_000,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.3,
        validation_share: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.alpha = alpha
        self.beta = beta
        self.premium_share = premium_share
        self.quantiles = quantiles
        self.fewest = fewest
        self.width = width
        self.dropout = dropout
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation_share = validation_share
        self.seed = seed

    def fit(self, x: Any, y: Any, labels: Any = None, *, progress: Progress | None = None) -> Self:
        """Learn from rows.

        Args:
            x: Features: a frame, or an array (rows, features).
            y: Target, shape (rows,).
            labels: Classes 0 and 1, shape (rows,); None makes them from y.
            progress: Called about every half second.

        Raises:
            BadType, BadValue: A setting is out of its range, or the rows cannot be learned from.
        """
        self._expect_settings()
        lesson = read_lesson(self, x, y, labels, share=self.premium_share, fewest=self.fewest)
        expect_enough(len(lesson.y), FEWEST_OF_NETWORKS, "train a network")
        self.columns_, self.scale_ = lesson.columns, lesson.scale
        self.threshold_ = lesson.threshold
        # Weights and dropout draw from the global generator, which is left as it was.
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(torch_seed(self.seed, "multi-task network"))
            self._train(lesson, progress)
        return self

    def _expect_settings(self) -> None:
        for name in ("alpha", "beta"):
            expect_number(name, getattr(self, name), low=0)
        if self.alpha == self.beta == 0:
            raise BadValue("a task to learn", "alpha = beta = 0", "give one of them weight")
        expect_levels(self.quantiles)
        for name in ("fewest", "width"):
            expect_integer(name, getattr(self, name), low=1)
        expect_number("dropout", self.dropout, low=0, high=0.9)

    def _train(self, lesson: Lesson, progress: Progress | None) -> None:
        tensors = [torch.from_numpy(part).float() for part in (lesson.x, lesson.y, lesson.labels)]
        training, validation = split_rows(
            len(lesson.y), share=self.validation_share, seed=self.seed
        )
        batches = RowBatches(
            tensors, training, validation, batch_size=self.batch_size, seed=self.seed
        )
        network = SharedTrunk(
            lesson.x.shape[1],
            width=self.width,
            dropout=self.dropout,
            levels=sorted(self.quantiles),
        )
        recipe = Recipe(
            steps=self.steps, learning_rate=self.learning_rate, weight_decay=self.weight_decay
        )
        state = train(
            network,
            lambda batch: network.losses(batch, self.alpha, self.beta),
            batches,
            recipe,
            progress=progress,
        )
        # In float64, what is predicted of a row does not depend on the rows beside it.
        self.network_, self.evaluations_ = network.double(), state.evaluations

    def predict(self, x: Any) -> Array:
        """Expected target of each row, shape (rows,)."""
        mean, _, _ = self._outputs(x)
        return self.scale_.restore(mean)

    def predict_proba(self, x: Any) -> Array:
        """Probabilities of class 0 and 1, shape (rows, 2)."""
        _, log_odds, _ = self._outputs(x)
        return two_sided(log_odds)

    def predict_quantiles(self, x: Any) -> Array:
        """Quantiles of the target in rising order, shape (rows, levels)."""
        _, _, quantiles = self._outputs(x)
        return self.scale_.restore(quantiles)

    def score(self, x: Any, y: Any) -> float:
        """R^2 of the predicted target; 1 is perfect, 0 what the mean achieves."""
        prediction = self.predict(x)
        return r_squared(read_target(y, len(prediction)), prediction)

    def evaluate(self, x: Any, y: Any, labels: Any = None) -> dict[str, float]:
        """All scores of rows that it did not learn from; see `sbi_kit.supervised.scores`."""
        return evaluate(self, x, y, labels)

    @torch.no_grad()
    def _outputs(self, x: Any) -> tuple[Array, Array, Array]:
        frame = read_features(self, x)
        found = self.network_(torch.from_numpy(self.columns_(frame)))
        mean, log_odds, quantiles = (part.numpy() for part in found)
        return mean, log_odds, quantiles

    def __sklearn_tags__(self) -> Tags:
        return tagged(super().__sklearn_tags__())
