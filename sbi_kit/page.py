"""One HTML page that needs nothing but itself: its parts, and the way to a text.

A page is a list of sections, a section a list of parts: prose, facts, tables and figures. The
template `page.html` beside this file knows how each looks, on a phone, on paper, on a light and on
a dark screen; all text is escaped there. Figures are inside the page as data URIs.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, TypeAlias

from jinja2 import Environment, StrictUndefined

Status: TypeAlias = Literal["fine", "doubt", "fault", "none"]


@dataclass(frozen=True)
class Prose:
    """A paragraph; what stands between backticks is code."""

    text: str

    kind = "prose"

    @property
    def runs(self) -> list[str]:
        """The text in turns outside and inside of backticks."""
        return self.text.split("`")


@dataclass(frozen=True)
class Notes:
    """A list of remarks that must not be overlooked."""

    items: Sequence[str]

    kind = "notes"


@dataclass(frozen=True)
class Findings:
    """What was found, in words.

    Attributes:
        items: Of each question its title, what came of it, and the finding.
    """

    items: Sequence[tuple[str, Status, str]]

    kind = "findings"


@dataclass(frozen=True)
class Facts:
    """Names and what there is to say of each."""

    items: Mapping[str, str]

    kind = "facts"


@dataclass(frozen=True)
class Table:
    """Rows of cells; the first of each row is its name.

    Attributes:
        title: What is in it.
        header: Names of the columns.
        rows: The cells as text.
        words: Places of the columns that hold words, which are set to the left as names are.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: Sequence[int] = ()

    kind = "table"


@dataclass(frozen=True)
class Picture:
    """A figure, for light and for dark pages.

    Attributes:
        alt: What it shows, for those who do not see it.
        caption: How to read it.
        light: The bytes of a WebP.
        dark: The same for dark pages.
    """

    alt: str
    caption: str
    light: bytes
    dark: bytes

    kind = "picture"

    @property
    def sources(self) -> tuple[str, str]:
        """Data URIs for light and for dark pages."""
        light, dark = (base64.b64encode(image).decode() for image in (self.light, self.dark))
        return f"data:image/webp;base64,{light}", f"data:image/webp;base64,{dark}"


Part: TypeAlias = Prose | Notes | Findings | Facts | Table | Picture


@dataclass(frozen=True)
class Section:
    """A title with its parts; `name` is what links lead to."""

    name: str
    title: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Page:
    """A title, a line below it, and the sections."""

    title: str
    subtitle: str
    sections: Sequence[Section]

    def render(self) -> str:
        """The page as HTML text."""
        template = files("sbi_kit").joinpath("page.html").read_text(encoding="utf-8")
        made = Environment(
            autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        text = made.from_string(template).render(page=self)
        return text.replace(" %", "\N{NO-BREAK SPACE}%")
