import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch

from sbi_kit.checks import BadType, BadValue
from sbi_kit.seeds import numpy_stream, sequence, torch_seed

NAMES = [
    (1, "bank"),
    (2, "bank"),
    (1, "posterior"),
    (1, "bank", 0),
    (1, "bank", 1),
    (1, "bank", 0, 0),
]


def test_the_same_name_is_the_same_stream():
    for seed, purpose, *index in NAMES:
        a, b = (numpy_stream(seed, purpose, *index).random(50) for _ in range(2))
        assert np.array_equal(a, b)
        assert torch_seed(seed, purpose, *index) == torch_seed(seed, purpose, *index)


def test_different_names_are_independent_streams():
    streams = [
        numpy_stream(seed, purpose, *index).normal(size=4_000) for seed, purpose, *index in NAMES
    ]
    for a, b in itertools.combinations(streams, 2):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(4_000)
    assert len({torch_seed(seed, purpose, *index) for seed, purpose, *index in NAMES}) == len(NAMES)


def test_neighbouring_chunks_are_independent():
    means = [
        numpy_stream(1, "bank", first).normal(size=100).mean() for first in range(0, 100_000, 100)
    ]
    assert abs(np.std(means) * 10 - 1) < 0.1
    assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.13


def test_streams_do_not_depend_on_the_process():
    code = "from sbi_kit.seeds import *; print(sequence(3, 'bank', 7).generate_state(4).tolist())"
    other = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "5"},
    )
    assert other.stdout.strip() == str(sequence(3, "bank", 7).generate_state(4).tolist())


def test_global_generators_are_left_alone():
    numpy_state, torch_state = np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    numpy_stream(1, "bank").random(10)
    torch_seed(1, "weights")
    assert np.array_equal(np.random.get_state()[1], numpy_state[1])  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), torch_state)


def test_torch_seeds_are_what_torch_accepts():
    generator = torch.Generator()
    for seed in range(200):
        value = torch_seed(seed, "weights")
        assert 0 <= value < 2**63
        generator.manual_seed(value)


@pytest.mark.parametrize(
    ("seed", "error"), [(-1, BadValue), (1.5, BadType), (None, BadType), (True, BadType)]
)
def test_a_seed_is_a_whole_number_from_zero(seed, error):
    with pytest.raises(error, match=r"^Expected seed as an integer >= 0; got .*; .*seed.*\.$"):
        numpy_stream(seed, "bank")
