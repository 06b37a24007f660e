"""The course for nodes that die together, rule by rule (docs/adr/0005-many-deaths.md)."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gossip.config import LAN
from gossip.io import Datagram
from gossip.suspicion import Suspicion
from gossip.wire.messages import Alive, Dead, Message, Ping, State, Suspect
from gossip.wire.packet import PacketCodec

if TYPE_CHECKING:
    from gossip_bench import Bench, Network


def said_by(network: "Network", name: str) -> list[tuple[str, Message]]:
    """What this node has sent by UDP: to whom, and each message."""
    codec = PacketCodec(network.config.wire, None)
    return [
        (to, message)
        for _, source, to, transmit in network.carried
        if source == name and isinstance(transmit, Datagram)
        for message in codec.open(transmit.data).messages
    ]


@pytest.mark.parametrize(
    ("possible", "seconds"), [(0, 4.0), (1, 24.0), (2, 24.0), (9, 24.0)], ids=str
)
def test_suspicion_waits_for_no_more_than_can_accuse(possible: int, seconds: float) -> None:
    timer = Suspicion("me", 2, 4.0, 24.0, 10.0)
    timer.expect_at_most(possible, 10.5)
    assert timer.deadline == pytest.approx(10.0 + seconds)


def test_suspicion_is_never_shorter_than_the_shortest() -> None:
    timer = Suspicion("me", 2, 4.0, 24.0, 10.0)
    for possible, accuser in ((1, "a"), (0, "b"), (2, "c")):
        timer.expect_at_most(possible, 10.1)
        timer.confirm(accuser, 10.1)
        assert timer.deadline >= 14.0


def test_suspicion_grows_back_when_accusers_return() -> None:
    timer = Suspicion("me", 2, 4.0, 24.0, 10.0)
    timer.expect_at_most(0, 11.0)
    assert (timer.deadline, timer.unheard) == (14.0, True)
    timer.expect_at_most(2, 12.0)
    assert (timer.deadline, timer.unheard) == (34.0, False)


def test_suspicion_keeps_a_postponement() -> None:
    timer = Suspicion("me", 2, 4.0, 24.0, 10.0)
    timer.postpone(50.0)
    timer.expect_at_most(0, 20.0)
    assert timer.deadline == 50.0


def test_failed_probe_checks_everybody_at_once(network: "Network") -> None:
    network.cluster(6)
    network.run(5)
    network.dead |= {"n2", "n3", "n4", "n5"}
    while State.SUSPECT not in network.states("n1").values():
        network.run(0.1)
    # The check of the others lasts one probe interval.
    network.run(1.1)
    assert {name for name, state in network.states("n1").items() if state is State.SUSPECT} == (
        network.dead
    )


def test_calm_cluster_checks_nobody(network: "Network") -> None:
    network.cluster(6)
    network.carried.clear()
    network.run(20)
    pings = [message for _, message in said_by(network, "n1") if isinstance(message, Ping)]
    assert len(pings) == pytest.approx(20, abs=1)


def test_accusations_go_straight_to_the_alive(network: "Network") -> None:
    network.cluster(6)
    network.run(5)
    network.dead |= {"n3", "n4", "n5", "n6"}
    network.carried.clear()
    network.run(4)
    told = {
        message.node
        for to, message in said_by(network, "n1")
        if to == "n2" and isinstance(message, Suspect) and message.sender == "n1"
    }
    assert told == network.dead


def test_who_hears_nobody_tells_nobody_of_deaths(network: "Network") -> None:
    network.cluster(5)
    network.run(5)
    network.lost = lambda source, to, transmit: (
        to == "n1" or (source == "n1" and not isinstance(transmit, Datagram))
    )
    network.carried.clear()
    network.run(9)
    assert [name for name, state in network.states("n1").items() if state is State.DEAD] != []
    assert not [message for _, message in said_by(network, "n1") if isinstance(message, Dead)]


def test_memberlist_course_is_still_there(new_network: Callable[..., "Network"]) -> None:
    network = new_network(config=replace(LAN, check_together=False))
    network.cluster(5)
    network.run(5)
    network.dead |= {"n2", "n3", "n4", "n5"}
    network.run(20)
    assert State.DEAD not in network.states("n1").values()


@pytest.mark.parametrize("kind", [Suspect, Dead])
def test_old_accusation_is_answered_with_our_alive(
    kind: type[Suspect] | type[Dead], bench: "Bench", alive: Callable[..., Alive]
) -> None:
    """Who accuses us with an old incarnation has missed our refutation."""
    bench.hear(alive("n2"))
    bench.hear(Suspect("n2", bench.swim.members()[0].incarnation, "me"))
    bench.run(5)
    incarnation = bench.swim.members()[0].incarnation
    bench.hear(kind("n2", incarnation - 1, "me"))
    answers = [message for _, sent in bench.run(0.1) for message in bench.read(sent)]
    told = [message for message in answers if isinstance(message, Alive) and message.node == "me"]
    assert {message.incarnation for message in told} == {incarnation}
