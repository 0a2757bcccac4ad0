import itertools
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sbi_kit.checkpoint import read_checkpoint, write_checkpoint
from sbi_kit.checks import BadType, BadValue
from sbi_kit.train import Recipe, State, train

WEIGHTS = torch.tensor([[1.5, -2.0, 0.5]])


class Lines:
    """Batches of a linear regression; row numbers are those of the table."""

    def __init__(self, rows=200, size=20, noise=0.0, seed=0, weights=WEIGHTS):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(rows, 3, generator=generator)
        self.y = self.x @ weights.T + 0.7 + noise * torch.randn(rows, 1, generator=generator)
        self.size, self.train_rows = size, rows // 2
        self.kill_at = None

    def training(self, step):
        if step == self.kill_at:
            raise KeyboardInterrupt
        index = self._index(step)
        return self.x[index], self.y[index]

    def validation(self):
        yield self.x[self.train_rows :], self.y[self.train_rows :]

    def rows(self, step):
        return self._index(step).tolist()

    def _index(self, step):
        generator = torch.Generator().manual_seed(1_000 + step)
        return torch.randperm(self.train_rows, generator=generator)[: self.size]


def line(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(3, 1)


def curve(seed=0, width=64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))


def squares(module):
    return lambda batch: (module(batch[0]) - batch[1]).square()[:, 0]


def weights_of(module):
    return torch.cat([weight.detach().ravel() for weight in module.parameters()])


def validation_loss(module, batches):
    with torch.no_grad():
        return torch.cat([squares(module)(batch) for batch in batches.validation()]).mean().item()


# Learning


def test_a_linear_regression_is_learned_exactly():
    module, batches = line(), Lines()
    state = train(
        module, squares(module), batches, Recipe(steps=800, learning_rate=0.05, weight_decay=0)
    )
    torch.testing.assert_close(module.weight, WEIGHTS, rtol=0, atol=1e-4)
    torch.testing.assert_close(module.bias, torch.tensor([0.7]), rtol=0, atol=1e-4)
    assert state.step == state.end == 800
    assert state.best < 1e-8
    assert not module.training


def test_history_tells_the_losses():
    module, batches = line(), Lines(noise=0.1)
    recipe = Recipe(steps=100, learning_rate=0.05, evaluate_every=30)
    state = train(module, squares(module), batches, recipe)
    assert [step for step, _, _ in state.evaluations] == [30, 60, 90, 100]
    assert state.best == min(loss for _, _, loss in state.evaluations)
    assert state.best == pytest.approx(validation_loss(module, batches), rel=1e-6)
    first, last = state.evaluations[0], state.evaluations[-1]
    assert first[1] > last[1] > 0
    assert first[2] > last[2] > 0


def test_the_mean_training_loss_is_of_the_steps_since_the_last_evaluation():
    module, batches = line(), Lines(noise=0.5)
    recipe = Recipe(steps=6, learning_rate=1e-12, evaluate_every=3, weight_decay=0)
    state = train(module, squares(module), batches, recipe)
    for start, (_, mean, _) in zip((0, 3), state.evaluations, strict=True):
        with torch.no_grad():
            each = [squares(module)(batches.training(i)).mean() for i in range(start, start + 3)]
        assert mean == pytest.approx(np.mean(each), rel=1e-5)


def test_the_best_weights_come_back():
    # Validation data follow other weights, so training leads away from them.
    module, batches = line(), Lines()
    batches.y[batches.train_rows :] *= -0.2
    seen = []

    def loss(batch):
        losses = squares(module)(batch)
        if len(losses) != batches.size:
            seen.append((losses.mean().item(), weights_of(module).clone()))
        return losses

    recipe = Recipe(steps=400, learning_rate=0.1, evaluate_every=5, patience=1_000)
    state = train(module, loss, batches, recipe)
    best, weights = min(seen, key=lambda entry: entry[0])
    assert state.best_step < 400
    assert state.best == pytest.approx(best)
    assert torch.equal(weights_of(module), weights)


def test_overfitting_stops_early_and_cools():
    module, batches = curve(), Lines(rows=40, size=20, noise=2.0)
    rates = []
    recipe = Recipe(steps=20_000, learning_rate=0.02, evaluate_every=10, patience=4, weight_decay=0)

    def progress(report):
        rates.append((report.step, report.steps))

    state = train(module, squares(module), batches, recipe, progress=progress)
    assert state.step == state.end < 5_000
    assert state.cooling_from - state.best_step >= 40 or state.best_step > state.cooling_from
    losses = [loss for _, _, loss in state.evaluations]
    assert state.best == min(losses)
    assert validation_loss(module, batches) == pytest.approx(state.best, rel=1e-5)
    assert rates[0] == (10, 20_000)
    assert rates[-1] == (state.end, state.end)
    steps_cooled = state.end - state.cooling_from
    stalled_best = max(
        s
        for s, _, loss in state.evaluations
        if s <= state.cooling_from
        and loss == min(other for t, _, other in state.evaluations if t <= state.cooling_from)
    )
    assert steps_cooled == recipe.cooling(stalled_best, stalled=True)


def test_a_cooling_is_as_long_as_the_way_there_or_a_quarter_of_it_after_a_stall():
    recipe = Recipe(steps=10_000)
    stalled = [recipe.cooling(step, stalled=True) for step in (0, 50, 800, 1_200, 4_000)]
    assert stalled == [1, 25, 400, 400, 1_000]
    assert [recipe.cooling(step, stalled=False) for step in (0, 50, 400)] == [1, 50, 400]


def test_a_training_that_improves_to_the_end_cools_in_its_second_half():
    module = line()
    recipe = Recipe(steps=100, evaluate_every=5, learning_rate=1e-3)
    state = train(module, squares(module), Lines(), recipe)
    assert state.step == 100
    assert state.cooling_from == 50


@pytest.mark.parametrize("evaluate_every", [10, 1_000])
def test_a_training_ends_when_its_time_is_spent(evaluate_every, monkeypatch):
    class Slow(Lines):
        def training(self, step):
            now[0] += 1.0
            return super().training(step)

    now = [0.0]
    monkeypatch.setattr("sbi_kit.train.time.monotonic", lambda: now[0])
    module = line()
    recipe = Recipe(steps=100_000, seconds=60.0, evaluate_every=evaluate_every, learning_rate=1e-4)
    state = train(module, squares(module), Slow(), recipe)
    assert state.cooling_from is not None
    assert (
        state.step
        == state.end
        == state.cooling_from + recipe.cooling(state.cooling_from, stalled=False)
    )
    assert 0.9 * 60 < state.seconds < 1.1 * 60


def test_a_cooling_that_is_slower_than_expected_ends_in_time(monkeypatch):
    class Slower(Lines):
        def training(self, step):
            now[0] += 1.0 if step < 30 else 1.7
            return super().training(step)

    now, rates = [0.0], []
    rate_of = State.learning_rate

    def learning_rate(state, recipe):
        rates.append(rate_of(state, recipe))
        return rates[-1]

    monkeypatch.setattr("sbi_kit.train.time.monotonic", lambda: now[0])
    monkeypatch.setattr(State, "learning_rate", learning_rate)
    module = line()
    recipe = Recipe(steps=100_000, seconds=60.0, evaluate_every=5, learning_rate=1e-2)
    state = train(module, squares(module), Slower(), recipe)
    assert state.cooling_from == 30
    assert state.step == state.end < 60
    assert 55 < state.seconds <= 60
    assert all(late < early for early, late in itertools.pairwise(rates[-15:]))
    assert rates[-1] < 0.1 * rates[-15]


def test_time_spent_before_a_kill_counts(tmp_path):
    recipe = Recipe(steps=100_000, seconds=3_600.0, evaluate_every=5, learning_rate=1e-4)
    module, batches = line(), Lines()
    batches.kill_at = 12
    with pytest.raises(KeyboardInterrupt):
        train(module, squares(module), batches, recipe, checkpoint=tmp_path / "run")
    tensors, notes = read_checkpoint(tmp_path / "run")
    write_checkpoint(
        tmp_path / "run", tensors, notes | {"state": notes["state"] | {"seconds": 3_590.0}}
    )
    state = train(module, squares(module), Lines(), recipe, checkpoint=tmp_path / "run")
    assert (state.cooling_from, state.step) == (11, 11 + recipe.cooling(11, stalled=False))
    assert state.seconds > 3_590


def test_what_is_judged_is_an_average_of_recent_weights():
    module, batches = line(), Lines()
    seen, judged = [], []

    def loss(batch):
        if torch.is_grad_enabled():
            seen.append(weights_of(module).clone())
        else:
            judged.append(weights_of(module).clone())
        return squares(module)(batch)

    recipe = Recipe(steps=40, learning_rate=0.05, evaluate_every=20, patience=1_000)
    train(module, loss, batches, recipe)
    average = seen[1]
    for step in range(1, 20):  # weights of a step are those the next loss sees
        average = average + 16 / (step + 16) * (seen[step + 1] - average)
    torch.testing.assert_close(judged[0], average, rtol=1e-5, atol=1e-6)
    assert (judged[0] - seen[20]).abs().max() > 1e-3


# The rate


def test_the_rate_warms_up_and_then_falls_with_the_square_root_of_the_steps():
    recipe = Recipe(steps=50_000, learning_rate=2.0)
    rates = [State(step=step, end=50_000).learning_rate(recipe) for step in range(50_001)]
    assert rates[0] == pytest.approx(2 / 100)
    assert rates[49] == pytest.approx(1.0)
    assert rates[99] == rates[100] == 2.0
    assert (np.diff(rates[:100]) > 0).all()
    assert (np.diff(rates[100:]) < 0).all()
    assert rates[1_600] == pytest.approx(1.0)
    assert rates[41_100] / rates[10_100] == pytest.approx(0.5, abs=0.01)
    short = Recipe(steps=100, learning_rate=2.0)
    assert State(step=9, end=100).learning_rate(short) == 2.0


@pytest.mark.parametrize("fall", [0.5, 1.0])
def test_the_rate_of_a_cooling_falls_to_zero_by_a_power_of_what_is_done(fall):
    recipe = Recipe(steps=1_000, learning_rate=2.0, fall=fall)
    state = State(step=400, end=500, cooling_from=400, cooling_rate=0.8)
    rates = [replace(state, step=step).learning_rate(recipe) for step in range(400, 501)]
    np.testing.assert_allclose(rates, 0.8 * (1 - np.linspace(0, 1, 101) ** fall), atol=1e-12)
    assert (rates[0], rates[100]) == (0.8, 0.0)


def test_a_cut_lowers_every_rate():
    recipe = Recipe(steps=1_000, learning_rate=2.0)
    for step in (0, 30, 500):
        whole, cut = (State(step=step, end=1_000, cut=c).learning_rate(recipe) for c in (1.0, 0.3))
        assert cut == pytest.approx(0.3 * whole)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_trainings_run(steps):
    module = line()
    before = weights_of(module)
    state = train(module, squares(module), Lines(), Recipe(steps=steps))
    assert state.step == steps
    assert not torch.equal(weights_of(module), before)


def test_progress_is_reported_at_every_evaluation():
    module, reports = line(), []
    recipe = Recipe(steps=90, evaluate_every=20)
    train(module, squares(module), Lines(), recipe, progress=reports.append)
    steps = [report.step for report in reports]
    assert set(steps) >= {20, 40, 60, 80, 90}
    assert steps == sorted(steps)
    last = reports[-1]
    assert (last.steps, last.seconds_left) == (90, 0)
    assert last.rate > 0
    assert math.isfinite(last.loss)
    assert math.isfinite(last.validation)


# Kill and resume


def noisy():
    """An overfitting task whose run has all phases: warm-up, best, stall, cooling."""
    return Lines(rows=40, size=10, noise=2.0)


RESUMED = Recipe(steps=4_000, learning_rate=0.02, evaluate_every=7, patience=3)


def test_resuming_from_every_checkpoint_gives_the_same_weights(tmp_path):
    reference, batches = curve(width=8), noisy()
    whole = train(reference, squares(reference), batches, RESUMED)
    assert whole.cooling_from is not None
    assert whole.end < 4_000
    file = tmp_path / "run"
    for kill in [*range(3, whole.end, max(7, whole.end // 40)), whole.end - 1]:
        file.unlink(missing_ok=True)
        module, batches = curve(width=8), noisy()
        batches.kill_at = kill
        with pytest.raises(KeyboardInterrupt):
            train(module, squares(module), batches, RESUMED, checkpoint=file)
        assert file.exists() == (kill >= 7)
        module, batches = curve(seed=9, width=8) if kill >= 7 else curve(width=8), noisy()
        state = train(module, squares(module), batches, RESUMED, checkpoint=file)
        assert torch.equal(weights_of(module), weights_of(reference))
        assert state == whole


def test_a_run_that_is_killed_at_every_evaluation_ends_all_the_same(tmp_path):
    reference = curve(width=8)
    whole = train(reference, squares(reference), noisy(), RESUMED)
    calls = 0
    while True:
        module, calls = curve(width=8), calls + 1

        def interrupt(report):
            raise KeyboardInterrupt

        try:
            done = train(
                module,
                squares(module),
                noisy(),
                RESUMED,
                checkpoint=tmp_path / "run",
                progress=interrupt,
            )
            break
        except KeyboardInterrupt:
            continue
    assert calls == len(whole.evaluations) + 1
    assert done == whole
    assert torch.equal(weights_of(module), weights_of(reference))


def test_a_finished_run_is_not_run_again(tmp_path):
    module = line()
    recipe = Recipe(steps=50, evaluate_every=20)
    state = train(module, squares(module), Lines(), recipe, checkpoint=tmp_path / "run")
    again, batches = line(5), Lines()
    batches.kill_at = 0
    assert train(again, squares(again), batches, recipe, checkpoint=tmp_path / "run") == state
    assert torch.equal(weights_of(again), weights_of(module))


def test_a_checkpoint_is_one_whole_file_in_a_folder_made_for_it(tmp_path):
    module = line()
    file = tmp_path / "deep" / "er" / "run"
    train(module, squares(module), Lines(), Recipe(steps=50, evaluate_every=10), checkpoint=file)
    assert [entry.name for entry in file.parent.iterdir()] == ["run"]
    tensors, notes = read_checkpoint(file)
    assert notes["state"]["step"] == 50
    assert {name.split(".")[0] for name in tensors} == {"best"}  # all that is needed of the done


def test_a_part_of_a_checkpoint_is_written_beside_the_others(tmp_path):
    file = tmp_path / "run"
    tensors = {"a": torch.randn(3), "1.a": torch.randn(2)}
    assert read_checkpoint(file) is None
    for part in (1, 0, 11):
        write_checkpoint(file, {k: part + v for k, v in tensors.items()}, {"n": part}, part=part)
    write_checkpoint(file, {"b": torch.zeros(1)}, {"n": 5}, part=0)  # replaces the whole part
    for part in (1, 11):
        found, notes = read_checkpoint(file, part=part)
        assert notes == {"n": part}
        assert {k: v.tolist() for k, v in found.items()} == {
            k: (part + v).tolist() for k, v in tensors.items()
        }
    assert read_checkpoint(file) == ({"b": torch.zeros(1)}, {"n": 5})
    assert read_checkpoint(file, part=2) is None


def test_the_checkpoint_of_another_run_is_refused(tmp_path):
    module, file = line(), tmp_path / "run"
    recipe = Recipe(steps=20, evaluate_every=10)
    train(module, squares(module), Lines(), recipe, checkpoint=file, identity="one")
    content = file.read_bytes()
    with pytest.raises(
        BadValue, match=r"^Expected the checkpoint of this very run; got .*run of other"
    ):
        train(module, squares(module), Lines(), recipe, checkpoint=file, identity="two")
    assert file.read_bytes() == content


@pytest.mark.parametrize("damage", ["empty", "half", "one byte less", "text", "pickle", "no notes"])
def test_a_truncated_checkpoint_is_refused(tmp_path, damage):
    module, file = line(), tmp_path / "run"
    recipe = Recipe(steps=20, evaluate_every=10)
    train(module, squares(module), Lines(), recipe, checkpoint=file)
    content = file.read_bytes()
    if damage == "no notes":
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(2)}, file)
    elif damage == "pickle":
        torch.save({"a": torch.zeros(2)}, file)
    else:
        file.write_bytes(
            {"empty": b"", "half": content[: len(content) // 2], "one byte less": content[:-1]}.get(
                damage, b"weights"
            )
        )
    with pytest.raises(
        BadValue, match=r"^Expected a whole checkpoint in .*run; got .*; remove it\.$"
    ):
        train(module, squares(module), Lines(), recipe, checkpoint=file)


def test_checkpoints_keep_tensors_and_notes(tmp_path):
    tensors = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(4, 3).T}
    notes = {"best": math.inf, "losses": [1.5, None], "text": "größer"}
    write_checkpoint(tmp_path / "file", tensors, notes)
    found, same = read_checkpoint(tmp_path / "file")
    assert same == notes
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


# A loss that is not finite


def breaking(module, bad_steps, batches):
    """A loss that is NaN in some steps, wherever the weights are."""
    calls = {"step": 0}
    plain = squares(module)
    original = batches.training

    def training(step):
        calls["step"] = step
        return original(step)

    batches.training = training

    def loss(batch):
        losses = plain(batch)
        if torch.is_grad_enabled() and calls["step"] in bad_steps:
            return losses * math.nan
        return losses

    return loss


def watched(module, loss):
    """A loss, and the weights at each step and at each evaluated batch, lists that it fills."""
    seen, judged = [], []

    def noting(batch):
        (seen if torch.is_grad_enabled() else judged).append(weights_of(module).clone())
        return loss(batch)

    return noting, seen, judged


def test_one_bad_batch_costs_a_step_and_cuts_the_rate():
    module, batches = line(), Lines()
    recipe = Recipe(steps=600, learning_rate=0.1, evaluate_every=20, weight_decay=0)
    state = train(module, breaking(module, {130}, batches), batches, recipe)
    assert state.cut == 0.3
    assert state.step == 600
    torch.testing.assert_close(module.weight, WEIGHTS, rtol=0, atol=1e-3)


def test_after_a_bad_batch_training_goes_on_from_the_best_weights():
    module, batches = line(), Lines()
    loss, seen, judged = watched(module, breaking(module, {25}, batches))
    recipe = Recipe(steps=40, learning_rate=0.1, evaluate_every=20)
    train(module, loss, batches, recipe)
    best = judged[0]  # the average at step 20
    assert torch.equal(seen[26], best)
    assert not torch.equal(seen[25], best)


def test_a_second_bad_batch_names_its_rows():
    module, batches = line(), Lines()
    loss = breaking(module, {30, 47}, batches)
    with pytest.raises(BadValue) as caught:
        train(module, loss, batches, Recipe(steps=100, evaluate_every=10))
    rows = ", ".join(map(str, batches.rows(47)[:8]))
    assert str(caught.value) == (
        "Expected a finite loss, the learning rate having been cut once already; got nan at step "
        f"47 in the batch of rows {rows}, ...; look at these simulations for extreme values, or "
        "lower learning_rate."
    )


def test_a_bad_gradient_counts_as_a_bad_loss():
    module, batches = line(), Lines()

    def loss(batch):
        residual = module(batch[0]) - batch[1]
        return residual[:, 0].square() + (0 * residual[:, 0]).abs().sqrt()  # its slope at 0 is NaN

    with pytest.raises(BadValue, match="finite loss"):
        train(module, loss, batches, Recipe(steps=100))


def test_weights_never_become_nan_by_a_bad_batch(tmp_path):
    module, batches, file = line(), Lines(), tmp_path / "run"
    loss = breaking(module, {9}, batches)
    train(module, loss, batches, Recipe(steps=30, evaluate_every=10), checkpoint=file)
    tensors, notes = read_checkpoint(file)
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    assert notes["state"]["cut"] == 0.3
    assert torch.isfinite(weights_of(module)).all()


def test_a_validation_that_is_never_finite_is_an_error():
    module, batches = line(), Lines()
    batches.y[-1] = math.inf
    with pytest.raises(BadValue, match=r"^Expected a finite validation loss; got none in 5 eval"):
        train(module, squares(module), batches, Recipe(steps=50, evaluate_every=10))


# A device that lags, whose losses are looked at where an evaluation is due


@pytest.fixture
def lagging(monkeypatch):
    monkeypatch.setattr("sbi_kit.train.lags", lambda device: True)


def trained(recipe, bad_steps=(), **settings):
    module, batches = curve(width=8), noisy()
    state = train(module, breaking(module, bad_steps, batches), batches, recipe, **settings)
    return state, weights_of(module)


def test_where_all_losses_are_finite_a_lag_changes_nothing(monkeypatch):
    state, weights = trained(RESUMED)
    monkeypatch.setattr("sbi_kit.train.lags", lambda device: True)
    same, late = trained(RESUMED)
    assert same == state
    assert torch.equal(late, weights)


def test_what_came_of_a_bad_batch_is_dropped_when_it_is_seen(lagging):
    module, batches = line(), Lines()
    loss, seen, judged = watched(module, breaking(module, {25}, batches))
    recipe = Recipe(steps=60, learning_rate=0.1, evaluate_every=20, patience=100)
    state = train(module, loss, batches, recipe)
    assert [step for step, _, _ in state.evaluations] == [20, 40, 60]
    assert state.cut == 0.3
    assert torch.isfinite(seen[25]).all()
    assert seen[26].isnan().all()  # and so to the evaluation at step 40,
    assert torch.equal(seen[40], judged[0])  # which finds the average of step 20 again
    assert all(math.isfinite(loss) for entry in state.evaluations for loss in entry)
    assert torch.isfinite(weights_of(module)).all()


def test_a_lag_costs_no_accuracy(lagging):
    module, batches = line(), Lines()
    recipe = Recipe(steps=600, learning_rate=0.1, evaluate_every=20, weight_decay=0)
    state = train(module, breaking(module, {130}, batches), batches, recipe)
    assert (state.cut, state.step) == (0.3, 600)
    torch.testing.assert_close(module.weight, WEIGHTS, rtol=0, atol=1e-3)


@pytest.mark.parametrize("second", [47, 59, 75])
def test_a_second_bad_batch_names_its_rows_at_once(lagging, second):
    module, batches = line(), Lines()
    loss = breaking(module, {30, second}, batches)
    rows = ", ".join(map(str, batches.rows(second)[:8]))
    with pytest.raises(BadValue, match=f"got nan at step {second} in the batch of rows {rows}, "):
        train(module, loss, batches, Recipe(steps=100, evaluate_every=10))


def test_a_training_that_lags_is_resumed_to_the_same_weights(lagging, tmp_path):
    whole, weights = trained(RESUMED, {16})
    module, batches = curve(width=8), noisy()
    batches.kill_at = 31
    loss = breaking(module, {16}, batches)
    with pytest.raises(KeyboardInterrupt):
        train(module, loss, batches, RESUMED, checkpoint=tmp_path / "run")
    same, again = trained(RESUMED, {16}, checkpoint=tmp_path / "run")
    assert same == whole
    assert torch.equal(again, weights)


# Recipe and surroundings


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("steps", 0, BadValue),
        ("steps", 1.5, BadType),
        ("evaluate_every", 0, BadValue),
        ("patience", -1, BadValue),
        ("learning_rate", 0, BadValue),
        ("fall", 0, BadValue),
        ("learning_rate", -1, BadValue),
        ("learning_rate", math.nan, BadValue),
        ("learning_rate", "fast", BadType),
        ("clip", 0, BadValue),
        ("weight_decay", -0.1, BadValue),
    ],
)
def test_recipes_refuse(argument, value, error):
    with pytest.raises(error, match=f"^Expected {re.escape(argument)} as a"):
        Recipe(**{"steps": 10, argument: value})


def test_surroundings_are_left_as_they_were():
    module, state = line(), torch.random.get_rng_state()
    with torch.no_grad():  # a caller's mode is no obstacle
        train(module, squares(module), Lines(), Recipe(steps=5))
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_checkpoint_paths_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = line()
    train(module, squares(module), Lines(), Recipe(steps=5), checkpoint=Path("run"))
    assert (tmp_path / "run").exists()
