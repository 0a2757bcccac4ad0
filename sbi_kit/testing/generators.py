"""`check_generator`: the clauses that a source of labelled data keeps."""

from typing import TYPE_CHECKING

import numpy as np

from sbi_kit.checks import BadInput, BadType, BadValue, expect_integer
from sbi_kit.contracts import DataGenerator
from sbi_kit.registry import expect_generator
from sbi_kit.seeds import numpy_stream
from sbi_kit.testing.randomness import RNG_ADVICE, reseeded

if TYPE_CHECKING:
    import pandas as pd

_COPIES = 20  # equal rows that are not yet suspect


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
        raise BadValue("another frame from another rng", "the same frame", RNG_ADVICE)
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
        with reseeded(hidden):
            frames.append(_generate(model, rows, numpy_stream(seed, "check: frame")))
    if not frames[0].equals(frames[1]):
        raise BadValue("the same frame from the same rng state", "another frame", RNG_ADVICE)
    if not frames[0].equals(frames[2]):
        got = "a frame that depends on the global random state"
        raise BadValue("the same frame from the same rng state", got, RNG_ADVICE)
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
            raise BadValue(
                f"a target {target!r} that varies", got, "check more rows, or leave it out"
            )


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
        raise BadValue("rows that share no random numbers", got, RNG_ADVICE)


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
