"""Train a posterior while its simulations are drawn: `fit_online` needs no bank beforehand.

A first block of simulations gives the standardisation and the validation split. Then workers
simulate the next shards while the network trains on the last one; each row is new to it, so there
is nothing to over-fit (Radev et al. 2020, arXiv:2003.06281). Where the number of simulations is
limited, they are kept, and once all are drawn, training goes on in passes over them.

Which rows a step sees follows from the seed and the step alone, whatever the workers' number and
speed: each shard is shuffled and cut into a fixed number of batches, and shards come in the order
of their rows. A resumed run therefore goes on with the rows that it would have seen.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from sbi_kit import contracts
from sbi_kit.bank import Bank, Block, usable_rows
from sbi_kit.batches import BankBatches
from sbi_kit.checks import BadValue, expect_integer, expect_number
from sbi_kit.chunks import Outcome
from sbi_kit.contracts import IntArray
from sbi_kit.data import AnyLayout
from sbi_kit.device import CPU, expect_device
from sbi_kit.learning import (
    Material,
    architecture_for,
    default_batch_size,
    default_steps,
    enough,
    history_of,
    learn,
    observations_in,
    posterior_of,
    prepare,
    recipe_for,
    summary_for,
    trace_of,
)
from sbi_kit.manifest import read_manifest
from sbi_kit.neural import NeuralPosterior
from sbi_kit.registry import expect_simulator
from sbi_kit.seeds import torch_seed
from sbi_kit.simulation import job_of, recorded, simulate
from sbi_kit.store import FolderStore, MemoryStore
from sbi_kit.train import Progress
from sbi_kit.workers import background, expect_workers, outcomes_of, shard_edges

_TOGETHER = 4  # batches in a shard: little to wait for, yet batches of similar n
_FIRST = (2_000, 5_000)  # simulations of the first block, at least and at most, roughly,
_BATCHES = 20  # and its batches, in between
_HELD_OUT = 0.1  # share of a limited number of simulations kept for validation,
_MOST = 0.5  # and its largest share of the first block
_NOTHING = np.empty(0, dtype=np.int64)


def fit_online(
    model: contracts.Simulator,
    *,
    seed: int,
    simulations: int | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    path: str | PathLike[str] | None = None,
    context: Mapping[str, float] | None = None,
    skip_failures: bool = False,
    bad_share: float = 0.2,
    summary: str | None = None,
    coupling: str = "spline",
    batch_size: int | None = None,
    learning_rate: float = 5e-3,
    patience: int = 10,
    width: int | None = None,
    hidden: int = 64,
    blocks: int = 3,
    device: str = "cpu",
    checkpoint: str | PathLike[str] | None = None,
    progress: Progress | None = None,
) -> NeuralPosterior:
    """Learn summary network and flow jointly from simulations drawn meanwhile.

    Args:
        model: The simulator.
        seed: Seed of all randomness; same seed, same posterior, whatever the workers.
        simulations: Simulations to draw at most, which are kept and trained on again once all are
            there; None draws new ones as long as training lasts, and forgets them.
        steps: Gradient steps at most; None allows any number within `seconds`, else 6,000, or five
            times as many as it takes to see each simulation. Training ends earlier where validation
            stops improving.
        seconds: Time to train at most, waiting included, the first block not; None does not limit
            it.
        workers: Processes to simulate in, each with one thread, beside the one that trains.
        executor: Where to simulate instead; it is left running. Twice as many shards as it has
            workers are simulated ahead.
        path: Directory of a bank to keep the simulations in; None keeps them in memory.
        context: Values, by name, of the context that all datasets are to share.
        skip_failures: Whether to go on without the rows where the simulator raises.
        bad_share: Largest tolerable share of simulations that failed, hold inf, or NaN where the
            layout lets nothing be missing.
        summary: Name of the summary network; None takes what suits the layout.
        coupling: How a coupling of the flow bends parameters: "spline", or "affine".
        batch_size: Simulations per step; None takes as many as have 15,000 observations, from 64 to
            256, and a fortieth of all at most, if that is 32 or more.
        learning_rate: The highest rate of the schedule.
        patience: Evaluations without improvement before the rate falls to zero and training ends.
        width: Size of the features; None makes it 128, or 64 for fewer than 30,000 simulations of
            fixed size.
        hidden: Width of the networks inside summary and flow.
        blocks: Coupling blocks of the flow.
        device: Where to train: "cpu", or "cuda" or "cuda:1" for a GPU, which rounds otherwise, and
            not always alike; the same bytes from the same seed are the CPU's. The posterior is on
            the CPU; its method `on` moves it.
        checkpoint: File to save to while training and to resume from after a kill; without a path,
            simulations that were kept are then drawn again.
        progress: Called about every half second with a `train.Report`, once the first block of
            2,000 to 5,000 simulations is there.

    Returns:
        The posterior; its history says under "seconds_waited" how long this call waited for
        simulations while it trained.

    Raises:
        BadValue, BadType, UnknownName: An argument is out of its range, nothing says when to stop,
            too many simulations are unusable, or the loss stayed non-finite.
        SimulationError: The simulator raised; what was trained before is in the checkpoint.

    Warns:
        UserWarning: Some simulations are unusable, few, or have a constant column; or the simulator
            seems to ignore its random generator.
    """
    expect_simulator(model)
    expect_workers(workers, executor)
    place = expect_device(device)
    limit = _expect_an_end(simulations, steps, seconds, path)
    name = summary_for(cast(AnyLayout, model.data), summary)
    wanted = sys.maxsize if limit is None else limit
    if batch_size is None:
        batch_size = default_batch_size(wanted, observations_in(cast(AnyLayout, model.data), name))
    size = expect_integer("batch_size", batch_size, low=1)
    begin = min(wanted, _first_rows(size))
    share = min(_MOST, max(0.01, _HELD_OUT * wanted / begin))
    if steps is None and seconds is None:
        steps = default_steps(wanted, size)
    recipe = recipe_for(
        steps,
        seconds,
        learning_rate=learning_rate,
        patience=patience,
        validated=share * begin / size,
    )
    first = simulate(
        model,
        begin,
        seed=seed,
        path=path,
        workers=workers,
        executor=executor,
        shard_rows=_TOGETHER * size,
        skip_failures=skip_failures,
        context=context,
    )
    rows = enough(usable_rows(first, bad_share=bad_share))
    material = prepare(first, rows, summary=name, share=share, seed=seed)
    sizes = architecture_for(
        material,
        simulations=wanted,
        coupling=coupling,
        width=width,
        hidden=hidden,
        blocks=blocks,
    )
    if limit is None:  # no more than the steps can take
        wanted = len(first) + min(recipe.steps, sys.maxsize // (8 * size)) * size
    supply = _Supply(
        first,
        wanted,
        kept=limit is not None,
        workers=workers,
        executor=executor,
        skip_failures=skip_failures,
        trained="pass a checkpoint to keep the training"
        if checkpoint is None
        else f"the training before is in {checkpoint}",
    )
    with closing(supply):
        batches = _OnlineBatches(
            material, supply, batch_size=size, bad_share=bad_share, seed=seed, device=place
        )
        network, state = learn(
            material,
            batches,
            recipe,
            sizes,
            seed=seed,
            settings=(limit, size, bad_share),
            device=place,
            checkpoint=checkpoint,
            progress=progress,
        )
    seen = batches.seen()
    made = history_of(seen, seed=seed, batch_size=size, recipe=recipe) | trace_of(state)
    online = {
        "simulations": batches.drawn,
        "training_rows": batches.trained,
        "seconds_waited": round(supply.waited, 3),
    }
    return posterior_of(seen, [network], sizes, made | online)


def _expect_an_end(simulations: object, steps: object, seconds: object, path: object) -> int | None:
    """The number of simulations, if it is limited."""
    if simulations is not None:
        return expect_integer("simulations", simulations, low=1)
    if steps is None and seconds is None:
        wanted = "simulations, steps or seconds, which say when to stop"
        raise BadValue(wanted, "none of them", "pass one, such as seconds=600")
    if path is not None:
        raise BadValue(
            "simulations beside a path, as a bank on disk is to have a size",
            f"only the path {path}",
            "say how many to keep, or leave out the path",
        )
    return None


def _first_rows(batch_size: int) -> int:
    """Simulations of the first block, in whole shards."""
    low, high = _FIRST
    shard = _TOGETHER * batch_size
    return max(1, min(high, max(low, _BATCHES * batch_size)) // shard) * shard


class _Passing:
    """A store that keeps nothing."""

    def __init__(self, kept: str) -> None:
        self.rows = 0
        self.folder: Path | None = None
        self.kept = kept

    def start(self) -> None:
        """Nothing is to be done."""

    def keep(self, outcome: Outcome) -> None:
        """Let go of a shard."""


class _Supply:
    """Shards after a first block of simulations, drawn in the background and handed out in order.

    Args:
        first: The first block, with its model.
        rows: Rows in all.
        kept: Whether they are kept.
        workers: Processes to simulate in.
        executor: Where to simulate instead.
        skip_failures: Whether to go on when the simulator raises.
        trained: What became of the training, for the message of a failure.
    """

    def __init__(
        self,
        first: Bank,
        rows: int,
        *,
        kept: bool,
        workers: int,
        executor: Executor | None,
        skip_failures: bool,
        trained: str,
    ) -> None:
        self.first, self.kept = first, kept
        self.waited = 0.0
        self._rows, self._workers, self._executor = rows, workers, executor
        self._model = cast(contracts.Simulator, first.model)  # `simulate` leaves it there
        self._job = job_of(first.header, self._model, skip_failures=skip_failures, folder=None)
        self._store: _Passing | MemoryStore | FolderStore
        if not kept:
            self._store = _Passing(trained)
        elif first.path is None:
            self._store = MemoryStore(first.header, self._model, first)
        else:
            found = read_manifest(first.path)
            self._store = FolderStore(first.path, found.header, self._model, found)
        self._there = self.bank().head(rows)
        self._open = ExitStack()
        self._outcomes: Iterator[Outcome] | None = None

    def bank(self) -> Bank:
        """All rows that are kept; the first block if none is."""
        return self.first if isinstance(self._store, _Passing) else self._store.bank()

    def edges(self) -> Iterator[tuple[int, int]]:
        """First row and end of each shard after the first block."""
        there = ((block.start, block.stop) for block in self._there.blocks)
        start = len(self.first)
        later = shard_edges(len(self._there), self._rows, self._job.shard_rows)
        return chain((edge for edge in there if edge[0] >= start), later)

    def skip(self, start: int, stop: int) -> None:
        """Pass over a shard, of which nothing but its being kept is wanted."""
        if self.kept and stop > len(self._there):
            self._next(start)

    def take(self, start: int, stop: int) -> Bank:
        """The next shard as a bank of its own; waits for it."""
        if stop <= len(self._there):
            return _alone(self._there, start)
        outcome = self._next(start)
        shard = MemoryStore(self.first.header, self._model)
        shard.keep(outcome)
        return shard.bank()

    def _next(self, start: int) -> Outcome:
        since = time.monotonic()
        if self._outcomes is None:
            pool, window = self._open.enter_context(background(self._workers, self._executor))
            shards = outcomes_of(self._job, start, self._rows, pool, window, lambda *_: None)
            self._outcomes = self._open.enter_context(
                closing(recorded(self._job, self._store, shards))
            )
        outcome = next(self._outcomes)
        self.waited += time.monotonic() - since
        return outcome

    def close(self) -> None:
        """Let go of the workers."""
        self._open.close()


def _alone(bank: Bank, start: int) -> Bank:
    """The shard that begins at a row, as a bank of its own."""
    block = next(block for block in bank.blocks if block.start == start)
    return Bank(
        bank.header,
        [Block(0, block.stop - block.start, block.read)],
        prior=bank.prior,
        data=bank.data,
        failures=[],
        path=bank.path,
        model=bank.model,
    )


class _OnlineBatches:
    """Batches of the first block, then of each shard, and then of passes over all rows.

    Steps must ascend. A shard is cut into as many batches as it has whole ones, which share its
    usable rows, so that the place of a row does not depend on the rows that failed before it.

    Attributes:
        drawn: Simulations that were drawn so far.
        trained: Those among them that were trained on; of shards that an interrupted run saw, and
            that are not kept, all.
    """

    def __init__(
        self,
        material: Material,
        supply: _Supply,
        *,
        batch_size: int,
        bad_share: float,
        seed: int,
        device: torch.device = CPU,
    ) -> None:
        self._material, self._supply = material, supply
        self._size, self._seed, self._device = batch_size, seed, device
        self._bad_share = expect_number("bad_share", bad_share, low=0, high=1)
        self._first = self._batches(
            material.bank, material.training, seed, batch_size, material.validation
        )
        self._edges = supply.edges()
        self._now = self._first
        self._row = 0  # the first that `_now` may hold,
        self._begin, self._end = 0, self._first.per_pass  # and the steps it is for
        self.drawn, self.trained = len(material.bank), len(material.training)
        self._bad = self.drawn - len(material.bank.usable)

    def training(self, step: int) -> Any:
        """The batch of a step; waits for its simulations."""
        self._advance(step)
        return self._now.training(step - self._begin)

    def validation(self) -> Iterator[Any]:
        """All validation rows."""
        return self._first.validation()

    def rows(self, step: int) -> list[int]:
        """The rows in the batch of a step."""
        self._advance(step)
        return [self._row + row for row in self._now.rows(step - self._begin)]

    def seen(self) -> Material:
        """What was learned from, as far as it was kept."""
        if not self._supply.kept:
            return self._material
        bank = self._supply.bank().head(self.drawn)
        training = np.setdiff1d(bank.usable, self._material.validation)
        self.trained = len(training)
        return replace(self._material, bank=bank, training=training)

    def _advance(self, step: int) -> None:
        while step >= self._end:
            edge = next(self._edges, None)
            if edge is None:
                self._reuse()
                return
            start, stop = edge
            count = max(1, (stop - start) // self._size)
            self._begin, self._end = self._end, self._end + count
            self.drawn = stop
            if step >= self._end:
                self._supply.skip(start, stop)
                self.trained += stop - start
            else:
                self._row = start
                self._now = self._fresh(self._supply.take(start, stop), start, count)

    def _fresh(self, shard: Bank, start: int, count: int) -> BankBatches:
        """The batches of a shard."""
        usable = shard.usable
        self._bad += len(shard) - len(usable)
        if not len(usable) or self._bad > self._bad_share * self.drawn:
            usable_rows(shard, bad_share=self._bad_share)  # says what is wrong
        self.trained += len(usable)
        rows = usable if len(usable) >= count else np.resize(usable, count)
        size = len(rows) // count
        seed = torch_seed(self._seed, "fresh", start)
        return self._batches(shard, rows[: count * size], seed, size, _NOTHING)

    def _reuse(self) -> None:
        """Go on in passes over all rows."""
        seen = self.seen()
        seed = torch_seed(self._seed, "reuse")
        self._begin, self._end, self._row = self._end, sys.maxsize, 0
        self._now = self._batches(seen.bank, seen.training, seed, self._size, _NOTHING)

    def _batches(
        self, bank: Bank, training: IntArray, seed: int, size: int, validation: IntArray
    ) -> BankBatches:
        return BankBatches(
            bank,
            training,
            validation,
            summary=self._material.summary,
            standardizer=self._material.standardizer,
            batch_size=size,
            seed=seed,
            device=self._device,
        )
