"""A small builder of self-contained pages: sections of tables, figures, key-values and notes; all text is escaped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

Tone = Literal["plain", "good", "warn", "bad"]


@dataclass(frozen=True)
class Cell:
    """A table's cell with a tone and a smaller second line.

    Attributes:
        text: What it says.
        tone: Colours it; the text must say the same to those who see no colour.
        detail: A second line, smaller.
    """

    text: str
    tone: Tone = "plain"
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under headings; numbers are set right-aligned where the heading is named in ``numeric``.

    Attributes:
        headings: One a column; the first column names the row.
        rows: Cells, or plain text.
        numeric: Indices of the columns that hold numbers.
        caption: What the table shows.
    """

    kind: ClassVar[str] = "table"

    headings: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    numeric: Sequence[int] = ()
    caption: str = ""

    def cells(self) -> list[list[Cell]]:
        """Return all rows as cells."""
        return [[cell if isinstance(cell, Cell) else Cell(str(cell)) for cell in row] for row in self.rows]


@dataclass(frozen=True)
class KeyValues:
    """Names and values, two columns."""

    kind: ClassVar[str] = "key-values"

    items: Mapping[str, str]


@dataclass(frozen=True)
class Note:
    """A paragraph, or a list under one; ``tone`` marks it as good news, a warning or bad news."""

    kind: ClassVar[str] = "note"

    text: str
    tone: Tone = "plain"
    items: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """A drawing.

    Attributes:
        svg: SVG made by `reprune.report.theme.draw`; the one thing on a page that is not escaped.
        alt: What it shows, for those who do not see it.
        caption: What to look for in it.
    """

    kind: ClassVar[str] = "figure"

    svg: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A small picture with a caption; part of a `Gallery`.

    Attributes:
        png: A PNG, base64.
        title: First line under it.
        detail: Second line.
        alt: What it shows.
    """

    png: str
    title: str
    detail: str
    alt: str


@dataclass(frozen=True)
class Gallery:
    """Small pictures side by side."""

    kind: ClassVar[str] = "gallery"

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Tile:
    """One headline number: its name, the number, and what it refers to."""

    name: str
    value: str
    detail: str = ""
    tone: Tone = "plain"


@dataclass(frozen=True)
class Tiles:
    """Headline numbers side by side."""

    kind: ClassVar[str] = "tiles"

    tiles: Sequence[Tile]


Block = Table | KeyValues | Note | Figure | Gallery | Tiles


@dataclass(frozen=True)
class Section:
    """A titled part of a page.

    Attributes:
        title: Its heading.
        blocks: What it holds, in order.
        lead: One sentence under the heading.
        columns: Whether its figures stand side by side where there is room.
    """

    title: str
    blocks: Sequence[Block] = field(default_factory=list)
    lead: str = ""
    columns: bool = False


def page(title: str, subtitle: str, sections: Sequence[Section], *, badge: tuple[str, Tone] | None = None) -> str:
    """Return a whole page: one file without scripts, fonts or anything else from outside.

    Args:
        title: Its heading, and the browser's title.
        subtitle: One line under the heading.
        sections: What it holds.
        badge: A word beside the title, with its tone: the outcome.
    """
    template = _environment().get_template("page.html")
    return template.render(title=title, subtitle=subtitle, sections=sections, badge=badge)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("reprune.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
