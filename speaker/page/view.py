"""What a speaker tells of itself, as a page. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from process.page.elements import (
    BAD,
    WELL,
    Cell,
    document,
    gauge,
    listing,
    marked,
    paragraph,
    section,
    table,
)
from process.told.rows import LiveMember, LiveOwner, LivePool, LiveRecord
from process.told.story import line
from process.told.words import AS_IT_SHOULD_BE, moment, taken_over

LIVING = "alive"


@dataclass(frozen=True, slots=True)
class SpeakerView:
    """All that the page shows; `at` is Unix time."""

    node: str
    version: str
    at: float
    unready: str | None
    members: Sequence[LiveMember]
    owners: Sequence[LiveOwner]
    pools: Sequence[LivePool]
    records: Sequence[LiveRecord]
    """The last decisions, the newest last."""


def page(view: SpeakerView) -> bytes:
    """Return the page."""
    conflicts = [row for row in view.owners if row.state not in AS_IT_SHOULD_BE]
    return document(
        f"Clarion on {view.node}",
        [
            *_summary(view, conflicts),
            section("conflicts", "Not as it should be", _conflicts(conflicts)),
            section("ring", "Ring", _ring(view.members)),
            section("ips", "Service IPs", _ips(view.owners)),
            section("pools", "Pools", _pools(view.pools)),
            section("decisions", "Last decisions", _decisions(view.records)),
        ],
    )


def silence(node: str, why: str) -> bytes:
    """Return the page of a speaker that could not be asked."""
    return document(f"Clarion on {node}", [paragraph(why, BAD)])


def _summary(view: SpeakerView, conflicts: Sequence[LiveOwner]) -> Iterator[Element]:
    living = sum(member.state == LIVING for member in view.members)
    owners = Counter(row.owner for row in view.owners if row.owner is not None)
    yield paragraph(
        f"Version {view.version}, {moment(view.at)} UTC, as this node sees it: "
        f"{living} of {len(view.members)} members live; {len(view.owners)} IPs, "
        f"{owners[view.node]} of them here, {len(conflicts)} not as they should be."
    )
    if view.unready is not None:
        yield paragraph(f"Not ready: {view.unready}", BAD)


def _conflicts(rows: Sequence[LiveOwner]) -> list[Element]:
    if not rows:
        return [paragraph("Nothing.", WELL)]
    cells = [(row.ip, row.service, *_owner(row), row.why or "") for row in rows]
    return table(("IP", "Service", "Owner", "State", "Why"), cells)


def _owner(row: LiveOwner) -> tuple[Cell, Cell]:
    """Return the owner and the state of an IP."""
    by_bgp = row.state == "routed"
    nobody = "(BGP)" if by_bgp else marked("nobody", BAD)
    state = row.state if row.state in AS_IT_SHOULD_BE else marked(row.state, BAD)
    return row.owner or nobody, state


def _ips(rows: Sequence[LiveOwner]) -> list[Element]:
    headings = ("IP", "Service", "Owner", "State", "Next in line", "Interfaces", "Since (UTC)",
                "Last takeover")  # fmt: skip
    cells = [
        (
            row.ip,
            row.service,
            *_owner(row),
            "not known yet" if row.next is None else row.next,
            "all" if row.interfaces is None else ", ".join(row.interfaces),
            moment(row.since),
            taken_over(row.takeover),
        )
        for row in rows
    ]
    return table(headings, cells)


def _ring(members: Sequence[LiveMember]) -> list[Element]:
    headings = ("Node", "Address", "State", "Announcer", "Flags", "Key", "Echo", "Missed on",
                "Watched by")  # fmt: skip
    cells = [
        (
            member.name,
            member.address,
            marked(member.state, WELL if member.state == LIVING else BAD),
            member.mark,
            ", ".join(member.flags),
            member.key if member.key != "unproved" else marked(member.key, BAD),
            member.echo or "",
            marked(", ".join(member.verdicts), BAD) if member.verdicts else "",
            ", ".join(member.watches),
        )
        for member in members
    ]
    return table(headings, cells)


def _pools(pools: Sequence[LivePool]) -> list[Element]:
    cells = [
        (each.pool, f"{each.used} of {each.addresses}", gauge(each.used, each.addresses))
        for each in pools
    ]
    return table(("Pool", "Addresses in use", "Full"), cells)


def _decisions(records: Sequence[LiveRecord]) -> list[Element]:
    # The newest first: it is what one waits for.
    return [listing(line(record) for record in reversed(records))]
