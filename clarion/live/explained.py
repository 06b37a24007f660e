"""Why an IP is where it is, as a running speaker tells it: rows of several kinds. Pure.

What they mean: docs/socket.md. Rows of a kind that is not known here are left out: a later speaker
may tell more.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from clarion.answers import plain
from process.told.rows import LiveError, LiveTakeover


class LiveRow(msgspec.Struct, frozen=True, tag_field="kind"):
    """What all have; several services may share an IP."""

    service: str


class LiveService(LiveRow, frozen=True, tag="service"):
    """What is planned of a service by layer 2, and who owns it."""

    ips: list[str]
    hashed: str
    withheld: str | None
    """Why this node announces nothing of it, whoever is elected."""
    interfaces: list[str] | None
    owner: str | None
    since: float | None
    reason: str | None
    """Of the last change of the owner."""
    next: str | None
    contact: str | None
    """Why the whole speaker announces nothing yet."""


class LiveNode(LiveRow, frozen=True, tag="node"):
    """One node, and the rule that lets it in or keeps it out now."""

    node: str
    rank: int | None
    admitted: bool = msgspec.field(name="in")
    rule: str
    detail: str
    member: str | None
    """What gossip holds of it."""
    clarion: bool
    bars: list[str]
    points: int


class LiveLink(msgspec.Struct, frozen=True):
    """A link, and why this node does not answer there; None: it does."""

    link: str
    why: str | None


class LiveIP(LiveRow, frozen=True, tag="ip"):
    """What an IP is on this node, and what this node has sent about it."""

    ip: str
    state: str
    links: list[LiveLink]
    requests: int
    responses: int
    announcements: int
    takeover: LiveTakeover | None


class LiveBgp(LiveRow, frozen=True, tag="bgp"):
    """What holds for all routes of a service on this node."""

    withheld: str | None
    draining: bool
    engine: str
    pending: bool
    """Something waits to be typed into the engine."""


class LiveRoute(LiveRow, frozen=True, tag="route"):
    """A prefix and a session: what the peer is offered, and whether it was really sent."""

    prefix: str
    peer: str
    neighbor: str
    vrf: str
    session: str
    """`established`, `down`, or `unknown`."""
    offered: bool
    sent: bool
    communities: list[str] = []
    large_communities: list[str] = []
    local_pref: int | None = None
    med: int | None = None


Told = LiveService | LiveNode | LiveIP | LiveBgp | LiveRoute
_KINDS = frozenset(("service", "node", "ip", "bgp", "route"))


def read_told(rows: Iterable[Any]) -> Sequence[Told]:
    """Read what a speaker explains; raise LiveError."""
    try:
        known = [cleaned(row) for row in rows if row["kind"] in _KINDS]
        return tuple(msgspec.convert(known, list[Told]))
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise LiveError(f"the speaker's answer makes no sense: {error}") from None


def cleaned(value: Any) -> Any:
    """Return plain data whose texts move no terminal."""
    match value:
        case str():
            return plain(value)
        case dict():
            return {plain(str(key)): cleaned(each) for key, each in value.items()}
        case list() | tuple():
            return [cleaned(each) for each in value]
        case _:
            return value
