"""The command line: `sbi-kit list | new | generate | simulate | fit | sample | check | report`.

Each command calls the functions that a notebook would call, with the same seeds, so it gives the
same numbers. Heavy libraries are imported inside the commands, so that help and names are there at
once. Exit codes are those of `sbi_kit.exits`.
"""

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from sbi_kit import console, exits, options

if TYPE_CHECKING:
    from sbi_kit.loading import SavedPosterior

DEFAULT_SIMULATIONS = 200_000
DEFAULT_ROWS = 20_000
_DATASETS, _DRAWS = 500, 500  # of a calibration check
_BANK = ".bank"  # in the posterior's directory until it is done
_TABLE = 4_000  # draws behind a table of means and intervals
# Options of `fit` that belong to one kind of model alone.
_OF_SIMULATORS = (
    *("simulations", "bank", "online", "steps", "minutes", "summary", "members", "method"),
    *("quantile", "workers", "context", "skip_failures"),
)
_OF_GENERATORS = ("rows", "observed", "target", "folds")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line, by default the process's own, and exit."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(exits.run(cli, list(arguments) or ["--help"]))


@click.group(context_settings={"show_default": True, "max_content_width": 100})
@click.version_option(package_name="sbi_kit", message="sbi_kit %(version)s")
def cli() -> None:
    """Any simulator in, a calibrated posterior out.

    Exit code 0: the work was done. 2: the input was refused. 1: something failed. 130, 143: stopped
    by Ctrl-C or SIGTERM.
    """


@cli.command("list")
@click.option("--verbose", "-v", is_flag=True, help="Import each one and say what it is.")
def list_simulators(verbose: bool) -> None:
    """List the installed simulators and generators with their distributions.

    None of them is imported, unless --verbose asks for parameters, data and settings.
    """
    from importlib.metadata import entry_points

    from sbi_kit.registry import GROUP

    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    owners = [(p.name, f"{p.dist.name} {p.dist.version}" if p.dist else "") for p in points]
    if not verbose:
        console.show_table(["simulator", "distribution"], owners, numbers=False)
        return
    from sbi_kit.facts import facts_of

    for name, owner in owners:
        console.show_facts(f"{name}  ({owner})", facts_of(name))


@cli.command()
@click.argument("package")
@click.option(
    "--simulator", metavar="NAME", default="decay", help="Name of the simulator to start with."
)
@click.option("--out", type=options.FOLDER, help="Directory to write; by default PACKAGE.")
def new(package: str, simulator: str, out: Path | None) -> None:
    """Write a package for simulators of your own, ready to install.

    It holds one short simulator to replace, its test, and a README with the next three commands.
    """
    from sbi_kit.scaffold import write_package

    folder = out or Path(package)
    written = write_package(folder, package=package, simulator=simulator)
    console.say(f"{folder} has {', '.join(written)}.")
    console.say(f"Go there, and its README.md says how to install, test and train {simulator}.")


@cli.command()
@click.argument("name")
@options.number("--rows", "Rows to generate.", required=True)
@click.option("--out", metavar="FILE.csv", type=options.FILE, required=True, help="File to write.")
@options.seed
@options.settings
@click.option("--overwrite", is_flag=True, help="Replace FILE.csv if it is there.")
def generate(
    name: str, rows: int, out: Path, seed: int, settings: dict[str, Any], overwrite: bool
) -> None:
    """Generate labelled data for supervised methods.

    FILE.csv gets the features, then the targets; a missing value is an empty cell. The rows are
    those of generate(rows, numpy.random.default_rng(seed)) in Python.
    """
    import numpy as np

    from sbi_kit import stages
    from sbi_kit.files import write_whole
    from sbi_kit.registry import load_generator

    started = time.monotonic()
    stages.expect_new_file(out, overwrite=overwrite)
    model = load_generator(name, settings)
    frame = model.generate(rows, np.random.default_rng(seed))
    write_whole(out, frame.to_csv(index=False, lineterminator="\n").encode())
    took = console.seconds(time.monotonic() - started)
    counts = f"{len(model.features)} features and {', '.join(model.targets)}"
    console.say(f"{rows:,} rows of {name} ({counts}) in {out} after {took}.")


@cli.command()
@click.argument("name")
@options.number("--rows", "Simulations the bank is to have.", required=True)
@click.option("--bank", type=options.FOLDER, required=True, help="Directory of the bank.")
@options.workers
@options.seed
@options.settings
@options.simulated_context
@options.skip_failures
def simulate(
    name: str,
    rows: int,
    bank: Path,
    workers: int,
    seed: int,
    settings: dict[str, Any],
    context: dict[str, Any],
    skip_failures: bool,
) -> None:
    """Simulate a bank, or what is missing of one that is there.

    Stopped or killed at any time, the same command goes on where it was.
    """
    from sbi_kit import shards, stages
    from sbi_kit.registry import load_simulator

    started = time.monotonic()
    model = load_simulator(name, settings)
    source = stages.Source(
        model=model, workers=workers, skip_failures=skip_failures, context=context
    )
    found = source.fill(rows, seed=seed, path=bank)
    kinds = {"failed": shards.FAILED, "with NaN or inf": shards.NON_FINITE}
    counts = ", ".join(f"{(found.status == code).sum():,} {text}" for text, code in kinds.items())
    took = console.seconds(time.monotonic() - started)
    console.say(f"{len(found):,} rows of {name} ({counts}) in {bank} after {took}.")


@cli.command()
@click.argument("name")
@click.option("--out", type=options.FOLDER, required=True, help="Directory of what is fitted.")
@options.number("--simulations", f"Simulations to train on; {DEFAULT_SIMULATIONS:,} by default.")
@click.option("--bank", type=options.FOLDER, help="Bank to train on instead; it stays as it is.")
@click.option("--online", is_flag=True, help="Simulate while training, with no bank beforehand.")
@options.number("--steps", "Gradient steps at most; by default 6,000 or more, or any in --minutes.")
@options.amount("--minutes", "Minutes to train at most.")
@click.option("--summary", metavar="NAME", help="Summary network; by default what suits the data.")
@options.number("--members", "Networks to mix; by default 5 below 3,000 simulations, else 1.")
@click.option(
    "--method",
    type=click.Choice(["npe", "abc"]),
    default="npe",
    help="Train a network, or reject simulations unlike the data (ABC).",
)
@options.amount("--quantile", "With abc, the share of simulations to accept; .01 by default.")
@options.workers
@options.seed
@options.settings
@options.simulated_context
@options.skip_failures
@options.number("--rows", f"Labelled data: rows to generate; {DEFAULT_ROWS:,} by default.")
@click.option("--observed", metavar="FILE.csv", help="Labelled data: rows to learn from instead.")
@click.option("--target", metavar="NAME", help="Labelled data: column of --observed to predict.")
@options.number(
    "--folds", "Labelled data: folds to choose settings by; 0 for none.", low=0, default=5
)
@click.option("--overwrite", is_flag=True, help="Replace what is in --out.")
@click.pass_context
def fit(
    command: click.Context,
    name: str,
    out: Path,
    simulations: int | None,
    bank: Path | None,
    online: bool,
    steps: int | None,
    minutes: float | None,
    summary: str | None,
    members: int | None,
    method: str,
    quantile: float | None,
    workers: int,
    seed: int,
    settings: dict[str, Any],
    context: dict[str, Any],
    skip_failures: bool,
    rows: int | None,
    observed: str | None,
    target: str | None,
    folds: int,
    overwrite: bool,
) -> None:
    """Train a posterior and judge it by fresh simulations, or models of labelled data.

    Ends with the posterior of the packaged data, if there are any, and the calibration verdict.

    With --online, new simulations are drawn as long as training lasts, of which --minutes or
    --steps is the limit; or --simulations of them, which are then trained on again.

    Until it ends OUT/.bank holds the simulations and OUT/checkpoint.safetensors the training;
    stopped or killed at any time, the same command goes on where it was.

    If NAME is a generator of labelled data, its target and the class of the highest targets are
    learned from rows that it generates, or from those of a file. OUT gets the model, scores beside
    their baselines, figures, and report.md on what limits the task.
    """
    from sbi_kit.registry import is_generator, load_any, load_simulator

    if is_generator(load_any(name, settings)):
        _refuse(command, _OF_SIMULATORS, f"{name}, which generates labelled data")
        _fit_labelled(
            name,
            settings,
            out,
            rows=rows,
            observed=observed,
            target=target,
            folds=folds,
            seed=seed,
            overwrite=overwrite,
        )
        return
    _refuse(command, _OF_GENERATORS, f"{name}, which generates no labelled data")
    from sbi_kit import stages
    from sbi_kit.certificate import certify
    from sbi_kit.posterior_file import CHECKPOINT, expect_free

    with_bank = {"--simulations": simulations, "--context": context or None, "--online": online}
    of_networks = {
        "--online": online,
        "--steps": steps,
        "--minutes": minutes,
        "--summary": summary,
        "--members": members,
    }
    if bank is not None:
        _exclude("--bank", with_bank)
    if method == "abc":
        _exclude("--method abc", of_networks)
    elif quantile is not None:
        raise _misuse("--quantile needs --method abc")
    if online and simulations is None and steps is None and minutes is None:
        raise _misuse("--online needs --simulations, --minutes or --steps")
    if online and members is not None and members > 1:
        raise _misuse("--online and --members exclude each other")
    # A checkpoint says that this very run had begun, so what it wrote itself is no obstacle.
    replace = overwrite or (out / CHECKPOINT).exists()
    expect_free(out, overwrite=replace)
    stages.expect_summary(summary)
    model = load_simulator(name, settings)
    source = stages.Source(
        model=model, workers=workers, skip_failures=skip_failures, context=context
    )
    training = stages.Training(
        seed=seed,
        summary=summary,
        steps=steps,
        minutes=minutes,
        members=members,
        checkpoint=out / CHECKPOINT,
    )
    watch = stages.Watch()
    posterior: SavedPosterior
    if online:
        path = None if simulations is None else out / _BANK
        posterior = training.online(source, simulations, path=path)
    else:
        if bank is None:
            rows = simulations or DEFAULT_SIMULATIONS
            found = source.fill(rows, seed=seed, path=out / _BANK)
        else:
            found = stages.open_bank(bank, model)
        watch.lap("simulating")
        posterior = stages.reject(found, quantile) if method == "abc" else training.offline(found)
    posterior.save(out, overwrite=replace)
    watch.lap("training")
    verdict = stages.judge(posterior, source, datasets=_DATASETS, draws=_DRAWS, seed=seed)
    certify(out, verdict)
    table = stages.packaged_table(posterior, model, draws=_TABLE, seed=seed)
    watch.lap("checking")
    if table is not None:
        console.say(f"\nPosterior of {name} given the packaged data\n", "bold")
        console.show_summary(table)
    console.say(f"\nCalibration, by {_DATASETS} fresh simulations\n", "bold")
    console.show_verdict(verdict)
    console.say(f"\n{str(watch).capitalize()}; the posterior is in {out}.")
    (out / CHECKPOINT).unlink(missing_ok=True)
    if bank is None and (out / _BANK).exists():
        shutil.rmtree(out / _BANK)


def _refuse(command: click.Context, names: Sequence[str], whom: str) -> None:
    """Refuse options that were given and mean nothing for a model."""
    for name in names:
        if command.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} is not for {whom}", command)


def _fit_labelled(
    name: str,
    settings: dict[str, Any],
    out: Path,
    *,
    rows: int | None,
    observed: str | None,
    target: str | None,
    folds: int,
    seed: int,
    overwrite: bool,
) -> None:
    """`fit` for labelled data."""
    from sbi_kit import (
        classified,
        classified_page,
        labelled,
        labelled_page,
        labelled_rows,
        stages,
        study_folder,
    )
    from sbi_kit.registry import load_generator

    if observed is not None and rows is not None:
        raise click.UsageError("--rows and --observed exclude each other")
    if observed is None and target is not None:
        raise click.UsageError("--target needs --observed")
    study_folder.expect_free(out, overwrite=overwrite)
    model = load_generator(name, settings)
    watch = stages.Watch()
    two_classes = classified.concerns(model)
    if two_classes:
        command = click.get_current_context()
        _refuse(command, ("folds",), f"{name}, whose rows are of two classes")
    task = classified.TASK if two_classes else labelled.TASK
    if observed is None:
        usual = getattr(model, "default_rows", DEFAULT_ROWS) if two_classes else DEFAULT_ROWS
        table = labelled_rows.generated(task, name, model, rows or int(usual), seed=seed)
    else:
        table = labelled_rows.read(task, observed, target, model, seed=seed)
    if two_classes:
        learned = classified.study(table, seed=seed)
        watch.lap("training")
        classified_page.write(learned, out)
        watch.lap("writing")
        classified_page.show(learned)
    else:
        share = labelled.premium_share(model)
        findings = labelled.study(table, share=share, folds=folds, seed=seed)
        watch.lap("training")
        labelled_page.write(findings, out)
        watch.lap("writing")
        labelled_page.show(findings)
    page = study_folder.PAGE
    console.say(f"\n{str(watch).capitalize()}; {page} and the rest are in {out}.")


@cli.command()
@click.argument("folder", metavar="DIR", type=options.FOLDER)
@click.option("--observed", metavar="FILE.csv|packaged", required=True, help="The data.")
@options.number("--draws", "Draws per dataset.", default=_TABLE)
@click.option("--out", metavar="FILE.nc", type=options.FILE, required=True, help="File to write.")
@options.context("A known quantity, if the data do not hold it as a column of that name")
@options.seed
@click.option("--overwrite", is_flag=True, help="Replace FILE.nc if it is there.")
def sample(
    folder: Path,
    observed: str,
    draws: int,
    out: Path,
    context: dict[str, Any],
    seed: int,
    overwrite: bool,
) -> None:
    """Infer parameters from data with the posterior in DIR.

    FILE.csv holds one dataset, a row per observation, or a dataset per row where the simulator
    gives vectors; columns are found by name. "packaged" stands for the simulator's own data.
    FILE.nc is netCDF as ArviZ reads it.
    """
    from sbi_kit import stages
    from sbi_kit.arviz_bridge import summary_table, write_netcdf
    from sbi_kit.loading import load

    started = time.monotonic()
    stages.expect_new_file(out, overwrite=overwrite)
    posterior = load(folder)
    packaged = observed == "packaged"
    data = stages.packaged_data(posterior) if packaged else stages.read_csv(observed, posterior)
    idata = posterior.infer(data, draws=draws, seed=seed, context=context)
    write_netcdf(idata, out)
    console.show_summary(summary_table(idata, posterior.prior.names))
    console.say("")
    console.show_certificate(posterior.certificate, folder)
    took = console.seconds(time.monotonic() - started)
    console.say(f"{draws:,} draws are in {out} after {took}.")


@cli.command()
@click.argument("folder", metavar="DIR", type=options.FOLDER)
@options.number("--datasets", "Fresh simulations.", low=2, default=_DATASETS)
@options.number("--draws", "Draws for each of them.", low=2, default=_DRAWS)
@click.option("--json", "numbers", metavar="FILE", type=options.FILE, help="File for all numbers.")
@click.option("--out", metavar="FILE.nc", type=options.FILE, help="File for ranks and estimates.")
@options.workers
@options.seed
@options.skip_failures
@click.option("--overwrite", is_flag=True, help="Replace FILE.nc if it is there.")
def check(
    folder: Path,
    datasets: int,
    draws: int,
    numbers: Path | None,
    out: Path | None,
    workers: int,
    seed: int,
    skip_failures: bool,
    overwrite: bool,
) -> None:
    """Judge the posterior in DIR by simulations it was not trained on.

    The verdict is kept in DIR/certificate.json and shown whenever the posterior is used.

    The exit code is 0 whatever the verdict; the file of --json, which is replaced if it is there,
    has it as "passed". FILE.nc is netCDF as ArviZ reads it, with each of the simulations.
    """
    from sbi_kit import stages
    from sbi_kit.arviz_bridge import write_netcdf
    from sbi_kit.certificate import certify
    from sbi_kit.files import write_whole
    from sbi_kit.loading import load
    from sbi_kit.simulator import rebuild

    if numbers is not None:
        stages.expect_new_file(numbers, overwrite=True)
    if out is not None:
        stages.expect_new_file(out, overwrite=overwrite)
    posterior = load(folder)
    model = rebuild(posterior.simulator, posterior.prior)
    source = stages.Source(model=model, workers=workers, skip_failures=skip_failures)
    verdict = stages.judge(posterior, source, datasets=datasets, draws=draws, seed=seed)
    console.show_verdict(verdict)
    if out is not None:
        write_netcdf(verdict.to_arviz(), out)
    if numbers is not None:
        text = json.dumps(verdict.to_dict(), indent=1, allow_nan=False) + "\n"
        write_whole(numbers, text.encode())
    certify(folder, verdict)


@cli.command()
@click.argument("folder", metavar="DIR", type=options.FOLDER)
@click.option("--observed", metavar="FILE.csv|packaged", required=True, help="The data.")
@click.option("--out", metavar="FILE.html", type=options.FILE, required=True, help="File to write.")
@options.number("--datasets", "Fresh simulations to judge by.", low=2, default=_DATASETS)
@options.number("--draws", "Draws per observed dataset.", low=2, default=_TABLE)
@options.context("A known quantity, if the data do not hold it as a column of that name")
@options.workers
@options.seed
@options.skip_failures
@click.option("--overwrite", is_flag=True, help="Replace FILE.html if it is there.")
def report(
    folder: Path,
    observed: str,
    out: Path,
    datasets: int,
    draws: int,
    context: dict[str, Any],
    workers: int,
    seed: int,
    skip_failures: bool,
    overwrite: bool,
) -> None:
    """Write a page about the posterior of data: parameters, checks, the verdict in words first.

    FILE.html holds its figures and asks nothing of the network. Tables and verdict are those of
    sbi-kit sample and sbi-kit check with the same seed. If the simulator is not installed here,
    the page does without fresh simulations and shows the last verdict. DIR stays as it is.
    """
    from sbi_kit import stages
    from sbi_kit.loading import load

    started = time.monotonic()
    stages.expect_new_file(out, overwrite=overwrite)
    posterior = load(folder)
    packaged = observed == "packaged"
    data = stages.packaged_data(posterior) if packaged else stages.read_csv(observed, posterior)
    stages.write_report(
        posterior,
        data,
        out,
        datasets=datasets,
        draws=draws,
        check_draws=_DRAWS,
        seed=seed,
        context=context,
        workers=workers,
        skip_failures=skip_failures,
    )
    took = console.seconds(time.monotonic() - started)
    console.say(f"The report is in {out} after {took}.")


def _exclude(name: str, others: Mapping[str, object]) -> None:
    """Refuse the first of other options that is given beside this one."""
    for other, value in others.items():
        if value is not None and value is not False:
            raise _misuse(f"{other} and {name} exclude each other")


def _misuse(text: str) -> click.UsageError:
    return click.UsageError(text, click.get_current_context())
