"""From plans and owners to what this node must start and stop announcing. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from ownership.io import Announce, Withdraw
from plan.service import ServicePlan, Withheld

Action = Announce | Withdraw


class Reconciler:
    """Remembers what is announced and yields the difference, one service at a time."""

    def __init__(self) -> None:
        self._announced: dict[str, Announce] = {}
        self._unfinished: set[str] = set()

    def services(self) -> Mapping[str, Announce]:
        """Return what is announced, by service."""
        return self._announced

    def reconcile(
        self, service: str, plan: ServicePlan | None, mine: bool, reason: str
    ) -> list[Action]:
        """Return what to do for one service; `mine` says that this node won its election."""
        finished = service not in self._unfinished
        self._unfinished.discard(service)
        if plan is None:
            return self._withdraw(service, Withheld.SERVICE_DELETED)
        if plan.withheld is not None:
            return self._withdraw(service, plan.withheld)
        if not mine:
            return self._withdraw(service, Withheld.NOT_OWNER)
        return self._announce(service, plan, reason, finished)

    def note_unfinished(self, service: str, before: Announce | None) -> None:
        """What was returned last was done in part; `before` is what was announced before that.

        Then any IP of both may be answered for, and is withdrawn if it is not to be announced.
        """
        states = [state for state in (before, self._announced.get(service)) if state is not None]
        if states:
            ips = dict.fromkeys(ip for state in states for ip in state.ips)
            self._announced[service] = replace(states[-1], ips=tuple(ips))
            self._unfinished.add(service)

    def _withdraw(self, service: str, reason: str) -> list[Action]:
        before = self._announced.pop(service, None)
        return [Withdraw(service, before.ips, reason)] if before else []

    def _announce(
        self, service: str, plan: ServicePlan, reason: str, finished: bool
    ) -> list[Action]:
        before = self._announced.get(service)
        actions: list[Action] = []
        if before is not None:
            wanted = (frozenset(plan.ips), plan.interfaces)
            if finished and (frozenset(before.ips), before.interfaces) == wanted:
                return []
            gone = tuple(ip for ip in before.ips if ip not in plan.ips)
            if gone:
                actions.append(Withdraw(service, gone, Withheld.IP_CHANGED))
        announce = Announce(service, plan.ips, plan.interfaces, reason)
        self._announced[service] = announce
        return [*actions, announce]
