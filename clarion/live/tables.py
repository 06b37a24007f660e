"""Plain tables in the manner of kubectl, for what a speaker tells. Pure."""

from collections.abc import Iterator, Sequence

from process.told.story import visible

GAP = 3
"""Columns between two cells."""


def lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield lines with the cells below each other."""
    texts = [[heading.upper() for heading in headings]]
    texts += [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) + GAP for column in zip(*texts, strict=True)]
    for row in texts:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "".join(cells).rstrip()
