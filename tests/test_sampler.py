import copy
import math

import pytest
import torch

from sbi_kit.flow import ConditionalFlow
from sbi_kit.sampler import sampler
from sbi_kit.spline_kernels import LANES

FEATURES = 6
SIZES = (2, 3, 5, 50)


@pytest.fixture(autouse=True)
def own_stream():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


def make_flow(d, *, coupling="spline", hidden=16, size=0.5):
    """In float32, with weights that are no special case."""
    flow = ConditionalFlow(d, FEATURES, coupling=coupling, blocks=3, hidden=hidden)
    for weight in flow.parameters():
        weight.data += size * torch.randn_like(weight) / math.sqrt(weight.shape[-1])
    return flow.eval().requires_grad_(False)


def noise_and_context(flow, b, draws):
    return torch.randn(b, draws, flow.d), flow.context(torch.randn(b, FEATURES))


@pytest.mark.parametrize("hidden", [16, 13])  # rows and columns that must be filled up
@pytest.mark.parametrize("d", SIZES)
def test_compiled_draws_are_those_of_torch_in_float64(d, hidden):
    flow = make_flow(d, hidden=hidden)
    noise, context = noise_and_context(flow, 5, LANES + 41)
    exact = copy.deepcopy(flow).double().draw(noise.double(), context.double())
    off = (sampler(flow)(noise, context).double() - exact).abs() / (1 + exact.abs())
    assert (exact - noise).abs().mean() > 0.3
    assert off.median() < 1e-6
    assert off.max() < 2e-3  # where a spline is steep, rounding grows


@pytest.mark.parametrize("d", SIZES)
def test_the_flow_takes_compiled_draws_back_to_noise(d):
    flow = make_flow(d, size=0.2)
    noise, context = noise_and_context(flow, 4, 300)
    back, _ = flow.steps(sampler(flow)(noise, context), context)
    assert (back - noise).abs().max() < 1e-3


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("d", [2, 5])
def test_a_draw_is_the_same_to_the_bit_whatever_is_drawn_beside_it(d, count, threads):
    flow = make_flow(d)
    noise, context = noise_and_context(flow, 5, 3 * LANES + 5)
    threads(1)
    whole = sampler(flow)(noise, context)
    threads(count)
    draw = sampler(flow)
    assert torch.equal(draw(noise, context), whole)
    rows = [draw(noise[i : i + 1], context[i : i + 1]) for i in range(5)]
    assert torch.equal(torch.cat(rows), whole)
    columns = [draw(part, context) for part in noise.split(LANES // 2 + 3, dim=1)]
    assert torch.equal(torch.cat(columns, dim=1), whole)


def test_a_sampler_keeps_the_weights_it_was_made_with():
    flow = make_flow(3)
    noise, context = noise_and_context(flow, 2, 10)
    draw = sampler(flow)
    before = draw(noise, context)
    flow.steps.steps[1].of_first.outer.weight += 0.5
    assert torch.equal(draw(noise, context), before)
    assert not torch.allclose(sampler(flow)(noise, context), before)


@pytest.mark.parametrize("d", [2, 5])
def test_noise_and_weights_out_of_all_bounds_leave_other_draws_alone(d):
    flow = make_flow(d, size=30.0)
    noise, context = noise_and_context(flow, 2, 200)
    draw = sampler(flow)
    usual = draw(noise, context)
    assert torch.isfinite(usual).all()
    noise[0, 7] = 1e20
    noise[0, 9] = torch.nan
    changed = draw(noise, context)
    assert torch.isnan(changed[0, 9]).any()
    kept = torch.ones(2, 200, dtype=torch.bool)
    kept[0, [7, 9]] = False
    assert torch.equal(changed[kept], usual[kept])


@pytest.mark.parametrize(
    "flow",
    [
        lambda: make_flow(1),
        lambda: make_flow(3, coupling="affine"),
        lambda: make_flow(3).double(),
    ],
    ids=["one parameter", "affine couplings", "float64"],
)
def test_what_kernels_do_not_know_is_drawn_by_torch(flow):
    flow = flow()
    kind = flow.projection.weight.dtype
    noise = torch.randn(3, 20, flow.d, dtype=kind)
    context = flow.context(torch.randn(3, FEATURES, dtype=kind))
    assert torch.equal(sampler(flow)(noise, context), flow.draw(noise, context))
