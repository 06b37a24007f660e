"""What a quiet cluster of one kind costs: its members, settled, for a minute on their own link.

As root, `python tests/support/steady.py` prints 3, 8 and 50 of ours and of Go's beside each other.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import NamedTuple

from foreign_peers import ClarionCrowd, ClarionPeer, GoPeer, JsonPeer, Options, Peer, settle
from netns import Host, segment, traffic

WINDOW = 60.0
"""Seconds. Both push/pull intervals, 30 s and (above 32 nodes) 60 s, go into it without rest."""
FIRST_EXCHANGES = 32.0
"""Seconds. A Go peer's first push/pull comes a whole interval after its random start within one."""
SETTLED = 3.5
"""Packets a node and second: a quiet node sends a ping and an ack a second and rarely a push/pull,
one that still spreads news about ten times as many."""
IN_ONE_PROCESS = 10
WINDOWS = 2
"""Measured at most: one in which an ack of ours came late, for want of processor time, and others
were asked to ping too, is no steady state."""


class Spent(NamedTuple):
    """Packets and bytes sent, Ethernet and ARP included, and seconds of processor time."""

    packets: float
    size: float
    cpu: float


@dataclass(frozen=True)
class Cost:
    """A node's mean a second, IP bytes; and whatever was suspected, dead or refused meanwhile."""

    spent: Spent
    troubles: tuple[str, ...]


def _many_go(stack: ExitStack, hosts: Sequence[Host], options: Options) -> list[JsonPeer]:
    peers: list[JsonPeer] = []
    for number, host in enumerate(hosts):
        # It looks for suspects 100 times a second, and fifty of those would fill a core.
        peers.append(GoPeer(host, f"node-{number:02}", options, "-poll=500ms"))
        stack.callback(peers[-1].stop)
    return peers


def _many_ours(stack: ExitStack, hosts: Sequence[Host], options: Options) -> list[JsonPeer]:
    peers: list[JsonPeer] = []
    for number, host in enumerate(hosts):
        peers.append(ClarionPeer(host, f"node-{number:02}", options))
        stack.callback(peers[-1].stop)
    return peers


def _crowd(stack: ExitStack, hosts: Sequence[Host], options: Options) -> list[JsonPeer]:
    peers: list[JsonPeer] = []
    for number in range(0, len(hosts), IN_ONE_PROCESS):
        peers.append(
            ClarionCrowd(hosts[number], f"node-{number // IN_ONE_PROCESS}", options, IN_ONE_PROCESS)
        )
        stack.callback(peers[-1].stop)
    return peers


def on_a_segment(kind: str, nodes: int, options: Options, stack: ExitStack) -> Cost:
    """Every node with a link of its own. Raises Silence where they do not come together."""
    begin = {"go": _many_go, "clarion": _many_ours}[kind]
    hosts = list(stack.enter_context(segment([f"n{n}" for n in range(nodes)])).values())
    return _cost(begin(stack, hosts, options), hosts, "eth0", nodes)


def on_loopback(kind: str, nodes: int, options: Options, stack: ExitStack) -> Cost:
    """All nodes in one namespace, each with its own 127.0.1.x. Raises Silence likewise."""
    begin = {"go": _many_go, "clarion": _crowd}[kind]
    (host,) = stack.enter_context(segment(["all"])).values()
    first = ip_address("127.0.1.1")
    hosts = [replace(host, ip=str(first + number)) for number in range(nodes)]
    return _cost(begin(stack, hosts, options), [host], "lo", nodes)


def _cost(peers: Sequence[JsonPeer], hosts: Sequence[Host], link: str, nodes: int) -> Cost:
    for peer in peers:
        peer.wait_ready()
    for peer in peers:
        # Alone in its process it would wait for itself.
        if peer is not peers[0] or isinstance(peer, ClarionCrowd):
            assert peer.join([peers[0].ip]) > 0
    # Go's gossip goes to a few by chance, and not all hear of those who join after them.
    for peer in peers:
        if isinstance(peer, GoPeer):
            peer.join([peers[0].ip])
    settle(peers, lambda peer: _seen(peer) == nodes, 60.0, f"all of {nodes} alive")

    def now() -> Spent:
        sent = [traffic(host, link) for host in hosts]
        packets = sum(packets for packets, _ in sent)
        return Spent(packets, sum(size for _, size in sent) - 14 * packets, _cpu(peers))

    time.sleep(FIRST_EXCHANGES)
    _wait_until_settled(lambda: now().packets / nodes)
    for _ in range(WINDOWS):
        asked, began, before = _indirect_pings(peers), time.monotonic(), now()
        time.sleep(WINDOW)
        seconds = (time.monotonic() - began) * nodes
        spent = Spent(*((now - then) / seconds for now, then in zip(now(), before, strict=True)))
        if _indirect_pings(peers) == asked:
            break
    return Cost(spent, _troubles(peers))


def _indirect_pings(peers: Sequence[JsonPeer]) -> int:
    ours = (peer for peer in peers if isinstance(peer, ClarionPeer | ClarionCrowd))
    return sum(peer.stats()["sent"].get("indirect_ping", 0) for peer in ours)


def _cpu(peers: Sequence[JsonPeer]) -> float:
    return sum(peer.cpu() for peer in peers)


def _seen(peer: Peer) -> int:
    if isinstance(peer, ClarionCrowd):
        return peer.seen()
    return sum(state == "alive" for state in peer.members().values())


def _wait_until_settled(sent: Callable[[], float]) -> None:
    for _ in range(30):
        before, began = sent(), time.monotonic()
        time.sleep(1.0)
        if (sent() - before) / (time.monotonic() - began) < SETTLED:
            return
    raise AssertionError("news never stopped spreading")


def _troubles(peers: Sequence[JsonPeer]) -> tuple[str, ...]:
    return tuple(
        f"{peer.name}: {entry.kind} {entry.name} {entry.text}"
        for peer in peers
        for kind in ("suspect", "dead", "refuted")
        for entry in peer.journal.find(kind)
    )


def main() -> None:
    """Measure all at once."""
    options = Options(keys=(bytes(range(32)),))

    def run(kind: str, nodes: int) -> str:
        with ExitStack() as stack:
            measure = on_loopback if nodes == 50 else on_a_segment
            packets, size, cpu = measure(kind, nodes, options, stack).spent
        return f"{nodes:3} {kind:8} {packets:5.2f} packets/s {size:4.0f} B/s {cpu:6.2%} of a core"

    with ThreadPoolExecutor() as pool:
        for line in pool.map(run, ("clarion", "go") * 3, (3, 3, 8, 8, 50, 50)):
            print(line)


if __name__ == "__main__":
    main()
