"""Owners and explanations as one running speaker sees them, and how that looks. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from rich.console import Console
from rich.text import Text

from clarion.answers import Envelope, plain
from clarion.live.explained import (
    LiveBgp,
    LiveIP,
    LiveNode,
    LiveRoute,
    LiveService,
    Told,
    cleaned,
)
from clarion.render import LINE, bad, good, show_table, some, title
from process.told.rows import LiveOwner
from process.told.words import AS_IT_SHOULD_BE, moment, taken_over


class LiveOwners(Envelope, frozen=True, tag="LiveOwners", kw_only=True):
    """Of `clarion owners`, where a running speaker was asked."""

    node: str
    """Whose view it is."""
    owners: tuple[LiveOwner, ...]


class LiveExplanation(Envelope, frozen=True, tag="LiveExplanation", kw_only=True):
    """Of `clarion explain`, where a running speaker was asked."""

    node: str
    asked: str
    rows: tuple[Told, ...]
    """Of each service one `service` first, where layer 2 announces it; then its nodes and IPs; then
    `bgp`, and its routes."""


def owners(node: str, rows: Sequence[LiveOwner]) -> LiveOwners:
    """Return who owns what: well where nothing is contested, quiet, or without an owner."""
    found = msgspec.convert(cleaned(msgspec.to_builtins(rows)), tuple[LiveOwner, ...])
    well = all(row.state in AS_IT_SHOULD_BE for row in found)
    return LiveOwners(source=_source(node), well=well, node=plain(node), owners=found)


def explanation(node: str, asked: str, rows: Sequence[Told]) -> LiveExplanation:
    """Return why: well where it has an owner and is what it should be, and routes were sent."""
    well = bool(rows) and all(map(_is_well, rows)) and _is_routed(rows)
    return LiveExplanation(
        source=_source(node), well=well, node=plain(node), asked=plain(asked), rows=tuple(rows)
    )


def _source(node: str) -> str:
    return f"speaker on node {plain(node)}"


def _is_well(row: Told) -> bool:
    match row:
        case LiveService():
            return row.owner is not None
        case LiveIP():
            return row.state in AS_IT_SHOULD_BE
        case _:
            return True


def _is_routed(rows: Sequence[Told]) -> bool:
    """Tell whether each peer that is offered a route was sent it; and whether anybody announces."""
    routes = [row for row in rows if isinstance(row, LiveRoute)]
    by_layer2 = any(isinstance(row, LiveService) for row in rows)
    return all(row.sent for row in routes if row.offered) and (
        by_layer2 or any(row.sent for row in routes)
    )


# ---- as tables


def draw_owners(found: LiveOwners, shown: Console) -> None:
    """Write the table, and one line that counts."""
    rows = [
        (
            row.ip,
            row.service,
            row.owner or ("(bgp)" if row.state == "routed" else bad("nobody")),
            moment(row.since) or "-",
            _next(row),
            some(row.interfaces),
            row.state if row.state in AS_IT_SHOULD_BE else bad(row.state),
            taken_over(row.takeover) if row.why is None else row.why,
        )
        for row in found.owners
    ]
    headings = ("ip", "service", "owner", "since", "next", "interfaces", "state", "last takeover")
    show_table(shown, headings, rows)
    counts = Counter(row.owner for row in found.owners if row.owner is not None)
    unwell = sum(row.state not in AS_IT_SHOULD_BE for row in found.owners)
    text = f"{len(rows)} IPs, {len(counts)} owners, {unwell} not well; as {found.node} sees it"
    shown.print(text, style="red" if unwell else "", **LINE)


def _next(row: LiveOwner) -> str:
    return "not known yet" if row.next is None else row.next or "-"


def draw_explanation(found: LiveExplanation, shown: Console) -> None:
    """Write what there is to say, service by service."""
    services = list(dict.fromkeys(row.service for row in found.rows))
    for index, service in enumerate(services):
        if index:
            shown.print()
        title(shown, f"Service {service}, as {found.node} sees it")
        rows = [row for row in found.rows if row.service == service]
        for head in (row for row in rows if isinstance(row, LiveService)):
            _draw_head(head, shown)
        _draw_nodes([row for row in rows if isinstance(row, LiveNode)], shown)
        _draw_ips([row for row in rows if isinstance(row, LiveIP)], shown)
        for bgp in (row for row in rows if isinstance(row, LiveBgp)):
            _draw_bgp(bgp, [row for row in rows if isinstance(row, LiveRoute)], shown)


def _draw_head(head: LiveService, shown: Console) -> None:
    shown.print(f"IPs    {', '.join(head.ips) or 'none'}", **LINE)
    if head.owner is None:
        shown.print(f"owner  nobody: {head.withheld or 'no node may'}", style="red", **LINE)
    else:
        since = "" if head.since is None else f" since {moment(head.since)} ({head.reason})"
        shown.print(f"owner  {head.owner}{since}", style="green", **LINE)
        shown.print(f"next   {head.next or 'nobody'}", **LINE)
    for what, why in (
        ("announces nothing of it", head.withheld),
        ("speaks to nobody", head.contact),
    ):
        if why is not None:
            shown.print(f"       this node {what}: {why}", style="yellow", **LINE)


def _draw_nodes(rows: Sequence[LiveNode], shown: Console) -> None:
    if not rows:
        return
    shown.print()
    title(shown, "Layer 2: the nodes in their order")
    cells = [
        (
            str(row.rank or "-") + (f" ({row.points} points)" if row.points else ""),
            row.node,
            good(row.rule) if row.admitted else bad(row.rule),
            row.member or "-",
            row.detail,
        )
        for row in rows
    ]
    show_table(shown, ("order", "node", "rule", "gossip", "because"), cells)


def _draw_ips(rows: Sequence[LiveIP], shown: Console) -> None:
    if not rows:
        return
    shown.print()
    title(shown, "What this node does")
    headings = ("ip", "state", "link", "answers", "asked", "answered", "announced")
    show_table(shown, headings, [cells for row in rows for cells in _cells(row)])


def _cells(row: LiveIP) -> Iterator[tuple[str | Text, ...]]:
    state = row.state if row.state in AS_IT_SHOULD_BE else bad(row.state)
    counts = str(row.requests), str(row.responses), str(row.announcements)
    yield (row.ip, state, "", "", *counts)
    for link in row.links:
        answers = good("yes") if link.why is None else f"no: {link.why}"
        yield ("", "", link.link, answers, "", "", "")


def _draw_bgp(bgp: LiveBgp, routes: Sequence[LiveRoute], shown: Console) -> None:
    shown.print()
    states = [f"engine {bgp.engine}"]
    states += ["draining"] if bgp.draining else []
    states += ["something waits to be typed"] if bgp.pending else []
    states += [f"nothing is announced: {bgp.withheld}"] if bgp.withheld else []
    title(shown, f"BGP, this node: {', '.join(states)}")
    cells = [
        (row.prefix, row.peer, f"{row.neighbor} ({row.vrf})", row.session, _sent(row), _with(row))
        for row in routes
    ]
    show_table(shown, ("prefix", "peer", "neighbor", "session", "sent", "with what"), cells)


def _sent(row: LiveRoute) -> str | Text:
    if not row.offered:
        return "not offered"
    return good("yes") if row.sent else bad("no")


def _with(row: LiveRoute) -> str:
    parts = [*row.communities, *(f"large:{each}" for each in row.large_communities)]
    parts += [f"localPref {row.local_pref}"] if row.local_pref else []
    parts += [] if row.med is None else [f"MED {row.med}"]
    return " ".join(parts) if row.offered else ""
