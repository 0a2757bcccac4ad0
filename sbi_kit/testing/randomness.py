"""What every check of randomness shares: the global generators are watched, and put back."""

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sbi_kit.checks import BadValue
from sbi_kit.contracts import Array

FALSE_ALARM = 1e-6
RNG_ADVICE = "draw every random number from the rng that is passed"


def moments(x: Array, axis: int) -> dict[str, Array]:
    """Mean and sd over an axis, of what is not missing; not finite where there is nothing."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # all of a dataset may be missing
        return {"mean": np.nanmean(x, axis=axis), "sd": np.nanstd(x, axis=axis)}


@contextmanager
def reseeded(seed: int) -> Iterator[None]:
    """Seed the global generators, refuse that they be used, and put them back."""
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        started = _global_state()
        yield
        if _global_state() != started:
            got = "a change of the global random state"
            raise BadValue("the global generators left alone", got, RNG_ADVICE)
    finally:
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)


def _global_state() -> tuple[Any, ...]:
    name, key, *rest = np.random.get_state()  # noqa: NPY002
    return name, np.asarray(key).tolist(), rest, random.getstate()
