import numpy as np
import pytest
import torch

from sbi_kit.summary.deep_set import DeepSet
from sbi_kit.summary.moments import Moments
from sbi_kit.summary.recurrent import Recurrent
from sbi_kit.summary.soft import unsoftened

NOWHERE = torch.full((3,), -torch.inf, dtype=torch.float64)  # zero is no place in the data


@pytest.fixture(autouse=True)
def own_stream():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        yield


def datasets(b=300, longest=20, inputs=3):
    """Padded with NaN-free rubbish; the third column is never negative."""
    x = torch.randn(b, longest, inputs, dtype=torch.float64)
    x[..., 2] = x[..., 2].exp() * torch.rand(b, 1, dtype=torch.float64).mul(6).exp()
    return x, torch.randint(1, longest + 1, (b,))


def exact(x, n):
    """Means and second moments by plain loops, in the order of a row-wise upper triangle."""
    rows = []
    for table, size in zip(x.numpy(), n.tolist(), strict=True):
        v = np.column_stack([np.ones(size), table[:size]])
        moments = v.T @ v / size
        rows.append(moments[np.triu_indices(len(moments))][1:])
    return np.array(rows)


def test_raw_moments_are_those_of_the_true_observations():
    x, n = datasets()
    layer = Moments(3, relations=False).double()
    found = unsoftened(layer(x, n)).numpy()
    np.testing.assert_allclose(found, exact(x, n), rtol=1e-10)
    assert layer.size == 9


def test_adapted_moments_are_of_order_one():
    x, n = datasets()
    layer = Moments(3, relations=False).double()
    before = layer(x, n)
    layer.adapt(x, n, NOWHERE[: x.shape[-1]])
    views = layer(x, n)
    middle = views.median(dim=0).values
    spread = views.quantile(0.75, dim=0) - views.quantile(0.25, dim=0)
    assert before.abs().max() > 10
    assert middle.abs().max() < 0.5
    assert ((spread > 0.5) & (spread < 3)).all()
    assert views.abs().max() < 12


def test_moments_over_orders_of_magnitude_are_shown_as_logarithms():
    # The mean of a column that is never negative, over six orders of magnitude.
    sizes = torch.logspace(-3, 3, 400, dtype=torch.float64)
    x = sizes[:, None, None].expand(-1, 5, 1)
    n = torch.full((400,), 5)
    layer = Moments(1, relations=False).double()
    layer.adapt(x, n, NOWHERE[: x.shape[-1]])
    steps = layer(x, n)[:, 0].diff()
    assert (steps > 0).all()
    assert steps[100:].max() / steps[100:].min() < 1.6  # even, but for the smallest


def test_each_scale_follows_from_the_range_of_a_moment():
    size = torch.linspace(-3, 3, 400, dtype=torch.float64).exp()
    columns = {
        "counts over orders of magnitude": size,
        "counts of one size": 3 + torch.rand(400, dtype=torch.float64),
        "of both signs": torch.randn(400, dtype=torch.float64),
        "of both signs over orders of magnitude": torch.randn(400, dtype=torch.float64) * size**2,
    }
    x = torch.stack(list(columns.values()), dim=-1)[:, None]  # sets of one observation
    layer = Moments(4, relations=False).double()
    layer.adapt(x, torch.ones(400, dtype=torch.int64), torch.zeros(4, dtype=torch.float64))
    assert layer.wide[:4].tolist() == [1, 0, 0, 1]


def test_columns_that_are_never_negative_are_measured_from_zero():
    counts = torch.poisson(torch.full((200, 6, 2), 3.0, dtype=torch.float64))
    x, n = (counts - torch.tensor([3.0, 5.0])) / 2, torch.full((200,), 6)
    x[..., 1] -= 9  # a column that goes below its zero
    layer = Moments(2, relations=False).double()
    layer.adapt(x, n, torch.tensor([-1.5, -2.5], dtype=torch.float64))
    assert layer.shift.tolist() == [1.5, 0.0]
    layer.wide.zero_()
    layer.center.zero_()
    layer.scale.fill_(1.0)
    mean = counts[..., 0].mean(1) / 2
    torch.testing.assert_close(layer(x, n)[:, 0], mean, rtol=1e-12, atol=0)


def test_an_empty_set_has_finite_moments():
    layer, nothing = (
        Moments(2, relations=False),
        (torch.zeros(3, 0, 2), torch.zeros(3, dtype=torch.int64)),
    )
    layer.adapt(*nothing, NOWHERE[:2])
    assert torch.isfinite(layer(*nothing)).all()


def test_relations_are_regressions_of_each_column_on_the_others():
    x, n = datasets(b=4, longest=50)
    x[..., 2] = 2 * x[..., 0] - x[..., 1] + 0.3 * torch.randn(4, 50, dtype=torch.float64) + 1
    layer, plain = Moments(3, relations=True).double(), Moments(3, relations=False).double()
    relations = unsoftened(layer(x, n)[:, plain.size :])
    assert relations.shape == (4, 3 * 4)
    for table, size, found in zip(x.numpy(), n.tolist(), relations.numpy(), strict=True):
        # The observations, and one more without relations: a unit for each column by itself.
        rows = np.concatenate([np.column_stack([np.ones(size), table[:size]]), np.eye(4)])
        coefficients, variances = np.zeros((4, 3)), []
        for j in (1, 2, 3):
            others = np.delete(np.arange(4), j)
            fitted, residual, *_ = np.linalg.lstsq(rows[:, others], rows[:, j], rcond=None)
            coefficients[others, j - 1] = fitted
            variances.append(residual[0] / size)
        wanted = np.concatenate([coefficients[~np.eye(4, dtype=bool)[:, 1:]], variances])
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("size", [1.0, 1e3, 1e9])
def test_relations_of_collinear_columns_are_finite(size):
    x = size * torch.randn(5, 30, 1).expand(-1, -1, 3)
    views = Moments(3, relations=True)(x, torch.tensor([30, 3, 2, 1, 0]))
    assert torch.isfinite(views).all()


def test_wide_observations_are_projected():
    layer = Moments(100, relations=False)
    assert layer.size == 32 * 33 // 2 - 1
    assert layer(torch.randn(2, 4, 100), torch.tensor([4, 2])).shape == (2, layer.size)


@pytest.mark.parametrize(
    "summary",
    [
        DeepSet(3, 8, hidden=4),
        Recurrent(3, 8, cell="gru", hidden=4, longest=20, both_ways=False),
    ],
    ids=["deep_set", "gru"],
)
def test_summaries_adapt_to_what_they_will_see_and_keep_it(summary):
    x, n = (part for part in datasets())
    summary = summary.double()
    scale = summary.moments.scale.clone()
    summary.adapt(x, n, NOWHERE)
    assert not torch.equal(summary.moments.scale, scale)
    rubbish = torch.where(torch.arange(20)[None, :, None] < n[:, None, None], x, 1e6)
    before = {k: v.clone() for k, v in summary.state_dict().items()}
    summary.adapt(rubbish, n, NOWHERE)  # padding changes nothing
    for name, values in summary.state_dict().items():
        torch.testing.assert_close(values, before[name], rtol=1e-9, atol=1e-12)
    assert {"moments.center", "moments.scale"} <= set(summary.state_dict())
    assert all(not buffer.requires_grad for buffer in summary.moments.buffers())
