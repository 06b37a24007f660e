"""Whatever strangers named, it is text on the page, and no markup."""

from html.parser import HTMLParser
from xml.etree.ElementTree import Element

from hypothesis import given
from hypothesis import strategies as st

from process.page.elements import (
    LONGEST,
    MOST_ROWS,
    document,
    gauge,
    listing,
    marked,
    paragraph,
    section,
    table,
)

OURS = {
    *("html", "head", "meta", "title", "link", "script", "noscript", "body", "h1", "main"),
    *("section", "h2", "p", "table", "thead", "tr", "th", "tbody", "td", "meter", "ol", "li"),
}
EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</td></main><iframe src=//evil>",
    "&lt;b&gt;&#x3c;b>",
    "]]><!--",
    "\u202egnp.exe\x00\x1b[2J",
]


class Reader(HTMLParser):
    """What a browser would find."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def found(text: str) -> Reader:
    parts: list[Element] = [
        paragraph(text, "bad"),
        section(
            "ips", text, [*table((text,), [(text,), (marked(text, "well"),)]), listing([text])]
        ),
        *table(("full",), [(gauge(3, 4),), (gauge(1, 0),)]),
    ]
    reader = Reader()
    reader.feed(document(text, parts).decode())
    reader.close()
    return reader


def check(text: str) -> Reader:
    reader = found(text)
    plain = found("x")
    assert reader.tags == plain.tags
    assert reader.attributes == plain.attributes
    assert set(reader.tags) <= OURS
    assert not any(name.startswith("on") for name in reader.attributes)
    return reader


def test_what_an_enemy_named_is_text() -> None:
    for text in EVIL:
        reader = check(text)
        assert any(letter in "".join(reader.texts) for letter in text if letter.isprintable())


@given(st.text())
def test_any_text_is_text(text: str) -> None:
    check(text)


def test_what_cannot_be_seen_is_not_shown_and_texts_have_an_end() -> None:
    reader = check("\u202e\x00" + "x" * 10_000)
    assert "\u202e" not in "".join(reader.texts)
    assert all(len(text) <= LONGEST for text in reader.texts)


def test_a_table_has_an_end_and_says_so() -> None:
    made, more = table(("number",), [(str(number),) for number in range(MOST_ROWS + 3)])
    assert len(list(made.iter("tr"))) == MOST_ROWS + 1
    assert more.text == "and 3 more"


def test_nothing_of_it_runs_but_our_own_script() -> None:
    page = document("x", []).decode()
    assert page.startswith("<!DOCTYPE html>\n")
    assert page.count("<script") == page.count('<script src="page.js" defer="defer"></script>') == 1
    assert "<style" not in page
    assert "style=" not in page
