"""The stages that commands are made of: find the simulator, simulate, train, infer, judge, report.

Each shows its progress and calls one function of the package. A posterior is judged by simulations
whose seed is made from the command's for that purpose alone, so they are never those of a bank.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbi_kit import console
from sbi_kit.bank import Bank
from sbi_kit.checks import BadValue, expect_name
from sbi_kit.contracts import Simulator
from sbi_kit.seeds import torch_seed
from sbi_kit.simulation import simulate
from sbi_kit.simulator import describe, find_model, rebuild

if TYPE_CHECKING:
    import pandas as pd

    from sbi_kit.diagnostics.calibration import Verdict
    from sbi_kit.loading import SavedPosterior
    from sbi_kit.neural import NeuralPosterior
    from sbi_kit.rejection import RejectionABC


class Watch:
    """Time spent in each stage; `str` of it is a list of them."""

    def __init__(self) -> None:
        self.laps: list[str] = []
        self.since = time.monotonic()

    def lap(self, name: str) -> None:
        """Note the time since the last lap under a name."""
        now = time.monotonic()
        self.laps.append(f"{name} {console.seconds(now - self.since)}")
        self.since = now

    def __str__(self) -> str:
        return ", ".join(self.laps)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A simulator, and how to run it, with the context that all its datasets share."""

    model: Simulator
    workers: int
    skip_failures: bool
    context: Mapping[str, float] = field(default_factory=dict)

    def fill(self, rows: int, *, seed: int, path: Path | None, label: str = "simulating") -> Bank:
        """Simulate what is missing of a bank, on disk or in memory."""
        with console.rows_progress(label) as report:
            return simulate(
                self.model,
                rows,
                seed=seed,
                path=path,
                workers=self.workers,
                skip_failures=self.skip_failures,
                context=self.context,
                progress=report,
            )


def open_bank(path: Path, model: Simulator) -> Bank:
    """A bank on disk.

    Raises:
        BadValue: There is none, or it is of another simulator, settings or prior.
    """
    bank, wanted = Bank.open(path), describe(model)
    if bank.simulator != wanted or bank.prior != model.prior:
        other = _show(bank.simulator) if bank.simulator != wanted else "the same and another prior"
        raise BadValue(
            f"a bank of {_show(wanted)}",
            f"{path} of {other}",
            "choose another bank, or pass the settings it was simulated with as --set KEY=VALUE",
        )
    bank.model = model
    return bank


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train a posterior, from the checkpoint if there is one."""

    seed: int
    summary: str | None
    steps: int | None
    minutes: float | None
    members: int | None
    checkpoint: Path

    @property
    def seconds(self) -> float | None:
        return None if self.minutes is None else 60 * self.minutes

    def offline(self, bank: Bank) -> "NeuralPosterior":
        """Fit a posterior to a bank."""
        from sbi_kit.fitting import fit

        with console.training_progress("training") as report:
            return fit(
                bank,
                seed=self.seed,
                summary=self.summary,
                steps=self.steps,
                seconds=self.seconds,
                members=self.members,
                checkpoint=self.checkpoint,
                progress=report,
            )

    def online(
        self, source: Source, simulations: int | None, *, path: Path | None
    ) -> "NeuralPosterior":
        """Fit a posterior to simulations that are drawn meanwhile."""
        from sbi_kit.online import fit_online

        with console.training_progress("training") as report:
            return fit_online(
                source.model,
                seed=self.seed,
                simulations=simulations,
                steps=self.steps,
                seconds=self.seconds,
                workers=source.workers,
                path=path,
                context=source.context,
                skip_failures=source.skip_failures,
                summary=self.summary,
                checkpoint=self.checkpoint,
                progress=report,
            )


def reject(bank: Bank, quantile: float | None) -> "RejectionABC":
    """Make a posterior of the simulations in a bank by rejection."""
    from sbi_kit.rejection import fit_abc

    return fit_abc(bank, quantile=quantile)


def judge(
    posterior: "SavedPosterior", source: Source, *, datasets: int, draws: int, seed: int
) -> "Verdict":
    """The verdict of fresh simulations, which share the context that the training shared."""
    from sbi_kit.diagnostics.calibration import calibrate

    known = posterior.history.get("context", {})
    shared = {name: low for name, (low, high) in known.items() if low == high}
    source = replace(source, context=shared)
    fresh = source.fill(datasets, seed=torch_seed(seed, "check"), path=None, label="checking")
    with console.at_work("judging", "draws, ranks and coverage"):
        return calibrate(posterior, fresh, draws=draws, seed=seed)


def write_report(
    posterior: "SavedPosterior",
    data: Any,
    out: Path,
    *,
    datasets: int,
    draws: int,
    check_draws: int,
    seed: int,
    context: Mapping[str, Any],
    workers: int,
    skip_failures: bool,
) -> None:
    """Judge a posterior, if its simulator is installed, and write the page about observed data."""
    from sbi_kit.data import read
    from sbi_kit.reporting import report

    read(data, posterior.data, context)  # refused before any work is done for it
    model, reason = find_model(posterior)
    verdict = None
    if model is None:
        console.remark(reason, "yellow")
    else:
        source = Source(model=model, workers=workers, skip_failures=skip_failures)
        verdict = judge(posterior, source, datasets=datasets, draws=check_draws, seed=seed)
    with console.progress("writing") as update:
        report(
            posterior,
            data,
            out,
            verdict=verdict,
            draws=draws,
            seed=seed,
            model=model,
            context=context,
            overwrite=True,
            progress=lambda done, total: update(done, total, [f"{done}/{total} sections"]),
        )


def packaged_table(
    posterior: "SavedPosterior", model: Simulator, *, draws: int, seed: int
) -> "pd.DataFrame | None":
    """Means, sds and intervals given the data that come with the simulator, if there are any."""
    from sbi_kit.arviz_bridge import summary_table

    observed = getattr(model, "observed", None)
    if observed is None:
        return None
    idata = posterior.infer(observed, draws=draws, seed=seed, predictive=0)
    return summary_table(idata, posterior.prior.names)


def packaged_data(posterior: "SavedPosterior") -> Any:
    """The data that come with a posterior's simulator.

    Raises:
        BadValue: There are none.
    """
    observed = getattr(rebuild(posterior.simulator, posterior.prior), "observed", None)
    if observed is None:
        name = posterior.simulator["name"]
        raise BadValue(f"data packaged with {name!r}", "none", "pass a CSV file as --observed")
    return observed


def read_csv(path: str, posterior: "SavedPosterior") -> Any:
    """A CSV file as a pandas frame.

    Raises:
        BadValue: It cannot be read.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadValue(
            f"'packaged' or a CSV file with the columns {', '.join(posterior.data.columns)}",
            f"{path}, which cannot be read ({' '.join(str(reason).split())})",
            "check the path and the file",
        ) from error
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas would take the first values of each row for its name and shift the others.
        more = frame.index.nlevels + len(frame.columns)
        got = f"{more} values under {len(frame.columns)} names in {path}"
        raise BadValue("a CSV file with a name for every column", got, "name every column")
    return frame


def expect_summary(name: str | None) -> None:
    """Refuse a summary network that does not exist before anything is simulated for it.

    Raises:
        UnknownName: It does not exist.
    """
    from sbi_kit.summary import SUMMARIES

    if name is not None:
        expect_name("summary network", name, SUMMARIES)


def expect_new_file(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that exists, or has no directory to be in, before any work is done for it.

    Raises:
        BadValue: Either is so.
    """
    if path.exists() and not overwrite:
        raise BadValue("a new file", f"{path}, which exists", "choose another, or pass --overwrite")
    if not path.parent.is_dir():
        got = f"no directory {path.parent}"
        raise BadValue(f"a directory for {path.name}", got, "create it first")


def _show(simulator: dict[str, Any]) -> str:
    return f"{simulator['name']!r} with settings {json.dumps(simulator['settings'])}"
