"""Texts as Go's fmt package writes them, in which MetalLB's refusals are worded. Pure."""

from collections.abc import Iterable

from kube.selector import LabelSelector, Requirement

MAX_TEXT = 200
"""Characters of one quoted text; an object may hold a million."""
_ESCAPES = {
    "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v",
    "\\": r"\\",
}  # fmt: skip
_NO_RUNE = "\ufffd"


def quote(text: str) -> str:
    """Return the text as `%q` writes it, cut to about `MAX_TEXT` characters."""
    cut = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return '"' + "".join(_escaped(letter, '"') for letter in cut) + '"'


def quote_number(number: int) -> str:
    """Return what `%q` makes of a number: the character with that code, in single quotes."""
    valid = 0 <= number < 0xD800 or 0xDFFF < number < 0x110000
    return "'" + _escaped(chr(number) if valid else _NO_RUNE, "'") + "'"


def _escaped(letter: str, mark: str) -> str:
    if letter == mark:
        return "\\" + mark
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    code = ord(letter)
    if letter.isprintable():
        return letter
    if 0xD800 <= code < 0xE000:
        return _NO_RUNE
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def duration(seconds: float) -> str:
    """Return a duration as Go prints it: `2s`, `1m30s`, `500ms`."""
    nanoseconds = round(seconds * 1e9)
    if nanoseconds == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if nanoseconds < size * 1_000 and nanoseconds < 1_000_000_000:
            return _decimal(nanoseconds, size) + unit
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return text + _decimal(rest, 1_000_000_000) + "s"


def _decimal(value: int, size: int) -> str:
    whole, part = divmod(value, size)
    digits = str(part).rjust(len(str(size)) - 1, "0").rstrip("0") if part else ""
    return f"{whole}.{digits}" if digits else str(whole)


def selector(found: LabelSelector) -> str:
    """Return a selector as `%v` writes the struct."""
    labels = " ".join(f"{key}:{value}" for key, value in sorted(found.match_labels.items()))
    expressions = " ".join(
        f"{{{entry.key} {entry.operator} [{' '.join(sorted(entry.values))}]}}"
        for entry in found.match_expressions
    )
    return _cut(f"{{map[{labels}] [{expressions}]}}")


def quoted_selector(found: LabelSelector) -> str:
    """Return a selector as `%q` writes the struct."""
    labels = " ".join(
        f"{quote(key)}:{quote(value)}" for key, value in sorted(found.match_labels.items())
    )
    expressions = " ".join(map(quoted_expression, found.match_expressions))
    return _cut(f"{{map[{labels}] [{expressions}]}}")


def quoted_expression(found: Requirement) -> str:
    """Return one expression of a selector as `%q` writes the struct."""
    values = _list(sorted(found.values))
    return _cut(f"{{{quote(found.key)} {quote(found.operator)} {values}}}")


def _list(texts: Iterable[str]) -> str:
    return "[" + " ".join(map(quote, texts)) + "]"


def _cut(text: str) -> str:
    return text if len(text) <= 5 * MAX_TEXT else text[: 5 * MAX_TEXT - 1] + "…"
