import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import sbi_kit as sk
from sbi_kit.batches import BankBatches
from sbi_kit.checks import BadType, BadValue, UnknownName
from sbi_kit.learning import prepare
from sbi_kit.online import _OnlineBatches, _Supply

SMALL = {"width": 8, "hidden": 8, "blocks": 1, "batch_size": 50, "patience": 100}
PRIOR = sk.Prior(a=sk.Normal(0, 1), b=sk.Normal(2, 3))
FIRST = 2_000  # rows of the first block with these batches, of which half are held out
SHARD = 200


def shift(theta, rng):
    return theta + 0.5 * rng.standard_normal(theta.shape)


def make(simulate=shift, data=None):
    return sk.Simulator(
        name="shift", prior=PRIOR, data=data or sk.Vector(columns=("x", "y")), simulate=simulate
    )


def weights_of(posterior):
    state = posterior.encoder.network.state_dict()
    return b"".join(state[name].numpy().tobytes() for name in sorted(state))


def workers():
    """Command lines of the processes that loky started here and that are still there."""
    pids = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    lines = [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]
    return [line for line in lines if "popen_loky" in line]


class Counting(Executor):
    """An executor of one thread that knows how many tasks were and are under way."""

    _max_workers = 1

    def __init__(self):
        self.pool = ThreadPoolExecutor(1)
        self.starts, self.waiting, self.most = [], 0, 0

    def submit(self, call, job, start, stop):
        self.starts.append(start)
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        future = self.pool.submit(call, job, start, stop)
        return Taken(future, self)


class Taken(Future):
    def __init__(self, future, owner):
        super().__init__()
        self.future, self.owner = future, owner

    def result(self, timeout=None):
        result = self.future.result(timeout)
        self.owner.waiting -= 1
        return result

    def cancel(self):
        return self.future.cancel()

    def add_done_callback(self, call):
        self.future.add_done_callback(call)


@pytest.fixture
def executor():
    counting = Counting()
    yield counting
    counting.pool.shutdown(wait=True, cancel_futures=True)


def supply_of(executor, *, rows, kept, model=None, path=None):
    first = sk.simulate(model or make(), FIRST, seed=1, shard_rows=SHARD, path=path)
    material = prepare(first, first.usable, summary="identity", share=0.5, seed=1)
    supply = _Supply(
        first,
        rows,
        kept=kept,
        workers=1,
        executor=executor,
        skip_failures=False,
        trained="nothing is kept",
    )
    return material, supply


def batches_of(executor, *, rows, kept, model=None, path=None, bad_share=0.2):
    material, supply = supply_of(executor, rows=rows, kept=kept, model=model, path=path)
    return _OnlineBatches(material, supply, batch_size=50, bad_share=bad_share, seed=1), supply


# Which rows a step sees


def test_each_fresh_row_is_seen_once_and_none_of_the_validation(executor):
    batches, supply = batches_of(executor, rows=4_000, kept=False)
    bank = sk.simulate(make(), 4_000, seed=1, shard_rows=SHARD)
    held_out = batches._material.validation
    seen = []
    for step in range(20 + 40):
        u, x, _ = batches.training(step)
        rows = batches.rows(step)
        seen += rows
        np.testing.assert_array_equal(u.numpy(), PRIOR.whiten(bank.theta[rows]).astype("f4"))
        found = batches._material.standardizer(bank.take(rows)[1].values[:, 0])
        np.testing.assert_array_equal(x[:, 0].numpy(), found)
    assert sorted(seen) == sorted(set(range(4_000)) - set(held_out.tolist()))
    assert len(held_out) == 1_000
    assert batches.drawn == 4_000
    supply.close()


@pytest.mark.parametrize("kept", [False, True])
def test_a_step_sees_the_same_rows_wherever_one_begins(kept, executor):
    batches, supply = batches_of(executor, rows=3_000, kept=kept)
    whole = [batches.training(step)[0] for step in range(40)]
    supply.close()
    for begin in (3, 20, 27, 39):
        executor.starts.clear()
        again, supply = batches_of(executor, rows=3_000, kept=kept)
        for step in range(begin, 40):
            assert again.training(step)[0].equal(whole[step])
        supply.close()
        if begin > 20 and not kept:  # nothing is simulated again
            assert min(executor.starts) == FIRST + (begin - 20) // 4 * SHARD


def test_rows_that_are_kept_are_all_visited_again_in_each_pass(executor):
    batches, supply = batches_of(executor, rows=3_000, kept=True)
    wanted = sorted(set(range(3_000)) - set(batches._material.validation.tolist()))
    passes = []
    for number in range(2):
        begin = 40 + 40 * number
        passes.append([row for step in range(begin, begin + 40) for row in batches.rows(step)])
    assert sorted(passes[0]) == sorted(passes[1]) == wanted
    assert passes[0] != passes[1]
    assert executor.starts == list(range(FIRST, 3_000, SHARD))
    supply.close()


def test_shards_are_drawn_ahead_and_no_more_than_a_few(executor):
    batches, supply = batches_of(executor, rows=10**9, kept=False)
    held = []
    for step in range(20 + 4 * 30):
        batches.training(step)
        held.append(len(batches._now.u))
    assert len(executor.starts) == 30 + 2  # two ahead of the one in use
    assert executor.most == 2
    assert max(held[20:]) == SHARD
    supply.close()


def test_a_bank_that_is_there_is_read_and_what_is_missing_drawn(executor, tmp_path):
    place = tmp_path / "bank"
    sk.simulate(make(), 2_500, seed=1, shard_rows=SHARD, path=place)
    batches, supply = batches_of(executor, rows=3_000, kept=True, path=place)
    edges = list(supply.edges())
    assert edges == [(2_000, 2_200), (2_200, 2_400), (2_400, 2_500), (2_500, 2_600),
                     (2_600, 2_800), (2_800, 3_000)]  # fmt: skip
    seen = [row for step in range(20 + 20) for row in batches.rows(step)]
    assert sorted(seen[1_000:]) == list(range(2_000, 3_000))
    assert executor.starts == [2_500, 2_600, 2_800]
    supply.close()
    assert len(sk.Bank.open(place)) == 3_000


@pytest.mark.parametrize(
    ("layout", "summary"),
    [
        (sk.Exchangeable(columns=("x", "y"), n=(3, 30)), "deep_set"),
        (sk.Series(columns=("x", "y"), n=(3, 30), nested=True), "gru"),
    ],
)
def test_nested_data_are_seen_in_part(layout, summary, executor):
    def sets(theta, rng, n):
        return theta[:, None] + rng.standard_normal((len(theta), n, 2))

    model = make(sets, layout)
    first = sk.simulate(model, FIRST, seed=1, shard_rows=SHARD)
    material = prepare(first, first.usable, summary=summary, share=0.5, seed=1)
    supply = _Supply(
        first, 6_000, kept=False, workers=1, executor=executor, skip_failures=False, trained=""
    )
    batches = _OnlineBatches(material, supply, batch_size=50, bad_share=0.2, seed=1)
    sizes = [batches.training(step)[2].tolist() for step in range(20, 20 + 80)]
    supply.close()
    parts = sum(len(set(size)) == 1 for size in sizes) / len(sizes)
    assert 0.55 < parts < 0.95
    assert np.mean([np.mean(size) for size in sizes]) < 14  # 16.5 if all were whole


# Rows that cannot be used


def test_unusable_rows_are_left_out(executor):
    def holes(theta, rng):
        x = shift(theta, rng)
        x[rng.random(len(x)) < 0.1] = np.nan
        return x

    batches, supply = batches_of(executor, rows=4_000, kept=False, model=make(holes))
    bank = sk.simulate(make(holes), 4_000, seed=1, shard_rows=SHARD)
    for step in range(20, 60):
        rows = batches.rows(step)
        assert 40 <= len(rows) <= 50
        assert (bank.status[rows] == 0).all()
        assert np.isfinite(batches.training(step)[1].numpy()).all()
    supply.close()


def test_more_unusable_rows_than_tolerated_stop_it(executor):
    calls = []

    def worse(theta, rng):
        x = shift(theta, rng)
        calls.append(len(x))
        if sum(calls) > 3_000:
            x[:] = np.nan
        return x

    batches, supply = batches_of(executor, rows=10**9, kept=False, model=make(worse), bad_share=0.3)
    for step in range(20 + 4 * 4):
        batches.training(step)
    with pytest.raises(BadValue, match="Expected usable simulations; got 200 of 200 simulations"):
        batches.training(20 + 4 * 4)
    supply.close()


# The posterior


def test_any_workers_give_the_same_posterior(executor):
    settings = SMALL | {"seed": 1, "steps": 60}
    found = [
        sk.fit_online(make(), workers=2, **settings),
        sk.fit_online(make(), executor=executor, **settings),
        sk.fit_online(make(), executor=executor, **(settings | {"seed": 2})),
    ]
    one, two, other = map(weights_of, found)
    assert one == two != other
    history = found[0].history
    assert history["simulations"] == FIRST + 40 * 50
    assert history["training_rows"] == 3_000
    assert history["validation_rows"] == 1_000
    assert history["steps_done"] == 60
    assert workers() == []


class Killed(Exception):
    pass


def test_workers_are_gone_whatever_ends_it():
    seen = []

    def interrupt(report):
        if report.step >= 22:
            seen.append(len(workers()))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sk.fit_online(make(), seed=1, steps=60, progress=interrupt, **SMALL)
    assert seen == [1]
    assert workers() == []


@pytest.mark.parametrize("where", ["nowhere", "memory", "disk"])
def test_a_killed_training_resumes_to_the_same_weights(where, executor, tmp_path):
    settings = SMALL | {"seed": 1, "steps": 70, "executor": executor}
    if where != "nowhere":
        settings["simulations"] = 3_000
    whole = sk.fit_online(make(), **settings)
    for kill in (40, 58):
        place = {"path": tmp_path / f"{kill}.bank"} if where == "disk" else {}

        def interrupt(report, kill=kill):
            if report.step >= kill:
                raise Killed

        keep = {"checkpoint": tmp_path / f"{kill}", **place}
        with pytest.raises(Killed):
            sk.fit_online(make(), progress=interrupt, **keep, **settings)
        executor.starts.clear()
        resumed = sk.fit_online(make(), **keep, **settings)
        assert weights_of(resumed) == weights_of(whole)
        changing = {"seconds_waited": 0}
        assert resumed.history | changing == whole.history | changing
        if where == "disk":
            bank = sk.Bank.open(tmp_path / f"{kill}.bank")
            bank.verify()
            same = sk.simulate(make(), 3_000, seed=1, shard_rows=SHARD)
            np.testing.assert_array_equal(bank.theta, same.theta)
            assert min(executor.starts, default=FIRST + 1) > FIRST


def test_a_simulator_that_fails_stops_it_and_nothing_is_lost(executor, tmp_path):
    target = sk.simulate(make(), 5_000, seed=1, shard_rows=SHARD).theta[4_123, 0]

    def limited(theta, rng):
        if (theta[:, 0] == target).any():
            raise ZeroDivisionError("the target was hit")
        return shift(theta, rng)

    settings = SMALL | {"seed": 1, "steps": 80, "executor": executor}
    text = "'shift' failed at row 4123 .*target was hit; the training before is in .*/c, and skip_"
    with pytest.raises(sk.SimulationError, match=text):
        sk.fit_online(make(limited), checkpoint=tmp_path / "c", **settings)
    assert (tmp_path / "c").exists()
    steps = []
    sk.fit_online(
        make(limited),
        checkpoint=tmp_path / "c",
        skip_failures=True,
        progress=lambda report: steps.append(report.step),
        **settings,
    )
    assert steps[0] > 50  # it did go on, not start again


def test_it_waits_for_a_slow_simulator_and_says_so(executor):
    def slow(theta, rng):
        time.sleep(0.02)
        return shift(theta, rng)

    settings = SMALL | {"seed": 1, "steps": 40, "executor": executor}
    waited = sk.fit_online(make(slow), **settings)
    assert waited.history["seconds_waited"] >= 0.02
    assert weights_of(waited) == weights_of(sk.fit_online(make(), **settings))


def test_kill_9_in_the_middle_and_resume_with_another_worker(executor, tmp_path):
    script = f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import sbi_kit as sk
        from test_online import SMALL, make
        sk.fit_online(
            make(), seed=1, steps=60, checkpoint={str(tmp_path / "c")!r},
            progress=lambda report: time.sleep(0.2), **SMALL,
        )
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    while not (tmp_path / "c").exists():
        assert child.poll() is None
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    resumed = sk.fit_online(make(), seed=1, steps=60, checkpoint=tmp_path / "c", **SMALL)
    whole = sk.fit_online(make(), seed=1, steps=60, executor=executor, **SMALL)
    assert weights_of(resumed) == weights_of(whole)


def test_it_recovers_the_exact_posterior(executor):
    posterior = sk.fit_online(
        make(), seed=1, steps=700, executor=executor, width=32, hidden=32, blocks=2, batch_size=128
    )
    x = np.array([[0.3, -1.0], [1.0, 4.0], [-1.0, 2.0]])
    draws = posterior.sample(x, draws=4_000, seed=1)
    for place, (mean, sd) in enumerate([(0, 1), (2, 3)]):
        precision = 1 / sd**2 + 4
        exact = (mean / sd**2 + 4 * x[:, place]) / precision
        off = (draws[..., place].mean(1) - exact) * np.sqrt(precision)
        assert np.abs(off).max() < 0.3
        assert np.abs(draws[..., place].std(1) * np.sqrt(precision) - 1).max() < 0.15


def test_time_alone_may_be_the_limit(executor):
    posterior = sk.fit_online(make(), seed=1, seconds=0.5, executor=executor, **SMALL)
    assert 1 <= posterior.history["steps_done"] < 10_000
    assert posterior.history["simulations"] >= FIRST


def test_fewer_simulations_than_the_first_block_are_trained_on_again(executor):
    posterior = sk.fit_online(
        make(), seed=1, simulations=1_200, steps=60, executor=executor, **SMALL
    )
    assert posterior.history["simulations"] == 1_200
    assert posterior.history["training_rows"] == 1_080
    assert posterior.history["validation_rows"] == 120
    assert set(executor.starts) == set(range(0, 1_200, SHARD))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, BadValue, "simulations, steps or seconds, which say when to stop; got none of them"),
        ({"steps": 9, "path": "b"}, BadValue, "simulations beside a path.*; got only the path b"),
        ({"simulations": 0}, BadValue, "simulations as an integer >= 1"),
        ({"steps": 0}, BadValue, "steps as an integer >= 1"),
        ({"seconds": 0}, BadValue, "seconds as a finite number > 0"),
        ({"steps": 9, "workers": 0}, BadValue, "workers as an integer >= 1"),
        ({"steps": 9, "executor": 3}, BadType, "executor as a concurrent.futures.Executor"),
        ({"steps": 9, "batch_size": 1.5}, BadType, "batch_size as an integer"),
        ({"steps": 9, "bad_share": 2}, BadValue, "bad_share"),
        ({"steps": 9, "summary": "grru"}, UnknownName, "name of a summary network"),
        ({"steps": 9, "context": {"z": 1}}, BadValue, "no context"),
        ({"simulations": 40}, BadValue, "50 usable simulations at least"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        sk.fit_online(make(), **({"seed": 1} | SMALL | arguments))


def test_the_first_block_is_of_whole_shards():
    from sbi_kit.online import _first_rows

    assert [_first_rows(size) for size in (1, 32, 50, 128, 256, 2_000)] == [
        2_000, 1_920, 2_000, 2_560, 4_096, 8_000
    ]  # fmt: skip


def test_the_validation_split_is_that_of_a_bank(executor):
    """What fit and fit_online share gives the same batches for the same bank."""
    first = sk.simulate(make(), 600, seed=1)
    material = prepare(first, first.usable, summary="identity", share=0.1, seed=1)
    plain = BankBatches(
        first, material.training, material.validation, summary="identity",
        standardizer=material.standardizer, batch_size=50, seed=1,
    )  # fmt: skip
    supply = _Supply(
        first, 600, kept=True, workers=1, executor=executor, skip_failures=False, trained=""
    )
    online = _OnlineBatches(material, supply, batch_size=50, bad_share=0.2, seed=1)
    for (one, *_), (two, *_) in zip(plain.validation(), online.validation(), strict=True):
        assert one.equal(two)
    assert executor.starts == []
