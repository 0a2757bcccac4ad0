"""Conformance checks for plug-ins: whatever passes here works in the rest of the package.

`check_simulator` holds a forward model to the contract of `sbi_kit.contracts.Simulator`, clause by
clause, and raises one sentence at the first that is broken; `check_generator` does so with a source
of labelled data. Clauses about distributions are tests
with a false alarm below one in a million; all draws come from `seed`, so an outcome repeats.
"""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations, product
from typing import TYPE_CHECKING, Any, cast

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
from sbi_kit.contracts import Array, DataGenerator, Prior, Simulator
from sbi_kit.data import AnyLayout, Exchangeable, Matrix, Vector, read
from sbi_kit.registry import expect_generator, expect_simulator
from sbi_kit.seeds import numpy_stream

if TYPE_CHECKING:
    import pandas as pd

_FALSE_ALARM = 1e-6
_PRIOR_DRAWS = 2_000
_TRIES = 50
_LARGEST_FAILED_SHARE = 0.2
_STREAM_POINTS, _BATCHES, _REPLICATES = 2, 40, 8
_TELLING = 8  # numbers off the integers that two datasets do not have in common by chance
_COPIES = 20  # equal rows that are not yet suspect
_RNG_ADVICE = "draw every random number from the rng that is passed"


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

    batches, replicates = values.shape
    finite = np.where(np.isfinite(values), values, 0.0)
    scores = ndtri((rankdata(finite) - 0.5) / finite.size).reshape(batches, replicates)
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


def check_generator(model: DataGenerator, *, rows: int = 2_000, seed: int = 0) -> None:
    """Check that a source of labelled data keeps its contract.

    In this order: the parts `features`, `targets`, `generate` are there, as distinct names and a
    function. Then, for 1, 2 and `rows` rows: a frame with the columns features, targets in this
    order, of numbers, booleans, text or categories, of the same kinds whatever the number of rows;
    the same rng state gives the same frame, and the global generators of numpy and `random` are
    neither changed nor used. Features may be missing but not infinite, targets are neither missing
    nor constant, another rng gives another frame, and rows of one frame share no random numbers.

    Args:
        model: The generator, an instance.
        rows: Rows that are generated for the last clauses, at least 100.
        seed: Seed of everything that is drawn.

    Raises:
        BadInput: A clause is broken; as `BadType` or `BadValue`.

    >>> import pandas as pd
    >>> class Coins:
    ...     features, targets = ("weight",), ("heads",)
    ...     def generate(self, rows, rng):
    ...         weight = rng.random(rows)
    ...         return pd.DataFrame({"weight": weight, "heads": rng.random(rows) < weight})
    >>> check_generator(Coins())
    """
    largest = expect_integer("rows", rows, low=100)
    expect_generator(model)
    _check_columns(model)
    kinds = [_check_frame(model, size, seed) for size in (1, 2, largest)]
    for name, *each in zip((*model.features, *model.targets), *kinds, strict=True):
        if len(set(each)) > 1:
            got = f"{' and '.join(sorted(set(each)))} for {name!r}"
            raise BadValue("columns of the same kinds in every frame", got, "fix the dtype")
    first = _generate(model, largest, numpy_stream(seed, "check: rows", 0))
    _check_values(model, first)
    second = _generate(model, largest, numpy_stream(seed, "check: rows", 1))
    if first.equals(second):
        raise BadValue("another frame from another rng", "the same frame", _RNG_ADVICE)
    _check_copies(first, second)


def _check_columns(model: DataGenerator) -> None:
    for part in ("features", "targets"):
        names = getattr(model, part)
        fine = isinstance(names, tuple) and all(isinstance(name, str) and name for name in names)
        if not fine or not names or len(set(names)) < len(names):
            raise BadType(f"{part} as a tuple of distinct names", repr(names), "name each once")
    both = sorted(set(model.features) & set(model.targets))
    if both:
        do = "leave them out of the features"
        raise BadValue("targets that are no features", ", ".join(both), do)


def _check_frame(model: DataGenerator, rows: int, seed: int) -> tuple[str, ...]:
    """Repeatability, and nothing touched that is not the generator's; the columns' dtypes."""
    frames = []
    for hidden in (1, 1, 2):
        with _reseeded(hidden):
            frames.append(_generate(model, rows, numpy_stream(seed, "check: frame")))
    if not frames[0].equals(frames[1]):
        raise BadValue("the same frame from the same rng state", "another frame", _RNG_ADVICE)
    if not frames[0].equals(frames[2]):
        got = "a frame that depends on the global random state"
        raise BadValue("the same frame from the same rng state", got, _RNG_ADVICE)
    return tuple(map(str, frames[0].dtypes))


def _check_values(model: DataGenerator, frame: "pd.DataFrame") -> None:
    """No infinity, and targets that are there and vary."""
    numbers = frame.select_dtypes("number").to_numpy(np.float64, na_value=np.nan)
    if np.isinf(numbers).any():
        place = int(np.argmax(np.isinf(numbers).any(axis=0)))
        name = frame.select_dtypes("number").columns[place]
        raise BadValue(f"finite values of {name!r}", "infinity", "repair generate")
    for target in model.targets:
        column = frame[target]
        if column.isna().any():
            got = f"{column.isna().sum()} of {len(column)} missing"
            raise BadValue(f"a value of target {target!r} in every row", got, "repair generate")
        if column.nunique() < 2:
            got = f"{column.iloc[0]!s} in all of {len(column)} rows"
            raise BadValue(f"a target {target!r} that varies", got, "leave it out")


def _check_copies(first: "pd.DataFrame", second: "pd.DataFrame") -> None:
    """Rows of a frame share no random numbers.

    Coarse rows may coincide by chance, but then about twice as often with those of another frame.
    """
    from pandas.util import hash_pandas_object

    codes, others = (hash_pandas_object(frame, index=False).to_numpy() for frame in (first, second))
    within = len(codes) - len(np.unique(codes))
    across = int(np.isin(others, codes).sum())
    if within > _COPIES and across < within / 2:
        got = f"{within} of {len(codes)} rows that repeat another"
        raise BadValue("rows that share no random numbers", got, _RNG_ADVICE)


def _generate(model: DataGenerator, rows: int, rng: np.random.Generator) -> "pd.DataFrame":
    """A copy of what `generate` returns, if it has the right form."""
    import pandas as pd

    name = f"{type(model).__name__}.generate({rows}, rng)"
    try:
        frame = model.generate(rows, rng)
    except BadInput:
        raise
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise BadValue(f"{name} to run", got, "repair it") from error
    wanted = f"{name} to return a frame"
    if not isinstance(frame, pd.DataFrame):
        raise BadType(wanted, type(frame).__name__, "return a pandas DataFrame")
    columns = [*model.features, *model.targets]
    if list(frame.columns) != columns:
        odd = sorted(set(map(str, frame.columns)) ^ set(columns))
        got = f"{', '.join(odd)} in only one of the two" if odd else "another order"
        do = "return features, then targets"
        raise BadValue(f"{wanted} with the columns features, targets", got, do)
    if len(frame) != rows:
        raise BadValue(f"{wanted} of {rows} rows", f"{len(frame)}", "return as many as asked for")
    for column, kind in frame.dtypes.items():
        known = kind.kind in "biuf" or pd.api.types.is_string_dtype(frame[column].dropna())
        if not (known or isinstance(kind, pd.CategoricalDtype)):
            wanted = f"numbers, booleans, text or categories in {column!r} of {name}"
            raise BadType(wanted, str(kind), "convert them")
    return frame.copy()


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
