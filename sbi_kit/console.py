"""What the command line shows: progress, tables, warnings and the one sentence of an error.

Results go to stdout and can be piped. Everything about the way there goes to stderr: bars with rate
and time left on a terminal, a plain line now and then elsewhere.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table

from sbi_kit.digits import digits

if TYPE_CHECKING:
    import pandas as pd

    from sbi_kit.certificate import Certificate
    from sbi_kit.diagnostics.calibration import Verdict
    from sbi_kit.train import Report

Update: TypeAlias = Callable[[int, int, Sequence[str]], None]

_PLAIN = 200  # columns where there is no terminal to ask
_NOTE = 72  # columns beside a bar
_EVERY = 10.0  # seconds between two plain lines
_MOST = 30  # rows of a table
_SETTLED = 20  # steps before which a training has no pace: the first takes seconds to begin


def _console(stderr: bool) -> Console:
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal else _PLAIN
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


out, err = _console(stderr=False), _console(stderr=True)


def say(text: str, style: str = "") -> None:
    """A line of the result."""
    out.print(text, style=style, soft_wrap=not out.is_terminal)


def remark(text: str, style: str = "") -> None:
    """A line beside the result, on stderr: an error, a warning, progress."""
    err.print(" ".join(text.split()), style=style, soft_wrap=not err.is_terminal)


def show_warnings() -> Callable[..., None]:
    """A replacement of `warnings.showwarning`: each message once, as a yellow sentence."""
    shown = set()

    def show(message: Warning | str, category: type[Warning], *_: Any) -> None:
        text = str(message) if category is UserWarning else f"{category.__name__}: {message}"
        if text not in shown:
            shown.add(text)
            remark(text, "yellow")

    return show


def seconds(value: float, digits: int = 1) -> str:
    """A time as people write it, below a minute with so many digits.

    >>> seconds(2.345), seconds(65.2), seconds(4000)
    ('2.3 s', '1:05 min', '1:06:40 h')
    """
    if value < 59.95:
        return f"{value:.{digits}f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


@contextmanager
def progress(label: str) -> Iterator[Update]:
    """Show how far a stage is; the block calls `update(done, total, parts)`."""
    with (_bar if err.is_interactive else _lines)(label) as update:
        yield update


@contextmanager
def at_work(label: str, words: str) -> Iterator[None]:
    """Show what a stage is at that does not say how far it is."""
    with progress(label) as update:
        update(0, 1, [words])
        yield
        update(1, 1, [words])


@contextmanager
def _bar(label: str) -> Iterator[Update]:
    note = TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True))
    bar = BarColumn(bar_width=max(8, min(30, err.width - _NOTE)))
    with Progress(TextColumn("{task.description}"), bar, note, console=err) as shown:
        task = shown.add_task(f"{label:<10}", total=None, note="")

        def update(done: int, total: int, parts: Sequence[str]) -> None:
            shown.update(task, completed=done, total=total, note="  ".join(parts))

        yield update


@contextmanager
def _lines(label: str) -> Iterator[Update]:
    latest, shown, due = "", "", time.monotonic() + _EVERY

    def update(_done: int, _total: int, parts: Sequence[str]) -> None:
        nonlocal latest, shown, due
        latest = f"{label}: {', '.join(parts)}"
        if time.monotonic() >= due:
            shown, due = latest, time.monotonic() + _EVERY
            remark(shown)

    yield update
    if latest != shown:
        remark(latest)


@contextmanager
def rows_progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Progress of a simulation, as `simulate` reports it."""
    first, started = -1, 0.0
    with progress(label) as update:

        def report(done: int, total: int) -> None:
            nonlocal first, started
            if first < 0:
                first, started = done, time.monotonic()
            rate = (done - first) / max(1e-9, time.monotonic() - started)
            left = (total - done) / max(1e-9, rate)
            update(done, total, [f"{done:,}/{total:,} rows", *_pace(rate, left)])

        yield report


@contextmanager
def training_progress(label: str) -> Iterator[Callable[["Report"], None]]:
    """Progress of a training, as `fit` reports it."""
    with progress(label) as update:

        def report(now: "Report") -> None:
            which = [f"member {now.member + 1}/{now.members}"] if now.members > 1 else []
            losses = [f"loss {now.loss:.3f}", f"validation {now.validation:.3f}"]
            known = losses[: 1 if math.isnan(now.validation) else 2]
            pace = _pace(now.rate, now.seconds_left) if now.step >= _SETTLED else []
            steps = f"{now.step:,}/{now.steps:,}"
            update(now.step, now.steps, [*which, steps, *known, *pace])

        yield report


def _pace(rate: float, left: float) -> list[str]:
    """Rate and time left, as far as there are any."""
    if rate <= 0:
        return []
    speed = f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"
    return [speed, f"{seconds(math.ceil(left), 0)} left"] if left > 0 else [speed]


def show_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: bool) -> None:
    """A table; all columns but the first are right-aligned if they hold numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if numbers and i else "left", no_wrap=numbers)
    for row in rows:
        table.add_row(*row)
    _print(table)


def show_facts(title: str, facts: Mapping[str, str]) -> None:
    """A title and what there is to say about it, aligned."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, fact in facts.items():
        grid.add_row(f"  {name}", fact)
    out.print(title, style="bold")
    _print(grid)


def _print(table: Table) -> None:
    """Print a table without the blanks that pad its lines."""
    with out.capture() as captured:
        out.print(table)
    for line in captured.get().splitlines():
        out.file.write(f"{line.rstrip()}\n")


def show_summary(table: "pd.DataFrame") -> None:
    """The posterior's mean, sd and interval, each row in the digits that its sd makes sensible."""
    rows = []
    for name, values in zip(map(str, table.index), table.to_numpy(), strict=True):
        written = digits(float(values[1]), float(abs(values).max()))
        rows.append([name, *(written(float(value)) for value in values)])
    show_table(["parameter", *table.columns], rows[:_MOST], numbers=True)
    if len(rows) > _MOST:
        say(f"and {len(rows) - _MOST:,} rows more")


def show_verdict(verdict: "Verdict") -> None:
    """The verdict as it prints itself, its sentence coloured."""
    header, *lines, sentence = str(verdict).split("\n")
    say(header, "bold")
    for line in lines:
        say(line)
    say(sentence, _colour(verdict))


def show_certificate(certificate: "Certificate | None", folder: Path) -> None:
    """What a calibration check of a posterior found, if there was one, in colour."""
    from sbi_kit.certificate import UNCHECKED

    line = str(certificate or UNCHECKED.replace("DIR", str(folder)))
    say(line, _colour(certificate) if certificate else "yellow")


def _colour(finding: "Certificate | Verdict") -> str:
    fine = finding.passed and finding.enough
    return "green" if fine else "yellow" if finding.passed else "red"
