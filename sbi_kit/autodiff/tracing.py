"""From a Python function to its elementary steps, by torch.fx.

The function is run once with variables that record what is done to them (Reed et al. 2022,
arXiv:2112.08429). What is computed twice is one step, and a change of sign is part of the step that
uses it, as on paper: exp(-x) is one step.
"""

import inspect
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from torch.fx import Node, Proxy, Tracer
from torch.fx.proxy import TraceError

from sbi_kit.autodiff.elementary import ALIASES, ELEMENTARY
from sbi_kit.autodiff.program import Operand, Program, Step
from sbi_kit.checks import BadType, BadValue

_COMPARED = {"lt", "le", "gt", "ge", "eq", "ne", "where", "maximum", "minimum", "clamp"}


def trace(function: Callable[..., Any], *, names: Sequence[str] | None = None) -> Program:
    """The elementary steps of a function of scalars, or of a vector.

    Args:
        function: A plain function with one parameter for each input, or one that is a vector and
            is used by its components x[0], x[1], ... It computes with + - * / ** and with torch's
            exp, log, sqrt, sin, cos, tan, tanh and sigmoid, and returns one number or a tuple.
        names: Names of the inputs; those of the parameters if not given. Several names for one
            parameter make it a vector.

    Raises:
        BadType: The function is no plain function, or uses what cannot be followed.
        BadValue: It does something else than the above, such as to change a variable in place or
            to do different steps for different numbers; the message names the line. Or names do
            not fit or are those of steps.

    >>> import torch
    >>> print(trace(lambda x, y: x * y + torch.exp(-x)))
    inputs x, y
    v1 = x · y
    v2 = exp(-x)
    v3 = v1 + v2
    y1 = v3
    """
    inputs, vector = _expect_names(function, names)
    tracer = _Tracer(len(inputs) if vector else None)
    try:
        graph = tracer.trace(function)
    except (_Refused, TraceError) as refusal:
        control = isinstance(refusal, TraceError)
        wanted, got, do = _depends("control flow") if control else refusal.args
        raise BadValue(wanted, f"{got}{_line(function, refusal)}", do) from None
    except (ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        wanted = "a function of steps that torch.fx can follow"
        got = f"{error}{_line(function, error)}".replace("\n", " ")
        raise BadType(wanted, got, "use + - * / ** and torch's functions of numbers") from error
    return _Reader(inputs, vector).read(list(graph.nodes))


class _Refused(Exception):
    """Something that cannot be traced: what was expected, what came, what to do."""


class _Variable(Proxy):
    """A traced number that cannot be changed in place."""

    def _refuse(self, *_: object) -> Any:
        raise _Refused(*_IN_PLACE)

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = __setitem__ = _refuse


_IN_PLACE = (
    "steps that make new variables",
    "an operation in place",
    "write it as an assignment, as in a = a + b",
)


class _Tracer(Tracer):
    """Records elementary steps, and refuses others where they are done."""

    def __init__(self, size: int | None) -> None:
        super().__init__()
        self._size = size  # of the vector, if the only parameter is one

    def proxy(self, node: Node) -> Proxy:
        return _Variable(node, self)

    def create_proxy(
        self,
        kind: str,
        target: Any,
        args: Any,
        kwargs: Any,
        name: str | None = None,
        type_expr: Any = None,
        proxy_factory_fn: Any = None,
    ) -> Proxy:
        if kind in ("call_function", "call_method"):
            self._expect_elementary(target, args, kwargs)
        return super().create_proxy(kind, target, args, kwargs, name, type_expr, proxy_factory_fn)

    def _expect_elementary(self, target: Any, args: Any, kwargs: Any) -> None:
        name = _name(target)
        if name.endswith("_") or "out" in kwargs or name == "setitem":
            raise _Refused(*_IN_PLACE)
        if name == "getitem":
            self._expect_component(*args)
        elif self._size and any(isinstance(a, Proxy) and a.node.op == "placeholder" for a in args):
            wanted = "a vector that is used by its components"
            raise _Refused(wanted, f"{name} of all of it", "write it out with x[0], x[1] and so on")
        elif name in _COMPARED:
            raise _Refused(*_depends("a comparison"))
        elif ALIASES.get(name, name) not in (*ELEMENTARY, "neg") or kwargs:
            wanted = f"elementary steps (neg, {', '.join(ELEMENTARY)})"
            shown = f"{name} with {', '.join(kwargs)}" if kwargs else name
            raise _Refused(wanted, shown, "write it out in such steps")
        elif odd := [a for a in args if not isinstance(a, (Proxy, int, float))]:
            got = f"a {type(odd[0]).__name__} in {name}"
            raise _Refused("plain numbers beside the variables", got, "pass float(...) of it")

    def _expect_component(self, whole: Proxy, index: Any) -> None:
        if self._size is None or whole.node.op != "placeholder":
            do = "pass names, one for each component of the parameter"
            raise _Refused("components of the vector alone", f"[{index}] of a number", do)
        if not isinstance(index, int) or not -self._size <= index < self._size:
            wanted = f"components 0 to {self._size - 1} of the vector"
            raise _Refused(wanted, f"[{index}]", "use single components that exist")


class _Reader:
    """Makes steps of the nodes of a graph."""

    def __init__(self, inputs: tuple[str, ...], vector: bool) -> None:
        self.inputs = inputs
        self.vector = vector
        self.steps: list[Step] = []
        self.known: dict[tuple[str, tuple[Operand, ...]], Operand] = {}
        self.operands: dict[Node, Operand] = {}

    def read(self, nodes: list[Node]) -> Program:
        """The program of a graph that holds elementary steps only."""
        unread = iter(self.inputs)
        for node in nodes[:-1]:
            if node.op != "placeholder":
                self.operands[node] = self._operand(node)
            elif not self.vector:
                self.operands[node] = Operand(next(unread), 1.0)
        returned: Any = nodes[-1].args[0]
        ends = tuple(returned) if isinstance(returned, (tuple, list)) else (returned,)
        advice = "return numbers that depend on the inputs, or a tuple of them"
        if not ends or not all(isinstance(e, Node) and e in self.operands for e in ends):
            raise BadValue("one or more outputs", repr(returned), advice)
        outputs = tuple((f"y{i}", self.operands[end]) for i, end in enumerate(ends, 1))
        return Program(self.inputs, tuple(self.steps), outputs)

    def _operand(self, node: Node) -> Operand:
        """What a node is: an input's component, a step that is known, or a new one."""
        name = _name(node.target)
        if name == "getitem":
            index: Any = node.args[1]
            return Operand(self.inputs[index], 1.0)
        kind = ALIASES.get(name, name)
        operands = tuple(
            self.operands[a] if isinstance(a, Node) else Operand(None, float(a))  # type: ignore[arg-type]
            for a in node.args
        )
        if kind == "neg":
            return Operand(operands[0].name, -operands[0].factor)
        if (kind, operands) not in self.known:
            step = Step(f"v{len(self.steps) + 1}", kind, operands)
            self.steps.append(step)
            self.known[kind, operands] = Operand(step.name, 1.0)
        return self.known[kind, operands]


def _expect_names(
    function: Callable[..., Any], names: Sequence[str] | None
) -> tuple[tuple[str, ...], bool]:
    """Names of the inputs, and whether they are components of one parameter."""
    if not inspect.isfunction(function):
        advice = "wrap it in a function or a lambda"
        raise BadType("a plain function", type(function).__name__, advice)
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or any(p.kind is not p.POSITIONAL_OR_KEYWORD for p in parameters):
        advice = "give each input a parameter of its own, or pass one vector"
        got = str(inspect.signature(function))
        raise BadValue("a function of one or more plain parameters", got, advice)
    inputs = tuple(p.name for p in parameters) if names is None else tuple(names)
    vector = len(parameters) == 1 and len(inputs) > 1
    if not vector and len(inputs) != len(parameters):
        wanted = f"{len(parameters)} names for the parameters"
        raise BadValue(wanted, f"{len(inputs)}", "name each parameter")
    odd = [name for name in inputs if name[:1] in "vy" and name[1:].isdigit()]
    if odd or len(set(inputs)) < len(inputs):
        got = ", ".join(odd or inputs)
        raise BadValue("distinct names other than v1 and y1", got, "rename the inputs")
    return inputs, vector


def _name(target: Any) -> str:
    """What a node calls: the name of a function or of a method."""
    return str(getattr(target, "__name__", target))


def _depends(what: str) -> tuple[str, str, str]:
    return (
        "the same steps whatever the numbers",
        f"{what} that depends on a variable",
        "trace each branch as a function of its own",
    )


def _line(function: Callable[..., Any], error: BaseException) -> str:
    """Where in the function's file an error arose."""
    frames = traceback.extract_tb(error.__traceback__)
    path = inspect.getfile(function)
    own = [frame for frame in frames if frame.filename == path]
    return f" in line {own[-1].lineno} ({own[-1].line})" if own else ""
