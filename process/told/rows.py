"""What a running speaker tells, as plain values. Pure.

A later speaker may tell more; what is not known here is left alone. What is missing or of another
kind is an error: then it is no speaker that answers, or one of another schema.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class LiveError(Exception):
    """There was nothing to look at; the text says why, in one line."""


class LiveTakeover(msgspec.Struct, frozen=True):
    """How an IP came to its owner; times in Unix seconds."""

    reason: str
    previous: str | None = msgspec.field(default=None, name="from")
    announced: float | None = None
    """When the first frame left; None where another node owns it."""
    seconds: float | None = None
    """From the decision to that frame."""


class LiveOwner(msgspec.Struct, frozen=True):
    """One IP of one service, as the speaker knows it."""

    ip: str
    service: str
    owner: str | None
    since: float | None
    next: str | None
    """Who owns it when the owner is gone; empty: nobody. None: not worked out yet, in a large ring;
    ask again."""
    interfaces: list[str] | None
    """Links on which this node answers, or would; None: on all."""
    state: str
    """What it is on this node: `owned`, `asking`, `contested`, `quiet`, `yielding`, `parted`; else
    `elsewhere`, `unowned`, `routed` where this node announces it by BGP alone, or `waiting` where
    it is this node's and nothing is done yet."""
    why: str | None
    """Why this node does not announce it, whoever is elected."""
    takeover: LiveTakeover | None


class LiveMember(msgspec.Struct, frozen=True):
    """One member of the ring."""

    name: str
    address: str
    state: str
    incarnation: int
    health: int | None
    """Of the speaker that is asked alone: 0 is well."""
    mark: str
    """`clarion`, or `other`: MetalLB's."""
    flags: list[str]
    key: str
    """`plain`: gossip is not sealed; `proved`, `unproved`: whether it has a new key."""
    echo: str | None
    """Whether its machine answers: `answers`, `silent`, `unknown`."""
    verdicts: list[str]
    watches: list[str]


class LivePool(msgspec.Struct, frozen=True):
    """One pool, as its manifest and the services of now have it."""

    pool: str
    addresses: int
    """How many it has in all."""
    used: int
    """How many of them some service has."""


class LiveRecord(msgspec.Struct, frozen=True):
    """One decision, or the cause of some. Which of the fields are set: see docs/socket.md."""

    number: int
    at: float
    kind: str
    node: str = ""
    ips: list[str] = []
    services: list[str] = []
    details: dict[str, str | float] = {}


_RECORD = frozenset(("number", "at", "kind", "node", "ips", "services"))


def read_row(kind: type[T], columns: Sequence[str], row: Any) -> T:
    """Read a row of a table; raise LiveError."""
    try:
        return msgspec.convert(dict(zip(columns, row, strict=True)), kind)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise LiveError(f"the speaker's answer makes no sense: {error}") from None


def read_record(row: Any) -> LiveRecord:
    """Read a record of the log; raise LiveError."""
    try:
        known = {key: value for key, value in row.items() if key in _RECORD}
        details = {key: value for key, value in row.items() if key not in _RECORD}
        return msgspec.convert(known | {"details": details}, LiveRecord)
    except (msgspec.MsgspecError, AttributeError, TypeError, ValueError) as error:
        raise LiveError(f"the speaker's answer makes no sense: {error}") from None
