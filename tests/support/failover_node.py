"""A node's failover core in virtual time; those that answer echo requests do so at once."""

import random
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from typing import TypeVar

from gossip.io import Address
from gossip.wire.messages import State
from link.interface import Interface
from ownership.announcing.announcer import Announcer
from ownership.announcing.clients import Clients
from ownership.contact import Contact
from ownership.failover import Failover
from ownership.io import Send
from ownership.letters import letters
from ownership.letters.courier import Letter
from ownership.letters.letters import Hello, LetterKind, PeerLink
from ownership.letters.mark import Flags
from ownership.liveness.roster import Peer
from ownership.liveness.targets import Timing

Happened = TypeVar("Happened")
VIP = IPv4Address("198.51.100.1")
B = Peer("b", 1, Flags.NONE, State.ALIVE, Address("192.0.2.2", 7946))
C = Peer("c", 2, Flags.NONE, State.ALIVE, Address("192.0.2.3", 7946))
FOREIGN = Peer("m", None, Flags.NONE, State.ALIVE)
DEAD_B, DEAD_C = replace(B, state=State.DEAD), replace(C, state=State.DEAD)
LINK_B = PeerLink("ens1", b"\x02\0\0\0\0\x0b", (IPv4Address("192.0.2.2"),))
LINK_C = PeerLink("ens1", b"\x02\0\0\0\0\x0c", (IPv4Address("192.0.2.3"),))
ETH0 = Interface(
    7,
    "eth0",
    b"\x02\0\0\0\0\x0a",
    up=True,
    carrier=True,
    broadcast=True,
    noarp=False,
    addresses=frozenset({IPv4Interface("192.0.2.1/24")}),
)


@dataclass
class Node:
    """Node `a`; those that answer echoes do so at once."""

    fast: bool = True
    now: float = 50.0
    answering: set[IPv4Address | IPv6Address] = field(default_factory=set)
    letters: list[Send] = field(default_factory=list)
    asked: list[IPv4Address | IPv6Address] = field(default_factory=list)
    """For which addresses the wire was asked, as time went by."""

    def __post_init__(self) -> None:
        self.contact = Contact(self.now)
        self.contact.handle_exchange(self.now, True, self.now)
        self.contact.events()
        self.clients = Clients()
        self.announcer = Announcer(self.contact, clients=self.clients)
        timing = Timing.of(0.35) if self.fast else None
        self.core = Failover("a", timing, self.announcer, self.contact, random.Random(1), self.now)
        self.links(ETH0)

    def happened(self, kind: type[Happened]) -> list[Happened]:
        """What has happened since the last call, of one kind."""
        return [event for event in self.core.events() if isinstance(event, kind)]

    def links(self, *interfaces: Interface) -> None:
        by_index = {interface.index: interface for interface in interfaces}
        self.announcer.set_interfaces(by_index, self.now)
        self.core.set_interfaces(by_index, self.now)

    def peers(self, *peers: Peer) -> None:
        self.core.set_peers(peers, self.now)

    def meet(self) -> None:
        """Get to know b and c, whose kernels answer."""
        self.peers(B, C)
        for name, link in (("b", LINK_B), ("c", LINK_C)):
            self.letter(LetterKind.HELLO, name, letters.encode_hello(Hello((link,))))
            self.answering.update(link.ips)

    def letter(self, kind: int, sender: str, payload: bytes = b"", about: str = "") -> None:
        self.core.handle_letter(Letter(kind, sender, about or sender, 1, payload), self.now)

    def run(self, seconds: float) -> list[Send]:
        """Return what was told meanwhile."""
        told, end = list[Send](), self.now + seconds
        while self.core.deadline() <= end:
            self.now = max(self.now, self.core.deadline())
            self.contact.tick(self.now)
            self.contact.events()
            self.core.handle_timeout(self.now)
            for request in self.core.requests():
                if request.ip in self.answering:
                    self.core.handle_echo(request.ifindex, request.ip, request.token, self.now)
            told += self.core.letters()
            self.asked += [ask.ip for _, ask in self.core.asks()]
        self.now = end
        self.letters += told
        return told

    def answers(self) -> bool:
        return self.announcer.answers(VIP, ETH0.index) is None


def of_kind(told: list[Send], kind: LetterKind) -> list[Send]:
    return [letter for letter in told if letter.kind is kind]


def settled() -> Node:
    """It has known b and c for a second."""
    node = Node()
    node.meet()
    node.run(1.0)
    return node
