"""Conformance checks for plug-ins: whatever passes here works in the rest of the package.

`check_simulator` holds a forward model to the contract of `sbi_kit.contracts.Simulator`, clause by
clause, and raises one sentence at the first that is broken. Clauses about distributions are tests
with a false alarm below one in a million; all draws come from `seed`, so an outcome repeats.
"""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations, product
from typing import Any, cast

import numpy as np
from scipy.special import ndtri

from sbi_kit.checks import (
    BadInput,
    BadType,
    BadValue,
    expect_finite,
    expect_integer,
    show_shape,
)
from sbi_kit.contracts import Array, Prior, Simulator
from sbi_kit.data import AnyLayout, Exchangeable, Matrix, Vector, read
from sbi_kit.registry import expect_simulator
from sbi_kit.seeds import numpy_stream

_FALSE_ALARM = 1e-6
_PRIOR_DRAWS = 2_000
_TRIES = 50
_LARGEST_FAILED_SHARE = 0.2
_STREAM_POINTS, _BATCHES, _REPLICATES = 2, 40, 8
_TELLING = 8  # numbers off the integers that two datasets do not have in common by chance
_RNG_ADVICE = "draw every random number from the rng that simulate receives"


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
    _check_prior(model.prior, seed)
    theta = model.prior.sample(b, numpy_stream(seed, "check: theta"))
    smallest, largest = model.data.n_range
    for n in sorted({smallest, largest}):
        for rows in (1, 2, 7):
            _check_call(model, theta[:rows], n, seed)
        _check_failures(model, theta, n, seed)
        _check_dependence(model, theta, n, seed)
    _check_streams(model, theta, smallest, seed)
    _check_nested(model, theta, seed)


def _check_prior(prior: Prior, seed: int) -> None:
    """Names, draws, density and whitened map of the prior."""
    names = prior.names
    fine = isinstance(names, tuple) and all(isinstance(name, str) and name for name in names)
    if not fine or not names or len(set(names)) < len(names):
        wanted = "prior.names as a tuple of distinct names"
        raise BadValue(wanted, repr(names), "name each parameter once")
    d = len(names)
    theta = prior.sample(_PRIOR_DRAWS, numpy_stream(seed, "check: prior"))
    _expect_result("prior.sample(b, rng)", theta, (_PRIOR_DRAWS, d))
    expect_finite("the prior's draws", theta, names, do="repair prior.sample")
    again = prior.sample(_PRIOR_DRAWS, numpy_stream(seed, "check: prior"))
    if not np.array_equal(theta, again):
        raise BadValue("the same draws from the same rng", "other draws", "use only the rng passed")
    log_prob = prior.log_prob(theta)
    _expect_result("prior.log_prob(theta)", log_prob, (_PRIOR_DRAWS,))
    _expect_support(prior, theta, log_prob, "its own draws")
    u = prior.whiten(theta)
    _expect_result("prior.whiten(theta)", u, (_PRIOR_DRAWS, d))
    expect_finite("whitened draws of the prior", u, names, do="repair prior.whiten")
    back = prior.unwhiten(u)
    _expect_result("prior.unwhiten(u)", back, (_PRIOR_DRAWS, d))
    error = np.abs(back - theta) / (np.abs(theta) + theta.std(axis=0) + np.finfo(float).tiny)
    if not (error <= 1e-6).all():
        worst = names[int(error.max(axis=0).argmax())]
        got = f"{error.max():.1e} for {worst}"
        do = "make whiten and unwhiten inverses of each other"
        raise BadValue("unwhiten(whiten(theta)) within 1e-6 of theta", got, do)
    corners = np.array([*np.diag(np.full(d, 6.0)), *np.diag(np.full(d, -6.0))])
    ends = prior.unwhiten(corners)
    _expect_support(prior, ends, prior.log_prob(ends), "unwhitened points at u = +-6")
    _check_standard_normal(u, names)
    _check_density(prior, u[:20])


def _expect_support(prior: Prior, theta: Array, log_prob: Array, what: str) -> None:
    if not np.isfinite(log_prob).all():
        row = int(np.argmin(np.isfinite(log_prob)))
        got = f"{log_prob[row]} at {_show(prior.names, theta[row])}"
        do = "make the density, the draws and the map agree on the support"
        raise BadValue(f"a finite prior.log_prob at {what}", got, do)


def _check_standard_normal(u: Array, names: tuple[str, ...]) -> None:
    """Each whitened parameter is N(0, 1) and no two are correlated, by Bonferroni's bound."""
    from scipy.stats import kstest  # most of a second, so not before it is needed

    tests = len(names) * (len(names) + 1) / 2
    do = "make whiten the map from this prior to N(0, I)"
    for name, column in zip(names, u.T, strict=True):
        p = float(kstest(column, "norm").pvalue)
        if p < _FALSE_ALARM / tests:
            moments = f"mean {column.mean():.3g} and sd {column.std():.3g} for {name} (p = {p:.0e})"
            raise BadValue("whitened draws of the prior that are N(0, 1)", moments, do)
    # Fisher's transformed correlation is close to N(0, 1 / (draws - 3)).
    bound = np.tanh(-ndtri(_FALSE_ALARM / tests / 2) / np.sqrt(len(u) - 3))
    for (i, first), (j, second) in combinations(enumerate(names), 2):
        r = float(np.corrcoef(u[:, i], u[:, j])[0, 1])
        if abs(r) > bound:
            got = f"correlation {r:.2f} of {first} and {second}"
            raise BadValue("whitened draws of the prior that are uncorrelated", got, do)


def _check_density(prior: Prior, u: Array) -> None:
    """log p(theta) = log N(u) - log |det dtheta/du|, by central differences."""
    b, d = u.shape
    step = 1e-4
    shift = step * np.eye(d)[:, None]  # (d, 1, d)
    upper, lower = prior.unwhiten(u + shift), prior.unwhiten(u - shift)
    _expect_result("prior.unwhiten(u) with two leading axes", upper, (d, b, d))
    log_det = np.linalg.slogdet((upper - lower).swapaxes(0, 1) / (2 * step))[1]
    implied = -0.5 * (u**2 + np.log(2 * np.pi)).sum(axis=1) - log_det
    theta = prior.unwhiten(u)
    gap = prior.log_prob(theta) - implied
    worst = int(np.argmax(np.abs(gap)))
    if not abs(gap[worst]) < 1e-3 * d:
        got = f"{gap[worst]:+.3g} at {_show(prior.names, theta[worst])}"
        do = "normalise log_prob, or make unwhiten map N(0, I) to this prior"
        raise BadValue("prior.log_prob equal to the density that unwhiten implies", got, do)


def _check_call(model: Simulator, theta: Array, n: int, seed: int) -> None:
    """Form of the data, repeatability, and nothing touched that is not the simulator's."""
    before = theta.copy()
    with _reseeded(1):
        first = _simulate(model, theta, n, numpy_stream(seed, "check: call"))
    if not np.array_equal(theta, before):
        raise BadValue("theta left as it was", "theta changed in place", "work on a copy of theta")
    with _reseeded(1):
        again = _simulate(model, theta, n, numpy_stream(seed, "check: call"))
    with _reseeded(2):
        other = _simulate(model, theta, n, numpy_stream(seed, "check: call"))
    if not _equal(first, again):
        raise BadValue("the same data from the same rng state", "other data", _RNG_ADVICE)
    if not _equal(first, other):
        got = "data that depend on the global random state"
        raise BadValue("the same data from the same rng state", got, _RNG_ADVICE)


def _check_dependence(model: Simulator, theta: Array, n: int, seed: int) -> None:
    """The data depend on the random numbers and on the parameters.

    Coarse data may coincide by chance, hence the many tries; the first is usually the last.
    """

    def simulate(rows: Array, index: int) -> Array:
        return _simulate(model, rows, n, numpy_stream(seed, "check: data", index))

    first = simulate(theta, 0)
    if all(_equal(first, simulate(theta, index)) for index in range(1, _TRIES + 1)):
        raise BadValue("other data from another rng", "the same data", _RNG_ADVICE)
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
    at = _show(model.prior.names, theta[int(np.argmax(failed))])
    got = f"{failed.sum()} of {len(x)} datasets (n = {n}) with NaN or infinity, first at {at}"
    if failed.mean() > _LARGEST_FAILED_SHARE:
        do = "repair simulate there or narrow the prior"
        raise BadValue(f"at most {_LARGEST_FAILED_SHARE:.0%} failed simulations", got, do)
    message = f"Simulations with finite values expected; got {got}; training leaves them out."
    warnings.warn(message, UserWarning, stacklevel=3)


def _check_streams(model: Simulator, theta: Array, n: int, seed: int) -> None:
    """Datasets share no random numbers, within a batch or across batches.

    Many small batches hold replicates of the same parameters. Streams used twice give datasets that
    are equal throughout (`_expect_no_copies`). Streams used in part, for one of several sources of
    noise say, make the datasets of a batch alike (`_shared_noise`).
    """
    batch = np.repeat(theta[:_STREAM_POINTS], _REPLICATES, axis=0)
    batches = []
    for index in range(_BATCHES):
        x = _simulate(model, batch, n, numpy_stream(seed, "check: streams", index))
        batches.append(x.reshape(_STREAM_POINTS, _REPLICATES, -1, x.shape[-1]))
    x = np.stack(batches, axis=1)  # (points, batches, replicates, n, columns)
    for replicates in x:
        _expect_no_copies(replicates.reshape(_BATCHES, _REPLICATES, -1))
    names = model.data.columns
    with np.errstate(invalid="ignore", over="ignore"):  # some datasets may hold infinity
        moments = {"mean": x.mean(axis=3), **({"sd": x.std(axis=3)} if x.shape[3] > 1 else {})}
    tests = len(moments) * _STREAM_POINTS * len(names)
    for moment, values in moments.items():
        for point, column in product(range(_STREAM_POINTS), range(len(names))):
            p = _shared_noise(values[point, ..., column])
            if p < _FALSE_ALARM / tests:
                got = (
                    f"replicates in a batch with like {moment}s of {names[column]!r} (p = {p:.0e})"
                )
                raise BadValue("datasets that share no random numbers", got, _RNG_ADVICE)


def _expect_no_copies(x: Array) -> None:
    """Replicates x (batches, replicates, numbers) differ.

    Coarse data may coincide by chance, but then they do so as often across batches as within.
    """
    batches, replicates, _ = x.shape
    rows, labels = np.unique(x.reshape(batches * replicates, -1), axis=0, return_inverse=True)
    telling = within = across = 0  # pairs of equal datasets
    for group in np.flatnonzero(np.bincount(labels) > 1):
        each = (labels == group).reshape(batches, replicates).sum(axis=1)
        together = int((each * (each - 1)).sum()) // 2
        everywhere = int(each.sum() * (each.sum() - 1)) // 2
        within, across = within + together, across + everywhere - together
        if len(np.unique(rows[group][rows[group] % 1 != 0])) >= _TELLING:
            telling += everywhere
    copies = telling or (within if within >= replicates and across == 0 else 0)
    if copies:
        got = f"{copies} pairs of replicates that are equal in every number"
        raise BadValue("datasets that share no random numbers", got, _RNG_ADVICE)


def _shared_noise(values: Array) -> float:
    """P-value of the replicates of a batch being independent, for values (batches, replicates).

    Of independent values, put on a normal scale by their ranks, the mean over a batch has variance
    1 / replicates; common noise adds to it.
    """
    from scipy.stats import chi2, rankdata

    finite = np.where(np.isfinite(values), values, 0.0)
    scores = ndtri((rankdata(finite) - 0.5) / finite.size).reshape(finite.shape)
    batches, replicates = scores.shape
    return float(chi2.sf(replicates * (scores.mean(axis=1) ** 2).sum(), batches))


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
            p = float(ks_2samp(ours[np.isfinite(ours)], theirs[np.isfinite(theirs)]).pvalue)
            if p < _FALSE_ALARM / (2 * len(layout.columns)):
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
        at = _show(model.prior.names, theta[0])
        do = f"repair it, first at b = {len(theta)}, n = {n}, {at}"
        raise BadValue(f"{name} to run at draws of the prior", got, do) from error
    _expect_result(f"{name} at b = {len(theta)}, n = {n}", x, shape)
    return np.array(x, dtype=np.float64)


def _expect_result(name: str, value: Any, shape: tuple[int, ...]) -> None:
    wanted = f"{name} to return an array of shape {show_shape(shape)}"
    if not isinstance(value, np.ndarray):
        raise BadType(wanted, type(value).__name__, "return a numpy array")
    if value.dtype.kind not in "buif":
        raise BadType(wanted, f"an array of {value.dtype}", "return numbers")
    if value.shape != shape:
        raise BadValue(wanted, show_shape(value.shape), "return one row per row of theta")


@contextmanager
def _reseeded(seed: int) -> Iterator[None]:
    """Seed the global generators, refuse that they be used, and put them back."""
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        started = _global_state()
        yield
        if _global_state() != started:
            got = "a change of the global random state"
            raise BadValue("the global generators left alone", got, _RNG_ADVICE)
    finally:
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)


def _global_state() -> tuple[Any, ...]:
    name, key, *rest = np.random.get_state()  # noqa: NPY002
    return name, np.asarray(key).tolist(), rest, random.getstate()


def _show(names: tuple[str, ...], theta: Array) -> str:
    return ", ".join(f"{name} = {value:.4g}" for name, value in zip(names, theta, strict=True))
