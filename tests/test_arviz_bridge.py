"""What ArviZ gets: run under 0.x (Python 3.11) and 1.x (Python 3.12), without torch."""

import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest

from sbi_kit.arviz_bridge import (
    calibration_data,
    inference_data,
    load_arviz,
    read_netcdf,
    summary_table,
    write_netcdf,
)
from sbi_kit.checks import BadValue
from sbi_kit.data import Exchangeable, Matrix, Vector, stack

NAMES, COLUMNS = ("beta", "gamma"), ("time", "cases")
S, P, K = 400, 450, 25
SETS = Exchangeable(columns=COLUMNS, n=(1, 20))
VECTOR = Vector(columns=COLUMNS)
GENES = Matrix(columns=("gene/1", "gene/2"), n=(2, 20))


def parts(n=(14,), layout=SETS, **changes):
    rng = np.random.default_rng(0)
    b = len(n)
    return {
        "names": NAMES,
        "draws": rng.normal([1.7, 0.5], [0.05, 0.04], size=(b, S, 2)),
        "log_q": rng.normal(size=(b, S)),
        "prior": rng.normal(size=(P, 2)),
        "layout": layout,
        "observed": stack([rng.normal(size=(size, 2)) for size in n]),
        "predictive": rng.normal(size=(b, K, max(n), 2)),
        "prior_predictive": rng.normal(size=(b, K, max(n), 2)),
        "predictive_draws": np.arange(0, S, S // K),
        "scores": {"misspecification": np.linspace(1, 2, b)},
        "together": {"mmd": 0.25},
        "constants": {"population": np.full(b, 763.0)},
        "attributes": {"seed": "3"},
        **changes,
    }


def groups(idata):
    names = idata.groups() if callable(idata.groups) else list(idata.children)
    return {name: idata[name] for name in names}


def test_one_dataset_has_no_dataset_axis():
    given = parts()
    made = groups(inference_data(**given))
    assert set(made) == {
        "posterior",
        "prior",
        "sample_stats",
        "observed_data",
        "constant_data",
        "posterior_predictive",
        "prior_predictive",
    }
    for i, name in enumerate(NAMES):
        assert made["posterior"][name].dims == made["prior"][name].dims == ("chain", "draw")
        np.testing.assert_array_equal(made["posterior"][name][0], given["draws"][0, :, i])
        np.testing.assert_array_equal(made["prior"][name][0], given["prior"][:, i])
    np.testing.assert_array_equal(made["sample_stats"]["log_q"][0], given["log_q"][0])
    assert made["sample_stats"]["misspecification"].item() == 1
    for i, name in enumerate(COLUMNS):
        seen = made["observed_data"][name]
        assert seen.dims == ("observation",)
        np.testing.assert_array_equal(seen, given["observed"].values[0, :, i])
        for group, values in (("posterior_", "predictive"), ("", "prior_predictive")):
            predicted = made[f"{group}{values}"][name]
            assert predicted.dims == ("chain", "draw", "observation")
            np.testing.assert_array_equal(predicted[0], given[values][0, :, :, i])
    assert made["constant_data"]["n"].item() == 14
    assert made["constant_data"]["population"].item() == 763


def test_predictive_draws_point_at_posterior_draws():
    given = parts()
    made = groups(inference_data(**given))
    drawn = made["posterior_predictive"]["cases"].sel(draw=32)
    np.testing.assert_array_equal(drawn[0], given["predictive"][0, 2, :, 1])
    assert made["posterior"]["beta"].sel(draw=32).item() == given["draws"][0, 32, 0]
    drawn = made["prior_predictive"]["cases"].sel(draw=32)
    np.testing.assert_array_equal(drawn[0], given["prior_predictive"][0, 2, :, 1])
    assert made["prior"]["beta"].sel(draw=32).item() == given["prior"][32, 0]


def test_several_ragged_datasets_are_padded_with_nan():
    given = parts(n=(3, 5), constants={"regions": np.array([[1.0, 2, 3], [4, 5, 6]])})
    made = groups(inference_data(**given))
    assert made["posterior"]["beta"].dims == ("chain", "draw", "dataset")
    np.testing.assert_array_equal(made["posterior"]["gamma"][0, :, 1], given["draws"][1, :, 1])
    np.testing.assert_array_equal(made["sample_stats"]["log_q"][0].T, given["log_q"])
    seen, predicted = made["observed_data"]["cases"], made["posterior_predictive"]["cases"]
    assert seen.dims == ("dataset", "observation")
    assert predicted.dims == ("chain", "draw", "dataset", "observation")
    assert np.isnan(seen[0, 3:]).all()
    assert np.isnan(predicted[0, :, 0, 3:]).all()
    np.testing.assert_array_equal(seen[0, :3], given["observed"].values[0, :3, 1])
    np.testing.assert_array_equal(predicted[0, :, 1], given["predictive"][1, :, :, 1])
    assert np.isnan(made["prior_predictive"]["cases"][0, :, 0, 3:]).all()
    assert made["sample_stats"]["misspecification"].dims == ("dataset",)
    np.testing.assert_array_equal(made["sample_stats"]["misspecification"], [1, 2])
    assert made["sample_stats"]["mmd"].dims == ()
    assert made["sample_stats"]["mmd"].item() == 0.25
    np.testing.assert_array_equal(made["constant_data"]["n"], [3, 5])
    assert made["constant_data"]["regions"].sel(dataset=1, regions_dim_0=2).item() == 6


@pytest.mark.parametrize("b", [1, 4])
def test_vectors_have_no_observation_axis(b):
    given = parts(n=(1,) * b, layout=VECTOR)
    made = groups(inference_data(**given))
    extra = () if b == 1 else ("dataset",)
    assert made["observed_data"]["cases"].dims == extra
    assert made["posterior_predictive"]["cases"].dims == ("chain", "draw", *extra)
    last = made["posterior_predictive"]["time"].values.reshape(K, b)[:, -1]
    np.testing.assert_array_equal(last, given["predictive"][-1, :, 0, 0])
    assert np.ravel(made["observed_data"]["cases"])[-1] == given["observed"].values[-1, 0, 1]


@pytest.mark.parametrize("b", [1, 2])
def test_the_cells_of_a_matrix_are_one_variable(b):
    given = parts(n=(3, 5)[:b], layout=GENES)
    made = groups(inference_data(**given))
    extra = () if b == 1 else ("dataset",)
    seen, cells = made["observed_data"]["x"], (*extra, "observation", "column")
    assert seen.dims == cells
    assert seen["column"].values.tolist() == ["gene/1", "gene/2"]
    values = seen.values.reshape(b, -1, 2)
    np.testing.assert_array_equal(values[0, :3], given["observed"].values[0, :3])
    assert np.isnan(values[0, 3:]).all()
    for group, name in (("posterior_", "predictive"), ("", "prior_predictive")):
        predicted = made[f"{group}{name}"]
        assert list(predicted.data_vars) == ["x"]
        assert predicted["x"].dims == ("chain", "draw", *cells)
        values = predicted["x"].sel(column="gene/2").values.reshape(K, b, -1)
        np.testing.assert_array_equal(values[:, -1], given[name][-1, :, :, 1])


def test_without_predictions_there_is_no_such_group():
    optional = [
        "predictive",
        "prior_predictive",
        "predictive_draws",
        "scores",
        "together",
        "constants",
    ]
    made = groups(inference_data(**parts(**dict.fromkeys([*optional, "attributes"]))))
    assert not {"posterior_predictive", "prior_predictive"} & set(made)
    assert list(made["sample_stats"].data_vars) == ["log_q"]
    assert list(made["constant_data"].data_vars) == ["n"]
    given = parts(predictive_draws=None)
    drawn = groups(inference_data(**given))["posterior_predictive"]["draw"]
    np.testing.assert_array_equal(drawn, np.arange(K))


def test_every_group_says_who_made_it_and_why_one_chain():
    for group in groups(inference_data(**parts())).values():
        assert group.attrs["inference_library"] == "sbi_kit"
        assert group.attrs["inference_library_version"]
        assert group.attrs["seed"] == "3"
        assert "one chain" in group.attrs["sampling"]


FORMS = [((14,), SETS), ((3, 5), SETS), ((1, 1), VECTOR), ((3, 5), GENES)]


@pytest.mark.parametrize(("n", "layout"), FORMS)
def test_netcdf_round_trip(tmp_path, n, layout):
    round_trip(inference_data(**parts(n=n, layout=layout)), tmp_path / "flu.nc")
    assert [file.name for file in tmp_path.iterdir()] == ["flu.nc"]


def round_trip(idata, path):
    """What is written is read, and the file can be replaced by it."""
    write_netcdf(idata, path)
    again = read_netcdf(path)
    assert type(again) is type(idata)
    assert groups(again).keys() == groups(idata).keys()
    for name, group in groups(idata).items():
        read = groups(again)[name]
        assert read.attrs == group.attrs
        for variable in group.data_vars:
            np.testing.assert_array_equal(read[variable], group[variable])
            assert read[variable].dims == group[variable].dims
        for coordinate in group.coords:
            np.testing.assert_array_equal(read[coordinate], group[coordinate])
    write_netcdf(again, path)  # the file was closed, so it can be replaced
    return again


def test_a_full_disk_is_noticed_before_writing(tmp_path, monkeypatch):
    idata, used = inference_data(**parts()), shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: used._replace(free=2**20))
    with pytest.raises(OSError, match="No space left on device"):
        write_netcdf(idata, tmp_path / "flu.nc")
    assert list(tmp_path.iterdir()) == []


def test_arviz_itself_opens_the_file(tmp_path):
    write_netcdf(inference_data(**parts()), tmp_path / "flu.nc")
    opened = load_arviz().from_netcdf(str(tmp_path / "flu.nc"))
    assert opened["posterior"]["beta"].shape == (1, S)


@pytest.mark.parametrize("content", [b"", b"not a netCDF file at all"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.nc"
    path.write_bytes(content)
    with pytest.raises(BadValue, match=r"Expected a netCDF file; got .*x\.nc, which cannot be"):
        read_netcdf(path)


def test_netcdf_files_without_a_posterior_are_refused(tmp_path):
    xarray = pytest.importorskip("xarray")
    xarray.DataTree.from_dict({"prior": xarray.Dataset({"a": 1.0})}).to_netcdf(tmp_path / "x.nc")
    with pytest.raises(BadValue, match="with a posterior or a calibration check; got"):
        read_netcdf(tmp_path / "x.nc")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"got nothing at .*none\.nc"):
        read_netcdf(tmp_path / "none.nc")


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_summary_table_is_the_same_on_every_version(level):
    given = parts()
    table = summary_table(inference_data(**given), NAMES[::-1], level=level)
    assert list(table.index) == ["gamma", "beta"]
    ends = {0.5: ["25%", "75%"], 0.95: ["2.5%", "97.5%"]}[level]
    assert list(table.columns) == ["mean", "sd", *ends]
    drawn = given["draws"][0, :, ::-1]
    quantiles = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    np.testing.assert_allclose(table["mean"], drawn.mean(axis=0))
    np.testing.assert_allclose(table["sd"], drawn.std(axis=0, ddof=1))
    np.testing.assert_allclose(table[ends].T, quantiles, rtol=1e-3)


def test_summary_table_has_a_row_per_dataset():
    given = parts(n=(3, 5))
    table = summary_table(inference_data(**given), NAMES)
    assert list(table.index) == ["beta[0]", "beta[1]", "gamma[0]", "gamma[1]"]
    assert table.loc["gamma[1]", "mean"] == pytest.approx(given["draws"][1, :, 1].mean())


@pytest.mark.parametrize(("n", "layout"), [((14,), SETS), ((3, 5), SETS), ((4,), GENES)])
def test_arviz_works_on_it_unchanged(n, layout):
    pytest.importorskip("matplotlib").use("Agg")
    arviz, idata = load_arviz(), inference_data(**parts(n=n, layout=layout))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ's own: deprecations, and R-hat of one chain
        assert set(NAMES) <= {name.split("[")[0] for name in arviz.summary(idata).index}
        if hasattr(arviz, "plot_posterior"):
            arviz.plot_posterior(idata)
            arviz.plot_pair(idata, marginals=True)
            arviz.plot_forest(idata)
            if len(n) == 1:
                arviz.plot_dist_comparison(idata)
                arviz.plot_ppc(idata)
        else:
            arviz.plot_dist(idata)
            arviz.plot_pair(idata)
            arviz.plot_forest(idata)
            arviz.plot_prior_posterior(idata)
            if len(n) == 1:
                arviz.plot_ppc_dist(idata)
        pytest.importorskip("matplotlib.pyplot").close("all")


def checked(b=60, **changes):
    rng = np.random.default_rng(1)
    ranks = rng.integers(0, 100, size=(b, 3))
    return {
        "names": (*NAMES, "R0"),
        "truth": rng.normal(size=(b, 3)),
        "ranks": ranks,
        "draws": 99,
        "log_q": rng.normal(size=b),
        "n": np.arange(b),
        "estimates": {"mean": rng.normal(size=(b, 3)), "sd": rng.random((b, 3))},
        "attributes": {"verdict": "No miscalibration found."},
        **changes,
    }


def test_a_calibration_check_round_trips(tmp_path):
    given = checked()
    read = groups(round_trip(calibration_data(**given), tmp_path / "check.nc"))
    assert set(read) == {"prior", "prior_sbc", "sample_stats_prior", "recovery"}
    for i, name in enumerate(given["names"]):
        assert read["prior"][name].dims == read["prior_sbc"][name].dims == ("chain", "draw")
        np.testing.assert_array_equal(read["prior"][name][0], given["truth"][:, i])
        np.testing.assert_allclose(read["prior_sbc"][name][0], (given["ranks"][:, i] + 0.5) / 100)
        for table, values in {"rank": given["ranks"], **given["estimates"]}.items():
            column = read["recovery"][table].sel(parameter=name)
            assert column.dims == ("chain", "draw")
            np.testing.assert_array_equal(column[0], values[:, i])
    for name in ("log_q", "n"):
        np.testing.assert_array_equal(read["sample_stats_prior"][name][0], given[name])
    for group in read.values():
        assert group.attrs["posterior_draws"] == "99"
        assert group.attrs["verdict"] == "No miscalibration found."
        assert "held-out simulation" in group.attrs["sampling"]


def test_arviz_works_on_a_calibration_check():
    pytest.importorskip("matplotlib").use("Agg")
    arviz, idata = load_arviz(), calibration_data(**checked())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ's own
        if hasattr(arviz, "plot_ecdf_pit"):
            arviz.plot_ecdf_pit(idata)
            arviz.plot_pair(idata, group="prior")
        else:
            arviz.plot_pair(idata, group="prior")
        pytest.importorskip("matplotlib.pyplot").close("all")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"truth": np.zeros((60, 2))},
            r"truth of shape \(b, 3\); got \(60, 2\); pass arrays of one c",
        ),
        ({"ranks": np.zeros((9, 3))}, r"rank of shape \(60, 3\); got \(9, 3\)"),
        ({"log_q": np.zeros(3)}, r"log_q of shape \(60,\); got \(3,\)"),
        ({"n": np.zeros((60, 1))}, r"n of shape \(60,\); got \(60, 1\)"),
        ({"estimates": {"sd": np.ones(60)}}, r"sd of shape \(60, 3\); got \(60,\)"),
        ({"names": ("a", "b", "1/c")}, r"without a slash; got '1/c'; rename it"),
    ],
)
def test_a_calibration_check_of_other_shapes_is_refused(changes, message):
    with pytest.raises(BadValue, match=message):
        calibration_data(**checked(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws": np.zeros((2, S, 2))}, r"draws of shape \(1, draws, 2\); got \(2, 400, 2\)"),
        ({"log_q": np.zeros((1, 3))}, r"log_q of shape \(1, 400\); got \(1, 3\)"),
        ({"prior": np.zeros((P, 3))}, r"prior of shape \(draws, 2\); got \(450, 3\)"),
        ({"predictive": np.zeros((1, 9, 14, 2))}, r"r_predictive of shape \(1, 25, 14, 2\); got"),
        (
            {"prior_predictive": np.zeros((1, 25, 1, 2))},
            r"d prior_predictive of shape \(1, 25, 14,",
        ),
        ({"names": ("draw", "gamma")}, r"without a slash; got 'draw'; rename it"),
        ({"layout": Vector(columns=("a", "b/c"))}, r"without a slash; got 'b/c'; rename it"),
        ({"scores": {"k": np.ones(3)}}, r"score 'k' with one entry per dataset \(1\); got"),
        ({"constants": {"N": np.ones(3)}}, r"constant 'N' with one entry per dataset \(1\); got"),
    ],
)
def test_bad_input_gets_one_sentence(changes, message):
    with pytest.raises(BadValue, match=message):
        inference_data(**parts(**changes))


def test_importing_the_bridge_costs_neither_arviz_nor_torch():
    code = (
        "import sys, sbi_kit.arviz_bridge; print({'arviz', 'torch', 'xarray'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"


def test_no_warning_filter_stays_behind():
    before = list(warnings.filters)
    load_arviz()
    assert warnings.filters == before
