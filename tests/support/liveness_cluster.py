"""Several nodes' liveness cores on one wire, in virtual time: kernels, processes, letters."""

import random
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_interface

from gossip.wire.messages import State
from link.interface import Interface
from ownership.io import Send
from ownership.letters.letters import LetterKind, PeerLink, decode_link_name
from ownership.letters.mark import Flags
from ownership.liveness.roster import Peer, Roster
from ownership.liveness.targets import Timing
from ownership.liveness.verdicts import PROCESS, Subject
from ownership.liveness.witness import Witness

TIMING = Timing.of(0.35)
ETH0 = 5
NAMES = ["node-0", "node-1", "node-2", "node-3"]
CLIENT = IPv4Address("192.0.2.100")
MORE = [*NAMES, "node-4", "node-5"]


def ip_of(name: str) -> IPv4Address:
    return IPv4Address(f"192.0.2.{MORE.index(name) + 1}")


def interface_of(name: str) -> Interface:
    mac = b"\x02\0\0\0\0" + bytes([MORE.index(name)])
    address = ip_interface(f"{ip_of(name)}/24")
    return Interface(
        ETH0, "eth0", mac, True, True, True, False, None, frozenset({address}), frozenset()
    )


class Node:
    """A core, and what works of its machine."""

    def __init__(self, name: str, names: list[str]) -> None:
        self.name, self.roster = name, Roster(name)
        self.core = Witness(self.roster, name, TIMING, random.Random(name), 0.0)
        self.kernel = self.process = self.running = True
        self.filtered = False
        """Whether its kernel answers no echo request though it lives."""
        self.told: list[tuple[float, Send]] = []
        peers = [Peer(other, 1, Flags.NONE, State.ALIVE) for other in names if other != name]
        self.roster.set_peers(peers, 0.0)
        for peer in peers:
            link = interface_of(peer.name)
            self.roster.set_links(peer.name, (PeerLink("eth0", link.mac, (ip_of(peer.name),)),))
        self.core.set_interfaces({ETH0: interface_of(name)})
        self.core.retarget((), {}, 0.0)


@dataclass
class Cluster:
    """Delivers echoes and letters without delay, and lets time pass."""

    size: int = 4
    now: float = 0.0
    clients: frozenset[IPv4Address] = frozenset()

    def __post_init__(self) -> None:
        names = MORE[: self.size]
        self.nodes = {name: Node(name, names) for name in names}

    def run(self, until: float) -> None:
        while self.now < until:
            self.now = min(until, self.now + 0.005)
            for node in self.nodes.values():
                if node.running and self.now >= node.core.deadline():
                    node.core.handle_timeout(self.now)
                self._carry(node)

    def _carry(self, node: Node) -> None:
        if not node.running:
            return
        for request in node.core.requests():
            if request.ip in self.clients:
                node.core.handle_echo(ETH0, request.ip, request.token, self.now)
                continue
            asked = next(each for each in self.nodes.values() if ip_of(each.name) == request.ip)
            if node.kernel and asked.kernel and not asked.filtered:
                node.core.handle_echo(ETH0, request.ip, request.token, self.now)
        for letter in node.core.letters():
            node.told.append((self.now, letter))
            for other in self.nodes.values():
                if other is not node and (letter.to is None or other.name in letter.to):
                    self._deliver(letter, node, other)

    def _deliver(self, letter: Send, sender: Node, to: Node) -> None:
        if not (sender.kernel and sender.process and to.kernel and to.running):
            return
        match letter.kind:
            case LetterKind.BEAT:
                to.core.handle_beat(sender.name, self.now)
            case LetterKind.MISSING:
                subject = Subject(letter.about, decode_link_name(letter.payload))
                to.core.handle_missing(subject, sender.name, self.now)
            case LetterKind.GONE:
                to.core.handle_gone(
                    Subject(letter.about, decode_link_name(letter.payload)), self.now
                )
            case LetterKind.HEAR if to.process:
                sender.core.handle_answer(to.name, ip_of(to.name), self.now)

    def cut(self, *names: str) -> None:
        """Power off."""
        for name in names:
            self.nodes[name].kernel = self.nodes[name].running = False

    def told(self, kind: LetterKind, *names: str) -> list[tuple[float, Send]]:
        """What these nodes (or all) wrote."""
        found = [item for name in names or self.nodes for item in self.nodes[name].told]
        return [(at, letter) for at, letter in found if letter.kind is kind]

    def gone(self, name: str) -> frozenset[Subject]:
        """What this node believes."""
        bars = self.nodes[name].core.bars()
        silent = {Subject(node, PROCESS) for node in self.nodes[name].core.silent_processes()}
        return frozenset(bars.links | silent)


def eth0(name: str) -> Subject:
    return Subject(name, "eth0")


def held_dead(cluster: Cluster, by: str, *names: str) -> None:
    """Let gossip declare these dead for one node, whatever their machines do."""
    node = cluster.nodes[by]
    peers = [
        replace(peer, state=State.DEAD) if peer.name in names else peer
        for peer in node.roster.peers()
    ]
    for name in node.roster.set_peers(peers, cluster.now):
        node.core.forget(name)
    node.core.retarget((), {}, cluster.now)
