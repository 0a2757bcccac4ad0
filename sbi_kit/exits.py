"""How a command line ends: an exit code, and one sentence for whatever went wrong.

0 the work was done; 2 the input was refused; 1 something failed that explains itself; 128 plus the
signal's number it was asked to stop. Anything else is a defect: its traceback is shown, and Python
exits with 1.
"""

import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click

from sbi_kit import console


class Stopped(BaseException):
    """The process was asked to stop; holds the signal's number."""


def run(command: click.Command, arguments: list[str]) -> int:
    """The exit code of a command line; warnings and errors are said on stderr."""
    try:
        with _signals(), warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = console.show_warnings()
            command.main(arguments, "sbi-kit", standalone_mode=False)
    except Stopped as stop:
        name = signal.Signals(stop.args[0]).name
        advice = "what is on disk is whole, and the same command goes on from there"
        console.remark(f"Stopped by {name}; {advice}.", "yellow")
        return 128 + int(stop.args[0])
    except click.ClickException as error:
        console.remark(_usage(error), "red")
        return 2
    except Exception as error:
        code = _code(error)
        if code is None:
            raise
        console.remark(_sentence(error), "red")
        return code
    return 0


def _usage(error: click.ClickException) -> str:
    """What was wrong with the arguments, and where it says what is right."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    text = error.format_message().rstrip(".")
    if text.endswith("?"):
        return text.replace(". Did you", "; did you")
    text = text.replace(". (Did you", " (did you")
    return f"{text}; {context.command_path if context else 'sbi-kit'} --help shows what is valid."


def _code(error: Exception) -> int | None:
    """2 for input that was refused, 1 for a failure that explains itself, None for a defect."""
    from sbi_kit.checks import BadInput
    from sbi_kit.registry import PluginError
    from sbi_kit.simulation import SimulationError

    if isinstance(error, BadInput):
        return 2
    failures = (MemoryError, OSError, PluginError, SimulationError)
    return 1 if isinstance(error, failures) else None


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        place = f" at {error.filename}" if error.filename else ""
        return f"The system refused{place}: {error.strerror}."
    if isinstance(error, MemoryError):
        return f"There is too little memory ({error}); ask for fewer draws or rows."
    return str(error)


@contextmanager
def _signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the work in good order, so that no half file stays behind."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
