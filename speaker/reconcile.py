"""From plans and owners to what this node must start and stop announcing. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from speaker.desired import ServicePlan, Withheld

IPAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Announce:
    """This node answers for the service's IPs from now on."""

    service: str
    ips: tuple[IPAddress, ...]
    interfaces: frozenset[str] | None
    reason: str


@dataclass(frozen=True, slots=True)
class Withdraw:
    """This node answers no longer for these IPs of the service."""

    service: str
    ips: tuple[IPAddress, ...]
    reason: str


Action = Announce | Withdraw


class Reconciler:
    """Remembers what is announced and yields the difference, one service at a time."""

    def __init__(self) -> None:
        self._announced: dict[str, Announce] = {}

    def announced(self) -> Mapping[str, Announce]:
        """Return what is announced, by service."""
        return self._announced

    def reconcile(
        self, service: str, plan: ServicePlan | None, mine: bool, reason: str
    ) -> list[Action]:
        """Return what to do for one service; `mine` says that this node won its election."""
        if plan is None:
            return self._withdraw(service, Withheld.SERVICE_DELETED)
        if plan.withheld is not None:
            return self._withdraw(service, plan.withheld)
        if not mine:
            return self._withdraw(service, Withheld.NOT_OWNER)
        return self._announce(service, plan, reason)

    def _withdraw(self, service: str, reason: str) -> list[Action]:
        before = self._announced.pop(service, None)
        return [Withdraw(service, before.ips, reason)] if before else []

    def _announce(self, service: str, plan: ServicePlan, reason: str) -> list[Action]:
        before = self._announced.get(service)
        actions: list[Action] = []
        if before is not None:
            wanted = (frozenset(plan.ips), plan.interfaces)
            if (frozenset(before.ips), before.interfaces) == wanted:
                return []
            gone = tuple(ip for ip in before.ips if ip not in plan.ips)
            if gone:
                actions.append(Withdraw(service, gone, Withheld.IP_CHANGED))
        announce = Announce(service, plan.ips, plan.interfaces, reason)
        self._announced[service] = announce
        return [*actions, announce]
