"""What is known of a dataset besides its observations: a population size, a stimulus strength.

A layout declares its context as a prior, which names the columns and says how they are drawn where
data are simulated. Where data are observed, each dataset brings its own values, found by name
beside the observations or given as a mapping. The c columns of b datasets are an array (b, c).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sbi_kit.checks import (
    BadType,
    BadValue,
    expect_array,
    expect_finite,
    expect_name,
    expect_number,
    show_names,
)
from sbi_kit.contracts import Array, Layout
from sbi_kit.families import arguments
from sbi_kit.prior import Prior

_RESERVED = "n"  # what ArviZ data call the number of observations


def names_of(layout: Layout) -> tuple[str, ...]:
    """Names of the context's columns; none where a layout has no context."""
    return () if layout.context is None else layout.context.names


def expect_context(context: object, columns: Sequence[str]) -> None:
    """Refuse what cannot be the context of a layout with these columns.

    Raises:
        BadType: It is no `sbi_kit.Prior`.
        BadValue: A name of it is that of a column, or "n".
    """
    if context is None:
        return
    if not isinstance(context, Prior):
        raise BadType(
            "context as a sbi_kit.Prior",
            type(context).__name__,
            "write it like Prior(population=LogUniform(100, 1e5))",
        )
    for name in context.names:
        if name in columns or name == _RESERVED:
            wanted = f"context under names other than {show_names([*columns, _RESERVED])}"
            raise BadValue(wanted, repr(name), "rename it")


@dataclass(frozen=True)
class ContextSource:
    """Where the context of simulations comes from; `context_source` makes one.

    Attributes:
        names: Names of the c columns.
        given: Those that are the same in all datasets.
        drawn: The distribution of the others; None where there are none.
    """

    names: tuple[str, ...]
    given: Mapping[str, float]
    drawn: Prior | None

    def draw(self, b: int, rng: np.random.Generator) -> Array:
        """The context of b datasets, shape (b, c)."""
        context = np.empty((b, len(self.names)))
        for name, value in self.given.items():
            context[:, self.names.index(name)] = value
        if self.drawn is not None:
            context[:, [self.names.index(name) for name in self.drawn.names]] = self.drawn.sample(
                b, rng
            )
        return context


def context_source(layout: Layout, given: Mapping[str, float] | None = None) -> ContextSource:
    """How to come by the context of a layout's simulations.

    Args:
        layout: The layout.
        given: Values by name that all datasets share; the others are drawn, given these.

    Raises:
        BadType, BadValue, UnknownName: A value is no number or a name is not of the context; or
            some but not all of a joint block are given.

    >>> from sbi_kit.data import Vector
    >>> from sbi_kit.prior import Uniform
    >>> layout = Vector("x", context=Prior(low=Uniform(0, 1), high=Uniform("low", 2)))
    >>> context_source(layout, {"low": 0.5}).drawn
    Prior(high=Uniform(0.5, 2))
    """
    names = names_of(layout)
    fixed = {
        _expect_known(name, names): expect_number(f"context {name!r}", value)
        for name, value in _expect_mapping(given).items()
    }
    drawn = _conditional(layout.context, fixed) if isinstance(layout.context, Prior) else None
    return ContextSource(names, fixed, drawn)


def read_context(given: Mapping[str, ArrayLike] | None, beside: Array, layout: Layout) -> Array:
    """The context of b observed datasets, shape (b, c), all finite.

    Args:
        given: Values by name, one for all datasets or one for each (b,); they go before those found
            beside the data.
        beside: What was found beside the data, shape (b, c), NaN where nothing was.
        layout: The layout that the context belongs to.

    Raises:
        BadType, BadValue, UnknownName: Some is missing, infinite or no number, or a name is not of
            the context; the message names it.
    """
    names, context = names_of(layout), beside.copy()
    for name, value in _expect_mapping(given).items():
        shape = () if np.ndim(value) == 0 else (len(beside),)
        place = names.index(_expect_known(name, names))
        do = "pass a number, or one for each dataset"
        context[:, place] = expect_array(f"context {name!r}", value, shape, do=do)
    absent = np.argwhere(np.isnan(context))
    if len(absent):
        row, name = int(absent[0, 0]), names[int(absent[0, 1])]
        where = f" of dataset {row}" if len(context) > 1 else ""
        raise BadValue(
            f"the context {name!r}{where}, which the layout declares",
            "none",
            f"pass it as context={{{name!r}: value}}, or as a column {name!r} beside the data",
        )
    return expect_finite("the context", context, names, do="pass finite numbers")


def _conditional(context: Prior, given: Mapping[str, float]) -> Prior | None:
    """The distribution of the names that are not given, given the others."""
    joint = []
    for block in context.joint:
        inside = [name for name in block.names if name in given]
        if inside and len(inside) < len(block.names):
            wanted = f"all or none of {', '.join(block.names)}, which are drawn jointly"
            raise BadValue(wanted, f"only {', '.join(inside)}", "give the others too, or none")
        joint += [] if inside else [block]
    marginals = {}
    for name, family in context.marginals.items():
        if name not in given:
            named = {k: v for k, v in arguments(family).items() if isinstance(v, str)}
            known: dict[str, Any] = {k: given[v] for k, v in named.items() if v in given}
            marginals[name] = replace(family, **known)
    return Prior(*joint, **marginals) if joint or marginals else None


def _expect_mapping(given: object) -> Mapping[str, ArrayLike]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        advice = 'pass a dict such as {"population": 763}'
        raise BadType("context as a mapping from names to values", repr(given), advice)
    return given


def _expect_known(name: object, names: Sequence[str]) -> str:
    if not names:
        raise BadValue("no context, as the layout declares none", repr(name), "leave it out")
    return expect_name("context column", name, names)
