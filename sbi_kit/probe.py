"""Does a simulator draw its randomness from the generator it is given?

One that ignores it, or a process pool that copies it, gives equal data where they must differ, and
a posterior trained on them is too narrow without any other sign. So the simulator is called before
the first row with the same parameters and two random streams, which also shows a wrong shape at
the door; and datasets of different parameters are compared afterwards, by a digest each.
"""

import warnings

import numpy as np
from numpy.typing import NDArray

from sbi_kit.bank import Bank
from sbi_kit.chunks import Job, call, draw_theta, expect_output
from sbi_kit.data import unusable
from sbi_kit.seeds import numpy_stream
from sbi_kit.simulator import describe

_PROBES = 4
_GROUPS = 64  # of equal datasets, looked at before none is suspected
_REPEATS = 4  # times that each value stands in a dataset that may coincide with another by chance


def probe(job: Job) -> None:
    """Call the simulator at two parameters with two random streams.

    Raises:
        BadType, BadValue: Prior or simulator return something other than declared.

    Warns:
        UserWarning: The random streams make no difference.
    """
    n = job.model.data.n_range[0]
    for index in range(_PROBES):
        start = numpy_stream(job.seed, "probe", index)
        theta = draw_theta(job.model.prior, 2, start)
        context = job.context.draw(2, start)
        results = []
        for repeat in range(2):
            rng = numpy_stream(job.seed, "probe", index, 1 + repeat)
            try:
                output = call(job.model, theta, rng, n, context)
            except Exception:
                return  # its chunk will meet it, and say at which parameters
            results.append(expect_output(job.model, output, 2, n).copy())
        differ = not np.array_equal(results[0], results[1], equal_nan=True)
        if differ or unusable(np.stack(results), job.model.data).any():
            return
        if (np.isfinite(results[0]) & (results[0] != np.rint(results[0]))).any():
            break  # integers may coincide by chance and get further trials
    warnings.warn(
        f"Simulator {describe(job.model)['name']!r} gives the same data for different random "
        "streams; draw all its randomness from rng, or the posterior will be too narrow.",
        UserWarning,
        stacklevel=3,
    )


def warn_of_copies(bank: Bank, digests: NDArray[np.uint64], first: int) -> None:
    """Warn if datasets of different parameters are equal, as from copied random streams.

    Args:
        bank: The bank.
        digests: 64 bits of each dataset from row `first` on; 0 where equality would prove nothing.
        first: The first row that was simulated now.

    Warns:
        UserWarning: Some are equal; how many, and which rows.
    """
    values, where, counts = np.unique(digests, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero((counts > 1) & (values != 0))
    groups = [first + np.flatnonzero(where == group) for group in repeated[:_GROUPS]]
    for group in groups:
        theta = bank.theta[group]
        if (theta != theta[0]).any() and _is_telling(bank, int(group[0])):
            warnings.warn(
                f"{int(counts[repeated].sum())} of {len(digests)} datasets of "
                f"{bank.simulator['name']!r} equal another although their parameters differ (rows "
                f"{', '.join(map(str, group[:3]))}, ...); its random streams seem to be copied, so "
                "draw all randomness from rng.",
                UserWarning,
                stacklevel=3,
            )
            return


def _is_telling(bank: Bank, row: int) -> bool:
    """Whether a dataset has too many values to equal another by chance.

    Shares of a population in which little happens are few numbers, over and over.
    """
    values, _ = bank.flat([row])
    broken = values[np.isfinite(values) & (values != np.rint(values))]
    return _REPEATS * len(np.unique(broken)) > len(broken)
