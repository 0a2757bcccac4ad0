"""Batches worked on by halves, each on a thread: the same work, and nothing left behind."""

import threading

import pytest
import torch

import sbi_kit as sk
from sbi_kit import learning
from sbi_kit.halves import halves, whole


def batch(n):
    n = torch.tensor(n)
    rows = len(n)
    x = torch.arange(rows * int(n.max()) * 2.0).reshape(rows, -1, 2)
    return torch.arange(rows * 3.0).reshape(rows, 3), x, n


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("n", [[4, 4], [3, 5, 5], [9, 1, 1, 1, 2, 7, 7]])
def test_the_parts_are_all_rows_in_their_order(n):
    u, x, n = batch(n)
    with halves() as divide:
        parts = divide(lambda share, part: (share, *part), (u, x, n))
    assert len(parts) == 2
    assert sum(share for share, *_ in parts) == 1
    assert torch.equal(torch.cat([part[1] for part in parts]), u)
    assert torch.equal(torch.cat([part[3] for part in parts]), n)
    start = 0
    for share, some, values, sizes in parts:
        assert share == pytest.approx(len(some) / len(u))
        assert values.shape == (len(some), sizes.max(), 2)  # padded no more than it needs
        assert torch.equal(values, x[start : start + len(some), : sizes.max()])
        start += len(some)


def test_one_row_is_not_divided():
    given = batch([5])
    with halves() as divide:
        (part,) = divide(lambda share, part: (share, part), given)
    assert part[0] == 1
    assert part[1] is given
    assert whole(lambda share, part: (share, part), given) == [(1, given)]


def test_the_parts_are_worked_on_at_the_same_time_with_half_the_threads_each(two_threads):
    meet = threading.Barrier(2, timeout=30)  # one after the other would never meet

    def work(*_):
        meet.wait()
        return threading.current_thread().name, torch.get_num_threads()

    running = threading.active_count()
    for threads, each in ((1, 1), (2, 1), (6, 3)):
        torch.set_num_threads(threads)
        with halves() as divide:
            names, counts = zip(*divide(work, batch([2, 2])), strict=True)
            assert torch.get_num_threads() == threads
        assert len(set(names)) == 2
        assert counts == (each, each)
        assert threading.active_count() == running


def test_an_error_in_a_part_arrives():
    def work(share, part):
        raise KeyboardInterrupt

    running = threading.active_count()
    with pytest.raises(KeyboardInterrupt), halves() as divide:
        divide(work, batch([2, 2]))
    assert threading.active_count() == running


@pytest.mark.parametrize("name", ["regression", "ricker"])
def test_halves_learn_what_the_whole_does(name, two_threads, monkeypatch):
    bank = sk.simulate(sk.load_simulator(name), 1_000, seed=1)

    def losses():
        posterior = sk.fit(bank, seed=2, steps=12, members=1, hidden=8, blocks=1)
        return [loss for _, *pair in posterior.history["evaluations"] for loss in pair]

    divided = losses()
    assert losses() == divided  # to the bit, whichever thread is first
    with monkeypatch.context() as patched:
        patched.setattr(learning, "halves", lambda: pytest.fail("divided"))
        torch.set_num_threads(1)
        assert losses() == pytest.approx(divided, rel=1e-3)
