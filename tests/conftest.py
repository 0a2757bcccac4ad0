"""What all tests share: one thread each, because the suite runs in several processes."""

import os

import pytest

# Before torch is imported anywhere; two processes of two threads each would be slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def threads():
    """Sets torch's threads, for a test."""
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


# What doctests are sought in is imported, and these import the packages of the extra `bench`.
collect_ignore = ["benchmarks/peers", "benchmarks/c2st.py"]
