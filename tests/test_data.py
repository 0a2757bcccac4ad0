import re

import numpy as np
import pandas as pd
import pytest

from sbi_kit.checks import BadType, BadValue, UnknownName
from sbi_kit.data import (
    Datasets,
    Exchangeable,
    Matrix,
    Series,
    Vector,
    layout_from_dict,
    layout_to_dict,
    missable,
    read,
    stack,
)

SETS = Exchangeable(columns=("x", "y"), n=(2, 6))
COUNTS = Series(columns=("count",), n=(2, 14))
ROWS = Vector(columns=("mean", "sd"))
ONE = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])  # (n, columns)
TWO = np.array([[4.0, 40.0], [5.0, 50.0]])


def same(found, expected):
    assert np.array_equal(found.n, expected.n)
    assert np.array_equal(found.values, expected.values)
    assert found.values.dtype == np.float64
    assert found.n.dtype == np.int64


def frame(table):
    return pd.DataFrame(table, columns=["x", "y"])


def named(table):
    return {"x": table[:, 0], "y": table[:, 1]}


# Every accepted form gives the same datasets


ONE_SET = {
    "array": ONE,
    "integers": ONE.astype(np.int32),
    "lists": ONE.tolist(),
    "tuples": tuple(map(tuple, ONE.tolist())),
    "cube": ONE[None],
    "objects": ONE.astype(object),
    "frame": frame(ONE),
    "frame with more columns, elsewhere": frame(ONE).assign(day=["a", "b", "c"])[["day", "y", "x"]],
    "frame of strange index": frame(ONE).set_index(pd.Index([7, 7, 9])),
    "dict of arrays": named(ONE),
    "dict of lists, more of them": {"z": ["?"], "y": ONE[:, 1].tolist(), "x": ONE[:, 0].tolist()},
    "dict of pandas series": {"x": frame(ONE)["x"], "y": frame(ONE)["y"]},
    "nullable integers": frame(ONE).astype("Int64"),
    "list of one array": [ONE],
    "list of one frame": [frame(ONE)],
    "list of one dict": [named(ONE)],
    "datasets": Datasets(ONE[None], np.array([3])),
    "padded datasets": Datasets(
        np.pad(ONE, ((0, 4), (0, 0)), constant_values=np.nan)[None], np.array([3])
    ),
}


@pytest.mark.parametrize("form", ONE_SET)
def test_every_form_of_one_set(form):
    same(read(ONE_SET[form], SETS), Datasets(ONE[None], np.array([3])))


@pytest.mark.parametrize(
    "form",
    [
        [ONE, TWO],
        (ONE, TWO),
        [frame(ONE), frame(TWO)],
        [named(ONE), TWO],
        [ONE, TWO.tolist()],
        stack([ONE, TWO]),
        [ONE[None], TWO],
    ],
)
def test_every_form_of_sets_of_different_size(form):
    padded = np.zeros((2, 3, 2))
    padded[0], padded[1, :2] = ONE, TWO
    same(read(form, SETS), Datasets(padded, np.array([3, 2])))


def test_a_cube_is_several_sets():
    cube = np.stack([ONE, ONE + 1])
    same(read(cube, SETS), Datasets(cube, np.array([3, 3])))
    same(read(cube.tolist(), SETS), Datasets(cube, np.array([3, 3])))


@pytest.mark.parametrize(
    "form",
    [
        [3, 8, 26],
        (3, 8, 26),
        np.array([3, 8, 26]),
        [[3], [8], [26]],
        {"count": [3, 8, 26]},
        pd.DataFrame({"day": [1, 2, 3], "count": [3, 8, 26]}),
        [np.array([3, 8, 26])],
        np.array([[[3], [8], [26]]]),
    ],
)
def test_every_form_of_a_series_of_one_column(form):
    same(read(form, COUNTS), Datasets(np.array([[[3.0], [8.0], [26.0]]]), np.array([3])))


def test_series_of_different_length():
    found = read([np.array([3, 8, 26]), np.array([5.0])], COUNTS)
    assert found.n.tolist() == [3, 1]
    assert found.values[:, :, 0].tolist() == [[3, 8, 26], [5, 0, 0]]


@pytest.mark.parametrize(
    "form",
    [
        [1.0, 2.0],
        np.array([1, 2]),
        [[1, 2]],
        {"mean": 1, "sd": 2},
        {"sd": [2], "mean": [1]},
        pd.DataFrame({"sd": [2.0], "mean": [1.0]}),
        [np.array([1.0, 2.0])],
        [{"mean": 1, "sd": 2}],
    ],
)
def test_every_form_of_one_vector(form):
    same(read(form, ROWS), Datasets(np.array([[[1.0, 2.0]]]), np.array([1])))


@pytest.mark.parametrize(
    "form",
    [
        [[1, 2], [3, 4], [5, 6]],
        np.array([[1, 2], [3, 4], [5, 6]]),
        {"mean": [1, 3, 5], "sd": [2, 4, 6]},
        pd.DataFrame({"sd": [2, 4, 6], "mean": [1, 3, 5]}),
        [np.array([1, 2]), np.array([3, 4]), {"mean": 5, "sd": 6}],
        [np.array([[1, 2], [3, 4]]), np.array([5, 6])],
    ],
)
def test_every_form_of_several_vectors(form):
    expected = np.array([[[1.0, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]])
    same(read(form, ROWS), Datasets(expected, np.ones(3, dtype=np.int64)))


def test_a_scalar_is_a_vector_of_one_column():
    same(read(4.0, Vector(("a",))), Datasets(np.array([[[4.0]]]), np.array([1])))


def test_a_row_of_a_frame_is_read_by_name():
    row = pd.DataFrame({"sd": [3.0], "note": ["late"], "mean": [1.0]}).iloc[0]
    same(read(row, ROWS), Datasets(np.array([[[1.0, 3.0]]]), np.array([1])))


def test_a_list_may_hold_columns_of_frames():
    lists = [pd.Series([1.0, 2.0]), pd.Series([3.0])]
    same(read(lists, COUNTS), read([np.array([1.0, 2.0]), np.array([3.0])], COUNTS))


def test_reading_copies():
    given = ONE.copy()
    read(given, SETS).values[:] = 0
    assert np.array_equal(given, ONE)


# Every refusal


REFUSED = {
    "misspelt column": (
        SETS,
        pd.DataFrame({"x": [1.0], "yy": [2.0]}),
        "Expected the columns x, y; got only x, yy; did you mean 'y' by 'yy'?",
    ),
    "missing column": (SETS, {"x": [1.0]}, "got only x; add column 'y'."),
    "no column": (SETS, {}, "Expected the columns x, y; got only none; add column 'x'."),
    "missing column of a vector": (ROWS, {"mean": 1, "std": 2}, "did you mean 'sd' by 'std'?"),
    "unequal columns": (
        SETS,
        {"x": [1, 2], "y": [3]},
        "Expected columns of equal length; got x: 2, y: 1; pass one value per observation in each.",
    ),
    "nan": (
        SETS,
        np.array([[1, 2], [3, np.nan]]),
        "Expected the observed data without NaN or inf; got nan at row 1 of column 'y'; remove or "
        "impute it before inference, or train with a layout that has missing=True.",
    ),
    "inf": (SETS, {"x": [1, -np.inf], "y": [3, 4]}, "got -inf at row 1 of column 'x'"),
    "nan in one of several": (
        SETS,
        [ONE, np.array([[np.nan, 1]])],
        "Expected dataset 1 of the observed data without NaN or inf; got nan at row 0 of ",
    ),
    "nan in a vector": (ROWS, [1.0, np.nan], "got nan at row 0 of column 'sd'"),
    "empty set": (
        SETS,
        np.empty((0, 2)),
        "Expected data of shape (b, n, 2) or in a form that names the columns; got an empty set; "
        "leave out the observed data or fill it.",
    ),
    "one empty set": (SETS, [ONE, np.empty((0, 2))], "leave out dataset 1 of the observed data"),
    "empty frame": (SETS, pd.DataFrame({"x": [], "y": []}), "got an empty set"),
    "no vectors": (ROWS, np.empty((0, 2)), "got no dataset; pass at least one."),
    "no sets": (SETS, np.empty((0, 3, 2)), "got no dataset; pass at least one."),
    "empty list": (SETS, [], "got an array of shape (0,); the last axis holds the columns x, y."),
    "empty list of counts": (COUNTS, [], "got an empty set"),
    "three features": (
        SETS,
        np.ones((4, 3)),
        "got an array of shape (4, 3); the last axis holds the columns x, y.",
    ),
    "flat list for two columns": (SETS, [1.0, 2.0, 3.0], "got an array of shape (3,)"),
    "four axes": (SETS, np.ones((1, 1, 4, 2)), "got an array of shape (1, 1, 4, 2)"),
    "wrong vector": (
        ROWS,
        [1.0, 2.0, 3.0],
        "Expected data of shape (b, 2) or in a form that names the columns; got an array of shape "
        "(3,); the last axis holds the columns mean, sd.",
    ),
    "cube of vectors": (ROWS, np.ones((2, 2, 2)), "got an array of shape (2, 2, 2)"),
    "nan in nullable integers": (
        SETS,
        pd.DataFrame({"x": pd.array([1, None], dtype="Int64"), "y": [1, 2]}),
        "got nan at row 1 of column 'x'; remove or impute it before inference, or train",
    ),
    "strings in a frame": (
        SETS,
        pd.DataFrame({"x": ["1", "two"], "y": [1, 2]}),
        "Expected numbers in column 'x'; got 'two' at row 1; convert or remove it before ",
    ),
    "strings": (SETS, [["a", "b"]], "got list with other content; pass numbers, a list of arrays"),
    "a string": (COUNTS, "3, 8, 26", "got str with other content"),
    "None": (COUNTS, None, "got an array of shape (); the last axis holds the columns count."),
    "complex": (COUNTS, np.array([1j]), "got ndarray with other content"),
    "ragged lists": (SETS, [[[1, 2]], [[1, 2], [3, 4]]], "got list with other content"),
    "dates": (
        COUNTS,
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        "ndarray with other content",
    ),
    "dates in a frame": (
        COUNTS,
        pd.DataFrame({"count": pd.to_datetime(["2020-01-01", "2020-01-02"])}),
        "Expected numbers in column 'count'; got",
    ),
    "a masked number": (
        SETS,
        np.ma.masked_equal([[1, 2], [3, 4]], 4),
        "got nan at row 1 of column 'y'; remove or impute it before inference, or train",
    ),
    "a masked number in a dict": (
        SETS,
        {"x": np.ma.masked_equal([1, 2], 2), "y": [1, 2]},
        "got nan at row 1 of column 'x'",
    ),
    "rows of different length in a column": (
        COUNTS,
        {"count": [[1, 2], [3]]},
        "Expected numbers in column 'count'; got [1, 2] at row 0;",
    ),
    "a letter of the other case": (
        SETS,
        pd.DataFrame({"X": [1.0], "y": [2.0]}),
        "Expected the columns x, y; got only X, y; did you mean 'x' by 'X'?",
    ),
    "a row of a frame without a column": (
        ROWS,
        pd.Series({"mean": 1.0, "std": 2.0}),
        "did you mean 'sd' by 'std'?",
    ),
    "datasets of another layout": (
        SETS,
        Datasets(np.ones((4, 3, 1)), np.full(4, 3)),
        "got an array of shape (4, 3, 1); the last axis holds the columns x, y.",
    ),
    "the same column twice": (
        SETS,
        pd.DataFrame(np.ones((3, 3)), columns=["x", "y", "y"]),
        "Expected one column 'y'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_told_in_one_sentence(case):
    layout, x, text = REFUSED[case]
    with pytest.raises((BadValue, BadType), match=re.escape(text)) as caught:
        read(x, layout)
    sentence = str(caught.value)
    assert sentence.startswith("Expected ")
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence


# Layouts


LAYOUTS = [
    ROWS,
    COUNTS,
    SETS,
    Exchangeable(("a",), 7),
    Exchangeable(("a",), (3, 3)),
    Exchangeable(("a", "b"), (1, 100), nested=False),
    Matrix(("a", "b"), 40),
    Matrix(("a", "b"), (2, 9), columns_exchangeable=False, nested=False),
    Series(("a",), 1),
    Series(("a",), (2, 9), nested=True),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_survives_json_values(layout):
    entry = layout_to_dict(layout)
    back = layout_from_dict(entry)
    assert layout_to_dict(back) == entry
    assert type(back) is type(layout)
    assert back.columns == layout.columns
    assert back.n_range == layout.n_range
    assert getattr(back, "nested", None) == getattr(layout, "nested", None)


def test_a_name_alone_is_one_column():
    assert Vector("count").columns == ("count",)
    assert Series(["a", "b"], 3).columns == ("a", "b")


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (lambda: Vector(()), BadValue, "Expected columns as distinct non-empty names; got ()"),
        (lambda: Vector(("a", "a")), BadValue, "name each column once"),
        (lambda: Vector(3), BadValue, "distinct non-empty names; got 3; name each column once"),
        (lambda: Vector(("a", "")), BadValue, "distinct non-empty names"),
        (lambda: Series(("a",), 0), BadValue, "Expected n as an integer >= 1; got 0"),
        (lambda: Series(("a",), 2.5), BadType, "got 2.5"),
        (lambda: Exchangeable(("a",), (5, 2)), BadValue, "Expected largest n as an integer >= 5"),
        (lambda: Exchangeable(("a",), (0, 2)), BadValue, "Expected smallest n as an integer >= 1"),
        (lambda: Exchangeable(("a",), (1, 2, 3)), BadValue, "as (smallest, largest)"),
        (lambda: Matrix(("a", "a"), 3), BadValue, "name each column once"),
        (lambda: Matrix(("a",), 3, columns_exchangeable="no"), BadType, "exchangeable as True or"),
        (lambda: Exchangeable(("a",), 3, nested=1), BadType, "nested as True or False; got 1"),
        (lambda: Series(("a",), 3, nested="yes"), BadType, "nested as True or False; got 'yes'"),
        (lambda: layout_from_dict({"kind": "vektor", "columns": ["a"]}), UnknownName, "'vector'?"),
    ],
)
def test_layouts_refuse(build, error, text):
    with pytest.raises(error, match=re.escape(text)):
        build()


def test_layouts_know_whether_parts_are_datasets():
    assert Exchangeable(("a",), 3).nested
    assert not Exchangeable(("a",), 3, nested=False).nested
    assert not Series(("a",), 3).nested
    assert "nested" not in layout_to_dict(Series(("a",), 3))  # as in files from before it was there
    assert Series(("a",), 3, nested=True).nested


# Datasets


def test_datasets_know_their_parts():
    data = stack([ONE, TWO])
    assert len(data) == 2
    assert data.mask.tolist() == [[True, True, True], [True, True, False]]
    assert all(np.array_equal(a, b) for a, b in zip(data.each(), [ONE, TWO], strict=True))
    assert not data.values[~data.mask].any()
    short = data.take(np.array([1]))
    assert short.values.shape == (1, 2, 2)
    assert np.array_equal(short.each()[0], TWO)
    assert len(data.take(slice(0, 0))) == 0


GENES = Matrix(columns=("gene_1", "gene_2", "gene_3"), n=(2, 9))


def test_exchangeable_columns_are_read_whatever_they_are_called():
    table = np.arange(12.0).reshape(4, 3)
    for frame in (pd.DataFrame(table, columns=["Actb", "Sox2", 7]), dict(enumerate(table.T))):
        np.testing.assert_array_equal(read(frame, GENES).values[0], table)
    named = pd.DataFrame(table, columns=GENES.columns).assign(cell=[1, 2, 3, 4])
    np.testing.assert_array_equal(read(named, GENES).values[0], table)
    with pytest.raises(BadValue, match="a table with 3 columns, or with gene_1, gene_2, gene_3; "):
        read(named.rename(columns={"gene_1": "Actb"}), GENES)


def test_columns_in_an_order_are_found_by_name():
    sites = Matrix(columns=("a", "b"), n=3, columns_exchangeable=False)
    swapped = {"b": [1.0, 2.0, 3.0], "a": [4.0, 5.0, 6.0]}
    np.testing.assert_array_equal(read(swapped, sites).values[0, 0], [4.0, 1.0])
    with pytest.raises(BadValue, match="did you mean 'a' by 'A'"):
        read({"A": [1.0], "b": [1.0]}, sites)


def test_long_lists_of_columns_are_cut_short_in_messages():
    wide = Matrix(columns=tuple(f"gene_{i}" for i in range(1, 101)), n=2)
    with pytest.raises(BadValue, match=r"gene_9, gene_10, \.\.\., gene_100\.$"):
        read(np.zeros((2, 99)), wide)


# Missing entries


HOLED = Series(columns=("x", "y"), n=(2, 9), missing=("y",))


def test_missing_entries_are_read_where_the_layout_lets_them():
    table = np.array([[1.0, np.nan], [2.0, 3.0]])
    masked = np.ma.array(np.nan_to_num(table), mask=np.isnan(table))
    frame = pd.DataFrame({"x": [1, 2], "y": pd.array([None, 3], dtype="Int64")})
    for form in (table, table.tolist(), masked, frame, {"x": [1, 2], "y": [None, 3]}, [table]):
        np.testing.assert_array_equal(read(form, HOLED).values[0], table)
        assert read(form, HOLED).mask.all()
    everywhere = Series(columns=("x", "y"), n=(2, 9), missing=True)
    empty = np.full((3, 2), np.nan)
    np.testing.assert_array_equal(read(empty, everywhere).values[0], empty)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        ([[np.nan, 1]], "got nan at row 0 of column 'x'; remove or impute it before inference, or"),
        ([[1, np.nan], [2, np.inf]], "got inf at row 1 of column 'y'; remove or impute it before "),
        ([[1, np.nan], [np.nan, 1]], "got nan at row 1 of column 'x'"),
    ],
)
def test_entries_that_may_not_be_missing(x, text):
    with pytest.raises(BadValue, match=re.escape(text)):
        read(x, HOLED)


@pytest.mark.parametrize(
    ("layout", "missing"),
    [
        (HOLED, ("y",)),
        (Vector(("a", "b", "c"), missing=["c", "a"]), ("a", "c")),
        (Vector(("a", "b"), missing="b"), ("b",)),
        (Exchangeable(("a", "b"), 3, missing=True), ("a", "b")),
        (Matrix(("a", "b"), 3, missing=True), ("a", "b")),
        (Matrix(("a", "b"), 3), ()),
    ],
)
def test_a_layout_knows_what_may_be_missing(layout, missing):
    assert layout.missing == missing
    assert layout_from_dict(layout_to_dict(layout)) == layout
    assert ("missing" in layout_to_dict(layout)) == bool(missing)
    assert [layout.columns[place] for place in missable(layout)] == list(missing)


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (lambda: Vector("a", missing="b"), UnknownName, "column that may be missing (a)"),
        (lambda: Vector("a", missing=3), BadType, "missing as True, False or names of columns"),
        (
            lambda: Matrix(("a", "b"), 3, missing=("a",)),
            BadValue,
            "missing as True or False, as all cells are alike; got ('a',); let all columns be",
        ),
    ],
)
def test_what_cannot_be_missing(build, error, text):
    with pytest.raises(error, match=re.escape(text)):
        build()
