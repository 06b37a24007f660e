"""The speaker's own cores of one simulated node, wired as the daemon wires them. Pure."""

from collections.abc import Mapping
from ipaddress import IPv4Address

from arp.gratuitous import gratuitous
from arp.responder import respond
from gossip.io import Event, Exchanged, ExchangeFailed, Gone, Joined
from link.drop import DropReason
from link.interface import Interface
from speaker.announcer import Announcer
from speaker.contact import LONGEST_GAP, Contact, Held, HoldReason, Released
from speaker.desired import ServicePlan
from speaker.election import Election, Move
from speaker.reconcile import Announce, Reconciler

LINK = 1
_ALL = 1_000_000


def make_plans(services: int) -> dict[str, ServicePlan]:
    """Plan that many services with one IP each, which every member may own."""
    ips = [IPv4Address(f"192.0.2.{number + 1}") for number in range(services)]
    return {f"default/s{ip}": ServicePlan(f"default/s{ip}", (ip,), str(ip), None) for ip in ips}


class Announcing:
    """Contact, election, reconciler, announcer and ARP responder of one process."""

    def __init__(self, node: str, mac: bytes, plans: Mapping[str, ServicePlan], now: float) -> None:
        self._node = node
        self._mac = mac
        self._plans = plans
        self.contact = Contact(now)
        self.announcer = Announcer(self.contact)
        self.election = Election()
        self._reconciler = Reconciler()
        self._dirty: dict[str, str] = {}
        self._members_changed = True
        self.wants_exchange = False
        self._unsettled = True
        self._seen = now
        self._announcer_due = float("inf")
        interface = Interface(LINK, "eth0", mac, True, True, True, False)
        self.announcer.set_interfaces({LINK: interface}, now)
        self.election.set_plans(plans)

    def tick(self, now: float) -> bool:
        """Note that the process runs; true where it stood still, and waiting frames are stale."""
        self._seen = now
        stood_still = self.contact.tick(now)
        self._unsettled = self._unsettled or stood_still
        return stood_still

    def run_up_to(self, now: float) -> None:
        """Note that the process ran all the time up to now, when something happens.

        Heartbeats change nothing by themselves unless contact is held, which leaves us unsettled:
        so as few as will do are made up for here. As events of their own they would be most of a
        run.
        """
        while now - self._seen > LONGEST_GAP:
            self.tick(self._seen + LONGEST_GAP)
        if self._unsettled:
            self.tick(now)

    def take(self, event: Event, now: float) -> None:
        """Take what happened in gossip."""
        self._unsettled = True
        match event:
            case Joined() | Gone():
                self._members_changed = True
            case Exchanged(_, began):
                self.contact.exchanged(began, now)
            case ExchangeFailed(_, _, silent, _) if not silent:
                self.contact.spoke(now)
            case _:
                pass

    @property
    def wants_members(self) -> bool:
        """Whether `settle` needs the living members anew."""
        return self._members_changed

    def settle(self, members: frozenset[str] | None, now: float) -> list[Move]:
        """Bring announcements in line; gives what the election moved, by service."""
        # Once more after the last hold is gone, for the release itself.
        self._unsettled = self.contact.held
        for event in self.contact.events():
            if isinstance(event, Released):
                self.announcer.released(event.ifindex, now)
            elif isinstance(event, Held):
                self.wants_exchange = event.reason is not HoldReason.START
        moves: list[Move] = []
        if members is not None:
            self._members_changed = False
            self.election.set_members(members, "members")
            moves = sorted(self.election.advance(_ALL), key=lambda move: move.service)
            self._dirty |= {move.service: move.reason for move in moves}
        if self._dirty:
            self._reconcile(now)
        self.announcer.handle_timeout(now)
        return moves

    def answer(self, frame: bytes) -> bytes | DropReason:
        """Answer an ARP frame, or say why not."""
        return respond(frame, self._mac, lambda ip: self.announcer.answers(ip, LINK))

    def frames(self) -> list[bytes]:
        """Drain the announcement frames to send."""
        frames = [
            frame
            for announcement in self.announcer.transmits()
            if isinstance(announcement.ip, IPv4Address)
            for frame in gratuitous(announcement.interface.mac, announcement.ip)
        ]
        due = self.announcer.deadline()
        self._announcer_due = float("inf") if due is None else due
        return frames

    def busy(self, now: float) -> bool:
        """Tell whether `settle`, and `frames` after it, have anything to do."""
        return self._unsettled or self._announcer_due <= now

    def deadline(self) -> float:
        """When the process has to run next, if nothing comes in."""
        if self._unsettled and self.contact.held:
            return min(self.contact.deadline(), self._announcer_due)
        return self._announcer_due

    def _reconcile(self, now: float) -> None:
        for service in sorted(self._dirty):
            mine = self.election.owner(service) == self._node
            if mine and self.contact.held and service not in self._reconciler.announced():
                continue
            reason = self._dirty.pop(service)
            plan = self._plans[service]
            for action in self._reconciler.reconcile(service, plan, mine, reason):
                for ip in action.ips:
                    if isinstance(action, Announce):
                        self.announcer.announce(ip, service, action.interfaces, now)
                    else:
                        self.announcer.withdraw(ip, service)
