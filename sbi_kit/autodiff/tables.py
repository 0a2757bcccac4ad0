"""Worked examples of differentiation as text: what a sheet of exercises would show.

A tangent is written with a prime, v1', and an adjoint with a bar, v̄1.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sbi_kit.autodiff.elementary import ELEMENTARY, Partial
from sbi_kit.autodiff.program import Operand, Program, Step, fill
from sbi_kit.checks import expect_number
from sbi_kit.differences import finite_differences

_DECIMALS = 10


@dataclass(frozen=True)
class Table:
    """Text in aligned columns; `str` of it is the table.

    Attributes:
        title: What it shows.
        head: Heads of the columns.
        rows: Cells.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        widths = [max(map(_width, column)) for column in zip(self.head, *self.rows, strict=True)]
        numeric = [all(_is_number(row[i]) for row in self.rows) for i in range(len(self.head))]
        lines = [
            "  ".join(
                " " * (width - _width(cell)) + cell
                if right
                else cell + " " * (width - _width(cell))
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ).rstrip()
            for row in (self.head, *self.rows)
        ]
        rule = "─" * (sum(widths) + 2 * len(widths) - 2)
        return "\n".join([self.title, rule, lines[0], rule, *lines[1:], rule])


def tangent_table(program: Program, x: ArrayLike, *, along: str) -> Table:
    """Values and, beside them, derivatives by one input, in the order of computation.

    Raises:
        BadValue: x has another shape, or a step is not defined there.
        UnknownName: `along` is no input.
    """
    values, tangents = program.values(x), program.tangents(x, along=along)
    formulas = dict.fromkeys(program.inputs, "")
    for step in program.steps:
        terms = [
            _term(partial, operand, _tangent(operand.name), step)
            for operand, partial in _pairs(step)
            if operand.name is not None
        ]
        formulas[step.name] = _sum(terms)
    formulas |= {name: operand.text(_tangent) for name, operand in program.outputs}
    rows = zip(
        values,
        program.nodes().values(),
        _numbers(list(values.values())),
        [_tangent(name) for name in values],
        [formulas[name] for name in values],
        _numbers([tangents[name] for name in values]),
        strict=True,
    )
    head = ("primal", "step", "value", "tangent", "step", "value")
    return Table(f"Forward sweep along {along}", head, tuple(rows))


def adjoint_table(program: Program, x: ArrayLike, *, of: str) -> Table:
    """Derivatives of one output by every variable, in the order in which they are found.

    Raises:
        BadValue: x has another shape, or a step is not defined there.
        UnknownName: `of` is no output.
    """
    values, adjoints = program.values(x), program.adjoints(x, of=of)
    terms: dict[str, list[str]] = {name: [] for name in values}
    for name, operand in program.outputs:
        terms[str(operand.name)].append(Operand(name, operand.factor).text(_adjoint))
    for step in program.steps:
        for operand, partial in _pairs(step):
            if operand.name is not None:
                terms[operand.name].append(_term(partial, operand, _adjoint(step.name), step))
    order = list(reversed(values))
    ends = {name for name, _ in program.outputs}
    rows = zip(
        order,
        _numbers([values[name] for name in order]),
        [_adjoint(name) for name in order],
        ["" if name in ends else _sum(terms[name]) for name in order],
        _numbers([adjoints[name] for name in order]),
        strict=True,
    )
    head = ("primal", "value", "adjoint", "step", "value")
    return Table(f"Reverse sweep from {of}", head, tuple(rows))


def jacobian_table(program: Program, x: ArrayLike, *, step: float = 1e-6) -> Table:
    """Every entry of the Jacobian by both sweeps, and by finite differences with a step.

    Raises:
        BadValue: x has another shape, a step is not defined there, or `step` is not above 0.
    """
    expect_number("step", step, low=0.0, open_low=True)
    ways = [
        program.jacobian_forward(x),
        program.jacobian_reverse(x),
        finite_differences(program.evaluate, x, step=step, central=False),
        finite_differences(program.evaluate, x, step=step),
    ]
    entries = [f"∂{name}/∂{along}" for name, _ in program.outputs for along in program.inputs]
    rows = zip(entries, *(_numbers(np.ravel(way).tolist()) for way in ways), strict=True)
    kind = f"differences, step {step:g}"
    head = ("entry", "forward sweep", "reverse sweep", f"forward {kind}", f"central {kind}")
    return Table("Jacobian", head, tuple(rows))


def worksheet(program: Program, x: ArrayLike, *, step: float = 1e-6) -> str:
    """All of it as text: steps, a forward sweep per input, a reverse one per output, the Jacobian.

    Raises:
        BadValue: x has another shape, a step is not defined there, or `step` is not above 0.
    """
    parts: list[object] = [program]
    parts += [tangent_table(program, x, along=name) for name in program.inputs]
    parts += [adjoint_table(program, x, of=name) for name, _ in program.outputs]
    parts.append(jacobian_table(program, x, step=step))
    return "\n\n".join(map(str, parts))


def _tangent(name: str) -> str:
    return f"{name}'"


def _adjoint(name: str) -> str:
    return f"{name[0]}\u0304{name[1:]}"


def _pairs(step: Step) -> Iterator[tuple[Operand, Partial]]:
    return zip(step.operands, ELEMENTARY[step.kind].partials, strict=True)


def _term(partial: Partial, operand: Operand, carried: str, step: Step) -> str:
    """A tangent or an adjoint times a partial derivative, with its sign."""
    minus = partial.minus != (operand.factor < 0)
    size = fill(partial.text, step)
    return f"{'-' if minus else ''}{carried}{' · ' if size else ''}{size}"


def _sum(terms: list[str]) -> str:
    """Terms with their signs, added: a · b - c."""
    return " + ".join(terms).replace("+ -", "- ") or "0"


def _numbers(values: Sequence[float]) -> list[str]:
    """Numbers with the same decimals, or all with a power of ten if some need it."""
    sizes = [abs(value) for value in values if value]
    plain = not sizes or (min(sizes) >= 1e-5 and max(sizes) < 1e7)
    # Adding zero turns -0.0 into 0.0.
    return [f"{value + 0.0:.{_DECIMALS}{'f' if plain else 'e'}}" for value in values]


def _width(text: str) -> int:
    """Columns that a text takes; a bar over a letter takes none."""
    return sum(not unicodedata.combining(letter) for letter in text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
