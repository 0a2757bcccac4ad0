"""Standard normal numbers for kernels that do little else than draw them.

A ziggurat of 1024 layers (Marsaglia & Tsang 2000, Journal of Statistical Software 5(8)) over
interleaved xoroshiro128++ streams (Blackman & Vigna 2021, ACM TOMS 47:36), so that vector
instructions draw several at once. The streams start from words of the generator that is passed,
and the few numbers that a layer does not settle are finished with it; there is no other source of
randomness, and no state is left behind.
"""

import math
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sbi_kit.contracts import Array

Words: TypeAlias = NDArray[np.uint64]
STREAMS = 32


def start_streams(rng: np.random.Generator) -> Words:
    """States of independent streams, shape (2, STREAMS), two words each."""
    return rng.integers(2**64, size=(2, STREAMS), dtype=np.uint64)


def _ziggurat() -> tuple[Array, Array]:
    """Edges, widest first, and heights of 1024 layers of equal area under exp(-x^2 / 2)."""
    layers, last = 1024, 4.038849846109504  # where the tail begins, so that the layers close
    tail = math.sqrt(math.pi / 2) * math.erfc(last / math.sqrt(2))
    height = math.exp(-(last**2) / 2)
    area = last * height + tail
    edges, heights = [area / height, last], [0.0, height]
    for _ in range(layers - 2):
        heights.append(heights[-1] + area / edges[-1])
        edges.append(math.sqrt(-2 * math.log(heights[-1])))
    return np.array([*edges, 0.0]), np.array([*heights, 1.0])


_EDGES, _HEIGHTS = _ziggurat()
_SCALES = _EDGES * 2.0**-55
_LAYERS = np.uint64(len(_EDGES) - 2)  # 1023, a mask of ten bits
_ONE = np.uint64(1)


@njit(cache=True, nogil=True)
def fill_normals(z: Array, words: Words, streams: Words, rng: np.random.Generator) -> None:
    """Fill z (rows * STREAMS,) with N(0, 1); `words` (rows, STREAMS) is room to work in."""
    _fill(words, streams)
    flat = words.reshape(-1)
    for i in range(z.size):
        layer = flat[i] & _LAYERS
        # The upper 56 bits, with their sign, place the point in its layer.
        value = np.float64(np.int64(flat[i]) >> 8) * _SCALES[layer]
        if not abs(value) < _EDGES[layer + _ONE]:
            value = _at_the_edge(np.int64(layer), value, rng)
        z[i] = value


@njit(cache=True, nogil=True)
def _at_the_edge(layer: np.int64, value: float, rng: np.random.Generator) -> float:
    """Finish a normal that did not fall where its layer is wholly under the density."""
    if layer == 0:  # the tail beyond the last edge
        while True:
            beyond = rng.standard_exponential() / _EDGES[1]
            if 2 * rng.standard_exponential() > beyond**2:
                return math.copysign(_EDGES[1] + beyond, value)
    low, high = _HEIGHTS[layer], _HEIGHTS[layer + 1]
    if low + rng.random() * (high - low) < math.exp(-(value**2) / 2):
        return value
    return rng.standard_normal()  # rejected: start over


@njit(cache=True, nogil=True)
def _fill(words: Words, streams: Words) -> None:
    """Fill words (rows, streams) by xoroshiro128++, one column from each stream's two words."""
    for row in range(words.shape[0]):
        for i in range(words.shape[1]):
            a, b = streams[0, i], streams[1, i]
            words[row, i] = _rotate(a + b, 17) + a
            b ^= a
            streams[0, i] = _rotate(a, 49) ^ b ^ (b << np.uint64(21))
            streams[1, i] = _rotate(b, 28)


@njit(cache=True, nogil=True)
def _rotate(word: np.uint64, bits: int) -> np.uint64:
    return (word << np.uint64(bits)) | (word >> np.uint64(64 - bits))
