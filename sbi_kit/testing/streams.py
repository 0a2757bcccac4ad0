"""Do datasets share random numbers? Then a posterior learned from them is too narrow."""

import warnings
from collections.abc import Callable
from itertools import product

import numpy as np
from scipy.special import ndtri

from sbi_kit.checks import BadValue
from sbi_kit.contracts import Array
from sbi_kit.seeds import numpy_stream
from sbi_kit.testing.randomness import FALSE_ALARM, RNG_ADVICE, moments

_STREAM_POINTS, _BATCHES, _REPLICATES = 2, 40, 8
_TELLING = 8  # numbers off the integers that two datasets do not have in common by chance


def check_streams(
    simulate: Callable[[Array, np.random.Generator], Array],
    theta: Array,
    names: tuple[str, ...],
    seed: int,
) -> None:
    """Datasets share no random numbers, within a batch or across batches.

    Many small batches hold replicates of the same parameters. Streams used twice give datasets that
    are equal throughout (`_expect_no_copies`). Streams used in part, for one of several sources of
    noise say, make the datasets of a batch alike (`_shared_noise`).

    Args:
        simulate: Maps parameters (b, d) and a generator to data (b, n, columns) or (b, columns).
        theta: Draws of the prior, at least two.
        names: The columns of the data.
        seed: Seed of everything that is drawn.

    Raises:
        BadValue: Some random numbers are shared; the message says how it shows.

    Warns:
        UserWarning: Datasets are repeated as if there were few seeds.
    """
    batch = np.repeat(theta[:_STREAM_POINTS], _REPLICATES, axis=0)
    batches = []
    for index in range(_BATCHES):
        x = simulate(batch, numpy_stream(seed, "check: streams", index))
        batches.append(x.reshape(_STREAM_POINTS, _REPLICATES, -1, x.shape[-1]))
    x = np.stack(batches, axis=1)  # (points, batches, replicates, n, columns)
    for replicates in x:
        _expect_no_copies(replicates.reshape(_BATCHES, _REPLICATES, -1))
    measured = moments(x, axis=3)
    if x.shape[3] == 1:
        del measured["sd"]
    tests = len(measured) * _STREAM_POINTS * len(names)
    for moment, values in measured.items():
        for point, column in product(range(_STREAM_POINTS), range(len(names))):
            p = _shared_noise(values[point, ..., column])
            if p < FALSE_ALARM / tests:
                got = (
                    f"replicates in a batch with like {moment}s of {names[column]!r} (p = {p:.0e})"
                )
                raise BadValue("datasets that share no random numbers", got, RNG_ADVICE)


def _expect_no_copies(x: Array) -> None:
    """Replicates x (batches, replicates, numbers) differ.

    Coarse data may coincide by chance, but then they do so as often across batches as within. Where
    they coincide although most datasets differ, in many numbers that are no integers, seeds may
    repeat; noise that takes few values does the same, hence a warning.
    """
    batches, replicates, _ = x.shape
    flat = np.where(np.isnan(x), 0.0, x).reshape(batches * replicates, -1)
    rows, labels = np.unique(flat, axis=0, return_inverse=True)
    varying = (flat != flat[0]).any(axis=0)
    telling = within = across = 0  # pairs of equal datasets
    for group in np.flatnonzero(np.bincount(labels) > 1):
        each = (labels == group).reshape(batches, replicates).sum(axis=1)
        together = int((each * (each - 1)).sum()) // 2
        everywhere = int(each.sum() * (each.sum() - 1)) // 2
        within, across = within + together, across + everywhere - together
        numbers = rows[group][varying]
        if len(np.unique(numbers[numbers % 1 != 0])) >= _TELLING:
            telling += everywhere
    if within >= replicates and across == 0:
        got = f"{within} pairs of replicates that are equal in every number"
        raise BadValue("datasets that share no random numbers", got, RNG_ADVICE)
    if telling and len(rows) > len(flat) / 2:
        message = (
            f"Datasets that share no random numbers expected; got {telling} pairs of replicates "
            "that are equal in every number; unless the noise takes few values, draw seeds from "
            "more of them."
        )
        warnings.warn(message, UserWarning, stacklevel=4)


def _shared_noise(values: Array) -> float:
    """P-value of the replicates of a batch being independent, for values (batches, replicates).

    Of independent values, put on a normal scale by their ranks, the mean over a batch has variance
    1 / replicates; common noise adds to it.
    """
    from scipy.stats import chi2, rankdata

    batches, replicates = values.shape
    finite = np.where(np.isfinite(values), values, 0.0)
    scores = ndtri((rankdata(finite) - 0.5) / finite.size).reshape(batches, replicates)
    return float(chi2.sf(replicates * (scores.mean(axis=1) ** 2).sum(), batches))
