"""Draws and data as ArviZ knows them; the only file that knows ArviZ's versions.

ArviZ 0.x (Python 3.11) works on its own `InferenceData`, ArviZ 1.x (Python 3.12 on) on
`xarray.DataTree`. The groups are built here once, as xarray datasets with named variables, dims and
coords, and handed over in the form of whichever is installed; the netCDF files are the same.

Draws of an amortized posterior are independent, so there is one chain and nothing that
measures mixing: R-hat and effective sample sizes say nothing about it, and judging it is the
matter of `sbi_kit.diagnostics`.
"""

import errno
import os
import shutil
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from sbi_kit.checks import BadValue, expect_array, expect_number
from sbi_kit.contracts import Array, IntArray
from sbi_kit.data import AnyLayout, Datasets, Matrix, Vector

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

InferenceData: TypeAlias = Any  # arviz.InferenceData or xarray.DataTree
_OVERHEAD = 2**20  # bytes of a file beside its arrays
_DIMS = ("chain", "draw", "dataset", "observation")
_FIT, _CHECK = "pass arrays of one inference", "pass arrays of one check"
_CELLS = "x"  # the one variable of a `Matrix`
_ONE_CHAIN = "independent draws: one chain; R-hat and ESS say nothing"
_HELD_OUT = "each draw is a held-out simulation: parameters of the prior, data, their posterior"


def load_arviz() -> Any:
    """The installed ArviZ, imported on first use (about a second).

    The announcement of 1.x that 0.23 makes at its first import, a FutureWarning, is silenced for
    the length of the import; no filter stays behind.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*ArviZ is undergoing", category=FutureWarning)
        import arviz
    return arviz


def inference_data(
    *,
    names: Sequence[str],
    draws: Array,
    log_q: Array,
    prior: Array,
    layout: AnyLayout,
    observed: Datasets,
    weights: Array | None = None,
    predictive: Array | None = None,
    prior_predictive: Array | None = None,
    predictive_draws: IntArray | None = None,
    scores: Mapping[str, Array] | None = None,
    together: Mapping[str, float] | None = None,
    constants: Mapping[str, Array] | None = None,
    units: Mapping[str, str] | None = None,
    attributes: Mapping[str, str] | None = None,
) -> InferenceData:
    """Gather an inference for ArviZ.

    Dims are (chain, draw), then dataset if there are several, then observation for data; ragged
    data are padded with NaN. Columns are variables, but for a `Matrix`, whose cells are the one
    variable `x` with the dims observation and column.

    Args:
        names: The d parameters.
        draws: Posterior draws, shape (b, s, d).
        log_q: Their log density under the posterior, shape (b, s).
        prior: Draws of the prior, shape (p, d).
        layout: What one dataset looks like; a `Vector` has no observation dim.
        observed: The b observed datasets.
        weights: Importance weights of the draws, shape (b, s), which become `weight`.
        predictive: Data simulated from k of the draws, shape (b, k, n, columns), n that of
            `observed.values`; what lies beyond a dataset's own n is ignored.
        prior_predictive: The same from k draws of the prior.
        predictive_draws: Indices of those k draws, of posterior and prior alike, which become the
            coordinate `draw`; None stands for the first k.
        scores: More of `sample_stats`, one number per dataset each, shapes (b,); they have no
            dims chain and draw.
        together: More of `sample_stats`, one number of all datasets together each, without dims.
        constants: More of `constant_data`, one entry per dataset each, shapes (b, ...).
        units: Units of variables by name, which become their attribute `units`.
        attributes: What else every group should be marked with, such as the seed.

    Returns:
        `arviz.InferenceData` (0.x) or `xarray.DataTree` (1.x) with the groups posterior, prior,
        sample_stats (log_q), observed_data, constant_data (n), posterior_predictive and
        prior_predictive, the last two if there are any.

    Raises:
        BadValue: A shape does not fit the others, or a name is that of a dim or holds a slash.
    """
    variables = (_CELLS,) if isinstance(layout, Matrix) else layout.columns
    _expect_names(names, variables, (*(scores or ()), *(together or ())), tuple(constants or ()))
    b, d = len(observed), len(names)
    draws = expect_array("draws", draws, (b, "draws", d), do=_FIT)
    s = draws.shape[1]
    log_q = expect_array("log_q", log_q, (b, s), do=_FIT)
    prior = expect_array("prior", prior, ("draws", d), do=_FIT)
    stats = {"log_q": log_q}
    if weights is not None:
        stats["weight"] = expect_array("weights", weights, (b, s), do=_FIT)
    of_draws = _sampled(tuple(stats), np.stack(list(stats.values()), -1), np.arange(s), ())
    groups = {
        "posterior": _sampled(names, draws, np.arange(s), ()),
        "prior": _sampled(names, prior[None], np.arange(len(prior)), ()),
        "sample_stats": of_draws.merge(_each("score", scores or {}, b)).assign(together or {}),
        "observed_data": _observed(layout, observed),
        "constant_data": _each("constant", {"n": observed.n, **(constants or {})}, b),
    }
    data = {"posterior_predictive": predictive, "prior_predictive": prior_predictive}
    for name, values in data.items():
        if values is not None:
            used = np.arange(values.shape[1]) if predictive_draws is None else predictive_draws
            groups[name] = _replicated(name, layout, observed, values, used)
    _mark_units(groups, units)
    return _hand_over(_tree(groups, {"sampling": _ONE_CHAIN, **(attributes or {})}))


def calibration_data(
    *,
    names: Sequence[str],
    truth: Array,
    ranks: IntArray,
    draws: int,
    log_q: Array,
    n: IntArray,
    estimates: Mapping[str, Array],
    attributes: Mapping[str, str] | None = None,
) -> InferenceData:
    """Gather a calibration check for ArviZ, whose draws are here the b held-out simulations.

    Args:
        names: The d parameters and other judged quantities.
        truth: Their true values, which are draws of the prior, shape (b, d).
        ranks: Rank of each among the posterior draws, in 0..draws, shape (b, d).
        draws: Posterior draws per simulation.
        log_q: Log density of the true parameters under the posterior, shape (b,).
        n: Observations of each simulation, shape (b,).
        estimates: What else the posterior says of each quantity by name, such as mean and sd,
            shapes (b, d).
        attributes: What every group should be marked with, such as the verdict.

    Returns:
        `arviz.InferenceData` (0.x) or `xarray.DataTree` (1.x) with the groups prior (the truth, a
        variable per quantity), prior_sbc (the ranks as numbers in (0, 1), uniform if calibrated,
        as `arviz.plot_ecdf_pit` expects them), sample_stats_prior (log_q, n), and recovery (rank
        and estimates, with a dim parameter).

    Raises:
        BadValue: A shape does not fit the others, or a name is that of a dim or holds a slash.
    """
    _expect_names(names, tuple(estimates))
    d = len(names)
    truth = expect_array("truth", truth, ("b", d), do=_CHECK)
    b = len(truth)
    tables = {"rank": ranks, **estimates}
    tables = {k: expect_array(k, table, (b, d), do=_CHECK)[None] for k, table in tables.items()}
    stats = {"log_q": log_q, "n": n}
    stats = {k: expect_array(k, stat, (b,), do=_CHECK)[None] for k, stat in stats.items()}
    uniform = np.asarray((tables["rank"] + 0.5) / (draws + 1), dtype=np.float64)
    dims, each = ("chain", "draw"), np.arange(b)
    groups = {
        "prior": _sampled(names, truth[None], each, ()),
        "prior_sbc": _sampled(names, uniform, each, ()),
        "sample_stats_prior": _dataset(stats, dims),
        "recovery": _dataset(tables, (*dims, "parameter")).assign_coords(parameter=list(names)),
    }
    marks = {"sampling": _HELD_OUT, "posterior_draws": str(draws), **(attributes or {})}
    return _hand_over(_tree(groups, marks))


def comparison_data(
    *,
    names: Sequence[str],
    draws: Mapping[str, Array],
    prior: Array,
    layout: AnyLayout,
    observed: Datasets,
    units: Mapping[str, str] | None = None,
    attributes: Mapping[str, str] | None = None,
) -> InferenceData:
    """Gather what several methods say of one dataset for ArviZ.

    Args:
        names: The d parameters.
        draws: The draws of each method by its name, all of one shape (s, d).
        prior: Draws of the prior, shape (p, d).
        layout: What one dataset looks like.
        observed: The one observed dataset.
        units: Units of variables by name, which become their attribute `units`.
        attributes: What every group should be marked with, such as the seed.

    Returns:
        `arviz.InferenceData` (0.x) or `xarray.DataTree` (1.x) with the groups posterior, whose
        variables have the dims (chain, draw, approach), prior and observed_data.

    Raises:
        BadValue: A shape does not fit the others, or a name is that of a dim or holds a slash.
    """
    _expect_names(names)
    if "approach" in names:
        raise BadValue("names other than 'approach'", "'approach'", "rename the parameter")
    d, first = len(names), len(next(iter(draws.values())))
    each = [
        expect_array(f"draws of {method}", one, (first, d), do=_FIT)
        for method, one in draws.items()
    ]
    prior = expect_array("prior", prior, ("draws", d), do=_FIT)
    by_name = np.stack(each, axis=1).transpose(2, 0, 1)[:, None]  # (d, chain, s, methods)
    posterior = _dataset(dict(zip(names, by_name, strict=True)), ("chain", "draw", "approach"))
    groups = {
        "posterior": posterior.assign_coords(approach=list(draws)),
        "prior": _sampled(names, prior[None], np.arange(len(prior)), ()),
        "observed_data": _observed(layout, observed),
    }
    _mark_units(groups, units)
    return _hand_over(_tree(groups, {"sampling": _ONE_CHAIN, **(attributes or {})}))


def summary_table(
    idata: InferenceData, names: Sequence[str], *, level: float = 0.95
) -> "pd.DataFrame":
    """Posterior mean, sd and equal-tailed interval, one row per parameter (and dataset).

    ArviZ's R-hat and effective sample sizes are left out, because draws are independent.

    Args:
        idata: What `inference_data` returned.
        names: The parameters, in the order of the rows.
        level: Posterior probability of the interval; its ends name the last two columns.

    Raises:
        BadValue: A level outside (0, 1).
    """
    level = expect_number("level", level, low=0.0, high=1 - 1e-9, open_low=True)
    low, high = (1 - level) / 2, (1 + level) / 2
    arviz, ends = load_arviz(), [f"{100 * low:g}%", f"{100 * high:g}%"]
    if hasattr(arviz, "from_datatree"):
        statistics = {
            "mean": np.mean,
            "sd": lambda values: np.std(values, ddof=1),
            ends[0]: lambda values: np.quantile(values, low),
            ends[1]: lambda values: np.quantile(values, high),
        }
        options = {"stat_funcs": statistics, "extend": False, "round_to": "none"}
    else:
        options = {"ci_prob": level, "ci_kind": "eti", "round_to": "none"}
    table: pd.DataFrame = arviz.summary(idata, var_names=list(names), kind="stats", **options)
    return table.set_axis(["mean", "sd", *ends], axis="columns").astype(float)


def write_netcdf(idata: InferenceData, path: str | Path) -> None:
    """Write all groups to one netCDF file, which ArviZ of either version opens.

    The file appears whole or not at all.

    Raises:
        OSError: The disk has no room for it.
    """
    # HDF5 takes the whole process down when a disk fills up under it, so ask before.
    size = sum(column.nbytes for group in idata.values() for column in group.data_vars.values())
    if shutil.disk_usage(Path(path).parent).free < size + _OVERHEAD:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    partial = Path(f"{path}.partial")
    try:
        idata.to_netcdf(str(partial))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_netcdf(path: str | Path) -> InferenceData:
    """Read what `write_netcdf` wrote, into memory; the file is closed again.

    Raises:
        FileNotFoundError: There is no such file.
        BadValue: It is no netCDF file, or one with neither a posterior nor a calibration check.
    """
    import xarray as xr

    if not Path(path).exists():
        raise FileNotFoundError(f"Expected a netCDF file; got nothing at {path}; check the path.")
    try:
        with xr.open_datatree(path) as file:
            tree = file.load().copy(deep=True)
    except (OSError, ValueError) as error:
        got = f"{path}, which cannot be read ({type(error).__name__})"
        raise BadValue("a netCDF file", got, "pass a file that write_netcdf wrote") from error
    if not {"posterior", "prior_sbc"} & set(tree.children):
        wanted = "a netCDF file with a posterior or a calibration check"
        raise BadValue(wanted, str(path), "pass one of write_netcdf")
    return _hand_over(tree)


def _tree(groups: Mapping[str, "xr.Dataset"], marks: Mapping[str, str]) -> "xr.DataTree":
    """Groups as one tree, each marked with what made it."""
    import xarray as xr

    made = {"inference_library": "sbi_kit", "inference_library_version": _version()} | dict(marks)
    return xr.DataTree.from_dict({k: group.assign_attrs(made) for k, group in groups.items()})


def _mark_units(groups: Mapping[str, "xr.Dataset"], units: Mapping[str, str] | None) -> None:
    """Note the unit of every variable that has one."""
    for group in groups.values():
        for name in set(units or ()) & set(group.data_vars):
            group[name].attrs["units"] = (units or {})[str(name)]


def _hand_over(tree: "xr.DataTree") -> InferenceData:
    arviz = load_arviz()
    return arviz.from_datatree(tree) if hasattr(arviz, "from_datatree") else tree


def _sampled(
    names: Sequence[str], values: Array, draw: IntArray, inner: tuple[str, ...]
) -> "xr.Dataset":
    """Values (b, s, *inner, names) as variables (chain, draw[, dataset], *inner)."""
    by_name = np.moveaxis(values, (-1, 1), (0, 1))[:, None]  # (names, chain, s, b, *inner)
    if values.shape[0] == 1:
        by_name, dims = by_name[:, :, :, 0], ("chain", "draw", *inner)
    else:
        dims = ("chain", "draw", "dataset", *inner)
    return _dataset(dict(zip(names, by_name, strict=True)), dims).assign_coords(draw=draw)


def _replicated(
    name: str, layout: AnyLayout, observed: Datasets, values: Array, draw: IntArray
) -> "xr.Dataset":
    """Values (b, k, n, columns) as variables (chain, draw[, dataset], ...), NaN beyond each n."""
    b, n, columns = observed.values.shape
    values = expect_array(name, values, (b, len(draw), n, columns), do=_FIT)
    values = np.where(observed.mask[:, None, :, None], values, np.nan)
    variables, values, inner = _arranged(layout, values)
    return _with_columns(layout, _sampled(variables, values, draw, inner))


def _observed(layout: AnyLayout, x: Datasets) -> "xr.Dataset":
    """The data as variables ([dataset][, observation][, column]), NaN beyond each n."""
    values = np.where(x.mask[:, :, None], x.values, np.nan)
    variables, values, inner = _arranged(layout, values)
    by_name, dims = np.moveaxis(values, -1, 0), ("dataset", *inner)
    if len(x) == 1:
        by_name, dims = by_name[:, 0], inner
    group = _dataset(dict(zip(variables, by_name, strict=True)), dims)
    return _with_columns(layout, group)


def _arranged(layout: AnyLayout, values: Array) -> tuple[tuple[str, ...], Array, tuple[str, ...]]:
    """Variables of data (..., n, columns), the data as (..., *inner, variables), and inner."""
    if isinstance(layout, Vector):
        return layout.columns, values[..., 0, :], ()
    if isinstance(layout, Matrix):
        return (_CELLS,), values[..., None], ("observation", "column")
    return layout.columns, values, ("observation",)


def _with_columns(layout: AnyLayout, group: "xr.Dataset") -> "xr.Dataset":
    return group.assign_coords(column=list(layout.columns)) if "column" in group.dims else group


def _each(kind: str, entries: Mapping[str, Array | IntArray], b: int) -> "xr.Dataset":
    """Entries (b, ...) as variables ([dataset, ]...), further axes named as ArviZ does."""
    import xarray as xr

    group = xr.Dataset()
    for name, entry in entries.items():
        value = np.asarray(entry)
        if value.shape[:1] != (b,):
            raise BadValue(
                f"{kind} {name!r} with one entry per dataset ({b})",
                f"shape {value.shape}",
                "repeat what all datasets share",
            )
        dims = ("dataset", *(f"{name}_dim_{i}" for i in range(value.ndim - 1)))
        value, dims = (value[0], dims[1:]) if b == 1 else (value, dims)
        group = group.merge(_dataset({name: value}, dims))
    return group


def _dataset(variables: Mapping[str, Any], dims: tuple[str, ...]) -> "xr.Dataset":
    """Variables that share dims, with 0, 1, 2 ... as coordinates."""
    import xarray as xr

    group = xr.Dataset({name: (dims, value) for name, value in variables.items()})
    return group.assign_coords({dim: np.arange(group.sizes[dim]) for dim in dims})


def _expect_names(*groups: Sequence[str]) -> None:
    for name in (name for group in groups for name in group):
        if name in _DIMS or "/" in name:
            raise BadValue(
                f"names other than {', '.join(_DIMS)} and without a slash",
                repr(name),
                "rename it, as ArviZ uses these for axes and groups",
            )


def _version() -> str:
    try:
        return version("sbi_kit")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def psis(log_weights: Array) -> tuple[Array, float]:
    """Pareto-smoothed importance weights (Vehtari et al. 2024, JMLR 25:72).

    Args:
        log_weights: Logarithms of the raw weights up to a constant, finite, shape (s,); s at least
            25, and not all of the largest equal, as no tail can be fitted to these.

    Returns:
        Logarithms of the smoothed weights up to another constant, shape (s,), and the shape k-hat
        of their Pareto tail.
    """
    arviz = load_arviz()
    if hasattr(arviz, "psislw"):
        smoothed, shape = arviz.psislw(log_weights)
    else:
        from arviz_stats.base import array_stats

        # This one takes log likelihoods to be left out, whose weights are their inverse.
        smoothed, shape = array_stats.psislw(-log_weights)
    return np.asarray(smoothed, dtype=np.float64), float(shape)
