"""`check_simulator`: the clauses that a forward model keeps, in the order of its docstring."""

import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from sbi_kit.checks import BadInput, BadValue, expect_integer
from sbi_kit.contracts import Array, Simulator
from sbi_kit.data import AnyLayout, Exchangeable, Matrix, Vector, read
from sbi_kit.registry import expect_simulator
from sbi_kit.seeds import numpy_stream
from sbi_kit.testing.forms import expect_result, show
from sbi_kit.testing.priors import check_prior
from sbi_kit.testing.randomness import FALSE_ALARM, RNG_ADVICE, reseeded
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
    hold NaN or infinity, another rng gives other data, other parameters give other data, datasets
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
    smallest, largest = model.data.n_range
    for n in sorted({smallest, largest}):
        for rows in (1, 2, 7):
            _check_call(model, theta[:rows], n, seed)
        _check_failures(model, theta, n, seed)
        _check_dependence(model, theta, n, seed)
    check_streams(
        lambda rows, rng: _simulate(model, rows, smallest, rng), theta, model.data.columns, seed
    )
    _check_nested(model, theta, seed)


def _check_call(model: Simulator, theta: Array, n: int, seed: int) -> None:
    """Form of the data, repeatability, and nothing touched that is not the simulator's."""
    before = theta.copy()
    with reseeded(1):
        first = _simulate(model, theta, n, numpy_stream(seed, "check: call"))
    if not np.array_equal(theta, before):
        raise BadValue("theta left as it was", "theta changed in place", "work on a copy of theta")
    with reseeded(1):
        again = _simulate(model, theta, n, numpy_stream(seed, "check: call"))
    with reseeded(2):
        other = _simulate(model, theta, n, numpy_stream(seed, "check: call"))
    if not _equal(first, again):
        raise BadValue("the same data from the same rng state", "other data", RNG_ADVICE)
    if not _equal(first, other):
        got = "data that depend on the global random state"
        raise BadValue("the same data from the same rng state", got, RNG_ADVICE)


def _check_dependence(model: Simulator, theta: Array, n: int, seed: int) -> None:
    """The data depend on the random numbers and on the parameters.

    Coarse data may coincide by chance, hence the many tries; the first is usually the last.
    """

    def simulate(rows: Array, index: int) -> Array:
        return _simulate(model, rows, n, numpy_stream(seed, "check: data", index))

    first = simulate(theta, 0)
    if all(_equal(first, simulate(theta, index)) for index in range(1, _TRIES + 1)):
        raise BadValue("other data from another rng", "the same data", RNG_ADVICE)
    for index in range(_TRIES):
        moved = model.prior.sample(len(theta), numpy_stream(seed, "check: moved", index))
        if not _equal(simulate(theta, index), simulate(moved, index)):
            return
    got = "the same data for other parameters"
    raise BadValue("data that depend on theta", got, "use theta in simulate")


def _check_failures(model: Simulator, theta: Array, n: int, seed: int) -> None:
    """At most a fifth of the datasets hold NaN or infinity."""
    x = _simulate(model, theta, n, numpy_stream(seed, "check: data", 0))
    failed = ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
    if not failed.any():
        return
    at = show(model.prior.names, theta[int(np.argmax(failed))])
    got = f"{failed.sum()} of {len(x)} datasets (n = {n}) with NaN or infinity, first at {at}"
    if failed.mean() > _LARGEST_FAILED_SHARE:
        do = "repair simulate there or narrow the prior"
        raise BadValue(f"at most {_LARGEST_FAILED_SHARE:.0%} failed simulations", got, do)
    message = f"Simulations with finite values expected; got {got}; training leaves them out."
    warnings.warn(message, UserWarning, stacklevel=3)


def _check_nested(model: Simulator, theta: Array, seed: int) -> None:
    """The first rows of large datasets are distributed as small datasets, if that is declared."""
    from scipy.stats import ks_2samp

    layout = model.data
    low, high = layout.n_range
    if not (isinstance(layout, (Exchangeable, Matrix)) and layout.nested and low < high):
        return
    part = _simulate(model, theta, high, numpy_stream(seed, "check: nested", high))[:, :low]
    small = _simulate(model, theta, low, numpy_stream(seed, "check: nested", low))
    for moment in (np.mean, np.std):
        for name, ours, theirs in zip(
            layout.columns, moment(part, axis=1).T, moment(small, axis=1).T, strict=True
        ):
            p = float(
                ks_2samp(
                    ours[np.isfinite(ours)], theirs[np.isfinite(theirs)], method="asymp"
                ).pvalue
            )
            if p < FALSE_ALARM / (2 * len(layout.columns)):
                got = f"another distribution of the {moment.__name__} of {name!r} (p = {p:.0e})"
                wanted = f"the first {low} of {high} observations to be like a dataset of {low}"
                raise BadValue(wanted, got, "shuffle the rows, or declare nested=False")


def _equal(a: Array, b: Array) -> bool:
    return bool(np.array_equal(a, b, equal_nan=True))


def _simulate(model: Simulator, theta: Array, n: int, rng: np.random.Generator) -> Array:
    """A copy of what `simulate` returns, if it has the right form."""
    columns = len(model.data.columns)
    vector = isinstance(model.data, Vector)
    shape = (len(theta), columns) if vector else (len(theta), n, columns)
    call = "simulate(theta, rng)" if vector else "simulate(theta, rng, n)"
    name = f"{type(model).__name__}.{call}"
    run: Callable[..., Any] = model.simulate
    try:
        x = run(theta, rng) if vector else run(theta, rng, n)
    except BadInput:
        raise
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        at = show(model.prior.names, theta[0])
        do = f"repair it, first at b = {len(theta)}, n = {n}, {at}"
        raise BadValue(f"{name} to run at draws of the prior", got, do) from error
    expect_result(f"{name} at b = {len(theta)}, n = {n}", x, shape)
    return np.array(x, dtype=np.float64)
