"""Where shards are simulated: in this process, in processes of its own, or on any executor.

Whoever finishes first, shards come back in the order of their rows, and no more of them are under
way than a window allows, so memory is bounded and what waits to be taken never piles up.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from itertools import chain, islice, pairwise
from pathlib import Path

from sbi_kit import manifest
from sbi_kit.checks import BadType, BadValue, expect_integer
from sbi_kit.chunks import Job, Outcome, run_shard

_WINDOW = 64  # shards under way on an executor of unknown size
_ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMBA", "VECLIB")
}


def expect_workers(workers: object, executor: object) -> None:
    """Refuse a number of processes that is none, what is no executor, or both at once.

    Raises:
        BadType, BadValue: It is so.
    """
    several = expect_integer("workers", workers, low=1) > 1
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise BadType(
            "executor as a concurrent.futures.Executor",
            type(executor).__name__,
            "pass one, or workers= for processes on this machine",
        )
    if several and executor is not None:
        raise BadValue(
            "workers or executor",
            f"workers={workers} and an executor",
            "size the executor itself and leave out workers",
        )


@contextmanager
def pool_of(
    workers: int, executor: Executor | None, folder: Path | None
) -> Iterator[tuple[Executor | None, int]]:
    """Where tasks run (None: here), and how many shards may be under way."""
    if executor is not None:
        yield executor, _window_of(executor)
    elif workers == 1:
        yield None, 0
    else:
        pool = _processes(workers)
        try:
            yield pool, 2 * workers
        except BaseException:
            _kill(pool)
            if folder is not None:
                manifest.sweep(folder)
            raise
        pool.shutdown(wait=True)


@contextmanager
def background(workers: int, executor: Executor | None) -> Iterator[tuple[Executor, int]]:
    """Where tasks run while this process does something else; in the end they are given up."""
    if executor is not None:
        yield executor, _window_of(executor)
    else:
        pool = _processes(workers)
        try:
            yield pool, 2 * workers
        finally:
            _kill(pool)


def outcomes_of(
    job: Job,
    start: int,
    rows: int,
    pool: Executor | None,
    window: int,
    report: Callable[[int, int], None],
) -> Generator[Outcome, None, None]:
    """Shards in the order of their rows, whoever finishes first."""
    edges = shard_edges(start, rows, job.shard_rows)
    if pool is None:
        for first, last in edges:
            yield run_shard(job, first, last, lambda done: report(done, rows))
        return
    pending: deque[Future[Outcome]] = deque()
    try:
        pending.extend(pool.submit(run_shard, job, *edge) for edge in islice(edges, window))
        while pending:
            outcome = pending[0].result()
            pending.popleft()
            pending.extend(pool.submit(run_shard, job, *edge) for edge in islice(edges, 1))
            yield outcome
    finally:
        for future in pending:
            future.cancel()
            future.add_done_callback(lambda done: _discard(job, done))


def shard_edges(start: int, rows: int, size: int) -> Iterator[tuple[int, int]]:
    """First row and end of each shard, aligned to multiples of `size`."""
    if start == rows:
        return iter(())
    return pairwise(chain((start,), range((start // size + 1) * size, rows, size), (rows,)))


def _window_of(executor: Executor) -> int:
    size = getattr(executor, "_max_workers", None)
    return 2 * size if isinstance(size, int) else _WINDOW


def _processes(count: int) -> Executor:
    from loky import ProcessPoolExecutor

    pool: Executor = ProcessPoolExecutor(max_workers=count, env=_ONE_THREAD)
    return pool


def _kill(pool: Executor) -> None:
    pool.shutdown(wait=True, kill_workers=True)  # type: ignore[call-arg]


def _discard(job: Job, future: Future[Outcome]) -> None:
    """Remove what a task wrote that nobody waits for any more."""
    if job.folder is None or future.cancelled() or future.exception() is not None:
        return
    written = future.result().written
    if written is not None:
        (job.folder / written[1]).unlink(missing_ok=True)
