"""`clarion simulate`: what a change would move, and what it would leave without an owner."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import click
import msgspec
from rich.console import Console

from clarion.allocating import Allocation
from clarion.answers import Counts, MoveRow, NodeCount, Simulation, plain
from clarion.looking import WHERE, Inquiry, looking, remark
from clarion.render import LINE, bad, show_table, title
from clarion.sources.dumps import readings
from clarion.sources.picture import Picture, merged
from clarion.sources.trouble import UnseenError
from clarion.standing import Standing, standings
from kube.objects.core import Node, Service
from kube.objects.reading import View, is_dns_name
from kube.problem import Severity
from kube.selector import valid_key, valid_value
from kube.snapshot import Key, with_status
from ownership.election.election import Election
from plan.service import is_ours

MOST_SHOWN = 50
"""Moves that the table lists; JSON has all."""
_REASON = "change"
_USUAL = {"kubernetes.io/os": "linux"}


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What is to be tried, all of it at once."""

    down: tuple[str, ...] = ()
    """Nodes that stop; their objects stay, as after a power failure."""
    added: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    """A node, and `key=value`, or `key-` to take the label away."""
    manifests: Mapping[Key, View] = field(default_factory=dict)
    """Objects that are created, or put in the place of those of their name."""

    def texts(self) -> list[str]:
        """Return one line for each part."""
        shown = (
            f"{kind} {ns}/{name}" if ns else f"{kind} {name}" for kind, ns, name in self.manifests
        )
        return [
            *(f"{node} stops" for node in self.down),
            *(f"{node} is added" for node in self.added),
            *(f"{node} gets label {label}" for node, label in self.labels),
            *(f"{text} is applied" for text in shown),
        ]

    def views(self, nodes: Mapping[str, Node]) -> dict[Key, View | None]:
        """Return the objects as they are to be. Raises `UnseenError` for a node that is missing."""
        found: dict[Key, View | None] = dict(self.manifests)
        known = {**nodes, **{n.name: n for n in found.values() if isinstance(n, Node)}}
        for name in self.added:
            if not is_dns_name(name):
                raise UnseenError(f"--add {name}: this is no name of a node")
            if name in known:
                raise UnseenError(f"--add {name}: there is a node of this name")
            known[name] = Node(name, {**_USUAL, "kubernetes.io/hostname": name})
            found["Node", "", name] = known[name]
        for name, label in self.labels:
            known[name] = _labelled(_there(name, known, "--label"), label)
            found["Node", "", name] = known[name]
        for name in self.down:
            _there(name, known, "--down")
        return found


def _there(name: str, known: Mapping[str, Node], flag: str) -> Node:
    if name not in known:
        raise UnseenError(f"{flag} {name}: there is no such node")
    return known[name]


def _labelled(node: Node, label: str) -> Node:
    """Return the node with a label, or without. Raises `UnseenError` for what is none."""
    key, equals, value = label.partition("=")
    labels = dict(node.labels)
    if not equals and key.endswith("-") and valid_key(key[:-1]):
        labels.pop(key[:-1], None)
    elif equals and valid_key(key) and valid_value(value):
        labels[key] = value
    else:
        raise UnseenError(f"--label {node.name} {label}: neither key=value nor key-")
    return msgspec.structs.replace(node, labels=labels)


# ---- what follows


def answer(before: Picture, change: WhatIf) -> Simulation:
    """Return what the change would move. Raises `UnseenError` where it cannot be made."""
    views = {
        key: with_status(found, before.snapshot.services.get(found.key))
        if isinstance(found, Service) and not any(found.ingress)
        else found
        for key, found in change.views(before.snapshot.nodes).items()
    }
    after = _with_addresses(before.with_views(_in_namespace(views, before.namespace)))
    compared = _Compared(before, after, frozenset(change.down))
    moves = compared.moves()
    counts = compared.counts(moves)
    return Simulation(
        source=before.source,
        well=not counts.lost and not _new_errors(before, after),
        changes=tuple(map(plain, change.texts())),
        counts=counts,
        moves=tuple(moves),
        nodes=tuple(compared.nodes()),
        remarks=tuple(map(remark, after.problems)),
    )


def _new_errors(before: Picture, after: Picture) -> bool:
    """Tell whether the change has errors: speakers would go on by what was in force before."""
    known = frozenset(before.problems)
    return any(found.severity is Severity.ERROR and found not in known for found in after.problems)


def _in_namespace(views: Mapping[Key, View | None], namespace: str) -> dict[Key, View | None]:
    return {
        (kind, getattr(found, "namespace", None) or namespace, name): found
        for (kind, _, name), found in views.items()
    }


def _with_addresses(picture: Picture) -> Picture:
    """Return the picture with what a controller would give to services that have no address."""
    waiting = [
        service
        for service in picture.snapshot.services.values()
        if service.type == "LoadBalancer" and is_ours(service, picture.options)
        if not any(service.ingress)
    ]
    if not waiting:
        return picture
    allocation = Allocation(picture)
    given: dict[Key, View | None] = {}
    for service in sorted(waiting, key=lambda found: (found.demand.created, found.key)):
        if ips := allocation.of(service).ips:
            given["Service", service.namespace, service.name] = msgspec.structs.replace(
                service, ingress=ips
            )
    return picture.with_views(given) if given else picture


class _Compared:
    """One election that sees both pictures, one after the other: what is the same costs nothing."""

    def __init__(self, before: Picture, after: Picture, down: frozenset[str]) -> None:
        election = Election()
        self._down, self._first = down, {s.service.key: s for s in standings(before)}
        self._then = {s.service.key: s for s in standings(after)}
        self._before = self._settled(election, self._first, before.snapshot.nodes)
        living = after.snapshot.nodes.keys() - down
        self._added = living - before.snapshot.nodes.keys()
        self._after = self._settled(election, self._then, living)

    @staticmethod
    def _settled(
        election: Election, found: Mapping[str, Standing], nodes: Iterable[str]
    ) -> dict[str, str | None]:
        election.set_plans({key: standing.plan for key, standing in found.items()})
        election.set_members(frozenset(nodes), _REASON)
        while election.pending:
            election.advance()
        return dict(election.owners())

    def moves(self) -> list[MoveRow]:
        """Return the addresses whose owner differs; those left without one first."""
        found = [row for key in self._first.keys() | self._then.keys() for row in self._rows(key)]
        return sorted(found, key=lambda row: (row.after is not None, row.service, row.ip))

    def _rows(self, key: str) -> Iterable[MoveRow]:
        owners = (self._first, self._before), (self._then, self._after)
        held, holds = (
            {ip: owned.get(key) for ip in (found[key].plan.ips if key in found else ())}
            for found, owned in owners
        )
        for ip in dict.fromkeys((*held, *holds)):
            one, other = held.get(ip), holds.get(ip)
            if one != other:
                reason = "the service loses this address" if ip not in holds else ""
                yield MoveRow(str(ip), key, one, other, reason or self._reason(key, one, other))

    def _reason(self, key: str, one: str | None, other: str | None) -> str:
        if one in self._down:
            return f"{one} stops"
        if other in self._added:
            return f"{other} is added"
        if other is None:
            return self._then[key].why or "no node that may own it is left"
        if one is None:
            return "it may be owned now"
        return (
            f"{one} may not own it any more" if self._lost(key, one) else f"{other} comes first now"
        )

    def _lost(self, key: str, node: str) -> bool:
        return node not in (self._then[key].plan.candidates or ())

    def nodes(self) -> list[NodeCount]:
        """Return the nodes that own more or fewer addresses, those that gain most first."""
        one, other = self._owned(self._first, self._before), self._owned(self._then, self._after)
        found = [
            NodeCount(node, one[node], other[node])
            for node in sorted(one.keys() | other.keys())
            if one[node] != other[node]
        ]
        return sorted(found, key=lambda row: row.before - row.after)

    @staticmethod
    def _owned(found: Mapping[str, Standing], owners: Mapping[str, str | None]) -> Counter[str]:
        owned = Counter[str]()
        for key, standing in found.items():
            if (owner := owners.get(key)) is not None:
                owned[owner] += len(standing.plan.ips)
        return owned

    def counts(self, moves: Iterable[MoveRow]) -> Counts:
        """Return how many there are of each."""
        rows = list(moves)
        layer2 = [s for s in self._then.values() if s.protocols != ("bgp",)]
        return Counts(
            ips=sum(len(standing.plan.ips) for standing in layer2),
            moved=sum(row.before is not None and row.after is not None for row in rows),
            lost=sum(row.after is None for row in rows),
            gained=sum(row.before is None for row in rows),
            without_owner=sum(
                len(s.plan.ips) for s in layer2 if self._after.get(s.service.key) is None
            ),
            bgp_only=sum(len(s.plan.ips) for s in self._then.values())
            - sum(len(s.plan.ips) for s in layer2),
        )


def draw(found: Simulation, shown: Console) -> None:
    """Write the plan and its counts."""
    for text in found.changes:
        title(shown, text)
    rows = [
        (row.ip, row.service, row.before or "-", row.after or bad("nobody"), row.reason)
        for row in found.moves[:MOST_SHOWN]
    ]
    if rows:
        show_table(shown, ("ip", "service", "from", "to", "because"), rows)
    if len(found.moves) > MOST_SHOWN:
        shown.print(f"... and {len(found.moves) - MOST_SHOWN} more: `-o json` has all", **LINE)
    counts = found.counts
    text = (
        f"of {counts.ips} IPs {counts.moved} move, {counts.lost} lose their owner, {counts.gained} "
        f"get one; {counts.without_owner} are without an owner then"
    )
    shown.print(text, style="red" if counts.lost else "", **LINE)
    if counts.bgp_only:
        text = (
            f"{counts.bgp_only} IPs are announced by BGP alone: each node that may announces them"
        )
        shown.print(text, **LINE)
    if found.nodes:
        cells = [(row.node, str(row.before), str(row.after)) for row in found.nodes[:MOST_SHOWN]]
        show_table(shown, ("node", "IPs before", "after"), cells)


@click.command()
@click.option("--down", default="", metavar="NODE[,NODE]", help="These nodes stop.")
@click.option("--add", multiple=True, metavar="NODE", help="This node joins.")
@click.option(
    "--label", nargs=2, multiple=True, metavar="NODE KEY=VALUE", help="KEY- takes it away."
)
@click.option("-f", "--filename", metavar="MANIFEST", help="What is to be applied; a folder, too.")
@looking(*WHERE)
def simulate(
    inquiry: Inquiry,
    down: str,
    add: tuple[str, ...],
    label: tuple[tuple[str, str], ...],
    filename: str | None,
) -> None:
    """Say what a change would move, and what it would leave without an owner.

    Pods of a node that stops are taken to run elsewhere.
    """
    manifests = {} if filename is None else merged(readings(filename), inquiry.namespace).views
    change = WhatIf(tuple(filter(None, down.split(","))), add, label, manifests)
    if change == WhatIf():
        raise click.UsageError("no change: give --down, --add, --label or -f")
    inquiry.tell(answer(inquiry.picture(), change), draw)
