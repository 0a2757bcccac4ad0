"""What every way of fitting shares: split and standardise simulations, train, make a posterior.

Where the batches come from, a bank or workers that simulate while the network trains, is the
caller's affair.
"""

import hashlib
import json
import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sbi_kit.bank import Bank
from sbi_kit.batches import observations, standardise
from sbi_kit.checks import BadValue, expect_integer, expect_name
from sbi_kit.contracts import Array, IntArray
from sbi_kit.data import AnyLayout, Matrix
from sbi_kit.device import CPU, lags
from sbi_kit.encoder import Encoder, row_columns, row_missable, to_tensor
from sbi_kit.familiarity import fit_familiarity
from sbi_kit.halves import Divide, halves, whole
from sbi_kit.network import Architecture, Network, build_network
from sbi_kit.neural import NeuralPosterior
from sbi_kit.seeds import numpy_stream, torch_seed
from sbi_kit.summary import NEEDED, SHORTENED, SUMMARIES, default_summary
from sbi_kit.summary.encoded import (
    AnyStandardizer,
    EncodedStandardizer,
    Encoding,
    encode,
    is_encoding,
    layers_of,
)
from sbi_kit.summary.recurrent import WINDOWS
from sbi_kit.summary.standardize import constant_columns, fit_standardizer
from sbi_kit.train import Batches, Progress, Recipe, State, train

_STEPS, _PASSES = 6_000, 5  # steps at most, or as many as it takes to see all so often
_FEWEST, _FEW = 50, 1_000  # simulations without which fitting makes no sense, or little
_EVALUATIONS = 25  # of the validation split, at least, if steps are few
_OFTEN = 40  # steps between two of them, at least, if they are many
_TOGETHER, _BATCH = 15_000, (64, 256)  # observations in a batch, if that is as many datasets
_WIDE, _NARROW, _PLENTY = 128, 64, 30_000  # widths, and simulations that bear the wide one
_ENSEMBLE, _SCARCE = 5, 3_000  # members of an ensemble, and simulations that are too few for one
_USUAL = 1_000  # simulations that show a summary what is usual
_SAMPLE = 5_000  # simulations that stand for all where statistics are taken,
_ENOUGH = 500_000  # and observations of theirs
_READ = 250  # simulations that are read at a time
_CHUNK = 200_000  # observations, padding included, that are summarised together


@dataclass(frozen=True)
class Material:
    """What a network learns from; `prepare` makes one.

    Attributes:
        bank: The simulations.
        summary: Name of the summary network.
        training: Rows to train on, in random order.
        validation: Rows to validate on, in random order.
        standardizer: The map of values to features, learned from training rows.
    """

    bank: Bank
    summary: str
    training: IntArray
    validation: IntArray
    standardizer: AnyStandardizer


def summary_for(layout: AnyLayout, name: str | Encoding | None) -> str:
    """The name of a summary network, checked; None stands for what suits the layout.

    Raises:
        UnknownName: There is none of that name.
    """
    if is_encoding(name):
        return "identity"
    name = default_summary(layout) if name is None else name
    return expect_name("summary network", name, SUMMARIES)


def default_batch_size(simulations: int, observations: float) -> int:
    """Simulations per step that suit their number and the observations in each."""
    most = int(np.clip(_TOGETHER / observations, *_BATCH))
    return int(np.clip(simulations // 40, min(32, most), most))


def default_members(simulations: int) -> int:
    """Members of an ensemble: several where the simulations are too few for one network."""
    return _ENSEMBLE if simulations < _SCARCE else 1


def default_steps(simulations: int, batch_size: int) -> int:
    """Steps at most where neither these nor the time are limited."""
    return max(_STEPS, _PASSES * simulations // batch_size)


def observations_in(layout: AnyLayout, summary: str) -> float:
    """Observations, or windows of a series, that a summary sees of a dataset on average."""
    if summary == "identity":
        return 1.0
    n = sum(layout.n_range) / 2
    return min(n, WINDOWS) if summary in SHORTENED else n


def enough(rows: IntArray) -> IntArray:
    """The rows, if there are enough to learn from.

    Raises:
        BadValue: There are not.

    Warns:
        UserWarning: There are few.
    """
    if len(rows) < _FEWEST:
        raise BadValue(
            f"{_FEWEST} usable simulations at least, to train on some and validate on others",
            str(len(rows)),
            f"simulate {_FEW} or more, {20 * _FEW:,} for a sharp posterior",
        )
    if len(rows) < _FEW:
        warnings.warn(
            f"{len(rows)} simulations give a rough posterior, wider than the true one or off its "
            f"place; simulate {_FEW} or more, {20 * _FEW:,} for a sharp one.",
            UserWarning,
            stacklevel=3,
        )
    return rows


def prepare(
    bank: Bank,
    rows: IntArray,
    *,
    summary: str,
    share: float,
    seed: int,
    encoding: Encoding | None = None,
) -> Material:
    """Split rows of a bank, a share for validation, and learn the standardisation.

    Raises:
        BadValue: The summary, or the encoder, cannot take the bank's layout.

    Warns:
        UserWarning: A column is constant.
    """
    _expect_suitable(bank, summary)
    training, validation = _split(rows, share, seed)
    standardizer = _standardise(bank, training, summary, encoding)
    return Material(bank, summary, training, validation, standardizer)


def fold(material: Material, number: int) -> Material:
    """The same rows split anew: as many as before validate, others at each number, in turn."""
    held = len(material.validation)
    rows = np.concatenate([material.validation, material.training])
    rows = np.roll(rows, -(number * held % len(rows)))
    return replace(material, training=rows[held:], validation=rows[:held])


def recipe_for(
    steps: int | None,
    seconds: float | None,
    *,
    learning_rate: float,
    patience: int,
    validated: float,
) -> Recipe:
    """How to train within steps or seconds, either None, if an evaluation takes so many batches.

    Raises:
        BadType, BadValue: A number is out of its range.
    """
    most = sys.maxsize if steps is None else expect_integer("steps", steps, low=1)
    # An evaluation takes a third of the time of as many steps.
    evaluate_every = max(_OFTEN, round(3 * validated))
    return Recipe(
        steps=most,
        seconds=seconds,
        learning_rate=learning_rate,
        evaluate_every=min(evaluate_every, max(1, most // _EVALUATIONS)),
        patience=patience,
        fall=0.5,
    )


def architecture_for(
    material: Material,
    *,
    simulations: int,
    coupling: str,
    width: int | None,
    hidden: int,
    blocks: int,
) -> Architecture:
    """The sizes of a network for this material, which grows to so many simulations.

    Raises:
        BadType, BadValue, UnknownName: One is out of its range.
    """
    data, standardizer = material.bank.data, material.standardizer
    d = len(material.bank.prior.names)
    if width is None:  # few simulations of fixed size would be learned by heart
        narrow = material.summary == "identity" and simulations < _PLENTY and 4 * d <= _NARROW
        width = _NARROW if narrow else _WIDE
    cells = isinstance(data, Matrix) and material.summary != "identity"
    return Architecture(
        summary=material.summary,
        inputs=standardizer.features,
        parameters=d,
        longest=data.n_range[1],
        columns=len(data.columns) if cells else 1,
        context=standardizer.features_from(len(data.columns)) if cells else 0,
        coupling=coupling,
        width=width,
        hidden=hidden,
        blocks=blocks,
    )


def learn(
    material: Material,
    batches: Batches,
    recipe: Recipe,
    sizes: Architecture,
    *,
    seed: int,
    settings: Sequence[Any],
    device: torch.device,
    checkpoint: str | PathLike[str] | None,
    progress: Progress | None,
    member: int = 0,
    members: int = 1,
) -> tuple[Network, State]:
    """Train a new network on batches, or one that a checkpoint holds.

    Args:
        material: What it learns from, if not all of it.
        batches: Where batches come from.
        recipe: How to train.
        sizes: The network's architecture.
        seed: Seed of the weights.
        settings: What the batches depend on besides; another checkpoint is refused by it.
        device: Where the batches are, and the network will be.
        checkpoint: File to save to and to resume from.
        progress: Called about every half second.
        member: Which member of an ensemble it is, from 0, and which part of the checkpoint its.
        members: How many there are.

    Raises:
        BadValue: The loss stayed non-finite, or the checkpoint is of another run.
    """
    network = build_network(sizes, torch_seed(seed, "weights"))
    network.adapt(*_some(material), to_tensor(material.standardizer.zero))
    network.to(device)

    def loss(batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        log_q: Tensor = network(*batch)
        return -log_q

    with _dividing(material.summary, device) as divide:
        state = train(
            network,
            loss,
            batches,
            recipe,
            divide=divide,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            identity=_identity(material, seed, *settings, recipe, sizes),
            progress=progress,
            member=member,
            members=members,
        )
    network.eval().requires_grad_(False)
    return network, state


def _some(material: Material) -> tuple[Tensor, Tensor]:
    """Training rows as a network sees them."""
    bank, rows = material.bank, material.training[:_USUAL]
    values = observations(bank, rows, material.summary)
    flat = torch.empty(len(values), material.standardizer.features, dtype=torch.float32)
    standardise(values, material.standardizer, out=flat.numpy())
    n = np.ones_like(rows) if material.summary == "identity" else bank.n[rows]
    return pad_sequence(flat.split(n.tolist()), batch_first=True), torch.from_numpy(n)


def posterior_of(
    material: Material, networks: Sequence[Network], sizes: Architecture, history: dict[str, Any]
) -> NeuralPosterior:
    """The posterior of one or several trained networks, which knows what simulations look like.

    It is on the CPU, wherever they were trained.
    """
    bank = material.bank
    encoder = Encoder(bank.data, material.summary, material.standardizer, tuple(networks))
    reference, held_out = (
        _features(encoder, bank, part[:_SAMPLE])
        for part in (material.training, material.validation)
    )
    widths = len(networks) * sizes.width, encoder.statistics
    return NeuralPosterior(
        prior=bank.prior,
        data=bank.data,
        simulator=bank.simulator,
        architecture=sizes,
        encoder=encoder.on(CPU),
        familiarity=fit_familiarity(reference, held_out, widths),
        history=history,
        model=bank.model,
    )


def _features(encoder: Encoder, bank: Bank, rows: IntArray) -> Array:
    """What familiarity sees of some rows, shape (rows, f), a chunk of rows at a time."""
    chunks = bank.chunks(rows, observations=_CHUNK)
    return np.concatenate([encoder.describe(x, encoder.summarise(x)) for x in chunks])


def history_of(material: Material, *, seed: int, batch_size: int, recipe: Recipe) -> dict[str, Any]:
    """What the posterior was made of and how, for its file."""
    bank, training = material.bank, material.training
    return {
        "simulations": len(bank),
        "bank_seed": bank.seed,
        "training_rows": len(training),
        "validation_rows": len(material.validation),
        "context": bank.context_range(training),
        "seed": seed,
        "batch_size": batch_size,
        **asdict(recipe),
    }


def trace_of(state: State) -> dict[str, Any]:
    """How the training of one network went, for the file of the posterior."""
    return {
        "steps_done": state.step,
        "best_step": state.best_step,
        "validation_loss": state.best,
        "evaluations": [
            [value if math.isfinite(value) else None for value in entry]
            for entry in state.evaluations
        ],
    }


@contextmanager
def _dividing(summary: str, device: torch.device) -> Iterator[Divide]:
    """How to work on batches in the block, on as many threads as are of use.

    A step on datasets of one row is too little work to share: a second thread saves a twentieth of
    the time on an idle machine, and triples it where another process keeps the core busy.
    """
    threads = torch.get_num_threads()
    if summary == "identity":
        torch.set_num_threads(1)
        try:
            yield whole
        finally:
            torch.set_num_threads(threads)
    elif threads == 1 or lags(device):
        yield whole
    else:
        with halves() as divide:
            yield divide


def _expect_suitable(bank: Bank, summary: str) -> None:
    low, high = bank.data.n_range
    advice = f"choose another summary, such as {default_summary(bank.data)!r}"
    if summary == "identity" and low < high:
        wanted = "a fixed number of observations for the summary 'identity'"
        raise BadValue(wanted, f"{low} to {high}", advice)
    if not isinstance(bank.data, NEEDED.get(summary, object)):
        wanted = f"data laid out as a {NEEDED[summary].__name__} for the summary {summary!r}"
        raise BadValue(wanted, type(bank.data).__name__, advice)


def _split(rows: IntArray, share: float, seed: int) -> tuple[IntArray, IntArray]:
    """Training and validation rows; at most twice _SAMPLE of the latter, as each costs time."""
    shuffled = numpy_stream(seed, "split").permutation(rows)
    held_out = min(max(10, round(share * len(rows))), 2 * _SAMPLE)
    return shuffled[held_out:], shuffled[:held_out]


def _standardise(
    bank: Bank, training: IntArray, summary: str, encoding: Encoding | None
) -> AnyStandardizer:
    """Learn the standardisation from training rows, and name the columns that never change."""
    values = _sample(bank, training[:_SAMPLE], summary)
    constant = constant_columns(values, row_columns(bank.data, summary))
    constant = [name for name in constant if name not in bank.header.get("context", {})]
    if constant:
        listed = ", ".join(constant[:5]) + (", ..." if len(constant) > 5 else "")
        warnings.warn(
            f"Constant in all simulations, and so without information: {listed}.",
            UserWarning,
            stacklevel=4,
        )
    missable = row_missable(bank.data, summary)
    if encoding is not None:
        if len(missable):
            do = "impute them in the simulator, or choose a summary network by name"
            raise BadValue("data without missing values for an encoder", "a layout with some", do)
        columns = values.shape[1] - bank.context.shape[1]
        weights, biases, activation = layers_of(encoding, columns)
        codes = encode(values, weights, biases, activation)
        return EncodedStandardizer(weights, biases, activation, fit_standardizer(codes))
    if isinstance(bank.data, Matrix) and summary != "identity":
        k = len(bank.data.columns)
        cells = fit_standardizer(values[:, :k].reshape(-1, 1), missable[:1]).repeated(k)
        context = values[:, k:]
        return cells.beside(fit_standardizer(context)) if context.size else cells
    return fit_standardizer(values, missable)


def _sample(bank: Bank, rows: IntArray, summary: str) -> Array:
    """Observations of some rows, every k-th one of all if they are many, shape (m, inputs)."""
    total = len(rows) if summary == "identity" else int(bank.n[rows].sum())
    every, done, parts = max(1, total // _ENOUGH), 0, []
    for chunk in np.split(rows, range(_READ, len(rows), _READ)):
        values = observations(bank, chunk, summary)
        parts.append(values[-done % every :: every].copy())  # or all of them would stay
        done += len(values)
    return np.concatenate(parts)


def _identity(material: Material, *settings: Any) -> str:
    """A digest of all that the trained weights depend on."""
    bank = material.bank
    plain = [asdict(part) if hasattr(part, "__dataclass_fields__") else part for part in settings]
    text = json.dumps([bank.header, plain], sort_keys=True)
    digest = hashlib.sha256(text.encode())
    digest.update(material.training.tobytes())
    digest.update(material.validation.tobytes())
    digest.update(bank.theta.tobytes())
    # Two simulators of one name have the same parameters; what tells their data apart is this.
    for array in material.standardizer.arrays().values():
        digest.update(array.tobytes())
    return digest.hexdigest()
