"""memberlist has no protection against replay. Nothing recorded may change a ring's mind."""

import random
from typing import Any

import pytest

from gossip.io import Address, Datagram, Exchanged, ExchangeFailed, NameConflict
from gossip.stats import Ignored
from gossip.wire.crypto import Keyring
from gossip.wire.messages import State
from ownership.contact import START_SILENCE, Contact
from ownership.io import Released

HOUR = 3_600
LIFE = 1_800_000_000
"""Unix seconds at which the first life of the ring begins."""
KEY = b"k" * 32
DAY = 86_400
NAMES = ("n1", "n2", "n3", "n4")
STRANGER = Address("10.0.0.66", 7946)


def start(network: Any, name: str, incarnation: int, ip: str = "") -> None:
    ip = ip or f"10.0.0.{name[1:]}"
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


def replay(network: Any, name: str, order: list[Any], source: Address | None = None) -> None:
    """Play a recording to one node, from the addresses of old (a forger can) or from one."""
    swim = network.nodes[name]
    for _, speaker, _, transmit in order:
        origin = source or network.address(speaker)
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


# ---- to a node that was not up when it was recorded


def recorded(network: Any, first: dict[str, int]) -> list[Any]:
    """Two minutes of a ring in which everybody starts and somebody is paused for a while."""
    for name, incarnation in first.items():
        start(network, name, incarnation)
    network.run(60)
    network.freeze("n2")
    network.run(3)
    network.thaw("n2")
    network.run(57)
    order = list(network.carried)
    assert len(order) > 500
    return order


@pytest.mark.parametrize("source", [None, STRANGER], ids=["forged", "stranger"])
def test_a_recording_gives_a_restarted_node_no_phantom(
    new_network: Any, source: Address | None
) -> None:
    network = new_network()
    order = recorded(network, dict.fromkeys(NAMES, LIFE))
    network.dead.add("n4")
    network.run(120)
    network.dead.add("n1")
    network.run(120)
    start(network, "n1", LIFE + DAY)
    network.run(2)
    for _ in range(10):
        replay(network, "n1", order, source)
        for _ in range(30):
            network.run(0.1)
            for name in ("n1", "n2", "n3"):
                assert network.nodes[name].live() == {"n1", "n2", "n3"}
    assert network.nodes["n1"].stats.ignored[Ignored.NEWCOMER_SILENT] > 0


@pytest.mark.parametrize("source", [None, STRANGER], ids=["forged", "stranger"])
def test_a_recording_neither_opens_the_start_of_a_lone_node_nor_keeps_it_shut(
    new_network: Any, source: Address | None
) -> None:
    network = new_network()
    order = recorded(network, dict.fromkeys(NAMES, LIFE))
    network.dead |= set(NAMES)
    start(network, "n1", LIFE + DAY)
    network.events["n1"].clear()
    began, contact = network.now, Contact(network.now)
    contact.note_seeking(began)
    while contact.held and network.now < began + 60:
        replay(network, "n1", order, source)
        for _ in range(5):
            network.run(0.1)
            tell(contact, network, "n1")
        assert network.nodes["n1"].live() == {"n1"}
    [released] = [event for event in contact.events() if isinstance(event, Released)]
    assert released.by == "silence"
    assert START_SILENCE <= released.waited <= 2 * START_SILENCE + 0.2


def tell(contact: Contact, network: Any, name: str) -> None:
    """Tell what happened in gossip as a speaker's driver does."""
    events, network.events[name] = network.events[name], []
    for event in events:
        match event:
            case Exchanged(_, began, known):
                contact.handle_exchange(began, known, network.now)
            case ExchangeFailed(_, _, silent, _) if not silent:
                contact.handle_sign_of_life(network.now)
            case NameConflict() if event.ours_is_younger:
                contact.handle_name_conflict(network.now)
    contact.tick(network.now)


def test_a_recorded_table_does_not_revive_a_go_member(new_network: Any) -> None:
    """Go nodes begin each life at 1, and so leave no grave."""
    network = new_network()
    order = recorded(network, {"n1": LIFE, "n2": LIFE, "n3": LIFE, "n4": 1})
    network.dead.add("n4")
    network.run(120)
    tables = [item for item in order if item[1] == "n4" and not isinstance(item[3], Datagram)]
    assert tables
    lived = 0.0
    for _ in range(15):
        replay(network, "n1", tables, STRANGER)
        for _ in range(40):
            network.run(1)
            lived += "n4" in network.nodes["n1"].live()
    assert lived == 0
    network.dead.discard("n4")
    start(network, "n4", 1)
    network.run(5)
    assert "n4" in network.nodes["n1"].live()


def test_a_recording_of_our_own_name_at_another_address_is_no_conflict(new_network: Any) -> None:
    """A node that got a new address would otherwise be quiet for as long as it is played."""
    network = new_network()
    order = recorded(network, dict.fromkeys(NAMES, LIFE))
    network.dead |= set(NAMES)
    del network.addresses[Address("10.0.0.1", 7946)]
    start(network, "n1", LIFE + DAY, "10.0.0.101")
    network.addresses[Address("10.0.0.1", 7946)] = ""
    network.events["n1"].clear()
    for _ in range(5):
        replay(network, "n1", order, STRANGER)
        network.run(1)
    assert not [event for event in network.events["n1"] if isinstance(event, NameConflict)]
