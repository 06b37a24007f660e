"""HTML as a tree of elements, so that no text of a stranger can become markup. Pure.

A Service may be named by an enemy. Nothing here writes a tag by hand: `ElementTree` escapes every
text and every attribute, and `shown` takes away what a browser would not show anyway.
"""

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

LONGEST = 400
"""Characters of one text."""
MOST_ROWS = 10_000
"""Of one table; how many more there are is said below it."""
WELL, BAD = "well", "bad"
"""Classes of a cell; page.css says how they look."""
EMPTY = "-"

Cell = str | Element


def document(title: str, parts: Iterable[Element]) -> bytes:
    """Return a whole page, without any script or style of its own."""
    root = Element("html", lang="en")
    head, body = SubElement(root, "head"), SubElement(root, "body")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "title").text = shown(title)
    SubElement(head, "link", rel="stylesheet", href="page.css")
    SubElement(head, "script", src="page.js", defer="defer").text = ""
    # Where scripts are off it is asked for again as a whole.
    SubElement(SubElement(head, "noscript"), "meta", {"http-equiv": "refresh", "content": "5"})
    SubElement(body, "h1").text = shown(title)
    SubElement(body, "main").extend(parts)
    text = ElementTree.tostring(root, encoding="unicode", method="html")
    return f"<!DOCTYPE html>\n{text}\n".encode()


def section(name: str, heading: str, parts: Iterable[Element]) -> Element:
    """Return a part of the page under a heading; `name` is its id, and one of ours."""
    made = Element("section", id=name)
    SubElement(made, "h2").text = shown(heading)
    made.extend(parts)
    return made


def paragraph(text: str, kind: str = "") -> Element:
    """Return a line of text; `kind` is `well` or `bad`, or nothing."""
    return _of_kind(Element("p"), text, kind)


def marked(text: str, kind: str) -> Element:
    """Return a cell that is `well` or `bad`."""
    return _of_kind(Element("td"), text, kind)


def gauge(used: int, of: int) -> Element:
    """Return a cell that shows how full something is."""
    cell = Element("td")
    share = 0.0 if of <= 0 else min(1.0, used / of)
    bounds = {"min": "0", "max": "1", "high": "0.8", "optimum": "0"}
    meter = SubElement(cell, "meter", bounds, value=f"{share:.4f}")
    meter.tail = f" {share:.0%}"
    return cell


def table(headings: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[Element]:
    """Return a table, and below it how many rows were left out."""
    made = Element("table")
    head = SubElement(SubElement(made, "thead"), "tr")
    for heading in headings:
        SubElement(head, "th").text = shown(heading)
    body = SubElement(made, "tbody")
    for row in rows[:MOST_ROWS]:
        line = SubElement(body, "tr")
        line.extend(_cell(cell) for cell in row)
    more = len(rows) - MOST_ROWS
    return [made, paragraph(f"and {more} more")] if more > 0 else [made]


def listing(lines: Iterable[str]) -> Element:
    """Return lines, one below the other."""
    made = Element("ol")
    for line in lines:
        SubElement(made, "li").text = shown(line)
    return made


def shown(text: str) -> str:
    """Return a text without what cannot be seen, such as what turns the direction of writing."""
    cut = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return "".join(letter if letter.isprintable() else "?" for letter in cut)


def _cell(cell: Cell) -> Element:
    if isinstance(cell, str):
        return _of_kind(Element("td"), cell or EMPTY, "")
    return cell


def _of_kind(made: Element, text: str, kind: str) -> Element:
    made.text = shown(text)
    if kind:
        made.set("class", kind)
    return made
