"""Useful inputs: what a network uses, and what pairs of rows say where it learned nothing."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from sbi_kit.supervised.pruning import useful

PARTS = np.arange(3_000), np.arange(3_000, 4_000)


def losses_of(log_odds):
    def losses(batch):
        x, labels = batch
        return functional.binary_cross_entropy_with_logits(log_odds(x), labels, reduction="none")

    return losses


@pytest.fixture(scope="module")
def table():
    """Six bits under noise, and the parity of two of them."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (4_000, 6))
    x = 2.0 * bits - 1 + 0.2 * rng.standard_normal(bits.shape)
    labels = bits[:, 1] ^ bits[:, 4] ^ (rng.random(4_000) < 0.1)
    return torch.from_numpy(x), torch.from_numpy(labels).double()


def test_a_network_that_learned_is_asked_itself(table):
    x, labels = table
    knows = losses_of(lambda x: -2 * torch.sign(x[:, 1] * x[:, 4]))
    assert useful(knows, x, labels, PARTS, seed=0).tolist() == [1, 4]


@pytest.mark.parametrize(
    "log_odds",
    [lambda x: 0 * x[:, 0], lambda x: 0.02 * x[:, 0], lambda x: 8 * x[:, 2]],
    ids=["constant", "noise", "sure and wrong"],
)
def test_pairs_of_rows_are_asked_where_it_learned_nothing(table, log_odds):
    x, labels = table
    assert useful(losses_of(log_odds), x, labels, PARTS, seed=0).tolist() == [1, 4]


def test_where_pairs_do_not_tell_either_it_is_what_the_network_uses():
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.standard_normal((4_000, 30)))
    labels = torch.from_numpy(rng.integers(0, 2, 4_000)).double()
    assert useful(losses_of(lambda x: 0.01 * x[:, 3]), x, labels, PARTS, seed=0).tolist() == []
    x[:, 3] = 2 * labels - 1
    odd = losses_of(lambda x: 9 - 3 * torch.relu(-x[:, 3]))  # depends on it, and is mostly wrong
    assert useful(odd, x, labels, PARTS, seed=0).tolist() == [3]
