"""The smallest unit of simulating: one chunk of rows, one call of the simulator, one random stream.

The stream of a chunk is named by its first row, so a row's numbers do not depend on which process
ran it, nor on what ran before. A chunk draws its parameters from the prior, then one number of
observations, then the context of its datasets if there is any, and hands all to the simulator. If
that raises, the chunk's rows are run again one by one, each with a stream of its own, to find the
parameters that it cannot take.
"""

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sbi_kit.checks import BadType, BadValue, as_floats, expect_array, expect_finite, show_shape
from sbi_kit.context import ContextSource
from sbi_kit.contracts import Array, Prior, Simulator
from sbi_kit.data import Vector, unusable
from sbi_kit.manifest import Entry, Record, stage
from sbi_kit.seeds import numpy_stream
from sbi_kit.shards import FAILED, NON_FINITE, OK, Rows, StatusArray, join
from sbi_kit.simulator import describe


@dataclass(frozen=True)
class Job:
    """What every task of one bank shares; it travels to the workers."""

    model: Simulator
    context: ContextSource
    seed: int
    chunk_rows: int
    shard_rows: int
    skip_failures: bool
    folder: Path | None


@dataclass(frozen=True)
class Halt:
    """The failure at which a shard ended early."""

    record: Record
    error: Exception


@dataclass(frozen=True)
class Outcome:
    """What a task hands back: a shard's rows, or where it wrote them.

    `digests` has 64 bits of each dataset, shape (r,); 0 where equality would prove nothing.
    """

    rows: Rows | None
    written: tuple[Entry, str] | None
    digests: NDArray[np.uint64]
    failures: list[Record]
    halt: Halt | None


@dataclass(frozen=True)
class _Chunk:
    rows: Rows | None
    digests: NDArray[np.uint64]
    failures: list[Record]
    halt: Halt | None = None


def run_shard(
    job: Job, start: int, stop: int, tick: Callable[[int], None] | None = None
) -> Outcome:
    """Simulate rows start..stop - 1; `tick` is told between chunks how far it came.

    Raises:
        BadType, BadValue: Prior or simulator return something other than was declared.
    """
    chunks: list[_Chunk] = []
    for first, last in _chunk_edges(job, start, stop):
        chunks.append(_run_chunk(job, first, last))
        if chunks[-1].halt:
            break
        if tick and last < stop:
            tick(last)
    parts = [chunk.rows for chunk in chunks if chunk.rows is not None]
    rows = join(parts) if parts else None
    written = None
    if job.folder is not None and rows is not None:
        written, rows = stage(job.folder, start, rows), None
    return Outcome(
        rows,
        written,
        np.concatenate([chunk.digests for chunk in chunks]),
        [record for chunk in chunks for record in chunk.failures],
        chunks[-1].halt,
    )


def draw_theta(prior: Prior, b: int, rng: np.random.Generator) -> Array:
    """Parameters from the prior, shape (b, d), checked.

    Raises:
        BadType, BadValue: It draws another shape or something other than finite numbers.
    """
    theta = expect_array(
        "the prior's sample", prior.sample(b, rng), (b, len(prior.names)), do="repair the prior"
    )
    return expect_finite("the prior's sample", theta, prior.names, do="repair the prior")


def call(model: Simulator, theta: Array, rng: np.random.Generator, n: int, context: Array) -> Any:
    """Call the simulator with theta (b, d) and context (b, c), copied, as it may write to them."""
    arguments: list[Any] = [] if isinstance(model.data, Vector) else [n]
    if context.shape[1]:
        arguments.append(context.copy())
    return model.simulate(theta.copy(), rng, *arguments)


def expect_output(model: Simulator, output: Any, b: int, n: int) -> Array:
    """Return what a simulator gave for b parameters as float64 (b, n, columns).

    Raises:
        BadType: It is no numpy array of numbers.
        BadValue: Its shape differs.
    """
    columns = len(model.data.columns)
    vector = isinstance(model.data, Vector)
    shape = (b, columns) if vector else (b, n, columns)
    if not isinstance(output, np.ndarray):
        raise BadType(*_unlike(model, shape, type(output).__name__))
    if output.dtype.kind not in "buif":
        raise BadType(*_unlike(model, shape, f"dtype {output.dtype}"))
    if output.shape != shape:
        raise BadValue(*_unlike(model, shape, f"shape {show_shape(output.shape)}"))
    values = as_floats(output) if isinstance(output, np.ma.MaskedArray) else output
    values = np.asarray(values, dtype=np.float64)
    return values[:, None] if vector else values


def _unlike(model: Simulator, shape: tuple[int, ...], got: str) -> tuple[str, str, str]:
    name = describe(model)["name"]
    wanted = f"simulator {name!r} to return a numpy array of numbers of shape {show_shape(shape)}"
    return wanted, got, "return one dataset per row of theta"


def _chunk_edges(job: Job, start: int, stop: int) -> list[tuple[int, int]]:
    """First row and end of each chunk, aligned to the shard's multiples of `chunk_rows`."""
    base = start - start % job.shard_rows
    inner = range(base + job.chunk_rows, stop, job.chunk_rows)
    edges = [start, *(edge for edge in inner if edge > start), stop]
    return list(pairwise(edges))


def _run_chunk(job: Job, start: int, stop: int) -> _Chunk:
    rng = numpy_stream(job.seed, "bank", start)
    b = stop - start
    theta = draw_theta(job.model.prior, b, rng)
    low, high = job.model.data.n_range
    n = int(rng.integers(low, high + 1))
    context = job.context.draw(b, rng)
    try:
        output = call(job.model, theta, rng, n, context)
    except Exception as error:
        return _one_by_one(job, start, theta, n, context, error)
    values = expect_output(job.model, output, b, n)
    status = _status(job, values)
    return _Chunk(_rows(theta, values, status, context), _digests(values, status), [])


def _one_by_one(
    job: Job, start: int, theta: Array, n: int, context: Array, cause: Exception
) -> _Chunk:
    """Run a chunk's rows alone after the simulator raised `cause` for all of them together."""
    values = np.zeros((len(theta), n, len(job.model.data.columns)))
    failed = np.zeros(len(theta), dtype=np.bool_)
    failures: list[Record] = []
    for i in range(len(theta)):
        rng = numpy_stream(job.seed, "bank", start, 1 + i)
        try:
            output = call(job.model, theta[i : i + 1], rng, n, context[i : i + 1])
        except Exception as error:
            failures.append(_record(job, start + i, (start, 1 + i), theta[i], context[i], error))
            if not job.skip_failures:
                return _halted(failures[-1], error)
            failed[i] = True
        else:
            values[i] = expect_output(job.model, output, 1, n)[0]
    if not failures and not job.skip_failures:
        # No row fails alone, so the batch itself is the culprit; its first row stands for it.
        return _halted(_record(job, start, (start,), theta[0], context[0], cause), cause)
    status = np.where(failed, np.uint8(FAILED), _status(job, values))
    return _Chunk(_rows(theta, values, status, context), _digests(values, status), failures)


def _record(
    job: Job, row: int, index: tuple[int, ...], theta: Array, context: Array, error: Exception
) -> Record:
    """A line of the failure log; `numpy_stream(seed, *key)` gives the row's random stream."""
    known = dict(zip(job.context.names, context.tolist(), strict=True))
    return {
        "row": row,
        "seed": job.seed,
        "key": ["bank", *index],
        "parameters": dict(zip(job.model.prior.names, theta.tolist(), strict=True)),
        **({"context": known} if known else {}),
        "exception": f"{type(error).__name__}: {error}",
    }


def _halted(record: Record, error: Exception) -> _Chunk:
    try:
        # An exception that cannot travel between processes would hide itself behind another.
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(record["exception"])
    return _Chunk(None, np.zeros(0, np.uint64), [record], Halt(record, error))


def _status(job: Job, values: Array) -> StatusArray:
    bad = unusable(values, job.model.data).any(axis=(1, 2))
    return np.where(bad, np.uint8(NON_FINITE), np.uint8(OK))


def _rows(theta: Array, values: Array, status: StatusArray, context: Array) -> Rows:
    """Rows of one chunk; those that failed own no observations."""
    there = status != FAILED
    offsets = np.concatenate([[0], np.cumsum(there * values.shape[1])]).astype(np.int64)
    flat = values[there].reshape(-1, values.shape[2])
    return Rows(theta, flat, offsets, status, context)


def _digests(values: Array, status: StatusArray) -> NDArray[np.uint64]:
    """64 bits of each dataset; 0 for unusable ones and for integers, which may well coincide."""
    digests = np.zeros(len(values), dtype=np.uint64)
    broken = np.isfinite(values) & (values != np.rint(values))
    telling = (status == OK) & broken.any(axis=(1, 2))
    for i in np.flatnonzero(telling):
        digest = hashlib.blake2b(values[i].tobytes(), digest_size=8).digest()
        digests[i] = int.from_bytes(digest, "little")
    return digests
