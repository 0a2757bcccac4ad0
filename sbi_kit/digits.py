"""How numbers are written: within their error, on a terminal and on a page; and as JSON."""

import math
from collections.abc import Callable, Mapping


def digits(sd: float, largest: float) -> Callable[[float], str]:
    """How to write numbers known to within `sd`: two digits of it."""
    if not (math.isfinite(sd) and sd > 0):
        return lambda value: f"{value:.4g}"
    places = 1 - math.floor(math.log10(sd))
    if places > 7 or largest >= 1e7:
        return lambda value: f"{value:.4g}"
    return lambda value: f"{value:,.{max(0, places)}f}"


def with_unit(name: str, units: Mapping[str, str]) -> str:
    """A name and its unit, if it has one.

    >>> with_unit("rate", {"rate": "1/day"}), with_unit("share", {})
    ('rate [1/day]', 'share')
    """
    return f"{name} [{units[name]}]" if name in units else name


def json_number(value: float) -> float | None:
    """A number as JSON has it; None stands for NaN and infinity, which it has not."""
    return float(value) if math.isfinite(value) else None
