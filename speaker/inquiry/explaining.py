"""Why an IP is where it is, as far as this speaker knows: rows of several kinds, a few a service.

service   what is planned of it, who owns it, who is next
node      each node: whether it may own the service, by which rule, and its place in the order
ip        what the IP is on this node, and what this node sends, link by link
bgp       what holds for all its routes
route     a prefix and a session: what the peer is offered, and whether it was sent
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gossip.io import MemberView
from gossip.wire.messages import State
from kube.address import parse_ip
from kube.objects.core import Node
from link.address import IPAddress
from ownership.election.election import digest
from ownership.letters import mark
from ownership.liveness.barred import BARRING
from plan.explain import Layer2Explanation
from plan.service import ServicePlan
from process.local.answer import LocalAnswer, LocalRow
from process.local.protocol import LocalRefusal
from speaker.configuration import options_of
from speaker.inquiry.owner_rows import OwnerRows
from speaker.inquiry.sight import Sight

AT_ONCE = 400
"""Digests between two rests: half a millisecond."""
_LIVING = (State.ALIVE, State.SUSPECT)

NODES_AT_ONCE = 100
"""Nodes whose reasons are worked out between two rests."""

NodeReason = tuple[str, str]
"""The rule that lets a node in or keeps it out, and the same in words."""


class Explaining:
    """Makes rows about a service, or about all that share an IP."""

    def __init__(self, sight: Sight, owners: OwnerRows) -> None:
        """`owners` knows who owns what, and since when."""
        self._sight = sight
        self._owners = owners

    def answer(self, about: str, after: str) -> LocalAnswer | LocalRefusal:
        """Explain an IP, `namespace/name`, or a name that only one service has."""
        services = self.find(about)
        if not services:
            return LocalRefusal.NOT_FOUND
        return LocalAnswer(self._numbered(services, int(after or 0)))

    def find(self, about: str) -> list[str]:
        """Name the services that it is about."""
        plans, routed = self._sight.core.plans(), self._sight.routing.announced()
        ip = parse_ip(about)
        if ip is not None:
            found = {service for service, plan in plans.items() if ip in plan.ips}
            return sorted(found | {name for name, ips in routed.items() if ip in ips})
        names = plans.keys() | routed.keys()
        if about in names:
            return [about]
        found = {name for name in names if name.endswith(f"/{about}")}
        return sorted(found) if about and "/" not in about and len(found) == 1 else []

    # ---- inside

    def _numbered(self, services: list[str], after: int) -> Iterator[LocalRow | None]:
        number = 0
        for service in services:
            for row in self._service(service):
                number += row is not None
                if row is None:
                    yield None
                elif number > after:
                    yield LocalRow({"service": service, **row}, str(number))

    def _service(self, service: str) -> Iterator[dict[str, Any] | None]:
        plan = self._sight.core.plans().get(service)
        if plan is not None:
            yield self._head(service, plan)
            yield from self._nodes(service, plan)
            yield from (self._ip(ip, service, plan) for ip in plan.ips)
        yield from self._sight.routing.explain(service)

    # ---- layer 2

    def _head(self, service: str, plan: ServicePlan) -> dict[str, Any]:
        tenure = self._sight.recording.tenures.of(service)
        owner = self._owners.of(service)
        known = tenure is not None and tenure.move.after == owner
        return {
            "kind": "service",
            "ips": [str(ip) for ip in plan.ips],
            "hashed": plan.hash_ip,
            "withheld": None if plan.withheld is None else plan.withheld.value,
            "interfaces": None if plan.interfaces is None else sorted(plan.interfaces),
            "owner": owner,
            "since": self._sight.dated(tenure.at) if tenure is not None and known else None,
            "reason": tenure.move.reason if tenure is not None and known else None,
            "next": self._owners.next_in_line(service, plan),
            "contact": _text(self._sight.core.held),
        }

    def _nodes(self, service: str, plan: ServicePlan) -> Iterator[dict[str, Any] | None]:
        """Yield the living candidates in the order of the hash, and then who is none."""
        members = {view.name: view for view in self._members()}
        names = {*self._nodes_of_objects(), *members, *(plan.candidates or ())}
        living = self._sight.core.basis[0]
        candidates = living if plan.candidates is None else living & plan.candidates
        ranks = dict[str, tuple[int, bytes]]()
        for number, name in enumerate(candidates, 1):
            ranks[name] = -plan.scores.get(name, 0), digest(name, plan.hash_ip)
            if number % AT_ONCE == 0:
                yield None
        ordered = sorted(ranks, key=ranks.__getitem__)
        reasons = dict[str, NodeReason]()
        for number, (name, reason) in enumerate(self._reasons_of(service), 1):
            reasons[name] = reason
            if number % NODES_AT_ONCE == 0:
                yield None
        yield None
        for rank, name in enumerate(ordered, 1):
            yield self._node(name, rank, plan, members.get(name), reasons)
        for name in sorted(names - ranks.keys()):
            yield self._node(name, None, plan, members.get(name), reasons)

    def _node(
        self,
        name: str,
        rank: int | None,
        plan: ServicePlan,
        member: MemberView | None,
        reasons: Mapping[str, NodeReason],
    ) -> dict[str, Any]:
        admitted = plan.candidates is None or name in plan.candidates
        rule, detail = reasons.get(name, ("admitted" if admitted else "notCandidate", ""))
        bars = self._bars(name, plan, member)
        if admitted and rank is None:
            state = "unknown to gossip" if member is None else member.state.name.lower()
            rule, detail = "notAlive", state
        elif admitted and bars:
            rule, detail = "barred", ", ".join(bars)
        return {
            "kind": "node",
            "node": name,
            "rank": rank,
            "in": admitted and rank is not None and not bars,
            "rule": rule,
            "detail": detail,
            "member": None if member is None else member.state.name.lower(),
            "clarion": member is not None and mark.is_marked(member.meta),
            "bars": bars,
            "points": plan.scores.get(name, 0),
        }

    def _bars(self, name: str, plan: ServicePlan, member: MemberView | None) -> list[str]:
        """Say what bars a living node: its own words, and verdicts on it."""
        _, bars = self._sight.core.basis
        its = None if member is None or member.state not in _LIVING else mark.decode(member.meta)
        said = [] if its is None else [_flag(flag.name) for flag in its.flags & BARRING]
        links = [
            f"gone on {subject.link}"
            for subject in sorted(bars.links)
            if subject.node == name and (plan.interfaces is None or subject.link in plan.interfaces)
        ]
        silent = ["process silent"] if name in bars.nodes and not said else []
        return [*said, *silent, *links]

    def _ip(self, ip: IPAddress, service: str, plan: ServicePlan) -> dict[str, Any]:
        announcer, stats = self._sight.announcer, self._sight.layer2.stats.ips.get(ip)
        links = self._sight.layer2.usable()
        return {
            "kind": "ip",
            "ip": str(ip),
            "state": self._owners.state(ip, service),
            "links": [
                {"link": link.name, "why": _text(announcer.answers(ip, index))}
                for index, link in links.items()
            ],
            "requests": 0 if stats is None else stats.requests,
            "responses": 0 if stats is None else stats.responses,
            "announcements": 0 if stats is None else stats.gratuitous,
            "takeover": self._owners.takeover(ip, service),
        }

    # ---- nodes

    def _members(self) -> Iterable[MemberView]:
        return self._sight.peers.members()

    def _nodes_of_objects(self) -> Mapping[str, Node]:
        snapshot = self._sight.configuration.snapshot
        return {} if snapshot is None else snapshot.nodes

    def _reasons_of(self, service: str) -> Iterator[tuple[str, NodeReason]]:
        """Say of each node what the cluster's objects say of it, whoever lives."""
        snapshot = self._sight.configuration.snapshot
        found = None if snapshot is None else snapshot.services.get(service)
        if snapshot is None or found is None:
            return
        explained = Layer2Explanation(snapshot, options_of(self._sight.settings))
        for verdict in explained.verdicts(found):
            yield verdict.node, (verdict.rule.value, verdict.detail)


def _flag(name: str | None) -> str:
    return "unknown" if name is None else name.lower()


def _text(reason: Any) -> str | None:
    return None if reason is None else str(reason.value)
