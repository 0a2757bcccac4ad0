import numpy as np
import pandas as pd
import pytest

import sbi_kit as sk
from sbi_kit.bank import Bank
from sbi_kit.checks import BadType, BadValue, UnknownName
from sbi_kit.context import context_source
from sbi_kit.data import Datasets, layout_from_dict, layout_to_dict, read
from sbi_kit.seeds import numpy_stream
from sbi_kit.shards import _DTYPES
from sbi_kit.simulation import SimulationError, replicate, simulate

KNOWN = sk.Prior(population=sk.LogUniform(100, 1e5), interval=sk.Uniform(0.5, 2))
BOUND = sk.Prior(low=sk.Uniform(0, 1), high=sk.Uniform("low", 2))
PAIR = sk.MultivariateNormal(names=("east", "west"), mean=(0, 5), covariance=[[1, 0.5], [0.5, 1]])
PRIOR = sk.Prior(a=sk.Normal(0, 1), b=sk.Normal(2, 3))
SERIES = sk.Series(columns=("x",), n=(2, 6), context=KNOWN)
ROWS = sk.Vector(columns=("x", "y"), context=KNOWN)


def echo(theta, rng, n, context):
    """Data that are the product of the context, with noise that is no more than a trace."""
    x = context.prod(axis=1)[:, None, None] + theta[:, :1, None]
    return x + 1e-9 * rng.random((len(theta), n, 1))


def make(run=echo, data=SERIES, prior=PRIOR):
    return sk.Simulator(name="echo", prior=prior, data=data, simulate=run)


def rng():
    return np.random.default_rng(0)


# Where context comes from


def test_what_is_given_is_shared_and_the_rest_is_drawn():
    context = context_source(SERIES, {"interval": 1.5}).draw(1_000, rng())
    assert set(context[:, 1]) == {1.5}
    assert len(set(context[:, 0])) == 1_000
    assert abs(np.log10(context[:, 0]).mean() - 3.5) < 0.1
    every = context_source(SERIES, {"interval": 1, "population": 763})
    assert every.draw(2, rng()).tolist() == [[763, 1], [763, 1]]
    assert context_source(sk.Vector("x")).draw(3, rng()).shape == (3, 0)


def test_what_is_drawn_is_conditional_on_what_is_given():
    layout = sk.Vector("x", context=BOUND)
    context = context_source(layout, {"low": 0.9}).draw(2_000, rng())
    assert abs(context[:, 1].min() - 0.9) < 0.01
    assert abs(context[:, 1].mean() - 1.45) < 0.03


def test_joint_context_is_drawn_or_given_as_a_whole():
    layout = sk.Vector("x", context=sk.Prior(PAIR, day=sk.Uniform(0, 7)))
    drawn = context_source(layout, {"day": 3}).draw(4_000, rng())
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] - 0.5) < 0.05
    given = context_source(layout, {"west": 2, "east": 1}).draw(1, rng())
    assert given[0, :2].tolist() == [1, 2]
    with pytest.raises(BadValue, match="all or none of east, west, which are drawn jointly"):
        context_source(layout, {"west": 2})


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"populaton": 3}, UnknownName, "context column .*did you mean 'population'?"),
        ({"population": "many"}, BadType, "context 'population' as a finite number; got 'many'"),
        ({"population": np.nan}, BadValue, "context 'population' as a finite number; got nan"),
        ({"population": [1, 2]}, BadType, "context 'population' as a finite number"),
        (763, BadType, "context as a mapping from names to values; got 763"),
    ],
)
def test_context_that_cannot_be_simulated(given, error, text):
    with pytest.raises(error, match=text):
        simulate(make(), 10, seed=1, context=given)


def test_a_layout_without_context_takes_none():
    plain = make(lambda t, r, n: r.random((len(t), n, 1)), sk.Series("x", n=3))
    with pytest.raises(BadValue, match="no context, as the layout declares none; got 'population'"):
        simulate(plain, 10, seed=1, context={"population": 763})
    with pytest.raises(BadValue, match="no context, as the layout declares none"):
        read([1, 2], sk.Series("x", n=3), {"population": 763})


# Layouts


@pytest.mark.parametrize(
    "layout",
    [
        SERIES,
        ROWS,
        sk.Exchangeable(("a",), 7, context=BOUND, nested=False),
        sk.Matrix(("a", "b"), (2, 9), context=sk.Prior(PAIR)),
    ],
)
def test_a_layout_with_context_survives_json_values(layout):
    entry = layout_to_dict(layout)
    assert layout_from_dict(entry) == layout
    assert layout_from_dict(entry).context == layout.context
    assert "context" not in layout_to_dict(sk.Vector("x"))
    assert hash(layout) == hash(layout_from_dict(entry))


@pytest.mark.parametrize(
    ("context", "error", "text"),
    [
        ({"population": 3}, BadType, "context as a sbi_kit.Prior; got dict"),
        (sk.Prior(x=sk.Uniform(0, 1)), BadValue, "context under names other than x, n; got 'x'"),
        (sk.Prior(n=sk.Uniform(0, 1)), BadValue, "context under names other than x, n; got 'n'"),
    ],
)
def test_context_that_cannot_be_declared(context, error, text):
    with pytest.raises(error, match=text):
        sk.Series("x", n=3, context=context)


# Banks


def test_the_simulator_gets_the_context_that_the_bank_keeps(tmp_path):
    memory = simulate(make(), 120, seed=3, chunk_rows=7, shard_rows=30)
    disk = simulate(make(), 120, seed=3, chunk_rows=7, shard_rows=30, path=tmp_path / "bank")
    order = rng().permutation(120)
    for bank in (memory, disk, Bank.open(tmp_path / "bank"), memory.head(120)):
        theta, x = bank.take(order)
        np.testing.assert_array_equal(x.context, memory.context[order])
        expected = x.context.prod(axis=1) + theta[:, 0]
        np.testing.assert_allclose(x.values[:, 0, 0], expected, rtol=1e-9)
    assert memory.context.shape == (120, 2)
    assert len(np.unique(memory.context)) == 240
    assert not memory.context.flags.writeable
    x = memory.take(order)[1]
    np.testing.assert_array_equal(x.take(np.array([5, 2])).context, x.context[[5, 2]])


def test_context_changes_nothing_else_and_costs_nothing_where_there_is_none(tmp_path):
    """It is drawn after parameters and sizes; shards without it are those of before."""
    from safetensors.numpy import load_file

    plain = make(lambda t, r, n: r.random((len(t), n, 1)), sk.Series("x", n=(2, 6)))
    without = simulate(plain, 60, seed=3, path=tmp_path / "plain")
    known = simulate(make(), 60, seed=3, path=tmp_path / "known")
    np.testing.assert_array_equal(known.theta, without.theta)
    np.testing.assert_array_equal(known.n, without.n)
    names = [set(load_file(tmp_path / k / "000000000000.safetensors")) for k in ("plain", "known")]
    assert names == [set(_DTYPES), {*_DTYPES, "context"}]
    assert without.context.shape == (60, 0)
    # A chunk's stream: parameters, then the size, then the context.
    stream = numpy_stream(3, "bank", 25)
    PRIOR.sample(25, stream)
    stream.integers(2, 7)
    np.testing.assert_array_equal(known.context[25:50], KNOWN.sample(25, stream))


def test_a_shard_without_the_context_that_is_declared_is_damaged(tmp_path):
    simulate(make(), 20, seed=3, path=tmp_path / "bank")
    shard = tmp_path / "bank" / "000000000000.safetensors"
    shard.write_bytes(shard.read_bytes().replace(b'"context"', b'"contexx"', 1))
    with pytest.raises(BadValue, match=r"a damaged header .'context'"):
        Bank.open(tmp_path / "bank")


def test_a_bank_goes_on_with_the_context_it_began_with(tmp_path):
    path = tmp_path / "bank"
    arguments = {"seed": 3, "chunk_rows": 10, "path": path}
    simulate(make(), 30, context={"population": 763}, **arguments)
    whole = simulate(make(), 60, context={"population": 763.0}, **arguments)
    straight = simulate(make(), 60, context={"population": 763}, seed=3, chunk_rows=10)
    np.testing.assert_array_equal(whole.context, straight.context)
    assert set(whole.context[:, 0]) == {763}
    assert Bank.open(path).header["context"] == {"population": 763}
    for other, text in (({"population": 764}, "population 763.0 there and 764"), (None, "None")):
        with pytest.raises(BadValue, match=text):
            simulate(make(), 90, context=other, **arguments)


def test_rows_that_run_alone_keep_their_context():
    def fails(theta, rng, n, context):
        if (context[:, 1] > 1.7).any():
            raise ZeroDivisionError("too long")
        context *= 1.0  # writing to it harms nobody
        return echo(theta, rng, n, context)

    bank = simulate(make(fails), 100, seed=3, skip_failures=True)
    lost = bank.context[:, 1] > 1.7
    np.testing.assert_array_equal(bank.status == 2, lost)
    theta, x = bank.take(np.flatnonzero(~lost))
    np.testing.assert_allclose(x.values[:, 0, 0], x.context.prod(1) + theta[:, 0], rtol=1e-9)
    record = bank.failures[0]
    assert record["context"]["interval"] == bank.context[record["row"], 1]
    with pytest.raises(SimulationError, match=r"failed at row \d+ \(a=.*, interval=1\.[789]"):
        simulate(make(fails), 100, seed=3)


def test_replicate_takes_the_context():
    theta = np.zeros((2, 2))
    for population in (700, [700, 700]):
        known = {"population": population, "interval": [1, 2]}
        x = replicate(make(), theta, 3, rng(), known)
        np.testing.assert_allclose(x[:, 0, 0], [700, 1_400], rtol=1e-6)
    with pytest.raises(BadValue, match="the context 'interval' of dataset 0, which the layout"):
        replicate(make(), theta, 3, rng(), {"population": 3})
    vector = make(lambda t, r, context: t + context, ROWS)
    x = replicate(vector, theta, 1, rng(), {"population": 700, "interval": 2})
    assert x.tolist() == [[[700, 2]], [[700, 2]]]


# Observed data


@pytest.mark.parametrize(
    ("x", "given"),
    [
        ([3, 8], {"population": 763, "interval": 1}),
        ([3, 8], {"population": [763], "interval": np.array([1.0])}),
        ({"x": [3, 8], "population": 763, "interval": 1.0}, None),
        ({"x": [3, 8], "population": [763, 763], "interval": [1]}, None),
        (pd.DataFrame({"interval": 1, "x": [3, 8], "population": 763}), {}),
        (pd.DataFrame({"x": [3, 8], "population": 763}), {"interval": 1}),
        ([{"x": [3, 8], "population": 5, "interval": 1}], {"population": 763}),
        (Datasets(np.array([[[3.0], [8.0]]]), np.array([2]), np.array([[763.0, 1.0]])), None),
        (Datasets(np.array([[[3.0], [8.0]]]), np.array([2])), {"population": 763, "interval": 1}),
    ],
)
def test_every_form_of_context(x, given):
    found = read(x, SERIES, given)
    assert found.context.tolist() == [[763, 1]]
    assert found.values.tolist() == [[[3], [8]]]


def test_context_of_several_datasets():
    each = [{"x": [3, 8], "population": 763, "interval": 1}, np.array([1.0, 2, 3])]
    found = read(each, SERIES, {"population": [5, 6], "interval": 2})
    assert found.context.tolist() == [[5, 2], [6, 2]]
    found = read([each[0], {**each[0], "population": 9}], SERIES)
    assert found.context.tolist() == [[763, 1], [9, 1]]
    assert read(found, SERIES).context.tolist() == found.context.tolist()


def test_each_row_of_vectors_has_its_own_context():
    frame = pd.DataFrame({"x": [1, 2], "y": [3, 4], "population": [5, 6], "interval": 1})
    assert read(frame, ROWS).context.tolist() == [[5, 1], [6, 1]]
    assert read(frame.iloc[1], ROWS).context.tolist() == [[6, 1]]
    columns = {"x": [1, 2], "y": [3, 4], "population": 7, "interval": [1, 2]}
    assert read(columns, ROWS).context.tolist() == [[7, 1], [7, 2]]


def test_context_beside_columns_that_are_called_anything():
    genes = sk.Matrix(columns=("g1", "g2"), n=(2, 9), context=sk.Prior(depth=sk.Uniform(0, 9)))
    frame = pd.DataFrame({"Actb": [1, 2], "depth": 4, "Sox2": [3, 4]})
    found = read(frame, genes)
    assert found.values[0].tolist() == [[1, 3], [2, 4]]
    assert found.context.tolist() == [[4]]


GIVEN = {"population": 763, "interval": 1}


@pytest.mark.parametrize(
    ("x", "given", "error", "text"),
    [
        (
            [3, 8],
            {"interval": 1},
            BadValue,
            "Expected the context 'population', which the layout declares; got none; pass it as "
            r"context=\{'population': value\}, or as a column 'population' beside the data\.",
        ),
        (
            [{"x": [1], **GIVEN}, {"x": [1], "population": 1}],
            None,
            BadValue,
            "the context 'interval' of dataset 1",
        ),
        ([3, 8], {**GIVEN, "intervall": 1}, UnknownName, "did you mean 'interval'?"),
        ([3, 8], {**GIVEN, "interval": "1 h"}, BadType, "context 'interval' of shape"),
        (
            [3, 8],
            {**GIVEN, "interval": [1, 2]},
            BadValue,
            r"'interval' of shape \(1,\); got \(2,\)",
        ),
        ([3, 8], {**GIVEN, "interval": np.inf}, BadValue, "got inf at row 0 of column 'interval'"),
        (
            {"x": [3, 8], "population": [763, 800], "interval": 1},
            None,
            BadValue,
            "one 'population' for a dataset; got 763 and 800; pass one dataset for each",
        ),
        (
            {"x": [1], "population": ["many"], "interval": 1},
            None,
            BadType,
            "in column 'population'",
        ),
        ({"x": [], "population": [], "interval": 1}, None, BadValue, "an empty set"),
        (
            Datasets(np.ones((1, 2, 1)), np.array([2]), np.ones((1, 3))),
            None,
            BadValue,
            r"context of the datasets of shape \(1, 2\); got \(1, 3\)",
        ),
    ],
)
def test_context_that_cannot_be_read(x, given, error, text):
    with pytest.raises(error, match=text):
        read(x, SERIES, given)
