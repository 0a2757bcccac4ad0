import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import sbi_kit as sk
from sbi_kit import mixture, simulator
from sbi_kit.arviz_bridge import load_arviz, read_netcdf, write_netcdf
from sbi_kit.checks import BadType, BadValue
from sbi_kit.contracts import Posterior
from sbi_kit.data import Datasets, read, stack
from sbi_kit.diagnostics.predictive import predictive_check

SMALL = {"width": 16, "hidden": 16, "blocks": 2, "steps": 200, "members": 1}
QUICK = {"steps": 300, "batch_size": 200, "width": 16, "hidden": 16, "blocks": 1, "members": 1}
TRIANGLE = sk.Prior(beta=sk.Uniform(0.01, 1), gamma=sk.Uniform(0, "beta"))


def pairs(theta, rng, n):
    return theta[:, None] + 0.3 * rng.standard_normal((len(theta), n, 2))


def level(theta, rng, n):
    return theta[:, None] + rng.standard_normal((len(theta), n, 1))


def summaries(theta, rng):
    return theta[:, :2] + 0.5 * rng.standard_normal((len(theta), 2))


def trained(name, prior, data, simulate, seed=2, **settings):
    model = sk.Simulator(name=name, prior=prior, data=data, simulate=simulate)
    return sk.fit(sk.simulate(model, 1_200, seed=1), seed=seed, **(SMALL | settings))


@pytest.fixture(scope="module")
def sets():
    """Two parameters, gamma below beta, from sets of 3 to 12 pairs."""
    data = sk.Exchangeable(columns=("x", "y"), n=(3, 12))
    return trained("sets", TRIANGLE, data, pairs)


@pytest.fixture(scope="module")
def series():
    """One positive parameter from a series of exactly 5."""
    data = sk.Series(columns=("count",), n=5)
    return trained("series", sk.Prior(rate=sk.Gamma(2, 1.5)), data, level)


@pytest.fixture(scope="module")
def vectors():
    """Two normal parameters and a third that the data do not see, from two numbers."""
    prior = sk.Prior(a=sk.Normal(1, 2), b=sk.Normal(-3, 0.5), c=sk.LogNormal(0, 1))
    return trained("vectors", prior, sk.Vector(columns=("x", "y")), summaries)


@pytest.fixture(scope="module")
def paths():
    """One parameter from a series of 3 to 9, through a GRU."""
    data = sk.Series(columns=("count",), n=(3, 9))
    return trained("paths", sk.Prior(m=sk.Normal(0, 1)), data, level)


ALL = ("sets", "series", "vectors", "paths")


def data_of(name, b=4):
    """Some ordinary datasets of each layout."""
    rng = np.random.default_rng(7)
    if name == "sets":
        return [pairs(np.array([[0.6, 0.3]]), rng, n)[0] for n in range(3, 3 + b)]
    if name == "series":
        return list(level(np.full((b, 1), 1.2), rng, 5))
    if name == "paths":
        return [level(np.zeros((1, 1)), rng, n)[0] for n in range(3, 3 + b)]
    return summaries(np.tile([1.0, -3.0], (b, 1)), rng)


def told(call):
    """What a call warns of, and from where."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    assert all(w.filename == __file__ for w in caught)
    return [str(w.message) for w in caught]


# Draws


@pytest.mark.parametrize("name", ALL)
def test_draws_are_in_the_support_and_of_the_shape_promised(name, request):
    posterior = request.getfixturevalue(name)
    draws = posterior.sample(data_of(name), draws=5_000, seed=3)
    assert draws.shape == (4, 5_000, len(posterior.prior.names))
    assert draws.dtype == np.float64
    assert np.isfinite(posterior.prior.log_prob(draws)).all()
    assert draws.std(axis=1).min() > 0
    assert isinstance(posterior, Posterior)


def test_gamma_stays_below_beta_also_where_the_data_push_it_over(sets):
    x = [np.full((3, 2), 0.9) * [0.2, 1.0], np.full((6, 2), [-0.1, 1.2])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        draws = sets.sample(x, draws=20_000, seed=3)
    beta, gamma = np.moveaxis(draws, -1, 0)
    assert (gamma < beta).all()
    assert (gamma > 0).all()
    assert ((beta > 0.01) & (beta < 1)).all()


@pytest.mark.parametrize("name", ALL)
def test_same_seed_same_draws_and_another_seed_others(name, request):
    posterior, x = request.getfixturevalue(name), data_of(name)
    one, two, other = (posterior.sample(x, draws=50, seed=seed) for seed in (3, 3, 4))
    assert one.tobytes() == two.tobytes()
    assert not np.isin(other, one).any()
    assert len(np.unique(one[..., 0])) == 200


@pytest.mark.parametrize("name", ALL)
def test_draws_of_a_dataset_do_not_depend_on_its_neighbours(name, request):
    posterior, x = request.getfixturevalue(name), data_of(name)
    both = posterior.sample(x[:2], draws=300, seed=3)
    swapped = posterior.sample([x[0], x[3]], draws=300, seed=3)
    alone = posterior.sample([x[0]], draws=300, seed=3)
    np.testing.assert_allclose(swapped[0], both[0], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(alone[0], both[0], rtol=1e-3, atol=1e-5)


def test_draws_do_not_depend_on_chunks(sets, monkeypatch):
    x = data_of("sets")
    whole = sets.sample(x, draws=250, seed=3)
    log_q = sets.log_prob(whole, x)
    for chunk in (1, 70, 600):
        monkeypatch.setattr(mixture, "_CHUNK", chunk)
        np.testing.assert_allclose(sets.sample(x, draws=250, seed=3), whole, rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(sets.log_prob(whole, x), log_q, rtol=1e-3, atol=1e-3)


def test_more_draws_than_a_chunk_holds(series):
    x = data_of("series", 2)
    many = series.sample(x, draws=20_000, seed=3)
    assert many.shape == (2, 20_000, 1)
    assert len(np.unique(many[0])) > 19_000
    assert np.corrcoef(many[0, 1:, 0], many[0, :-1, 0])[0, 1] < 0.03


def test_data_move_the_posterior(sets):
    rng = np.random.default_rng(0)
    low, high = (pairs(np.array([[b, b / 2]]), rng, 12)[0] for b in (0.3, 0.9))
    draws = sets.sample([low, high], draws=2_000, seed=3)
    assert draws[1, :, 0].mean() > draws[0, :, 0].mean() + 0.2


# Densities


@pytest.mark.parametrize("name", ALL)
def test_one_vector_per_dataset_and_several_agree(name, request):
    posterior, x = request.getfixturevalue(name), data_of(name)
    theta = posterior.sample(x, draws=6, seed=3)
    together = posterior.log_prob(theta, x)
    assert together.shape == (4, 6)
    single = np.stack([posterior.log_prob(theta[:, i], x) for i in range(6)], axis=1)
    np.testing.assert_allclose(single, together, rtol=1e-4, atol=1e-4)
    assert posterior.log_prob(theta.tolist(), x).shape == (4, 6)
    assert posterior.log_prob(theta[:, :0], x).shape == (4, 0)


def test_density_integrates_to_one_in_one_dimension(series, paths):
    grid = np.linspace(0, 14, 40_001)[1:]
    log_q = series.log_prob(np.tile(grid[:, None], (4, 1, 1)), data_of("series"))
    np.testing.assert_allclose(np.trapezoid(np.exp(log_q), grid), 1, atol=2e-3)
    grid = np.linspace(-6, 6, 20_001)
    log_q = paths.log_prob(np.tile(grid[:, None], (4, 1, 1)), data_of("paths"))
    np.testing.assert_allclose(np.trapezoid(np.exp(log_q), grid), 1, atol=2e-3)


def test_density_integrates_to_one_over_a_triangle(sets):
    x = data_of("sets", 2)
    beta = 0.01 + 0.99 * (np.arange(300) + 0.5) / 300
    share = (np.arange(300) + 0.5) / 300
    points = np.stack(np.broadcast_arrays(beta[:, None], beta[:, None] * share), axis=-1)
    log_q = sets.log_prob(np.tile(points.reshape(-1, 2), (2, 1, 1)), x)
    area = np.repeat(beta, 300) * 0.99 / 300**2
    np.testing.assert_allclose((np.exp(log_q) * area).sum(1), 1, atol=5e-3)
    # The same on a plain grid of the square, most of which lies outside.
    side = (np.arange(400) + 0.5) / 400
    square = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    log_q = sets.log_prob(np.tile(square, (2, 1, 1)), x)
    np.testing.assert_allclose(np.exp(log_q).sum(1) / 400**2, 1, atol=0.02)
    outside = (square[:, 1] > square[:, 0]) | (square[:, 0] < 0.01)
    assert (log_q[:, outside] == -np.inf).all()
    assert np.isfinite(log_q[:, ~outside]).all()


def test_density_is_that_of_the_draws(sets, series):
    for posterior, x in ((sets, data_of("sets", 1)), (series, data_of("series", 1))):
        draws = posterior.sample(x, draws=40_000, seed=3)
        log_q = posterior.log_prob(draws, x)[0]
        # E_q[p / q] = 1 for a p inside the prior's support: uniform on a box around the middle.
        low, high = np.quantile(draws[0], [0.35, 0.65], axis=0)
        inside = ((draws[0] > low) & (draws[0] < high)).all(axis=1)
        weights = inside / np.exp(log_q) / np.prod(high - low)
        error = weights.std() / math.sqrt(len(weights))
        assert abs(weights.mean() - 1) < 5 * error + 0.01
        assert error < 0.03


@pytest.mark.parametrize(
    "theta", [[0.5, 0.6], [1.1, 0.5], [0.5, -0.1], [0.005, 0.001], [np.inf, 0.5], [0.5, -np.inf]]
)
def test_density_is_zero_outside_the_support(sets, theta):
    x = data_of("sets", 1)
    assert sets.log_prob([theta], x).tolist() == [-np.inf]
    mixed = sets.log_prob([[theta, [0.5, 0.2]]], x)
    assert mixed[0, 0] == -np.inf
    assert mixed[0, 1] == pytest.approx(sets.log_prob([[0.5, 0.2]], x)[0], rel=1e-4)


@pytest.mark.parametrize(
    ("theta", "error", "text"),
    [
        (np.ones((1, 3)), BadValue, r"theta of shape \(1, 2\); got \(1, 3\); pass beta, gamma for"),
        (np.ones((2, 2)), BadValue, r"theta of shape \(1, 2\); got \(2, 2\)"),
        (np.ones(2), BadValue, r"theta of shape \(1, 2\); got \(2,\)"),
        (np.ones((2, 5, 2)), BadValue, r"theta of shape \(1, draws, 2\); got \(2, 5, 2\)"),
        ([["a", "b"]], BadType, "holding numbers"),
        ([[0.5, np.nan]], BadValue, "nan at row 0 of column 'gamma'"),
    ],
)
def test_densities_refuse_what_is_no_parameter(sets, theta, error, text):
    with pytest.raises(error, match=text):
        sets.log_prob(theta, data_of("sets", 1))


# Forms of data


def test_every_form_of_data_gives_the_same_draws(sets):
    table = data_of("sets")[2]
    frame = pd.DataFrame(table, columns=["x", "y"])
    forms = [
        table,
        table[None],
        [table],
        table.tolist(),
        frame,
        frame[["y", "x"]].assign(day="monday"),
        {"y": table[:, 1], "x": table[:, 0]},
        [frame],
        read(table, sets.data),
    ]
    draws = {sets.sample(form, draws=20, seed=3).tobytes() for form in forms}
    assert len(draws) == 1


def test_ragged_lists_and_padded_datasets_give_the_same_draws(sets):
    tables = data_of("sets")
    padded = stack(tables)
    dirty = np.where(padded.mask[..., None], padded.values, np.nan)
    frames = [pd.DataFrame(table, columns=["x", "y"]) for table in tables]
    forms = [tables, frames, padded, Datasets(dirty, padded.n)]
    assert len({sets.sample(form, draws=20, seed=3).tobytes() for form in forms}) == 1


def test_order_in_a_set_does_not_matter_and_in_time_it_does(sets, paths):
    table, path = data_of("sets")[3], data_of("paths")[3]
    a, b = (sets.sample(x, draws=50, seed=3) for x in (table, table[::-1]))
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    a, b = (paths.sample(x, draws=50, seed=3) for x in (path, path[::-1]))
    assert np.abs(a - b).max() > 1e-4


@pytest.mark.parametrize(
    ("name", "x", "text"),
    [
        ("sets", [[0.5, np.nan]], "nan at row 0 of column 'y'"),
        ("sets", np.empty((0, 2)), "an empty set"),
        ("sets", {"x": [1.0], "why": [1.0]}, "add column 'y'|did you mean 'y' by 'why'"),
        ("vectors", [1.0, 2.0, 3.0], r"shape \(b, 2\)"),
        ("series", np.ones((4, 1)), "datasets of exactly 5 observations.*; got 4 in dataset 0"),
        ("series", np.ones((6, 1)), "datasets of exactly 5 observations.*; got 6 in dataset 0"),
        ("series", [np.ones(5), np.ones(4)], "got 4 in dataset 1; complete it, or train another"),
    ],
)
def test_unusable_data_are_refused_by_every_door(name, x, text, request):
    posterior = request.getfixturevalue(name)
    for door in (
        lambda: posterior.sample(x, draws=1, seed=1),
        lambda: posterior.infer(x, draws=1, seed=1),
        lambda: posterior.log_prob(np.ones((1, len(posterior.prior.names))), x),
    ):
        with pytest.raises(BadValue, match=text):
            door()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"draws": 0}, BadValue, "Expected draws as an integer >= 1; got 0"),
        ({"draws": -1}, BadValue, "draws as an integer >= 1; got -1"),
        ({"draws": 1.5}, BadType, "draws as an integer >= 1; got 1.5"),
        ({"draws": None}, BadType, "got None"),
        ({"seed": -1}, BadValue, "seed as an integer >= 0; got -1"),
        ({"seed": None}, BadType, "seed as an integer"),
        ({"drawz": 3}, TypeError, "drawz"),
    ],
)
def test_bad_arguments_are_refused(sets, arguments, error, text):
    for door in (sets.sample, sets.infer):
        with pytest.raises(error, match=text):
            door(data_of("sets", 1), **({"draws": 5, "seed": 1} | arguments))


# Warnings


def test_a_size_that_was_not_trained_is_named(sets):
    rng = np.random.default_rng(0)
    for n in (2, 30):
        x = [data_of("sets")[0], pairs(np.array([[0.6, 0.3]]), rng, n)[0]]
        text = (
            f"Dataset 1 has {n} observations, and the posterior was trained on 3 to 12; its draws "
            "are an extrapolation."
        )
        assert text in told(lambda x=x: sets.sample(x, draws=5, seed=1))
        assert text in told(lambda x=x: sets.log_prob([[0.5, 0.2]] * 2, x))
        assert text in told(lambda x=x: sets.infer(x, draws=5, seed=1))
    assert told(lambda: sets.sample(data_of("sets"), draws=5, seed=1)) == []


@pytest.mark.parametrize("name", ALL)
def test_data_unlike_all_simulations_are_scored(name, request):
    posterior, x = request.getfixturevalue(name), data_of(name)
    strange = [*x[:2], np.asarray(x[2]) + 1e4]
    (text,) = told(lambda: posterior.sample(strange, draws=5, seed=1))
    assert text.startswith("Dataset 2 is unlike everything simulated (misspecification score ")
    assert ", p = " in text
    assert float(text.split(", p = ")[1].split(")")[0]) < 1e-3
    assert told(lambda: posterior.sample(x, draws=5, seed=1)) == []


def test_ordinary_data_seldom_warn(sets):
    rng = np.random.default_rng(5)
    theta = TRIANGLE.sample(300, rng)
    alarms = 0
    for one in theta:
        x = pairs(one[None], rng, int(rng.integers(3, 13)))[0]
        alarms += bool(told(lambda x=x: sets.sample(x, draws=1, seed=1)))
    assert alarms <= 10  # 3 are expected


@pytest.mark.parametrize("size", [-1e300, -1e6, 1e6, 1e30, 1e300])
@pytest.mark.parametrize("name", ALL)
def test_extreme_numbers_give_draws_in_the_support(name, size, request):
    posterior = request.getfixturevalue(name)
    x = np.full_like(data_of(name)[0], size)
    with pytest.warns(UserWarning, match="unlike everything simulated"):
        draws = posterior.sample(x, draws=50, seed=1)
    assert np.isfinite(posterior.prior.log_prob(draws)).all()


# ArviZ


def groups_of(idata):
    names = idata.groups() if callable(idata.groups) else idata.groups
    return {name.strip("/") for name in names} - {""}


FULL = {
    "posterior",
    "prior",
    "sample_stats",
    "observed_data",
    "constant_data",
    "posterior_predictive",
    "prior_predictive",
}


def test_infer_gathers_everything_by_name(sets):
    x = data_of("sets", 3)
    idata = sets.infer(x, draws=40, seed=3, predictive=7)
    assert groups_of(idata) == FULL
    draws = sets.sample(x, draws=40, seed=3)
    posterior = idata["posterior"]
    assert set(posterior.data_vars) == {"beta", "gamma"}
    np.testing.assert_array_equal(posterior["beta"].values[0].T.reshape(3, 40), draws[..., 0])
    log_q = idata["sample_stats"]["log_q"].values[0].T.reshape(3, 40)
    np.testing.assert_allclose(log_q, sets.log_prob(draws, x), rtol=1e-6)
    assert idata["prior"]["gamma"].shape == (1, 40)
    assert set(idata["posterior_predictive"].data_vars) == {"x", "y"}
    predicted = idata["posterior_predictive"]["x"]
    assert predicted.sizes["draw"] == 7
    assert predicted.sizes["observation"] == 5
    observed = idata["observed_data"]["y"].transpose("dataset", "observation").values
    np.testing.assert_array_equal(observed[2], x[2][:, 1])
    assert np.isnan(observed[0, 3:]).all()
    assert idata["constant_data"]["n"].values.tolist() == [3, 4, 5]
    assert idata["posterior"].attrs["simulator"] == "sets"


def test_infer_notes_how_unlike_the_simulations_the_data_are(sets):
    x = [*data_of("sets", 2), np.full((5, 2), 40.0)]
    with pytest.warns(UserWarning, match="Dataset 2 is unlike everything simulated"):
        stats = sets.infer(x, draws=9, seed=3, predictive=0)["sample_stats"]
    data = read(x, sets.data)
    described = sets.encoder.describe(data, sets.encoder.summarise(data))
    scores = sets.familiarity.score(described)
    assert stats["misspecification"].dims == stats["misspecification_p"].dims == ("dataset",)
    np.testing.assert_array_equal(stats["misspecification"], scores)
    np.testing.assert_array_equal(stats["misspecification_p"], sets.familiarity.p_value(scores))
    assert np.argmax(stats["misspecification"].values) == 2
    together = sets.familiarity.compare(described, seed=3)
    assert stats["misspecification_mmd"].dims == ()
    assert stats["misspecification_mmd"].item() == together.value
    assert stats["misspecification_mmd_p"].item() == together.p_value
    alone = sets.infer(x[0], draws=9, seed=3, predictive=0)["sample_stats"]
    assert "misspecification_mmd" not in alone


def test_data_before_the_data_are_replicated_from_draws_of_the_prior(sets):
    """x ~ N(beta, .3²): what is replicated follows the prior draw of the same index."""
    x = [*data_of("sets", 2), data_of("sets", 2)[1]]
    idata = sets.infer(x, draws=400, seed=3, predictive=200)
    predicted = idata["prior_predictive"]["x"]
    beta = idata["prior"]["beta"].sel(draw=predicted["draw"]).values[0]
    assert predicted.shape == (1, 200, 3, 4)
    means = predicted.mean("observation").values[0]  # (200, 3)
    assert abs((means[:, 0] - beta).mean()) < 0.05
    sds = (means - beta[:, None]).std(axis=0)
    np.testing.assert_allclose(sds, 0.3 / np.sqrt([3, 4, 4]), rtol=0.15)
    assert not np.isin(predicted[0, :, 1], predicted[0, :, 2]).any()
    assert np.isnan(predicted[0, :, 0, 3:]).all()
    check = predictive_check(
        sets, x, model=sets.model, draws=400, seed=3, discrepancies={"first": lambda t: t[0, 0]}
    )
    all_of_them = sets.infer(x, draws=400, seed=3, predictive=400)["posterior_predictive"]["x"]
    np.testing.assert_array_equal(check.replicated[..., 0].T, all_of_them[0, :, :, 0])


def test_corners_of_the_prior_that_fail_do_not_cost_the_inference(series):
    def fragile(theta, rng, n):
        if (theta > 4).any():
            raise ZeroDivisionError("too many")
        return level(theta, rng, n)

    model = sk.Simulator(name="f", prior=series.prior, data=series.data, simulate=fragile)
    x, texts = np.full((5, 1), 0.5), []
    texts += told(lambda: texts.append(series.infer(x, draws=300, seed=1, model=model)))
    idata, text = texts
    assert groups_of(idata) == FULL - {"prior_predictive"}
    assert text == (
        "The simulator failed for draws of the prior (ZeroDivisionError: too many); "
        "prior_predictive is left out."
    )


def test_arviz_works_on_what_infer_returns(sets, tmp_path):
    pytest.importorskip("matplotlib").use("Agg")
    arviz, idata = load_arviz(), sets.infer(data_of("sets", 1), draws=200, seed=3)
    write_netcdf(idata, tmp_path / "s.nc")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ's own: deprecations, and R-hat of one chain
        for one in (idata, read_netcdf(tmp_path / "s.nc")):
            assert list(arviz.summary(one).index) == ["beta", "gamma"]
            arviz.plot_pair(one)
            if hasattr(arviz, "plot_posterior"):
                arviz.plot_posterior(one)
                arviz.plot_ppc(one)
                arviz.plot_ppc(one, group="prior")
            else:
                arviz.plot_dist(one)
                arviz.plot_ppc_dist(one)
        pytest.importorskip("matplotlib.pyplot").close("all")


def test_infer_repeats_itself_by_seed(series):
    one, two, other = (series.infer(data_of("series", 1), draws=9, seed=s) for s in (3, 3, 4))
    for group in ("posterior", "prior", "posterior_predictive", "prior_predictive"):
        assert one[group].equals(two[group])
        assert not one[group].equals(other[group])


def test_no_prediction_and_more_than_there_are_draws(series):
    x = data_of("series", 1)
    idata = series.infer(x, draws=9, seed=3, predictive=0)
    assert groups_of(idata) == FULL - {"posterior_predictive", "prior_predictive"}
    idata = series.infer(x, draws=9, seed=3, predictive=100)
    assert idata["posterior_predictive"].sizes["draw"] == 9
    with pytest.raises(BadValue, match="Expected predictive as an integer >= 0; got -1"):
        series.infer(x, draws=9, seed=3, predictive=-1)


def test_only_a_model_of_the_same_kind_replicates_data(sets, vectors, series):
    x = data_of("sets", 1)
    for model, text in (
        ("sets", "Expected model to have prior, data and simulate; got str without"),
        (vectors.model, "beta, gamma and Exchangeable data of x, y; got .* and Vector data of x,"),
        (series.model, "pass the simulator that the posterior was trained with"),
    ):
        with pytest.raises((BadValue, BadType), match=text):
            sets.infer(x, draws=5, seed=1, model=model)
    assert groups_of(sets.infer(x, draws=5, seed=1, model=sets.model)) == FULL


def test_datasets_of_another_layout_are_refused(sets):
    x = Datasets(np.ones((2, 4, 3)), np.array([4, 4]))
    with pytest.raises(BadValue, match=r"got an array of shape \(2, 4, 3\); the last axis holds"):
        sets.sample(x, draws=5, seed=1)


def test_vectors_have_no_axis_of_observations(vectors):
    idata = vectors.infer(data_of("vectors", 1)[0], draws=9, seed=3)
    assert idata["posterior_predictive"]["x"].dims == ("chain", "draw")
    assert idata["posterior"]["c"].dims == ("chain", "draw")


def test_predictions_look_like_the_data(vectors):
    x = data_of("vectors", 1)
    idata = vectors.infer(x, draws=2_000, seed=3, predictive=2_000)
    predicted = np.array([idata["posterior_predictive"][k].values.mean() for k in ("x", "y")])
    draws = vectors.sample(x, draws=2_000, seed=3)[0]
    np.testing.assert_allclose(predicted, draws[:, :2].mean(0), atol=0.1)


def test_a_simulator_that_is_not_here_is_missed_aloud(series, tmp_path, monkeypatch):
    series.save(tmp_path / "s")
    loaded = sk.load(tmp_path / "s")
    x = data_of("series", 1)
    (text,) = told(lambda: loaded.infer(x, draws=5, seed=1))
    assert text == (
        "The simulator 'series' of this posterior is not installed here, or differs; "
        "replicated data are left out, so pass model= to have them."
    )
    idata = loaded.infer(x, draws=5, seed=1, model=series.model)
    assert groups_of(idata) == FULL
    assert told(lambda: loaded.infer(x, draws=5, seed=1, predictive=0)) == []
    for answer in (series.model, BadValue("a", "b", "c"), simulator.PluginError("broken")):

        def find(name, settings, answer=answer):
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(simulator, "load_simulator", find)
        assert told(lambda: loaded.infer(x, draws=5, seed=1)) == [text]


def test_an_installed_simulator_is_found_again(series, tmp_path, monkeypatch):
    described = {"name": "series", "settings": {}}
    object.__setattr__(series, "simulator", described)
    series.save(tmp_path / "s")
    loaded = sk.load(tmp_path / "s")
    monkeypatch.setattr(simulator, "load_simulator", lambda name, settings: series.model)
    monkeypatch.setattr(simulator, "describe", lambda model: described)
    assert groups_of(loaded.infer(data_of("series", 1), draws=5, seed=1)) == FULL


# Surroundings


def test_sampling_and_loading_leave_the_surroundings_alone(sets, tmp_path):
    numpy_state, torch_state = np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    x = data_of("sets", 2)
    sets.save(tmp_path / "s")
    loaded = sk.load(tmp_path / "s")
    loaded.log_prob(loaded.sample(x, draws=5, seed=1), x)
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    assert torch.get_default_dtype() == torch.float32


def test_surroundings_do_not_change_the_draws(sets, tmp_path):
    x = data_of("sets", 2)
    plain = sets.sample(x, draws=5, seed=1)
    sets.save(tmp_path / "s")
    torch.set_default_dtype(torch.float64)
    try:
        strange = sk.load(tmp_path / "s").sample(x, draws=5, seed=1)
    finally:
        torch.set_default_dtype(torch.float32)
    assert np.array_equal(strange, plain)


def test_a_posterior_is_immutable(sets):
    with pytest.raises(AttributeError):
        sets.prior = TRIANGLE
    assert not any(weight.requires_grad for weight in sets.encoder.network.parameters())
    assert not sets.encoder.network.training


# Known context: x_i ~ N(slope * strength, 1), and slope ~ N(0, 1)


@pytest.fixture(scope="module")
def stimulus():
    def answers(theta, rng, n, context):
        return rng.normal((theta * context)[:, None], 1.0, (len(theta), n, 1))

    known = sk.Prior(strength=sk.Uniform(0.2, 2))
    model = sk.Simulator(
        name="stimulus",
        prior=sk.Prior(slope=sk.Normal(0, 1)),
        data=sk.Exchangeable(columns=("x",), n=4, context=known),
        simulate=answers,
    )
    return sk.fit(sk.simulate(model, 4_000, seed=1), seed=2, **QUICK)


@pytest.mark.parametrize("strength", [0.4, 1.6])
def test_context_gives_the_exact_posterior(stimulus, strength):
    """N(s Σx / (1 + n s²), 1 / (1 + n s²)): means within .3 sd (rms), sds within 10 % (average)."""
    rng = np.random.default_rng(3)
    x = rng.normal(strength * rng.normal(size=(40, 1)), 1, (40, 4))
    sd = 1 / math.sqrt(1 + 4 * strength**2)
    draws = stimulus.sample(x[..., None], draws=2_000, seed=4, context={"strength": strength})
    mean = strength * x.sum(1, keepdims=True) * sd**2
    assert math.sqrt(np.mean((draws.mean(axis=1) - mean) ** 2)) < 0.3 * sd
    assert abs(draws.std(axis=1).mean() / sd - 1) < 0.1
    log_q = stimulus.log_prob(mean, x[..., None], context={"strength": np.full(40, strength)})
    assert abs(log_q.mean() + math.log(sd * math.sqrt(2 * math.pi))) < 0.15


def test_every_way_of_giving_context_gives_the_same_draws(stimulus, tmp_path):
    x = np.array([0.3, 1.0, -0.5, 2.0])
    stimulus.save(tmp_path / "s")
    one = stimulus.sample(x, draws=9, seed=1, context={"strength": 1.5})
    frame = pd.DataFrame({"x": x, "strength": 1.5})
    for posterior in (stimulus, sk.load(tmp_path / "s")):
        assert posterior.sample(frame, draws=9, seed=1).tobytes() == one.tobytes()
    both = stimulus.sample([x, x], draws=9, seed=1, context={"strength": [1.5, 0.3]})
    np.testing.assert_allclose(both[0], one[0], rtol=1e-4, atol=1e-5)
    assert np.abs(both[1] - both[0]).max() > 0.1
    for door in (
        lambda: stimulus.sample(x, draws=9, seed=1),
        lambda: stimulus.infer(x, draws=9, seed=1),
        lambda: stimulus.log_prob([[0.0]], x),
    ):
        with pytest.raises(BadValue, match="the context 'strength', which the layout declares"):
            door()


def test_untrained_context_is_named(stimulus):
    x = {"x": [0.3, 1.0, -0.5, 2.0], "strength": 3}
    text = "Dataset 0 has strength = 3, and the posterior was trained on 0.2"
    for door in (
        lambda: stimulus.sample(x, draws=9, seed=1),
        lambda: stimulus.infer(x, draws=9, seed=1),
        lambda: stimulus.log_prob([[0.0]], x),
    ):
        told_of = [warning for warning in told(door) if "extrapolation" in warning]
        assert len(told_of) == 1
        assert told_of[0].startswith(text)
    assert told(lambda: stimulus.sample({**x, "strength": 1.9}, draws=9, seed=1)) == []


def test_data_are_replicated_under_the_observed_context(stimulus):
    x = np.tile([[1.0], [2.5], [1.5], [3.0]], (2, 1, 1))
    known = {"strength": [0.25, 1.9]}
    idata = stimulus.infer(x, draws=1_000, seed=3, predictive=1_000, context=known)
    assert idata["constant_data"]["strength"].values.tolist() == known["strength"]
    slope = idata["posterior"]["slope"].mean(("chain", "draw")).values
    predicted = idata["posterior_predictive"]["x"].mean(("chain", "draw", "observation")).values
    np.testing.assert_allclose(predicted, slope * known["strength"], atol=0.1)
    other = sk.Simulator(
        name="other",
        prior=stimulus.prior,
        data=sk.Exchangeable(columns=("x",), n=4),
        simulate=level,
    )
    with pytest.raises(BadValue, match="data of x, strength; got slope and Exchangeable data of x"):
        stimulus.infer(x, draws=9, seed=3, context=known, model=other)


def test_a_matrix_gets_its_context_after_the_pooling():
    """Cells are N(s m, 1), standardised alike; the context moves the posterior of m."""

    def cells(theta, rng, n, context):
        return theta[:, :1, None] * context[:, :1, None] + rng.standard_normal((len(theta), n, 3))

    known = sk.Prior(s=sk.LogUniform(0.1, 1e4))  # heavy-tailed, so it has two views
    data = sk.Matrix(columns=("a", "b", "c"), n=(2, 5), context=known)
    model = sk.Simulator(name="c", prior=sk.Prior(m=sk.Normal(0, 1)), data=data, simulate=cells)
    bank = sk.simulate(model, 1_000, seed=1)
    x = np.random.default_rng(0).normal(size=(4, 3))
    for summary in ("two_way", "deep_set"):
        posterior = sk.fit(bank, seed=2, summary=summary, **(SMALL | {"steps": 15}))
        sizes = posterior.architecture
        assert (sizes.columns, sizes.context, sizes.inputs % 3) == (3, 2, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # both pairs of cells and context are rare
            draws = [posterior.sample(x, draws=50, seed=1, context={"s": s}) for s in (1, 50)]
        assert np.abs(draws[0] - draws[1]).max() > 1e-3


def test_context_that_all_simulations_share_is_no_surprise(stimulus):
    bank = sk.simulate(stimulus.model, 1_000, seed=1, context={"strength": 1})
    posterior = sk.fit(bank, seed=2, **(SMALL | {"steps": 8}))
    assert posterior.history["context"] == {"strength": [1.0, 1.0]}
    x = {"x": [0.3, 1.0, -0.5, 2.0], "strength": 1.01}
    assert "trained on 1 to 1;" in told(lambda: posterior.sample(x, draws=9, seed=1))[0]


# Missing entries: x_i ~ N(m, 1), each missing with a probability of U(0, 0.8), and m ~ N(0, 1)


@pytest.fixture(scope="module")
def holes():
    def punched(theta, rng, n):
        x = level(theta, rng, n)
        x[rng.random(x.shape) < rng.uniform(0, 0.8, (len(theta), 1, 1))] = np.nan
        return x

    model = sk.Simulator(
        name="holes",
        prior=sk.Prior(m=sk.Normal(0, 1)),
        data=sk.Exchangeable(columns=("x",), n=8, missing=True),
        simulate=punched,
    )
    return sk.fit(sk.simulate(model, 4_000, seed=1), seed=2, **QUICK)


@pytest.mark.parametrize("measured", [1, 4, 8])
def test_the_width_follows_the_number_of_measured_entries(holes, measured):
    """N(Σx / (1 + k), 1 / (1 + k)): means within .35 sd (rms), sds within 15 % on average."""
    rng = np.random.default_rng(3)
    x = rng.normal(rng.normal(size=(40, 1)), 1, (40, 8))
    x[:, measured:] = np.nan
    sd = 1 / math.sqrt(1 + measured)
    draws = holes.sample(rng.permuted(x, axis=1)[..., None], draws=2_000, seed=4)[..., 0]
    error = (draws.mean(axis=1) - np.nansum(x, axis=1) * sd**2) / sd
    assert math.sqrt(np.mean(error**2)) < 0.35
    assert abs(draws.std(axis=1).mean() / sd - 1) < 0.15


def test_missing_entries_go_all_the_way(holes, tmp_path):
    holes.save(tmp_path / "h")
    x = np.array([0.3, np.nan, -0.5, 2.0, np.nan, 0.1, np.nan, 0.2])
    same = sk.load(tmp_path / "h").sample(x, draws=9, seed=1)
    assert same.tobytes() == holes.sample({"x": x}, draws=9, seed=1).tobytes()
    idata = holes.infer(x, draws=40, seed=3)
    observed = idata["observed_data"]["x"].values
    np.testing.assert_array_equal(observed, x)
    share = np.isnan(idata["posterior_predictive"]["x"].values).mean()
    assert 0.2 < share < 0.6
    with pytest.raises(BadValue, match=r"got inf at row 1 of column 'x'; remove or impute it be"):
        holes.sample([0.3, np.inf, np.nan], draws=9, seed=1)


LAYOUTS = {
    "identity": sk.Series(columns=("x", "y"), n=6, missing=("y",)),
    "deep_set": sk.Exchangeable(columns=("x", "y"), n=(3, 6), missing=True),
    "two_way": sk.Matrix(columns=("x", "y"), n=(3, 6), missing=True),
    "gru": sk.Series(columns=("x", "y"), n=(3, 6), missing=True),
}


@pytest.mark.parametrize("summary", LAYOUTS)
def test_every_summary_takes_missing_entries(summary):
    layout = LAYOUTS[summary]

    def punched(theta, rng, n):
        x = pairs(theta, rng, n)
        first = layout.columns.index(layout.missing[0])
        x[rng.random(len(x)) < 0.5, -1, first:] = np.nan  # an observation that is missing entirely
        return x

    prior = sk.Prior(a=sk.Normal(0, 1), b=sk.Normal(2, 3))
    model = sk.Simulator(name="p", prior=prior, data=layout, simulate=punched)
    bank = sk.simulate(model, 1_000, seed=1)
    assert not bank.status.any()
    posterior = sk.fit(bank, seed=2, summary=summary, **(SMALL | {"steps": 8}))
    places = posterior.encoder.standardizer.missable.tolist()
    assert places == ([1, 3, 5, 7, 9, 11] if summary == "identity" else [0, 1])
    x = pairs(np.array([[0.6, 0.3]]), np.random.default_rng(0), 6)[0]
    whole = posterior.sample(x, draws=9, seed=1)
    part = np.where(np.eye(6, 2, -4).astype(bool) & [[False, True]], np.nan, x)
    assert np.isnan(part).sum() == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no simulation misses the entry that this one does
        draws = posterior.sample(part, draws=9, seed=1)
    assert np.isfinite(draws).all()
    assert np.abs(draws - whole).max() > 1e-6
