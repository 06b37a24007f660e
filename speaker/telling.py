"""What people and the cluster are told of service IPs: log lines, events, where each is announced.

Told are deeds, not decisions: an IP that was won may be contested, quiet, or without its interface.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from link.address import IPAddress
from ownership.announcing.announcer import Announcer
from ownership.announcing.decisions import Decisions
from ownership.io import Announce, ForeignAnswer, Move, Withdraw
from process.later import Later
from speaker.cluster.status import where
from speaker.layer2 import Layer2

if TYPE_CHECKING:
    from speaker.cluster.cluster import Cluster


class Telling:
    """Lines are written later, with the time of the deed; `cluster` is None with a folder."""

    def __init__(
        self,
        node: str,
        clock: Callable[[], float],
        announced: Mapping[str, Announce],
        announcer: Announcer,
        layer2: Layer2,
        later: Later,
        log: Any,
    ) -> None:
        self.cluster: Cluster | None = None
        self.on_taken: Callable[[float], None] = lambda seconds: None
        """Called with the seconds from a decision to the first frame."""
        self._node = node
        self._clock = clock
        self._announced = announced
        self._announcer = announcer
        self._layer2 = layer2
        self._later = later
        self._log = log
        self._decisions = Decisions()
        self._unassigned: set[str] = set()
        """Services that this node has won, and of which the cluster is not told so yet."""

    # ---- what was decided

    def moved(self, move: Move, ips: Iterable[IPAddress]) -> None:
        """The election has given a service to another node, as far as this node knows."""
        owners = {"owner": move.after, "previous": move.before}
        self._lines("leader", move.service, ips, reason=move.reason, **owners)

    def won(self, action: Announce, now: float) -> None:
        """This node is to announce a service."""
        for ip in action.ips:
            self._decisions.decided(ip, action.service, action.reason, now)
        if self.cluster is not None:
            self._unassigned.add(action.service)
        if action.interfaces is not None and not action.interfaces & self._layer2.names():
            wanted = sorted(action.interfaces)
            self._log.warning("announce_failed", service=action.service, interfaces=wanted)
            if self.cluster is not None:
                self.cluster.failed(action.service, str(action.ips[0]), wanted)

    def lost(self, action: Withdraw) -> None:
        """This node is to announce it no more."""
        self._unassigned.discard(action.service)
        self._decisions.forget(action.ips)
        self._lines("withdraw", action.service, action.ips, reason=action.reason)

    def leaving(self) -> None:
        """Nothing is announced any more."""
        for item in list(self._announced.values()):
            self._lines("withdraw", item.service, item.ips, reason="leaving")

    # ---- what was done

    def first_frame(self, ip: IPAddress) -> None:
        """An announcement of the IP has left."""
        announced = self._decisions.announced(ip, self._clock())
        if announced is None:
            return
        if announced.seconds is not None:
            self._later.add(partial(self.on_taken, announced.seconds))
        for service, reason in announced.reasons.items():
            self._lines("announce", service, (ip,), reason=reason)

    def quiet(self, ip: IPAddress) -> None:
        """The IP is answered for from now on, but not announced."""
        for service, reason in self._decisions.reasons(ip).items():
            self._lines("announce", service, (ip,), reason=reason, quiet=True)

    def put_off(self, ips: Iterable[IPAddress]) -> None:
        """These are not announced now: somebody else answers, or their clients are well served."""
        self._decisions.put_off(ips)

    def foreign_answer(self, answer: ForeignAnswer) -> None:
        """Tell the services of the IP which setting of which node is wrong."""
        if self.cluster is None:
            return
        for service, item in list(self._announced.items()):
            if answer.ip in item.ips:
                self.cluster.foreign_answer(service, str(answer.ip), answer.node)

    def publish(self, services: Iterable[str]) -> None:
        """Tell the cluster where these services are announced now, as far as it is true."""
        if self.cluster is None:
            return
        names = self._layer2.names()
        for service in services:
            interfaces = where(self._announced.get(service), self._announcer.serves, names)
            self.cluster.changed(service, interfaces)
            if interfaces is not None and service in self._unassigned:
                self._unassigned.discard(service)
                self.cluster.assigned(service)

    # ---- inside

    def _lines(self, event: str, service: str, ips: Iterable[IPAddress], **fields: Any) -> None:
        """Log one line an IP."""
        fields = {"owner": self._node, **fields, "service": service, "at": time.time()}
        for ip in ips:
            self._later.add(partial(self._line, event, ip, fields))

    def _line(self, event: str, ip: IPAddress, fields: dict[str, Any]) -> None:
        self._log.info(event, ip=str(ip), **fields)
