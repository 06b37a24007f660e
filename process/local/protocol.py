"""What is said on a local socket: one line asks, and lines answer. Pure.

    ask       {"schema":1,"verb":"owners","about":"192.0.2.1","after":"","follow":false}

    head      {"schema":1,"node":"node-1","verb":"owners","columns":["ip","service"]}
    row       {"row":["192.0.2.1","default/web"]}    an object, where the head has no columns
    lost      {"lost":12}                            so many rows came too fast for the reader
    end       {"end":{"rows":5000,"next":"..."}}     next: ask again `after` this for the rest
    refusal   {"error":"unknown_verb"}               in the place of any of these

Each line is a JSON object and ends in a line feed. An answer without an end was cut off. Whoever
reads leaves fields alone that it does not know: a later version adds some. `schema` grows when a
field goes or changes its meaning.
"""

from enum import StrEnum
from typing import Any

import msgspec

SCHEMA = 1
LONGEST_QUESTION = 4_096
"""Bytes of a question, its line feed included."""
LONGEST_ANSWER = 1024 * 1024
"""Bytes of an answer; what does not fit is asked for again, by `after`."""
LONGEST_TEXT = 512
"""Characters of one text in a question: the longest name of a service is 317."""


class LocalRefusal(StrEnum):
    """Why a question gets no answer."""

    MALFORMED = "malformed"
    SCHEMA = "schema"
    """Of a version that is not spoken here."""
    TOO_LONG = "too_long"
    TOO_SLOW = "too_slow"
    UNKNOWN_VERB = "unknown_verb"
    NOT_FOUND = "not_found"
    """Nobody here knows what it is about."""
    CROWDED = "crowded"
    """As many ask already as may."""
    FAILED = "failed"
    """What was to answer has raised an error."""


class LocalProtocolError(ValueError):
    """What was said is none of this; `refusal` says why."""

    def __init__(self, refusal: LocalRefusal) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class LocalQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked; `about` narrows it down, `after` goes on where an answer has ended."""

    schema: int = SCHEMA
    verb: str
    about: str = ""
    after: str = ""
    follow: bool = False
    """Go on with what happens from now on."""


class LocalEnd(msgspec.Struct, frozen=True):
    """The end of an answer; `next` is what to ask `after` for the rest, empty where it is whole."""

    rows: int
    next: str = ""


class LocalLine(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of an answer: a head, a row, a loss, an end, or a refusal."""

    schema: int = 0
    node: str = ""
    verb: str = ""
    columns: tuple[str, ...] = ()
    row: Any = None
    lost: int = 0
    end: LocalEnd | None = None
    error: str = ""


def decode_question(line: bytes) -> LocalQuestion:
    """Read a question; raise LocalProtocolError."""
    try:
        asked = msgspec.json.decode(line, type=LocalQuestion)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise LocalProtocolError(LocalRefusal.MALFORMED) from None
    if asked.schema != SCHEMA:
        raise LocalProtocolError(LocalRefusal.SCHEMA)
    if max(map(len, (asked.verb, asked.about, asked.after))) > LONGEST_TEXT:
        raise LocalProtocolError(LocalRefusal.TOO_LONG)
    return asked


def decode_line(line: bytes) -> LocalLine:
    """Read a line of an answer; raise LocalProtocolError."""
    try:
        return msgspec.json.decode(line, type=LocalLine)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise LocalProtocolError(LocalRefusal.MALFORMED) from None


def encode(said: LocalQuestion | LocalLine) -> bytes:
    """Write a question, or a line of an answer."""
    return msgspec.json.encode(said) + b"\n"


def encode_row(row: Any) -> bytes:
    """Write a row: what `encode` makes of it, in less time.

    Halves of characters, which a name out of gossip may have, are no UTF-8, and are spelled out.
    """
    try:
        text = msgspec.json.encode(row)
    except UnicodeEncodeError:
        text = msgspec.json.encode(spelled(row))
    return b'{"row":' + text + b"}\n"


def spelled(value: Any) -> Any:
    """Return a value in which halves of characters are spelled out."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case list() | tuple():
            return [spelled(item) for item in value]
        case dict():
            return {key: spelled(item) for key, item in value.items()}
        case _:
            return value
