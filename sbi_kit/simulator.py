"""A simulator from a function, and what a file records about any simulator.

Any object with `prior`, `data` and `simulate` is a simulator. `Simulator` makes one from a function
in a notebook; `describe` reads its name and settings, so that a bank can tell whose simulations
it holds and a saved posterior can rebuild the model.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from sbi_kit import contracts
from sbi_kit.checks import BadInput, BadType, BadValue
from sbi_kit.context import names_of
from sbi_kit.registry import PluginError, expect_simulator, load_simulator, registered_name


@dataclass(frozen=True, kw_only=True)
class Simulator:
    """A simulator made of its parts.

    Args:
        name: What messages, banks and reports call it.
        prior: The distribution its parameters are drawn from.
        data: The layout of one dataset.
        simulate: `simulate(theta, rng, n)`, theta (b, d) to data (b, n, columns); with a `Vector`
            layout `simulate(theta, rng)` to (b, columns). Where the layout declares a context, it
            comes last, shape (b, c). All randomness comes from `rng`.
        observed: Real data in any form that `sample` accepts, if there are any.
        units: Units of parameters, columns and context by name, such as {"weight": "kg"}; what is
            left out has none. That of "time" is of the time points of a `Series`.

    Raises:
        BadType: A part is of another kind; the message names it.

    >>> from sbi_kit.data import Vector
    >>> from sbi_kit.prior import Normal, Prior
    >>> scale = Simulator(
    ...     name="scale",
    ...     prior=Prior(weight=Normal(70, 10)),
    ...     data=Vector(columns=("reading",)),
    ...     simulate=lambda theta, rng: theta + rng.normal(size=theta.shape),
    ... )
    >>> scale.simulate(np.array([[70.0]]), np.random.default_rng(1)).round(1)
    array([[70.3]])
    """

    name: str
    prior: contracts.Prior
    data: contracts.Layout
    simulate: Callable[..., Any]
    observed: Any = None
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise BadType("name as a non-empty text", repr(self.name), "name the simulator")
        expect_simulator(self, f"simulator {self.name!r}")


def describe(model: contracts.Simulator) -> dict[str, Any]:
    """Name and settings of a simulator as JSON values.

    The name is the object's own, else the one it is registered under, else its class's. Settings
    are its constructor's arguments, read back from attributes of the same name.

    Returns:
        {"name": str, "settings": dict}; settings is None if an argument was not kept or is no
        JSON value. Where the simulator says so, also {"units": dict}.

    >>> class Decay:
    ...     def __init__(self, days=14, span=(1, 2)):
    ...         self.days, self.span = days, span
    >>> describe(Decay(days=7))
    {'name': 'Decay', 'settings': {'days': 7, 'span': [1, 2]}}
    """
    cls = type(model)
    own = getattr(model, "name", None)
    name = own if isinstance(own, str) and own else registered_name(cls) or cls.__name__
    units = dict(getattr(model, "units", {}))
    return {"name": name, "settings": _settings(model), **({"units": units} if units else {})}


def rebuild(known: Mapping[str, Any], prior: contracts.Prior) -> contracts.Simulator:
    """The simulator that `describe` said this of, as it is installed here.

    Args:
        known: What `describe` returned.
        prior: The prior it had.

    Raises:
        UnknownName, BadValue, PluginError: It is not installed, or differs.
    """
    wanted = f"the simulator {known['name']!r} as this posterior was trained with it"
    if known["settings"] is None:
        raise BadValue(wanted, "no record of its settings", "pass it to infer in Python, as model=")
    model = load_simulator(known["name"], known["settings"])
    if describe(model) != known or model.prior != prior:
        raise BadValue(wanted, "another of that name", "install the distribution it came from")
    return model


class Origin(Protocol):
    """What a posterior knows of the simulator behind it."""

    @property
    def prior(self) -> contracts.Prior: ...

    @property
    def data(self) -> contracts.Layout: ...

    @property
    def simulator(self) -> dict[str, Any]: ...

    @property
    def model(self) -> contracts.Simulator | None: ...


def find_model(posterior: Origin) -> tuple[contracts.Simulator | None, str]:
    """The simulator of a posterior, in this process or installed; if there is none, why."""
    if posterior.model is not None:
        return posterior.model, ""
    try:
        return rebuild(posterior.simulator, posterior.prior), ""
    # One that cannot be built any more must not cost the inference.
    except (BadInput, PluginError) as error:
        name = posterior.simulator["name"]
        return None, f"The simulator {name!r} is not installed here, or differs ({error})"


def expect_model(model: object, posterior: Origin) -> contracts.Simulator:
    """Return a simulator of the posterior's parameters and data.

    Raises:
        BadType: It is no simulator.
        BadValue: It has other parameters or data.
    """
    given = expect_simulator(model, "model")
    other, mine = (
        f"{', '.join(names)} and {type(data).__name__} data of "
        f"{', '.join((*data.columns, *names_of(data)))}"
        for names, data in (
            (given.prior.names, given.data),
            (posterior.prior.names, posterior.data),
        )
    )
    if other != mine:
        advice = "pass the simulator that the posterior was trained with"
        raise BadValue(f"a model with parameters {mine}", other, advice)
    return given


def _settings(model: object) -> dict[str, Any] | None:
    try:
        parameters = inspect.signature(type(model)).parameters.values()
        free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        if any(parameter.kind in free for parameter in parameters):
            return None
        kept = {parameter.name: getattr(model, parameter.name) for parameter in parameters}
        settings: dict[str, Any] = json.loads(json.dumps(kept, allow_nan=False, default=_plain))
    except (AttributeError, TypeError, ValueError):
        return None
    return settings


def _plain(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(type(value).__name__)
