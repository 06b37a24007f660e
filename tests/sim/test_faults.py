"""The faults of failover scenarios: each does to the world what it says, and takes it back."""

import random
from functools import partial
from ipaddress import IPv4Address

import pytest

from arp.gratuitous import request_to_client
from gossip.io import Dial, Event, Gone, NameConflict
from gossip.wire.messages import State
from ownership.contact import HEARTBEAT, SILENCE
from ownership.ownership import Ownership
from sim.world.cores import Cores
from sim.world.faults import Fault, FaultKind
from sim.world.kernel import ECHO_BURST, Echo, Kernel
from sim.world.machine import Machine
from sim.world.neighbours import ASK_EVERY, TRUSTED, Neighbours
from sim.world.process import Process
from sim.world.site import LINK
from sim.world.world import FLOATING, MemberEvent, Setup, World

MAC, OTHER_MAC = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
IP, CLIENT = IPv4Address("10.0.1.1"), IPv4Address("10.0.9.9")
REQUEST = Echo(MAC, OTHER_MAC, CLIENT, IP, True)
AT, ROUNDS_END = 3.0, 6.0
DIAL = 99_999


def struck(*faults: Fault, nodes: int = 3, services: int = 4, until: float = AT) -> World:
    """Run a cluster with witnesses up to a time, with faults on the way."""
    setup = Setup(nodes=nodes, seed=1, services=services, failover_after=0.35, ask_interval=0.05)
    world = World(setup)
    world.start(faults)
    world.run(until)
    return world


def process_of(machine: Machine) -> Process:
    assert machine.process is not None
    return machine.process


# ---- echo


@pytest.mark.parametrize(("rate", "answered"), [(None, 100), (0.0, 0), (10.0, ECHO_BURST + 9)])
def test_a_kernel_answers_so_many_echoes_a_second(rate: float | None, answered: int) -> None:
    kernel = Kernel(MAC, IP, [])
    kernel.limit_echoes(rate)
    answers = [kernel.answer_echo(REQUEST, number / 100) for number in range(100)]
    assert sum(answer is not None for answer in answers) == answered


def test_a_filter_of_echoes_is_of_all_nodes_where_none_is_named_and_ends() -> None:
    world = struck(Fault(AT, FaultKind.ECHO_LIMITED, (), 2.0))
    kernels = [machine.kernel for machine in world.machines.values()]

    def answers() -> list[bool]:
        found = []
        for machine, kernel in zip(world.machines.values(), kernels, strict=True):
            request = Echo(
                machine.identity.mac, MAC, CLIENT, IPv4Address(machine.identity.ip), True
            )
            found.append(kernel.answer_echo(request, world.now) is not None)
        return found

    world.run(AT + 1.0)
    assert answers() == [False, False, False]
    world.run(AT + 3.0)
    assert answers() == [True, True, True]


def test_who_loses_its_echo_replies_answers_requests() -> None:
    world = struck(Fault(AT, FaultKind.ECHO_REPLIES_LOST, ("n2",), 60.0))
    echoed, sources = Cores.handle_echo, dict[str, set[IPv4Address]]()
    names = {process_of(m).cores: name for name, m in world.machines.items()}

    def note(cores: Cores, ip: IPv4Address, token: bytes, now: float) -> None:
        sources.setdefault(names[cores], set()).add(ip)
        echoed(cores, ip, token, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cores, "handle_echo", note)
        world.run(AT + 1.0)
    assert sources.keys() == {"n1", "n3"}
    assert all(IPv4Address(world.machines["n2"].identity.ip) in ips for ips in sources.values())


# ---- machines


def test_a_paused_machine_takes_nothing_and_does_not_know_it() -> None:
    world = struck(Fault(AT, FaultKind.VM_PAUSE, ("n2",), 20.0))
    process = process_of(world.machines["n2"])
    handled, clock = process.handled, world.now + process.offset
    world.run(AT + 19.9)
    assert not world.machines["n2"].powered
    assert process.handled == handled
    assert not process.inbox.datagrams
    assert not process.inbox.frames
    world.run(AT + 20.001)
    assert world.machines["n2"].powered
    assert not process.cores.contact.held
    assert world.now + process.offset == pytest.approx(clock + 0.001, abs=0.001)


def test_a_frozen_process_knows_it_by_its_clock() -> None:
    """The difference between both faults."""
    world = struck(Fault(AT, FaultKind.PAUSE, ("n2",), 20.0), until=AT + 20.0001)
    assert process_of(world.machines["n2"]).cores.contact.held


def test_a_node_comes_back_with_another_address_that_speakers_learn_of() -> None:
    world = struck(Fault(AT, FaultKind.NEW_ADDRESS, ("n2",), 5.0))
    old, mac = IPv4Address(world.machines["n2"].identity.ip), world.machines["n2"].identity.mac
    world.run(AT + 1.0)
    assert not world.machines["n2"].powered
    world.run(AT + 5.5)
    machine = world.machines["n2"]
    new = IPv4Address(machine.identity.ip)
    assert new != old
    assert machine.kernel.ips == {new}
    asker = world.machines["n1"]
    assert (world.mac_of(old, asker), world.mac_of(new, asker)) == (None, mac)
    assert process_of(asker).swim.live() >= {"n1", "n3"}


def test_a_second_machine_of_a_name_has_its_own_addresses() -> None:
    world = struck()
    conflicts, take = list[str](), Ownership.handle_gossip

    def note(ownership: Ownership, event: Event, now: float) -> None:
        if isinstance(event, NameConflict):
            conflicts.append(event.claimed.ip)
        take(ownership, event, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ownership, "handle_gossip", note)
        world.double("n1")
        world.run(AT + 5.0)
    twin, first = world.machines["n1'"], world.machines["n1"]
    assert twin.identity.node == first.identity.node == "n1"
    assert twin.identity.mac != first.identity.mac
    assert set(conflicts) >= {twin.identity.ip}


def test_a_floating_address_is_told_and_moves() -> None:
    moves = [
        Fault(at, FaultKind.FLOATING_ADDRESS, (name,)) for at, name in ((1.0, "n2"), (AT, "n3"))
    ]
    world = struck(*moves, until=2.0)
    n2, n3 = world.machines["n2"], world.machines["n3"]
    assert min(ip for m in world.machines.values() for ip in m.kernel.ips - {FLOATING}) > FLOATING
    assert FLOATING in n2.kernel.ips
    assert world.mac_of(FLOATING, n3) == n2.identity.mac
    world.run(AT + 0.1)
    assert (FLOATING in n2.kernel.ips, FLOATING in n3.kernel.ips) == (False, True)
    assert world.mac_of(FLOATING, n2) == n3.identity.mac


def test_a_foreign_kernels_answers_are_nobodys_and_its_speaker_hears_the_question() -> None:
    world = struck(services=1)
    (ip,) = world.service_ips
    (owner,) = world.observer.answering(ip)
    holder = next(m for m in world.machines.values() if m.identity.mac != owner)
    world.squat(holder.name, [ip])
    before = process_of(holder).handled
    world.run(AT + 1.0)
    assert process_of(holder).handled - before > 20
    assert world.observer.answering(ip) == {owner}
    asked = request_to_client(OTHER_MAC, CLIENT, ip, None)
    assert holder.kernel.answer_arp(asked) is not None


def test_each_speaker_reads_a_new_configuration_at_a_moment_of_its_own() -> None:
    world = struck(nodes=4, services=8)
    owners = dict.fromkeys(world.machines, 0.0)
    world.admit(frozenset({"n1", "n2", "n3"}), within=0.8)
    for step in range(1, 100):
        world.run(AT + step / 100)
        for name, machine in world.machines.items():
            if "n4" not in process_of(machine).cores.ownership.owners().values():
                owners[name] = owners[name] or step / 100
    assert all(0.0 < at <= 0.82 for at in owners.values())
    assert len(set(owners.values())) > 1


# ---- what a process does as the daemon does


def test_a_silent_link_is_held_no_longer_than_its_silence() -> None:
    """Heartbeats end a hold of a link, too, not only one of the process."""
    world = struck(nodes=2, until=ROUNDS_END)
    world.machines["n1"].kill(power=True)
    process = process_of(world.machines["n2"])
    process.cores.contact.handle_carrier_return(LINK, 2.0, world.now)
    process.start(world.now)
    assert not process.cores.contact.open(LINK)
    world.run(ROUNDS_END + SILENCE + HEARTBEAT)
    assert process.cores.contact.open(LINK)


def test_a_stopped_speaker_says_goodbye_before_it_ends() -> None:
    world = struck()
    left = list[str]()

    def note(machine: Machine, event: MemberEvent) -> None:
        if isinstance(event, Gone) and event.member.state is State.LEFT:
            left.append(machine.name)

    world.on_event = note
    world.stop("n2")
    world.run(AT + 2.0)
    assert {"n1", "n3"} <= set(left)
    assert world.machines["n2"].process is None
    assert not world.machines["n2"].powered


def test_a_dial_that_began_in_a_cut_gets_through_after_it() -> None:
    world = struck(nodes=2, services=0)
    dialler, replies = world.machines["n1"], list[int]()
    island = world.network.part(["n2"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialler, "receive_reply", lambda _, dial, __: replies.append(dial))
        to = world.machines["n2"].identity.address
        world.dial(dialler, Dial(DIAL, b"\x00\x80", to, 2.5), dialler.lives)
        world.run(AT + 0.5)
        world.network.heal(island)
        world.run(AT + 0.9)
        assert DIAL not in replies
        world.run(AT + 1.1)
    assert replies.count(DIAL) == 1


# ---- neighbour entries


def neighbours() -> Neighbours:
    return Neighbours(random.Random(1))


def test_an_entry_outlives_a_short_cut() -> None:
    found = neighbours()
    wait = partial(found.wait, "a", "b")
    assert wait(reaches=False, now=0.0) == 0.0
    assert wait(reaches=True, now=TRUSTED[0] - 0.1) == 0.0


def test_after_a_long_cut_packets_wait_for_the_next_question() -> None:
    found = neighbours()
    wait = partial(found.wait, "a", "b")
    wait(reaches=False, now=0.0)
    assert wait(reaches=False, now=100.0) == ASK_EVERY
    assert wait(reaches=True, now=100.4) == pytest.approx(ASK_EVERY - 0.4)
    assert wait(reaches=True, now=101.0) == 0.0
    assert wait(reaches=True, now=101.1) == 0.0


def test_who_is_asked_learns_who_asks() -> None:
    found = neighbours()
    found.wait("b", "a", reaches=False, now=0.0)
    found.wait("a", "b", reaches=False, now=0.0)
    assert found.wait("b", "a", reaches=False, now=100.0) == ASK_EVERY
    assert found.wait("a", "b", reaches=True, now=100.3) == 0.0
    assert found.wait("b", "a", reaches=True, now=100.4) == 0.0


@pytest.mark.parametrize("asker", [("a", "b"), ("b", "a")], ids=["by itself", "by the other"])
def test_what_waits_for_a_mac_goes_out_as_soon_as_the_kernel_learns_it(
    asker: tuple[str, str],
) -> None:
    found, sent = neighbours(), list[float]()
    found.wait("a", "b", reaches=False, now=0.0)
    assert found.wait("a", "b", reaches=False, now=100.0) == ASK_EVERY
    found.hold("a", "b", lambda: sent.append(100.1))
    found.introduce("a", "c")
    assert sent == []
    found.introduce(*asker)
    found.introduce(*asker)
    assert sent == [100.1]
