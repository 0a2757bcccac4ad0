"""Train a posterior on a bank: `fit` minimises the mean of −log q(u | f(x)) over simulated pairs.

The minimum over all q is the posterior itself, for every x at once (Papamakarios & Murray 2016,
arXiv:1605.06376), and the features f that reach it are sufficient (Radev et al. 2020,
arXiv:2003.06281): summary network and flow are learned jointly, by one loss.
"""

import hashlib
import json
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sbi_kit.bank import Bank, usable_rows
from sbi_kit.batches import BankBatches
from sbi_kit.checks import BadType, BadValue, expect_integer, expect_name, expect_number
from sbi_kit.context import names_of
from sbi_kit.contracts import IntArray
from sbi_kit.data import Matrix
from sbi_kit.encoder import Encoder, as_rows, row_columns, row_missable
from sbi_kit.familiarity import fit_familiarity
from sbi_kit.network import Architecture, build_network
from sbi_kit.neural import NeuralPosterior
from sbi_kit.seeds import numpy_stream, torch_seed
from sbi_kit.summary import NEEDED, SUMMARIES, default_summary
from sbi_kit.summary.standardize import Standardizer, constant_columns, fit_standardizer
from sbi_kit.train import Progress, Recipe, State, train

_FEWEST, _FEW = 50, 1_000  # simulations without which fitting makes no sense, or little
_STEPS = 20_000  # at most, unless time is limited
_EVALUATIONS = 25  # of the validation split, at least, if steps are few
_OFTEN = 40  # steps between two of them, at least, if they are many
_TOGETHER, _BATCH = 15_000, (64, 256)  # observations in a batch, if that is as many datasets
_WIDE, _NARROW, _PLENTY = 128, 64, 30_000  # widths, and rows for the wide one
_SAMPLE = 5_000  # simulations that stand for all where statistics are taken


def fit(
    bank: Bank,
    *,
    seed: int,
    summary: str | None = None,
    coupling: str = "spline",
    steps: int | None = None,
    seconds: float | None = None,
    batch_size: int | None = None,
    learning_rate: float = 5e-3,
    patience: int = 10,
    validation_share: float = 0.1,
    width: int | None = None,
    hidden: int = 64,
    blocks: int = 3,
    bad_share: float = 0.2,
    checkpoint: str | PathLike[str] | None = None,
    progress: Progress | None = None,
) -> NeuralPosterior:
    """Learn summary network and flow jointly from a bank of simulations.

    Args:
        bank: The simulations.
        seed: Seed of the split, the weights and the order of batches; same seed, same posterior.
        summary: "identity", "deep_set", "set_transformer", "two_way", "convolution", "gru",
            "gru_both_ways" or "lstm"; None takes what suits the layout.
        coupling: How a coupling of the flow bends parameters: "spline", or "affine".
        steps: Gradient steps at most; None allows 20,000, or any number within `seconds`. Training
            ends earlier where validation stops improving.
        seconds: Time to train at most, whether in one go or resumed; None does not limit it.
        batch_size: Simulations per step; None takes as many as have 15,000 observations, from 64 to
            256, and a fortieth of the bank at most, if that is 32 or more.
        learning_rate: The highest rate of the schedule.
        patience: Evaluations without improvement before the rate falls to zero and training ends.
        validation_share: Share of the simulations kept for validation.
        width: Size of the features; None makes it 128, or 64 where fewer than 30,000 simulations of
            fixed size would be learned by heart.
        hidden: Width of the networks inside summary and flow.
        blocks: Coupling blocks of the flow.
        bad_share: Largest tolerable share of simulations that failed, hold inf, or NaN where the
            layout lets nothing be missing.
        checkpoint: File to save to while training and to resume from after a kill.
        progress: Called about every half second with a `train.Report`.

    Returns:
        The posterior, for any dataset of the bank's layout.

    Raises:
        BadValue, BadType, UnknownName: An argument is out of its range, the bank holds too few
            usable simulations, or the loss stayed non-finite.

    Warns:
        UserWarning: Some simulations are unusable, few, or have a constant column.
    """
    if not isinstance(bank, Bank):
        advice = "pass what simulate or Bank.open returned"
        raise BadType("a bank of simulations", type(bank).__name__, advice)
    share = expect_number("validation_share", validation_share, low=0.01, high=0.5)
    name = default_summary(bank.data) if summary is None else summary
    expect_name("summary network", name, SUMMARIES)
    rows = _enough(usable_rows(bank, bad_share=bad_share))
    _expect_suitable(bank, name)
    training, validation = _split(rows, share, seed)
    standardizer = _standardise(bank, training, name)
    if batch_size is None:
        each = 1.0 if name == "identity" else float(bank.n[rows].mean())
        most = int(np.clip(_TOGETHER / each, *_BATCH))
        batch_size = int(np.clip(len(rows) // 40, 32, most))
    batches = BankBatches(
        bank,
        training,
        validation,
        summary=name,
        standardizer=standardizer,
        batch_size=expect_integer("batch_size", batch_size, low=1),
        seed=seed,
    )
    recipe = _recipe(
        steps,
        seconds,
        learning_rate,
        patience,
        # An evaluation takes a third of the time of as many steps.
        evaluate_every=max(_OFTEN, round(3 * len(validation) / batches.batch_size)),
    )
    cells = isinstance(bank.data, Matrix) and name != "identity"
    architecture = Architecture(
        summary=name,
        inputs=standardizer.features,
        parameters=len(bank.prior.names),
        longest=bank.data.n_range[1],
        columns=len(bank.data.columns) if cells else 1,
        context=standardizer.features_from(len(bank.data.columns)) if cells else 0,
        coupling=coupling,
        width=_width(name, len(training), len(bank.prior.names)) if width is None else width,
        hidden=hidden,
        blocks=blocks,
    )
    network = build_network(architecture, torch_seed(seed, "weights"))

    def loss(batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        log_q: Tensor = network(*batch)
        return -log_q

    with _threads(1 if name == "identity" else torch.get_num_threads()):
        state = train(
            network,
            loss,
            batches,
            recipe,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            identity=_identity(
                bank, rows, standardizer, seed, batch_size, share, recipe, architecture
            ),
            progress=progress,
        )
    network.eval().requires_grad_(False)
    encoder = Encoder(bank.data, name, standardizer, network)
    reference, held_out = (
        encoder.summarise(bank.take(part[:_SAMPLE])[1]).numpy() for part in (training, validation)
    )
    return NeuralPosterior(
        prior=bank.prior,
        data=bank.data,
        simulator=bank.simulator,
        architecture=architecture,
        encoder=encoder,
        familiarity=fit_familiarity(reference, held_out),
        history=_history(bank, training, validation, seed, batch_size, recipe, state),
        model=bank.model,
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Use that many threads in the block.

    A step on datasets of one row is too little work to share: a second thread saves a twentieth of
    the time on an idle machine, and triples it where another process keeps the core busy.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _enough(rows: IntArray) -> IntArray:
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


def _standardise(bank: Bank, training: IntArray, summary: str) -> Standardizer:
    """Learn the standardisation from training rows, and name the columns that never change."""
    x = as_rows(bank.take(training[:_SAMPLE])[1], bank.data, summary)
    values = x.values[x.mask]
    constant = constant_columns(values, row_columns(bank.data, summary))
    constant = [name for name in constant if name not in bank.header.get("context", {})]
    if constant:
        listed = ", ".join(constant[:5]) + (", ..." if len(constant) > 5 else "")
        warnings.warn(
            f"Constant in all simulations, and so without information: {listed}.",
            UserWarning,
            stacklevel=3,
        )
    missable = row_missable(bank.data, summary)
    if isinstance(bank.data, Matrix) and summary != "identity":
        k = len(bank.data.columns)
        cells = fit_standardizer(values[:, :k].reshape(-1, 1), missable[:1]).repeated(k)
        context = values[:, k:]
        return cells.beside(fit_standardizer(context)) if context.size else cells
    return fit_standardizer(values, missable)


def _width(summary: str, rows: int, d: int) -> int:
    """The size of the features that suits so many simulations and d parameters."""
    return _NARROW if summary == "identity" and rows < _PLENTY and 4 * d <= _NARROW else _WIDE


def _recipe(
    steps: int | None,
    seconds: float | None,
    learning_rate: float,
    patience: int,
    *,
    evaluate_every: int,
) -> Recipe:
    if steps is None:
        most = _STEPS if seconds is None else sys.maxsize
    else:
        most = expect_integer("steps", steps, low=1)
    return Recipe(
        steps=most,
        seconds=seconds,
        learning_rate=learning_rate,
        evaluate_every=min(evaluate_every, max(1, most // _EVALUATIONS)),
        patience=patience,
    )


def _identity(bank: Bank, rows: IntArray, standardizer: Standardizer, *settings: Any) -> str:
    """A digest of all that the trained weights depend on."""
    plain = [asdict(part) if hasattr(part, "__dataclass_fields__") else part for part in settings]
    text = json.dumps([bank.header, plain], sort_keys=True)
    digest = hashlib.sha256(text.encode())
    digest.update(rows.tobytes())
    digest.update(bank.theta.tobytes())
    # Two simulators of one name have the same parameters; what tells their data apart is this.
    for array in standardizer.arrays().values():
        digest.update(array.tobytes())
    return digest.hexdigest()


def _history(
    bank: Bank,
    training: IntArray,
    validation: IntArray,
    seed: int,
    batch_size: int,
    recipe: Recipe,
    state: State,
) -> dict[str, Any]:
    """What the posterior was made of, for its file."""
    known = bank.context[training].T
    context = zip(names_of(bank.data), known.min(1).tolist(), known.max(1).tolist(), strict=True)
    return {
        "simulations": len(bank),
        "bank_seed": bank.seed,
        "training_rows": len(training),
        "validation_rows": len(validation),
        "context": {name: [low, high] for name, low, high in context},
        "seed": seed,
        "batch_size": batch_size,
        **asdict(recipe),
        "steps_done": state.step,
        "best_step": state.best_step,
        "validation_loss": state.best,
        "evaluations": [
            [value if math.isfinite(value) else None for value in entry]
            for entry in state.evaluations
        ],
    }
