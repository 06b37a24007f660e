"""What is answered on a local socket, before it is written: rows, one after the other. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from process.local.protocol import LocalQuestion, LocalRefusal


@dataclass(frozen=True, slots=True)
class LocalRow:
    """One row; `place` is what to ask `after` where the answer ends with it."""

    value: Any
    place: str


@dataclass(frozen=True, slots=True)
class LocalLoss:
    """So many rows are gone that the reader has not seen."""

    count: int


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """Rows, with the names of their columns where each is a list; None: ask again later."""

    rows: Iterable[LocalRow | LocalLoss | None]
    columns: tuple[str, ...] = ()


Answerer = Callable[[LocalQuestion], LocalAnswer | LocalRefusal]
"""Who knows what is asked for."""
