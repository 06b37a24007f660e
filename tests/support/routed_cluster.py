"""Nodes' failover cores in several subnets with a router between, in virtual time.

A node's name is its subnet and its number: `b2` is 10.0.2.2. The router is .254 in each subnet.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_interface

from gossip.io import Address
from gossip.wire.messages import State
from link.address import IPAddress
from link.interface import Interface
from ownership.announcing.announcer import Announcer
from ownership.contact import Contact
from ownership.failover import Failover
from ownership.io import ROUTED, EchoRequest, Filtered, Send
from ownership.letters.courier import Letter
from ownership.letters.mark import Flags
from ownership.liveness.roster import Peer
from ownership.liveness.targets import Timing

ETH0 = 5
ROUTER = 254
STEP = 0.005
LEARNED = 7.0
"""Seconds after which all that answer have proved themselves to all."""


def subnet(name: str) -> int:
    return ord(name[0]) - ord("a") + 1


def ip_of(name: str) -> IPv4Address:
    return IPv4Address(f"10.0.{subnet(name)}.{name[1:]}")


def gateway_of(name: str) -> IPv4Address:
    return IPv4Address(f"10.0.{subnet(name)}.{ROUTER}")


def interface_of(name: str) -> Interface:
    address = ip_interface(f"{ip_of(name)}/24")
    mac = bytes([2, 0, 0, 0, subnet(name), int(name[1:])])
    return Interface(
        ETH0,
        "eth0",
        mac,
        up=True,
        carrier=True,
        broadcast=True,
        noarp=False,
        addresses=frozenset({address}),
        gateways=frozenset({gateway_of(name)}),
    )


class RoutedNode:
    """A core, and what works of its machine."""

    def __init__(self, name: str, now: float) -> None:
        self.name, self.ip, self.on = name, ip_of(name), True
        self.running = True
        """Whether its process is."""
        self.stirred = False
        """Whether it may have something to say."""
        contact = Contact(now)
        contact.handle_exchange(now, True, now)
        contact.events()
        announcer, interfaces = Announcer(contact), {ETH0: interface_of(name)}
        announcer.set_interfaces(interfaces, now)
        timing, rng = Timing.of(0.35), random.Random(name)
        self.core = Failover(name, timing, announcer, contact, rng, now)
        self.core.set_interfaces(interfaces, now)
        self.asked: list[tuple[float, EchoRequest]] = []
        self.told: list[tuple[float, Send]] = []
        self.filtered: list[str] = []
        self.judged: list[tuple[float, frozenset[str]]] = []
        """Who is gone, and since when, whenever that changed."""

    def note(self, now: float) -> None:
        self.filtered += [each.node for each in self.core.events() if isinstance(each, Filtered)]
        gone = self.core.lives.gone()
        if gone != (self.judged[-1][1] if self.judged else frozenset()):
            self.judged.append((now, gone))


@dataclass
class RoutedCluster:
    """Carries echoes and letters without delay, as far as there is a way, and lets time pass."""

    names: tuple[str, ...]
    now: float = 0.0
    off: frozenset[str] = frozenset()
    """Who does not ask over routers."""
    router: bool = True
    """Whether it runs at all."""
    forwards: bool = True
    """Whether it lets anything through; it answers for itself all the same."""
    lets_echo_through: bool = True
    parted: set[int] = field(default_factory=set)
    """Subnets in which it has no carrier; it answers for its address there all the same."""
    lost: dict[str, int] = field(default_factory=dict)
    """Of every so many echo requests of one node to this one, over the router, one is lost."""

    def __post_init__(self) -> None:
        self.nodes = {name: RoutedNode(name, self.now) for name in self.names}
        self._counts = Counter[tuple[str, str]]()
        for node in self.nodes.values():
            node.core.set_peers(self.peers(node.name), self.now)
            node.core.lives.ask_over_routers(node.name not in self.off, self.now)

    def peers(self, of: str, **states: State) -> list[Peer]:
        return [
            Peer(
                name,
                int(name[1:]) + 100 * subnet(name),
                Flags.NONE,
                states.get(name, State.ALIVE),
                Address(str(ip_of(name)), 7946),
            )
            for name in self.names
            if name != of
        ]

    def run(self, until: float) -> None:
        while self.now < until:
            due = min(
                (node.core.deadline() for node in self.nodes.values() if node.on and node.running),
                default=until,
            )
            self.now = min(until, max(due, self.now + STEP))
            for node in self.nodes.values():
                self._turn(node)

    def _turn(self, node: RoutedNode) -> None:
        due = self.now >= node.core.deadline()
        if not (node.on and node.running and (due or node.stirred)):
            return
        node.stirred = False
        if due:
            node.core.handle_timeout(self.now)
        for request in node.core.requests():
            node.asked.append((self.now, request))
            if self._answers(node, request):
                node.core.handle_echo(request.ifindex, request.ip, request.token, self.now)
        for letter in node.core.letters():
            node.told.append((self.now, letter))
            for other in self.nodes.values():
                if other is not node and (letter.to is None or other.name in letter.to):
                    self._deliver(letter, node, other)
        node.note(self.now)

    def _deliver(self, letter: Send, sender: RoutedNode, to: RoutedNode) -> None:
        if to.on and to.running and self.leads(sender.name, to.name):
            text = Letter(letter.kind, sender.name, letter.about, 1, letter.payload)
            to.core.handle_letter(text, self.now)
            to.stirred = True

    def leads(self, one: str, other: str) -> bool:
        """Tell whether the network carries packets from one node to another."""
        if subnet(one) == subnet(other):
            return True
        return self.router and self.forwards and not {subnet(one), subnet(other)} & self.parted

    def _answers(self, node: RoutedNode, request: EchoRequest) -> bool:
        ip: IPAddress = request.ip
        here = subnet(node.name) not in self.parted
        if ip.packed[3] == ROUTER:
            return self.router and here
        asked = next(each for each in self.nodes.values() if each.ip == ip)
        near = subnet(asked.name) == subnet(node.name)
        assert near is (request.ifindex != ROUTED), "asked by the wrong way"
        if not near:
            self._counts[node.name, asked.name] += 1
            every = self.lost.get(asked.name)
            lost = every is not None and self._counts[node.name, asked.name] % every == 0
            if lost or not self.lets_echo_through:
                return False
        return asked.on and self.leads(node.name, asked.name)

    def power_off(self, *names: str) -> None:
        for name in names:
            self.nodes[name].on = False

    def gone(self, *by: str) -> dict[str, frozenset[str]]:
        """Who is gone for each of these nodes, or all that run."""
        living = [name for name, node in self.nodes.items() if node.on and node.running]
        return {name: self.nodes[name].core.lives.gone() for name in by or living}

    def ever_judged(self) -> dict[str, list[tuple[float, frozenset[str]]]]:
        return {name: node.judged for name, node in self.nodes.items() if node.judged}

    def asks_of(self, name: str, ip: IPAddress, since: float = 0.0) -> list[float]:
        """When this node asked there."""
        return [at for at, asked in self.nodes[name].asked if asked.ip == ip and at >= since]


def learned(*names: str, off: frozenset[str] = frozenset()) -> RoutedCluster:
    """Return a cluster in which all have proved themselves."""
    made = RoutedCluster(names, off=off)
    made.run(LEARNED)
    return made
