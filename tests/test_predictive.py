"""Predictive checks against data whose distribution is known, and against numpy by hand."""

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import kstest

import sbi_kit as sk
from sbi_kit.checks import BadType, BadValue
from sbi_kit.data import Datasets, stack
from sbi_kit.diagnostics.predictive import compare, predictive_check

SET = sk.Exchangeable(columns=("x",), n=(1, 60))
SERIES = sk.Series(columns=("x",), n=(1, 60))


def alike(b, k, draw):
    """b datasets and k replicates of each from the law of draw(rows), (rows, n, columns)."""
    data = draw(b * (k + 1))
    data = data.reshape(b, k + 1, *data.shape[1:])
    return Datasets(data[:, 0], np.full(b, data.shape[2])), data[:, 1:]


def column(check, name):
    return check.names.index(name)


# p-values


def test_p_values_of_data_like_their_replicates_are_uniform():
    rng = np.random.default_rng(1)
    x, replicated = alike(1_500, 99, lambda rows: rng.normal(size=(rows, 12, 1)))
    check = compare(x, replicated, SERIES)
    for statistic in ("mean of x", "sd of x", "75 % of x", "lag-1 autocorrelation of x"):
        p = check.p_values[:, column(check, statistic)]
        assert kstest(p, "uniform").pvalue > 0.01
        assert 0.035 < (p < 0.05).mean() < 0.065


def test_ties_count_half_and_no_p_value_is_zero():
    x = stack([np.array([[2.0]])])
    top = {"x": np.max}
    for replicates, u in (([1, 2, 2, 3], 0.5), ([1, 1, 2, 3], 3 / 5), ([3, 4, 5, 6], 0.5 / 5)):
        check = compare(x, np.reshape(replicates, (1, 4, 1, 1)), SET, discrepancies=top)
        assert check.p_values.item() == pytest.approx(2 * min(u, 1 - u))
    check = compare(x, np.full((1, 50, 1, 1), 2.0), SET, discrepancies=top)
    assert check.p_values.item() == 1


def test_equal_data_tie_whatever_their_order():
    """Sums of the same numbers are computed in the same order for data and replicates."""
    values = np.random.default_rng(0).normal(size=(1, 1, 37, 3))
    replicated = np.repeat(values, 20, axis=1)
    check = compare(Datasets(values[:, 0], np.array([37])), replicated, columns(3))
    assert (check.p_values == 1).all()


def columns(k, layout=sk.Exchangeable, **more):
    return layout(columns=tuple("abcdef"[:k]), n=(1, 60), **more)


def test_what_the_posterior_has_fitted_is_conservative():
    """x_i ~ N(m, 1), m ~ N(0, 1): the mean is fitted, so that its p-values are far from 0."""
    rng = np.random.default_rng(2)
    b, k, n = 1_000, 99, 10
    x = rng.normal(size=(b, 1, 1)) + rng.normal(size=(b, n, 1))
    centre, sd = x.sum(axis=1) / (n + 1), 1 / math.sqrt(n + 1)
    m = centre[:, None] + sd * rng.normal(size=(b, k, 1))
    replicated = m[..., None] + rng.normal(size=(b, k, n, 1))
    check = compare(Datasets(x, np.full(b, n)), replicated, SET)
    small = (check.p_values < 0.2).mean(axis=0)
    assert small[column(check, "mean of x")] < 0.02
    assert 0.15 < small[column(check, "sd of x")] < 0.22


# Power: what the model lacks is named, and what it has is not


def noise(rng, rows, n):
    return rng.normal(size=(rows, n, 1))


def correlated(rng, rows, n):
    x = noise(rng, rows, n)
    return (x + np.roll(x, 1, axis=1) + np.roll(x, 2, axis=1)) / math.sqrt(3)


def early(rng, rows, n):
    x = noise(rng, rows, n)
    x[:, 0] = x.max(axis=1) + 0.01
    return x


def zeros(rng, rows, n):
    return rng.poisson(5, (rows, n, 1)) * (rng.random((rows, n, 1)) < 0.7)


def counts(rng, rows, n):
    return rng.poisson(5, (rows, n, 1))


@pytest.mark.parametrize(
    ("truth", "model", "named"),
    [
        (lambda *a: 1 + noise(*a), noise, {"mean of x", "median of x"}),
        (lambda *a: 2 * noise(*a), noise, {"sd of x"}),
        (correlated, noise, {"lag-1 autocorrelation of x"}),
        (zeros, counts, {"zeros of x", "min of x"}),
    ],
)
def test_misfit_is_found_and_named(truth, model, named):
    rng = np.random.default_rng(3)
    seen, right = 0, 0
    for _ in range(20):
        x = Datasets(truth(rng, 1, 60).astype(float), np.array([60]))
        check = compare(x, model(rng, 400, 60)[None], SERIES)
        found = {check.names[j] for j in np.flatnonzero(check.unlike[0])}
        seen += bool(named & found)
        x = Datasets(model(rng, 1, 60).astype(float), np.array([60]))
        right += compare(x, model(rng, 400, 60)[None], SERIES).unlike.any()
    assert seen >= 19
    assert right <= 3


def test_the_place_of_the_peak_is_compared():
    rng = np.random.default_rng(4)
    x = Datasets(early(rng, 1, 60), np.array([60]))
    check = compare(x, 1e3 * np.eye(60)[rng.integers(30, 60, 300)][None, :, :, None], SERIES)
    place = column(check, "peak of x")
    assert check.observed[0, place] == 0
    assert check.replicated[0, :, place].min() == 30
    assert check.unlike[0, place]


# Default discrepancies


def test_defaults_are_those_of_numpy():
    rng = np.random.default_rng(5)
    x = rng.poisson(2, (9, 2)) * [1.0, -0.5]
    layout = columns(2, sk.Series)
    check = compare(stack([x]), x[None, None], layout)
    found = dict(zip(check.names, check.observed[0], strict=True))
    a, b = x.T
    assert found == pytest.approx(
        {
            **of("a", a),
            "zeros of a": (a == 0).mean(),
            "lag-1 autocorrelation of a": lag(a),
            "peak of a": np.argmax(a),
            **of("b", b),
            "lag-1 autocorrelation of b": lag(b),
            "peak of b": np.argmax(b),
        }
    )
    np.testing.assert_array_equal(check.replicated[0, 0], check.observed[0])


def of(name, values):
    quantiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    kinds = [f"{what} of {name}" for what in ("min", "25 %", "median", "75 %", "max")]
    named = dict(zip(kinds, quantiles, strict=True))
    return {f"mean of {name}": values.mean(), f"sd of {name}": values.std(ddof=1), **named}


def lag(values):
    c = values - values.mean()
    return (c[1:] * c[:-1]).mean() / (c * c).mean()


def test_a_vector_is_compared_value_by_value():
    check = compare(stack([np.array([[1.0, 2.0]])]), np.zeros((1, 5, 1, 2)), sk.Vector(("a", "b")))
    assert check.names == ("a", "b")
    assert check.observed.tolist() == [[1, 2]]


def test_the_cells_of_a_matrix_are_one_column():
    x = np.random.default_rng(6).normal(size=(7, 3))
    check = compare(stack([x]), x[None, None], columns(3, sk.Matrix))
    found = dict(zip(check.names, check.observed[0], strict=True))
    sds = {"row": x.mean(axis=1).std(ddof=1), "column": x.mean(axis=0).std(ddof=1)}
    assert found == pytest.approx(
        of("cells", x.ravel()) | {f"sd of {k} means": sd for k, sd in sds.items()}
    )


def test_missing_values_are_left_out_and_counted():
    x = np.array([[0.0, 1], [np.nan, 3], [4, np.nan], [1, np.nan]])
    layout = columns(2, sk.Series, missing=True)
    check = compare(stack([x]), np.full((1, 2, 4, 2), np.nan), layout)
    found = dict(zip(check.names, check.observed[0], strict=True))
    a = np.array([0.0, 4, 1])
    for name, value in {**of("a", a), "peak of a": 2, "zeros of a": 1 / 3}.items():
        assert found[name] == pytest.approx(value)
    c = a - a.mean()
    expected = c[1] * c[2] / (c * c).mean()
    assert found["lag-1 autocorrelation of a"] == pytest.approx(expected)
    assert (found["missing of a"], found["missing of b"]) == (0.25, 0.5)
    known = [j for j, name in enumerate(check.names) if name.startswith("missing")]
    assert np.isfinite(check.p_values[0, known]).all()
    assert np.isnan(np.delete(check.p_values[0], known)).all()
    cells = compare(stack([x]), x[None, None], columns(2, sk.Matrix, missing=True))
    assert cells.observed[0, column(cells, "missing of cells")] == 3 / 8


def test_what_is_undefined_has_no_p_value():
    one = stack([np.array([[3.0]])])
    check = compare(one, np.full((1, 9, 1, 1), 3.0), SERIES)
    undefined = {"sd of x", "lag-1 autocorrelation of x"}
    assert {check.names[j] for j in np.flatnonzero(np.isnan(check.p_values[0]))} == undefined
    assert check.undefined[0, column(check, "sd of x")] == 9
    assert "2 discrepancies are undefined for some replicates." in str(check)
    # A failed replicate does not count, as if it were not there.
    replicated = np.arange(8.0).reshape(1, 4, 2, 1)
    failed = np.concatenate([replicated, [[[[np.nan], [0]], [[np.inf], [0]]]]], axis=1)
    x = stack([np.array([[1.0], [5.0]])])
    whole, holes = (compare(x, values, SET) for values in (replicated, failed))
    np.testing.assert_array_equal(whole.p_values, holes.p_values)
    assert (holes.undefined == 2).all()
    wild = compare(x, replicated, SET, discrepancies={"wild": lambda _: math.inf})
    assert np.isnan([wild.observed.item(), wild.p_values.item()]).all()
    nothing = compare(x, np.full((1, 4, 2, 1), np.nan), SET)
    assert nothing.sentence.startswith("Nothing could be compared")


@pytest.mark.parametrize("layout", [SET, SERIES, columns(1, sk.Matrix)])
def test_padding_and_neighbours_change_nothing(layout):
    rng = np.random.default_rng(7)
    tables = [rng.normal(size=(n, 1)) for n in (3, 8, 5)]
    replicated = rng.normal(size=(3, 40, 11, 1))
    x = stack(tables)
    x = Datasets(np.full((3, 11, 1), 77.5), x.n)
    for row, table in zip(x.values, tables, strict=True):
        row[: len(table)] = table
    check = compare(x, replicated, layout)
    for i, table in enumerate(tables):
        alone = compare(stack([table]), replicated[i : i + 1, :, : len(table)], layout)
        np.testing.assert_array_equal(alone.observed[0], check.observed[i])
        np.testing.assert_array_equal(alone.replicated[0], check.replicated[i])
        np.testing.assert_array_equal(alone.p_values[0], check.p_values[i])


def test_padding_does_not_make_counts_of_a_column():
    x = Datasets(np.array([[[1.0], [2.0], [0.5]]]), np.array([2]))
    replicated = np.array([[[[0.0], [1.0], [-3.3]]]])
    assert "zeros of x" in compare(x, replicated, SET).names
    assert "zeros of x" not in compare(x, replicated + 0.5, SET).names
    assert "zeros of x" not in compare(x, replicated - 1, SET).names


# Discrepancies of one's own


def test_own_discrepancies_see_each_dataset_alone():
    shapes = []

    def spread(table):
        shapes.append(table.shape)
        table[:] = 0
        return 1

    x = stack([np.ones((2, 1)), np.ones((4, 1))])
    own = {"spread": spread, "top": lambda table: table.max()}
    check = compare(x, np.full((2, 3, 4, 1), 2.0), SET, discrepancies=own)
    assert check.names == ("spread", "top")
    assert shapes == [(2, 1)] * 4 + [(4, 1)] * 4
    np.testing.assert_array_equal(check.observed, [[1, 1], [1, 1]])
    assert (check.replicated[..., 1] == 2).all()


# From a posterior


@dataclass
class Exact:
    """Some posterior, which depends on the context so that a wrong one shows."""

    prior: sk.Prior

    def sample(self, x, *, draws, seed):
        rng = np.random.default_rng(seed)
        assert x.context.shape == (len(x), 1)
        return rng.normal(size=(len(x), draws, 1)) + x.context[:, None]

    def log_prob(self, theta, x):
        return np.zeros(np.shape(theta)[:-1])


def simulated(theta, rng, n, context):
    return (theta * context)[:, None] + 0.01 * rng.normal(size=(len(theta), n, 1))


@pytest.fixture(scope="module")
def model():
    prior = sk.Prior(m=sk.Normal(0, 1))
    data = sk.Exchangeable(columns=("x",), n=(2, 9), context=sk.Prior(s=sk.Uniform(0, 50)))
    return sk.Simulator(name="m", prior=prior, data=data, simulate=simulated)


def test_replicates_have_the_size_and_the_context_of_the_data(model):
    x, known = [np.zeros((2, 1)), np.zeros((7, 1))], {"s": [5.0, 40.0]}
    own = {"n": len, "mean": np.mean}
    posterior = Exact(model.prior)
    check = predictive_check(
        posterior, x, model=model, draws=300, seed=3, discrepancies=own, context=known
    )
    assert (check.replicated[..., 0] == [[2], [7]]).all()
    theta = posterior.sample(
        sk.Datasets(None, np.array([2, 7]), np.array([[5.0], [40.0]])), draws=300, seed=3
    )
    np.testing.assert_allclose(check.replicated[..., 1], theta[..., 0] * [[5], [40]], atol=0.05)
    again = predictive_check(posterior, x, model=model, draws=300, seed=3, context=known)
    other = predictive_check(posterior, x, model=model, draws=300, seed=4, context=known)
    place = column(again, "mean of x")
    np.testing.assert_array_equal(again.replicated[..., place], check.replicated[..., 1])
    assert not np.isin(other.replicated[..., place], check.replicated[..., 1]).any()


# What it says


def test_the_verdict_in_words():
    rng = np.random.default_rng(8)
    x, replicated = alike(1, 400, lambda rows: rng.normal(size=(rows, 20, 1)))
    check = compare(x, replicated, SET)
    p = f"{np.nanmin(check.p_values):.2g}"
    assert check.sentence == f"No misfit found (7 p-values, 400 replicates, the smallest p = {p})."
    few = compare(x, replicated[:, :139], SET).sentence
    assert few.startswith("Too few replicates for a verdict (7 p-values, 139 replicates, the ")
    assert few.endswith("; use 140 or more).")
    assert compare(x, replicated[:, :140], SET).sentence.startswith("No misfit found")
    top = {"top": np.max}
    far = compare(x, replicated - 9, SET, discrepancies=top)
    low, high = np.quantile(far.replicated, [0.025, 0.975])
    assert far.sentence == (
        "The data are unlike what their posterior simulates: top is "
        f"{far.observed.item():.3g}, replicates {low:.3g} to {high:.3g} (p = 0.0025)."
    )
    many = compare(x, replicated - 9, SET).sentence
    assert many.endswith("; and 3 more.")
    several = Datasets(np.repeat(x.values, 2, axis=0), np.array([20, 20]))
    shifted = np.concatenate([replicated, replicated - 9])
    text = compare(several, shifted, SET, discrepancies=top)
    assert "top of dataset 1 is" in text.sentence
    assert str(text).splitlines()[1].split()[:2] == ["top", "1"]


def test_the_table_and_the_numbers():
    x = stack([np.array([[1.0], [3.0]])])
    replicated = np.arange(800.0).reshape(1, 400, 2, 1)
    check = compare(x, replicated, SET, discrepancies={"top": np.max, "none": lambda _: math.nan})
    head, top, none, partly, sentence, note = str(check).splitlines()
    assert head.split()[:3] == ["discrepancy", "observed", "2.5"]
    assert top.split() == ["top", "3", "20.95", "400", "779", "0.01", "*"]
    assert none.split() == ["none", "-", "-", "-", "-", "-"]
    assert partly == "1 discrepancies are undefined for some replicates."
    assert sentence == check.sentence
    assert "conservative: small ones mean misfit, large ones prove nothing" in note
    numbers = json.loads(json.dumps(check.to_dict(), allow_nan=False))
    assert numbers["verdict"] == sentence
    assert numbers["replicates"] == 400
    (dataset,) = numbers["datasets"]
    assert dataset["top"]["replicated"] == pytest.approx([20.95, 400, 779.05])
    assert dataset["top"]["p_value"] == pytest.approx(2 * 2 / 401)
    assert dataset["none"] == {
        "observed": None,
        "replicated": [None] * 3,
        "p_value": None,
        "undefined": 400,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"replicated": np.zeros((2, 5, 3, 1))},
            r"replicated of shape \(1, k, 3, 1\); got \(2, 5,",
        ),
        ({"replicated": np.zeros((1, 0, 3, 1))}, r"number of replicates as an integer >= 1; got 0"),
        ({"discrepancies": [np.max]}, r"discrepancies as functions by name; got list; pass a dict"),
        ({"discrepancies": {}}, r"functions by name; got none; pass one or more, or None"),
        ({"discrepancies": {"top": 3}}, r"functions by name; got 'top' as int; pass a function"),
        (
            {"discrepancies": {"top": lambda x: x.max(axis=0)}},
            r"discrepancy 'top' to give one number; got shape \(1,\); return a float",
        ),
        ({"discrepancies": {"top": lambda x: "a"}}, r"'top' to give one number; got 'a'; return"),
        ({"discrepancies": {"top": lambda x: None}}, r"'top' to give one number; got None; return"),
    ],
)
def test_bad_input_gets_one_sentence(changes, message):
    given = {"replicated": np.zeros((1, 5, 3, 1)), **changes}
    with pytest.raises((BadValue, BadType), match=message):
        compare(stack([np.zeros((3, 1))]), given.pop("replicated"), SET, **given)


def test_the_doors_of_the_check_are_those_of_its_parts(model):
    posterior, x = Exact(model.prior), np.zeros((2, 1))
    with pytest.raises(BadValue, match="Expected draws as an integer >= 1; got 0"):
        predictive_check(posterior, {"x": [1], "s": 3}, model=model, draws=0, seed=1)
    with pytest.raises(BadValue, match="context"):
        predictive_check(posterior, x, model=model, draws=5, seed=1)
    with pytest.raises(BadType, match="Expected model to have prior, data and simulate; got str"):
        predictive_check(posterior, x, model="m", draws=5, seed=1)
