"""The elementary steps that a function is traced into, each with its own derivatives.

Nothing else in the room knows any calculus: the sweeps multiply and add these partial derivatives.
A change of sign is none of them, but part of the step that uses it.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Partial:
    """Derivative of a step by one of its operands.

    Attributes:
        text: Its size in terms of the operands {0} and {1}, of {1} less one, {less}, and of the
            step's value {v}; empty for 1.
        of: It as a function of the value and the operands.
        minus: Whether it is minus what the text says.
    """

    text: str
    of: Callable[..., float]
    minus: bool = False


@dataclass(frozen=True)
class Elementary:
    """One kind of step.

    Attributes:
        text: In terms of its operands {0} and {1}.
        value: A function of the operands.
        partials: One derivative per operand.
    """

    text: str
    value: Callable[..., float]
    partials: tuple[Partial, ...]


def _function(name: str, value: Callable[[float], float], partial: Partial) -> Elementary:
    return Elementary(f"{name}({{0}})", value, (partial,))


def _sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a)) if a >= 0 else math.exp(a) / (1 + math.exp(a))


_ONE = Partial("", lambda *_: 1.0)

ELEMENTARY = {
    "add": Elementary("{0} + {1}", operator.add, (_ONE, _ONE)),
    "sub": Elementary("{0} - {1}", operator.sub, (_ONE, Partial("", lambda *_: -1.0, minus=True))),
    "mul": Elementary(
        "{0} · {1}",
        operator.mul,
        (Partial("{1}", lambda _v, _a, b: b), Partial("{0}", lambda _v, a, _b: a)),
    ),
    "div": Elementary(
        "{0} / {1}",
        operator.truediv,
        (
            Partial("1/{1}", lambda _v, _a, b: 1 / b),
            Partial("{v}/{1}", lambda v, _a, b: -v / b, minus=True),
        ),
    ),
    "pow": Elementary(
        "{0}^{1}",
        math.pow,
        (
            Partial("{1} · {0}^{less}", lambda _v, a, b: b * math.pow(a, b - 1)),
            Partial("{v} · log({0})", lambda v, a, _b: v * math.log(a)),
        ),
    ),
    "exp": _function("exp", math.exp, Partial("{v}", lambda v, _a: v)),
    "log": _function("log", math.log, Partial("1/{0}", lambda _v, a: 1 / a)),
    "sqrt": _function("sqrt", math.sqrt, Partial("1/(2 · {v})", lambda v, _a: 0.5 / v)),
    "sin": _function("sin", math.sin, Partial("cos({0})", lambda _v, a: math.cos(a))),
    "cos": _function("cos", math.cos, Partial("sin({0})", lambda _v, a: -math.sin(a), minus=True)),
    "tan": _function("tan", math.tan, Partial("(1 + {v}^2)", lambda v, _a: 1 + v * v)),
    "tanh": _function("tanh", math.tanh, Partial("(1 - {v}^2)", lambda v, _a: 1 - v * v)),
    "sigmoid": _function(
        "sigmoid", _sigmoid, Partial("{v} · (1 - {v})", lambda v, _a: v * (1 - v))
    ),
}

# What torch and `operator` call them besides, as functions or methods.
ALIASES = {
    "subtract": "sub",
    "multiply": "mul",
    "truediv": "div",
    "divide": "div",
    "true_divide": "div",
    "negative": "neg",
}
