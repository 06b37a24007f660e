"""Whoever is brought by strangers answers a ping before it is a member: the door by itself."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gossip.candidates import (
    AGAIN,
    BURST,
    LATE,
    LATE_TRIES,
    MAX_CANDIDATES,
    MOST_ADDRESSES,
    PINGS_A_SECOND,
    TRIES,
)
from gossip.config import LAN
from gossip.io import Address, Datagram, Dial, Joined, NameConflict
from gossip.stats import Ignored
from gossip.wire.messages import Ack, Alive, Dead, Ping, PushPull, State, Suspect
from gossip_bench import LATENCY, Bench, Network

Make = Callable[..., Alive]


class Door(Bench):
    """A node that asks newcomers, as all do that are not on a bench for memberlist's rules."""

    def __init__(self) -> None:
        super().__init__(replace(LAN, probe_interval=3_600.0), ask_newcomers=True)

    def pings(self) -> dict[str, list[tuple[int, Address]]]:
        """Drain; return the number and the addressee of each ping, by name."""
        found: dict[str, list[tuple[int, Address]]] = {}
        for to, message in self.sent():
            if isinstance(message, Ping):
                found.setdefault(message.node, []).append((message.seq_no, to))
        return found

    def wait(self, seconds: float) -> dict[str, list[float]]:
        """Let time pass with nobody answering; return when whom was pinged."""
        found: dict[str, list[float]] = {}
        for at, transmit in self.run(seconds):
            for message in self.read(transmit):
                if isinstance(message, Ping):
                    found.setdefault(message.node, []).append(at)
        return found


@pytest.fixture
def door() -> Door:
    return Door()


def test_a_stranger_is_a_member_as_soon_as_it_answers(door: Door, alive: Make) -> None:
    door.hear(alive("n2"))
    assert door.state("n2") is None
    [(number, to)] = door.pings()["n2"]
    assert to == Address("10.0.0.2", 7946)
    door.hear(Ack(number))
    assert door.state("n2") is State.ALIVE
    assert [event.member.name for event in door.swim.events() if isinstance(event, Joined)] == [
        "n2"
    ]


def test_nothing_is_passed_on_before_the_answer(door: Door, alive: Make) -> None:
    door.hear(alive("n2"))
    door.pings()
    before = door.swim.stats.queued
    door.hear(alive("n3"))
    [(number, _)] = door.pings()["n3"]
    assert door.swim.stats.queued == before
    door.hear(Ack(number))
    assert door.swim.stats.queued == before + 1


def test_another_number_is_no_answer(door: Door, alive: Make) -> None:
    door.hear(alive("n2"))
    [(number, _)] = door.pings()["n2"]
    door.hear(Ack(number + 1))
    assert door.state("n2") is None
    assert door.swim.stats.ignored[Ignored.UNKNOWN_SEQUENCE] == 1


def test_the_silent_are_asked_a_few_times_and_given_up(door: Door, alive: Make) -> None:
    began = door.now
    door.hear(alive("n2"))
    door.hear(alive("n2"))
    times = door.wait(60)["n2"]
    quick, late = AGAIN * LAN.probe_timeout, LATE * LAN.probe_timeout
    expected = [began + turn * quick for turn in range(TRIES + 1)]
    expected += [expected[-1] + turn * late for turn in range(1, LATE_TRIES)]
    assert times == pytest.approx(expected)
    assert door.state("n2") is None
    assert door.swim.stats.ignored[Ignored.NEWCOMER_SILENT] == 1
    assert door.swim.stats.ignored[Ignored.REPEATED] == 1
    assert len(door.swim._candidates) == 0


def test_a_late_answer_counts_until_it_is_given_up(door: Door, alive: Make) -> None:
    door.hear(alive("n2"))
    [(number, _)] = door.pings()["n2"]
    door.wait(AGAIN * LAN.probe_timeout * (TRIES - 0.5))
    door.hear(Ack(number))
    assert door.state("n2") is State.ALIVE


def test_who_gets_no_processor_for_some_seconds_is_let_in_by_a_late_ping(
    door: Door, alive: Make
) -> None:
    """It was told of once, and the next push/pull is half a minute away."""
    door.hear(alive("n2"))
    door.wait(3.0)
    later = door.wait(2.5)["n2"]
    assert len(later) == 1
    [*_, number] = door.swim._candidates._pings
    door.hear(Ack(number))
    assert door.state("n2") is State.ALIVE


def test_who_answers_no_quick_ping_gives_way_to_newcomers(door: Door) -> None:
    """Slots that last longer must not be easier to fill."""
    for index in range(MAX_CANDIDATES):
        door.hear(_named(f"c{index}"))
    door.wait(MAX_CANDIDATES * (TRIES + 1) / PINGS_A_SECOND + 0.5)
    assert len(door.swim._candidates) == MAX_CANDIDATES
    door.hear(_named(f"c{MAX_CANDIDATES}"))
    assert len(door.swim._candidates) == MAX_CANDIDATES
    assert f"c{MAX_CANDIDATES}" in door.swim._candidates._by_name
    assert door.swim.stats.ignored[Ignored.NEWCOMERS_FULL] == 0


def test_whom_somebody_names_that_we_dialled_is_a_member_at_once(door: Door, row: Any) -> None:
    door.hear(_named("n2"))
    door.swim.call(Address("10.0.0.9", 7946), door.now)
    [dial] = [item for item in door.swim.transmits() if isinstance(item, Dial)]
    reply = PushPull(False, (row("n2", State.ALIVE), row("n3", State.ALIVE)))
    data = door.swim.streams.seal(reply, dialer=False, nonce=lambda: bytes(12))
    door.swim.handle_reply(dial.id, data, door.now)
    assert door.state("n2") is door.state("n3") is State.ALIVE


def test_the_rows_of_a_dialler_are_candidates(door: Door, row: Any) -> None:
    door.merge(row("n9", State.ALIVE), row("n2", State.ALIVE), row("n3", State.SUSPECT), join=True)
    assert door.swim.live() == {"me"}
    assert door.pings().keys() == {"n9", "n2"}


def test_a_dialler_is_asked_before_all_that_wait(door: Door, alive: Make, row: Any) -> None:
    crowd = [_named(f"c{index}") for index in range(2 * BURST)]
    for message in crowd:
        door.hear(message)
    assert len(door.pings()) == BURST
    door.merge(row("n9", State.ALIVE), row("n2", State.ALIVE))
    assert door.pings().keys() == {"n9"}


def test_pings_keep_their_pace(door: Door) -> None:
    began = door.now
    for index in range(1_000):
        door.hear(_named(f"c{index}"))
    first = door.pings()
    assert len(first) == BURST
    later = sorted(at for times in door.wait(2.0).values() for at in times)
    for at in later:
        within = [each for each in later if at <= each < at + 0.5]
        assert len(within) <= BURST + 0.5 * PINGS_A_SECOND + 1
    assert len(later) == pytest.approx((door.now - began) * PINGS_A_SECOND, rel=0.05)


def test_all_who_join_together_are_asked_in_time(door: Door) -> None:
    door.now += 10
    asked = set[str]()
    for index in range(1_000):
        door.hear(_named(f"c{index}"))
    end = door.now + 1_000 / PINGS_A_SECOND + 1
    while door.now < end:
        for name, pings in door.pings().items():
            asked.add(name)
            door.hear(Ack(pings[0][0]))
        door.now = max(door.now, min(end, door.swim.deadline() or end))
        door.swim.handle_timeout(door.now)
    assert len(door.swim.live()) == 1_001
    assert len(asked) == 1_000


def test_candidates_are_bounded_and_counted(door: Door) -> None:
    for index in range(MAX_CANDIDATES + 100):
        door.hear(_named(f"c{index}"))
    assert len(door.swim._candidates) == MAX_CANDIDATES
    assert door.swim.stats.ignored[Ignored.NEWCOMERS_FULL] == 100
    door.wait(60)
    assert len(door.swim._candidates) == 0
    assert not door.swim._candidates._pings
    assert not door.swim._candidates._by_name


def test_an_old_address_is_not_in_the_way_of_the_true_one(door: Door, alive: Make) -> None:
    door.hear(alive("n2", 9, addr=bytes((10, 0, 0, 77))), alive("n2", 1))
    pings = door.pings()["n2"]
    assert [to.ip for _, to in pings] == ["10.0.0.77", "10.0.0.2"]
    door.hear(Ack(pings[1][0]))
    assert door.swim.member("n2").address.ip == "10.0.0.2"  # type: ignore[union-attr]
    for index in range(MOST_ADDRESSES + 3):
        door.hear(alive("n3", addr=bytes((10, 0, 1, index))))
    assert len(door.pings()["n3"]) == MOST_ADDRESSES


def test_the_newest_of_what_was_said_counts(door: Door, alive: Make) -> None:
    for incarnation in (5, 7, 6):
        door.hear(alive("n2", incarnation))
    door.hear(Ack(door.pings()["n2"][0][0]))
    assert door.incarnation("n2") == 7


@pytest.mark.parametrize(("incarnation", "joins"), [(4, True), (5, False), (6, False)])
def test_whoever_leaves_before_it_answers_is_no_member(
    door: Door, alive: Make, incarnation: int, joins: bool
) -> None:
    door.hear(alive("n2", 5))
    [(number, _)] = door.pings()["n2"]
    door.hear(Dead("n2", incarnation, "n2"))
    door.hear(Ack(number))
    assert (door.state("n2") is State.ALIVE) is joins


def test_members_are_judged_as_ever(door: Door, alive: Make) -> None:
    door.hear(alive("n2"))
    door.hear(Ack(door.pings()["n2"][0][0]))
    door.hear(Suspect("n9", 1, "n2"), alive("n2", 2))
    assert (door.state("n2"), door.incarnation("n2")) == (State.ALIVE, 2)
    door.hear(Dead("n9", 2, "n2"), alive("n2", 3))
    assert (door.state("n2"), door.incarnation("n2")) == (State.ALIVE, 3)
    assert not door.pings()


def test_a_dead_member_at_another_address_is_a_stranger(door: Door, alive: Make) -> None:
    """Its incarnation says nothing then, and so the oldest recording would revive it."""
    door.hear(alive("n2", 5))
    door.hear(Ack(door.pings()["n2"][0][0]))
    door.hear(Dead("n2", 5, "n2"), alive("n2", 1, addr=bytes((10, 0, 0, 77))))
    assert door.state("n2") is State.LEFT
    [(number, to)] = door.pings()["n2"]
    assert to.ip == "10.0.0.77"
    door.hear(Ack(number))
    assert door.state("n2") is State.ALIVE


def test_who_has_our_name_has_to_answer_too(door: Door, alive: Make) -> None:
    door.hear(alive("me", 1, addr=bytes((10, 0, 0, 77))))
    assert not door.swim.events()
    [(number, _)] = door.pings()["me"]
    door.hear(Ack(number))
    assert [event for event in door.swim.events() if isinstance(event, NameConflict)]


def test_no_news_is_spent_on_a_stranger(door: Door, alive: Make) -> None:
    door.swim.broadcast(b"news", door.now)
    door.hear(alive("n2"))
    [message] = [message for to, message in door.sent() if to.ip == "10.0.0.2"]
    assert isinstance(message, Ping)


def _named(name: str) -> Alive:
    number = int(name[1:])
    return Alive(bytes((10, 9, number >> 8, number & 255)), 1, None, name, 7946, LAN.vsn)


# ---- in a ring


def test_joining_takes_a_round_trip_more_and_no_longer(network: Network) -> None:
    network.cluster(6)
    late = network.add("late")
    began = network.now
    late.set_seeds([network.address("n1")], network.now)
    network.run(1.5 * LATENCY)
    assert "late" not in network.nodes["n1"].live()
    network.run(2 * LATENCY)
    assert "late" in network.nodes["n1"].live()
    while not all("late" in swim.live() for swim in network.nodes.values()):
        network.run(LATENCY / 2)
    # It dials, is answered, tells the others, is asked by them and answers: five ways.
    assert network.now - began <= 6 * LATENCY


def test_a_newcomer_is_let_in_though_packets_are_lost(network: Network) -> None:
    network.cluster(3)
    asked = 0

    def first_two_pings(source: str, to: str, transmit: object) -> bool:
        nonlocal asked
        asked += to == "late" and isinstance(transmit, Datagram)
        return to == "late" and asked <= 2

    network.lost = first_two_pings
    late = network.add("late")
    late.set_seeds([network.address("n1")], network.now)
    network.run(2.0)
    assert all("late" in swim.live() for swim in network.nodes.values())
