"""What one dataset looks like, and the one door through which data enter.

A layout names the columns and says how the observations of a dataset relate: one `Vector`, an
`Exchangeable` set whose order means nothing, a `Series` whose order is time, or a `Matrix` that
measures one quantity for every pair of row and column. `read` turns whatever a scientist has at
hand (array, list of arrays of different length, pandas frame, dict of columns) into `Datasets`:
zero-padded values with the true number of observations beside them.

Any layout may declare a `context`: what is known of each dataset besides its observations, with
the distribution that it is drawn from when data are simulated. And it may let entries be `missing`:
NaN, simulated or observed, then means "not measured".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sbi_kit.checks import (
    BadType,
    BadValue,
    as_floats,
    expect_array,
    expect_finite,
    expect_flag,
    expect_integer,
    expect_name,
    nearest,
    show_names,
    show_shape,
)
from sbi_kit.context import expect_context, names_of, read_context
from sbi_kit.contracts import Array, IntArray, Layout
from sbi_kit.prior import Prior, prior_from_dict, prior_to_dict


@dataclass(frozen=True)
class Vector:
    """A dataset is one row of named features, shape (columns,).

    Args:
        columns: Names of the features.
        context: Known columns beside the data, with the distribution they are simulated from.
        missing: Columns whose values may be missing, NaN; True stands for all.

    >>> Vector(columns=("mean", "variance")).n_range
    (1, 1)
    """

    columns: tuple[str, ...]
    context: Prior | None = field(default=None, kw_only=True, hash=False)
    missing: bool | tuple[str, ...] = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", _expect_columns(self.columns))
        expect_context(self.context, self.columns)
        object.__setattr__(self, "missing", _expect_missing(self.missing, self.columns))

    @property
    def n_range(self) -> tuple[int, int]:
        return (1, 1)


@dataclass(frozen=True)
class Exchangeable:
    """A dataset is a set of n observations whose order means nothing, shape (n, columns).

    Args:
        columns: Names of the measured quantities.
        n: Number of observations, fixed or (smallest, largest); drawn uniformly when simulated.
        nested: Whether any m observations of a dataset of size n are distributed as a dataset of
            size m, as independent observations are. Training then learns from parts of datasets
            too. False where an observation depends on the size of its dataset (ranks, say).
        context: Known columns beside the data, with the distribution they are simulated from.
        missing: Columns whose values may be missing, NaN; True stands for all.

    >>> Exchangeable(columns=("time", "dose"), n=(20, 200)).n_range
    (20, 200)
    """

    columns: tuple[str, ...]
    n: int | tuple[int, int]
    nested: bool = True
    context: Prior | None = field(default=None, kw_only=True, hash=False)
    missing: bool | tuple[str, ...] = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", _expect_columns(self.columns))
        object.__setattr__(self, "n", _expect_sizes(self.n))
        expect_flag("nested", self.nested)
        expect_context(self.context, self.columns)
        object.__setattr__(self, "missing", _expect_missing(self.missing, self.columns))

    @property
    def n_range(self) -> tuple[int, int]:
        return (self.n, self.n) if isinstance(self.n, int) else self.n


@dataclass(frozen=True)
class Series:
    """A dataset is n observations in order of time, shape (n, columns).

    Args:
        columns: Names of the measured quantities.
        n: Number of time points, fixed or (smallest, largest); drawn uniformly when simulated.
        nested: Whether the first m time points of a series of n are distributed as a series of m,
            as those of a process are whose start and times do not depend on how long it is watched.
            Training then learns from beginnings of series too. False where they do: where n points
            divide a fixed span, say, or the series ends with what it shows.
        context: Known columns beside the data, with the distribution they are simulated from.
        missing: Columns whose values may be missing, NaN; True stands for all.

    >>> Series(columns=("in_bed",), n=14).n_range
    (14, 14)
    """

    columns: tuple[str, ...]
    n: int | tuple[int, int]
    nested: bool = False
    context: Prior | None = field(default=None, kw_only=True, hash=False)
    missing: bool | tuple[str, ...] = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", _expect_columns(self.columns))
        object.__setattr__(self, "n", _expect_sizes(self.n))
        expect_flag("nested", self.nested)
        expect_context(self.context, self.columns)
        object.__setattr__(self, "missing", _expect_missing(self.missing, self.columns))

    @property
    def n_range(self) -> tuple[int, int]:
        return (self.n, self.n) if isinstance(self.n, int) else self.n


@dataclass(frozen=True)
class Matrix:
    """A dataset is one quantity in every cell of a table, shape (n, columns).

    Rows are exchangeable, as the cells of a tissue are; columns may be so too, as unlinked loci or
    genes are, or stand in an order. All cells are standardised alike.

    Args:
        columns: Names of the k columns.
        n: Number of rows, fixed or (smallest, largest); drawn uniformly when simulated.
        columns_exchangeable: Whether the order of columns means nothing. Their names then mean
            nothing either: a frame of k columns is read whatever they are called.
        nested: Whether any m rows of n are distributed as a dataset of m rows; see `Exchangeable`.
        context: Known columns beside the data, with the distribution they are simulated from.
        missing: Whether cells may be missing, NaN.

    >>> Matrix(columns=("gene_1", "gene_2"), n=40).n_range
    (40, 40)
    """

    columns: tuple[str, ...]
    n: int | tuple[int, int]
    columns_exchangeable: bool = True
    nested: bool = True
    context: Prior | None = field(default=None, kw_only=True, hash=False)
    missing: bool | tuple[str, ...] = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", _expect_columns(self.columns))
        object.__setattr__(self, "n", _expect_sizes(self.n))
        expect_context(self.context, self.columns)
        object.__setattr__(self, "missing", _expect_missing(self.missing, self.columns))
        if self.missing not in ((), self.columns):
            wanted, got = "missing as True or False, as all cells are alike", repr(self.missing)
            raise BadValue(wanted, got, "let all columns be missing, or none")
        expect_flag("columns_exchangeable", self.columns_exchangeable)
        expect_flag("nested", self.nested)

    @property
    def n_range(self) -> tuple[int, int]:
        return (self.n, self.n) if isinstance(self.n, int) else self.n


AnyLayout: TypeAlias = Vector | Exchangeable | Series | Matrix
_LAYOUTS = {
    "vector": Vector,
    "exchangeable": Exchangeable,
    "series": Series,
    "matrix": Matrix,
}


def layout_to_dict(layout: AnyLayout) -> dict[str, Any]:
    """A layout as JSON values; `layout_from_dict` is the inverse."""
    kind = next(kind for kind, cls in _LAYOUTS.items() if isinstance(layout, cls))
    entry: dict[str, Any] = {"kind": kind}
    entry |= {part.name: getattr(layout, part.name) for part in fields(layout)}
    entry["columns"] = list(layout.columns)
    if not isinstance(layout, Vector):
        entry["n"] = list(layout.n_range)
    # Files that were written before layouts had these do not name them.
    context, missing = entry.pop("context"), entry.pop("missing")
    if isinstance(layout, Series) and not layout.nested:
        del entry["nested"]
    entry |= {} if context is None else {"context": prior_to_dict(context)}
    return entry | ({"missing": list(missing)} if missing else {})


def layout_from_dict(entry: Mapping[str, Any]) -> AnyLayout:
    """The layout that `layout_to_dict` wrote."""
    arguments = dict(entry)
    kind = expect_name("data layout", arguments.pop("kind"), _LAYOUTS)
    if "n" in arguments:
        low, high = arguments["n"]
        arguments["n"] = low if low == high else (low, high)
    if "context" in arguments:
        arguments["context"] = prior_from_dict(arguments["context"])
    layout: AnyLayout = _LAYOUTS[kind](**arguments)
    return layout


def has_parts(layout: AnyLayout) -> bool:
    """Whether smaller datasets of a layout can be cut from larger ones."""
    low, high = layout.n_range
    return not isinstance(layout, Vector) and layout.nested and low < high


def missable(layout: Layout) -> IntArray:
    """Places of the columns whose values may be missing."""
    names = layout.missing if isinstance(layout.missing, tuple) else ()
    return np.array([layout.columns.index(name) for name in names], dtype=np.int64)


def unusable(values: Array, layout: Layout) -> NDArray[np.bool_]:
    """Where values (..., columns) are infinite, or NaN although they may not be missing."""
    bad = ~np.isfinite(values)
    places = missable(layout)
    bad[..., places] = np.isinf(values[..., places])
    return bad


@dataclass(frozen=True)
class Datasets:
    """b datasets of one layout, ragged ones padded with zeros.

    Attributes:
        values: Shape (b, n, columns), n the largest of the batch; a `Vector` has n = 1.
        n: Number of true observations of each dataset, shape (b,).
        context: What is known of each dataset besides, shape (b, c); by default c = 0.

    >>> x = read([np.array([3.0, 8.0]), np.array([5.0])], Series(columns=("in_bed",), n=(1, 14)))
    >>> x.n, x.values[..., 0]
    (array([2, 1]), array([[3., 8.],
           [5., 0.]]))
    """

    values: Array
    n: IntArray
    context: Array = field(default_factory=lambda: np.empty((0, 0)))

    def __post_init__(self) -> None:
        if self.context.shape == (0, 0):
            object.__setattr__(self, "context", np.empty((len(self.n), 0)))

    def __len__(self) -> int:
        return len(self.n)

    @property
    def mask(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """True where an observation exists, shape (b, n)."""
        return np.arange(self.values.shape[1]) < self.n[:, None]

    def take(self, rows: slice | IntArray) -> "Datasets":
        """Some of the datasets, padded no longer than they need."""
        n = self.n[rows]
        return Datasets(self.values[rows, : int(n.max(initial=1))], n, self.context[rows])

    def each(self) -> list[Array]:
        """The datasets one by one without padding, each (n, columns)."""
        return [values[:n] for values, n in zip(self.values, self.n, strict=True)]


def stack(tables: Sequence[Array], context: Array | None = None) -> Datasets:
    """Datasets from b arrays of shape (n_i, columns), padded with zeros, and context (b, c)."""
    n = np.array([len(table) for table in tables], dtype=np.int64)
    values = np.zeros((len(tables), int(n.max()), tables[0].shape[1]))
    for row, table in zip(values, tables, strict=True):
        row[: len(table)] = table
    return Datasets(values, n, np.empty((len(n), 0)) if context is None else context)


def read(x: Any, layout: AnyLayout, context: Mapping[str, ArrayLike] | None = None) -> Datasets:
    """Read observed data in any of the accepted forms.

    An array (b, n, columns) holds b datasets; (n, columns), and (n,) where there is one column,
    hold one. With a `Vector` layout these are (b, columns) and (columns,). A list holds one array,
    frame or dict per dataset, each with its own n. A pandas frame or a dict of columns is one
    dataset (each row is one where the layout is `Vector`); columns are found by name, others are
    left alone. What the layout declares as context is found by name too, as a number or a column
    that is the same in all rows of a dataset, or passed beside the data.

    Args:
        x: The data.
        layout: What one dataset looks like.
        context: Values of the context by name, one for all datasets or one for each (b,); they go
            before those found beside the data.

    Raises:
        BadValue: A column is missing, misspelt or superfluous, a set is empty, a value is infinite
            or is NaN where the layout lets nothing be missing, or there is no context; the message
            names column and row.
        BadType: The data hold something other than numbers.
        UnknownName: The layout declares no such context.

    >>> read([3, 8, 26], Series(columns=("in_bed",), n=(2, 14))).values.shape
    (1, 3, 1)
    """
    if isinstance(x, Datasets):
        if x.values.shape[-1] != len(layout.columns):
            raise _misfit(x.values.shape, layout)
        tables, beside = x.each(), _context_of(x, layout)
    elif isinstance(x, (list, tuple)) and any(_is_dataset(item) for item in x):
        parts = [_tables(item, layout) for item in x]
        tables = [table for part, _ in parts for table in part]
        beside = np.concatenate([found for _, found in parts])
    else:
        tables, beside = _tables(x, layout)
    if not tables:
        raise BadValue(_form(layout), "no dataset", "pass at least one")
    for index, table in enumerate(tables):
        where = "the observed data" if len(tables) == 1 else f"dataset {index} of the observed data"
        if len(table) == 0:
            raise BadValue(_form(layout), "an empty set", f"leave out {where} or fill it")
        bad = np.where(unusable(table, layout), table, 0.0)
        advice = "remove or impute it before inference"
        if np.isnan(bad).any():
            advice += ", or train with a layout that has missing=True"
        expect_finite(where, bad, layout.columns, do=advice)
    return stack(tables, read_context(context, beside, layout))


def _tables(x: Any, layout: AnyLayout) -> tuple[list[Array], Array]:
    """The b datasets of one array, frame or dict, each (n, columns), and the context found (b, c).

    Context that is not there is NaN.
    """
    if isinstance(layout, Vector) and _is_named_row(x):
        x = dict(x)
    if isinstance(x, Mapping) or hasattr(x, "columns"):
        names, frame = layout.columns, x
        if isinstance(layout, Matrix) and layout.columns_exchangeable:
            frame, names = _renamed(x, layout)
        table = _by_name(frame, names)
        tables = list(table[:, None]) if isinstance(layout, Vector) else [table]
        return tables, _beside(x, layout, len(tables))
    tables = _split(_numbers(x, layout), layout)
    return tables, np.full((len(tables), len(names_of(layout))), np.nan)


def _beside(frame: Any, layout: AnyLayout, b: int) -> Array:
    """The context in a frame or dict of b datasets, shape (b, c); NaN where it has none."""
    names, present = names_of(layout), _present(frame)
    context = np.full((b, len(names)), np.nan)
    for place, name in enumerate(names):
        if name in present:
            column = _column(name, frame[name])
            if not isinstance(layout, Vector):
                column = _shared(name, column)
            shape = (1,) if len(column) == 1 else (b,)
            do = "pass one value per dataset"
            context[:, place] = expect_array(f"context {name!r}", column, shape, do=do)
    return context


def _shared(name: str, column: Array) -> Array:
    """The one value of a column (n,) that is the same in all rows of a dataset, shape (1,)."""
    other = column[column != column[:1]]
    if len(other) and not np.isnan(column).all():
        wanted, got = f"one {name!r} for a dataset", f"{column[0]:g} and {other[0]:g}"
        raise BadValue(wanted, got, f"pass one dataset for each {name!r}")
    return column[:1] if len(column) else np.full(1, np.nan)


def _context_of(x: Datasets, layout: AnyLayout) -> Array:
    names = names_of(layout)
    if not x.context.shape[1]:
        return np.full((len(x), len(names)), np.nan)
    do = f"pass {show_names(names) or 'none'} of each dataset"
    return expect_array("context of the datasets", x.context, (len(x), len(names)), do=do)


def _present(frame: Any) -> list[str]:
    return [str(name) for name in (frame if isinstance(frame, Mapping) else frame.columns)]


def _split(array: Array, layout: AnyLayout) -> list[Array]:
    """The datasets of one array, each (n, columns)."""
    size = len(layout.columns)
    if isinstance(layout, Vector):
        if array.ndim <= 1 and array.size == size:
            return [array.reshape(1, size)]
        if array.ndim == 2 and array.shape[1] == size:
            return list(array[:, None])
    else:
        if array.ndim == 1 and size == 1:
            return [array[:, None]]
        if array.ndim == 2 and array.shape[1] == size:
            return [array]
        if array.ndim == 3 and array.shape[2] == size:
            return list(array)
    raise _misfit(array.shape, layout)


def _misfit(shape: tuple[int, ...], layout: AnyLayout) -> BadValue:
    advice = f"the last axis holds the columns {show_names(layout.columns)}"
    return BadValue(_form(layout), f"an array of shape {show_shape(shape)}", advice)


def _numbers(x: Any, layout: AnyLayout) -> Array:
    try:
        array = np.asanyarray(x)
        if array.dtype.kind not in "buif" and array.dtype != object:
            raise TypeError(array.dtype)
        return as_floats(array)
    except (TypeError, ValueError):
        raise BadType(
            _form(layout),
            f"{type(x).__name__} with other content",
            "pass numbers, a list of arrays, a pandas frame or a dict of columns",
        ) from None


def _renamed(frame: Any, layout: Matrix) -> tuple[Any, tuple[str, ...]]:
    """A frame of exchangeable columns with the names to read, its own or the layout's."""
    context = names_of(layout)
    every = frame if isinstance(frame, Mapping) else frame.columns
    present = [name for name in every if str(name) not in context]
    if len(present) == len(layout.columns):
        names = tuple(map(str, present))
        if len(set(names)) < len(names):
            raise BadValue("columns of distinct names", show_names(names), "name each column once")
        return {name: frame[key] for name, key in zip(names, present, strict=True)}, names
    if set(layout.columns) <= set(present):
        return frame, layout.columns
    wanted = f"a table with {len(layout.columns)} columns, or with {show_names(layout.columns)}"
    raise BadValue(wanted, f"{len(present)} columns", "choose as many as were simulated")


def _by_name(frame: Any, columns: tuple[str, ...]) -> Array:
    """The named columns of a pandas frame or a dict, in the layout's order, shape (n, columns)."""
    present = _present(frame)
    picked = []
    for name in columns:
        if name not in present:
            close = nearest(name, [other for other in present if other not in columns])
            raise BadValue(
                f"the columns {show_names(columns)}",
                f"only {show_names(present) or 'none'}",
                f"did you mean {name!r} by {close!r}?" if close else f"add column {name!r}",
            )
        picked.append(_column(name, frame[name]))
    if len({len(column) for column in picked}) > 1:
        sizes = [f"{name}: {len(c)}" for name, c in zip(columns, picked, strict=True)]
        raise BadValue(
            "columns of equal length", show_names(sizes), "pass one value per observation in each"
        )
    return np.stack(picked, axis=1)


def _column(name: str, values: Any) -> Array:
    try:
        column = np.atleast_1d(np.asanyarray(values))
    except ValueError:
        column = np.array([*values, None], dtype=object)[:-1]  # rows of different length
    if column.ndim > 1:
        raise BadValue(
            f"one column {name!r}",
            f"an array of shape {show_shape(column.shape)}",
            "pass one value per observation under a name of its own",
        )
    try:
        if column.dtype.kind in "mM":  # dates, which numpy would count in nanoseconds
            raise TypeError(column.dtype)
        return as_floats(column)
    except (TypeError, ValueError):
        row = next((i for i, value in enumerate(column) if not _is_number(value)), 0)
        raise BadType(
            f"numbers in column {name!r}",
            f"{column[row]!r} at row {row}",
            "convert or remove it before inference",
        ) from None


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _is_dataset(item: Any) -> bool:
    """Whether a list's item is a dataset and no number: arrays of any library have axes."""
    return isinstance(item, Mapping) or hasattr(item, "columns") or getattr(item, "ndim", 0) > 0


def _is_named_row(x: Any) -> bool:
    """Whether it is one row of a pandas frame, which carries the names of its columns."""
    return hasattr(x, "to_frame") and all(isinstance(name, str) for name in x.index)


def _form(layout: AnyLayout) -> str:
    size = len(layout.columns)
    form = f"(b, {size})" if isinstance(layout, Vector) else f"(b, n, {size})"
    return f"data of shape {form} or in a form that names the columns"


def _expect_columns(columns: Iterable[str]) -> tuple[str, ...]:
    if isinstance(columns, str):
        columns = (columns,)
    names = tuple(columns) if isinstance(columns, Iterable) else ()
    fine = bool(names) and all(isinstance(name, str) and name for name in names)
    if not fine or len(set(names)) < len(names):
        raise BadValue(
            "columns as distinct non-empty names", repr(columns), "name each column once"
        )
    return names


def _expect_missing(missing: object, columns: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns that may be missing, in the layout's order."""
    if isinstance(missing, bool):
        return columns if missing else ()
    names = (missing,) if isinstance(missing, str) else missing
    if not isinstance(names, (tuple, list)):
        raise BadType("missing as True, False or names of columns", repr(missing), "pass a tuple")
    for name in names:
        expect_name("column that may be missing", name, columns)
    return tuple(name for name in columns if name in names)


def _expect_sizes(n: object) -> int | tuple[int, int]:
    if not isinstance(n, (tuple, list)):
        return expect_integer("n", n, low=1)
    if len(n) != 2:
        raise BadValue("n as a number or as (smallest, largest)", repr(n), "pass two numbers")
    low = expect_integer("smallest n", n[0], low=1)
    return low, expect_integer("largest n", n[1], low=low)
