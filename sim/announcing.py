"""The speaker's own cores of one simulated node, wired as the daemon wires them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING

from arp.gratuitous import request_to_client
from arp.packet import ArpPacket, Operation
from arp.responder import respond
from gossip.courier import Letter
from gossip.io import Event, Exchanged, ExchangeFailed, NameConflict
from link.drop import DropReason
from link.interface import Interface
from sim.kernel import read_arp
from speaker.announcer import Announcer
from speaker.bars import Bars
from speaker.clients import Clients
from speaker.contact import LONGEST_GAP, Contact, Held, Released
from speaker.desired import ServicePlan, Withheld
from speaker.election import Election, Move
from speaker.failover import Failover
from speaker.frames import build
from speaker.quorum import Mode, Quorum
from speaker.reconcile import Announce, Reconciler, Withdraw
from speaker.roster import Peer
from speaker.watch import Timing

if TYPE_CHECKING:
    from random import Random

LINK = 1
FIRST_SERVICE = IPv4Address("192.0.2.1")
_ALL = 1_000_000
REMEMBERED = 1.0
"""As in `layer2`: seconds for which the answer to a question is remembered."""


def make_plans(
    services: int, first: int = 0, voters: frozenset[str] | None = None
) -> dict[str, ServicePlan]:
    """Plan that many services with one IP each, which every member may own."""
    ips = [FIRST_SERVICE + first + number for number in range(services)]
    plans = [ServicePlan(f"default/s{ip}", (ip,), str(ip), None, voters=voters) for ip in ips]
    return {plan.service: plan for plan in plans}


@dataclass(frozen=True, slots=True)
class Site:
    """Where a speaker runs, and how: its node's name, MAC and address on the segment with its
    gateway, the services, `failover_after` (None: memberlist's verdicts alone, no witness), and
    whether it takes a majority of the nodes to announce."""

    node: str
    mac: bytes
    address: IPv4Interface
    gateway: IPv4Address
    plans: Mapping[str, ServicePlan]
    failover_after: float | None = None
    quorum: Mode = Mode.OFF


class Announcing:
    """Contact, election, reconciler, announcer, failover and ARP responder of one process."""

    def __init__(self, site: Site, rng: "Random", now: float) -> None:
        self._site = site
        self._node = site.node
        self._mac = site.mac
        self._quorum = Quorum(site.quorum)
        self._plans = {
            service: self._quorum.set_plan(service, plan) or plan
            for service, plan in site.plans.items()
        }
        self._ips = frozenset(ip for plan in site.plans.values() for ip in plan.ips)
        self.contact = Contact(now)
        self._clients = Clients()
        self.announcer = Announcer(self.contact, self._clients)
        self.failover: Failover | None = None
        if site.failover_after is not None:
            timing = Timing.of(site.failover_after)
            self.failover = Failover(site.node, timing, self.announcer, self.contact, rng, now)
        self.election = Election()
        self._reconciler = Reconciler()
        self._dirty: dict[str, str] = {}
        self._previous: dict[str, str | None] = {}
        """Who owned a service before us, until we have taken it up."""
        self._holds: set[int | None] = set()
        """Where contact holds answers back, as far as `settle` was told: heartbeats end holds."""
        self._members_changed = True
        self.wants_exchange = False
        self._unsettled = True
        self._seen = now
        self._announcer_due = self._failover_due = float("inf")
        self._bars = Bars()
        self.voided = False
        """Whether a frame has changed who may own, which the driver looks at before the next."""
        self._contact_changes = 0
        self._remembered: dict[bytes, bytes | DropReason] = {}
        self._remembered_at = 0
        """What `Announcer.changes` was when the answers were remembered."""
        self._remembered_until = now
        self._interface = Interface(
            LINK,
            "eth0",
            self._mac,
            up=True,
            carrier=True,
            broadcast=True,
            noarp=False,
            addresses=frozenset({site.address}),
            gateways=frozenset({site.gateway}),
        )
        self.election.set_plans(self._plans)
        self._take_link(now)

    def set_carrier(self, up: bool, now: float) -> None:
        """Take what became of the only link there is; as a cable has it, it stays up without."""
        self._interface = replace(self._interface, carrier=up)
        self._take_link(now)

    def set_floating(self, addresses: frozenset[IPv4Interface], now: float) -> None:
        """Take the addresses that the link has beside its own."""
        own = frozenset({self._site.address})
        self._interface = replace(self._interface, addresses=own | addresses)
        self._take_link(now)

    def set_candidates(self, nodes: frozenset[str], now: float) -> None:
        """Take a configuration in which these nodes may own, as `Daemon._take_plans` does."""
        selected = self._node in nodes
        withheld = None if selected else Withheld.NO_MATCHING_ADVERTISEMENT
        for service, known in self._plans.items():
            plan = replace(known, candidates=nodes, withheld=withheld)
            plan = self._quorum.set_plan(service, plan) or plan
            self._dirty.setdefault(service, "configuration")
            self.election.set_plan(service, plan)
            self._plans[service] = plan
        self._unsettled = True

    def _take_link(self, now: float) -> None:
        interface = self._interface
        self._unsettled = True
        self.announcer.set_interfaces({LINK: interface}, now)
        if self.failover is not None:
            self.failover.set_interfaces({LINK: interface}, now)

    def tick(self, now: float) -> bool:
        """Note that the process runs; true where it stood still, and waiting frames are stale."""
        self._seen = now
        stood_still = self.contact.tick(now)
        self._unsettled = self._unsettled or stood_still
        return stood_still

    def run_up_to(self, now: float) -> None:
        """Note that the process ran all the time up to now, when something happens.

        Heartbeats change nothing by themselves unless contact holds something back, here or on a
        link: so as few as will do are made up for here. As events of their own they would be most
        of a run.
        """
        while now - self._seen > LONGEST_GAP:
            self.tick(self._seen + LONGEST_GAP)
        if self._holds:
            self.tick(now)

    def take(self, event: Event, now: float) -> None:
        """Take what happened in gossip."""
        # Every one, as in the daemon: some change the table without a word of their own.
        self._unsettled = self._members_changed = True
        match event:
            case Exchanged(_, began, known):
                self.contact.exchanged(began, known, now)
            case NameConflict() if event.ours_is_younger:
                self.contact.name_taken(now)
            case ExchangeFailed(_, _, silent, _) if not silent:
                self.contact.spoke(now)
            case _:
                pass

    @property
    def wants_members(self) -> bool:
        """Whether `settle` needs the living members anew."""
        return self._members_changed

    def letter(self, letter: Letter, now: float) -> None:
        """Take a letter of another speaker."""
        self._unsettled = True
        if self.failover is not None:
            self.failover.letter(letter, now)

    def echoed(self, ip: IPv4Address, token: bytes, now: float) -> None:
        """Take an echo reply that the kernel passed on."""
        if self.failover is not None:
            self.failover.echoed(LINK, ip, token, now)

    def leave(self, now: float) -> None:
        """Begin to hand over."""
        self._unsettled = True
        if self.failover is not None:
            self.failover.leave(now)

    def left(self) -> None:
        """Note that gossip was told that we go: who lives has changed."""
        self._unsettled = self._members_changed = True

    def withdraw_all(self) -> None:
        """Answer for nothing any more: the last step before the end."""
        self.announcer.withdraw_all()

    def settle(
        self, members: frozenset[str] | None, peers: Iterable[Peer], now: float
    ) -> list[Move]:
        """Bring announcements in line; gives what the election moved, by service."""
        self._unsettled = self.voided = False
        for ifindex in self.contact.silences():
            if self.failover is not None:
                self.failover.unconfirmed(ifindex, now)
        if members is not None:
            self._members_changed = False
            for service, plan in self._quorum.set_members(members).items():
                self._plans[service] = plan
                self._dirty.setdefault(service, "quorum")
                self.election.set_plan(service, plan)
            self.election.set_members(members, "members")
            if self.failover is not None:
                self.failover.set_peers(peers, now)
        moves = self._elect(now)
        if self._dirty:
            self._reconcile(now)
        self._take_contact_events(now)
        self.announcer.handle_timeout(now)
        return moves

    def _take_contact_events(self, now: float) -> None:
        for event in self.contact.events():
            if isinstance(event, Released):
                self._holds.discard(event.ifindex)
                self.announcer.released(event.ifindex, now)
            elif isinstance(event, Held):
                self._holds.add(event.ifindex)
        self.wants_exchange |= self.contact.seeks(now)
        self._contact_changes = self.contact.changes

    def _elect(self, now: float) -> list[Move]:
        if self.failover is not None:
            if self.failover.deadline() <= now:
                self.failover.handle_timeout(now)
            self._bars = self.failover.bars()
            self.election.set_bars(self._bars, "bars")
        if not self.election.pending:
            return []
        moves = sorted(self.election.advance(_ALL), key=lambda move: move.service)
        for move in moves:
            if move.service not in self._dirty:
                # Of several moves that come together, only the first left somebody who answered.
                self._previous[move.service] = move.before
            self._dirty[move.service] = move.reason
            if self.failover is not None:
                for ip in self._plans[move.service].ips:
                    self.failover.moved(move.service, ip, move.before, move.after, now)
        return moves

    def hear(self, now: float) -> None:
        """Note that somebody's frames have come in, before they are answered."""
        if self.failover is not None:
            self.failover.frames(LINK, now)

    def answer(self, frame: bytes, now: float) -> bytes | DropReason:
        """Answer an ARP frame, or say why not."""
        # After a second anew, so that `Clients` hears who is still asking.
        changed = self._remembered_at != self.announcer.changes
        if changed or now >= self._remembered_until:
            self._remembered.clear()
            self._remembered_at = self.announcer.changes
            self._remembered_until = now + REMEMBERED
        answer = self._remembered.get(frame)
        if answer is None:
            answer = self._answer_anew(frame, now)
        return answer

    def _answer_anew(self, frame: bytes, now: float) -> bytes | DropReason:
        """As `Layer2` does, remember answers to questions until what is answered changes."""
        heard = read_arp(frame)
        if heard is not None and (
            heard.operation is Operation.REPLY or heard.sender_ip == heard.target_ip
        ):
            self._overhear(heard, now)
            return DropReason.ANNOUNCEMENT
        if heard is not None and heard.target_ip in self._ips and not self._is_node(heard):
            self._clients.heard(
                heard.target_ip, self._interface, heard.sender_ip, heard.sender_mac, now
            )
        answer = respond(frame, self._mac, lambda ip: self.announcer.answers(ip, LINK))
        self._remembered[frame] = answer
        return answer

    def _is_node(self, heard: ArpPacket) -> bool:
        return self.failover is not None and self.failover.is_node(heard.sender_mac)

    def _overhear(self, heard: ArpPacket, now: float) -> None:
        if heard.sender_ip not in self._ips:
            self.announcer.confirmed(heard.target_ip, LINK, heard.sender_ip, now)
            return
        if self.failover is None:
            return
        if heard.sender_mac != self._mac:
            self.failover.announced(heard.sender_ip, LINK, heard.sender_mac, now)
            self.voided = self.failover.bars() != self._bars
        self._unsettled = True

    def frames(self) -> list[bytes]:
        """Drain the frames to send: questions to old owners, and announcements."""
        asks = [] if self.failover is None else self.failover.asks()
        own = self._site.address.ip
        frames = [
            request_to_client(self._mac, own, ask.ip, ask.mac)
            for _, ask in asks
            if isinstance(ask.ip, IPv4Address)
        ]
        frames += [build(announcement) for announcement in self.announcer.transmits()]
        due = self.announcer.deadline()
        self._announcer_due = float("inf") if due is None else due
        if self.failover is not None:
            self._failover_due = self.failover.deadline()
        return frames

    def watch(self, now: float) -> bool:
        """Let the failover core do what is due; true where something was, so that it may have
        something to send."""
        if self.failover is None:
            return False
        self._failover_due = self.failover.deadline()
        # What members there are matters to it, so `settle` comes first where they have changed.
        if self._members_changed or self._failover_due > now:
            return False
        self.failover.handle_timeout(now)
        return True

    @property
    def stirred(self) -> bool:
        """Whether what came in has changed more than deadlines, which with echoes is rare."""
        if self._unsettled or self.contact.changes != self._contact_changes:
            return True
        if self._holds and self.contact.deadline() <= self._seen:
            return True
        if self.failover is None:
            return False
        return self.failover.calling or self.failover.bars() is not self._bars

    def busy(self, now: float) -> bool:
        """Tell whether `settle`, and `frames` after it, have anything to do."""
        return self.stirred or self._announcer_due <= now or self._failover_due <= now

    def deadline(self) -> float:
        """When the process has to run next, if nothing comes in."""
        if self._unsettled:
            # What was sent has brought something up that nobody has looked at yet.
            return self._seen
        due = min(self._announcer_due, self._failover_due)
        if self._holds:
            return min(self.contact.deadline(), due)
        return due

    def _reconcile(self, now: float) -> None:
        """Announce and withdraw; while contact is missing nothing new is taken up."""
        due = sorted(self._dirty)
        if self.contact.held:
            announced = self._reconciler.announced()
            due = [service for service in due if service in announced]
        for service in due:
            reason, mine = self._dirty.pop(service), self.election.owner(service) == self._node
            plan = self._plans.get(service)
            for action in self._reconciler.reconcile(service, plan, mine, reason):
                if isinstance(action, Announce):
                    self._begin(action, now)
                else:
                    self._give_up(action, now)

    def _begin(self, action: Announce, now: float) -> None:
        previous = self._previous.pop(action.service, None)
        for ip in action.ips:
            if self.failover is None:
                self.announcer.announce(ip, action.service, action.interfaces, now)
            else:
                self.failover.won(action.service, ip, action.interfaces, previous, now)

    def _give_up(self, action: Withdraw, now: float) -> None:
        lost = action.reason == Withheld.NOT_OWNER
        winner = self.election.owner(action.service) if lost else None
        surely = winner is not None
        if not surely:
            winner = self.election.elsewhere(action.service)
        for ip in action.ips:
            if self.failover is None:
                self.announcer.withdraw(ip, action.service)
            elif winner is None:
                self.failover.withdraw(action.service, ip)
            else:
                self.failover.lost(action.service, ip, winner, now, surely=surely)
