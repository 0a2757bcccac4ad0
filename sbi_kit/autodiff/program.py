"""A function as a sequence of elementary steps, and its derivatives by the two orders of the chain
rule (Griewank & Walther 2008, Evaluating Derivatives, chapter 3).

With steps v_k = φ_k(its operands), the forward sweep carries tangents along with the values,

    v_k' = Σ_j (∂φ_k / ∂v_j) v_j',    the derivatives of all along one input, a column of J,

and the reverse sweep goes back from an output y with the adjoints v̄ = ∂y/∂v,

    v̄_j = Σ_k v̄_k (∂φ_k / ∂v_j),    the derivatives of one output by all, a row of J.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sbi_kit.autodiff.elementary import ELEMENTARY
from sbi_kit.checks import BadValue, expect_array, expect_finite, expect_name
from sbi_kit.contracts import Array


@dataclass(frozen=True)
class Operand:
    """What a step works on: a variable, also with its sign changed, or a number.

    Attributes:
        name: The variable; None for a number.
        factor: 1 or -1 before a variable, or the number.
    """

    name: str | None
    factor: float

    def value(self, values: dict[str, float]) -> float:
        """Its value among those of the variables."""
        return self.factor if self.name is None else self.factor * values[self.name]

    def text(self, show: Callable[[str], str] = str) -> str:
        """How it is written, the variable as `show` writes names."""
        if self.name is None:
            return f"{self.factor:g}"
        return f"{'-' if self.factor < 0 else ''}{show(self.name)}"


@dataclass(frozen=True)
class Step:
    """One elementary step.

    Attributes:
        name: Of the variable that it makes: v1, v2, ...
        kind: Which of `ELEMENTARY` it is.
        operands: What it works on.
    """

    name: str
    kind: str
    operands: tuple[Operand, ...]

    def text(self) -> str:
        """How it is written: v6 · v3."""
        return fill(ELEMENTARY[self.kind].text, self)

    def compute(self, function: Callable[..., float], *numbers: float) -> float:
        """What a function of the step makes of numbers.

        Raises:
            BadValue: It is not defined there, or too large.
        """
        try:
            value = float(function(*numbers))
        except (ArithmeticError, ValueError):
            value = float("nan")
        if not np.isfinite(value):
            got = f"{self.name} = {self.text()} where it or its slope is not finite"
            raise BadValue("a point at which all steps are defined", got, "choose another point")
        return value


@dataclass(frozen=True)
class Program:
    """A function as steps; `sbi_kit.autodiff.trace` makes it.

    Attributes:
        inputs: Names of the d inputs.
        steps: In the order in which they are computed.
        outputs: Names of the m outputs, with what they are.
    """

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    outputs: tuple[tuple[str, Operand], ...]

    def evaluate(self, x: ArrayLike) -> Array:
        """Outputs (m,) at x (d,)."""
        values = self.values(x)
        return np.array([values[name] for name, _ in self.outputs])

    def values(self, x: ArrayLike) -> dict[str, float]:
        """Every variable's value at x (d,), in the order of computation.

        Raises:
            BadValue: x has another shape or is not finite, or a step is not defined there.
            BadType: It holds other than numbers.
        """
        advice = f"pass one number for each of {', '.join(self.inputs)}"
        point = expect_array("x", x, (len(self.inputs),), do=advice)
        expect_finite("x", point, self.inputs, do="choose a point of finite numbers")
        values = dict(zip(self.inputs, point.tolist(), strict=True))
        for step in self.steps:
            numbers = [operand.value(values) for operand in step.operands]
            values[step.name] = step.compute(ELEMENTARY[step.kind].value, *numbers)
        return values | {name: operand.value(values) for name, operand in self.outputs}

    def tangents(self, x: ArrayLike, *, along: str) -> dict[str, float]:
        """Every variable's derivative by one input at x (d,): the forward sweep.

        Raises:
            BadValue: As `values`.
            UnknownName: `along` is no input.
        """
        expect_name("variable to differentiate by", along, self.inputs)
        values = self.values(x)
        tangents = {name: float(name == along) for name in self.inputs}
        for step in self.steps:
            slopes = self._slopes(step, values)
            tangents[step.name] = sum((slope * tangents[name] for name, slope in slopes), start=0.0)
        for name, operand in self.outputs:
            tangents[name] = operand.factor * tangents[str(operand.name)]
        return tangents

    def adjoints(self, x: ArrayLike, *, of: str) -> dict[str, float]:
        """An output's derivative by every variable at x (d,): the reverse sweep.

        Raises:
            BadValue: As `values`.
            UnknownName: `of` is no output.
        """
        expect_name("result to differentiate", of, [name for name, _ in self.outputs])
        values = self.values(x)
        adjoints = dict.fromkeys(values, 0.0)
        adjoints[of] = 1.0
        for name, operand in self.outputs:
            adjoints[str(operand.name)] += operand.factor * adjoints[name]
        for step in reversed(self.steps):
            for name, slope in self._slopes(step, values):
                adjoints[name] += slope * adjoints[step.name]
        return adjoints

    def jacobian_forward(self, x: ArrayLike) -> Array:
        """The Jacobian (m, d) at x (d,), column by column in d forward sweeps."""
        sweeps = [self.tangents(x, along=name) for name in self.inputs]
        return np.array([[sweep[name] for sweep in sweeps] for name, _ in self.outputs])

    def jacobian_reverse(self, x: ArrayLike) -> Array:
        """The Jacobian (m, d) at x (d,), row by row in m reverse sweeps."""
        sweeps = [self.adjoints(x, of=name) for name, _ in self.outputs]
        return np.array([[sweep[name] for name in self.inputs] for sweep in sweeps])

    def nodes(self) -> dict[str, str]:
        """Every variable, in order of computation, and how it is computed; inputs are not."""
        made = {step.name: step.text() for step in self.steps}
        ends = {name: operand.text() for name, operand in self.outputs}
        return dict.fromkeys(self.inputs, "") | made | ends

    def edges(self) -> tuple[tuple[str, str], ...]:
        """Which variable goes into which, each pair once."""
        uses = [(step.name, step.operands) for step in self.steps]
        uses += [(name, (operand,)) for name, operand in self.outputs]
        pairs = [(o.name, name) for name, operands in uses for o in operands if o.name is not None]
        return tuple(dict.fromkeys(pairs))

    def dot(self) -> str:
        """The computational graph in the language of Graphviz.

        >>> print(Program(("x",), (), (("y1", Operand("x", -1.0)),)).dot())
        digraph {
          rankdir=LR
          "x" [label="x"]
          "y1" [label="y1 = -x"]
          "x" -> "y1"
        }
        """
        labels = {name: f"{name} = {made}" if made else name for name, made in self.nodes().items()}
        lines = [f'  "{name}" [label="{label}"]' for name, label in labels.items()]
        lines += [f'  "{one}" -> "{other}"' for one, other in self.edges()]
        return "\n".join(["digraph {", "  rankdir=LR", *lines, "}"])

    def __str__(self) -> str:
        width = max(map(len, self.nodes()))
        made = [f"{name:<{width}} = {text}" for name, text in self.nodes().items() if text]
        return "\n".join([f"inputs {', '.join(self.inputs)}", *made])

    def _slopes(self, step: Step, values: dict[str, float]) -> list[tuple[str, float]]:
        """Derivatives of a step by the variables among its operands."""
        numbers = [operand.value(values) for operand in step.operands]
        return [
            (
                operand.name,
                operand.factor * step.compute(partial.of, values[step.name], *numbers),
            )
            for operand, partial in zip(step.operands, ELEMENTARY[step.kind].partials, strict=True)
            if operand.name is not None
        ]


def fill(text: str, step: Step) -> str:
    """A text about a step with its operands and its name filled in."""
    shown = [operand.text() for operand in step.operands]
    power = step.operands[-1]
    less = f"{power.factor - 1:g}" if power.name is None else f"{power.text()} - 1"
    if "({0})" not in text:  # a sign needs brackets beside an operation, but not in a function's
        shown = [bracketed(one) for one in shown]
    return text.format(*shown, v=step.name, less=less if less.isdigit() else f"({less})")


def bracketed(text: str) -> str:
    """Brackets around what begins with a sign."""
    return f"({text})" if text.startswith("-") else text
