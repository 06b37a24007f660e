"""Dumps of `kubectl get -o yaml` or `-o json`: a file, a folder with all below it, or stdin."""

import sys
from collections.abc import Iterator
from pathlib import Path

from clarion.sources.trouble import UnseenError
from kube.document import Document, ManifestError
from kube.files.directory import MAX_FILES, SUFFIXES
from kube.files.manifest import Most, read, read_json
from kube.objects.reading import WITH_BGP
from kube.problem import quoted
from kube.snapshot import Reading, read_documents

STDIN = "-"
MOST = Most(size=256 * 1024 * 1024, nodes=5_000_000)
"""Of a source: 5,000 services, their slices and 1,000 nodes are 60 MiB."""
LINES_UP_TO = 4 * 1024 * 1024
"""Bytes of a JSON text that is read with its lines, which takes seven times as long."""

Text = tuple[str, bytes]
"""A file's name for people, and what is in it."""


def texts(source: str) -> Iterator[Text]:
    """Return the files of a source. Raises `UnseenError` where one cannot be read."""
    if source == STDIN:
        yield "stdin", _limited(sys.stdin.buffer.read(MOST.size + 1), "stdin")
        return
    path, whole = Path(source), 0
    for found in _files(path):
        content = _content(found)
        whole += len(content)
        if whole > MOST.size:
            raise UnseenError(f"{path}: longer than {MOST.size} bytes")
        yield str(found.relative_to(path)) if found != path else found.name, content


def readings(source: str, lines: bool = False) -> Iterator[Reading]:
    """Read all files of a source. Raises `UnseenError` where one is no manifest at all.

    `lines`: each problem is to know its line, and a file that is no manifest is a problem.
    """
    for name, content in texts(source):
        try:
            found = _documents(name, content, lines)
        except ManifestError as error:
            if not lines:
                raise UnseenError(str(error.problem)) from None
            yield Reading(problems=(error.problem,))
            continue
        yield read_documents(found, WITH_BGP)


def documents(source: str) -> Iterator[Document]:
    """Return all objects of a source, of whatever kind. Raises `UnseenError`."""
    for name, content in texts(source):
        try:
            yield from _documents(name, content, lines=False)
        except ManifestError as error:
            raise UnseenError(str(error.problem)) from None


def _documents(name: str, content: bytes, lines: bool) -> list[Document]:
    shown = name if name.isprintable() else quoted(name)
    is_json = content.lstrip()[:1] in (b"{", b"[")
    if is_json and not (lines and len(content) <= LINES_UP_TO):
        try:
            return read_json(content, shown, MOST)
        except ManifestError:
            # Flow style of YAML, perhaps, or several documents.
            pass
    return read(content, shown, most=MOST)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(
        each
        for each in path.rglob("*")
        if each.suffix in SUFFIXES and not _is_hidden(each.relative_to(path)) and each.is_file()
    )
    if len(found) > MAX_FILES:
        raise UnseenError(f"{path}: more than {MAX_FILES} files")
    return found


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _limited(file.read(MOST.size + 1), str(path))
    except OSError as error:
        raise UnseenError(f"{path}: {error.strerror or 'cannot be read'}") from None


def _limited(content: bytes, name: str) -> bytes:
    if len(content) > MOST.size:
        raise UnseenError(f"{name}: longer than {MOST.size} bytes")
    return content
