"""Members that hold each other dead find together again, without waiting for a push/pull."""

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import pytest

from gossip.io import Address, Exchanged, NameConflict
from gossip.outbox import SHOUT_INTERVAL
from gossip.reunion import TELL_INTERVAL
from gossip.wire.messages import Alive as AliveMessage
from gossip.wire.messages import Dead, Ping, State, Suspect

if TYPE_CHECKING:
    from collections.abc import Callable

    from gossip.wire.messages import Alive
    from gossip_bench import Bench, Network


Kind = TypeVar("Kind")


def of(network: "Network", kind: type[Kind]) -> list[Kind]:
    return [event for event in network.events["n2"] if isinstance(event, kind)]


def parted(network: "Network", seconds: float) -> None:
    """Cut the first two from each other until each holds the other dead."""
    network.cluster(2)
    for swim in network.nodes.values():
        swim.set_seeds([], network.now)
    network.lost = lambda source, to, transmit: True
    network.run(seconds)
    assert network.nodes["n1"].live() == {"n1"}
    assert network.nodes["n2"].live() == {"n2"}
    network.lost = lambda source, to, transmit: False


@pytest.mark.parametrize("seconds", [20.0, 90.0], ids=["remembered", "forgotten"])
def test_one_call_mends_a_cut(network: "Network", seconds: float) -> None:
    parted(network, seconds)
    network.nodes["n1"].call(network.address("n2"), network.now)
    network.run(0.1)
    assert network.nodes["n1"].live() == network.nodes["n2"].live() == {"n1", "n2"}


def test_an_address_is_called_again_while_an_earlier_call_waits_but_not_without_end(
    network: "Network",
) -> None:
    parted(network, 20.0)
    first, address = network.nodes["n1"], network.address("n2")
    for _ in range(10):
        first.call(address, network.now)
    assert len([each for each in first.transmits() if each.to == address]) == 3


def test_who_was_paused_is_told_by_whom_it_pings(network: "Network") -> None:
    network.cluster(2)
    network.freeze("n1")
    network.run(20.0)
    assert network.states("n2")["n1"] is State.DEAD
    network.thaw("n1")
    network.run(2.0)
    assert network.states("n2")["n1"] is State.ALIVE


def test_the_dead_are_told_once_a_second_and_only_where_they_lived(
    bench: "Bench", alive: "Callable[..., Alive]"
) -> None:
    bench.hear(alive("n2"))
    bench.hear(Dead("n9", 1, "n2"))
    bench.sent()

    def told(source: str) -> int:
        bench.hear(Ping("me", 1, source_node="n2"), source=source)
        return sum(isinstance(message, Suspect) for _, message in bench.sent())

    assert told("10.0.0.77") == 0
    assert [told("10.0.0.2"), told("10.0.0.2")] == [1, 0]
    bench.now += TELL_INTERVAL
    assert told("10.0.0.2") == 1


def test_a_joiner_is_known_by_its_second_exchange(network: "Network") -> None:
    network.add("n1")
    joiner = network.add("n2")
    joiner.set_seeds([network.address("n1")], network.now)
    network.run(0.1)
    joiner.exchange(network.now)
    network.run(0.1)
    begun = [event for event in of(network, Exchanged) if event.began]
    assert [event.known for event in begun] == [False, True]


def test_who_has_another_ones_name_is_known_by_nobody(network: "Network") -> None:
    n1, _ = network.cluster(2)
    network.lost = lambda source, to, transmit: to == "n2"
    network.dead.add("n2")
    double = network.add("n2", "10.0.0.9", incarnation=5)
    network.dead.discard("n2")
    double.set_seeds([network.address("n1")], network.now)
    network.run(0.1)
    double.exchange(network.now)
    network.run(0.1)
    assert n1.live() == {"n1", "n2"}
    begun = [event for event in of(network, Exchanged) if event.began]
    assert [event.known for event in begun[-2:]] == [False, False]
    conflicts = of(network, NameConflict)
    assert conflicts
    assert conflicts[0].incarnation == 1


@pytest.mark.parametrize("dead", [True, False])
def test_an_accuser_that_is_dead_to_us_is_answered_straight(
    bench: "Bench", alive: "Callable[..., Alive]", dead: bool
) -> None:
    """No shout reaches it; one that lives hears ours."""
    bench.hear(alive("n2"))
    if dead:
        bench.hear(Dead("n9", 1, "n2"))
    bench.sent()

    def refuted() -> int:
        bench.hear(Suspect("n2", bench.incarnation(), "me"), source="10.0.0.77")
        # What waits to be told goes with it, so that packets are counted.
        packets = [item for item in bench.swim.transmits() if item.to.ip == "10.0.0.77"]
        kinds = [{type(each) for each in bench.read(packet)} for packet in packets]
        return sum(AliveMessage in each for each in kinds)

    before = bench.incarnation()
    assert refuted() == dead
    assert bench.incarnation() == before + 1
    # Not more often than a shout, as anybody may accuse.
    assert refuted() == 0
    bench.now += SHOUT_INTERVAL
    assert refuted() == dead


def test_whom_gossip_has_forgotten_is_told_wherever_it_speaks_from(
    bench: "Bench", alive: "Callable[..., Alive]"
) -> None:
    """Nothing is known of its address any more."""
    age = 1_700_000_000
    bench.hear(alive("n2", age))
    bench.hear(Dead("n9", age, "n2"))
    bench.run(90.0)
    assert bench.state("n2") is None
    bench.hear(Ping("me", 1, source_node="n2"), source="10.0.0.77")
    told = [(to.ip, each) for to, each in bench.sent() if isinstance(each, Suspect)]
    assert told == [("10.0.0.77", Suspect("me", age, "n2"))]


def test_nobody_calls_itself(network: "Network") -> None:
    parted(network, 20.0)
    n1 = network.nodes["n1"]
    n1.call(network.address("n1"), network.now)
    assert n1.transmits() == []


@pytest.mark.parametrize(
    ("own", "incarnation", "claimed", "younger"),
    [
        (True, 4, "10.0.0.9", True),
        (True, 6, "10.0.0.9", False),
        # Of two that began at one moment the lower address had it first.
        (True, 5, "10.0.0.0", True),
        (True, 5, "10.0.0.9", False),
        (False, 4, "10.0.0.9", False),
    ],
)
def test_of_two_nodes_of_one_name_the_one_that_began_later_knows_that_it_did(
    bench: "Bench", own: bool, incarnation: int, claimed: str, younger: bool
) -> None:
    [row] = bench.swim.members()
    member = replace(row, own=own, incarnation=5)
    conflict = NameConflict(member, Address(claimed, 7946), incarnation)
    assert conflict.ours_is_younger is younger
