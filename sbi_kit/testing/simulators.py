"""`check_simulator`: the clauses that a forward model keeps, in the order of its docstring."""

import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from sbi_kit.checks import BadInput, BadValue, expect_integer
from sbi_kit.context import context_source, names_of
from sbi_kit.contracts import Array, Simulator
from sbi_kit.data import AnyLayout, Series, Vector, has_parts, read, unusable
from sbi_kit.registry import expect_simulator
from sbi_kit.seeds import numpy_stream
from sbi_kit.testing.forms import expect_result, show
from sbi_kit.testing.priors import check_prior
from sbi_kit.testing.randomness import FALSE_ALARM, RNG_ADVICE, moments, reseeded
from sbi_kit.testing.streams import check_streams

_TRIES = 50
_LARGEST_FAILED_SHARE = 0.2


def check_simulator(model: Simulator, *, datasets: int = 200, seed: int = 0) -> None:
    """Check that a simulator keeps its contract; write one such test for each of yours.

    In this order: the parts `prior`, `data`, `simulate` are there; `observed`, if there is one,
    can be read; the prior has distinct names, finite draws with a finite density, a whitened map
    that can be inverted, stays in the support, agrees with the density and makes the draws
    N(0, I). Then, for b = 1, 2, 7 and the smallest and largest n: data are an array of the right
    shape, the same rng state gives the same data, theta is left as it was, and the global
    generators of numpy and `random` are neither changed nor used. At most 20 % of the datasets
    hold infinity or NaN that the layout does not allow, another rng gives other data, other
    parameters give other data and so does another context where the layout declares one, datasets
    of one batch do not share random numbers, and where the layout says `nested`, parts of large
    datasets have the means and sds of small ones.

    Args:
        model: The simulator, an instance.
        datasets: Draws of the prior that are simulated for the last clauses, at least 20.
        seed: Seed of everything that is drawn.

    Raises:
        BadInput: A clause is broken; as `BadType`, `BadValue` or what `data.read` raises.

    Warns:
        UserWarning: Some datasets, at most 20 %, hold NaN or infinity.

    >>> from sbi_kit.data import Exchangeable
    >>> from sbi_kit.prior import Prior, Uniform
    >>> class Decay:
    ...     prior = Prior(rate=Uniform(0.1, 2.0))
    ...     data = Exchangeable(columns=("time",), n=(5, 20))
    ...     def simulate(self, theta, rng, n):
    ...         return rng.exponential(1 / theta[:, None], size=(len(theta), n, 1))
    >>> check_simulator(Decay())
    """
    b = expect_integer("datasets", datasets, low=20)
    expect_simulator(model)
    observed = getattr(model, "observed", None)
    if observed is not None:
        read(observed, cast(AnyLayout, model.data))
    check_prior(model.prior, seed)
    theta = model.prior.sample(b, numpy_stream(seed, "check: theta"))
    context = context_source(model.data).draw(b, numpy_stream(seed, "check: context"))
    points = np.concatenate([theta, context], axis=1)
    smallest, largest = model.data.n_range
    for n in sorted({smallest, largest}):
        for rows in (1, 2, 7):
            _check_call(model, points[:rows], n, seed)
        _check_failures(model, points, n, seed)
        _check_dependence(model, points, n, seed)
    check_streams(
        lambda rows, rng: _simulate(model, rows, smallest, rng), points, model.data.columns, seed
    )
    _check_nested(model, points, seed)


def _check_call(model: Simulator, points: Array, n: int, seed: int) -> None:
    """Form of the data, repeatability, and nothing touched that is not the simulator's."""
    with reseeded(1):
        first = _simulate(model, points, n, numpy_stream(seed, "check: call"))
    with reseeded(1):
        again = _simulate(model, points, n, numpy_stream(seed, "check: call"))
    with reseeded(2):
        other = _simulate(model, points, n, numpy_stream(seed, "check: call"))
    if not _equal(first, again):
        raise BadValue("the same data from the same rng state", "other data", RNG_ADVICE)
    if not _equal(first, other):
        got = "data that depend on the global random state"
        raise BadValue("the same data from the same rng state", got, RNG_ADVICE)


def _check_dependence(model: Simulator, points: Array, n: int, seed: int) -> None:
    """The data depend on the random numbers, on the parameters and on the context.

    Coarse data may coincide by chance, hence the many tries; the first is usually the last.
    """

    def simulate(rows: Array, index: int) -> Array:
        return _simulate(model, rows, n, numpy_stream(seed, "check: data", index))

    first = simulate(points, 0)
    if all(_equal(first, simulate(points, index)) for index in range(1, _TRIES + 1)):
        raise BadValue("other data from another rng", "the same data", RNG_ADVICE)
    d, source = len(model.prior.names), context_source(model.data)
    movable = {"theta": (slice(None, d), model.prior.sample)}
    if source.names:
        movable["context"] = slice(d, None), source.draw
    for name, (columns, draw) in movable.items():
        for index in range(_TRIES):
            moved = points.copy()
            moved[:, columns] = draw(len(points), numpy_stream(seed, "check: moved", index))
            if not _equal(simulate(points, index), simulate(moved, index)):
                break
        else:
            got = f"the same data for other {'parameters' if name == 'theta' else name}"
            raise BadValue(f"data that depend on {name}", got, f"use {name} in simulate")


def _check_failures(model: Simulator, points: Array, n: int, seed: int) -> None:
    """At most a fifth of the datasets hold NaN or infinity."""
    x = _simulate(model, points, n, numpy_stream(seed, "check: data", 0))
    failed = unusable(x, model.data).reshape(len(x), -1).any(axis=1)
    if not failed.any():
        return
    at = show(_names(model), points[int(np.argmax(failed))])
    got = f"{failed.sum()} of {len(x)} datasets (n = {n}) with NaN or infinity, first at {at}"
    if failed.mean() > _LARGEST_FAILED_SHARE:
        do = "repair simulate there or narrow the prior"
        raise BadValue(f"at most {_LARGEST_FAILED_SHARE:.0%} failed simulations", got, do)
    message = f"Simulations with finite values expected; got {got}; training leaves them out."
    warnings.warn(message, UserWarning, stacklevel=3)


def _check_nested(model: Simulator, points: Array, seed: int) -> None:
    """The first rows of large datasets are distributed as small datasets, if that is declared."""
    from scipy.stats import ks_2samp

    layout = cast(AnyLayout, model.data)
    if not has_parts(layout):
        return
    low, high = layout.n_range
    part = _simulate(model, points, high, numpy_stream(seed, "check: nested", high))[:, :low]
    small = _simulate(model, points, low, numpy_stream(seed, "check: nested", low))
    every, few = moments(part, axis=1), moments(small, axis=1)
    for moment in every:
        for name, ours, theirs in zip(layout.columns, every[moment].T, few[moment].T, strict=True):
            p = float(
                ks_2samp(
                    ours[np.isfinite(ours)], theirs[np.isfinite(theirs)], method="asymp"
                ).pvalue
            )
            if p < FALSE_ALARM / (2 * len(layout.columns)):
                got = f"another distribution of the {moment} of {name!r} (p = {p:.0e})"
                wanted = f"the first {low} of {high} observations to be like a dataset of {low}"
                shuffled = "" if isinstance(layout, Series) else "shuffle the rows, or "
                raise BadValue(wanted, got, f"{shuffled}declare nested=False")


def _equal(a: Array, b: Array) -> bool:
    return bool(np.array_equal(a, b, equal_nan=True))


def _names(model: Simulator) -> tuple[str, ...]:
    return (*model.prior.names, *names_of(model.data))


def _simulate(model: Simulator, points: Array, n: int, rng: np.random.Generator) -> Array:
    """A copy of what `simulate` returns at points (b, d + c), if it has the right form."""
    b, d = len(points), len(model.prior.names)
    theta, context = points[:, :d].copy(), points[:, d:].copy()
    columns = len(model.data.columns)
    vector = isinstance(model.data, Vector)
    shape = (b, columns) if vector else (b, n, columns)
    arguments: dict[str, Any] = {} if vector else {"n": n}
    if context.shape[1]:
        arguments["context"] = context
    name = f"{type(model).__name__}.simulate({', '.join(['theta', 'rng', *arguments])})"
    run: Callable[..., Any] = model.simulate
    try:
        x = run(theta, rng, *arguments.values())
    except BadInput:
        raise
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        at = show(_names(model), points[0])
        do = f"repair it, first at b = {b}, n = {n}, {at}"
        raise BadValue(f"{name} to run at draws of the prior", got, do) from error
    expect_result(f"{name} at b = {b}, n = {n}", x, shape)
    for kind, now, before in (("theta", theta, points[:, :d]), ("context", context, points[:, d:])):
        if not np.array_equal(now, before):
            advice = f"work on a copy of {kind}"
            raise BadValue(f"{kind} left as it was", f"{kind} changed in place", advice)
    return np.array(x, dtype=np.float64)
