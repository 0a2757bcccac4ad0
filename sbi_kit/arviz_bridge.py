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
from sbi_kit.data import Datasets

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

InferenceData: TypeAlias = Any  # arviz.InferenceData or xarray.DataTree
_OVERHEAD = 2**20  # bytes of a file beside its arrays
_DIMS = ("chain", "draw", "dataset", "observation")
_ONE_CHAIN = "independent draws of an amortized posterior: one chain; R-hat and ESS say nothing"


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
    columns: Sequence[str],
    observed: Datasets,
    predictive: Array | None,
    predictive_draws: IntArray | None,
    vector: bool,
    constants: Mapping[str, Array] | None = None,
    attributes: Mapping[str, str] | None = None,
) -> InferenceData:
    """Gather an inference for ArviZ.

    Dims are (chain, draw), then dataset if there are several, then observation for data; ragged
    data are padded with NaN.

    Args:
        names: The d parameters.
        draws: Posterior draws, shape (b, s, d).
        log_q: Their log density under the posterior, shape (b, s).
        prior: Draws of the prior, shape (p, d).
        columns: The measured quantities.
        observed: The b observed datasets.
        predictive: Data simulated from k of the draws, shape (b, k, n, columns), n that of
            `observed.values`; what lies beyond a dataset's own n is ignored.
        predictive_draws: Indices of those k draws, which become the coordinate `draw`; None stands
            for the first k.
        vector: Whether a dataset is one row of features, so that there is no observation dim.
        constants: More of `constant_data`, one entry per dataset each, shapes (b, ...).
        attributes: What else every group should be marked with, such as the seed.

    Returns:
        `arviz.InferenceData` (0.x) or `xarray.DataTree` (1.x) with the groups posterior, prior,
        sample_stats (log_q), observed_data, constant_data (n) and posterior_predictive.

    Raises:
        BadValue: A shape does not fit the others, or a name is that of a dim or holds a slash.
    """
    import xarray as xr

    _expect_names(names, columns, tuple(constants or ()))
    b, d, k = len(observed), len(names), len(columns)
    fit = "pass arrays of one inference"
    draws = expect_array("draws", draws, (b, "draws", d), do=fit)
    s, n = draws.shape[1], observed.values.shape[1]
    log_q = expect_array("log_q", log_q, (b, s), do=fit)
    prior = expect_array("prior", prior, ("draws", d), do=fit)
    padded = np.where(observed.mask[:, :, None], observed.values, np.nan)
    groups = {
        "posterior": _sampled(names, draws, np.arange(s), ()),
        "prior": _dataset(dict(zip(names, prior.T[:, None], strict=True)), ("chain", "draw")),
        "sample_stats": _sampled(("log_q",), log_q[:, :, None], np.arange(s), ()),
        "observed_data": _data(columns, padded, vector),
        "constant_data": _constants({"n": observed.n, **(constants or {})}, b),
    }
    if predictive is not None:
        used = np.arange(predictive.shape[1]) if predictive_draws is None else predictive_draws
        shape = (b, len(used), n, k)
        predictive = expect_array("predictive", predictive, shape, do=fit)
        predictive = np.where(observed.mask[:, None, :, None], predictive, np.nan)
        rows = predictive[:, :, 0] if vector else predictive
        inner = () if vector else ("observation",)
        groups["posterior_predictive"] = _sampled(columns, rows, used, inner)
    marks = {"inference_library": "sbi_kit", "inference_library_version": _version()}
    marks |= {"sampling": _ONE_CHAIN} | dict(attributes or {})
    return _hand_over(
        xr.DataTree.from_dict({name: group.assign_attrs(marks) for name, group in groups.items()})
    )


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
        BadValue: It is no netCDF file, or one without a posterior.
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
    if "posterior" not in tree.children:
        raise BadValue("a netCDF file with a posterior", str(path), "pass one of write_netcdf")
    return _hand_over(tree)


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


def _data(columns: Sequence[str], values: Array, vector: bool) -> "xr.Dataset":
    """Values (b, n, columns) as variables ([dataset][, observation])."""
    rows, inner = (values[:, 0], ()) if vector else (values, ("observation",))
    dims: tuple[str, ...] = ("dataset", *inner)
    if len(values) == 1:
        rows, dims = rows[0], inner
    by_name = np.moveaxis(rows, -1, 0)
    return _dataset(dict(zip(columns, by_name, strict=True)), dims)


def _constants(entries: Mapping[str, Array | IntArray], b: int) -> "xr.Dataset":
    """Entries (b, ...) as variables ([dataset, ]...), further axes named as ArviZ does."""
    import xarray as xr

    group = xr.Dataset()
    for name, entry in entries.items():
        value = np.asarray(entry)
        if value.shape[:1] != (b,):
            raise BadValue(
                f"constant {name!r} with one entry per dataset ({b})",
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
