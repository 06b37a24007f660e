"""How answers look: tables for people, JSON for programs.

Foreign texts are never read as rich's markup, and lines that no terminal will show are not cut.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 200
"""Columns where nobody looks at a terminal: a pipe, a file."""
MANY = 300
"""Rows from which on no cell is folded or coloured: rich takes a second for 5,000."""
GAP = 3
"""Columns between two cells."""
Row = Sequence[str | Text]
LINE: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
"""How a line of text is printed."""


class ReadConsole(Console):
    """One whose reader may leave: rich would end the process with a status of its own."""

    def on_broken_pipe(self) -> None:
        """Leave it to the one who knows the answer's status."""
        raise BrokenPipeError


def console() -> Console:
    """Return the console of standard output; colour only on a terminal, and not with $NO_COLOR."""
    made = ReadConsole(highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = WIDTH
    return made


def write_json(answer: msgspec.Struct) -> None:
    """Write an answer as one JSON text of many lines."""
    text = msgspec.json.format(msgspec.json.encode(answer), indent=2)
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.buffer.flush()


def show_table(shown: Console, headings: Sequence[str], rows: Sequence[Row]) -> None:
    """Write a table in the manner of kubectl: no lines, capital headings."""
    capitals = [heading.upper() for heading in headings]
    if len(rows) > MANY or not shown.is_terminal:
        shown.file.write("".join(_columns([capitals, *rows])))
        return
    made = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for heading in capitals:
        made.add_column(heading, overflow="fold")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    shown.print(made)


def _columns(rows: Sequence[Row]) -> Iterator[str]:
    """Return lines with the cells below each other, as wide as they are."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) + GAP for column in zip(*texts, strict=True)]
    for row in texts:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "".join(cells).rstrip() + "\n"


def title(shown: Console, text: str) -> None:
    """Write a heading."""
    shown.print(Text(text, style="bold"), **LINE)


def good(text: str) -> Text:
    """Return what is as it should be."""
    return Text(text, style="green")


def bad(text: str) -> Text:
    """Return what is not."""
    return Text(text, style="red")


def some(names: Sequence[str] | None, none: str = "-") -> str:
    """Return names with commas; `all` where they are not restricted."""
    return "all" if names is None else ",".join(names) or none
