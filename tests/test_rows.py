import numpy as np
import pytest
import torch

from sbi_kit.checks import BadType, BadValue
from sbi_kit.rows import RowBatches, split_rows

X, Y = torch.arange(30.0).reshape(10, 3), torch.arange(10)


def batches(batch_size=3, seed=1, tensors=(X, Y), training=range(8), validation=(8, 9)):
    return RowBatches(
        tensors, list(training), np.array(validation, int), batch_size=batch_size, seed=seed
    )


def test_a_split_is_a_partition_that_repeats():
    training, validation = split_rows(100, share=0.25, seed=3)
    assert (len(training), len(validation)) == (75, 25)
    assert sorted([*training, *validation]) == list(range(100))
    np.testing.assert_array_equal(training, split_rows(100, share=0.25, seed=3)[0])
    assert sorted(validation) != sorted(split_rows(100, share=0.25, seed=4)[1])
    assert not np.array_equal(validation, np.sort(validation))


@pytest.mark.parametrize(("share", "held_out"), [(0.001, 1), (1.0, 9)])
def test_no_part_of_a_split_is_empty(share, held_out):
    assert [len(part) for part in split_rows(10, share=share, seed=0)] == [10 - held_out, held_out]


def test_a_batch_holds_the_rows_it_names():
    source = batches()
    for step in range(7):
        x, y = source.training(step)
        assert x.shape == (3, 3)
        assert y.tolist() == source.rows(step)
        assert torch.equal(x, X[y])


def test_a_pass_sees_no_row_twice_and_passes_differ():
    source = batches(batch_size=4)
    assert source.per_pass == 2
    passes = [source.rows(2 * i) + source.rows(2 * i + 1) for i in range(5)]
    assert all(sorted(rows) == list(range(8)) for rows in passes)
    assert len({tuple(rows) for rows in passes}) == 5


def test_rows_left_over_come_in_other_passes():
    source = batches(batch_size=5)
    assert source.per_pass == 1
    assert {row for step in range(20) for row in source.rows(step)} == set(range(8))


def test_a_batch_depends_on_seed_and_step_alone():
    forwards, backwards = batches(), batches()
    steps = range(9)
    wanted = {step: forwards.rows(step) for step in steps}
    assert wanted == {step: backwards.rows(step) for step in reversed(steps)}
    assert wanted != {step: batches(seed=2).rows(step) for step in steps}


def test_validation_is_whole_and_in_order():
    many = torch.arange(10_000)
    source = batches(tensors=(many,), training=[0, 1], validation=np.arange(9_999, 1, -1))
    parts = [part for (part,) in source.validation()]
    assert len(parts) == 3
    assert torch.cat(parts).tolist() == list(range(9_999, 1, -1))


def test_a_batch_larger_than_the_table_is_all_of_it():
    assert sorted(batches(batch_size=100).rows(5)) == list(range(8))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: batches(tensors=()), BadValue, "as many rows each; got none"),
        (lambda: batches(tensors=(X, Y[:9])), BadValue, "got 10, 9 rows"),
        (lambda: batches(training=[]), BadValue, r"training rows in \[0, 9\]; got none"),
        (lambda: batches(validation=[3, 10]), BadValue, r"in \[0, 9\]; got 3 to 10"),
        (lambda: batches(training=[-1, 2]), BadValue, "got -1 to 2"),
        (lambda: batches(training=[0.5]), BadType, "row numbers; got float64"),
        (lambda: batches(batch_size=0), BadValue, "batch_size"),
        (lambda: split_rows(1, share=0.5, seed=0), BadValue, "rows as an integer >= 2"),
        (lambda: split_rows(9, share=0, seed=0), BadValue, "share"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
