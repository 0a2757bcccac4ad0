"""Batches worked on by halves, each on a thread: the same work, and nothing left behind."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import sbi_kit as sk
from sbi_kit import learning
from sbi_kit.adamw import AdamW
from sbi_kit.halves import halves, whole
from sbi_kit.network import Architecture, build_network
from sbi_kit.summary import SUMMARIES


def batch(n):
    n = torch.tensor(n)
    rows = len(n)
    x = torch.arange(rows * int(n.max()) * 2.0).reshape(rows, -1, 2)
    return torch.arange(rows * 3.0).reshape(rows, 3), x, n


def left_over():
    return [thread for thread in threading.enumerate() if thread.name.startswith("half")]


@pytest.fixture
def two_threads(threads):
    threads(2)


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

    for threads, each in ((1, 1), (2, 1), (6, 3)):
        torch.set_num_threads(threads)
        with halves() as divide:
            names, counts = zip(*divide(work, batch([2, 2])), strict=True)
            assert torch.get_num_threads() == threads
        assert len(set(names)) == 2
        assert counts == (each, each)
        assert not left_over()


def test_an_error_in_a_part_arrives_and_threads_begun_later_have_their_own(two_threads):
    def work(share, part):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), halves() as divide:
        divide(work, batch([2, 2]))
    assert not left_over()
    with ThreadPoolExecutor(1) as fresh:
        assert fresh.submit(torch.get_num_threads).result() == 2


@pytest.mark.parametrize("summary", SUMMARIES)
def test_gradients_of_halves_are_that_of_the_whole(summary, two_threads):
    inputs, columns = (1, 3) if summary == "two_way" else (3, 1)
    sizes = Architecture(
        summary=summary,
        inputs=inputs * columns,
        parameters=2,
        longest=40,
        columns=columns,
        width=8,
        hidden=8,
        blocks=2,
    )
    network = build_network(sizes, 1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in network.parameters():  # for no new block is the identity then
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    n = torch.ones(33, dtype=torch.int64)
    if summary != "identity":
        n = torch.randint(1, 41, (33,), generator=generator)
    x = torch.randn(33, int(n.max()), 3, generator=generator)
    u = torch.randn(33, 2, generator=generator)
    network.adapt(x, n, torch.zeros(3))
    optimizer = AdamW(network, decay=0.0)

    def gradient(share, part):
        return optimizer.gradient(-share * network(*part).mean())

    (expected,) = whole(gradient, (u, x, n))
    with halves() as divide:
        first, second = divide(gradient, (u, x, n))
        torch.testing.assert_close(first + second, expected, rtol=1e-3, atol=1e-5)
        for _ in range(20):  # of threads in each other's way, some would show
            again = divide(gradient, (u, x, n))
            assert torch.equal(again[0], first)
            assert torch.equal(again[1], second)


@pytest.mark.parametrize("name", ["regression", "ricker"])
def test_halves_learn_what_the_whole_does(name, two_threads, monkeypatch):
    bank = sk.simulate(sk.load_simulator(name), 1_000, seed=1)

    def losses():
        posterior = sk.fit(bank, seed=2, steps=12, members=1, hidden=8, blocks=1)
        return [loss for _, *pair in posterior.history["evaluations"] for loss in pair]

    divided = losses()
    assert losses() == divided  # to the bit, whichever thread is first
    torch.set_num_threads(1)
    monkeypatch.setattr(learning, "halves", lambda: pytest.fail("divided"))
    assert losses() == pytest.approx(divided, rel=1e-3)


def test_a_fit_by_halves_is_resumed_to_the_same_weights(two_threads, tmp_path):
    bank = sk.simulate(sk.load_simulator("ricker"), 1_000, seed=1)
    place = tmp_path / "checkpoint"

    def fit(**options):
        posterior = sk.fit(bank, seed=2, steps=12, members=2, hidden=8, blocks=1, **options)
        return [network.state_dict() for network in posterior.encoder.networks]

    def stop(report):
        if report.member == 1 and report.step >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=place, progress=stop)
    assert not left_over()
    for resumed, straight in zip(fit(checkpoint=place), fit(), strict=True):
        assert all(torch.equal(resumed[name], straight[name]) for name in straight)
