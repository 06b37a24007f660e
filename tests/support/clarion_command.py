"""The command `clarion` in this process: its exit status and what it wrote."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from clarion.cli import main


@dataclass(frozen=True)
class Ran:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Its answer, of `-o json`."""
        return msgspec.json.decode(self.out)


def run(*arguments: str, stdin: bytes = b"") -> Ran:
    """Run the command as a pipe sees it."""
    out, err = _pipe(), _pipe()
    status = 0
    with redirect_stdout(out), redirect_stderr(err), _stdin(stdin):
        try:
            main(list(arguments))
        except SystemExit as ended:
            status = int(ended.code or 0)
    return Ran(status, _written(out), _written(err))


def written(folder: Path, text: str, name: str = "all.yaml") -> str:
    """Write a manifest and return its path."""
    path = folder / name
    path.write_text(text)
    return str(path)


def _pipe() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


@contextmanager
def _stdin(content: bytes) -> Iterator[None]:
    with patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(content))):
        yield
