"""Which inputs matter to a class, from pairs of rows that differ in one of them.

An elementary effect is what changes when one input does and no other (Morris 1991,
doi:10.1080/00401706.1991.10484804). No row can be asked for here, but a table holds such pairs by
chance. Two rows differ in an input if their values lie a standard deviation or more apart. Pairs
that differ in one input alone have different classes now and then because of noise, and so have
twins, which differ in none. No row is counted in two pairs of an input, nor in two twins. An input

    matters         if so many changes of class, or more, are rare at the twins' rate (Fisher),
    is left out     if so few, or fewer, are rare at the pooled rate of those that matter,

rare being a probability below alpha. All others are kept: where pairs are few, nothing is known.
An input that seldom matters may be left out beside some that always do, so what is learned of the
others must be judged by other rows.

Nothing is asked about how inputs act together. So this finds what is told by all of them and by no
fewer, such as a parity. What it needs is pairs: with p balanced bits, b rows hold about
b^2 / 2^(p + 1) for each.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sbi_kit.contracts import Array, IntArray
from sbi_kit.seeds import numpy_stream

_FAR = 8  # eighths of a standard deviation, to which values are rounded: bytes compare fast
_ALPHA = 1e-3
_FEWEST, _MOST = 1_000, 40_000  # rows compared, each with each
_ENOUGH, _MANY = 200, 1_000_000  # pairs for each input, or in all, that make more rows needless
_DENSE = 10  # inputs in which all rows are compared before the pairs that are left are listed
_BLOCK = 32  # rows at a time


class Pairs(NamedTuple):
    """Pairs of rows that differ in one input at most.

    Attributes:
        first: A row of each, shape (pairs,).
        second: The other, a later one.
        place: The input in which they differ, or the number of inputs for twins.
    """

    first: IntArray
    second: IntArray
    place: IntArray


def influential(x: Array, labels: Array, *, seed: int) -> IntArray:
    """Inputs that matter or may; all of them where pairs of rows do not tell.

    Args:
        x: Standardised inputs, shape (rows, p), rows in random order.
        labels: Classes as numbers, shape (rows,).
        seed: Seed of the choice among pairs that share a row.

    Returns:
        Their places, ascending.

    >>> bits = np.random.default_rng(0).integers(0, 2, (2_000, 5))
    >>> influential(2.0 * bits - 1, bits[:, 1] ^ bits[:, 4], seed=0).tolist()
    [1, 4]
    """
    counted = changes(x, labels, seed=seed)
    (pairs, changed), (twins, noise) = counted[:-1].T, counted[-1]
    chance = stats.hypergeom.sf(changed - 1, pairs + twins, changed + noise, pairs)
    matters = np.asarray(chance < _ALPHA)
    if not matters.any():
        return np.arange(x.shape[1])
    rate = changed[matters].sum() / pairs[matters].sum()
    idle = ~matters & (stats.binom.cdf(changed, pairs, rate) < _ALPHA)
    return np.flatnonzero(~idle)


def changes(x: Array, labels: Array, *, seed: int) -> IntArray:
    """How many pairs there are, and how many have different classes.

    No row is in two pairs of the same input, nor in two of twins, so they are independent.

    Args:
        x: Standardised inputs, shape (rows, p), rows in random order.
        labels: Classes as numbers, shape (rows,).
        seed: Seed of the choice among pairs that share a row.

    Returns:
        Both counts for each input, and at last for twins, shape (p + 1, 2).
    """
    p = x.shape[1]
    pairs = find_pairs(x)
    alone = _disjoint(pairs, numpy_stream(seed, "pairs of rows"))
    changed = alone & (labels[pairs.first] != labels[pairs.second])
    counts = [np.bincount(pairs.place[which], minlength=p + 1) for which in (alone, changed)]
    return np.stack(counts, axis=1)


def find_pairs(x: Array) -> Pairs:
    """All pairs of the first rows of standardised inputs (rows, p): of as many rows as it takes."""
    values = np.clip(np.rint(_FAR * x[:_MOST]), -63, 63).astype(np.int8)
    p = values.shape[1]
    # Inputs in which most rows differ come first: they leave the fewest pairs to look at.
    half = min(_FEWEST, len(values)) // 2
    apart = np.abs(values[:half] - values[half : 2 * half]) >= _FAR
    order = np.argsort(-apart.mean(axis=0), kind="stable")
    rows = min(_FEWEST, len(values))
    while True:
        columns = np.ascontiguousarray(values[:rows, order].T)
        blocks = [_block(columns, start) for start in range(0, rows, _BLOCK)]
        first, second, place = (np.concatenate(part) for part in zip(*blocks, strict=True))
        enough = np.sum(place < p) >= _ENOUGH * p or len(place) >= _MANY
        if enough or rows == len(values):
            return Pairs(first, second, np.append(order, p)[place])
        rows = min(2 * rows, len(values))


def _block(columns: NDArray[np.int8], start: int) -> Pairs:
    """Pairs of some rows of columns (p, rows) with all later ones."""
    p, rows = columns.shape
    stop = min(start + _BLOCK, rows)
    count = np.zeros((stop - start, rows - start), dtype=np.uint8)
    for column in columns[:_DENSE]:
        count += np.abs(column[start:stop, None] - column[start:]) >= _FAR
    first, second = np.nonzero(count <= 1)
    later = first < second
    first, second = first[later] + start, second[later] + start
    place = np.full(len(first), p)
    for j, column in enumerate(columns):
        far = np.abs(column[first] - column[second]) >= _FAR
        fits = ~far | (place == p)
        first, second, place = first[fits], second[fits], np.where(far, j, place)[fits]
    return Pairs(first, second, place)


def _disjoint(pairs: Pairs, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which pairs come, in a random order, before all others of their input that share a row."""
    rank = rng.permutation(len(pairs.first))
    kinds = pairs.place.max(initial=0) + 1
    ends = [row * kinds + pairs.place for row in (pairs.first, pairs.second)]
    known, slot = np.unique(np.concatenate(ends), return_inverse=True)
    earliest = np.full(len(known), len(rank))
    np.minimum.at(earliest, slot, np.tile(rank, 2))
    return np.asarray((earliest[slot.reshape(2, -1)] == rank).all(axis=0))
