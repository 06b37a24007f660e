"""The parts of the instruments that need no cluster: whom they ask when, what they let in."""

import select
import socket
import time

import pytest

from netnslab.instruments import filters, wire
from netnslab.instruments.instrument import arrivals, packet_socket
from netnslab.instruments.observer import IDENTITIES, Ring, identity_of, mac_of
from netnslab.instruments.probe import ProbedIP
from netnslab.instruments.tcp import Connections
from netnslab.machines.addresses import (
    ASKER_IP,
    ASKER_IP6,
    LINK,
    OBSERVER_IP,
    STORM_IP,
    STORM_IP6,
    ip6,
)
from netnslab.machines.topology import Topology

MAC = bytes.fromhex("020000000003")
ASKER = {4: OBSERVER_IP, 6: ip6(3)}
STORM = {4: STORM_IP, 6: STORM_IP6}
CLIENT = {4: "10.77.0.2", 6: ip6(2)}
SENDERS = {"storm": STORM, "asker": ASKER, "client": CLIENT}
VIP = {4: "10.77.1.1", 6: "2001:db8:77::1:1"}


def let_in(frames: list[bytes], family: int, but: tuple[str, ...]) -> list[bytes]:
    """What of these frames passes the filter: the kernel runs it on any datagram."""
    inner, outer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with inner, outer:
        inner.setblocking(False)
        filters.neighbours(inner, [VIP[family]], but)
        for frame in frames:
            outer.send(frame)
        arrived: list[bytes] = []
        while len(arrived) < len(frames):
            try:
                arrived.append(inner.recv(2048))
            except BlockingIOError:
                break
        return arrived


@pytest.mark.parametrize("family", [4, 6])
def test_a_filter_is_deaf_to_the_storm_and_to_whom_else_it_is_told(family: int) -> None:
    by = {who: wire.question(MAC, ip[family], VIP[family]) for who, ip in SENDERS.items()}
    everything = list(by.values())
    assert let_in(everything, family, ()) == [by["asker"], by["client"]]
    assert let_in(everything, family, (ASKER[family],)) == [by["client"]]


def test_of_ipv6_only_neighbour_messages_are_let_in() -> None:
    question = wire.question(MAC, CLIENT[6], VIP[6])
    echo = question[:54] + b"\x80" + question[55:]
    udp = question[:20] + b"\x11" + question[21:]
    assert let_in([echo, udp, question], 6, ()) == [question]


def test_a_ring_asks_in_turn_and_makes_up_for_one_round_at_most() -> None:
    # Fractions of two: no sum is rounded, however long the machine is up.
    ring = Ring(["a", "b"], interval=0.25)
    begun = time.monotonic()
    assert list(ring.due(begun)) == ["a"]
    assert 0 < ring.wait(begun) <= 0.125
    assert list(ring.due(begun + 0.125)) == ["b"]
    # The one that waited, a round, and the one that is due just now.
    assert list(ring.due(begun + 60.0)) == ["a", "b", "a", "b"]


def test_each_question_has_a_mac_of_its_own_that_is_no_host_s() -> None:
    macs = [mac_of(identity).hex(":") for identity in range(IDENTITIES)]
    assert len(set(macs)) == IDENTITIES
    assert [identity_of(mac) for mac in macs] == list(range(IDENTITIES))
    foreign = ("02:00:00:00:00:03", "02:00:00:04:04:00", "ff:ff:ff:ff:ff:ff")
    assert [identity_of(mac) for mac in foreign] == [None, None, None]


def test_an_empty_ring_has_nothing_to_do() -> None:
    ring = Ring([], interval=0.1)
    assert list(ring.due(time.monotonic() + 60.0)) == []
    assert ring.wait(time.monotonic()) == float("inf")


@pytest.mark.parametrize(("turn", "expected"), [(0.1, 2), (1.0, 3)])
def test_only_a_connection_that_worked_when_the_fault_came_was_reset_by_it(
    turn: float, expected: int
) -> None:
    record = Connections()
    # The second broke when the cluster had just been started: it was not steady for a second.
    record.resets.extend([90.0, 98.8, 99.1, 99.9, 101.5])
    assert record.window(100.0, 110.0, turn)["tcp_reset"] == expected


@pytest.mark.root
@pytest.mark.parametrize("family", [4, 6])
def test_a_kernel_answers_the_prober(family: int) -> None:
    topology = Topology(["node-1"], family)
    node = topology.nodes["node-1"]
    ip = node.ip if family == 4 else node.ip6
    target = topology.client.namespace.run(lambda: ProbedIP(ip, 9000, icmp=True))
    try:
        for asked in (1, 2):
            target.ask()
            readable, _, _ = select.select([target.socket], [], [], 5.0)
            assert readable
            target.receive()
            assert sum(moment > 0 for moment in target.answered) == asked
    finally:
        target.socket.close()
        for namespace in [host.namespace for host in topology.hosts()] + [topology.switch]:
            namespace.close()


@pytest.mark.root
@pytest.mark.parametrize("family", [4, 6])
def test_a_kernel_answers_each_question_to_the_mac_that_asked(family: int) -> None:
    topology = Topology(["node-1"], family)
    node, second = topology.nodes["node-1"], topology.observer
    ip, asker = (node.ip, ASKER_IP) if family == 4 else (node.ip6, ASKER_IP6)
    raw = second.namespace.run(packet_socket, LINK, wire.ethertype([ip]))
    askers = [mac_of(identity) for identity in range(4)]
    answered: list[str] = []
    try:
        for mac in askers:
            raw.send(wire.question(mac, asker, ip))
        while len(answered) < len(askers):
            assert select.select([raw], [], [], 10.0)[0]
            said = [wire.read(frame) for _, frame in arrivals(raw)]
            answered += [one.to for one in said if one and one.answer and one.mac == node.mac]
        assert answered == [mac.hex(":") for mac in askers]
        # What is answered to these is not what the kernel of their host has learned.
        assert ip not in topology.neighbours(second)
    finally:
        raw.close()
        for namespace in [host.namespace for host in topology.hosts()] + [topology.switch]:
            namespace.close()
