"""Who learns a posterior sooner: python -m tests.benchmarks.peers TASK [CONTESTANT ...]

sbi_kit, sbi 0.27 and BayesFlow 2 (extra `bench`) learn the posterior of the same simulations, each
in a process of its own on the same number of cores (`--threads`), each with its defaults and until
it stops by itself. They are judged by the mean −log q(θ | x) of the same 2,000 held-out rows in
natural units of θ. Printed for each: that figure; CPU seconds of the training (compilation in,
imports and judging out), and until its own curve first reached it; CPU seconds until ours did, read
off linearly between our evaluations (at the first of them, if that is good enough already); how
many times longer the peer took, in all and until then; and draws per CPU second, 200 datasets of
1,000 each, after a first call. For two parameters the integral of the density, everywhere and
within the prior, tells leakage and shows that the densities are comparable.

A result is kept in `--results` and not computed again; `--simulations` and `--epochs` are for
trying it out. With `--cpu-minutes` a peer that has not stopped by itself is stopped at the end of
the epoch in which its time is up, keeps its best weights as it would have, and says so: where peers
take hours, the race is to what they reach in that time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.peers.tasks import TASKS

OURS = "sbi_kit"
CONTESTANTS: dict[str, dict[str, Any]] = {
    OURS: {"module": "ours", "needs": ()},
    "sbi-maf": {"module": "sbi_npe", "needs": ("sbi",), "options": {"flow": "maf"}},
    "sbi-nsf": {"module": "sbi_npe", "needs": ("sbi",), "options": {"flow": "nsf"}},
    "bayesflow-torch": {"module": "bayesflow_workflow", "needs": ("bayesflow",)},
    "bayesflow-jax": {"module": "bayesflow_workflow", "needs": ("bayesflow", "jax")},
}


def environment(contestant: str, threads: int) -> dict[str, str]:
    """The variables that hold every library to that many threads."""
    libraries = ("OMP", "MKL", "OPENBLAS", "NUMBA", "VECLIB")
    limits = {f"{library}_NUM_THREADS": str(threads) for library in libraries}
    if threads == 1:
        limits["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    backend = contestant.removeprefix("bayesflow-")
    return {**os.environ, **limits, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}


def run(contestant: str, arguments: argparse.Namespace, simulations: int) -> dict[str, Any] | None:
    """The result of one contestant, kept or computed; None if it cannot run."""
    entry = CONTESTANTS[contestant]
    epochs = arguments.epochs or "own"
    options = entry.get("options", {})
    if arguments.cpu_minutes is not None and contestant != OURS:
        epochs = f"{epochs}-{arguments.cpu_minutes:g}min"
        options = {**options, "cpu_seconds": 60 * arguments.cpu_minutes}
    stem = f"{arguments.task}-{simulations}-{epochs}-{arguments.threads}-{contestant}"
    result = arguments.results / f"{stem}.json"
    if result.exists():
        return json.loads(result.read_text())
    absent = [name for name in entry["needs"] if find_spec(name) is None]
    if absent:
        print(f"{contestant}: skipped, not installed: {', '.join(absent)}", flush=True)
        return None
    job = {
        "task": arguments.task,
        "contestant": contestant,
        "module": entry["module"],
        "options": options,
        "simulations": simulations,
        "epochs": arguments.epochs,
        "threads": arguments.threads,
        "result": str(result.absolute()),
    }
    order = result.with_suffix(".job")
    order.write_text(json.dumps(job))
    cores = sorted(os.sched_getaffinity(0))[: arguments.threads]
    with result.with_suffix(".log").open("w") as log:
        command = [sys.executable, "-m", "tests.benchmarks.peers.race", str(order)]
        done = subprocess.run(
            command,
            env=environment(contestant, arguments.threads),
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
            check=False,
        )
    order.unlink()
    if done.returncode:
        print(f"{contestant}: failed, see {log.name}", flush=True)
        return None
    return json.loads(result.read_text())


def reached(result: dict[str, Any], nll: float) -> float | None:
    """CPU seconds until the held-out figure was that low, or None if it never was."""
    points = [*result["curve"], (result["seconds"], result["nll"])]
    before = None
    for seconds, value in points:
        if value <= nll:
            if before is None:
                return seconds
            share = (before[1] - nll) / (before[1] - value)
            return before[0] + share * (seconds - before[0])
        if np.isfinite(value):
            before = (seconds, value)
    return None


def show(number: float | None, form: str) -> str:
    """A number, or a dash of the same width."""
    width = int(form.lstrip(">").split(".")[0].rstrip(",f"))
    return f"{'-':>{width}}" if number is None else f"{number:{form}}"


def table(results: list[dict[str, Any]]) -> None:
    """Print one line per contestant, then the two ratios asked for."""
    if len({result["data"] for result in results}) > 1:
        raise SystemExit("The contestants saw different simulations; remove the old results.")
    ours = next((result for result in results if result["contestant"] == OURS), None)
    exact = results[0]["exact"]
    if exact is not None:
        print(f"{'exact posterior':<16}{exact:>8.3f}")
    print(
        f"{'contestant':<16}{'−log q':>8}{'CPU s':>9}{'to it':>9}{'ours':>8}{'ratio':>7}"
        f"{'to it':>7}{'draws/s':>11}{'import':>8}  integral, settings"
    )
    for result in results:
        own = reached(result, result["nll"])
        mine = reached(ours, result["nll"]) if ours else None
        in_all = result["seconds"] / mine if mine else None
        until = own / mine if mine and own else None
        whole = "" if result["mass"] is None else "{:.3f} ({:.3f} within), ".format(*result["mass"])
        print(
            f"{result['contestant']:<16}{result['nll']:>8.3f}{result['seconds']:>9.1f}"
            f"{show(own, '>9.1f')}{show(mine, '>8.1f')}{show(in_all, '>7.2f')}"
            f"{show(until, '>7.2f')}{show(result['draws_per_second'], '>11,.0f')}"
            f"{result['import_seconds']:>8.1f}  {whole}{result['settings']}"
        )
    peers = [result for result in results if result is not ours]
    if ours and peers:
        summary(ours, peers)


def summary(ours: dict[str, Any], peers: list[dict[str, Any]]) -> None:
    """Print us against the best peer and against the one that draws fastest."""
    best = min(peers, key=lambda result: result["nll"])
    mine = reached(ours, best["nll"])
    verdict = "never" if mine is None else f"after {mine:.1f} s, {mine / best['seconds']:.2f} of it"
    print(
        f"best peer: {best['contestant']}, {best['nll']:.3f} in {best['seconds']:.1f} CPU s; "
        f"ours there {verdict}, at the end {ours['nll']:.3f}"
    )
    drawn = [result for result in peers if result["draws_per_second"]]
    if drawn and ours["draws_per_second"]:
        fastest = max(drawn, key=lambda result: result["draws_per_second"])
        ratio = ours["draws_per_second"] / fastest["draws_per_second"]
        print(f"draws per CPU second: ours × {ratio:.2f} of the fastest peer, ", end="")
        print(fastest["contestant"])


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers")
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("contestants", nargs="*", metavar="CONTESTANT", help=", ".join(CONTESTANTS))
    parser.add_argument("--results", type=Path, help="directory of results; default: a new one")
    parser.add_argument("--simulations", type=int, help="default: 20,000 or 10,000 as published")
    parser.add_argument("--epochs", type=int, help="default: each contestant's own")
    parser.add_argument("--cpu-minutes", type=float, help="of a peer's training; default: no end")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    for name in set(arguments.contestants) - set(CONTESTANTS):
        parser.error(f"contestant {name!r} is none of {', '.join(CONTESTANTS)}")
    return arguments


def main() -> None:
    """Run those asked for, or all, and print the table."""
    arguments = parse()
    arguments.results = arguments.results or Path(tempfile.mkdtemp(prefix="peers-"))
    arguments.results.mkdir(parents=True, exist_ok=True)
    simulations = arguments.simulations or TASKS[arguments.task].simulations
    print(f"{arguments.task}: {simulations:,} simulations, {arguments.threads} thread(s), ", end="")
    print(f"results in {arguments.results}", flush=True)
    names = arguments.contestants or list(CONTESTANTS)
    results = [run(name, arguments, simulations) for name in names]
    found = [result for result in results if result is not None]
    if found:
        table(found)


if __name__ == "__main__":
    main()
