"""What is compiled against what torch makes of the same in float64, values and gradients alike."""

import pytest
import torch

from sbi_kit.flow import BENDS, Coupling
from sbi_kit.summary.cells import Cell
from sbi_kit.summary.gated import GatedBlock, bounded, gated
from sbi_kit.summary.ragged import mask_of, mean_and_max


@pytest.fixture(autouse=True)
def own_stream():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


def values_and_gradients(function, given, weights):
    """Of a weighted sum of what a function returns, for what it was given and all parameters."""
    given = [part.detach().requires_grad_() for part in given]
    results = function(*given)
    results = results if isinstance(results, tuple) else (results,)
    loss = sum((w.to(r.dtype) * r).sum() for w, r in zip(weights, results, strict=True))
    module = [] if not isinstance(function, torch.nn.Module) else list(function.parameters())
    return [*results, *torch.autograd.grad(loss, [*given, *module])]


def agree(function, *given, error=1e-5):
    """A function gives in float32, compiled, what it gives in float64, in torch."""
    results = function(*given)
    results = results if isinstance(results, tuple) else (results,)
    weights = [torch.randn(result.shape, dtype=torch.float64) for result in results]
    exact = values_and_gradients(function, given, weights)
    if isinstance(function, torch.nn.Module):
        function = function.float()
    compiled = values_and_gradients(function, [part.float() for part in given], weights)
    for one, other in zip(compiled, exact, strict=True):
        assert one.dtype == torch.float32
        size = max(1.0, other.abs().max().item())
        torch.testing.assert_close(one.double(), other, rtol=10 * error, atol=error * size)


def far_and_near(*shape):
    """Numbers of very different size."""
    return torch.randn(shape, dtype=torch.float64) * 10 ** torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(7, 16), (4, 5, 6), (1, 2), (3, 2, 2, 128)])
def test_gates(shape):
    agree(gated, far_and_near(*shape))


@pytest.mark.parametrize("shape", [(7, 16), (4, 5, 6), (1, 1), (3, 2, 2, 64)])
def test_bounds(shape):
    agree(bounded, far_and_near(*shape))


@pytest.mark.parametrize("shape", [(7, 16), (4, 5, 6), (1, 1)])
def test_blocks(shape):
    block = GatedBlock(shape[-1]).double()
    for weight in block.parameters():
        torch.nn.init.normal_(weight)
    agree(block, far_and_near(*shape))


@pytest.mark.parametrize("longest", [1, 20])
def test_pools(longest):
    n = torch.randint(1, longest + 1, (9,))
    x = torch.randn(9, longest, 5, dtype=torch.float64)
    agree(lambda given: mean_and_max(given.masked_fill(~mask_of(x, n)[..., None], 0.0), n), x)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_cells(kind, backwards):
    cell = Cell(3, 8, kind=kind, backwards=backwards).double()
    for weight in cell.parameters():
        torch.nn.init.normal_(weight)
    n = torch.tensor([7, 1, 4, 6, 7])
    alive = (torch.arange(7)[:, None] < n).double()
    x = 3 * torch.randn(7, 5, 3, dtype=torch.float64)

    class Alive(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = cell

        def forward(self, x):
            return self.cell(x, alive.to(x.dtype))

    agree(Alive(), x)


@pytest.mark.parametrize("d", [2, 3, 7])
def test_couplings(d):
    coupling = Coupling(d, 16, BENDS["spline"]).double()
    for weight in coupling.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    u, context = torch.randn(40, d, dtype=torch.float64), torch.randn(40, 32, dtype=torch.float64)
    agree(coupling, u, context, error=2e-4)  # what float32 leaves of a spline's gradient


def test_a_gradient_may_be_of_any_layout():
    x = torch.randn(6, 8, requires_grad=True)
    gated(x).sum().backward()  # autograd hands on one number for all
    by_sum = x.grad
    x.grad = None
    gated(x).backward(torch.ones(4, 6).T)
    assert torch.equal(x.grad, by_sum)
    torch.testing.assert_close(bounded(x.T), bounded(x.T.contiguous()), rtol=0, atol=0)


@pytest.mark.parametrize("function", [gated, bounded])
def test_a_row_does_not_depend_on_those_beside_it(function):
    x = torch.randn(301, 22)
    together = function(x)
    for part in (slice(0, 1), slice(100, 217)):
        assert torch.equal(function(x[part]), together[part])


def test_what_is_not_a_number_stays_none():
    x = torch.randn(3, 4)
    x[1, 0] = torch.nan
    assert gated(x)[1, 0].isnan()
    assert bounded(x)[1].isnan().all()
    pooled = mean_and_max(x[:, None], torch.ones(3, dtype=torch.int64))
    assert pooled[1, 0].isnan()
    assert pooled[[0, 2]].isfinite().all()
