"""The optimizer: the steps of torch's own, on parameters that are views of one vector."""

import copy

import pytest
import torch
from torch import nn

from sbi_kit.adamw import AdamW

X = torch.linspace(-1, 1, 24).reshape(8, 3)


def module():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))


def loss_of(some, x=X):
    return some(x).square().sum() * 10


def train(some, optimizer, rates, clip=1e9):
    norms = []
    for rate in rates:
        optimizer.take(optimizer.gradient(loss_of(some)))
        norms.append(optimizer.clip(clip))
        optimizer.step(rate)
    return norms


@pytest.mark.parametrize("clip", [1e9, 3.0])
def test_steps_are_those_of_torch(clip):
    ours, theirs = module(), module()
    rates = [0.01 * (k + 1) for k in range(20)]
    norms = train(ours, AdamW(ours, decay=0.1), rates, clip)
    reference = torch.optim.AdamW(theirs.parameters(), betas=(0.9, 0.99), weight_decay=0.1)
    for rate, norm in zip(rates, norms, strict=True):
        reference.param_groups[0]["lr"] = rate
        reference.zero_grad()
        loss_of(theirs).backward()
        other = nn.utils.clip_grad_norm_(theirs.parameters(), clip)
        assert norm == pytest.approx(other.item(), rel=1e-4)
        reference.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6)


def test_a_gpu_scales_what_is_large_as_the_cpu_does_and_keeps_the_rest(monkeypatch):
    def clipped():
        some = module()
        optimizer = AdamW(some, decay=0.1)
        gradient = optimizer.gradient(loss_of(some))
        optimizer.take(gradient)
        return optimizer.clip(clip), gradient  # scaled in place

    for clip in (1e9, 3.0):
        norm, on_cpu = clipped()
        assert (norm > clip) == (clip == 3.0)
        with monkeypatch.context() as patched:
            patched.setattr("sbi_kit.adamw.lags", lambda device: True)
            assert torch.equal(clipped()[1], on_cpu)


def test_gradients_of_parts_add_up():
    some = module()
    optimizer = AdamW(some, decay=0.1)
    gradient = optimizer.gradient(loss_of(some))
    optimizer.take(*(optimizer.gradient(loss_of(some, part)) for part in X.split(3)))
    assert optimizer.clip(1e9) == pytest.approx(gradient.norm().item(), rel=1e-5)
    assert all(p.grad is None for p in some.parameters())


def test_what_a_loss_does_not_depend_on_has_no_gradient():
    some = module()
    optimizer = AdamW(some, decay=0.0)
    before = copy.deepcopy(some.state_dict())
    optimizer.take(optimizer.gradient(some[0](X).square().sum()))
    optimizer.step(0.1)
    after = some.state_dict()
    assert not torch.equal(after["0.weight"], before["0.weight"])
    assert torch.equal(after["2.weight"], before["2.weight"])


def test_what_is_not_trained_stays():
    frozen = module()
    frozen[0].requires_grad_(False)
    before = copy.deepcopy(frozen.state_dict())
    optimizer = AdamW(frozen, decay=0.5)
    train(frozen, optimizer, [0.1] * 3)
    after = frozen.state_dict()
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert not torch.equal(after["2.weight"], before["2.weight"])


def test_it_goes_on_from_its_state():
    whole, parts = module(), module()
    train(whole, AdamW(whole, decay=0.1), [0.01] * 7)
    first = AdamW(parts, decay=0.1)
    train(parts, first, [0.01] * 3)
    first.release()
    second = AdamW(parts, decay=0.1)
    second.load({name: tensor.clone() for name, tensor in first.state().items()})
    train(parts, second, [0.01] * 4)
    for mine, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_to_forget_is_to_begin_anew():
    fresh = module()
    used = copy.deepcopy(fresh)
    optimizer = AdamW(used, decay=0.1)
    train(used, optimizer, [0.05] * 5)
    used.load_state_dict(fresh.state_dict())
    optimizer.forget()
    train(used, optimizer, [0.01] * 3)
    train(fresh, AdamW(fresh, decay=0.1), [0.01] * 3)
    for mine, other in zip(used.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_released_parameters_are_their_own():
    some = module()
    optimizer = AdamW(some, decay=0.0)
    stores = {p.untyped_storage().data_ptr() for p in some.parameters()}
    assert len(stores) == 1
    values = [p.detach().clone() for p in some.parameters()]
    optimizer.release()
    stores = {p.untyped_storage().data_ptr() for p in some.parameters()}
    assert len(stores) == len(values)
    assert all(map(torch.equal, some.parameters(), values))
