import copy
import io
import itertools
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from sbi_kit.autodiff import finite_differences
from sbi_kit.flow import BENDS, ConditionalFlow, Coupling, Elementwise, Steps, TriangularAffine

FEATURES = 6
SIZES = (1, 2, 3, 5, 50)
STEPS = {
    **{f"triangular-{d}": lambda d=d: TriangularAffine(d) for d in SIZES},
    **{
        f"{name}-{d}": lambda d=d, bend=bend: Coupling(d, 8, bend)
        for name, bend in BENDS.items()
        for d in SIZES[1:]
    },
    **{f"elementwise-{d}": lambda d=d: Elementwise(d) for d in SIZES[:3]},
    "steps-3": lambda: Steps(
        [TriangularAffine(3), Coupling(3, 8, BENDS["affine"]), Coupling(3, 8, BENDS["spline"])]
    ),
}


@pytest.fixture(autouse=True)
def own_stream():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


def perturbed(module, size=0.4):
    """In float64, with weights that are no special case (a new coupling is the identity)."""
    module = module.double()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(size * torch.randn_like(weight) / math.sqrt(weight.shape[-1]))
    return module


def make_flow(d, *, size=0.4, coupling="spline"):
    flow = ConditionalFlow(d, FEATURES, coupling=coupling, blocks=3, hidden=16)
    return perturbed(flow, size).eval()


def features_of(b):
    return torch.randn(b, FEATURES, dtype=torch.float64)


def autograd_log_det(function, points):
    """log |det| of the Jacobian at each row of points (b, d)."""
    jacobians = [torch.autograd.functional.jacobian(function(i), p) for i, p in enumerate(points)]
    return torch.linalg.slogdet(torch.stack(jacobians))[1]


# One step


@pytest.mark.parametrize("name", STEPS)
def test_inverse_of_a_step_undoes_it(name):
    step = perturbed(STEPS[name]())
    u, context = points_and_context(step, 40)
    z, log_det = step(u, context)
    back, log_det_back = step.inverse(z, context)
    assert (z - u).abs().max() > 0.1
    torch.testing.assert_close(back, u, rtol=0, atol=1e-9)
    torch.testing.assert_close(log_det_back, -log_det, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", STEPS)
def test_log_det_of_a_step_is_autograds_and_that_of_finite_differences(name):
    step = perturbed(STEPS[name]())
    u, context = points_and_context(step, 5)
    for method in (step, step.inverse):
        _, log_det = method(u, context)
        jacobian = finite_differences(
            lambda p, method=method: method(torch.from_numpy(p)[None], context[:1])[0][0].detach(),
            u[0],
        )
        assert np.linalg.slogdet(jacobian)[1] == pytest.approx(log_det[0].item(), abs=1e-6)
        exact = autograd_log_det(
            lambda i, method=method: lambda p: method(p[None], context[i : i + 1])[0][0], u
        )
        torch.testing.assert_close(log_det, exact, rtol=1e-9, atol=1e-9)


def points_and_context(step, b):
    d = getattr(step, "d", None) or (step.first + step.second if hasattr(step, "first") else 3)
    size = sum(step.sizes) if isinstance(step, Steps) else step.context_size
    u = torch.randn(b, d, dtype=torch.float64)
    return u, 0.5 * torch.randn(b, size, dtype=torch.float64)


def test_zero_context_makes_a_spline_the_identity():
    u = torch.linspace(-7, 7, 101, dtype=torch.float64)[:, None]
    step = Elementwise(1)
    z, log_det = step(u, torch.zeros(101, step.context_size, dtype=torch.float64))
    torch.testing.assert_close(z, u, rtol=0, atol=1e-12)
    torch.testing.assert_close(log_det, torch.zeros(101, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("bend", BENDS)
def test_a_new_coupling_is_the_identity_up_to_order(bend):
    step = Coupling(5, 8, BENDS[bend]).double()
    u = 2 * torch.randn(30, 5, dtype=torch.float64)
    z, log_det = step(u, torch.randn(30, step.context_size, dtype=torch.float64))
    torch.testing.assert_close(z, u[:, step.permutation], rtol=0, atol=1e-12)
    torch.testing.assert_close(log_det, torch.zeros(30, dtype=torch.float64), rtol=0, atol=1e-12)


def test_a_triangular_step_is_exact_for_a_gaussian():
    d, rng = 4, np.random.default_rng(0)
    factor = np.tril(rng.normal(size=(d, d)), -1) + np.diag([1e-3, 0.1, 1.0, 30.0])
    mean = rng.normal(size=d)
    precision = np.linalg.inv(factor)  # z = L⁻¹ (u − m)
    scale = np.diag(precision)
    lower = precision / scale[:, None]
    entries = [lower[i, j] for i, j in zip(*np.tril_indices(d, -1), strict=True)]
    context = torch.tensor(np.concatenate([mean, np.log(scale), entries]))
    u = torch.tensor(mean + rng.normal(size=(200, d)) @ factor.T)
    z, log_det = TriangularAffine(d)(u, context)
    normal = torch.distributions.MultivariateNormal(
        torch.tensor(mean), scale_tril=torch.tensor(factor)
    )
    log_q = torch.distributions.Normal(0, 1).log_prob(z).sum(-1) + log_det
    torch.testing.assert_close(log_q, normal.log_prob(u), rtol=1e-9, atol=1e-9)


# The whole flow


@pytest.mark.parametrize("coupling", BENDS)
@pytest.mark.parametrize("d", SIZES)
def test_drawing_undoes_whitening(d, coupling):
    flow = make_flow(d, coupling=coupling)
    context = flow.context(features_of(7))
    noise = torch.randn(7, 11, d, dtype=torch.float64)
    u = flow.draw(noise, context)
    torch.testing.assert_close(flow.steps(u, context)[0], noise, rtol=0, atol=1e-7)


@pytest.mark.parametrize("coupling", BENDS)
@pytest.mark.parametrize("d", SIZES)
def test_log_prob_is_change_of_variables_with_autograds_jacobian(d, coupling):
    flow = make_flow(d, coupling=coupling)
    features, u = features_of(3), torch.randn(3, d, dtype=torch.float64)
    context = flow.context(features)
    z = flow.steps(u[:, None], context)[0][:, 0]
    log_det = autograd_log_det(
        lambda i: lambda p: flow.steps(p[None, None], context[i : i + 1])[0][0, 0], u
    )
    exact = torch.distributions.Normal(0, 1).log_prob(z).sum(-1) + log_det
    torch.testing.assert_close(flow.log_prob(u, features), exact, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("d", SIZES)
def test_density_of_one_vector_and_of_draws_agree(d):
    flow = make_flow(d)
    features, u = features_of(4), torch.randn(4, 9, d, dtype=torch.float64)
    together = flow.log_prob_of_draws(u, flow.context(features))
    single = torch.stack([flow.log_prob(u[:, i], features) for i in range(9)], dim=1)
    assert together.shape == (4, 9)
    torch.testing.assert_close(together, single, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("d", "points"), [(1, 4001), (2, 401)])
def test_density_integrates_to_one(d, points):
    flow = make_flow(d, size=0.3)
    grid = torch.linspace(-12, 12, points, dtype=torch.float64)
    u = torch.stack(torch.meshgrid(*[grid] * d, indexing="ij"), dim=-1).reshape(1, -1, d)
    with torch.no_grad():
        log_q = flow.log_prob_of_draws(u.expand(4, -1, -1), flow.context(features_of(4)))
    mass = log_q.exp().sum(1) * (grid[1] - grid[0]) ** d
    torch.testing.assert_close(mass, torch.ones(4, dtype=torch.float64), rtol=0, atol=2e-3)
    spread = log_q.exp().std(0).max()
    assert spread > 0.05  # it does depend on the features


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_draws_have_the_density_that_is_claimed(d):
    # E_q[p / q] = 1 for any normalised p inside q's support.
    flow = make_flow(d, size=0.2)
    with torch.no_grad():
        context = flow.context(features_of(4))
        u = flow.draw(torch.randn(4, 40_000, d, dtype=torch.float64), context)
        log_q = flow.log_prob_of_draws(u, context)
        centre, width = u.mean(1, keepdim=True), 0.7 * u.std(1, keepdim=True)
        log_p = torch.distributions.Normal(centre, width).log_prob(u).sum(-1)
        weights = (log_p - log_q).exp()
    error = weights.std(1) / math.sqrt(weights.shape[1])
    assert ((weights.mean(1) - 1).abs() < 5 * error + 1e-3).all()
    assert (error < 0.05).all()


@pytest.mark.parametrize("d", SIZES)
def test_a_new_flow_is_nearly_standard_normal(d):
    flow = ConditionalFlow(d, FEATURES, coupling="spline", blocks=6, hidden=16)
    with torch.no_grad():
        context = flow.context(torch.randn(50, FEATURES))
        u = torch.randn(50, 200, d)
        z, log_det = flow.steps(u, context)
        draws = flow.draw(u, context)
        log_p = torch.distributions.Normal(0, 1).log_prob(u).sum(-1)
        divergence = (log_p - flow.log_prob_of_draws(u, context)).mean()
    assert 0 <= divergence < 0.05 * d
    assert abs(draws.mean()) < 0.05
    assert abs(draws.std() - 1) < 0.05
    assert log_det.abs().mean() < 0.2 * math.sqrt(d)
    assert z.shape == u.shape


@pytest.mark.parametrize("d", [1, 3, 50])
def test_draws_of_a_dataset_do_not_depend_on_chunks(d):
    flow = make_flow(d)
    context, noise = flow.context(features_of(5)), torch.randn(5, 30, d, dtype=torch.float64)
    whole = flow.draw(noise, context)
    rows = [flow.draw(noise[i : i + 1], context[i : i + 1]) for i in range(5)]
    columns = [flow.draw(noise[:, j : j + 7], context) for j in range(0, 30, 7)]
    torch.testing.assert_close(torch.cat(rows), whole, rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.cat(columns, dim=1), whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_extreme_noise_and_points_stay_finite_in_float32(d):
    flow = make_flow(d).float()
    context = flow.context(torch.randn(3, FEATURES))
    far = torch.tensor([-40.0, -8.0, -5.0, 0.0, 5.0, 8.0, 40.0])
    u = torch.stack([far] * d, dim=-1).expand(3, -1, -1)
    assert torch.isfinite(flow.draw(u, context)).all()
    assert torch.isfinite(flow.log_prob_of_draws(u, context)).all()


@pytest.mark.parametrize("d", SIZES)
def test_gradient_reaches_every_weight(d):
    flow = make_flow(d)
    flow.log_prob(torch.randn(20, d, dtype=torch.float64), features_of(20)).sum().backward()
    idle = [name for name, weight in flow.named_parameters() if not has_gradient(weight.grad)]
    assert idle == []


def test_in_training_a_dataset_far_off_pulls_no_harder_than_one_at_six_sds():
    flow = make_flow(2)
    features = torch.zeros(1, FEATURES, dtype=torch.float64)

    def loss_and_pull(mode, distance):
        flow.train(mode == "training").zero_grad()
        loss = -flow.log_prob(torch.full((1, 2), distance, dtype=torch.float64), features).sum()
        loss.backward()
        return loss.item(), flow.projection.bias.grad[2:4].norm().item()  # of the log scales

    for near in (0.1, 1.0):
        assert loss_and_pull("training", near) == loss_and_pull("evaluation", near)
    (loss, pull), (exact, exact_pull) = (
        loss_and_pull(mode, 1e4) for mode in ("training", "evaluation")
    )
    assert loss < 1_000 < 1e6 < exact
    assert pull < 150 < 1e6 < exact_pull


def has_gradient(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.abs().sum() > 0)


@pytest.mark.parametrize("d", [1, 3])
def test_weights_are_written_once_and_restore_the_density(d):
    flow = make_flow(d).float()
    weights = flow.state_dict()
    content = save(weights)  # safetensors refuses weights that share memory
    same = ConditionalFlow(d, FEATURES, coupling="spline", blocks=3, hidden=16)
    same.load_state_dict(load(content))
    u, features = torch.randn(9, d), torch.randn(9, FEATURES)
    assert torch.equal(same.log_prob(u, features), flow.log_prob(u, features))
    assert (
        io.BytesIO(content).getbuffer().nbytes
        < 1.2 * 4 * sum(weight.numel() for weight in flow.parameters()) + 20_000
    )


def test_couplings_have_different_orders_from_the_seed_alone():
    def orders(seed):
        torch.manual_seed(seed)
        flow = ConditionalFlow(5, FEATURES, coupling="affine", blocks=6, hidden=4)
        return [tuple(step.permutation.tolist()) for step in list(flow.steps.steps)[1:]]

    assert orders(3) == orders(3)
    assert len(set(orders(3))) > 1


def test_a_flow_can_be_a_thousand_times_narrower_than_its_prior():
    flow = ConditionalFlow(2, FEATURES, coupling="spline", blocks=2, hidden=8)
    narrow = copy.deepcopy(flow)
    with torch.no_grad():
        narrow.projection.bias[2:4] = math.log(1_000)  # the log scales of the triangular part
        context = narrow.context(torch.zeros(1, FEATURES))
        draws = narrow.draw(torch.randn(1, 5_000, 2), context)
    torch.testing.assert_close(draws.std(1), torch.full((1, 2), 1e-3), rtol=0.05, atol=0)


def test_permutations_cover_all_parameters():
    for d, _ in itertools.product((2, 3, 7), range(3)):
        step = Coupling(d, 4, BENDS["affine"])
        assert sorted(step.permutation.tolist()) == list(range(d))
        assert step.permutation[step.restore].tolist() == list(range(d))
