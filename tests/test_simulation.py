import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest

from sbi_kit.bank import Bank
from sbi_kit.checks import BadType, BadValue
from sbi_kit.data import Exchangeable, Series, Vector
from sbi_kit.prior import Prior, Uniform
from sbi_kit.seeds import numpy_stream
from sbi_kit.simulation import SimulationError, replicate, simulate
from sbi_kit.simulator import Simulator, describe

PRIOR = Prior(mu=Uniform(-1, 1), sd=Uniform(0.5, 2))
SETS = Exchangeable(columns=("x",), n=(2, 6))
SMALL = {"chunk_rows": 10, "shard_rows": 40}


def gauss(theta, rng, n):
    return rng.normal(theta[:, :1, None], theta[:, 1:, None], (len(theta), n, 1))


def make(run=gauss, *, data=SETS, prior=PRIOR, name="gauss"):
    return Simulator(name=name, prior=prior, data=data, simulate=run)


def raising(condition, text="no such outbreak"):
    """A simulator that raises wherever `condition` holds for some theta of the batch."""

    def run(theta, rng, n):
        x = gauss(theta, rng, n)
        if condition(theta).any():
            raise ZeroDivisionError(text)
        return x

    return make(run)


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# The same bytes, always


def test_same_bytes_in_process_in_processes_and_in_threads(tmp_path):
    def run(theta, rng, n):  # local, so that it can travel to a process by value
        return rng.normal(theta[:, :1, None], theta[:, 1:, None], (len(theta), n, 1))

    model = make(run)
    simulate(model, 330, seed=1, path=tmp_path / "one", **SMALL)
    simulate(model, 330, seed=1, path=tmp_path / "two", workers=2, **SMALL)
    with ThreadPoolExecutor(3) as pool:
        simulate(model, 330, seed=1, path=tmp_path / "threads", executor=pool, **SMALL)
        memory = simulate(model, 330, seed=1, executor=pool, **SMALL)
        assert pool.submit(int, "7").result() == 7
    one = contents(tmp_path / "one")
    assert len(one) == 10
    assert contents(tmp_path / "two") == one
    assert contents(tmp_path / "threads") == one
    disk = Bank.open(tmp_path / "one")
    assert np.array_equal(memory.theta, disk.theta)
    assert np.array_equal(memory.flat(slice(None))[0], disk.flat(slice(None))[0])
    other = simulate(model, 330, seed=2, **SMALL)
    assert not np.isin(other.theta, memory.theta).any()


def test_rows_are_what_their_stream_gives():
    bank = simulate(make(), 95, seed=7, **SMALL)
    rng = numpy_stream(7, "bank", 50)
    theta = PRIOR.sample(10, rng)
    n = int(rng.integers(2, 7))
    x = gauss(theta, rng, n)
    assert np.array_equal(bank.theta[50:60], theta)
    assert np.array_equal(bank.take(slice(50, 60))[1].values, x)
    assert not bank.status.any()


def test_n_is_uniform_over_its_range():
    n = simulate(make(), 2_000, seed=1, chunk_rows=1).n
    counts = np.bincount(n, minlength=7)[2:]
    assert counts.sum() == 2_000
    assert np.sum((counts - 400) ** 2 / 400) < 23.5  # chi-square of 4, p = .0001


def test_default_chunks():
    assert simulate(make(), 30, seed=1).header["chunk_rows"] == 25
    fixed = make(data=Exchangeable(columns=("x",), n=4))
    assert simulate(fixed, 30, seed=1).header["chunk_rows"] == 250


def test_late_shards_are_held_back(tmp_path):
    class Backwards(Executor):
        """Runs what it is given only when the first result is waited for, last one first."""

        _max_workers = 2

        def __init__(self):
            self.waiting, self.most = [], 0

        def submit(self, fn, /, *args, **kwargs):
            executor = self

            class Lazy(Future):
                def result(self, timeout=None):
                    for future, job in reversed(executor.waiting):
                        future.set_result(job())
                    executor.waiting.clear()
                    return super().result(timeout)

            future = Lazy()
            self.waiting.append((future, lambda: fn(*args, **kwargs)))
            self.most = max(self.most, len(self.waiting))
            return future

    pool = Backwards()
    simulate(make(), 330, seed=1, path=tmp_path / "back", executor=pool, **SMALL)
    simulate(make(), 330, seed=1, path=tmp_path / "one", **SMALL)
    assert contents(tmp_path / "back") == contents(tmp_path / "one")
    assert pool.most == 4


# Continuing


SLOW = """
import os, sys, time
from sbi_kit.data import Exchangeable
from sbi_kit.prior import Prior, Uniform
from sbi_kit.simulation import simulate
from sbi_kit.simulator import Simulator

def slow(theta, rng, n):
    time.sleep(float(os.environ["NAP"]))
    x = rng.normal(theta[:, :, None], 1, (len(theta), n, 1))
    if (theta > 0.99).any():
        raise ValueError("too large")
    return x

model = Simulator(name="slow", prior=Prior(mu=Uniform(0, 1)),
                  data=Exchangeable(columns=("x",), n=(2, 6)), simulate=slow)

if __name__ == "__main__":
    simulate(model, 400, seed=1, path=sys.argv[1], workers=int(sys.argv[2]),
             chunk_rows=10, shard_rows=20, skip_failures=True)
"""


@pytest.mark.parametrize(("workers", "shards"), [(1, 0), (1, 3), (1, 11), (2, 5)])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, workers, shards):
    script = tmp_path / "slow.py"
    script.write_text(SLOW)
    folder, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, str(script), str(folder), str(workers)]
    environment = {**os.environ, "NAP": "0.01"}
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    manifest = folder / "manifest.jsonl"
    while not (manifest.exists() and manifest.read_bytes().count(b"\n") > shards):
        assert process.poll() is None
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert shards * 20 <= len(Bank.open(folder)) < 400
    quick = {**os.environ, "NAP": "0"}
    subprocess.run([*command[:3], "1"], env=quick, check=True)
    subprocess.run([*command[:2], str(whole), "1"], env=quick, check=True)
    assert contents(folder) == contents(whole)
    assert "failures.jsonl" in contents(whole)
    assert len(Bank.open(folder)) == 400


def test_leftovers_of_a_kill_are_cut_off(tmp_path):
    simulate(make(), 120, seed=1, path=tmp_path / "whole", **SMALL)
    folder = tmp_path / "killed"
    simulate(make(), 80, seed=1, path=folder, **SMALL)
    with (folder / "manifest.jsonl").open("ab") as file:
        file.write(b'{"shard": "000000000080.safe')
    (folder / "000000000080.safetensors").write_bytes(b"half")
    (folder / f".000000000080.safetensors-{'0' * 32}.tmp").write_bytes(b"half")
    (folder / "failures.jsonl").write_text(
        '{"row": 80, "parameters": {}, "exception": "E: e"}\n{"row": 9'
    )
    assert len(Bank.open(folder)) == 80
    simulate(make(), 120, seed=1, path=folder, **SMALL)
    assert contents(folder) == contents(tmp_path / "whole")


def test_killed_before_the_header(tmp_path):
    folder = tmp_path / "bank"
    folder.mkdir()
    (folder / f".manifest.jsonl-{'a' * 32}.tmp").write_bytes(b"{")
    simulate(make(), 40, seed=1, path=folder, **SMALL)
    assert sorted(contents(folder)) == ["000000000000.safetensors", "manifest.jsonl"]


def test_only_missing_rows_are_simulated(tmp_path):
    calls = []

    def counted(theta, rng, n):
        calls.append(len(theta))
        return gauss(theta, rng, n)

    first = simulate(make(counted), 100, seed=1, path=tmp_path / "bank", **SMALL)
    assert calls == [2, 2, *[10] * 10]
    files = contents(tmp_path / "bank")
    calls.clear()
    again = simulate(make(counted), 100, seed=1, path=tmp_path / "bank", **SMALL)
    assert calls == []
    assert contents(tmp_path / "bank") == files
    more = simulate(make(counted), 150, seed=1, path=tmp_path / "bank", **SMALL)
    assert calls == [10] * 5
    straight = simulate(make(), 150, seed=1, **SMALL)
    assert np.array_equal(more.theta, straight.theta)
    assert np.array_equal(more.flat(slice(None))[0], straight.flat(slice(None))[0])
    assert np.array_equal(again.theta, first.theta)
    assert [(len(first)), len(again), len(more)] == [100, 100, 150]


def test_fewer_rows_than_there_are(tmp_path):
    model = raising(lambda theta: theta[:, 0] > 0.9)
    path = tmp_path / "bank"
    whole = simulate(model, 200, seed=1, path=path, skip_failures=True, **SMALL)
    files = contents(path)
    part = simulate(model, 55, seed=1, path=path, skip_failures=True, **SMALL)
    assert len(part) == 55
    assert np.array_equal(part.theta, whole.theta[:55])
    assert np.array_equal(part.flat(slice(None))[0], whole.flat(np.arange(55))[0])
    assert [r["row"] for r in part.failures] == [r["row"] for r in whole.failures if r["row"] < 55]
    assert contents(path) == files


@pytest.mark.parametrize(
    ("model", "seed", "options", "message"),
    [
        (make(), 2, SMALL, r"got seed 1 there and 2 here; choose another folder or the same"),
        (make(name="other"), 1, SMALL, "simulator name 'gauss' there and 'other' here"),
        (make(), 1, {"chunk_rows": 5, "shard_rows": 40}, "chunk_rows 10 there and 5 here"),
        (make(), 1, {"chunk_rows": 10}, "shard_rows 40 there and 1000 here"),
        (
            make(prior=Prior(mu=Uniform(-1, 1), sd=Uniform(0.5, 3))),
            1,
            SMALL,
            r"prior .*2\.0.* there and .*3\.0",
        ),
        (make(data=Series(columns=("x",), n=(2, 6))), 1, SMALL, "data kind 'exchangeable' there"),
    ],
)
def test_a_bank_of_another_call_is_refused(tmp_path, model, seed, options, message):
    path = tmp_path / "bank"
    simulate(make(), 40, seed=1, path=path, **SMALL)
    files = contents(path)
    with pytest.raises(BadValue, match=message):
        simulate(model, 80, seed=seed, path=path, **options)
    assert contents(path) == files


def test_a_bank_from_before_series_could_be_nested_is_continued(tmp_path):
    path, nested = tmp_path / "bank", Series(columns=("x",), n=(2, 6), nested=True)
    simulate(make(data=Series(columns=("x",), n=(2, 6))), 40, seed=1, path=path, **SMALL)
    assert '"nested"' not in (path / "manifest.jsonl").read_text()
    bank = simulate(make(data=nested), 80, seed=1, path=path, **SMALL)
    assert len(bank) == 80
    assert not bank.data.nested  # as it says
    simulate(make(data=nested), 40, seed=1, path=tmp_path / "new", **SMALL)
    with pytest.raises(BadValue, match="data nested True there and None here"):
        simulate(make(data=bank.data), 80, seed=1, path=tmp_path / "new", **SMALL)


def test_other_settings_are_named(tmp_path):
    class Decay:
        prior, data = PRIOR, SETS
        name = "decay"

        def __init__(self, days=14):
            self.days = days

        def simulate(self, theta, rng, n):
            return gauss(theta, rng, n)

    simulate(Decay(), 40, seed=1, path=tmp_path / "bank")
    with pytest.raises(BadValue, match="got simulator settings days 14 there and 7 here"):
        simulate(Decay(days=7), 40, seed=1, path=tmp_path / "bank")


def test_the_size_of_chunks_is_taken_from_the_bank(tmp_path):
    simulate(make(), 40, seed=1, path=tmp_path / "bank", **SMALL)
    bank = simulate(make(), 80, seed=1, path=tmp_path / "bank", shard_rows=40)
    assert np.array_equal(bank.theta, simulate(make(), 80, seed=1, **SMALL).theta)


def test_a_changed_shard_stops_the_continuation(tmp_path):
    path = tmp_path / "bank"
    simulate(make(), 40, seed=1, path=path, **SMALL)
    shard = path / "000000000000.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(bytes(content))
    with pytest.raises(BadValue, match="another checksum"):
        simulate(make(), 80, seed=1, path=path, **SMALL)


def test_a_directory_that_is_no_bank_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(BadValue, match=r"an empty directory or a new one; got .*'thesis.tex' in"):
        simulate(make(), 10, seed=1, path=tmp_path)
    with pytest.raises(BadValue, match=r"as a directory for a bank; got the file .*thesis.tex"):
        simulate(make(), 10, seed=1, path=tmp_path / "thesis.tex")
    assert sorted(contents(tmp_path)) == ["thesis.tex"]


# Simulators that fail


def first_bad(theta):
    return theta[:, 0] > 0.95


@pytest.mark.parametrize("threads", [0, 2])
def test_failure_keeps_what_was_before_it(tmp_path, threads):
    good = simulate(make(), 200, seed=1, **SMALL)
    limit = good.theta[:57, 0].max()

    def bad(theta):
        return theta[:, 0] > limit

    row = int(np.flatnonzero(bad(good.theta))[0])
    chunk = row - row % 10
    assert chunk % 40 > 0
    mu, sd = good.theta[row]
    path = tmp_path / "bank"
    pool = ThreadPoolExecutor(threads) if threads else None
    message = (
        rf"^Simulator 'gauss' failed at row {row} \(mu={mu:.6g}, sd={sd:.6g}; seed 1\): "
        rf"ZeroDivisionError: no such outbreak; the {chunk} rows before are saved in .*bank, and "
        r"skip_failures=True \(--skip-failures\) goes on without such rows\.$"
    )
    with pytest.raises(SimulationError, match=message) as caught:
        simulate(raising(bad), 200, seed=1, path=path, executor=pool, **SMALL)
    if pool:
        pool.shutdown()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    saved = Bank.open(path)
    assert np.array_equal(saved.theta, good.theta[:chunk])
    assert np.array_equal(saved.flat(slice(None))[0], good.flat(np.arange(chunk))[0])
    (record,) = saved.failures
    assert record == {
        "row": row,
        "seed": 1,
        "key": ["bank", chunk, 1 + row - chunk],
        "parameters": {"mu": mu, "sd": sd},
        "exception": "ZeroDivisionError: no such outbreak",
    }
    assert not [name for name in contents(path) if name.endswith(".tmp")]

    skipped = simulate(raising(bad), 200, seed=1, path=path, skip_failures=True, **SMALL)
    straight = simulate(raising(bad), 200, seed=1, skip_failures=True, **SMALL)
    assert np.array_equal(skipped.theta, good.theta)
    assert np.array_equal(skipped.status, np.where(bad(good.theta), 2, 0))
    assert np.array_equal(skipped.flat(slice(None))[0], straight.flat(slice(None))[0])
    assert skipped.failures == straight.failures
    assert [r["row"] for r in skipped.failures] == np.flatnonzero(skipped.status).tolist()


def test_rows_beside_a_failed_one_have_streams_of_their_own():
    bank = simulate(raising(first_bad), 200, seed=1, skip_failures=True, **SMALL)
    row = bank.failures[0]["row"]
    chunk = row - row % 10
    beside = chunk if row != chunk else chunk + 1
    rng = numpy_stream(1, "bank", chunk, 1 + beside - chunk)
    expected = gauss(bank.theta[[beside]], rng, int(bank.n[beside]))
    assert np.array_equal(bank.take(beside)[1].values, expected)
    seed, key = bank.failures[0]["seed"], bank.failures[0]["key"]
    assert (
        numpy_stream(seed, *key).random()
        == numpy_stream(1, "bank", chunk, 1 + row - chunk).random()
    )


def test_failure_in_the_first_chunk_saves_nothing_but_can_be_continued(tmp_path):
    path = tmp_path / "bank"
    with pytest.raises(SimulationError, match="the 0 rows before are saved"):
        simulate(raising(lambda t: t[:, 0] > -1), 20, seed=1, path=path)
    assert len(Bank.open(path)) == 0
    simulate(make(), 20, seed=1, path=path)
    simulate(make(), 20, seed=1, path=tmp_path / "other")
    assert contents(path) == contents(tmp_path / "other")


def test_failure_of_a_whole_batch_only(tmp_path):
    def run(theta, rng, n):
        if len(theta) > 5:
            raise MemoryError("batch too large")
        return gauss(theta, rng, n)

    with pytest.raises(
        SimulationError, match=r"row 0 .* MemoryError: batch too large; pass a path"
    ):
        simulate(make(run), 20, seed=1, **SMALL)
    bank = simulate(make(run), 20, seed=1, skip_failures=True, **SMALL)
    assert not bank.status.any()
    assert bank.failures == []


def test_failure_in_a_process(tmp_path):
    good = simulate(make(), 200, seed=1, **SMALL)
    limit = float(good.theta[:57, 0].max())
    row = int(np.flatnonzero(good.theta[:, 0] > limit)[0])

    def run(theta, rng, n):
        class Local(Exception):
            def __init__(self, a, b):
                super().__init__(f"{a} {b}")

        if (theta[:, 0] > limit).any():
            raise Local("cannot", "travel")
        return rng.normal(theta[:, :1, None], theta[:, 1:, None], (len(theta), n, 1))

    path = tmp_path / "bank"
    with pytest.raises(SimulationError, match=f"row {row} .*Local: cannot travel; the") as caught:
        simulate(make(run), 2_000, seed=1, path=path, workers=2, **SMALL)
    assert str(caught.value.__cause__) == "Local: cannot travel"
    assert np.array_equal(Bank.open(path).theta, good.theta[: row - row % 10])
    assert not [name for name in contents(path) if name.endswith(".tmp")]


def test_all_fail():
    model = raising(lambda theta: theta[:, 0] > -9, "one\nfine day")
    message = (
        r"^All 30 simulations of 'gauss' failed, the first at mu=.*, sd=.*: "
        "ZeroDivisionError: one fine day; repair"
    )
    with pytest.raises(SimulationError, match=message):
        simulate(model, 30, seed=1, skip_failures=True)


def test_non_finite_rows_are_kept_and_marked():
    def run(theta, rng, n):
        x = gauss(theta, rng, n)
        x[theta[:, 0] > 0.5, 0, 0] = np.nan
        x[theta[:, 0] < -0.5, -1, 0] = np.inf
        return x

    bank = simulate(make(run), 100, seed=1)
    assert np.array_equal(bank.status == 1, np.abs(bank.theta[:, 0]) > 0.5)
    assert np.array_equal(bank.usable, np.flatnonzero(np.abs(bank.theta[:, 0]) <= 0.5))
    assert bank.n.all()


def test_masked_numbers_are_missing_ones():
    def run(theta, rng, n):
        x = np.ma.masked_array(gauss(theta, rng, n), mask=False)
        x[theta[:, 0] > 0.5, 0] = np.ma.masked
        return x

    bank = simulate(make(run), 100, seed=1)
    assert np.array_equal(bank.status == 1, bank.theta[:, 0] > 0.5)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (
            lambda t, r, n: None,
            BadType,
            r"'gauss' to return a numpy array of numbers of shape \(2, 2, 1\); got NoneType",
        ),
        (lambda t, r, n: gauss(t, r, n).tolist(), BadType, "got list; return one dataset per row"),
        (lambda t, r, n: gauss(t, r, n)[:1], BadValue, r"\(2, 2, 1\); got shape \(1, 2, 1\)"),
        (lambda t, r, n: gauss(t, r, n)[..., 0], BadValue, r"got shape \(2, 2\)"),
        (lambda t, r, n: gauss(t, r, n + 1), BadValue, r"got shape \(2, 3, 1\)"),
        (lambda t, r, n: gauss(t, r, n).astype(str), BadType, "got dtype <U"),
        (lambda t, r, n: gauss(t, r, n) + 1j, BadType, "got dtype complex128"),
    ],
)
@pytest.mark.parametrize("skip", [False, True])
def test_wrong_results_are_caught_before_anything_is_written(tmp_path, run, error, message, skip):
    path = tmp_path / "bank"
    with pytest.raises(error, match=message):
        simulate(make(run), 30, seed=1, path=path, skip_failures=skip)
    assert not path.exists()


def test_wrong_result_of_a_vector(tmp_path):
    model = make(lambda t, r: r.random((len(t), 2)), data=Vector(columns=("s",)))
    with pytest.raises(BadValue, match=r"shape \(2, 1\); got shape \(2, 2\)"):
        simulate(model, 30, seed=1)


def test_wrong_shape_in_a_later_chunk(tmp_path):
    def run(theta, rng, n):
        x = gauss(theta, rng, n)
        return x[:-1] if first_bad(theta).any() else x

    path = tmp_path / "bank"
    with pytest.raises(BadValue, match=r"shape \(10, \d, 1\); got shape \(9, \d, 1\)"):
        simulate(make(run), 400, seed=1, path=path, skip_failures=True, **SMALL)
    assert len(Bank.open(path)) % 40 == 0


def test_a_simulator_may_write_into_theta_and_reuse_its_result():
    buffer = np.empty((250, 4, 1))

    def run(theta, rng, n):
        buffer[: len(theta)] = gauss(theta, rng, n)
        theta[:] = 0
        return buffer[: len(theta)]

    fixed = Exchangeable(columns=("x",), n=4)
    bank = simulate(make(run, data=fixed), 100, seed=1, **SMALL)
    plain = simulate(make(data=fixed), 100, seed=1, **SMALL)
    assert np.array_equal(bank.theta, plain.theta)
    assert np.array_equal(bank.flat(slice(None))[0], plain.flat(slice(None))[0])


# Randomness


def test_ignored_rng_is_noticed_at_the_door():
    def run(theta, rng, n):
        return gauss(theta, np.random.default_rng(0), n)

    with pytest.warns(UserWarning, match="'gauss' gives the same data for different random") as got:
        simulate(make(run), 20, seed=1)
    assert got[0].filename == __file__


def test_ignored_rng_is_noticed_in_integers():
    def run(theta, rng, n):
        return np.random.default_rng(0).poisson(9, (len(theta), n, 1))

    with pytest.warns(UserWarning, match="draw all its randomness from rng"):
        simulate(make(run), 20, seed=1)


def test_copied_streams_are_noticed():
    shared = threading.local()

    def run(theta, rng, n):
        # every second call repeats the numbers of the one before
        shared.calls = getattr(shared, "calls", 0) + 1
        seed = shared.calls if shared.calls < 3 else shared.calls // 2
        return np.random.default_rng(seed).normal(size=(len(theta), n, 1))

    fixed = Exchangeable(columns=("x",), n=3)
    with pytest.warns(UserWarning, match=r"datasets of 'gauss' equal another .* \(rows \d+, \d+,"):
        simulate(make(run, data=fixed), 100, seed=1, **SMALL)


def test_equal_integers_are_no_reason_to_warn():
    def coin(theta, rng, n):
        return rng.integers(0, 2, (len(theta), n, 1))

    model = make(coin, data=Exchangeable(columns=("x",), n=3))
    values = simulate(model, 100, seed=1).flat(slice(None))[0]
    assert set(values.ravel()) == {0.0, 1.0}


def test_equal_shares_of_a_population_without_events_are_no_reason_to_warn():
    def quiet(theta, rng, n):  # one in 1,000 falls ill now and then
        return 0.001 + 0.001 * (rng.random((len(theta), n, 1)) < 0.03).cumsum(axis=1)

    bank = simulate(make(quiet, data=Exchangeable(columns=("ill",), n=40)), 200, seed=1)
    same = np.unique(bank.take(slice(None))[1].values, axis=0)
    assert len(same) < 150


def test_failures_in_the_probe_are_left_to_the_chunks():
    calls = []

    def run(theta, rng, n):
        calls.append(len(theta))
        if len(calls) == 1:
            raise ValueError("warming up")
        return gauss(theta, rng, n)

    assert len(simulate(make(run), 20, seed=1)) == 20


# Arguments


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rows": 0}, BadValue, "rows as an integer >= 1; got 0"),
        ({"rows": -1}, BadValue, "rows as an integer >= 1; got -1"),
        ({"rows": 1.5}, BadType, r"rows as an integer >= 1; got 1\.5"),
        ({"workers": 0}, BadValue, "workers as an integer >= 1; got 0"),
        ({"seed": -1}, BadValue, "seed as an integer >= 0; got -1"),
        ({"seed": None}, BadType, "seed as an integer >= 0; got None"),
        ({"chunk_rows": 0}, BadValue, "chunk_rows as an integer >= 1; got 0"),
        ({"shard_rows": 0}, BadValue, "shard_rows as an integer >= 1; got 0"),
        ({"executor": "loky"}, BadType, r"concurrent.futures.Executor; got str"),
        (
            {"executor": ThreadPoolExecutor(), "workers": 2},
            BadValue,
            "Expected workers or executor; got workers=2 and an executor",
        ),
        ({"model": object()}, BadType, "got object without prior and data and simulate"),
        ({"model": Simulator}, BadType, r"got the class Simulator; pass Simulator\(\)"),
    ],
)
def test_bad_arguments(tmp_path, change, error, message):
    arguments = {"model": make(), "rows": 10, "seed": 1, "path": tmp_path / "bank", **change}
    with pytest.raises(error, match=message):
        simulate(arguments.pop("model"), arguments.pop("rows"), **arguments)
    assert not (tmp_path / "bank").exists()


class OwnPrior:
    """Any object that keeps the contract."""

    names = ("mu", "sd")

    def __init__(self, sample):
        self.sample = sample
        self.log_prob = self.whiten = self.unwhiten = sample


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (lambda b, rng: np.full((b, 2), np.nan), "prior's sample without NaN .* column 'mu'"),
        (lambda b, rng: rng.random((b, 3)), r"sample of shape \(2, 2\); got \(2, 3\); repair the"),
        (lambda b, rng: rng.random(b), r"sample of shape \(2, 2\); got \(2,\)"),
    ],
)
def test_bad_priors(sample, message):
    with pytest.raises(BadValue, match=message):
        simulate(make(prior=OwnPrior(sample)), 10, seed=1)


def test_a_prior_of_ones_own_stays_in_memory(tmp_path):
    model = make(prior=OwnPrior(lambda b, rng: 1 + rng.random((b, 2))))
    bank = simulate(model, 10, seed=1)
    assert bank.prior is model.prior
    assert bank.theta.min() >= 1
    with pytest.raises(BadType, match="a bank on disk can hold; got OwnPrior; use one, or keep"):
        simulate(model, 10, seed=1, path=tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "name as a non-empty text; got ''"),
        ({"prior": "flat"}, "prior of simulator 'g' as sbi_kit.Prior; got str"),
        (
            {"data": ("x",)},
            "data of simulator 'g' as a Vector, Exchangeable, Series or Matrix; got tuple",
        ),
        ({"simulate": 3}, "simulate of simulator 'g' as a function; got int"),
    ],
)
def test_simulator_checks_its_parts(change, message):
    parts = {"name": "g", "prior": PRIOR, "data": SETS, "simulate": gauss, **change}
    with pytest.raises(BadType, match=message):
        Simulator(**parts)


def test_misspelt_keyword():
    with pytest.raises(TypeError, match="chunkrows"):
        simulate(make(), 10, seed=1, chunkrows=3)


# Interruptions


def test_progress():
    seen = []
    simulate(make(), 95, seed=1, progress=lambda *a: seen.append(a), **SMALL)
    assert seen[0] == (0, 95)
    assert seen[-1] == (95, 95)
    assert [done for done, _ in seen] == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95]


@pytest.mark.parametrize("threads", [0, 2])
def test_interrupt_keeps_what_is_complete(tmp_path, threads):
    def stop(done, total):
        if done >= 80:
            raise KeyboardInterrupt

    path = tmp_path / "bank"
    with ThreadPoolExecutor(2) as pool, pytest.raises(KeyboardInterrupt):
        simulate(
            make(),
            400,
            seed=1,
            path=path,
            executor=pool if threads else None,
            progress=stop,
            **SMALL,
        )
    assert len(Bank.open(path)) == 80
    assert not [name for name in contents(path) if name.endswith(".tmp")]
    simulate(make(), 400, seed=1, path=path, **SMALL)
    simulate(make(), 400, seed=1, path=tmp_path / "whole", **SMALL)
    assert contents(path) == contents(tmp_path / "whole")


@pytest.mark.parametrize("calls", range(1, 14))
def test_disk_full(tmp_path, monkeypatch, calls):
    """Wherever the disk turns out full, what was recorded stays, and the rest can follow."""
    path = tmp_path / "bank"
    left = iter(range(calls))
    real = os.fsync

    def fsync(handle):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        message = (
            r"^The bank in .*bank could not be written \(.*No space left on device\); its \d+ rows"
        )
        with pytest.raises(OSError, match=message) as caught:
            simulate(make(), 400, seed=1, path=path, **SMALL)
    assert caught.value.__cause__.errno == errno.ENOSPC
    if (path / "manifest.jsonl").exists():
        kept = Bank.open(path)
        kept.verify()
        assert len(kept) % 40 == 0
        assert f"its {len(kept)} rows recorded so far stay readable" in str(caught.value)
    simulate(make(), 400, seed=1, path=path, **SMALL)
    simulate(make(), 400, seed=1, path=tmp_path / "whole", **SMALL)
    assert contents(path) == contents(tmp_path / "whole")


def test_disk_full_halfway_through_a_line(tmp_path, monkeypatch):
    path = tmp_path / "bank"
    simulate(make(), 40, seed=1, path=path, **SMALL)
    before = (path / "manifest.jsonl").read_bytes()
    calls = iter(range(2))
    real = os.fsync

    def fsync(handle):
        real(handle)
        if next(calls, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="its 40 rows recorded so far"):
            simulate(make(), 80, seed=1, path=path, **SMALL)
    assert (path / "manifest.jsonl").read_bytes() == before


def test_a_worker_that_dies(tmp_path):
    class Dying(Executor):
        def submit(self, fn, /, *args, **kwargs):
            future = Future()
            future.set_exception(BrokenExecutor("killed by the system"))
            return future

    message = r"A worker process died \(killed by the system\); the 0 rows before are saved in"
    with pytest.raises(SimulationError, match=message):
        simulate(make(), 80, seed=1, path=tmp_path / "bank", executor=Dying(), **SMALL)


def test_global_generator_is_left_alone():
    before = json.dumps(np.random.get_state(legacy=False), default=lambda a: a.tolist())  # noqa: NPY002
    with warnings.catch_warnings():
        simulate(make(), 50, seed=1)
    after = json.dumps(np.random.get_state(legacy=False), default=lambda a: a.tolist())  # noqa: NPY002
    assert before == after


# One call


def test_replicate():
    theta = np.array([[-50.0, 1.0], [50.0, 1.0]])
    x = replicate(make(), theta, 7, np.random.default_rng(0))
    assert x.shape == (2, 7, 1)
    assert np.abs(x[:, :, 0] - theta[:, :1]).max() < 5
    vector = make(lambda t, r: t + r.random(t.shape), data=Vector(columns=("s", "t")))
    x = replicate(vector, theta, 7, np.random.default_rng(0))
    assert x.shape == (2, 1, 2)
    assert np.all((x[:, 0] >= theta) & (x[:, 0] <= theta + 1))


@pytest.mark.parametrize(
    ("theta", "n", "message"),
    [
        ([[0.0]], 3, r"theta of shape \(b, 2\); got \(1, 1\); pass one row of mu, sd"),
        ([[0.0, np.nan]], 3, "theta without NaN or inf; got nan at row 0 of column 'sd'"),
        ([[0.0, 1.0]], 0, "n as an integer >= 1; got 0"),
    ],
)
def test_replicate_checks_its_arguments(theta, n, message):
    with pytest.raises(BadValue, match=message):
        replicate(make(), theta, n, np.random.default_rng(0))


def test_replicate_checks_the_result():
    with pytest.raises(BadType, match=r"shape \(1, 3, 1\); got NoneType"):
        replicate(make(lambda t, r, n: None), [[0.0, 1.0]], 3, np.random.default_rng(0))


def test_bank_remembers_the_model(tmp_path):
    model = make()
    bank = simulate(model, 10, seed=1, path=tmp_path / "bank")
    assert bank.model is model
    assert simulate(model, 10, seed=1).simulator == describe(model)


# Missing entries


def test_missing_entries_are_usable_where_the_layout_lets_them_be():
    def run(theta, rng, n):
        x = rng.normal(size=(len(theta), n, 2))
        x[::5, 0, 1] = np.nan
        x[1::5, 0, 0] = np.nan
        x[2::5, 0, 1] = np.inf
        x[3::5] = np.nan
        return x

    kinds = {}
    for missing in (False, "y", True):
        data = Exchangeable(columns=("x", "y"), n=3, missing=missing)
        bank = simulate(make(run, data=data), 50, seed=1, chunk_rows=10)
        kinds[missing] = bank.status[:5].tolist()
        np.testing.assert_array_equal(bank.status.reshape(10, 5), [bank.status[:5]] * 10)
    assert kinds == {False: [1, 1, 1, 1, 0], "y": [0, 1, 1, 1, 0], True: [0, 0, 1, 0, 0]}


def test_datasets_missing_entirely_are_no_copies():
    def run(theta, rng, n):
        x = rng.integers(0, 2, size=(len(theta), n, 1)).astype(float)
        x[rng.random(x.shape) < 0.5] = np.nan
        return x

    data = Exchangeable(columns=("x",), n=3, missing=True)
    simulate(make(run, data=data), 300, seed=1)


def test_an_ignored_generator_is_noticed_among_missing_entries():
    def run(theta, rng, n):
        x = np.random.default_rng(5).normal(size=(len(theta), n, 1))
        x[:, 0] = np.nan
        return x

    data = Exchangeable(columns=("x",), n=3, missing=True)
    with (
        pytest.warns(UserWarning, match="the same data for different random streams"),
        pytest.warns(UserWarning, match="its random streams seem to be copied"),
    ):
        simulate(make(run, data=data), 300, seed=1)
