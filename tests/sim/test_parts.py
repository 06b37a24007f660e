"""The simulator's own parts: a wrong model proves nothing."""

import random
from functools import partial
from ipaddress import IPv4Address

import pytest

from arp import gratuitous
from arp.gratuitous import request_to_client
from gossip.config import LAN
from gossip.io import Address, Dial, StreamFailure
from link.checksum import checksum
from ownership.announcing.announcer import Announcer
from ownership.contact import Contact
from ownership.handover.states import HoldState
from sim import bounds
from sim.invariants import Checker, outages
from sim.report import percentile
from sim.world.clock import EventHeap
from sim.world.faults import Fault, FaultKind
from sim.world.kernel import Echo, Kernel, read_arp
from sim.world.network import Network
from sim.world.process import PACKET_OVERHEAD, RECEIVE_BUFFER, Inbox
from sim.world.unwatched import Unwatched
from sim.world.world import Setup, World

MAC, OTHER_MAC = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
DIAL = 99_999
IP, VIP, CLIENT = (IPv4Address(text) for text in ("10.0.0.1", "192.0.2.1", "10.0.9.9"))


def small_world(nodes: int = 3, seed: int = 1) -> World:
    world = World(Setup(nodes=nodes, seed=seed, services=1))
    world.start([])
    world.run(5.0)
    return world


def outcome(world: World, target: str, timeout: float = 2.0) -> tuple[str, float]:
    """Dial from n1 and give how the conversation ends, and after how many seconds."""
    begun, dialler = world.elapsed, world.machines["n1"]
    ends: list[tuple[str, float]] = []

    def reply(life: int, dial: int, data: bytes | StreamFailure) -> None:
        if dial == DIAL:
            how = data.value if isinstance(data, StreamFailure) else "answered"
            ends.append((how, round(world.elapsed - begun, 3)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialler, "receive_reply", reply)
        to = world.machines[target].identity.address
        world.dial(dialler, Dial(DIAL, b"\x00\x80", to, timeout), dialler.lives)
        world.run(begun + timeout + 1)
    (end,) = ends
    return end


def test_events_happen_in_order_and_ties_as_put_in() -> None:
    heap, seen = EventHeap(0.0), list[str]()
    for when, name in ((2.0, "c"), (1.0, "a"), (1.0, "b"), (3.0, "late")):
        heap.at(when, partial(seen.append, name))
    heap.run_until(2.5)
    assert seen == ["a", "b", "c"]
    assert heap.now == 2.5


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_network_loses_and_doubles_at_the_given_rates(rate: float) -> None:
    network = Network(random.Random(1))
    network.conditions.loss, network.conditions.duplicate = rate, rate
    copies = [len(network.copies("a", "b")) for _ in range(10_000)]
    assert copies.count(0) / 10_000 == pytest.approx(rate, rel=0.1)
    assert copies.count(2) / 10_000 == pytest.approx(rate * (1 - rate), rel=0.15)


def test_one_way_block_and_partition_cut_what_they_should() -> None:
    network = Network(random.Random(1))
    network.block("a", "b")
    assert (network.copies("a", "b"), len(network.copies("b", "a"))) == ((), 1)
    assert network.round_trip("b", "a") is None
    network.block("a", "b", by=-1)
    island = network.part(["a", "b"])
    assert network.connects("a", "b")
    assert not network.connects("a", "c")
    network.heal(island)
    assert network.connects("a", "c")


@pytest.mark.parametrize("inbound", [True, False])
def test_deaf_and_mute_are_one_direction(inbound: bool) -> None:
    network = Network(random.Random(1))
    network.isolate("a", inbound=inbound)
    assert network.connects("a", "b") is inbound
    assert network.connects("b", "a") is not inbound


def test_receive_buffer_is_bounded() -> None:
    inbox = Inbox()
    for _ in range(10_000):
        inbox.add_datagram(bytes(100), Address("10.0.0.1", 7946))
    assert len(inbox.datagrams) == RECEIVE_BUFFER // (PACKET_OVERHEAD + 100)
    assert inbox.lost == 10_000 - len(inbox.datagrams)


def test_dial_of_a_dead_process_is_refused_at_once() -> None:
    world = small_world()
    world.machines["n2"].kill(power=False)
    result, after = outcome(world, "n2")
    assert result == "refused"
    assert after < 0.01


def test_dial_of_a_dead_machine_times_out() -> None:
    world = small_world()
    world.machines["n2"].kill(power=True)
    assert outcome(world, "n2") == ("timeout", 2.0)


def test_dial_of_a_frozen_process_is_accepted_and_silent() -> None:
    world = small_world()
    world.freeze("n2")
    process = world.machines["n2"].process
    assert process is not None
    assert outcome(world, "n2") == ("timeout", 2.0)
    assert b"\x00\x80" in [data for data, _, _ in process.inbox.streams]


def test_dial_of_a_running_process_is_answered() -> None:
    assert outcome(small_world(), "n2")[0] in ("answered", "closed")


def test_kernel_answers_echo_for_itself_and_forwards_for_services() -> None:
    kernel = Kernel(MAC, IP, [VIP])
    for target in (IP, VIP):
        answer = kernel.answer_echo(Echo(MAC, OTHER_MAC, CLIENT, target, True, b"payload"), 0.0)
        assert answer == Echo(OTHER_MAC, MAC, target, CLIENT, False, b"payload")
    assert kernel.forwarded == 1


@pytest.mark.parametrize(
    "echo",
    [
        Echo(MAC, OTHER_MAC, CLIENT, VIP, True),
        Echo(MAC, OTHER_MAC, CLIENT, IP, False),
        Echo(OTHER_MAC, MAC, CLIENT, IP, True),
    ],
    ids=["for another IP", "a reply", "for another machine"],
)
def test_kernel_ignores_other_echoes(echo: Echo) -> None:
    assert Kernel(MAC, IP, []).answer_echo(echo, 0.0) is None


def test_kernel_answers_only_questions_for_its_own_ip() -> None:
    kernel = Kernel(MAC, IP, [VIP])
    answer = kernel.answer_arp(request_to_client(OTHER_MAC, CLIENT, IP, None))
    assert answer is not None
    heard = read_arp(answer)
    assert heard is not None
    assert (heard.sender_ip, heard.sender_mac, heard.target_mac) == (IP, MAC, OTHER_MAC)
    for frame in (request_to_client(OTHER_MAC, CLIENT, VIP, None), gratuitous.reply(OTHER_MAC, IP)):
        assert kernel.answer_arp(frame) is None
    assert read_arp(b"short") is None


def test_checksum_is_the_one_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


def test_one_node_answers_for_a_service_and_its_kernel_lives_on() -> None:
    world = small_world()
    (ip,) = world.service_ips
    world.run(8.0)
    (owner,) = world.observer.answering(ip)
    name = next(m.name for m in world.machines.values() if m.identity.mac == owner)
    world.freeze(name)
    world.run(10.5)
    assert world.observer.answering(ip) == frozenset()
    assert world.machines[name].powered


def test_checker_finds_a_false_death() -> None:
    """Told of no fault, it must object to the death of a node that was cut off."""
    world = World(Setup(nodes=5, seed=1, services=0))
    checker = Checker(world, [])
    world.start([])
    world.run(5.0)
    world.network.part(["n3"])
    world.run(25.0)
    assert any("declared n3 dead" in text for text in checker.violations)


def test_checker_finds_views_that_differ_and_an_undetected_crash() -> None:
    fault = Fault(5.0, FaultKind.POWER_OFF, ("n2",))
    world = World(Setup(nodes=5, seed=1, services=0))
    checker = Checker(world, [fault])
    world.start([fault])
    world.run(7.0)
    checker.finish()
    assert any("views differ" in text for text in checker.violations)


def test_checker_finds_a_falling_incarnation() -> None:
    world = World(Setup(nodes=2, seed=1, services=0))
    checker = Checker(world, [])
    world.start([])
    process = world.machines["n2"].process
    assert process is not None
    process.swim.set_meta(b"x", world.now)
    world.run(3.0)
    checker._incarnations[("n1", 1, "n2")] += 10
    process.swim.set_meta(b"y", world.now)
    world.run(6.0)
    assert any("incarnation of n2 fall" in text for text in checker.violations)


def test_short_pauses_and_cuts_excuse_nothing() -> None:
    short = [Fault(1, FaultKind.PAUSE, ("n1",), 3.9), Fault(1, FaultKind.PARTITION, ("n1",), 0.9)]
    long = [Fault(1, FaultKind.PAUSE, ("n1",), 4.1), Fault(1, FaultKind.PARTITION, ("n1",), 1.1)]
    assert outages(short, LAN, 5) == []
    assert [outage.node for outage in outages(long, LAN, 5)] == ["n1", None]


def test_detection_bound_is_the_documented_sum() -> None:
    assert bounds.detection(LAN, 5, 1) == pytest.approx(1.5 * 4 + 8 + 8 + 24 + 4)


def test_percentile_of_few() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert percentile([], 0.5) is None


def test_who_watches_nobody_owns_an_ip_or_has_nothing_of_it() -> None:
    handing = Unwatched(Announcer(Contact(0.0, alone=True)))
    assert handing.state(VIP) is HoldState.NONE
    handing.win("ns/a", VIP, None, None, 1.0)
    assert handing.state(VIP) is HoldState.OWNED
    handing.lose("ns/a", VIP, "n2", 2.0)
    assert handing.state(VIP) is HoldState.NONE
