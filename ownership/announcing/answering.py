"""What each received frame gets: an answer, or the reason for none; and who hears of it. Pure.

A question about an IP is answered where the announcer answers for it, and it makes its asker known
as a client. What others tell of a service IP is passed on, and so is the answer of a client that we
had asked from one. Whoever drives this sends the answers, and counts the reasons.
"""

from collections import defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from link.address import IPAddress
from link.drop import DropReason
from link.frame import LONGEST_FRAME
from link.interface import Interface
from link.resolution import Question, Told
from ownership.announcing.announcer import Announcer
from ownership.announcing.clients import Clients
from ownership.announcing.family import FAMILIES, Family, Reply

REMEMBERED = 1.0
"""Seconds for which the answer to a question is remembered, or why it gets none."""
MOST_REMEMBERED = 1024
LONGEST_REMEMBERED = 128
"""Bytes of a question: the longest usual one has 86."""


class Overhearer(Protocol):
    """Who wants to know what is overheard, besides questions."""

    def is_node(self, mac: bytes) -> bool:
        """Tell whether this is the MAC of another node, which asks for an IP to take it over."""

    def handle_announcement(
        self, ip: IPAddress, ifindex: int, mac: bytes, now: float, alone: bool
    ) -> None:
        """Somebody else with this MAC announced a service IP, or answered for it."""

    def handle_client(self, ip: IPAddress, ifindex: int, client: IPAddress, now: float) -> None:
        """A client answered what we had asked it from a service IP."""


@dataclass(slots=True)
class IPStats:
    """What went over the wire about one service IP."""

    requests: int = 0
    responses: int = 0
    gratuitous: int = 0


class Answer(NamedTuple):
    """The frame that answers a question, and where that is counted."""

    stats: IPStats
    frame: bytes


Outcome = Answer | DropReason


@dataclass(slots=True)
class _Memory:
    """Answers by question: clients, and those who verify an entry, ask in the same bytes again.

    So too why there is none: all nodes but one hear each question for nothing.

    They hold `until` then, and as long as `changes` of the announcer are these: so `Clients` hears
    who is still asking.
    """

    outcomes: dict[bytes, Outcome] = field(default_factory=dict)
    until: float = 0.0
    changes: int = -1

    def begin(self, changes: int, now: float) -> None:
        """Forget all, and remember from now on."""
        self.outcomes.clear()
        self.changes, self.until = changes, now + REMEMBERED

    def keep(self, question: bytes, outcome: Outcome, now: float) -> None:
        """Remember what this question gets, unless it is longer than any that is usual."""
        if len(question) <= LONGEST_REMEMBERED:
            if len(self.outcomes) >= MOST_REMEMBERED:
                self.begin(self.changes, now)
            self.outcomes[question] = outcome


@dataclass(frozen=True, slots=True)
class Ear:
    """One family on one link that can speak it; it remembers together with the other one there."""

    interface: Interface
    family: Family
    reply: Reply
    memory: _Memory


class Answering:
    """Takes the frames of all links of this node."""

    def __init__(self, announcer: Announcer, clients: Clients) -> None:
        self._announcer = announcer
        self._clients = clients
        self._ears: dict[tuple[int, int], Ear] = {}
        """By index of the interface and version of IP."""
        self._own_macs: Container[bytes] = frozenset()
        self.service_ips: frozenset[IPAddress] = frozenset()
        self.traffic: defaultdict[IPAddress, IPStats] = defaultdict(IPStats)
        """The IPs are those of configured services, so this is bounded."""
        self.overhearer: Overhearer | None = None

    def set_interfaces(
        self, interfaces: Mapping[int, Interface], own_macs: Container[bytes]
    ) -> None:
        """Take the links that answer, by index, and the MACs of all that the node has."""
        self._own_macs = own_macs
        self._ears = {}
        for index, interface in interfaces.items():
            memory = _Memory()
            for family in FAMILIES.values():
                reply = family.replies(interface)
                if reply is not None:
                    ear = Ear(interface, family, reply, memory)
                    self._ears[index, family.version] = ear

    def set_service_ips(self, ips: frozenset[IPAddress]) -> None:
        """Take all IPs that this node may ever announce, owned or not."""
        self.service_ips = ips
        self._clients.keep_only(ips)
        for gone in self.traffic.keys() - ips:
            del self.traffic[gone]

    def ear(self, ifindex: int, version: int) -> Ear | None:
        """Return what takes the frames of a link for this version of IP, until its interface
        changes; None where it does not speak that family."""
        return self._ears.get((ifindex, version))

    def handle_frame(self, ear: Ear, data: bytes, other_host: bool, now: float) -> Outcome:
        """Take a frame that has come in there; return what it gets.

        `other_host`: the kernel says that it is not for this node.
        """
        memory, changes = ear.memory, self._announcer.changes
        # Looked at for each frame: the one before may have told that the IP has another owner.
        if changes != memory.changes or now >= memory.until:
            memory.begin(changes, now)
        outcome = memory.outcomes.get(data)
        if outcome is not None and not other_host:
            return outcome
        if data[6:12] in self._own_macs:
            # Two links in one segment: one hears all that the other announces.
            return DropReason.OWN_FRAME
        if other_host:
            return DropReason.OTHER_HOST
        if len(data) == LONGEST_FRAME:
            return DropReason.OVERSIZED
        heard = ear.family.read(data, ear.interface.mac)
        if isinstance(heard, Question):
            outcome = self._answer(ear, heard, now)
            memory.keep(data, outcome, now)
            return outcome
        return self._overhear(ear.interface.index, heard, now) if isinstance(heard, Told) else heard

    def _answer(self, ear: Ear, question: Question[Any], now: float) -> Outcome:
        """Note who asked, whoever owns the IP; return the answer, or why it is not ours to give."""
        ip, client, mac = question
        if mac in self._own_macs:
            return DropReason.OWN_FRAME
        overhearer = self.overhearer
        if ip in self.service_ips and not (overhearer and overhearer.is_node(mac)):
            self._clients.note(ip, ear.interface, client, mac, now)
        reason = self._announcer.answers(ip, ear.interface.index)
        return reason or Answer(self.traffic[ip], ear.reply(question))

    def _overhear(self, ifindex: int, told: Told[Any], now: float) -> DropReason:
        """Pass on what an owner tells of a service IP, or a client that we asked; return as what
        it is counted."""
        ip, mac, to, reason = told
        overhearer = self.overhearer
        if ip in self.service_ips:
            if overhearer is not None and mac not in self._own_macs:
                alone = to != ip and not to.is_multicast
                overhearer.handle_announcement(ip, ifindex, mac, now, alone)
            return DropReason.ANNOUNCEMENT
        if overhearer is not None and to in self.service_ips:
            overhearer.handle_client(to, ifindex, ip, now)
        return reason
