"""Manifest text (YAML of many documents, or JSON) into documents that know their lines.

The builder works on the parser's events, not on `yaml.load`, for three reasons. Depth, size and
aliases are bounded before anything is built. Scalars are resolved as Kubernetes tools do, where
PyYAML would turn an unquoted `1:2:3:4:5:6:7:8` into a number. And every call into the C parser is
short, so that a thread that parses a long file hands the interpreter over in time.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec
import yaml

from kube.document import Document, ManifestError, Origin, document
from kube.objects.reading import NOT_JSON, without_nulls
from kube.problem import Path, Problem, Severity, quoted

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 1_000_000
MAX_LINE_DEPTH = 7
"""Lines of deeper fields are those of the field that holds them; List items cost two levels."""

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {
    text: value
    for value, words in ((True, ("true", "yes", "on")), (False, ("false", "no", "off")))
    for word in words
    for text in (word, word.capitalize(), word.upper())
}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?([0-9]{1,19}\.[0-9]{0,19}|\.[0-9]{1,19})([eE][-+]?[0-9]{1,3})?")
_STRING_TAG = "tag:yaml.org,2002:str"


@dataclass(frozen=True, slots=True)
class Most:
    """How much of one file is read."""

    size: int = MAX_BYTES
    """Bytes."""
    nodes: int = MAX_NODES
    """Values, aliases written out."""


USUAL = Most()


def read(
    content: bytes, file: str, pause: Callable[[], None] = lambda: None, most: Most = USUAL
) -> list[Document]:
    """Read all objects of a file's content; `kind: List` gives its items.

    `pause` is called between two documents.

    Fields whose value is null are left out, as Kubernetes treats them. Raises `ManifestError` for
    anything but well-formed documents within the limits.
    """
    if len(content) > most.size:
        _fail(file, 0, f"longer than {most.size} bytes")
    text = _decode(content, file)
    found: list[Document] = []
    builder = _Builder(text, file, most.nodes)
    for data, lines in builder.documents():
        pause()
        if data is not None:
            found.extend(_unfold(data, Origin(file, "", lines)))
    return found


def read_json(content: bytes, file: str, most: Most = USUAL) -> list[Document]:
    """Read one JSON text as `read` would, seven times as fast, and without any lines.

    Raises `ManifestError`.
    """
    if len(content) > most.size:
        _fail(file, 0, f"longer than {most.size} bytes")
    try:
        data = without_nulls(msgspec.json.decode(content))
    except NOT_JSON as error:
        _fail(file, 0, quoted(error))
    return list(_unfold(data, Origin(file)))


def _unfold(data: Any, origin: Origin) -> Iterator[Document]:
    """Return the document, or the items of a list such as `kubectl get -o yaml` prints."""
    found = document(data, origin)
    items = found.data.get("items")
    if not (found.kind.endswith("List") and isinstance(items, list)):
        yield found
        return
    lines = _lines_of_items(origin)
    for index, item in enumerate(items):
        yield from _unfold(item, Origin(origin.file, "", lines.get(index, {(): origin.line(())})))


def _lines_of_items(origin: Origin) -> dict[int, dict[Path, int]]:
    """Split a List's lines by item, each as seen from its item; one pass, however long the list."""
    found: dict[int, dict[Path, int]] = {}
    for path, line in origin.lines.items():
        if len(path) > 1 and path[0] == "items" and isinstance(path[1], int):
            found.setdefault(path[1], {})[path[2:]] = line
    return found


def _decode(content: bytes, file: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _fail(file, content.count(b"\n", 0, error.start) + 1, "is not UTF-8 text")
    # JSON may be indented by tabs, which YAML forbids. A raw tab cannot be part of a JSON string.
    return text.replace("\t", " ") if text.lstrip()[:1] in ("{", "[") else text


def _fail(file: str, line: int, message: str) -> NoReturn:
    raise ManifestError(Problem(Severity.ERROR, file, line, "", "", message))


@dataclass(slots=True)
class _Anchor:
    value: Any
    size: int


class _Builder:
    """Turns the events of one text into plain data, counting what it builds."""

    def __init__(self, text: str, file: str, most: int) -> None:
        self._text = text
        self._most = most
        self._file = file
        self._events: Iterator[Any] = iter(())
        self._line = 0
        self._nodes = 0
        self._anchors: dict[str, _Anchor] = {}
        self._lines: dict[Path, int] = {}

    def documents(self) -> Iterator[tuple[Any, dict[Path, int]]]:
        """Return the data and the line table of each document."""
        try:
            self._events = yaml.parse(self._text, Loader=yaml.CSafeLoader)
            for event in self._events:
                if isinstance(event, yaml.DocumentStartEvent):
                    self._anchors, self._lines = {}, {}
                    yield self._node(next(self._events), (), 0), self._lines
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = mark.line + 1 if mark is not None else self._line
            _fail(self._file, line, getattr(error, "problem", None) or "is not well-formed YAML")

    def _node(self, event: Any, path: Path, depth: int) -> Any:
        self._enter(event, depth)
        before = self._nodes
        if len(path) <= MAX_LINE_DEPTH:
            self._lines[path] = self._line
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path, depth)
        else:
            value = self._mapping(path, depth)
        if event.anchor is not None:
            # Registered when complete: an alias inside its own anchor finds nothing and is refused.
            self._anchors[event.anchor] = _Anchor(value, self._nodes - before + 1)
        return value

    def _enter(self, event: Any, depth: int) -> None:
        self._line = event.start_mark.line + 1
        if depth > MAX_DEPTH:
            _fail(self._file, self._line, f"nested deeper than {MAX_DEPTH} levels")
        self._count(1)

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > self._most:
            _fail(self._file, self._line, f"more than {self._most} values, aliases written out")

    def _alias(self, event: Any) -> Any:
        anchor = self._anchors.get(event.anchor)
        if anchor is None:
            _fail(self._file, self._line, f"alias of an unknown anchor {quoted(event.anchor)}")
        # The value is shared, not copied, but whoever walks it walks all of it: it counts whole.
        self._count(anchor.size)
        return anchor.value

    def _sequence(self, path: Path, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._node(event, (*path, len(values)), depth + 1))
        return values

    def _mapping(self, path: Path, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        seen: set[str] = set()
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, seen)
            here, line = (*path, key), self._line
            value = self._node(next(self._events), here, depth + 1)
            if here in self._lines:
                # A field stands where its key is, not where a block under it begins.
                self._lines[here] = line
            if key == "<<" and event.implicit[0]:
                merged.update(self._merge(value))
            elif value is not None:
                values[key] = value
        return {**merged, **{key: value for key, value in values.items() if value is not None}}

    def _key(self, event: Any, seen: set[str]) -> str:
        self._enter(event, 0)
        if isinstance(event, yaml.AliasEvent):
            key = self._alias(event)
        else:
            key = event.value if isinstance(event, yaml.ScalarEvent) else None
        if not isinstance(key, str):
            _fail(self._file, self._line, "a key that is not text")
        if key in seen:
            _fail(self._file, self._line, f"duplicate key {quoted(key)}")
        seen.add(key)
        return key

    def _merge(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            _fail(self._file, self._line, "'<<' takes a mapping")
        self._count(len(value))
        return value


def _scalar(event: Any) -> Any:
    """Resolve a plain scalar by YAML's core words and numbers; quoted or tagged ones are text."""
    text: str = event.value
    if not event.implicit[0] or event.tag == _STRING_TAG:
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
