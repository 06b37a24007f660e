"""Members that hold each other dead find together again, without waiting for a push/pull."""

from typing import TYPE_CHECKING, TypeVar

import pytest

from gossip.io import Exchanged, NameConflict
from gossip.reunion import TELL_INTERVAL
from gossip.wire.messages import Dead, Ping, State, Suspect

if TYPE_CHECKING:
    from collections.abc import Callable

    from gossip.wire.messages import Alive
    from tests.gossip.conftest import Bench, Network


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
