"""What commands accept: numbers, settings of a simulator, and the options they share.

Numbers go through the package's own checks, so that the command line and Python refuse the same
values with the same sentence.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


def number(
    name: str, text: str, *, low: int = 1, default: int | None = None, required: bool = False
) -> Callable[[Any], Any]:
    """An option that is a whole number from `low` on, described by `text`."""
    # A default of None, if passed, would count as a value and so undo `required`.
    given: dict[str, Any] = {} if default is None else {"default": default}
    return click.option(
        name,
        metavar="N",
        type=str,
        required=required,
        callback=lambda _, option, value: _read_whole(option.opts[0], value, low),
        help=text,
        **given,
    )


def _read_whole(name: str, text: str | None, low: int) -> int | None:
    from sbi_kit.checks import expect_integer

    if text is None:
        return None
    try:
        value: object = int(text)
    except ValueError:
        value = text
    return expect_integer(name, value, low=low)


def amount(name: str, text: str) -> Callable[[Any], Any]:
    """An option that is a number above 0, described by `text`."""
    return click.option(
        name,
        metavar="X",
        type=str,
        callback=lambda _, option, value: _read_amount(option.opts[0], value),
        help=text,
    )


def _read_amount(name: str, text: str | None) -> float | None:
    from sbi_kit.checks import expect_number

    if text is None:
        return None
    try:
        value: object = float(text)
    except ValueError:
        value = text
    return expect_number(name, value, low=0, open_low=True)


def read_settings(pairs: tuple[str, ...], option: str = "--set") -> dict[str, Any]:
    """Settings from "key=value" of an option: JSON where it is JSON, else text.

    Raises:
        BadValue: There is no key or no equals sign.

    >>> read_settings(("days=[7, 14]", "school=English boarding"))
    {'days': [7, 14], 'school': 'English boarding'}
    """
    from sbi_kit.checks import BadValue

    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key and equals):
            raise BadValue(f"{option} key=value", repr(pair), f"write it like {option} days=14")
        try:
            settings[key] = json.loads(text)
        except ValueError:
            settings[key] = text
    return settings


seed = number("--seed", "Seed of all randomness: same seed, same result.", low=0, default=0)
workers = number(
    "--workers", "Processes to simulate in; their number changes no result.", default=1
)
skip_failures = click.option(
    "--skip-failures", is_flag=True, help="Go on without the rows where the simulator raises."
)
settings = click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    callback=lambda _, __, pairs: read_settings(pairs),
    help="A setting of the constructor, as JSON or text; may be repeated.",
)


def context(text: str) -> Callable[[Any], Any]:
    """The option of known context, described by `text`."""
    return click.option(
        "--context",
        metavar="NAME=VALUE",
        multiple=True,
        callback=lambda _, option, pairs: read_settings(pairs, option.opts[0]),
        help=f"{text}; may be repeated.",
    )


simulated_context = context("A known quantity that all datasets share, instead of drawing it")
