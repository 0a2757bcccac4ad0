"""How chapters write numbers, lists and captions, and how they show a figure."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from sbi_kit import plots
from sbi_kit.chapters.found import Found
from sbi_kit.page import Part, Picture, Prose

MOST_ROWS = 60  # rows of a table about data
_RESOLUTIONS = (4, 180), (12, 140), (math.inf, 90)  # panels at most, dots per inch


def and_more(count: int, what: str) -> list[Part]:
    """What a table leaves out, if it leaves out anything."""
    return [Prose(f"And {count:,} {what} more.")] if count > 0 else []


def of_which(found: Found) -> str:
    """The end of a caption, which says whose figure it is if there are several datasets."""
    return " Shown for dataset 0." if found.several else ""


def of_first(shown: int, of: int, what: str) -> str:
    """The end of a caption of a figure that leaves some out."""
    return f" Shown for the first {shown} of {of} {what}." if shown < of else ""


def yes_no(passed: bool) -> str:
    """Whether a check passed, for a cell of a table."""
    return "yes" if passed else "NO"


def write_value(value: float) -> str:
    """A value of the data."""
    return "missing" if math.isnan(value) else f"{value:.5g}"


def write_cell(value: float | None) -> str:
    """A number, or a dash for none."""
    return "-" if value is None else f"{value:.4g}"


def write_ratio(value: float | None) -> str:
    """A number that is about 1; that of a wild posterior may have hundreds of digits."""
    return f"{value:.3f}" if value is not None and abs(value) < 1e3 else write_cell(value)


def write_plain(value: Any) -> str:
    """Anything, numbers without digits that nobody wants."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def in_a_row(words: Sequence[str]) -> str:
    """Words with commas and, before the last, an and."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def picture_of(draw: Callable[[bool], Any], alt: str, caption: str, *, panels: int = 1) -> Picture:
    """A figure for light and for dark pages, coarser if it is a large one of many panels."""
    dpi = next(dpi for most, dpi in _RESOLUTIONS if panels <= most)
    light, dark = (plots.to_webp(draw(dark), dpi=dpi) for dark in (False, True))
    return Picture(alt, caption, light, dark)
