"""memberlist has no protection against replay. Nothing recorded may change a ring's mind."""

import random
from typing import Any

from gossip.io import Address, Datagram
from gossip.stats import Ignored
from gossip.wire.crypto import Keyring
from gossip.wire.messages import State

HOUR = 3_600
LIFE = 1_800_000_000
"""Unix seconds at which the first life of the ring begins."""
KEY = b"k" * 32
NAMES = ("n1", "n2", "n3", "n4")


def start(network: Any, name: str, incarnation: int) -> None:
    ip = f"10.0.0.{name[1:]}"
    network.add(name, ip, keyring=Keyring([KEY]), incarnation=incarnation)
    seeds = [Address(f"10.0.0.{other[1:]}", 7946) for other in NAMES if other != name]
    network.nodes[name].set_seeds(seeds, network.now)


def lively_hour(network: Any) -> None:
    """An hour with a freeze that is refuted, a leave and return, and a death for good."""
    for name in NAMES:
        start(network, name, LIFE)
    network.run(600)
    network.freeze("n2")
    network.run(3)
    network.thaw("n2")
    network.run(600)
    network.nodes["n3"].leave(network.now)
    network.run(2)
    network.dead.add("n3")
    network.run(600)
    start(network, "n3", LIFE + 1_800)
    network.run(600)
    network.dead.add("n4")
    network.run(HOUR - 2_405)


def view(network: Any, name: str) -> dict[str, tuple[State, int]]:
    rows = network.nodes[name].members()
    return {row.name: (row.state, row.incarnation) for row in rows}


def replay(network: Any, name: str, order: list[Any]) -> None:
    swim = network.nodes[name]
    for _, source, _, transmit in order:
        origin = network.address(source)
        if isinstance(transmit, Datagram):
            swim.handle_datagram(transmit.data, origin, network.now)
        else:
            swim.handle_stream(transmit.data, origin, network.now)


def orders(network: Any) -> list[list[Any]]:
    """Return the recording as it was, and shuffled."""
    order = list(network.carried)
    assert len(order) > 10_000
    return [order, random.Random(1).sample(order, len(order))]


def test_a_replayed_hour_changes_no_state_of_the_ring(new_network: Any) -> None:
    network = new_network()
    lively_hour(network)
    for order in orders(network):
        for name in ("n1", "n2", "n3"):
            before = view(network, name)
            assert "n4" not in before
            replay(network, name, order)
            assert view(network, name) == before
            assert network.nodes[name].stats.ignored[Ignored.BURIED] > 0


def test_a_replayed_hour_changes_no_state_of_its_successor(new_network: Any) -> None:
    network = new_network()
    lively_hour(network)
    successor = new_network(seed=2)
    for name in NAMES:
        start(successor, name, LIFE + HOUR)
    successor.run(10)
    for order in orders(network):
        for name in NAMES:
            before = view(successor, name)
            assert len(before) == 4
            replay(successor, name, order)
            assert view(successor, name) == before


def test_a_forgotten_node_that_was_only_cut_off_comes_back(new_network: Any) -> None:
    network = new_network()
    for name in NAMES[:3]:
        start(network, name, LIFE)
    network.run(10)
    network.lost = lambda source, to, transmit: "n3" in (source, to)
    network.run(300)
    assert "n3" not in view(network, "n1")
    network.lost = lambda source, to, transmit: False
    network.run(120)
    assert view(network, "n1")["n3"][0] is State.ALIVE
    assert view(network, "n3")["n1"][0] is State.ALIVE
