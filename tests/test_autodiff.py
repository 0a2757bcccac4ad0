"""Differentiation step by step: the worked example, laws against torch, refusals; differences."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.transforms import Affine2D

from sbi_kit import plots
from sbi_kit.autodiff import (
    adjoint_table,
    finite_differences,
    jacobian_table,
    tangent_table,
    trace,
    worksheet,
)
from sbi_kit.checks import BadType, BadValue, UnknownName


def example(x1, x2, x3):
    v1 = x1 * x3
    v2 = x1 + x2
    v3 = torch.exp(-x3)
    v4 = torch.exp(-x2)
    v5 = torch.cos(v1)
    v6 = torch.log(v2)
    v7 = v6 * v3
    return v1 + v7, v4 + v5


POINT = [3.0, 5.0, 1.0]
JACOBIAN = [
    [1.045984930146, 0.045984930146, 2.235016207698],
    [-0.141120008060, -0.006737946999, -0.423360024180],
]
STEPS = [f"v{i}" for i in range(1, 10)]


def numbers(values, names):
    return [values[name] for name in names]


# The worked example


def test_the_forward_primal_trace_is_that_of_the_example():
    program = trace(example)
    expected = [3, 8, 0.36787944117, 0.00673794700, -0.98999249660]
    expected += [2.07944154168, 0.76498379230, 3.76498379230, -0.98325454960]
    np.testing.assert_allclose(numbers(program.values(POINT), STEPS), expected, atol=6e-12)
    outputs = [3.7649837923018605, -0.9832545496013599]
    np.testing.assert_allclose(program.evaluate(POINT), outputs, rtol=1e-15)


def test_the_forward_tangent_trace_is_that_of_the_example():
    tangents = trace(example).tangents(POINT, along="x1")
    expected = [1, 1, 0, 0, -0.14112000806, 0.125, 0.04598493015, 1.04598493015, -0.14112000806]
    np.testing.assert_allclose(numbers(tangents, STEPS), expected, atol=6e-12)


def test_the_reverse_adjoint_trace_is_that_of_the_example():
    adjoints = trace(example).adjoints(POINT, of="y1")
    names = ["v8", "v7", "v6", "v5", "v3", "v2", "v1", "x3", "x2", "x1"]
    expected = [1, 1, 0.36787944117, 0, 2.07944154168, 0.04598493015, 1]
    expected += [2.23501620770, 0.04598493015, 1.04598493015]
    np.testing.assert_allclose(numbers(adjoints, names), expected, atol=6e-12)


def test_the_jacobian_is_that_of_the_example_both_ways_and_by_differences():
    program = trace(example)
    for jacobian in (program.jacobian_forward(POINT), program.jacobian_reverse(POINT)):
        np.testing.assert_allclose(jacobian, JACOBIAN, atol=6e-13)
    forward = finite_differences(program.evaluate, POINT, step=1e-6, central=False)
    expected = [
        [1.0459849276, 0.0459849274, 2.2350165896],
        [-0.1411195131, -0.0067379436, -0.4233555692],
    ]
    # Rounding of a value of 4 over a step of 1e-6.
    np.testing.assert_allclose(forward, expected, atol=1e-9)
    np.testing.assert_allclose(finite_differences(program.evaluate, POINT), JACOBIAN, atol=1e-9)


def test_the_example_is_shown_as_on_a_sheet():
    program = trace(example)
    assert str(program).splitlines()[:4] == [
        "inputs x1, x2, x3",
        "v1 = x1 · x3",
        "v2 = x1 + x2",
        "v3 = exp(-x3)",
    ]
    forward = str(tangent_table(program, POINT, along="x1")).splitlines()
    assert forward[0] == "Forward sweep along x1"
    assert (
        forward[2] == "primal  step              value  tangent  step                         value"
    )
    assert (
        forward[11]
        == "v5      cos(v1)   -0.9899924966  v5'      -v1' · sin(v1)       -0.1411200081"
    )
    assert (
        forward[13]
        == "v7      v6 · v3    0.7649837923  v7'      v6' · v3 + v3' · v6   0.0459849301"
    )
    reverse = str(adjoint_table(program, POINT, of="y1")).splitlines()
    assert reverse[14] == "v1       3.0000000000  v̄1       -v̄5 · sin(v1) + v̄8  1.0000000000"
    assert reverse[15] == "x3       1.0000000000  x̄3       v̄1 · x1 - v̄3 · v3   2.2350162077"
    jacobian = str(jacobian_table(program, POINT)).splitlines()
    assert jacobian[2].split("  ")[-1] == "central differences, step 1e-06"
    assert jacobian[6].split()[:3] == ["∂y1/∂x3", "2.2350162077", "2.2350162077"]
    text = worksheet(program, POINT)
    assert [line for line in text.splitlines() if "sweep " in line and "entry" not in line] == [
        *(f"Forward sweep along x{i}" for i in (1, 2, 3)),
        *(f"Reverse sweep from y{i}" for i in (1, 2)),
    ]
    assert text.endswith(str(jacobian_table(program, POINT)))


# Laws

FUNCTIONS = {
    "arithmetic": lambda x, y: (x + y) * (x - 3) / (2 - y) + 4.5,
    "powers": lambda x, y: x**y + y**3 - 2.0**x + (x * y) ** -1.5,
    "signs": lambda x, y: (-x - (-y), -(x * -y), (-x).neg(), torch.exp(-y) / -x, -x + 2),
    "exponentials": lambda x, y: torch.exp(x) * y.log() + torch.sqrt(x * y).exp(),
    "angles": lambda x, y: (torch.sin(x) * y.cos(), torch.tan(x / y)),
    "sigmoids": lambda x, y: (torch.tanh(x - y), torch.sigmoid(y - x), (x - 9 * y).sigmoid()),
    "methods": lambda x, y: x.add(y).mul(x).div(y).sub(1).pow(2).neg(),
    "twice": lambda x, y: (x * y + torch.log(x * y), x * y),
    "repeated": lambda x, y: (x * x + y / y, x**x),
    "math": lambda x, y: math.exp(x) * math.sqrt(y),
    "no steps": lambda x, y: (y, x, -x),
}
PLACE = [0.7, 1.3]


def by_torch(function):
    """Values and Jacobian by torch's own differentiation."""

    def stacked(point):
        out = function(*point)
        return torch.stack(out) if isinstance(out, tuple) else out[None]

    point = torch.tensor(PLACE, dtype=torch.float64)
    return stacked(point).numpy(), torch.autograd.functional.jacobian(stacked, point).numpy()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_both_jacobians_are_torchs(name):
    program = trace(FUNCTIONS[name])
    if name == "math":
        values = np.array([math.exp(0.7) * math.sqrt(1.3)])
        jacobian = values[:, None] * [1, 0.5 / 1.3]
    else:
        values, jacobian = by_torch(FUNCTIONS[name])
    np.testing.assert_allclose(program.evaluate(PLACE), values, rtol=1e-14)
    np.testing.assert_allclose(program.jacobian_forward(PLACE), jacobian, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(program.jacobian_reverse(PLACE), jacobian, rtol=1e-13, atol=1e-14)


def spoken(text, values):
    """The value of what a table says, each name standing for its number."""
    text = re.sub(r"(\w)\u0304(\w*)", r"\1\2_bar", text).replace("'", "_dot")
    text = re.sub(r"\b1/(\w+) \b", r"(1/\1) ", text)
    return eval(
        text.replace("·", "*").replace("^", "**"), vars(math) | {"sigmoid": _sigmoid} | values
    )


def _sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_formulas_of_the_tables_mean_the_numbers_beside_them(name):
    program = trace(FUNCTIONS[name])
    values = program.values(PLACE)
    for along in program.inputs:
        dots = {f"{k}_dot": v for k, v in program.tangents(PLACE, along=along).items()}
        for primal, step, value, _, formula, slope in tangent_table(
            program, PLACE, along=along
        ).rows:
            if step:
                assert spoken(step, values) == pytest.approx(float(value), abs=1e-9)
                assert spoken(formula, values | dots) == pytest.approx(float(slope), abs=1e-9)
            assert float(slope) == pytest.approx(dots[f"{primal}_dot"], abs=1e-9)
    for of, _ in program.outputs:
        bars = {f"{k}_bar": v for k, v in program.adjoints(PLACE, of=of).items()}
        for primal, _, _, formula, slope in adjoint_table(program, PLACE, of=of).rows:
            if formula:
                assert spoken(formula, values | bars) == pytest.approx(float(slope), abs=1e-9)
            assert float(slope) == pytest.approx(bars[f"{primal}_bar"], abs=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_columns_of_a_table_are_aligned(name):
    table = tangent_table(
        trace(FUNCTIONS[name]), [1e-9, 3e9] if name == "no steps" else PLACE, along="y"
    )
    lines = [line for line in str(table).splitlines()[3:] if "─" not in line]
    ends = {
        line.rindex(row[-1]) + len(row[-1]) for line, row in zip(lines, table.rows, strict=True)
    }
    assert len(ends) == 1
    assert len({len(str(row[2]).split(".")[1]) for row in table.rows}) == 1


def test_a_vector_is_used_by_its_components():
    program = trace(lambda x: (x[0] * x[-1], x[1] + x[2]), names=("a", "b", "c"))
    assert program.inputs == ("a", "b", "c")
    np.testing.assert_allclose(program.evaluate([2, 3, 5]), [10, 8])

    def unpacked(x):
        a, b, c = x
        return a * c, b + c

    assert trace(unpacked, names=("a", "b", "c")) == program
    assert trace(lambda a, b, c: (a * c, b + c)) == program


def test_what_is_computed_twice_is_one_step():
    program = trace(lambda x, y: torch.exp(x * y) + x * y)
    assert [step.kind for step in program.steps] == ["mul", "exp", "add"]
    assert program.edges() == (
        *(("x", "v1"), ("y", "v1"), ("v1", "v2")),
        *(("v2", "v3"), ("v1", "v3"), ("v3", "y1")),
    )
    assert program.dot().count("->") == 6
    assert '"v2" [label="v2 = exp(v1)"]' in program.dot()


# Refusals


def branches(x, y):
    if x > y:
        return x
    return y


def truth(x):
    return 1 if x else 2


def augmented(x, y):
    x += y
    return x


def item(x):
    x[0] = 1.0
    return x[1]


def method(x):
    return x.add_(1)


def out(x):
    return torch.exp(x, out=x)


def loop(x):
    return [component * 2 for component in x]


CONTROL = "Expected the same steps whatever the numbers; got "
IN_PLACE = "Expected steps that make new variables; got an operation in place in line "
AB = ("a", "b")


@pytest.mark.parametrize(
    ("function", "names", "line", "message"),
    [
        (branches, None, "if x > y:", CONTROL + "a comparison that depends on a variable in line "),
        (truth, None, "return 1 if x", CONTROL + "control flow that depends on a variable in line"),
        (loop, AB, "for component in x", CONTROL + "control flow that depends on a variable in li"),
        (augmented, None, "x += y", IN_PLACE),
        (item, AB, "x[0] = 1.0", IN_PLACE),
        (item, None, "x[0] = 1.0", IN_PLACE),
        (method, None, "return x.add_(1)", IN_PLACE),
        (method, AB, "return x.add_(1)", IN_PLACE),
        (out, None, "return torch.exp(x, out=x)", IN_PLACE),
        (lambda x: torch.relu(x), None, "torch.relu", "elementary steps (neg, add, sub,"),
        (lambda x: torch.add(x, x, alpha=2), None, "alpha=2", "got add with alpha in line"),
        (lambda x: x * torch.ones(2), None, "torch.ones", "got a Tensor in mul in line"),
        (lambda x: x * 2, AB, "x * 2", "used by its components; got mul of all of it in line"),
        (lambda x: x[2], AB, "x[2]", "components 0 to 1 of the vector; got [2] in line"),
        (lambda x: x[:1], AB, "x[:1]", "components 0 to 1 of the vector; got [slice("),
        (lambda x: x[0], None, "x[0]", "got [0] of a number in line"),
        (lambda x: (2 * x[0])[1], AB, "(2 * x[0])", "got [1] of a number in line"),
    ],
)
def test_what_is_no_sequence_of_steps_is_refused_with_its_line(function, names, line, message):
    with pytest.raises(BadValue) as refusal:
        trace(function, names=names)
    text = str(refusal.value)
    assert message in text
    number = int(re.search(r"in line (\d+) \(", text).group(1))
    assert line in Path(__file__).read_text().splitlines()[number - 1]
    assert line in text
    assert len(text.splitlines()) == 1


def raising(x):
    return float(x)


@pytest.mark.parametrize(
    ("attempt", "error", "message"),
    [
        (lambda: trace(raising), BadType, r"torch.fx can follow; got float.* in line \d+ \(return"),
        (
            lambda: trace(lambda x: np.exp(x)),
            BadType,
            "a function of steps that torch.fx can follow",
        ),
        (
            lambda: trace(math.exp),
            BadType,
            "a plain function; got builtin_function_or_method; wrap",
        ),
        (lambda: trace(lambda: 1), BadValue, r"one or more plain parameters; got \(\)"),
        (lambda: trace(lambda *x: x[0]), BadValue, r"plain parameters; got \(\*x\); give each"),
        (lambda: trace(lambda x, y: x, names=["a"]), BadValue, "2 names for the parameters; got 1"),
        (lambda: trace(lambda x: x[0], names=["a", "a"]), BadValue, "distinct names .* got a, a"),
        (lambda: trace(lambda v1: v1), BadValue, "names other than v1 and y1; got v1; rename"),
        (lambda: trace(lambda x: 3), BadValue, "one or more outputs; got 3; return numbers that"),
        (lambda: trace(lambda x: ()), BadValue, r"one or more outputs; got \(\)"),
        (lambda: trace(lambda x: [x, [x]]), BadValue, r"one or more outputs; got \[x, \[x\]\]"),
        (
            lambda: trace(example).values([1, 2]),
            BadValue,
            r"x of shape \(3,\); got \(2,\); pass one",
        ),
        (lambda: trace(example).values([1, np.nan, 2]), BadValue, "got nan at column 'x2'; choose"),
        (lambda: trace(example).values(["a"] * 3), BadType, "holding numbers"),
        (
            lambda: trace(example).values([-3, 1, 1]),
            BadValue,
            r"got v6 = log\(v2\) where it or its",
        ),
        (lambda: trace(lambda x: torch.exp(x)).values([1e3]), BadValue, r"v1 = exp\(x\) where"),
        (lambda: trace(lambda x: 1 / x).values([0.0]), BadValue, "got v1 = 1 / x where it or its"),
        (
            lambda: trace(lambda x: torch.sqrt(x)).jacobian_reverse([0.0]),
            BadValue,
            r"got v1 = sqrt\(x\) where it or its slope is not finite; choose another point",
        ),
        (
            lambda: trace(example).tangents(POINT, along="x4"),
            UnknownName,
            "a variable to differentiate by .x1, x2, x3.; got 'x4'",
        ),
        (
            lambda: trace(example).adjoints(POINT, of="v1"),
            UnknownName,
            r"result to differentiate \(y1, y2\); got 'v1'",
        ),
        (
            lambda: jacobian_table(trace(example), POINT, step=0.0),
            BadValue,
            "step as a finite number",
        ),
    ],
)
def test_bad_functions_names_and_points_are_refused(attempt, error, message):
    with pytest.raises(error, match=message):
        attempt()


# Finite differences


def test_differences_are_exact_where_they_must_be():
    slopes = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])
    for central in (True, False):
        found = finite_differences(lambda x: slopes @ x + 7, [1.0, 1e6, -1e-3], central=central)
        np.testing.assert_allclose(found, slopes, rtol=1e-6, atol=1e-6)
    quadratic = finite_differences(lambda x: x @ x, [1.0, 2.0], step=[0.5, 0.25])
    np.testing.assert_allclose(quadratic, [2, 4], rtol=1e-15)  # central: no third derivative
    forward = finite_differences(lambda x: x @ x, [1.0, 2.0], step=[0.5, 0.25], central=False)
    np.testing.assert_allclose(forward, [2.5, 4.25], rtol=1e-15)
    # The step that was made, which is the nearest that floating point has.
    assert finite_differences(lambda x: x[0], [1e6 + 0.1], step=1e-8).tolist() == [1.0]
    assert finite_differences(lambda x: np.ones((2, 4)) * x[0], [1.0]).shape == (2, 4, 1)


@pytest.mark.parametrize(("central", "order"), [(True, 2), (False, 1)])
def test_errors_of_differences_are_of_their_order(central, order):
    errors = [
        abs(finite_differences(np.exp, [0.3], step=h, central=central)[0, 0] - math.exp(0.3))
        for h in (1e-2, 1e-3)
    ]
    assert errors[0] / errors[1] == pytest.approx(10**order, rel=0.02)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"x": [[1.0]]}, BadValue, r"x of shape \(d,\); got \(1, 1\); pass one point"),
        ({"x": [np.inf]}, BadValue, "x without NaN or inf; got inf at column '0'"),
        ({"x": ["a"]}, BadType, "holding numbers"),
        ({"step": 0.0}, BadValue, "steps above 0; got 0; choose a step like 1e-6"),
        ({"step": [1e-6, 1e-6]}, BadValue, r"step of shape \(1,\); got \(2,\)"),
        ({"central": 1}, BadType, "central as True or False; got 1"),
        ({"x": [0.0]}, BadValue, r"finite values of the function; got NaN or inf at \(0\)"),
    ],
)
def test_bad_points_and_steps_are_refused(settings, error, message):
    def log(x):
        return np.log(x, out=np.full(1, -np.inf), where=x > 0)

    with pytest.raises(error, match=message):
        finite_differences(log, **{"x": [1.0], "central": False} | settings)


# The drawing


def wide(x, y):
    early = x * 2
    for _ in range(6):
        y = torch.tanh(y * x + early) / (x + y)
    return y, y * early, torch.exp(-x)


GRAPHS = {
    "example": trace(example),
    "wide": trace(wide),
    "one": trace(lambda x: x),
    "many": trace(lambda x: tuple(x[i] * x[5] for i in range(6)), names=list("abcdef")),
}


def drawn(program):
    """Boxes by corner coordinates, and points along the arrows."""
    figure = plots.computation(program.nodes(), program.edges())
    (axes,) = figure.axes
    boxes = [p.get_bbox().extents for p in axes.patches if isinstance(p, FancyBboxPatch)]
    zoom = Affine2D().scale(1000)  # curves are followed to a pixel
    arrows = [
        a.get_path().to_polygons(zoom, closed_only=False)[0] / 1000
        for a in axes.patches
        if isinstance(a, FancyArrowPatch)
    ]
    return dict(zip(program.nodes(), boxes, strict=True)), arrows


@pytest.mark.parametrize("name", GRAPHS)
def test_nodes_stand_apart_and_right_of_what_they_need(name):
    program = GRAPHS[name]
    boxes, _ = drawn(program)
    for one, other in program.edges():
        assert boxes[one][2] < boxes[other][0]
    places = list(boxes.values())
    for i, (x0, y0, x1, y1) in enumerate(places):
        for a0, b0, a1, b1 in places[:i]:
            assert x1 < a0 or a1 < x0 or y1 < b0 or b1 < y0
    right = {round((boxes[end][0] + boxes[end][2]) / 2, 9) for end, _ in program.outputs}
    assert len(right) == 1


@pytest.mark.parametrize("name", GRAPHS)
def test_arrows_run_from_node_to_node_and_through_none(name):
    program = GRAPHS[name]
    boxes, arrows = drawn(program)
    for (one, other), path in zip(program.edges(), arrows, strict=True):
        assert path[0][0] == pytest.approx(boxes[one][2])
        assert boxes[one][1] < path[0][1] < boxes[one][3]
        for node, (x0, y0, x1, y1) in boxes.items():
            inside = (path[:, 0] > x0 + 1e-6) & (path[:, 0] < x1 - 1e-6)
            inside &= (path[:, 1] > y0) & (path[:, 1] < y1)
            assert not inside.any() or node in (one, other)


def test_crossings_that_can_be_avoided_are():
    # As they come, all three links would cross.
    nodes = dict.fromkeys(["a", "b", "c", "d", "e", "f"], "")
    figure = plots.computation(nodes, [("a", "f"), ("b", "e"), ("c", "d")])
    boxes = [p.get_bbox() for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch)]
    height = {n: (b.y0 + b.y1) / 2 for n, b in zip(nodes, boxes, strict=True)}
    assert (height["a"] < height["b"] < height["c"]) == (height["f"] < height["e"] < height["d"])


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ({}, [], "one or more nodes; got none; name them"),
        ({"a": ""}, [("a", "b")], "edges between nodes; got 'b'; name it among the nodes"),
        ({"a": "", "b": ""}, [("a", "b"), ("b", "a")], "edges without a circle; got one through '"),
    ],
)
def test_what_cannot_be_drawn_is_refused(nodes, edges, message):
    with pytest.raises(BadValue, match=message):
        plots.computation(nodes, edges)
