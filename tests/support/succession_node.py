"""A node whose IPs change hands, in virtual time: what it answers, announces, asks and writes."""

from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface

from gossip.wire.messages import State
from link.interface import Interface
from ownership.announcing.announcer import Announcer
from ownership.contact import Contact
from ownership.handover.succession import Succession
from ownership.io import Ask, Send
from ownership.letters.letters import LetterKind, PeerLink
from ownership.letters.mark import Flags
from ownership.liveness.roster import Peer, Roster
from ownership.liveness.targets import KernelState

VIP, OTHER = IPv4Address("198.51.100.1"), IPv4Address("198.51.100.2")
MAC_B, MAC_C, MAC_M = (b"\x02\0\0\0\0" + bytes([last]) for last in b"\x0b\x0c\x0d")
B = Peer("b", 1, Flags.NONE, State.ALIVE)
C = Peer("c", 2, Flags.NONE, State.ALIVE)
FOREIGN = Peer("m", None, Flags.NONE, State.ALIVE)


def link(index: int) -> Interface:
    address = IPv4Interface(f"192.0.{index}.1/24")
    mac = b"\x02\0\0\0\x01" + bytes([index])
    return Interface(index, f"eth{index}", mac, True, True, True, False, None, frozenset({address}))


ETH0, ETH1 = 0, 1


@dataclass
class Node:
    """Node `a` with one or two links, its peer b on the same segments, and m of MetalLB."""

    links: int = 1
    machine: KernelState = KernelState.SILENT
    """What b's machine does, and that of others if not in `machines`."""
    machines: dict[str, KernelState] = field(default_factory=dict)
    now: float = 100.0
    letters: list[tuple[float, Send]] = field(default_factory=list)
    announced: list[float] = field(default_factory=list)
    """When VIP was announced."""
    kernels_asked: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)
    deaf: set[int] = field(default_factory=set)
    asked: list[tuple[float, Ask]] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    """Who was lost without a word."""
    cut_off: bool = False
    """Whether nobody is heard since a takeover began."""

    def __post_init__(self) -> None:
        interfaces = {index: link(index) for index in range(self.links)}
        self.contact = Contact(0.0, alone=True)
        self.announcer = Announcer(self.contact)
        self.announcer.set_interfaces(interfaces, self.now)
        self.roster = Roster("a")
        self.roster.set_peers([B, FOREIGN], self.now)
        ips = [(IPv4Address(f"192.0.{index}.2"),) for index in interfaces]
        self.roster.set_links("b", tuple(PeerLink("ens", MAC_B, each) for each in ips))
        self.core = Succession("a", self.roster, self.announcer, self, self.now)
        self.core.set_interfaces(interfaces)

    # What the core asks of the world.

    def kernel(self, name: str, ifindexes: Collection[int], now: float) -> KernelState:
        assert now == self.now
        self.kernels_asked.add((name, tuple(ifindexes)))
        return self.machines.get(name, self.machine)

    def hears(self, ifindex: int, now: float) -> bool:
        assert now == self.now
        return ifindex not in self.deaf

    def heard_since(self, ifindexes: Collection[int], at: float) -> bool:
        return not self.cut_off

    def lost_its_owner(self, name: str) -> bool:
        return name in self.gone

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.01)
            self.announcer.handle_timeout(self.now)
            if self.core.deadline() <= self.now or self.core.inherited_from():
                self.core.handle_timeout(self.now)
            self.drain()

    def drain(self) -> None:
        self.letters += [(self.now, letter) for letter in self.core.letters()]
        self.asked += [(self.now, ask) for _, ask in self.core.asks()]
        self.announced += [self.now for item in self.announcer.transmits() if item.ip == VIP]

    def win(
        self, heir_of: str | None = None, service: str = "ns/a", after: str | None = None
    ) -> None:
        """Own VIP: inherit it from one that is gone, or have it `after` a living one."""
        if heir_of is not None:
            self.gone.add(heir_of)
        self.core.win(service, VIP, None, heir_of or after, self.now)

    def lose(self, winner: str | None, service: str = "ns/a") -> None:
        self.gone.discard(winner or "")
        self.core.lose(service, VIP, winner, self.now)

    def told(self, kind: LetterKind) -> list[Send]:
        """What was written, of one kind."""
        return [letter for _, letter in self.letters if letter.kind is kind]

    def answers(self, ifindex: int = ETH0) -> bool:
        return self.announcer.answers(VIP, ifindex) is None


def owning(links: int = 1) -> Node:
    """It has owned VIP for ten seconds."""
    node = Node(links)
    node.win()
    node.run(10.0)
    node.core.changed_services()
    node.announced.clear()
    node.asked.clear()
    return node


def quiet_heir() -> Node:
    """It has had VIP for a second, as b's speaker died on a machine that lives."""
    node = Node(machine=KernelState.ANSWERS)
    node.win(heir_of="b")
    node.run(1.0)
    return node
