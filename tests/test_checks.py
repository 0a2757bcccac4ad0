import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from sbi_kit.checks import (
    BadInput,
    BadType,
    BadValue,
    UnknownName,
    expect_array,
    expect_bounds,
    expect_finite,
    expect_integer,
    expect_name,
    expect_number,
    expect_rng,
    expect_theta,
    nearest,
    show_shape,
)

KINDS = {BadValue: ValueError, BadType: TypeError, UnknownName: LookupError}


def fail(kind):
    raise kind("a draw", "none", "ask for one")


@pytest.mark.parametrize(("kind", "builtin"), KINDS.items())
def test_every_kind_is_a_builtin_and_one_sentence(kind, builtin):
    with pytest.raises(builtin) as caught:
        fail(kind)
    assert isinstance(caught.value, BadInput)
    assert str(caught.value) == "Expected a draw; got none; ask for one."
    assert str(kind("a", "b", "did you mean 'c'?")) == "Expected a; got b; did you mean 'c'?"


@pytest.mark.parametrize("kind", KINDS)
def test_pickling_keeps_kind_and_text(kind):
    error = kind("a draw", "none", "ask for one")
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        same = pickle.loads(pickle.dumps(error, protocol))
        assert type(same) is kind
        assert str(same) == str(error)
    assert str(copy.deepcopy(error)) == str(error)


def test_an_error_comes_back_from_a_worker_process():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        error = pool.submit(expect_integer, "draws", 0, low=1).exception(timeout=120)
    assert type(error) is BadValue
    assert str(error).startswith("Expected draws as an integer >= 1; got 0;")


@pytest.mark.parametrize("value", [1, np.int64(7), np.uint8(3), 10])
def test_integers_pass_as_int(value):
    number = expect_integer("draws", value, low=1, high=10)
    assert number == value
    assert type(number) is int


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0, BadValue, "Expected draws as an integer in [1, 10]; got 0; choose draws in [1, 10]."),
        (11, BadValue, "got 11"),
        (-1, BadValue, "got -1"),
        (1.5, BadType, "got 1.5; pass a whole number as draws."),
        (2.0, BadType, "got 2.0"),
        (True, BadType, "got True"),
        (np.True_, BadType, "True"),
        ("3", BadType, "got '3'"),
        (None, BadType, "got None"),
    ],
)
def test_what_is_no_integer_in_range_is_refused(value, error, text):
    with pytest.raises(error) as caught:
        expect_integer("draws", value, low=1, high=10)
    assert text in str(caught.value)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.25), np.int64(1)])
def test_numbers_pass_as_float(value):
    assert expect_number("share", value, low=0, high=1) == value
    assert type(expect_number("share", value)) is float


@pytest.mark.parametrize(
    ("value", "limits", "error", "text"),
    [
        (
            0,
            {"low": 0, "open_low": True},
            BadValue,
            "Expected rate as a finite number > 0; got 0; change rate.",
        ),
        (-0.1, {"low": 0}, BadValue, ">= 0; got -0.1"),
        (1.1, {"low": 0, "high": 1}, BadValue, "in [0, 1]; got 1.1"),
        (0, {"low": 0, "high": 1, "open_low": True}, BadValue, "in (0, 1]; got 0"),
        (np.nan, {}, BadValue, "Expected rate as a finite number; got nan"),
        (np.inf, {"low": 0}, BadValue, "got inf"),
        ("1", {}, BadType, "got '1'"),
        (True, {}, BadType, "got True"),
        (1j, {}, BadType, "got 1j"),
    ],
)
def test_what_is_no_number_in_range_is_refused(value, limits, error, text):
    with pytest.raises(error) as caught:
        expect_number("rate", value, **limits)
    assert text in str(caught.value)


def test_names_are_listed_and_the_nearest_is_named():
    assert expect_name("summary", "gru", ["lstm", "gru"]) == "gru"
    with pytest.raises(UnknownName) as caught:
        expect_name("summary", "deepset", ["deep_set", "gru"])
    assert str(caught.value) == (
        "Expected the name of a summary (deep_set, gru); got 'deepset'; did you mean 'deep_set'?"
    )
    with pytest.raises(UnknownName, match="choose one of those listed"):
        expect_name("summary", "xyz", ["deep_set", "gru"])
    with pytest.raises(UnknownName, match="none is known"):
        expect_name("summary", 3, [])
    assert nearest("bata", ["beta", "gamma"]) == "beta"
    assert nearest("q", ["beta", "gamma"]) is None
    assert nearest("X", ["y", "x"]) == "x"
    assert nearest("MU", ["tau", "mu"]) == "mu"


def test_arrays_pass_as_float64():
    array = expect_array("theta", [[1, 2], [3, 4]], ("b", 2), do="reshape")
    assert array.dtype == np.float64
    assert np.array_equal(array, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ([[1, 2, 3]], BadValue, "Expected theta of shape (b, 2); got (1, 3); reshape."),
        ([1, 2], BadValue, "got (2,)"),
        (3.0, BadValue, "got ()"),
        ([["a", "b"]], BadType, "Expected theta of shape (b, 2) holding numbers; got list"),
        ([[1, 2], [3]], BadType, "got list"),
    ],
)
def test_what_is_no_array_of_the_shape_is_refused(value, error, text):
    with pytest.raises(error) as caught:
        expect_array("theta", value, ("b", 2), do="reshape")
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("place", "text"),
    [((2, 1), "nan at row 2 of column 'b'"), ((0, 0), "nan at row 0 of column 'a'")],
)
def test_nan_is_named_by_row_and_column(place, text):
    array = np.zeros((3, 2))
    assert expect_finite("x", array, ["a", "b"], do="repair it") is array
    array[place] = np.nan
    with pytest.raises(BadValue) as caught:
        expect_finite("x", array, ["a", "b"], do="repair it")
    assert str(caught.value) == f"Expected x without NaN or inf; got {text}; repair it."


def test_inf_in_a_cube_or_a_single_row_is_named_too():
    cube = np.zeros((2, 3, 2))
    cube[1, 2, 1] = -np.inf
    with pytest.raises(BadValue, match=r"-inf at row \(1, 2\) of column 'b'"):
        expect_finite("x", cube, ["a", "b"], do="repair it")
    with pytest.raises(BadValue, match="; got nan at column 'b'; repair it"):
        expect_finite("x", np.array([0, np.nan]), ["a", "b"], do="repair it")


def test_shapes_read_as_in_docstrings():
    assert show_shape(("b", 3)) == "(b, 3)"
    assert show_shape((4,)) == "(4,)"
    assert show_shape(()) == "()"


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ([0.5, 2.0], r"theta of shape \(b, 2\); got \(2,\); pass one row \(rate, size\) per"),
        ([[0.5, np.inf]], "theta without NaN or inf; got inf at row 0 of column 'size'"),
        ([[0.5, 2], [1.5, 2]], r"parameter rate in \[0, 1\]; got 1.5 in row 1; simulate within"),
        ([[0.5, -1e-9]], "parameter size >= 0; got -1e-09 in row 0"),
    ],
)
def test_parameters_that_a_simulator_cannot_take_are_refused(theta, message):
    with pytest.raises(BadValue, match=message):
        expect_theta(theta, ("rate", "size"), ranges={"rate": (0, 1), "size": (0, np.inf)})


@pytest.mark.parametrize(
    ("bounds", "error", "message"),
    [
        (0.5, BadType, r"rate as \(lowest, highest\); got 0.5; pass two numbers"),
        ((0, 1, 2), BadType, r"rate as \(lowest, highest\)"),
        ((0, 1), BadValue, r"lowest rate as a finite number in \(0, 9\]; got 0"),
        ((2, 1), BadValue, r"highest rate as a finite number in \(2, 9\]; got 1"),
        ((1, 1), BadValue, "highest rate"),
        ((1, 10), BadValue, "highest rate"),
        ((1, "2"), BadType, "highest rate .* got '2'"),
    ],
)
def test_bounds_of_a_range_are_checked(bounds, error, message):
    assert expect_bounds("rate", [1, 2], low=0, high=9, open_low=True) == (1.0, 2.0)
    with pytest.raises(error, match=message):
        expect_bounds("rate", bounds, low=0, high=9, open_low=True)


@pytest.mark.parametrize("rng", [None, 3, np.random.RandomState(0), np.random])
def test_what_is_no_generator_is_refused(rng):
    generator = np.random.default_rng(0)
    assert expect_rng(generator) is generator
    with pytest.raises(BadType, match=r"numpy\.random\.Generator; got .*; pass numpy"):
        expect_rng(rng)


def test_numbers_beyond_floats_and_hidden_ones_are_refused():
    with pytest.raises(BadValue, match="scale as a finite number"):
        expect_number("scale", 10**400)
    for value in ([[10**400]], [[1j]]):
        with pytest.raises(BadType, match=r"theta of shape .* holding numbers"):
            expect_theta(value, ("scale",))
    hidden = np.ma.masked_array([[1.0, 2.0]], mask=[[False, True]])
    with pytest.raises(BadValue, match="nan at row 0 of column 'size'"):
        expect_theta(hidden, ("rate", "size"))
