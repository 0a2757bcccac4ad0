"""Fill a bank: draw parameters from the prior, run the simulator, keep every row.

Rows are simulated in chunks and kept in shards. A chunk's random stream is named by its first row
and shards are recorded in order, so the same seed gives the same bytes in process, on any executor
and after any interruption. Extending a bank that ends on a multiple of `chunk_rows` gives the rows
that one longer run would have given. A shard is what a worker takes at a time, and what a kill
loses at most: for simulations that take seconds, choose `shard_rows` small.

A simulator that raises stops the bank after the last good chunk, unless told to go on; one that
returns another shape than declared stops it at once; NaN and inf are kept and marked. A simulator
that ignores its random generator is noticed by the equal data it gives (`sbi_kit.probe`).
"""

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import BrokenExecutor, Executor
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sbi_kit import contracts, manifest
from sbi_kit.bank import Bank
from sbi_kit.checks import BadType, expect_array, expect_finite, expect_integer
from sbi_kit.chunks import Job, Outcome, call, expect_output
from sbi_kit.context import ContextSource, context_source, names_of, read_context
from sbi_kit.contracts import Array
from sbi_kit.data import AnyLayout, Datasets, layout_to_dict
from sbi_kit.manifest import Record, show_parameters
from sbi_kit.prior import Prior, prior_to_dict
from sbi_kit.probe import probe, warn_of_copies
from sbi_kit.registry import expect_simulator
from sbi_kit.seeds import numpy_stream
from sbi_kit.simulator import describe
from sbi_kit.store import FolderStore, MemoryStore, Store
from sbi_kit.workers import expect_workers, outcomes_of, pool_of

Progress: TypeAlias = Callable[[int, int], None]


class SimulationError(RuntimeError):
    """The simulator failed; `str` of it is one sentence with row, parameters and seed."""


def simulate(
    model: contracts.Simulator,
    rows: int,
    *,
    seed: int,
    path: str | PathLike[str] | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    chunk_rows: int | None = None,
    shard_rows: int = 1_000,
    skip_failures: bool = False,
    context: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Bank:
    """Simulate a bank, or what is missing of one that is on disk.

    Args:
        model: The simulator.
        rows: Number of simulations the bank is to have; if there are more, the first are returned.
        seed: Seed of parameters and data.
        path: The bank's directory; None keeps it in memory.
        workers: Processes to simulate in, each with one thread.
        executor: Where to run tasks instead; it is left running.
        chunk_rows: Rows per call of the simulator, which share their number of observations; None
            takes 25 if that number varies, else 250, or what the bank on disk has.
        shard_rows: Rows per file and per task.
        skip_failures: Whether to go on when the simulator raises; the row is marked.
        context: Values, by name, of the context that all datasets are to share; None draws all of
            what the layout declares.
        progress: Called with the rows that are there and the rows wanted.

    Returns:
        The bank, with `model` at hand.

    Raises:
        BadType, BadValue: An argument is unusable; prior or simulator return something other than
            declared; or `path` holds something else or a bank of another call, with what differs.
        SimulationError: The simulator raised, or did so in every row; a worker died.
        OSError: The disk is full or cannot be written; the rows recorded before stay readable.

    Warns:
        UserWarning: The simulator seems to ignore its random generator.

    >>> from sbi_kit.data import Exchangeable
    >>> from sbi_kit.prior import Prior, Uniform
    >>> from sbi_kit.simulator import Simulator
    >>> coin = Simulator(
    ...     name="coin",
    ...     prior=Prior(p=Uniform(0, 1)),
    ...     data=Exchangeable(columns=("heads",), n=(20, 30)),
    ...     simulate=lambda theta, rng, n: rng.binomial(1, theta[:, None], (len(theta), n, 1)),
    ... )
    >>> bank = simulate(coin, 100, seed=1)
    >>> bank
    Bank(100 simulations of 'coin' in memory)
    >>> theta, x = bank.take([0, 99])
    >>> theta.shape, bool(x.n.min() >= 20)
    ((2, 1), True)
    """
    expect_simulator(model)
    wanted = expect_integer("rows", rows, low=1)
    expect_workers(workers, executor)
    folder = None if path is None else Path(path)
    found = manifest.read_manifest(folder) if folder and manifest.is_bank(folder) else None
    source = context_source(model.data, context)
    header = _header(model, source, seed, chunk_rows, shard_rows, folder, found)
    job = job_of(header, model, skip_failures=skip_failures, folder=folder and folder.absolute())
    store = FolderStore(folder, header, model, found) if folder else MemoryStore(header, model)
    report = progress or _silent
    first = min(store.rows, wanted)
    report(first, wanted)
    if first == wanted:
        return store.bank().head(wanted)
    if first == 0:
        probe(job)
    digests = _fill(job, store, wanted, workers, executor, report)
    bank = store.bank().head(wanted)
    _expect_some_success(bank)
    warn_of_copies(bank, digests, first)
    return bank


def replicate(
    model: contracts.Simulator,
    theta: ArrayLike,
    n: int,
    rng: np.random.Generator,
    context: Mapping[str, ArrayLike] | None = None,
) -> Array:
    """One dataset for each of the given parameters, as for predictive checks.

    Args:
        model: The simulator.
        theta: Parameters, shape (b, d), in the prior's units.
        n: Observations per dataset; ignored with a `Vector` layout.
        rng: The source of all randomness.
        context: What the layout declares of it, by name, one value for all datasets or one each.

    Returns:
        Data, shape (b, n, columns); n = 1 with a `Vector` layout.

    Raises:
        BadType, BadValue: Parameters of another shape or not finite, context that is missing or
            not declared, or the simulator returns something other than declared. What the simulator
            itself raises comes through.
    """
    names = expect_simulator(model).prior.names
    size = expect_integer("n", n, low=1)
    do = f"pass one row of {', '.join(names)} per dataset"
    points = expect_array("theta", theta, ("b", len(names)), do=do)
    expect_finite("theta", points, names, do=do)
    nothing = np.full((len(points), len(names_of(model.data))), np.nan)
    known = read_context(context, nothing, model.data)
    return expect_output(model, call(model, points, rng, size, known), len(points), size)


def replicate_each(
    model: contracts.Simulator, theta: Array, x: Datasets, *, seed: int, purpose: str
) -> Array:
    """Data of the sizes and the context of observed datasets, for several parameters each.

    Args:
        model: The simulator.
        theta: k parameter vectors for each of the b datasets, shape (b, k, d).
        x: The observed datasets.
        seed: Seed of the data.
        purpose: Name of the random streams, of which every dataset has its own.

    Returns:
        Shape (b, k, n, columns), n that of `x.values`; zero beyond a dataset's own n.

    Raises:
        BadType, BadValue: As for `replicate`; what the simulator itself raises comes through.
    """
    b, k, _ = theta.shape
    data = np.zeros((b, k, x.values.shape[1], len(model.data.columns)))
    for i, size in enumerate(x.n.tolist()):
        rng = numpy_stream(seed, purpose, i)
        context = dict(zip(names_of(model.data), x.context[i].tolist(), strict=True))
        data[i, :, :size] = replicate(model, theta[i], size, rng, context)
    return data


def _silent(done: int, total: int) -> None:
    """The progress of a call that wants none."""


def _header(
    model: contracts.Simulator,
    context: ContextSource,
    seed: int,
    chunk_rows: int | None,
    shard_rows: int,
    folder: Path | None,
    found: manifest.Manifest | None,
) -> Record:
    """What a bank's first line says: all that its bytes depend on."""
    low, high = model.data.n_range
    if chunk_rows is None:
        default = 25 if low < high else 250
        chunk_rows = found.header.get("chunk_rows", default) if found else default
    if isinstance(model.prior, Prior):
        prior: Record = prior_to_dict(model.prior)
    elif folder is None:
        prior = {"names": list(model.prior.names)}
    else:
        raise BadType(
            "a prior made with sbi_kit.Prior, which a bank on disk can hold",
            type(model.prior).__name__,
            "use one, or keep the bank in memory with path=None",
        )
    return {
        "format": manifest.FORMAT,
        "version": manifest.VERSION,
        "simulator": describe(model),
        "prior": prior,
        "data": layout_to_dict(cast(AnyLayout, model.data)),
        **({"context": dict(context.given)} if context.given else {}),
        "seed": expect_integer("seed", seed, low=0),
        "chunk_rows": expect_integer("chunk_rows", chunk_rows, low=1),
        "shard_rows": expect_integer("shard_rows", shard_rows, low=1),
    }


def job_of(
    header: Record, model: contracts.Simulator, *, skip_failures: bool, folder: Path | None
) -> Job:
    """The job that a bank's header describes; shards go to `folder`, or come back."""
    return Job(
        model=model,
        context=context_source(model.data, header.get("context")),
        seed=header["seed"],
        chunk_rows=header["chunk_rows"],
        shard_rows=header["shard_rows"],
        skip_failures=skip_failures,
        folder=folder,
    )


def _fill(
    job: Job,
    store: Store,
    rows: int,
    workers: int,
    executor: Executor | None,
    report: Progress,
) -> NDArray[np.uint64]:
    """Simulate what is missing, shard by shard; returns the new rows' digests."""
    digests = []

    def shards() -> Generator[Outcome, None, None]:
        with (
            pool_of(workers, executor, job.folder) as (pool, window),
            closing(outcomes_of(job, store.rows, rows, pool, window, report)) as outcomes,
        ):
            yield from outcomes

    with closing(recorded(job, store, shards())) as outcomes:
        for outcome in outcomes:
            report(store.rows, rows)
            digests.append(outcome.digests)
    return np.concatenate(digests)


def recorded(
    job: Job, store: Store, outcomes: Generator[Outcome, None, None]
) -> Generator[Outcome, None, None]:
    """Shards as they come, each kept in a store, which is started first, before it is handed on.

    Raises:
        SimulationError: The simulator raised, after what it gave before was kept; a worker died.
        OSError: The store could not be written.
    """
    try:
        store.start()
        with closing(outcomes):
            for outcome in outcomes:
                store.keep(outcome)
                if outcome.halt:
                    record, error = outcome.halt.record, outcome.halt.error
                    raise SimulationError(
                        f"{_failure(job, record)}; {store.kept}, and skip_failures=True "
                        "(--skip-failures) goes on without such rows."
                    ) from error
                yield outcome
    except BrokenExecutor as error:
        raise SimulationError(
            f"A worker process died ({_one_line(error)}); {store.kept}, so "
            "give it more memory or smaller chunks and run again."
        ) from error
    except OSError as error:
        if store.folder is None:
            raise
        raise OSError(
            f"The bank in {store.folder.absolute()} could not be written ({_one_line(error)}); its "
            f"{store.rows} rows recorded so far stay readable, so make room and run again."
        ) from error


def _failure(job: Job, record: Record) -> str:
    return (
        f"Simulator {describe(job.model)['name']!r} failed at row {record['row']} "
        f"({_point(record)}; seed {job.seed}): "
        f"{_one_line(record['exception'])}"
    )


def _point(record: Record) -> str:
    return show_parameters({**record["parameters"], **record.get("context", {})})


def _one_line(text: Any) -> str:
    return " ".join(str(text).split()).rstrip(".")


def _expect_some_success(bank: Bank) -> None:
    if len({record["row"] for record in bank.failures}) == len(bank):
        first = bank.failures[0]
        raise SimulationError(
            f"All {len(bank)} simulations of {bank.simulator['name']!r} failed, the first at "
            f"{_point(first)}: {_one_line(first['exception'])}; repair the simulator or its prior."
        )
