"""Simulators by name: whatever any installed distribution offers, imported one at a time.

A distribution offers a simulator by an entry point in the group "sbi_kit.simulators"; its target is
a class, a function that builds one, or a finished object. Names are read from the metadata of what
is installed at the moment of asking, so listing imports nothing and a plugin that is broken harms
only whoever asks for it. Generators of labelled data are offered in the same group.
"""

import inspect
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from sbi_kit import contracts
from sbi_kit.checks import BadType, BadValue, expect_name, nearest

GROUP = "sbi_kit.simulators"


class PluginError(RuntimeError):
    """An installed simulator or generator that cannot be used; `str` of it is one sentence."""


def simulator_names() -> tuple[str, ...]:
    """Names of what is installed, generators too, in alphabetical order; nothing is imported."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def load_simulator(name: str, settings: Mapping[str, Any] | None = None) -> contracts.Simulator:
    """Import and build one installed simulator.

    Args:
        name: One of `simulator_names()`.
        settings: Arguments of its constructor by name; those left out keep their defaults.

    Returns:
        The simulator, checked to have `prior`, `data` and `simulate`.

    Raises:
        UnknownName: No installed distribution offers `name`; the message lists those offered.
        BadValue: A setting is misspelt, missing or refused by the constructor; or two
            distributions offer the name.
        BadType: `settings` is no mapping, or what was built is no simulator.
        PluginError: The plugin's import or constructor breaks; the original error is chained.
    """
    return expect_simulator(*_load("simulator", name, settings))


def load_generator(name: str, settings: Mapping[str, Any] | None = None) -> contracts.DataGenerator:
    """Import and build one installed generator of labelled data.

    Args:
        name: One of `simulator_names()`.
        settings: Arguments of its constructor by name; those left out keep their defaults.

    Returns:
        The generator, checked to have `features`, `targets` and `generate`.

    Raises:
        UnknownName, BadValue, PluginError: As `load_simulator` does.
        BadType: `settings` is no mapping, or what was built is no generator.

    >>> load_generator("kryptonite", {"n": 3}).targets
    ('label',)
    """
    return expect_generator(*_load("generator", name, settings))


def load_any(
    name: str, settings: Mapping[str, Any] | None = None
) -> contracts.Simulator | contracts.DataGenerator:
    """Import and build whatever is offered under a name.

    Raises:
        UnknownName, BadType, BadValue, PluginError: As `load_simulator` does.
    """
    model, what = _load("simulator", name, settings)
    return expect_generator(model, what) if is_generator(model) else expect_simulator(model, what)


def registered_name(cls: type) -> str | None:
    """The name under which a class is offered, if it is; nothing is imported."""
    target = f"{cls.__module__}:{cls.__qualname__}"
    for point in entry_points(group=GROUP):
        if point.value.split("[")[0].replace(" ", "") == target:
            return point.name
    return None


def expect_simulator(model: Any, what: str = "the simulator") -> contracts.Simulator:
    """Return `model` if it has a prior, a data layout and a function `simulate`.

    Raises:
        BadType: It is a class, or something is missing or of another kind; the message says what.
        UnknownName: A unit is given of something that it has not.
    """
    # Layouts take scipy along with their priors, and names are to be listed without it.
    from sbi_kit.data import Exchangeable, Matrix, Series, Vector

    _expect_object(model, what)
    if is_generator(model):
        raise BadType(
            f"{what} to have parameters to infer",
            "a generator of labelled data, which has none",
            "load it with load_generator, or write its data with sbi-kit generate",
        )
    _expect_parts(model, what, "prior", "data", "simulate")
    if not isinstance(model.prior, contracts.Prior):
        raise BadType(
            f"prior of {what} as sbi_kit.Prior",
            type(model.prior).__name__,
            "write it like Prior(rate=Uniform(0.1, 2.0))",
        )
    if not isinstance(model.data, (Vector, Exchangeable, Series, Matrix)):
        raise BadType(
            f"data of {what} as a Vector, Exchangeable, Series or Matrix",
            type(model.data).__name__,
            "declare the layout of one dataset",
        )
    if not callable(model.simulate):
        raise BadType(
            f"simulate of {what} as a function",
            type(model.simulate).__name__,
            "define simulate(theta, rng, n), or simulate(theta, rng) for a Vector",
        )
    _expect_units(model, what)
    checked: contracts.Simulator = model
    return checked


def is_generator(model: Any) -> bool:
    """Whether something generates labelled data, and is not a simulator."""
    return hasattr(model, "generate") and not hasattr(model, "simulate")


def expect_generator(model: Any, what: str = "the generator") -> contracts.DataGenerator:
    """Return `model` if it has features, targets and a function `generate`.

    Raises:
        BadType: It is a class or a simulator, or something is missing; the message says what.
    """
    _expect_object(model, what)
    if hasattr(model, "simulate") and not hasattr(model, "generate"):
        raise BadType(
            f"{what} to generate labelled data",
            "a simulator, whose parameters are to be inferred",
            "load it with load_simulator, or write its data with sbi-kit simulate",
        )
    _expect_parts(model, what, "features", "targets", "generate")
    if not callable(model.generate):
        raise BadType(
            f"generate of {what} as a function",
            type(model.generate).__name__,
            "define generate(rows, rng)",
        )
    checked: contracts.DataGenerator = model
    return checked


def _expect_object(model: Any, what: str) -> None:
    if inspect.isclass(model):
        raise BadType(
            f"{what} as an object", f"the class {model.__name__}", f"pass {model.__name__}()"
        )


def _expect_parts(model: Any, what: str, *parts: str) -> None:
    missing = [part for part in parts if not hasattr(model, part)]
    if missing:
        raise BadType(
            f"{what} to have {', '.join(parts[:-1])} and {parts[-1]}",
            f"{type(model).__name__} without {' and '.join(missing)}",
            f"add {' and '.join(missing)}",
        )


def _expect_units(model: Any, what: str) -> None:
    """Refuse units that are not texts, or of other things than the model's."""
    from sbi_kit.data import Series

    units = getattr(model, "units", {})
    if not isinstance(units, Mapping) or not all(isinstance(unit, str) for unit in units.values()):
        do = 'write it like {"rate": "1/day"}'
        raise BadType(f"units of {what} as a mapping from names to texts", repr(units), do)
    context = () if model.data.context is None else model.data.context.names
    known = (*model.prior.names, *model.data.columns, *context)
    if isinstance(model.data, Series) and "time" not in known:
        known = (*known, "time")
    for name in units:
        expect_name(f"parameter, column or context of {what}", name, known)


def _load(kind: str, name: str, settings: Mapping[str, Any] | None) -> tuple[Any, str]:
    """What is offered under a name, built, and what to call it."""
    point = _only(kind, name)
    chosen = _expect_mapping(settings)
    owner = _owner(point)
    try:
        target = point.load()
    except Exception as error:
        raise PluginError(
            f"{kind.capitalize()} {name!r} of {owner} could not be imported ({_text(error)}); "
            "repair or reinstall that distribution."
        ) from error
    return _build(kind, name, owner, target, chosen), f"{kind} {name!r} of {owner}"


def _only(kind: str, name: str) -> EntryPoint:
    """The one entry point of a name."""
    points = list(entry_points(group=GROUP))
    # Names do not tell which of the two they stand for, and nothing is imported to find out.
    sought = "simulator" if kind == "simulator" else "simulator or generator"
    expect_name(sought, name, {point.name for point in points})
    offers = [point for point in points if point.name == name]
    if len({point.value for point in offers}) > 1:
        owners = sorted(_owner(point) for point in offers)
        raise BadValue(
            f"one distribution to offer {kind} {name!r}",
            " and ".join(owners),
            "uninstall all but one of them",
        )
    return offers[0]


def _owner(point: EntryPoint) -> str:
    if point.dist is None:
        return "an unknown distribution"
    return f"distribution {point.dist.name} {point.dist.version}"


def _expect_mapping(settings: object) -> dict[str, Any]:
    if settings is None:
        return {}
    if not isinstance(settings, Mapping) or not all(isinstance(key, str) for key in settings):
        raise BadType(
            "settings as a mapping from names to values",
            repr(settings),
            'pass a dict such as {"days": 14}',
        )
    return dict(settings)


def _build(kind: str, name: str, owner: str, target: Any, settings: dict[str, Any]) -> Any:
    """The simulator or generator that an entry point's target stands for."""
    works = hasattr(target, "simulate") or hasattr(target, "generate")
    finished = not inspect.isclass(target) and (works or not callable(target))
    parameters = {} if finished else _parameters(target)
    _expect_settings(f"{kind} {name!r}", parameters, settings)
    if finished:
        return target
    try:
        return target(**_with_tuples(parameters or {}, settings))
    except (LookupError, TypeError, ValueError) as error:
        raise BadValue(
            f"settings that {kind} {name!r} accepts",
            repr(settings),
            f"its constructor says {_text(error)}",
        ) from error
    except Exception as error:
        raise PluginError(
            f"{kind.capitalize()} {name!r} of {owner} could not be built with settings "
            f"{settings!r} ({_text(error)}); repair that distribution."
        ) from error


def _with_tuples(
    parameters: dict[str, inspect.Parameter], settings: dict[str, Any]
) -> dict[str, Any]:
    """JSON has no tuples: a list becomes one where the setting's default is one."""
    tuples = {key for key, value in parameters.items() if isinstance(value.default, tuple)}
    return {k: tuple(v) if k in tuples and isinstance(v, list) else v for k, v in settings.items()}


def _parameters(target: Any) -> dict[str, inspect.Parameter] | None:
    """Named parameters of a constructor; None if it takes any or does not tell."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None
    kinds = {parameter.kind for parameter in parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return None
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {key: value for key, value in parameters.items() if value.kind in named}


def _expect_settings(
    whose: str, parameters: dict[str, inspect.Parameter] | None, settings: dict[str, Any]
) -> None:
    if parameters is None:
        return
    valid = sorted(parameters)
    wanted = f"settings of {whose} among {', '.join(valid) or 'none'}"
    for key in settings:
        if key not in parameters:
            close = nearest(key, valid)
            advice = f"did you mean {close!r}?" if close else f"leave out {key!r}"
            raise BadValue(wanted, repr(key), advice)
    required = [k for k, v in parameters.items() if v.default is inspect.Parameter.empty]
    absent = [key for key in required if key not in settings]
    if absent:
        raise BadValue(
            f"values for the settings {', '.join(required)} of {whose}",
            f"none for {', '.join(absent)}",
            "pass them as settings",
        )


def _text(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".:")
