"""The one training loop: any module, any loss, any source of batches.

AdamW minimises the mean loss at a rate that warms up, falls like one over the square root of the
steps, which suits trainings of any length (Zhai et al. 2022, arXiv:2106.04560), and at last falls
to zero, the cooling: along a line, or faster at first (Hägele et al. 2024, arXiv:2405.18392). What
is judged and kept is an average of the weights over recent steps (Polyak & Juditsky 1992), which is
free of the noise of a high rate; running statistics of a batch norm are averaged with them. At
regular steps it is evaluated on the whole validation split; when that no longer improves, the loop
returns to the best average and cools from there for a while, else it cools through the second half
of the budget of steps or seconds. So the length of a training follows from the data, and none ends
at a high rate.

Batches are a pure function of the step, so a run that is killed goes on from its checkpoint and
ends with the same weights as one that was not.

The losses of the steps are looked at when an evaluation is due, so that a GPU need not be waited
for; on a CPU, and once a loss was not finite, after each step. Where one was not, whatever came of
it is dropped: training goes on from the best weights at a lower rate.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from sbi_kit.adamw import AdamW
from sbi_kit.checkpoint import read_checkpoint, write_checkpoint
from sbi_kit.checks import BadValue, expect_integer, expect_number
from sbi_kit.device import device_of, lags
from sbi_kit.halves import Divide, whole

Loss: TypeAlias = Callable[[Any], Tensor]

_WARM_UP = 100  # steps in which the rate rises, or a tenth of the budget if that is less
_HALVED = 1_500  # steps after which the rate is half the highest
_COOLING = 1.0  # length of a cooling, as a share of the steps before it,
_STALLED = 0.25  # or of those to the best weights, where validation stopped improving,
_SHORTEST = 400  # and its least length, in steps, but for half of those before it
_WINDOW = 16  # the average is over about the last sixteenth of the steps so far
_CUT = 0.3  # factor on the rate after a loss that is not finite


class Batches(Protocol):
    """A source of batches."""

    def training(self, step: int) -> Any:
        """The batch of one step; the same step always gives the same batch."""

    def validation(self) -> Iterator[Any]:
        """The whole validation split."""

    def rows(self, step: int) -> list[int]:
        """Which rows the batch of a step holds, for messages."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        steps: Gradient steps at most.
        seconds: Time at most, all calls of a resumed training together; None does not limit it.
        learning_rate: The highest rate.
        evaluate_every: Steps between two evaluations of the validation split.
        patience: Evaluations without improvement before the cooling.
        weight_decay: AdamW's decay.
        clip: Largest norm of a gradient.
        fall: How the rate falls in the cooling: what is left of it is one less this power of the
            share that is done. One is a line; a half falls fast at first, and spends longer at low
            rates, which is better for what is learned by and by, and worse for what a network comes
            upon late, such as a parity.
    """

    steps: int
    seconds: float | None = None
    learning_rate: float = 5e-3
    evaluate_every: int = 100
    patience: int = 10
    weight_decay: float = 0.01
    clip: float = 5.0
    fall: float = 1.0

    def __post_init__(self) -> None:
        for name in ("steps", "evaluate_every", "patience"):
            expect_integer(name, getattr(self, name), low=1)
        for name in ("learning_rate", "clip", "fall"):
            expect_number(name, getattr(self, name), low=0, open_low=True)
        expect_number("weight_decay", self.weight_decay, low=0)
        if self.seconds is not None:
            expect_number("seconds", self.seconds, low=0, open_low=True)

    def cooling(self, steps: int, *, stalled: bool) -> int:
        """Length of a cooling after that many steps."""
        share = _STALLED if stalled else _COOLING
        return max(1, round(share * steps), min(_SHORTEST, steps // 2))

    def spent(self, state: "State") -> bool:
        """Whether the budget leaves no more than a cooling."""
        cooling = self.cooling(state.step, stalled=False)
        return self.late(state.seconds) or state.step + cooling >= self.steps

    def late(self, seconds: float) -> bool:
        """Whether, after that time, what is left of it is no more than a cooling's."""
        return self.seconds is not None and seconds * (1 + _COOLING) >= self.seconds


@dataclass(frozen=True)
class State:
    """Where the loop is; all that must be remembered beside weights and optimizer.

    Attributes:
        step: Steps done.
        end: Step at which the loop stops.
        seconds: Time spent, up to the last evaluation.
        cooling_from: Step at which the cooling began, or None.
        cooling_rate: Learning rate at which it began.
        cooling_since: Time spent until then, or None.
        cut: Factor on the rate, below one after a loss that was not finite.
        best: Lowest validation loss.
        best_step: Where it was reached.
        evaluations: One (step, mean training loss since the last, validation loss) each.
    """

    step: int
    end: int
    seconds: float = field(default=0.0, compare=False)  # no two runs take the same
    cooling_from: int | None = None
    cooling_rate: float = 0.0
    cooling_since: float | None = field(default=None, compare=False)
    cut: float = 1.0
    best: float = math.inf
    best_step: int = 0
    evaluations: tuple[tuple[int, float, float], ...] = ()

    def stalled(self, recipe: Recipe) -> bool:
        """Whether validation has not improved for too long."""
        return self.step - self.best_step >= recipe.patience * recipe.evaluate_every

    def learning_rate(self, recipe: Recipe) -> float:
        """The rate of the next step."""
        if self.cooling_from is not None:
            done = (self.step - self.cooling_from) / (self.end - self.cooling_from)
            return self.cooling_rate * (1 - math.pow(done, recipe.fall))
        warm_up = max(1, min(_WARM_UP, recipe.steps // 10))
        if self.step < warm_up:
            return self.cut * recipe.learning_rate * (self.step + 1) / warm_up
        slower = math.sqrt(_HALVED / (_HALVED + 3 * (self.step - warm_up)))
        return self.cut * recipe.learning_rate * slower


@dataclass(frozen=True)
class Report:
    """What a progress callback is told.

    Attributes:
        step: Steps done.
        steps: Steps at most, as far as is known.
        loss: Mean training loss since the last evaluation.
        validation: Latest validation loss, NaN before the first.
        rate: Steps per second.
        seconds_left: Time left at that rate.
        member: Which member of an ensemble is trained, from 0; all of the above is about it alone.
        members: How many there are.
    """

    step: int
    steps: int
    loss: float
    validation: float
    rate: float
    seconds_left: float
    member: int = 0
    members: int = 1


Progress: TypeAlias = Callable[[Report], None]


@dataclass
class _Run:
    """The moving parts of one call of `train`."""

    module: nn.Module
    device: torch.device
    optimizer: AdamW
    loss: Loss
    batches: Batches
    recipe: Recipe
    divide: Divide
    state: State
    weights: dict[str, Tensor]  # and running statistics, which go with them
    average: dict[str, Tensor] = field(default_factory=dict)  # of the weights over recent steps
    best: dict[str, Tensor] = field(default_factory=dict)
    started: float = 0.0  # when it began, if it had not been interrupted
    unseen: list[Tensor] = field(default_factory=list)  # loss and norm of steps not looked at yet
    running: float = 0.0  # sum of training losses since the last evaluation, as far as seen
    counted: int = 0


def train(
    module: nn.Module,
    loss: Loss,
    batches: Batches,
    recipe: Recipe,
    *,
    divide: Divide = whole,
    checkpoint: Path | None = None,
    identity: str = "",
    progress: Progress | None = None,
    member: int = 0,
    members: int = 1,
) -> State:
    """Train a module in place, on the device where it is, and leave it with its best weights.

    Args:
        module: What to train.
        loss: Maps a batch to one loss per row, shape (rows,).
        batches: Where batches come from, on the device of the module.
        recipe: How to train.
        divide: How to work on a batch: by parts only if to call the module changes nothing in it,
            as it does in a batch norm, and draws nothing.
        checkpoint: File to resume from and to save to at every evaluation.
        identity: Says what is trained on what; a checkpoint of another identity is refused.
        progress: Called about every half second.
        member: Which of several trainings this is, from 0, and which part of the checkpoint its.
        members: How many trainings there are, for the progress.

    Returns:
        The final state, with the history of losses.

    Raises:
        BadValue: The loss stayed non-finite after the rate was cut, with the batch's rows; no
            validation loss was finite; or the checkpoint is of another run.
    """
    optimizer = AdamW(module, decay=recipe.weight_decay)
    state = State(step=0, end=recipe.steps)
    weights = {k: v for k, v in module.state_dict().items() if v.is_floating_point()}
    run = _Run(module, device_of(module), optimizer, loss, batches, recipe, divide, state, weights)
    if checkpoint is not None:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        found = read_checkpoint(checkpoint, part=member)
        if found is not None:
            _resume(run, *found, checkpoint, identity)
    if not run.best:
        run.best, run.average = _copy_weights(module), _copy_weights(module)
    run.started = time.monotonic() - run.state.seconds
    speed = _Speed(run.state.step)
    module.train()
    while run.state.step < run.state.end:
        _step(run)
        due = _due(run)
        if due or run.state.cut < 1 or not lags(run.device):
            _look(run)
        if due:
            run.state = replace(run.state, seconds=time.monotonic() - run.started)
            _evaluate(run)
            if checkpoint is not None:
                _save(run, checkpoint, identity, member)
        if progress is not None and (due or speed.due()):
            progress(replace(speed.report(run), member=member, members=members))
    if not math.isfinite(run.state.best):
        raise BadValue(
            "a finite validation loss",
            f"none in {len(run.state.evaluations)} evaluations",
            "look at the simulations for extreme values, or lower learning_rate",
        )
    module.load_state_dict(run.best)
    optimizer.release()
    module.eval()
    return run.state


def _due(run: _Run) -> bool:
    """Whether to evaluate: at regular steps, at the end, and when it is time to cool."""
    state, recipe = run.state, run.recipe
    if state.step % recipe.evaluate_every == 0 or state.step == state.end:
        return True
    return state.cooling_from is None and recipe.late(time.monotonic() - run.started)


def _step(run: _Run) -> None:
    @torch.enable_grad()  # whatever the caller's mode
    def differentiate(share: float, part: Any) -> tuple[Tensor, Tensor]:
        loss = share * run.loss(part).mean()
        return loss.detach(), run.optimizer.gradient(loss)

    parts = run.divide(differentiate, run.batches.training(run.state.step))
    losses, gradients = zip(*parts, strict=True)
    run.optimizer.take(*gradients)
    run.unseen += [torch.stack(losses).sum(), run.optimizer.clip(run.recipe.clip)]
    run.optimizer.step(run.state.learning_rate(run.recipe))
    _average(run)
    run.state = replace(run.state, step=run.state.step + 1)


def _look(run: _Run) -> None:
    """Read the losses since the last look, all at once, and recover if one was not finite."""
    seen = torch.stack(run.unseen).view(-1, 2).cpu().tolist()
    run.unseen.clear()
    for value, norm in seen:
        if not (math.isfinite(value) and math.isfinite(norm)):
            _recover(run, value)
            return
        run.running += value
        run.counted += 1


@torch.no_grad()
def _average(run: _Run) -> None:
    """Move the average towards the weights, less and less as training goes on."""
    share = _WINDOW / (run.state.step + _WINDOW)
    averages = [run.average[name] for name in run.weights]
    torch._foreach_lerp_(averages, list(run.weights.values()), share)


def _return(run: _Run) -> None:
    """Go back to the best weights."""
    run.module.load_state_dict(run.best)
    run.average = _copy_weights(run.module)


def _recover(run: _Run, value: float) -> None:
    """Back to the last good weights at a lower rate; once."""
    if run.state.cut < 1:  # and so each step was looked at
        step = run.state.step - 1
        rows = run.batches.rows(step)
        shown = ", ".join(map(str, rows[:8])) + (", ..." if len(rows) > 8 else "")
        raise BadValue(
            "a finite loss, the learning rate having been cut once already",
            f"{value} at step {step} in the batch of rows {shown}",
            "look at these simulations for extreme values, or lower learning_rate",
        )
    _return(run)
    run.optimizer.forget()
    cooling_rate = run.state.cooling_rate * _CUT
    run.state = replace(run.state, cut=_CUT, cooling_rate=cooling_rate)


@torch.no_grad()
def _evaluate(run: _Run) -> None:
    """Validation loss, best weights, and the decision to cool."""

    @torch.no_grad()  # a mode is a thread's own
    def losses_of(_: float, part: Any) -> Tensor:
        return run.loss(part)

    latest = _copy_weights(run.module)
    run.module.load_state_dict(run.average)
    run.module.eval()
    sums, rows = [], 0
    for batch in run.batches.validation():
        for losses in run.divide(losses_of, batch):
            sums.append(losses.double().sum())
            rows += len(losses)
    total = sum(torch.stack(sums).cpu().tolist())
    run.module.train()
    state = run.state
    validation = total / rows if math.isfinite(total) else math.inf
    training = run.running / run.counted if run.counted else math.nan
    run.running, run.counted = 0.0, 0
    state = replace(state, evaluations=(*state.evaluations, (state.step, training, validation)))
    if validation < state.best:
        state = replace(state, best=validation, best_step=state.step)
        run.best = _copy_weights(run.module)
    run.module.load_state_dict(latest)
    if state.cooling_from is None and state.step < state.end:
        if state.stalled(run.recipe):
            _return(run)
            state = _cooled(state, run.recipe, run.recipe.cooling(state.best_step, stalled=True))
        elif run.recipe.spent(state):
            state = _cooled(state, run.recipe, run.recipe.cooling(state.step, stalled=False))
    run.state = _in_time(state, run.recipe)


def _cooled(state: State, recipe: Recipe, steps: int) -> State:
    """The beginning of a cooling of so many steps."""
    return replace(
        state,
        cooling_from=state.step,
        cooling_rate=state.learning_rate(recipe),
        cooling_since=state.seconds,
        end=min(state.end, state.step + steps),
    )


def _in_time(state: State, recipe: Recipe) -> State:
    """Cut a cooling that would not be done in time to the steps that can be."""
    if recipe.seconds is None or state.cooling_from is None or state.cooling_since is None:
        return state
    done, taken = state.step - state.cooling_from, state.seconds - state.cooling_since
    if not done or not taken:
        return state
    left = max(1, int((recipe.seconds - state.seconds) * done / taken))
    return replace(state, end=min(state.end, state.step + left))


def _copy_weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _save(run: _Run, path: Path, identity: str, part: int) -> None:
    """Weights, their average, the best, the optimizer's moments and the state, in one part."""
    tensors = {f"best.{name}": tensor for name, tensor in run.best.items()}
    if run.state.step < run.state.end:  # of what is done, others keep no more than they need
        tensors |= {f"module.{name}": tensor for name, tensor in run.module.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in run.average.items()}
        tensors |= {f"optimizer.{k}": tensor for k, tensor in run.optimizer.state().items()}
    notes = {"identity": identity, "state": vars(run.state)}
    write_checkpoint(path, tensors, notes, part=part)


def _resume(
    run: _Run, tensors: dict[str, Tensor], notes: dict[str, Any], path: Path, identity: str
) -> None:
    if notes["identity"] != identity:
        raise BadValue(
            "the checkpoint of this very run",
            f"{path} of other data, seed or settings",
            "remove it, or fit elsewhere",
        )
    history = tuple(tuple(entry) for entry in notes["state"].pop("evaluations"))
    run.state = State(**notes["state"], evaluations=history)
    run.best, run.average = (
        {name: tensor.to(run.device) for name, tensor in _part(tensors, part).items()}
        for part in ("best.", "average.")
    )
    if run.state.step >= run.state.end:
        return
    run.module.load_state_dict(_part(tensors, "module."))
    run.optimizer.load(_part(tensors, "optimizer."))


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


class _Speed:
    """Steps per second since the start, and when to report next."""

    def __init__(self, step: int) -> None:
        self.first = step
        self.started = self.reported = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self.reported > 0.5

    def report(self, run: _Run) -> Report:
        self.reported = time.monotonic()
        state = run.state
        rate = (state.step - self.first) / max(1e-9, self.reported - self.started)
        last = state.evaluations[-1] if state.evaluations else (0, math.nan, math.nan)
        left: float = state.end - state.step
        if run.recipe.seconds is not None:
            seconds = run.started + run.recipe.seconds - self.reported
            left = min(left, rate * max(0.0, seconds))
        return Report(
            step=state.step,
            steps=state.step + round(left),
            loss=run.running / run.counted if run.counted else last[1],
            validation=last[2],
            rate=rate,
            seconds_left=left / max(1e-9, rate),
        )
