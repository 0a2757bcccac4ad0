"""Inputs that matter, by pairs of rows: what is a pair, what is counted, what is left out."""

import numpy as np
import pytest

from sbi_kit.supervised.effects import _disjoint, changes, find_pairs, influential
from simulators.kryptonite import Kryptonite


def bits_of(rows, p, seed=0, noise=0.2):
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (rows, p))
    return bits, 2.0 * bits - 1 + noise * rng.standard_normal((rows, p))


def flipped(labels, share, seed=1):
    return labels ^ (np.random.default_rng(seed).random(len(labels)) < share)


def standardised(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def test_pairs_are_those_that_differ_in_one_input_at_most():
    for p in (3, 13):  # fewer and more inputs than are compared at once
        x = np.random.default_rng(p).standard_normal((150, p))
        x[:, 3:] *= 0.4
        far = np.abs(np.rint(8 * x)[:, None] - np.rint(8 * x)[None]) >= 8
        count = far.sum(axis=2)
        wanted = {
            (i, j): int(far[i, j].argmax()) if count[i, j] else p
            for i in range(150)
            for j in range(i + 1, 150)
            if count[i, j] <= 1
        }
        first, second, place = find_pairs(x)
        assert len(first) == len(wanted) > 30
        found = zip(first.tolist(), second.tolist(), place.tolist(), strict=True)
        assert {(i, j): k for i, j, k in found} == wanted


def test_no_row_is_in_two_pairs_of_an_input():
    x = np.random.default_rng(0).standard_normal((300, 2))
    pairs = find_pairs(x)
    alone = _disjoint(pairs, np.random.default_rng(1))
    for place in range(3):
        which = alone & (pairs.place == place)
        ends = np.concatenate([pairs.first[which], pairs.second[which]])
        assert len(np.unique(ends)) == len(ends) > 100


def test_counts_are_those_of_a_table_made_of_pairs():
    # Rows 2k and 2k + 1 differ in input k % 2, every third pair in none; pairs lie far apart.
    x = np.repeat(5.0 * np.eye(12), 2, axis=0)
    x[1::6, 0] += 1.5
    x[3::6, 1] += 1.5
    labels = np.zeros(24)
    labels[[1, 7, 3]] = 1
    assert changes(x, labels, seed=0)[[0, 1, 12]].tolist() == [[4, 2], [4, 1], [4, 0]]


@pytest.mark.parametrize("told", [(1, 4), (0, 2, 3, 5, 7)])
def test_exactly_the_inputs_of_a_noisy_parity_are_found(told):
    bits, x = bits_of(4_000, 8)
    labels = flipped(bits[:, told].sum(axis=1) % 2, 0.1)
    assert influential(x, labels, seed=0).tolist() == list(told)


def test_inputs_need_not_be_bits():
    x = np.random.default_rng(2).standard_normal((3_000, 5))
    labels = (x[:, 1] * x[:, 3] > 0).astype(float)
    assert influential(x, labels, seed=0).tolist() == [1, 3]


def test_columns_may_come_in_any_order_and_classes_in_either():
    bits, x = bits_of(2_000, 7)
    labels = flipped(bits[:, 0] ^ bits[:, 5], 0.1)
    turned = np.random.default_rng(3).permutation(7)
    found = influential(x[:, turned], labels, seed=0)
    assert sorted(turned[found].tolist()) == [0, 5]
    counted = changes(x, labels, seed=4)
    assert (changes(x, 1 - labels, seed=4) == counted).all()
    assert (changes(x, labels, seed=4) == counted).all()


def test_nothing_is_left_out_where_all_matter_or_none_or_pairs_do_not_tell():
    bits, x = bits_of(3_000, 6)
    every = bits.sum(axis=1) % 2
    coin = np.random.default_rng(5).integers(0, 2, 3_000)
    assert influential(x, every, seed=0).tolist() == list(range(6))
    assert influential(x, coin, seed=0).tolist() == list(range(6))
    wide = np.random.default_rng(6).standard_normal((3_000, 60))
    assert len(find_pairs(wide).first) == 0
    assert len(influential(wide, every, seed=0)) == 60
    # Of the last input there are too few pairs: it may matter.
    rare = standardised(np.column_stack([bits, np.arange(3_000) < 2]))
    both = flipped(bits[:, 0] ^ bits[:, 1], 0.1)
    assert influential(rare, both, seed=0).tolist() == [0, 1, 6]
    # Outliers hide what the bulk does, and it stays quick.
    heavy = standardised(np.random.default_rng(7).standard_cauchy((40_000, 2)))
    assert len(influential(heavy, np.resize(every, 40_000), seed=0)) == 2


def test_the_bits_of_a_parity_of_ten_are_found_among_fifteen_where_each_has_few_pairs():
    source = Kryptonite(n=15)
    frame = source.generate(3_000, np.random.default_rng(8))
    x = standardised(frame[list(source.features)].to_numpy())
    labels = frame["label"].to_numpy()
    assert changes(x, labels, seed=0)[:, 0].max() < 250
    informed = [j for j, role in enumerate(source.roles) if role != "uniform"]
    assert influential(x, labels, seed=0).tolist() == informed
