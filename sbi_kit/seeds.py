"""One seed in, independent random streams out; the global generators are never touched.

A stream is named by its purpose and an index, so that `simulate(seed=1)` and `sample(seed=1)` share
no randomness, and the k-th chunk of a bank gets the same numbers in whichever process it is run
(numpy's `SeedSequence` with a spawn key; O'Neill 2015).
"""

import zlib

import numpy as np

from sbi_kit.checks import expect_integer


def sequence(seed: int, purpose: str, *index: int) -> np.random.SeedSequence:
    """The seed sequence of one purpose, such as `sequence(1, "bank", 4_000)`."""
    root = expect_integer("seed", seed, low=0)
    # crc32 is stable across processes and versions; Python's hash() is not.
    return np.random.SeedSequence(root, spawn_key=(zlib.crc32(purpose.encode()), *index))


def numpy_stream(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """A numpy generator for one purpose.

    >>> a, b = numpy_stream(1, "bank", 0), numpy_stream(1, "bank", 0)
    >>> bool(a.random() == b.random())
    True
    """
    return np.random.default_rng(sequence(seed, purpose, *index))


def torch_seed(seed: int, purpose: str, *index: int) -> int:
    """An integer to seed a torch generator with, for one purpose."""
    return int(sequence(seed, purpose, *index).generate_state(1, np.uint64)[0] >> 1)
