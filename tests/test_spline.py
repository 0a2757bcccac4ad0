import math

import numpy as np
import pytest
import torch
from nflows.transforms.splines.rational_quadratic import unconstrained_rational_quadratic_spline

from sbi_kit import spline as module
from sbi_kit.spline import BINS, PARAMETERS, inverse_spline, spline

METHODS = {"forward": spline, "inverse": inverse_spline}


@pytest.fixture(autouse=True)
def own_stream():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


def points_and_parameters(b=40, m=3, *, size=1.0):
    x = 2 * torch.randn(b, m, dtype=torch.float64)  # some beyond the bound
    return x, size * torch.randn(b, m, PARAMETERS, dtype=torch.float64)


def test_inverse_undoes_the_spline():
    x, parameters = points_and_parameters(size=2.0)
    y, log_slope = spline(x, parameters)
    back, log_back = inverse_spline(y, parameters)
    assert (y - x).abs().max() > 0.3
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(log_back, -log_slope, rtol=0, atol=1e-9)


def test_it_is_the_spline_of_durkan_et_al():
    x, parameters = points_and_parameters(b=200)
    widths, heights, slopes = parameters.split([BINS, BINS, BINS - 1], dim=-1)
    slope_of_one = math.log(math.expm1(1 - 1e-3))
    y, log_slope = unconstrained_rational_quadratic_spline(
        x, widths, heights, slopes + slope_of_one, tails="linear", tail_bound=4.0
    )
    ours = spline(x, parameters)
    torch.testing.assert_close(ours[0], y, rtol=0, atol=1e-9)
    torch.testing.assert_close(ours[1], log_slope, rtol=0, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_log_slope_is_the_slope(method):
    x, parameters = points_and_parameters()
    x.requires_grad_()
    y, log_slope = METHODS[method](x, parameters)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope.log(), log_slope.detach(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_those_of_finite_differences(method):
    x, parameters = points_and_parameters(b=12)
    arguments = (x.requires_grad_(), parameters.requires_grad_())
    assert torch.autograd.gradcheck(METHODS[method], arguments)


@pytest.mark.parametrize("method", METHODS)
def test_shared_parameters_serve_every_draw_of_a_row(method):
    x = torch.randn(4, 50, 3, dtype=torch.float64)
    parameters = torch.randn(4, 1, 3, PARAMETERS, dtype=torch.float64, requires_grad=True)
    shared = METHODS[method](x, parameters)
    single = METHODS[method](x, parameters.expand(4, 50, 3, -1))
    for one, other in zip(shared, single, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    gradients = [
        torch.autograd.grad(sum(map(torch.sum, r)), parameters)[0] for r in (shared, single)
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", [(300, 1, 3), (3, 170, 1), (2, 90, 2), (1, 1, 1)])
@pytest.mark.parametrize("size", [1.0, 3.0])
@pytest.mark.parametrize("method", METHODS)
def test_compiled_kernels_compute_what_torch_does(method, size, shape):
    rows, _, m = shape
    x = 2 * torch.randn(shape)
    parameters = size * torch.randn(rows, 1, m, PARAMETERS)
    weights = torch.randn(2, *shape)

    def values_and_gradients(kind):
        given = [part.to(kind).requires_grad_() for part in (x, parameters)]
        moved, log_slope = METHODS[method](*given)
        loss = (weights[0].to(kind) * moved + weights[1].to(kind) * log_slope).sum()
        return moved, log_slope, *torch.autograd.grad(loss, given)

    compiled, exact = (values_and_gradients(kind) for kind in (torch.float32, torch.float64))
    for one, other in zip(compiled, exact, strict=True):
        spread = other.abs().max().item()
        torch.testing.assert_close(one.double(), other, rtol=2e-3, atol=2e-4 * max(1.0, spread))
        assert (one.double() - other).abs().median() < 1e-5 * max(1.0, spread)


@pytest.mark.parametrize("method", METHODS)
def test_compiled_gradients_are_there_where_they_are_wanted(method, monkeypatch):
    called = []
    kernel = module.spline_kernels.gradients
    monkeypatch.setattr(
        module.spline_kernels, "gradients", lambda *a: called.append(1) or kernel(*a)
    )
    x = torch.randn(5, 1, 2, requires_grad=True)
    METHODS[method](x, torch.randn(5, 1, 2, PARAMETERS))[0].sum().backward()
    assert called


def test_zeros_give_the_identity_and_so_does_what_lies_beyond():
    x = torch.linspace(-7, 7, 141, dtype=torch.float64)[:, None]
    y, log_slope = spline(x, torch.zeros(141, 1, PARAMETERS, dtype=torch.float64))
    torch.testing.assert_close(y, x, rtol=0, atol=1e-12)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=1e-12)
    bent, _ = spline(x, torch.randn(1, 1, PARAMETERS, dtype=torch.float64).expand(141, -1, -1))
    beyond = x.abs() > 4.0 + 1e-9
    assert torch.equal(bent[beyond], x[beyond])
    assert (bent.diff(dim=0) > 0).all()


def test_extreme_parameters_stay_finite_and_monotone_in_float32():
    x = torch.linspace(-5, 5, 2_001)[:, None]
    parameters = 40 * torch.randn(1, 1, PARAMETERS)
    y, log_slope = spline(x, parameters.expand(2_001, -1, -1))
    back, _ = inverse_spline(y, parameters.expand(2_001, -1, -1))
    assert torch.isfinite(log_slope).all()
    assert (y.diff(dim=0) >= 0).all()
    slope = np.exp(log_slope.numpy().max())
    # What was lost by rounding y is at most its resolution over the smallest slope.
    assert (back - x).abs().max() < 1e-5 * max(slope, 1 / np.exp(log_slope.numpy().min()))


@pytest.mark.parametrize("size", [1e4, 1e30])
@pytest.mark.parametrize("method", METHODS)
def test_absurd_parameters_stay_finite_in_the_kernels(method, size):
    x = 2.5 * torch.randn(300, 1, 2)
    moved, log_slope = METHODS[method](x, size * torch.randn(300, 1, 2, PARAMETERS))
    assert torch.isfinite(moved).all()
    assert torch.isfinite(log_slope).all()
    assert (moved.abs() <= x.abs().clamp_min(4.001)).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_point_does_not_depend_on_those_beside_it_in_a_kernel(method):
    x, parameters = torch.randn(300, 1, 2), torch.randn(300, 1, 2, PARAMETERS)
    together = METHODS[method](x, parameters)
    for part in (slice(0, 1), slice(100, 217)):  # other places in a vector
        alone = METHODS[method](x[part], parameters[part])
        for one, all_ in zip(alone, together, strict=True):
            torch.testing.assert_close(one, all_[part], rtol=1e-5, atol=1e-5)
    x[7, 0, 1] = torch.nan
    moved, _ = METHODS[method](x, parameters)
    assert torch.isnan(moved[7, 0, 1])
    moved[7, 0, 1] = together[0][7, 0, 1]
    assert torch.equal(moved, together[0])
