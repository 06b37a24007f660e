"""Who owns each IP, since when, and who is next: one row an IP."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from link.address import IPAddress
from ownership.handover.states import HoldState
from plan.service import ServicePlan
from process.local.answer import LocalAnswer, LocalRow
from speaker.inquiry.sight import Sight

COLUMNS = ("ip", "service", "owner", "since", "next", "interfaces", "state", "why", "takeover")
_STATE = COLUMNS.index("state")
UNOWNED, ROUTED = "unowned", "routed"
"""Announced by nobody on the link, as far as this node knows; and: by BGP alone, by this node."""
MOST_DIGESTS = 150_000
"""Digests that one answer may cost: a fifth of a second of a processor. What is known by then of
who is next is kept, so that the next answer knows more."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Who is next, and what that was found by: as long as that is the same, so is this."""

    plan: ServicePlan
    members: object
    bars: object
    owner: str
    next: str


class OwnerRows:
    """Makes rows; remembers who is next in line."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight
        self._known: dict[str, _Known] = {}

    def answer(self, after: str) -> LocalAnswer:
        """Return all rows after this place, by the name of the service."""
        return LocalAnswer(self._rows(after), COLUMNS)

    def of(self, service: str) -> str | None:
        """Name the owner of a service, as far as this node knows."""
        owner = self._sight.core.owners().get(service)
        return owner if owner is not None else self._sight.core.elsewhere(service)

    def next_in_line(self, service: str, plan: ServicePlan) -> str | None:
        """Name who would own the service if its owner went; empty: nobody."""
        core = self._sight.core
        owner, (members, bars) = core.owners().get(service), core.basis
        known = self._known.get(service)
        if owner is None:
            return ""
        if known is None or not _holds(known, plan, members, bars, owner):
            found = core.next_in_line(service) or ""
            known = self._known[service] = _Known(plan, members, bars, owner, found)
        return known.next

    # ---- inside

    def _rows(self, after: str) -> Iterator[LocalRow | None]:
        plans, budget = self._sight.core.plans(), MOST_DIGESTS
        routed = self._sight.routing.announced()
        names = sorted(plans)
        self._forget(names)
        yield None
        last, _, last_ip = after.partition(" ")
        for service in names[bisect_left(names, last) :]:
            plan = plans.get(service)
            if plan is None or not plan.ips:
                continue
            ips = plan.ips
            if service == last:
                ips = _following(ips, last_ip)
            budget -= self._cost(service, plan)
            successor = self.next_in_line(service, plan) if budget >= 0 else None
            for ip in ips:
                row = self._row(ip, service, plan, successor)
                if row[_STATE] == UNOWNED and service in routed:
                    row = (*row[:_STATE], ROUTED, *row[_STATE + 1 :])
                yield LocalRow(row, f"{service} {ip}")

    def _forget(self, names: list[str]) -> None:
        if len(self._known) > 2 * len(names):
            self._known.clear()

    def _cost(self, service: str, plan: ServicePlan) -> int:
        core = self._sight.core
        known, (members, bars) = self._known.get(service), core.basis
        if known is not None and _holds(known, plan, members, bars, core.owners().get(service)):
            return 0
        return len(members) if plan.candidates is None else len(plan.candidates)

    def _row(
        self, ip: IPAddress, service: str, plan: ServicePlan, successor: str | None
    ) -> tuple[Any, ...]:
        sight = self._sight
        tenure = sight.recording.tenures.of(service)
        owner, state = self.of(service), self.state(ip, service)
        since = None if tenure is None or tenure.move.after != owner else sight.dated(tenure.at)
        why = None if plan.withheld is None else plan.withheld.value
        where = self.interfaces(ip, plan)
        takeover = self.takeover(ip, service)
        return str(ip), service, owner, since, successor, where, state, why, takeover

    def state(self, ip: IPAddress, service: str) -> str:
        """Return what the IP is on this node, or what it is without it."""
        held = self._sight.core.state(ip)
        if held is not HoldState.NONE:
            return held.value
        owner = self.of(service)
        if owner is None:
            return UNOWNED
        # Where it is ours and nothing yet, contact is missing, or a turn is not over.
        return "waiting" if owner == self._sight.core.node else "elsewhere"

    def interfaces(self, ip: IPAddress, plan: ServicePlan) -> list[str] | None:
        """Name the links on which this node answers for the IP, or would; None: on all."""
        if self._sight.announcer.wants(ip):
            return list(self._sight.announcer.interface_names(ip))
        return None if plan.interfaces is None else sorted(plan.interfaces)

    def takeover(self, ip: IPAddress, service: str) -> dict[str, Any] | None:
        """Return how the IP came to its owner; its announcement only where that is this node."""
        sight = self._sight
        tenure, arrival = sight.recording.tenures.of(service), sight.recording.tenures.arrival(ip)
        if tenure is None:
            return None
        return {
            "from": tenure.move.before,
            "reason": tenure.move.reason,
            "announced": None if arrival is None else sight.dated(arrival.at),
            "seconds": None if arrival is None or arrival.seconds is None else arrival.seconds,
        }


def _following(ips: tuple[IPAddress, ...], last: str) -> tuple[IPAddress, ...]:
    """Return the IPs after this one, all where it is none of them."""
    texts = [str(ip) for ip in ips]
    return ips[texts.index(last) + 1 :] if last in texts else ips


def _holds(
    known: _Known, plan: ServicePlan, members: object, bars: object, owner: str | None
) -> bool:
    return (
        known.plan is plan
        and known.members is members
        and known.bars is bars
        and known.owner == owner
    )
