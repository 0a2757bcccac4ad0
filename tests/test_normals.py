"""The fast normal numbers: their layers, distribution, independence and words."""

import math

import numpy as np
from scipy.stats import binom, chisquare, kstest, norm, truncnorm

from simulators import normals as module

LEVEL = 1e-5


def normals(seed, size):
    rng = np.random.default_rng(seed)
    streams = module.start_streams(rng)
    words = np.empty((size // 32, 32), dtype=np.uint64)
    z = np.empty(words.size)
    module.fill_normals(z, words, streams, rng)
    return z


def test_layers_of_the_ziggurat_have_equal_areas_and_close():
    edges, heights = module._EDGES, module._HEIGHTS
    tail = math.sqrt(2 * math.pi) * norm.sf(edges[1])
    areas = edges[1:-1] * np.diff(heights)[1:]
    np.testing.assert_allclose(areas, edges[1] * heights[1] + tail, rtol=1e-9)
    np.testing.assert_allclose(edges[0] * heights[1], edges[1] * heights[1] + tail, rtol=1e-12)
    np.testing.assert_allclose(heights[1:], np.exp(-(edges[1:] ** 2) / 2), rtol=1e-12)
    assert (len(edges), edges[-1], heights[-1]) == (1025, 0.0, 1.0)


def test_normals_are_normal():
    z = normals(1, 1_600_000)
    assert kstest(z, "norm").pvalue > LEVEL
    assert kstest(np.abs(z), "halfnorm").pvalue > LEVEL
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10_170)]:
        assert abs(np.mean(z**power) - moment) < 4.5 * math.sqrt(variance / len(z))
    for edge in (2.0, 3.0, 4.0):
        for side in (z, -z):
            assert LEVEL < binom.cdf((side > edge).sum(), len(z), norm.sf(edge)) < 1 - LEVEL
    counts = np.histogram(z, norm.ppf(np.linspace(0, 1, 4_001)))[0]
    assert chisquare(counts).pvalue > LEVEL


def test_normals_are_independent_within_and_across_streams():
    z = normals(2, 1_600_000)
    for lag in (1, 2, 3, 31, 32, 33, 64, 192):
        for f in (np.asarray, np.square):
            assert abs(np.corrcoef(f(z[lag:]), f(z[:-lag]))[0, 1]) < 4.5 / math.sqrt(len(z))
    assert abs(np.corrcoef(z.reshape(-1, 32).T) - np.eye(32)).max() < 5 / math.sqrt(len(z) / 32)


def test_tail_of_the_normal_is_its_own():
    rng = np.random.default_rng(3)
    last = module._EDGES[1]
    tail = np.array([module._at_the_edge(0, sign * 4.0, rng) for sign in (1, -1) * 10_000])
    assert (np.sign(tail[::2]) == 1).all()
    assert (np.sign(tail[1::2]) == -1).all()
    assert kstest(np.abs(tail), truncnorm(last, np.inf).cdf).pvalue > LEVEL


def test_words_are_xoroshiro128():
    streams = np.random.default_rng(4).integers(2**64, size=(2, 5), dtype=np.uint64)
    expected = []
    for s0, s1 in streams.T.tolist():
        column = []
        for _ in range(40):

            def rotate(word, bits):
                return (word << bits | word >> (64 - bits)) % 2**64

            column.append((rotate((s0 + s1) % 2**64, 17) + s0) % 2**64)
            s1 ^= s0
            s0, s1 = rotate(s0, 49) ^ s1 ^ (s1 << 21) % 2**64, rotate(s1, 28)
        expected.append(column)
    words = np.empty((40, 5), dtype=np.uint64)
    module._fill(words[:13], streams)
    module._fill(words[13:], streams)
    assert words.T.tolist() == expected
