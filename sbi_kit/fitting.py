"""Train a posterior on a bank: `fit` minimises the mean of −log q(u | f(x)) over simulated pairs.

The minimum over all q is the posterior itself, for every x at once (Papamakarios & Murray 2016,
arXiv:1605.06376), and the features f that reach it are sufficient (Radev et al. 2020,
arXiv:2003.06281): summary network and flow are learned jointly, by one loss.

Members of an ensemble learn one after another, each validated on another share of the rows and
trained on the rest (cross-validation), so that together they have learned from every simulation.
They differ in the weights they start from, too. The first is what a fit of one member would be.
"""

from collections.abc import Sequence
from os import PathLike
from typing import Any

from sbi_kit.bank import Bank, usable_rows
from sbi_kit.batches import BankBatches
from sbi_kit.checks import BadType, expect_integer, expect_number
from sbi_kit.device import expect_device
from sbi_kit.learning import (
    architecture_for,
    default_batch_size,
    default_members,
    default_steps,
    enough,
    fold,
    history_of,
    learn,
    observations_in,
    posterior_of,
    prepare,
    recipe_for,
    summary_for,
    trace_of,
)
from sbi_kit.neural import NeuralPosterior
from sbi_kit.seeds import torch_seed
from sbi_kit.summary.encoded import Encoding, is_encoding
from sbi_kit.train import Progress, State


def fit(
    bank: Bank,
    *,
    seed: int,
    summary: str | Encoding | None = None,
    coupling: str = "spline",
    steps: int | None = None,
    seconds: float | None = None,
    members: int | None = None,
    batch_size: int | None = None,
    learning_rate: float = 5e-3,
    patience: int = 10,
    validation_share: float = 0.1,
    width: int | None = None,
    hidden: int = 64,
    blocks: int = 3,
    bad_share: float = 0.2,
    device: str = "cpu",
    checkpoint: str | PathLike[str] | None = None,
    progress: Progress | None = None,
) -> NeuralPosterior:
    """Learn summary network and flow jointly from a bank of simulations.

    Args:
        bank: The simulations.
        seed: Seed of the split, the weights and the order of batches; same seed, same posterior,
            on as many threads.
        summary: "identity", "deep_set", "deep_set_twice", "set_transformer", "two_way",
            "convolution", "gru", "gru_twice", "gru_both_ways" or "lstm"; or a model of
            `sbi_kit.latent` fitted to `bank.table()`, for datasets of a fixed size, which stays as
            it is; None takes what suits the layout.
        coupling: How a coupling of the flow bends parameters: "spline", or "affine".
        steps: Gradient steps at most; None allows any number within `seconds`, else 6,000, or five
            passes through the simulations if these are more. Training ends earlier where
            validation stops improving.
        seconds: Time to train at most, whether in one go or resumed; None does not limit it. The
            members of an ensemble have equal parts of it.
        members: Networks to train; the posterior is the equal mixture of theirs. None trains five
            on fewer than 3,000 simulations, else one.
        batch_size: Simulations per step; None takes as many as have 15,000 observations, from 64 to
            256, and a fortieth of the bank at most, if that is 32 or more.
        learning_rate: The highest rate of the schedule.
        patience: Evaluations without improvement before the rate falls to zero and training ends.
        validation_share: Share of the simulations kept for validation.
        width: Size of the features; None makes it 128, or 64 for fewer than 30,000 simulations of
            fixed size.
        hidden: Width of the networks inside summary and flow.
        blocks: Coupling blocks of the flow.
        bad_share: Largest tolerable share of simulations that failed, hold inf, or NaN where the
            layout lets nothing be missing.
        device: Where to train: "cpu", or "cuda" or "cuda:1" for a GPU, which rounds otherwise, and
            not always alike; the same bytes from the same seed are the CPU's. The posterior is on
            the CPU; its method `on` moves it.
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
    if members is not None:
        expect_integer("members", members, low=1)
    if seconds is not None:
        expect_number("seconds", seconds, low=0, open_low=True)
    place = expect_device(device)
    name = summary_for(bank.data, summary)
    rows = enough(usable_rows(bank, bad_share=bad_share))
    count = default_members(len(rows)) if members is None else members
    encoding = summary if is_encoding(summary) else None
    material = prepare(bank, rows, summary=name, share=share, seed=seed, encoding=encoding)
    if batch_size is None:
        batch_size = default_batch_size(len(rows), observations_in(bank.data, name))
    expect_integer("batch_size", batch_size, low=1)
    if steps is None and seconds is None:
        steps = default_steps(len(material.training), batch_size)
    recipe = recipe_for(
        steps,
        None if seconds is None else seconds / count,
        learning_rate=learning_rate,
        patience=patience,
        validated=len(material.validation) / min(batch_size, len(material.training)),
    )
    sizes = architecture_for(
        material,
        simulations=len(rows),
        coupling=coupling,
        width=width,
        hidden=hidden,
        blocks=blocks,
    )
    seeds = [seed, *(torch_seed(seed, "member", k) for k in range(1, count))]
    networks, states = [], []
    for member, own_seed in enumerate(seeds):
        own = fold(material, member)
        batches = BankBatches(
            bank,
            own.training,
            own.validation,
            summary=name,
            standardizer=own.standardizer,
            batch_size=batch_size,
            seed=own_seed,
            device=place,
        )
        network, state = learn(
            own,
            batches,
            recipe,
            sizes,
            seed=own_seed,
            settings=(batch_size, share),
            device=place,
            checkpoint=checkpoint,
            progress=progress,
            member=member,
            members=count,
        )
        networks.append(network)
        states.append(state)
    made = history_of(material, seed=seed, batch_size=batch_size, recipe=recipe)
    outcome = trace_of(states[0]) if count == 1 else _ensemble(states, seeds)
    return posterior_of(material, networks, sizes, made | outcome)


def _ensemble(states: Sequence[State], seeds: Sequence[int]) -> dict[str, Any]:
    """How an ensemble was trained: the steps of all, their mean loss, and each one's trace."""
    return {
        "steps_done": sum(state.step for state in states),
        "validation_loss": sum(state.best for state in states) / len(states),
        "members": [
            {"seed": seed, **trace_of(state)} for seed, state in zip(seeds, states, strict=True)
        ],
    }
