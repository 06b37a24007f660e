"""What people and the cluster are told of service IPs: log lines, events, where each is announced.

Told are deeds, not decisions: an IP that was won may be contested, quiet, or without its interface.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from structlog.typing import FilteringBoundLogger as Log

from link.address import IPAddress
from ownership.announcing.decisions import Announced, Decisions
from ownership.io import (
    Announce,
    BarsChanged,
    Confirmed,
    Contested,
    Filtered,
    ForeignAnswer,
    HandedOver,
    Held,
    Lost,
    Move,
    Moved,
    OwnershipEvent,
    PutOff,
    QuorumChanged,
    Released,
    TookQuietly,
    Withdraw,
    Won,
)
from ownership.liveness.barred import Barred
from ownership.ownership import Ownership
from process.later import Later
from speaker.cluster.status import where
from speaker.metrics.collector import Instruments
from speaker.metrics.owning import cause_of
from speaker.wire.layer2 import Layer2

if TYPE_CHECKING:
    from speaker.cluster.cluster import Cluster

_ECHO_HINT = "allow ICMP echo between nodes, or its failure is found by gossip alone, seconds later"
FOREIGN_HINT = "there: sysctl net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2"


class Telling:
    """Lines are written later, with the time of the deed; `cluster` is None with a folder."""

    def __init__(
        self,
        core: Ownership,
        layer2: Layer2,
        later: Later,
        instruments: Instruments,
        cluster: "Cluster | None",
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        self._node = core.node
        self._clock = clock
        self._announced = core.services()
        self._serves = core.serves
        self._layer2 = layer2
        self._later = later
        self._instruments = instruments
        self._cluster = cluster
        self._log = log
        self._decisions = Decisions()
        self.on_announced: Callable[[IPAddress, Announced, float], None] = lambda *told: None
        """Called with each IP that was won, when its first announcement has left."""
        self._unassigned: set[str] = set()
        """Services that this node has won, and of which the cluster is not told so yet."""

    def tell(self, event: OwnershipEvent, now: float) -> None:
        """Tell of one thing that the core has decided, or that has come of it."""
        match event:
            case Moved(move, ips):
                self._instruments.moves[move.reason] += 1
                self._tell_move(move, ips)
            case Won(action):
                self._instruments.since.setdefault(action.service, time.time())
                self._tell_win(action, now)
                self.publish([action.service])
            case Lost(action):
                if action.service not in self._announced:
                    self._instruments.since.pop(action.service, None)
                self._tell_loss(action)
                self.publish([action.service])
            case HandedOver(services):
                self.publish(services)
            case TookQuietly(ip):
                self._quiet(ip)
            case PutOff(ips):
                # Somebody else answers, or their clients are well served.
                self._decisions.put_off(ips)
            case Confirmed(seconds):
                self._instruments.confirmed.observe(seconds)
            case ForeignAnswer(ip, node):
                self._log.warning("foreign_answer", ip=str(ip), node=node, hint=FOREIGN_HINT)
                self._foreign_answer(ip, node)
            case _:
                self._line_of(event)

    # ---- what was decided

    def _tell_move(self, move: Move, ips: Iterable[IPAddress]) -> None:
        """The election has given a service to another node, as far as this node knows."""
        owners = {"owner": move.after, "previous": move.before}
        self._lines("leader", move.service, ips, reason=move.reason, **owners)

    def _tell_win(self, action: Announce, now: float) -> None:
        """This node is to announce a service."""
        for ip in action.ips:
            self._decisions.decide(ip, action.service, action.reason, now)
        if self._cluster is not None:
            self._unassigned.add(action.service)
        if action.interfaces is not None and not action.interfaces & self._layer2.names():
            wanted = sorted(action.interfaces)
            self._log.warning("announce_failed", service=action.service, interfaces=wanted)
            if self._cluster is not None:
                self._cluster.note_failure(action.service, str(action.ips[0]), wanted)

    def _tell_loss(self, action: Withdraw) -> None:
        """This node is to announce it no more."""
        self._unassigned.discard(action.service)
        self._decisions.forget(action.ips)
        self._lines("withdraw", action.service, action.ips, reason=action.reason)

    def note_leave(self) -> None:
        """Nothing is announced any more."""
        for item in list(self._announced.values()):
            self._lines("withdraw", item.service, item.ips, reason="leaving")

    # ---- what was done

    def note_first_frame(self, ip: IPAddress) -> None:
        """An announcement of the IP has left."""
        now = self._clock()
        announced = self._decisions.note_frame(ip, now)
        if announced is None:
            return
        self.on_announced(ip, announced, now)
        if announced.seconds is not None:
            takeover = self._instruments.takeover.labels(cause_of(announced.reasons.values()))
            self._later.add(partial(takeover.observe, announced.seconds))
        for service, reason in announced.reasons.items():
            self._lines("announce", service, (ip,), reason=reason)

    def _quiet(self, ip: IPAddress) -> None:
        """The IP is answered for from now on, but not announced."""
        for service, reason in self._decisions.reasons(ip).items():
            self._lines("announce", service, (ip,), reason=reason, quiet=True)

    def _foreign_answer(self, ip: IPAddress, node: str) -> None:
        """Tell the services of the IP which setting of which node is wrong."""
        if self._cluster is None:
            return
        for service, item in list(self._announced.items()):
            if ip in item.ips:
                self._cluster.note_foreign_answer(service, str(ip), node)

    def activate(self) -> None:
        """What is not announced now is not ours."""
        if self._cluster is not None:
            self._cluster.activate()

    def publish(self, services: Iterable[str]) -> None:
        """Tell the cluster where these services are announced now, as far as it is true."""
        if self._cluster is None:
            return
        names = self._layer2.names()
        for service in services:
            interfaces = where(self._announced.get(service), self._serves, names)
            self._cluster.note_change(service, interfaces)
            if interfaces is not None and service in self._unassigned:
                self._unassigned.discard(service)
                self._cluster.note_assignment(service)

    # ---- inside

    def _line_of(self, event: OwnershipEvent) -> None:
        """Log what is told to people alone: what keeps us from an IP, and who may own none."""
        match event:
            case QuorumChanged(changed, lacking):
                self._log.warning("quorum", changed=changed, lacking=lacking)
            case Held(reason, gap=gap):
                self._log.info("contact", state="held", reason=reason, gap=round(gap, 3))
            case Released(reason, by=by, waited=waited):
                waited = round(waited, 3)
                self._log.info("contact", state="made", reason=reason, by=by, waited=waited)
            case Contested(ip, node, mac):
                answered = mac.hex(":") if mac else None
                self._log.warning("contested", ip=str(ip), node=node, mac=answered)
            case Filtered(node):
                self._log.warning("echo_filtered", node=node, hint=_ECHO_HINT)
            case BarsChanged(before, after):
                self._tell_bars(before, after)
            case _:
                pass

    def _tell_bars(self, before: Barred, after: Barred) -> None:
        for subject in after.links - before.links:
            self._log.warning("verdict", node=subject.node, link=subject.link, state="gone")
        for subject in before.links - after.links:
            self._log.info("verdict", node=subject.node, link=subject.link, state="void")
        for node in after.nodes - before.nodes:
            self._log.warning("barred", node=node)
        for node in before.nodes - after.nodes:
            self._log.info("not_barred", node=node)

    def _lines(self, event: str, service: str, ips: Iterable[IPAddress], **fields: Any) -> None:
        """Log one line an IP."""
        fields = {"owner": self._node, **fields, "service": service, "at": time.time()}
        for ip in ips:
            self._later.add(partial(self._line, event, ip, fields))

    def _line(self, event: str, ip: IPAddress, fields: dict[str, Any]) -> None:
        self._log.info(event, ip=str(ip), **fields)
