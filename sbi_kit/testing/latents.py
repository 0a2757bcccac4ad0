"""`check_latent`: the clauses that a latent model keeps."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sbi_kit.checks import (
    BadType,
    BadValue,
    expect_array,
    expect_finite,
    expect_integer,
    show_names,
)
from sbi_kit.contracts import Array, Latent
from sbi_kit.testing.forms import call, expect_result
from sbi_kit.testing.randomness import RNG_ADVICE, reseeded

_PARTS = ("components", "fit", "encode", "decode", "score", "sample")
_DRAWN = 64  # rows that are sampled
_FEWEST = 10  # rows to check with
# Networks compute in float32, in which sums depend on their order.
_SLACK = 1e-4


def check_latent(latent: Latent, x: ArrayLike, *, seed: int = 0) -> None:
    """Check that a latent model keeps its contract.

    In this order: the parts `components`, `fit`, `encode`, `decode`, `score`, `sample` are there,
    and `encode` is refused before `fit`. `fit` returns the model and leaves x, the global random
    state and the number of components alone, and done twice it learns the same. Codes, decoded and
    sampled rows have their shapes and are finite; a row's code does not depend on its neighbours,
    nor does a code's row, and the score is a finite mean over rows. Decoded codes come at least as
    near to the rows as the columns' means. The same seed gives the same sample, another another.
    Rows with a column more, or of infinities, are refused.

    Args:
        latent: The model, not yet fitted; afterwards it is.
        x: Rows (rows, columns) to fit it to, ten at least.
        seed: Seed of the samples.

    Raises:
        BadInput: A clause is broken; as `BadType` or `BadValue`.

    >>> from sbi_kit.latent import PCA
    >>> check_latent(PCA(components=1), np.random.default_rng(0).normal(size=(50, 3)))
    """
    seed = expect_integer("seed", seed, low=0)
    rows = expect_array("x", x, ("rows", "columns"), do="pass rows to fit the model to")
    expect_finite("x", rows, [str(i) for i in range(rows.shape[1])], do="pass complete rows")
    if len(rows) < _FEWEST:
        raise BadValue(f"x of {_FEWEST} rows at least", f"{len(rows)}", "pass more")
    absent = [part for part in _PARTS if not hasattr(latent, part)]
    if absent:
        got = f"one without {show_names(absent)}"
        raise BadType(f"a latent model with {show_names(_PARTS)}", got, "add what is missing")
    expect_integer("components", latent.components, low=1)
    _expect_refusal("encode before fit", partial(latent.encode, rows))
    _check_fit(latent, rows)
    _check_rows(latent, rows)
    _check_score(latent, rows)
    _check_sample(latent, rows.shape[1], seed)
    wider = np.column_stack([rows, rows[:, 0]])
    _expect_refusal("encode of a column more than was fitted", partial(latent.encode, wider))
    endless = np.full_like(rows[:1], np.inf)
    _expect_refusal("encode of infinities", partial(latent.encode, endless))


def _check_fit(latent: Latent, rows: Array) -> None:
    components, codes = latent.components, []
    for hidden in (1, 2):
        given = rows.copy()
        with reseeded(hidden):
            fitted = call("fit(x)", partial(latent.fit, given))
        if fitted is not latent:
            got = "None" if fitted is None else f"another {type(fitted).__name__}"
            raise BadType("fit to return the model itself", got, "return self")
        if not np.array_equal(given, rows):
            raise BadValue("fit to leave x alone", "a changed x", "work on a copy")
        codes.append(_encode(latent, rows))
    if latent.components != components:
        got = f"{components} before and {latent.components} after fit"
        raise BadValue("components as they were set", got, "leave settings alone")
    if not _alike(*codes):
        do = "begin anew in fit, and draw from a seed"
        raise BadValue("the same codes when fitted again to the same rows", "others", do)


def _check_rows(latent: Latent, rows: Array) -> None:
    """Each row for itself, and nearer than the mean."""
    codes = _encode(latent, rows)
    decoded = _decode(latent, codes, rows.shape[1])
    for name, all_, some in (
        ("encode", codes, _encode(latent, rows[1:4])),
        ("decode", decoded, _decode(latent, codes[1:4], rows.shape[1])),
    ):
        if not _alike(some, all_[1:4]):
            do = "treat each row for itself"
            raise BadValue(f"the same from {name}, whatever the other rows", "something else", do)
    error, spread = ((rows - near) ** 2 for near in (decoded, rows.mean(axis=0)))
    if error.mean() > 1.01 * spread.mean():
        got = (
            f"a mean squared distance of {error.mean():.3g}, where the mean has {spread.mean():.3g}"
        )
        raise BadValue("decoded codes as near to x as its columns' means", got, "repair decode")


def _check_score(latent: Latent, rows: Array) -> None:
    scores = []
    for part in (rows, rows[:3], rows[3:]):
        score = call("score(x)", partial(latent.score, part.copy()))
        if not isinstance(score, float):
            got = type(score).__name__
            raise BadType("score to return a float", got, "return a Python float")
        if not np.isfinite(score):
            raise BadValue("a finite score", f"{score}", "repair score")
        scores.append(score)
    mean = (3 * scores[1] + (len(rows) - 3) * scores[2]) / len(rows)
    if abs(scores[0] - mean) > _SLACK * (1 + abs(mean)):
        got = f"{scores[0]:.6g} for all and a mean of {mean:.6g} for its parts"
        raise BadValue("a score that is a mean over rows", got, "divide by their number")


def _check_sample(latent: Latent, columns: int, seed: int) -> None:
    drawn = []
    for hidden, state in ((1, seed), (2, seed), (1, seed + 1)):
        with reseeded(hidden):
            drawn.append(call("sample", partial(latent.sample, _DRAWN, seed=state)))
        expect_result(f"sample({_DRAWN}, seed={state})", drawn[-1], (_DRAWN, columns))
    if not np.isfinite(drawn[0]).all():
        raise BadValue("finite samples", "NaN or infinity", "repair sample")
    if not np.array_equal(drawn[0], drawn[1]):
        raise BadValue("the same sample from the same seed", "another", RNG_ADVICE)
    if np.array_equal(drawn[0], drawn[2]):
        raise BadValue("another sample from another seed", "the same", "use the seed")
    if len(np.unique(drawn[0], axis=0)) == 1:
        raise BadValue("sampled rows that differ", "one row again and again", RNG_ADVICE)


def _encode(latent: Latent, rows: Array) -> Array:
    codes = call("encode(x)", partial(latent.encode, rows.copy()))
    shape = len(rows), latent.components
    expect_result(f"encode of {len(rows)} rows", codes, shape)
    return expect_finite("codes", codes, [str(i) for i in range(shape[1])], do="repair encode")


def _decode(latent: Latent, codes: Array, columns: int) -> Array:
    rows = call("decode(z)", partial(latent.decode, codes.copy()))
    expect_result(f"decode of {len(codes)} codes", rows, (len(codes), columns))
    return expect_finite("decoded rows", rows, [str(i) for i in range(columns)], do="repair decode")


def _alike(one: Array, other: Array) -> bool:
    return bool(np.allclose(one, other, rtol=_SLACK, atol=_SLACK * np.abs(other).max()))


def _expect_refusal(what: str, function: Callable[[], Any]) -> None:
    try:
        function()
    except Exception:
        return
    raise BadValue(f"an error from {what}", "none", "refuse it with one sentence")
