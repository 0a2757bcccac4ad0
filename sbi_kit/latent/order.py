"""How many components: PPCA's likelihood of rows that were held out.

The likelihood of training rows always rises with the number of components; that of other rows falls
once components describe noise. It is estimated by cross-validation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sbi_kit.checks import BadValue, expect_integer
from sbi_kit.contracts import Array
from sbi_kit.latent.factors import closed_form, log_probs
from sbi_kit.latent.ppca import fit_factors
from sbi_kit.latent.spectrum import spectrum
from sbi_kit.latent.table import expect_components, expect_seen, expect_training
from sbi_kit.seeds import numpy_stream


@dataclass(frozen=True)
class Order:
    """What numbers of components are worth.

    Attributes:
        components: The numbers that were tried.
        scores: Mean log density of a held-out row for each, in nats.
        errors: Standard errors over rows of the difference from the best.
    """

    components: tuple[int, ...]
    scores: Array
    errors: Array

    @property
    def best(self) -> int:
        """The number with the highest score."""
        return self.components[int(self.scores.argmax())]

    @property
    def smallest(self) -> int:
        """The smallest number whose score is within one error of the best."""
        near = self.scores.max() - self.scores <= self.errors
        return min(m for m, fine in zip(self.components, near, strict=True) if fine)


def compare_components(
    x: ArrayLike, components: Sequence[int], *, folds: int = 5, seed: int
) -> Order:
    """Compare numbers of components by PPCA's likelihood of held-out rows.

    Args:
        x: Rows (rows, columns), NaN where a value is missing; EM is run if there are any, else one
            singular value decomposition per fold serves all numbers.
        components: The numbers to try.
        folds: Parts of the rows; each is held out once.
        seed: Seed of the parts, and of EM's first weights.

    Raises:
        BadType, BadValue: x is no such table, a number of components or folds is out of its range,
            or there are too few rows for so many components.

    Warns:
        UserWarning: A column is constant.

    >>> x = np.random.default_rng(0).normal(size=(300, 4)) * (5, 4, 1, 1)
    >>> compare_components(x, [1, 2, 3], seed=1).best
    2
    """
    array = expect_training(x, missing=True)
    numbers = tuple(expect_components(number, array.shape[1]) for number in components)
    if not numbers:
        raise BadValue("numbers of components to compare", "none", "pass some")
    folds = expect_integer("folds", folds, low=2, high=len(array))
    parts = np.array_split(numpy_stream(seed, "folds").permutation(len(array)), folds)
    each = np.empty((len(numbers), len(array)))
    for part in parts:
        training = np.delete(array, part, axis=0)
        each[:, part] = _score(training, array[part], numbers, seed)
    scores = each.mean(axis=1)
    lost = each[scores.argmax()] - each
    return Order(numbers, scores, lost.std(axis=1) / np.sqrt(len(array)))


def _score(training: Array, held_out: Array, numbers: Sequence[int], seed: int) -> Array:
    """Log densities of held-out rows for each number of components, shape (numbers, rows)."""
    if np.isnan(training).any():
        expect_seen(training)
        fitted = [fit_factors(training, m, seed=seed)[0] for m in numbers]
    else:
        found = spectrum(training)
        fitted = [closed_form(found, m) for m in numbers]
    return np.stack([log_probs(factors, held_out) for factors in fitted])
