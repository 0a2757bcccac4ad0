"""How fast simulators run: python -m tests.benchmarks.speed [NAME ...]

Draws of the prior on one core, in units a second: our compiled kernel, a vectorised numpy
implementation and a plain Python loop (those that the tests compare with), `ssm-simulators` where
it has the model (extra `bench`), and the target. The bound is the time that numpy's Generator alone
takes for the random numbers that the same simulations consume; a share above 1 says that random
numbers are drawn faster inside the kernel. "first" is the first call in a fresh process with an
empty cache, which compiles; "again" the first call in the next process. At last, one worker against
two. Run it while nothing else runs.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise

import numpy as np

import sbi_kit as sk

BLOCK = 50_000  # numbers that numpy draws at a time, as many as stay in the cache
FIRST_CALL = """
import sys, time
import numpy as np
import sbi_kit as sk
model = sk.load_simulator(sys.argv[1])
theta = model.prior.sample(1, np.random.default_rng(0))
start = time.perf_counter()
model.simulate(theta, np.random.default_rng(1), int(sys.argv[2]))
print(time.perf_counter() - start)
"""


@dataclass(frozen=True)
class Case:
    """One line of the table; `units` are those in a dataset of n observations."""

    unit: str
    n: int
    units: int
    target: int
    datasets: tuple[int, int, int]  # for the kernel, numpy, the loop
    bound: str
    draw: Callable[[np.ndarray, np.ndarray, np.random.Generator], None]
    oracle: str
    peer: Callable[[np.ndarray, int], None] | None = None


def in_blocks(draw: Callable[..., object], *arguments: np.ndarray) -> None:
    """Call a method of a Generator for arrays of any size, block by block."""
    flat = [np.ravel(argument) for argument in arguments]
    for start, stop in pairwise([*range(0, len(flat[0]), BLOCK), len(flat[0])]):
        draw(*(argument[start:stop] for argument in flat))


def count(draw: Callable[..., object], size: int) -> None:
    """Draw that many numbers, block by block."""
    for start in range(0, size, BLOCK):
        draw(min(BLOCK, size - start))


def steps(theta: np.ndarray, x: np.ndarray, t_0: int) -> int:
    """Steps of 1 ms behind response times x, theta[:, t_0] being the non-decision times."""
    return round((np.abs(x) - theta[:, t_0, None, None]).sum() / 0.001)


def draw_ddm(theta, x, rng):
    count(rng.standard_normal, steps(theta, x, 3))


def draw_levy(theta, x, rng):
    count(rng.random, steps(theta, x, 4))
    count(rng.standard_exponential, steps(theta, x, 4))


def draw_lca(theta, x, rng):
    times = x[..., :1] - theta[:, T_0_OF_LCA, None, None] * (x[..., 1:4].sum(-1, keepdims=True) > 0)
    count(rng.standard_normal, 3 * round(times.sum() / 0.001))


def draw_sir(theta, x, rng):
    people = np.rint(x * 1_000).astype(np.int64)
    susceptible, infected = people[:, :-1, 0], people[:, :-1, 1]
    infection = -np.expm1(-theta[:, :1] * (infected + 0.5) / 1_000 * 0.1)
    recovery = np.broadcast_to(-np.expm1(-theta[:, 1:] * 0.1), infected.shape)
    in_blocks(rng.binomial, susceptible, infection)
    in_blocks(rng.binomial, infected, recovery)


def draw_ricker(theta, x, rng):
    in_blocks(rng.poisson, x)  # means like the counts
    count(rng.standard_normal, x.size)


def draw_splat(theta, x, rng):
    in_blocks(rng.standard_gamma, np.broadcast_to(theta[:, 7, None, None] ** -2, x.shape))
    in_blocks(rng.poisson, x)


def draw_coalescent(theta, x, rng):
    chromosomes, loci = x.shape[1:]
    trees = len(x) * loci
    count(rng.standard_exponential, (chromosomes - 1) * trees)
    branches = 2 * chromosomes - 2
    length = 2 * (1 / np.arange(1, chromosomes)).sum() / branches
    steps_up = np.repeat(theta[:, 0] / 4 * length, loci * branches)
    for _ in range(2):
        in_blocks(rng.poisson, steps_up)


def peer(name: str, columns: Callable[[np.ndarray], np.ndarray]) -> Callable[..., None]:
    """The model of that name in ssm-simulators, its parameters made from ours."""

    def run(theta: np.ndarray, n: int) -> None:
        from ssms.basic_simulators.simulator import simulator

        settings = {"delta_t": 0.001, "max_t": 5.0, "smooth_unif": False, "n_threads": 1}
        simulator(columns(theta), model=name, n_samples=n, random_state=1, **settings)

    return run


# Their bounds are at -a and a, and ours at 0 and a.
ddm_peer = peer("ddm", lambda t: np.c_[t[:, 0], t[:, 2] / 2, t[:, 1], t[:, 3]])
levy_peer = peer("levy", lambda t: np.c_[t[:, 0], t[:, 3] / 2, t[:, 2], t[:, 5], t[:, 4]])
lca_peer = peer(
    "lca_no_bias_3",
    lambda t: np.c_[t[:, :3], t[:, 6], np.zeros(len(t)), t[:, 8], t[:, 9], t[:, 7]],
)
T_0_OF_LCA = 7

CASES = {
    "ddm": Case(
        "trials", 500, 500, 300_000, (1_000, 40, 2), "normals", draw_ddm, "levy", ddm_peer
    ),
    "levy": Case(
        "trials", 500, 1_000, 15_000, (100, 10, 1),
        "uniforms, exponentials; 4 transcendentals a step", draw_levy, "levy", levy_peer,
    ),
    "lca": Case(
        "trials", 250, 250, 180_000, (800, 40, 2), "normals", draw_lca, "lca", lca_peer
    ),
    "sir": Case("series of 500", 500, 1, 25_000, (30_000, 2_000, 5), "binomials", draw_sir, "sir"),
    "ricker": Case(
        "series of 500", 500, 1, 15_000, (20_000, 2_000, 20), "Poissons, normals", draw_ricker,
        "ricker",
    ),
    "splat": Case(
        "matrices 100 x 40", 40, 1, 1_000, (2_000, 200, 2), "gammas, Poissons", draw_splat, "splat"
    ),
    "coalescent": Case(
        "samples 20 x 8", 20, 1, 20_000, (30_000, 1_000, 20), "exponentials, Poissons",
        draw_coalescent, "coalescent",
    ),
}  # fmt: skip


def best(run: Callable[[], object], repeats: int = 3) -> float:
    """Wall-clock seconds of the fastest of a few runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def first_calls(name: str, n: int) -> tuple[float, float]:
    """Seconds of the first call in a fresh process, with an empty cache and with a full one."""
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-c", FIRST_CALL, name, str(n)]
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        calls = [
            float(subprocess.run(command, env=environment, check=True, stdout=-1).stdout)
            for _ in range(2)
        ]
    return calls[0], calls[1]


def report(name: str, case: Case) -> None:
    """Print the line of a simulator."""
    model = sk.load_simulator(name)
    oracle = import_module(f"tests.oracles.{case.oracle}")
    rng = np.random.default_rng(1)
    theta = model.prior.sample(max(case.datasets), rng)
    ours, numpys, loops = (theta[:b] for b in case.datasets)
    x = model.simulate(ours, rng, case.n)
    seconds = {
        "ours": best(lambda: model.simulate(ours, rng, case.n)) / len(ours),
        "numpy": best(lambda: oracle.vectorised(numpys, rng, case.n), 1) / len(numpys),
        "loop": best(lambda: [oracle.loop(row, rng, case.n) for row in loops], 1) / len(loops),
        "bound": best(lambda: case.draw(ours, x, rng)) / len(ours),
    }
    if case.peer is not None:
        peers = theta[: max(20, case.datasets[1])]
        case.peer(peers[:1], 10)
        seconds["ssm"] = best(lambda: case.peer(peers, case.units), 1) / len(peers)
    rate = {key: case.units / value for key, value in seconds.items()}
    first, again = first_calls(name, case.n)
    other = f"{rate['ssm']:>10,.0f}" if "ssm" in rate else " " * 9 + "-"
    print(
        f"{name:<11}{case.unit:<18}{rate['ours']:>10,.0f}{case.target:>9,}{rate['numpy']:>9,.0f}"
        f"{rate['loop']:>8,.0f}{other}{rate['ours'] / rate['bound']:>8.2f}  {first:>5.1f} s"
        f"{again:>6.2f} s  {case.bound}",
        flush=True,
    )


def two_workers(name: str = "ddm", rows: int = 30_000) -> None:
    """Print how much faster two processes fill a bank than one."""
    model, times = sk.load_simulator(name), []
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            run = lambda: sk.simulate(  # noqa: E731
                model,
                rows,
                seed=1,
                path=f"{folder}/bank",
                workers=workers,  # noqa: B023
            )
            times.append(best(run, 1))
    print(
        f"\n{name}, {rows:,} datasets: one worker {times[0]:.1f} s, two {times[1]:.1f} s, ", end=""
    )
    print(f"{times[0] / times[1]:.2f} times as fast")


def main() -> None:
    """Print the table."""
    print(
        f"{'':29}{'ours/s':>10}{'target':>9}{'numpy':>9}{'loop':>8}{'ssm':>10}{'/bound':>8}", end=""
    )
    print("    first   again  bound by")
    names = sys.argv[1:]
    for name in names or CASES:
        report(name, CASES[name])
    if not names:
        two_workers()


if __name__ == "__main__":
    main()
