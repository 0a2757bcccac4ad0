import math

import numpy as np
import pytest
import torch
from torch import nn

from sbi_kit.data import Exchangeable, Matrix, Series, Vector
from sbi_kit.network import Architecture, build_network, shapes_of
from sbi_kit.summary import SHORTENED, SUMMARIES, default_summary, two_way
from sbi_kit.summary.cells import Cell
from sbi_kit.summary.convolution import Halving
from sbi_kit.summary.gated import Gated, GatedBlock
from sbi_kit.summary.ragged import log_size, mask_of, mean_and_max, mean_over
from sbi_kit.summary.standardize import Standardizer, constant_columns, fit_standardizer
from sbi_kit.summary.windows import Windows

WIDTH, INPUTS = 5, 3
RAGGED = [name for name in SUMMARIES if name != "identity"]
SETS = ["deep_set", "deep_set_twice", "set_transformer", "two_way"]
ORDERED = ["convolution", "gru", "gru_both_ways", "gru_twice", "lstm"]
LONGEST = (20, 300)  # a stride of 1 and of 5


@pytest.fixture(autouse=True)
def own_stream():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        yield


def make(name, longest=20, inputs=INPUTS, columns=INPUTS):
    """In float64, with weights that are no special case (a new residual block is the identity)."""
    module = SUMMARIES[name](inputs, WIDTH, 8, longest, columns).double()
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return module


def batch(b, longest, inputs=INPUTS):
    x = torch.randn(b, longest, inputs, dtype=torch.float64)
    n = torch.randint(1, longest + 1, (b,))
    n[0], n[-1] = 1, longest
    return x, n


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


# Laws of every summary


@pytest.mark.parametrize("name", SUMMARIES)
def test_features_have_the_declared_width(name):
    x = torch.randn(4, 1, INPUTS, dtype=torch.float64)
    assert make(name)(x, torch.ones(4, dtype=torch.int64)).shape == (4, WIDTH)


@pytest.mark.parametrize("longest", LONGEST)
@pytest.mark.parametrize("name", RAGGED)
@pytest.mark.parametrize("garbage", [1e30, -7.0, math.nan, math.inf])
def test_what_stands_in_the_padding_changes_nothing(name, longest, garbage):
    summary = make(name, longest)
    x, n = batch(8, longest)
    dirty = x.clone()
    dirty[~mask_of(x, n)] = garbage
    close(summary(dirty, n), summary(x, n))


@pytest.mark.parametrize("longest", LONGEST)
@pytest.mark.parametrize("name", RAGGED)
def test_longer_padding_changes_nothing(name, longest):
    summary = make(name, longest)
    x, n = batch(8, longest)
    longer = torch.cat([x, torch.full((8, 13, INPUTS), 9.0, dtype=torch.float64)], dim=1)
    close(summary(longer, n), summary(x, n))


@pytest.mark.parametrize("longest", LONGEST)
@pytest.mark.parametrize("name", RAGGED)
def test_features_do_not_depend_on_neighbours(name, longest):
    summary = make(name, longest)
    x, n = batch(8, longest)
    alone = [summary(x[i : i + 1, : n[i]], n[i : i + 1]) for i in range(8)]
    close(torch.cat(alone), summary(x, n))


@pytest.mark.parametrize("longest", LONGEST)
@pytest.mark.parametrize("name", RAGGED)
def test_every_observation_counts(name, longest):
    summary = make(name, longest)
    x = torch.randn(1, longest, INPUTS, dtype=torch.float64, requires_grad=True)
    summary(x, torch.tensor([longest])).sum().backward()
    assert (x.grad.abs().sum(-1) > 0).all()


@pytest.mark.parametrize("longest", LONGEST)
@pytest.mark.parametrize("name", RAGGED)
def test_the_number_of_observations_is_seen(name, longest):
    summary = make(name, longest)
    x = torch.ones(1, longest, INPUTS, dtype=torch.float64)
    few, many = (summary(x, torch.tensor([n])) for n in (longest // 2, longest))
    assert (few - many).abs().max() > 1e-2


@pytest.mark.parametrize("name", SUMMARIES)
def test_gradient_reaches_every_weight(name):
    summary = make(name)
    size = 1 if name == "identity" else 20
    x, n = batch(16, size)
    summary(x, n).square().sum().backward()
    idle = [k for k, w in summary.named_parameters() if w.grad is None or not w.grad.abs().sum()]
    assert idle == []


@pytest.mark.parametrize("longest", LONGEST)
@pytest.mark.parametrize("name", RAGGED)
def test_one_observation_is_enough(name, longest):
    summary = make(name, longest)
    x = torch.randn(2, 1, INPUTS, dtype=torch.float64)
    features = summary(x, torch.tensor([1, 1]))
    assert torch.isfinite(features).all()
    assert not torch.equal(features[0], features[1])


@pytest.mark.parametrize("longest", LONGEST)
@pytest.mark.parametrize("name", RAGGED)
def test_two_copies_say_more_than_one(name, longest):
    summary = make(name, 2 * longest)
    x, n = torch.randn(1, longest, INPUTS, dtype=torch.float64), torch.tensor([longest])
    assert (summary(torch.cat([x, x], dim=1), 2 * n) - summary(x, n)).abs().max() > 1e-2


@pytest.mark.parametrize("size", [1.0, 1e3])
@pytest.mark.parametrize("name", RAGGED)
def test_one_extreme_observation_beside_many_gives_finite_features_and_gradients(name, size):
    summary = make(name, 500).float()
    x, n = size * torch.randn(3, 500, INPUTS), torch.tensor([1, 500, 2])
    x.requires_grad_()
    features = summary(x, n)
    features.square().sum().backward()
    assert features.isfinite().all()
    for tensor in (x, *summary.parameters()):
        assert tensor.grad.isfinite().all()


@pytest.mark.parametrize("name", SUMMARIES)
def test_single_precision_gives_the_same_features(name):
    summary = make(name)
    x, n = batch(8, 1 if name == "identity" else 20)
    exact = summary(x, n)
    features = summary.float()(x.float(), n)
    assert features.dtype == torch.float32
    torch.testing.assert_close(features.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("longest", [1, *LONGEST])
@pytest.mark.parametrize("name", SUMMARIES)
def test_shapes_are_known_without_making_room(name, longest):
    sizes = Architecture(summary=name, inputs=4, parameters=2, longest=longest, columns=2)
    weights = build_network(sizes, seed=1).state_dict()
    assert {key: tensor.shape for key, tensor in weights.items()} == shapes_of(sizes)


@pytest.mark.parametrize("name", SETS)
def test_a_summary_of_a_set_does_not_see_the_order(name):
    summary = make(name)
    x, n = batch(6, 20)
    shuffled = x.clone()
    for row, size in zip(shuffled, n.tolist(), strict=True):
        row[:size] = row[:size][torch.randperm(size)]
    close(summary(shuffled, n), summary(x, n))


def test_attention_sees_which_observations_stand_together():
    """Columns shuffled apart have the same margins; a set transformer is no mean of margins."""
    summary = make("set_transformer")
    x, n = torch.randn(1, 20, INPUTS, dtype=torch.float64), torch.tensor([20])
    apart = torch.cat([x[..., :1].flip(1), x[..., 1:]], dim=-1)
    assert (summary(x, n) - summary(apart, n)).abs().max() > 1e-3


def test_a_two_way_summary_sees_neither_the_order_of_rows_nor_of_columns():
    summary = make("two_way", inputs=12, columns=6)  # two views of each column
    x, n = batch(6, 20, inputs=12)
    shuffled = x.unflatten(-1, (2, 6))[..., torch.randperm(6)].flatten(-2)
    for row, size in zip(shuffled, n.tolist(), strict=True):
        row[:size] = row[:size][torch.randperm(size)]
    close(summary(shuffled, n), summary(x, n))


def test_a_two_way_summary_sees_what_stands_in_one_row_and_in_one_column_together():
    summary = make("two_way", inputs=4, columns=4)
    x, n = torch.randn(1, 20, 4, dtype=torch.float64), torch.tensor([20])
    same_columns, same_rows = x.clone(), x.clone()
    same_columns[..., :2] = x.flip(1)[..., :2]
    same_rows[:, :10] = x.flip(2)[:, :10]
    for other in (same_columns, same_rows):
        assert (summary(other, n) - summary(x, n)).abs().max() > 1e-6


def test_the_views_of_a_column_stay_together():
    """Swapping two columns in one view only is another dataset."""
    summary = make("two_way", inputs=8, columns=4)
    x, n = batch(1, 20, inputs=8)
    swapped = x[..., [1, 0, 2, 3, 4, 5, 6, 7]]
    assert (summary(swapped, n) - summary(x, n)).abs().max() > 1e-3


@pytest.mark.parametrize("name", ORDERED)
def test_a_summary_of_a_series_sees_the_order(name):
    summary = make(name)
    x = torch.randn(1, 20, INPUTS, dtype=torch.float64)
    n = torch.tensor([20])
    assert (summary(x, n) - summary(x.flip(1), n)).abs().max() > 1e-3


@pytest.mark.parametrize("name", SHORTENED)
def test_a_long_series_is_shortened(name):
    strides = [make(name, longest).windows.stride for longest in (64, 65, 1_000)]
    assert strides == [1, 2, 16]


@pytest.mark.parametrize("name", ["deep_set", "gru"])
def test_a_second_reading_begins_as_the_first_alone(name):
    twice = SUMMARIES[f"{name}_twice"](INPUTS, WIDTH, 8, 20, INPUTS).double()
    x, n = batch(8, 20)
    assert torch.equal(twice(x, n), twice.first(x, n))


def test_a_second_reading_weighs_an_observation_by_what_all_said():
    """The mean of functions of single observations adds up; what the second reading adds does not.

    With features held fixed, two sets that share their halves crosswise have equal sums.
    """
    summary = make("deep_set_twice")
    a, b, c, d = torch.randn(4, 1, 10, INPUTS, dtype=torch.float64)
    sets = [torch.cat(pair, dim=1) for pair in ((a, b), (c, d), (a, d), (c, b))]
    n = torch.tensor([20])
    added = [summary(x, n) - summary.first(x, n) for x in sets]
    crosswise = added[0] + added[1] - added[2] - added[3]
    assert crosswise.abs().max() > 1e-3
    summary.known.weight.data.zero_()
    added = [summary(x, n) - summary.first(x, n) for x in sets]
    close(added[0] + added[1], added[2] + added[3])


@pytest.mark.parametrize("longest", LONGEST)
@pytest.mark.parametrize("name", RAGGED)
def test_compiled_passes_give_what_torch_does_whatever_is_in_the_padding(name, longest):
    summary = make(name, longest)
    x, n = batch(9, longest)
    exact = summary(x, n)
    x[~mask_of(x, n)] = math.nan
    features = summary.float()(x.float(), n)
    torch.testing.assert_close(features.double(), exact, rtol=1e-3, atol=1e-4)


# What the summaries are made of


def test_mean_over_is_the_mean_of_each():
    x, n = batch(8, 20)
    exact = torch.stack([x[i, : n[i]].mean(0) for i in range(8)])
    close(mean_over(x.masked_fill(~mask_of(x, n)[..., None], 0), n), exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mean_and_max_are_those_of_each(dtype):
    x, n = batch(8, 20)
    x = x.masked_fill(~mask_of(x, n)[..., None], 0.0).to(dtype)
    parts = [x[i, : n[i]] for i in range(8)]
    mean, largest = mean_and_max(x, n).chunk(2, dim=-1)
    assert torch.equal(largest, torch.stack([part.amax(0) for part in parts]))
    exact = torch.stack([part.mean(0) for part in parts])
    torch.testing.assert_close(mean, exact, rtol=0, atol=1e-6 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_size_has_the_type_of_the_data_whatever_the_default(dtype):
    size = log_size(torch.zeros(2, 1, 1, dtype=dtype), torch.tensor([1, 1_000]))
    assert size.dtype == dtype
    torch.testing.assert_close(
        size.double().ravel()[1] - size[0, 0], torch.tensor(math.log(1_000) / 2).double()
    )


def test_small_gates_multiply_exactly():
    layer = Gated(2, 1).double()
    with torch.no_grad():
        layer.linear.weight.copy_(torch.eye(2))
        layer.linear.bias.zero_()
    x = torch.tensor([[3.0, 1e-3], [-2.0, 1e-3]], dtype=torch.float64)
    torch.testing.assert_close(layer(x)[:, 0], x.prod(1), rtol=1e-5, atol=0)


def test_the_gradient_of_gated_layers_is_exact():
    layer = nn.Sequential(Gated(3, 4), GatedBlock(4)).double()
    for weight in layer.parameters():
        nn.init.normal_(weight, std=2.0)
    x = (3 * torch.randn(5, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))


REFERENCES = {"gru": nn.GRU, "lstm": nn.LSTM}


def reference_states(kind, cell, x, n):
    """What torch's own layer of the cell's weights gives, series by series; (steps, hidden, b)."""
    h = cell.of_state.shape[1]
    layer = REFERENCES[kind](x.shape[-1], h).double()
    of_input, of_state, bias = (w.unflatten(0, (-1, h)) for w in cell.parameters())
    if kind == "gru":  # torch's order is r, z, c
        candidate, reset, update, recurrent = bias[..., 0]
        weights = {
            "weight_ih_l0": of_input[[1, 2, 0]].flatten(0, 1),
            "weight_hh_l0": of_state.flatten(0, 1),
            "bias_ih_l0": torch.cat([reset, update, candidate]),
            "bias_hh_l0": torch.cat([torch.zeros_like(reset), torch.zeros_like(reset), recurrent]),
        }
    else:  # torch's order is i, f, g, o
        torchs = [0, 1, 3, 2]
        weights = {
            "weight_ih_l0": of_input[torchs].flatten(0, 1),
            "weight_hh_l0": of_state[torchs].flatten(0, 1),
            "bias_ih_l0": bias[torchs].flatten(),
            "bias_hh_l0": torch.zeros(4 * h, dtype=x.dtype),
        }
    turned = (lambda series: series.flip(0)) if cell.backwards else (lambda series: series)
    each = []
    for i, size in enumerate(n.tolist()):
        states = torch.func.functional_call(layer, weights, (turned(x[:size, i]),))[0]
        each.append(nn.functional.pad(turned(states), (0, 0, 0, len(x) - size)))
    return torch.stack(each, dim=-1)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("kind", REFERENCES)
def test_cells_and_their_gradients_are_those_of_torchs_layers(kind, backwards):
    cell = Cell(INPUTS, 4, kind=kind, backwards=backwards).double()
    x = torch.randn(7, 5, INPUTS, dtype=torch.float64, requires_grad=True)
    n = torch.tensor([7, 1, 4, 6, 7])
    alive = (torch.arange(7)[:, None] < n).double()
    own, reference = cell(x, alive), reference_states(kind, cell, x, n)
    close(own, reference)
    direction = torch.randn_like(own)
    inputs = [x, *cell.parameters()]
    of_own, of_reference = (torch.autograd.grad(y, inputs, direction) for y in (own, reference))
    for gradient, expected in zip(of_own, of_reference, strict=True):
        close(gradient, expected)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("kind", REFERENCES)
def test_gradients_of_cells_are_differences(kind, backwards):
    cell = Cell(2, 2, kind=kind, backwards=backwards).double()
    x = torch.randn(4, 3, 2, dtype=torch.float64, requires_grad=True)
    alive = (torch.arange(4)[:, None] < torch.tensor([4, 1, 2])).double()
    names = [name for name, _ in cell.named_parameters()]

    def states(x, *weights):
        return torch.func.functional_call(cell, dict(zip(names, weights, strict=True)), (x, alive))

    assert torch.autograd.gradcheck(states, (x, *cell.parameters()))


def test_a_new_halving_level_takes_the_means_of_pairs():
    x, n = torch.randn(2, 5, 4, dtype=torch.float64), torch.tensor([5, 3])
    means, half = Halving(4).double()(x, n)
    assert half.tolist() == [3, 2]
    close(means[0], torch.stack([x[0, :2].mean(0), x[0, 2:4].mean(0), x[0, 4]]))
    close(means[1, :2], torch.stack([x[1, :2].mean(0), x[1, 2]]))


def test_windows_see_as_far_to_the_left_as_to_the_right():
    layer = Windows(1, 1, stride=2).double()
    x = torch.randn(1, 8, 1, dtype=torch.float64, requires_grad=True)
    features, steps = layer(x, torch.tensor([7]))
    assert features.shape == (1, 4, 1)
    assert steps.tolist() == [4]
    seen = [torch.autograd.grad(y, x, retain_graph=True)[0].flatten() != 0 for y in features[0]]
    spans = [mask.nonzero().flatten().tolist() for mask in seen]
    assert spans == [[0, 1, 2], [0, 1, 2, 3, 4], [2, 3, 4, 5, 6], [4, 5, 6]]


def test_a_new_residual_block_is_the_identity():
    x = torch.randn(5, 8)
    assert torch.equal(GatedBlock(8)(x), x)


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        (Vector(("a", "b")), "identity"),
        (Vector(tuple(f"x{i}" for i in range(500))), "identity"),
        (Series(("a",), 14), "identity"),
        (Series(("a", "b"), 16), "identity"),
        (Series(("a", "b"), 17), "gru_twice"),
        (Series(("a",), (5, 6)), "gru_twice"),
        (Exchangeable(("a",), 5), "deep_set_twice"),
        (Exchangeable(("a",), (5, 6)), "deep_set_twice"),
        (Matrix(("a", "b"), 5), "two_way"),
        (Matrix(("a", "b"), (5, 6), columns_exchangeable=False), "deep_set_twice"),
    ],
)
def test_the_default_summary_suits_the_layout(layout, name):
    assert default_summary(layout) == name


# Standardisation


def columns_of_all_kinds(rows=4_000):
    rng = np.random.default_rng(3)
    normal, uniform = rng.normal(2, 3, rows), rng.uniform(-1, 1, rows)
    counts = np.round(np.exp(rng.normal(3, 3, rows)))
    cauchy = rng.standard_cauchy(rows)
    return np.stack([normal, uniform, counts, cauchy], axis=1)


def test_features_are_of_order_one_and_finite():
    values = columns_of_all_kinds()
    standardizer = fit_standardizer(values)
    features = standardizer(values)
    assert features.dtype == np.float32
    assert features.shape == (4_000, standardizer.features)
    assert np.abs(np.median(features[:, :4], axis=0)).max() < 1e-6
    spread = np.subtract(*np.quantile(features, [0.75, 0.25], axis=0)) / 1.349
    assert ((spread > 0.3) & (spread < 1.5)).all()
    assert np.abs(features).max() < 30


def test_heavy_tails_are_shown_a_second_time_on_a_log_scale():
    standardizer = fit_standardizer(columns_of_all_kinds())
    assert standardizer.heavy.tolist() == [2, 3]
    features = standardizer(columns_of_all_kinds())
    assert standardizer.features == features.shape[1] == 6
    logarithmic = features[:, 4:]
    assert np.abs(logarithmic.mean(0)).max() < 0.05
    assert np.abs(logarithmic.std(0) - 1).max() < 0.1


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_light_columns_do_not_feel_scale_and_offset(scale, offset):
    values = columns_of_all_kinds()[:, :2]
    moved = values * scale + offset * scale
    features, same = (fit_standardizer(v)(v) for v in (values, moved))
    np.testing.assert_allclose(same, features, rtol=0, atol=1e-5)


def test_a_small_spread_beside_a_large_offset_survives():
    # In float32 all of these would be one number.
    values = 1e9 + np.linspace(0, 1, 1_001)[:, None]
    features = fit_standardizer(values)(values)
    assert len(np.unique(features)) == 1_001


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_heavy_columns_do_not_feel_scale(scale):
    values = columns_of_all_kinds()[:, 2:]
    features, same = (fit_standardizer(v)(v) for v in (values, values * scale))
    np.testing.assert_allclose(same, features, rtol=0, atol=1e-4)


def test_constant_columns_become_zeros_and_are_named():
    values = columns_of_all_kinds()
    values[:, 0], values[:, 2] = 7.3, 0.0
    standardizer = fit_standardizer(values)
    features = standardizer(values)
    assert constant_columns(values, ["a", "b", "c", "d"]) == ["a", "c"]
    assert not features[:, [0, 2]].any()
    assert standardizer.heavy.tolist() == [3]
    other = standardizer(values + 1)  # in new data they may differ
    assert np.isfinite(other).all()


def test_a_column_that_is_mostly_zero_is_no_constant():
    values = np.zeros((1_000, 1))
    values[::20, 0] = np.arange(1, 51)
    features = fit_standardizer(values)(values)
    assert constant_columns(values, ["a"]) == []
    assert np.isfinite(features).all()
    assert len(np.unique(features[:, 0])) == 51


def test_outliers_grow_like_logarithms_and_keep_their_order():
    standardizer = fit_standardizer(np.random.default_rng(0).normal(size=(1_000, 1)))
    features = standardizer(np.array([[1.0], [1e3], [1e6], [1e12], [1e300]]))[:, 0]
    assert (np.diff(features) > 0).all()
    assert features[-1] < 1_000
    np.testing.assert_allclose(standardizer(np.array([[-1e6]])), -features[2], rtol=0.01)


@pytest.mark.parametrize("rows", [1, 2, 50])
def test_few_rows_standardise(rows):
    values = columns_of_all_kinds(rows)
    assert np.isfinite(fit_standardizer(values)(values)).all()


def test_padded_datasets_are_standardised_observation_by_observation():
    values = columns_of_all_kinds()
    standardizer = fit_standardizer(values)
    cube = standardizer(values.reshape(40, 100, 4))
    assert np.array_equal(cube.reshape(4_000, -1), standardizer(values))


def test_arrays_restore_a_standardizer():
    values = columns_of_all_kinds()
    standardizer = fit_standardizer(values)
    same = Standardizer(**standardizer.arrays())
    assert np.array_equal(same(values), standardizer(values))


def test_a_standardisation_repeated_treats_all_columns_alike():
    values = np.exp(np.random.default_rng(4).normal(0, 3, (500, 1)))
    one = fit_standardizer(values)
    assert one.features == 2
    assert one.repeated(3).features == 6
    table = values[:300].reshape(100, 3)
    views = one.repeated(3)(table).reshape(100, 2, 3)
    np.testing.assert_array_equal(views, one(table[..., None]).swapaxes(1, 2))


def test_missing_values_become_zeros_with_an_indicator():
    values = columns_of_all_kinds()
    values[::3, 1] = values[1::3, 3] = np.nan
    standardizer = fit_standardizer(values, [1, 3])
    plain = fit_standardizer(columns_of_all_kinds())
    features = standardizer(values)
    assert features.shape == (4_000, standardizer.features) == (4_000, 8)
    there = ~np.isnan(values[:, [1, 3]])
    np.testing.assert_array_equal(features[:, 6:], there)
    assert not features[:, 1][~there[:, 0]].any()
    assert not features[:, [3, 5]][~there[:, 1]].any()
    # What is there is standardised as if nothing were missing, but for the sample's noise.
    np.testing.assert_allclose(features[1::3, 1], plain(columns_of_all_kinds())[1::3, 1], atol=0.2)
    np.testing.assert_allclose(standardizer.center, np.nanmedian(values, axis=0))
    assert np.abs(features[there[:, 1], 5].mean()) < 1e-5
    assert constant_columns(values, ["a", "b", "c", "d"]) == []


def test_what_may_be_missing_and_is_not_still_has_its_indicator():
    values = columns_of_all_kinds()
    plain, prepared = fit_standardizer(values), fit_standardizer(values, [0])
    np.testing.assert_array_equal(prepared(values)[:, :-1], plain(values))
    assert (prepared(values)[:, -1] == 1).all()
    values[:, 0] = np.nan
    assert constant_columns(values, ["a", "b", "c", "d"]) == ["a"]
    features = fit_standardizer(values, [0])(values)
    assert np.isfinite(features).all()
    assert not features[:, [0, -1]].any()


def test_two_standardisations_stand_side_by_side():
    values = columns_of_all_kinds()
    values[::3, 3] = np.nan
    cells = fit_standardizer(values[:, 3:], [0]).repeated(2)
    context = fit_standardizer(values[:, [0, 2]])
    both = Standardizer(**cells.beside(context).arrays())
    table = np.concatenate([values[:, [3, 3]], values[:, [0, 2]]], axis=1)
    expected = np.concatenate([cells(table[:, :2]), context(table[:, 2:])], axis=1)
    np.testing.assert_array_equal(both(table), expected)
    assert (both.features, both.features_from(2), cells.features) == (9, 3, 6)


# What a two-way summary shows beside its networks


def test_ties_and_variances_are_counted():
    values = torch.tensor([[[2.0, 1.0], [2.0, 5.0], [4.0, 5.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, True, False]])
    pairs, kinds = two_way._log_ties(values, mask)
    np.testing.assert_allclose(pairs.exp(), [[5 / 9, 5 / 9]], rtol=1e-5)
    np.testing.assert_allclose(kinds.exp(), [[2 / 3, 2 / 3]], rtol=1e-5)
    alike, _ = two_way._log_ties(torch.full((1, 4, 2), 3.0), mask)
    np.testing.assert_allclose(alike.exp(), [[1, 1]], rtol=1e-5)
    _, apart = two_way._log_ties(torch.arange(8.0).view(1, 4, 2), mask)
    np.testing.assert_allclose(apart.exp(), [[1, 1]], rtol=1e-5)
    there = mask[..., None].expand_as(values)
    wide = two_way._log_variance(values, there, dim=1)
    exact = values[0, :3].var(dim=0, correction=0)
    np.testing.assert_allclose(wide.exp()[0], exact + two_way._LEAST, rtol=1e-5)
