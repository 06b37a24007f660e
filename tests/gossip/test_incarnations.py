"""Who has the key can lie about itself, but no word of it bans another node for ever.

Incarnations of our kind are Unix seconds: none an hour ahead of the clock is believed from others.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gossip.calendar import MAX_AHEAD, MAX_STEPS, Calendar
from gossip.core import UINT32
from gossip.io import Address
from gossip.stats import Ignored
from gossip.wire.body import encode
from gossip.wire.messages import CURRENT_VSN, Alive, Dead, Message, NodeState, State, Suspect
from ownership.letters import mark
from ownership.letters.mark import Mark

if TYPE_CHECKING:
    from gossip_bench import Bench, Network

LIFE = 1_800_000_000
"""Unix seconds at which the bench and the first lives begin."""
NAMES = ("n1", "n2", "n3")
MARKED = mark.encode(Mark(7))


def start(network: "Network", name: str, clock: float = 0.0) -> None:
    """Start a life of a node of our kind; its clock is so many seconds ahead of the others'."""
    life = LIFE + int(network.now + clock)
    network.add(name, f"10.0.0.{name[1:]}", incarnation=life, meta=mark.encode(Mark(life % 97)))
    seeds = [Address(f"10.0.0.{other[1:]}", 7946) for other in NAMES if other != name]
    network.nodes[name].set_seeds(seeds, network.now)


def ring(network: "Network", **clocks: float) -> None:
    for name in NAMES:
        start(network, name, clocks.get(name, 0.0))
    network.run(10)


def views(network: "Network") -> dict[str, set[str]]:
    return {name: set(network.nodes[name].live()) for name in NAMES}


WHOLE = {name: set(NAMES) for name in NAMES}


def say(network: "Network", to: str, message: Message) -> None:
    network.nodes[to].handle_datagram(encode(message), Address("10.0.0.99", 7946), network.now)


def test_one_accusation_at_the_top_neither_kills_nor_bans(network: "Network") -> None:
    ring(network)
    say(network, "n1", Suspect("n2", UINT32, "n3"))
    for _ in range(60):
        network.run(1)
        assert views(network) == WHOLE
    assert network.nodes["n1"].stats.ignored[Ignored.INCARNATION_AHEAD] == 1
    network.dead.add("n3")
    network.run(600)
    start(network, "n3")
    network.run(30)
    assert views(network) == WHOLE


@pytest.mark.parametrize("to", NAMES)
@pytest.mark.parametrize("incarnation", [UINT32, UINT32 - 1, LIFE + 2 * MAX_AHEAD])
def test_whatever_is_said_of_a_dead_node_it_comes_back(
    network: "Network", to: str, incarnation: int
) -> None:
    """Before it is forgotten and after, with our mark and without it."""
    ring(network)
    lies: list[Message] = [
        Alive(bytes((10, 0, 0, 3)), incarnation, meta, "n3", 7946, CURRENT_VSN)
        for meta in (None, MARKED)
    ]
    network.dead.add("n3")
    for _ in range(4):
        for lie in (*lies, Suspect("n2", incarnation, "n3"), Dead("n3", incarnation, "n3")):
            if to != "n3":
                say(network, to, lie)
        network.run(60)
    start(network, "n3")
    network.run(0.01)
    for lie in lies:
        say(network, to, lie)
    # A name that is foreign to all must be forgotten first, as with memberlist.
    network.run(120)
    assert views(network) == WHOLE


@pytest.fixture
def known(new_bench: Callable[..., "Bench"]) -> "Bench":
    """A node of our kind that knows n2, of our kind, and n3, a foreign one."""
    bench = new_bench(incarnation=LIFE, meta=MARKED)
    bench.hear(alive_of("n2", LIFE, MARKED), alive_of("n3", 5, None))
    bench.swim.transmits()
    return bench


def alive_of(name: str, incarnation: int, meta: bytes | None) -> Alive:
    last = 1 if name == "me" else int(name[1:])
    return Alive(bytes((10, 0, 0, last)), incarnation, meta, name, 7946, CURRENT_VSN)


def ways(name: str, incarnation: int, meta: bytes | None) -> list[Message | NodeState]:
    """Return every way to say that a node has this incarnation."""
    alive = alive_of(name, incarnation, meta)
    rows = [
        NodeState(alive.addr, incarnation, meta, name, 7946, state, CURRENT_VSN) for state in State
    ]
    return [alive, Suspect("n9", incarnation, name), Dead("n9", incarnation, name), *rows]


def told(bench: "Bench", what: Message | NodeState) -> None:
    if isinstance(what, NodeState):
        bench.merge(what)
    else:
        bench.hear(what)


@pytest.mark.parametrize("meta", [MARKED, b"\xc7\x1a\x01\x00other", None])
@pytest.mark.parametrize("way", range(7))
@pytest.mark.parametrize("name", ["me", "n2"])
def test_no_way_to_say_it_is_believed_of_our_kind(
    known: "Bench", name: str, way: int, meta: bytes | None
) -> None:
    before = known.swim.members()
    told(known, ways(name, LIFE + MAX_AHEAD + MAX_STEPS + 1, meta)[way])
    assert known.swim.members() == before
    assert known.swim.stats.ignored[Ignored.INCARNATION_AHEAD] >= 1


@pytest.mark.parametrize("way", range(7))
@pytest.mark.parametrize("name", ["me", "n2"])
def test_an_hour_ahead_is_believed(known: "Bench", name: str, way: int) -> None:
    told(known, ways(name, LIFE + MAX_AHEAD, b"news" if name == "me" else MARKED)[way])
    assert known.incarnation(name) == LIFE + MAX_AHEAD + (name == "me")
    assert not known.swim.stats.ignored[Ignored.INCARNATION_AHEAD]


@pytest.mark.parametrize("way", range(7))
def test_of_foreign_members_all_is_believed_as_ever(known: "Bench", way: int) -> None:
    told(known, ways("n3", UINT32, b"tags")[way])
    assert known.incarnation("n3") == UINT32
    known.hear(alive_of("n4", UINT32, b"tags"))
    assert known.incarnation("n4") == UINT32


def test_an_unknown_name_with_our_mark_is_not_believed(known: "Bench") -> None:
    known.hear(alive_of("n4", LIFE + MAX_AHEAD + 1, MARKED))
    assert known.state("n4") is None
    known.now += 1
    known.hear(alive_of("n4", LIFE + MAX_AHEAD + 1, MARKED))
    assert known.state("n4") is State.ALIVE


def test_accusations_do_not_climb(known: "Bench") -> None:
    """Each is as far above the last refutation as is believed."""
    for _ in range(1_000):
        own = known.incarnation()
        known.hear(Suspect("n9", own + MAX_AHEAD, "me"), Suspect("n9", own + MAX_STEPS, "me"))
    assert known.incarnation() <= LIFE + MAX_AHEAD + 1_000 * (MAX_STEPS + 1)


@pytest.mark.parametrize("clock", [-26 * MAX_AHEAD, 2 * MAX_AHEAD, 26 * MAX_AHEAD])
def test_a_node_whose_clock_is_wrong_is_a_member_all_the_same(
    network: "Network", clock: float
) -> None:
    """Its own word counts, where it speaks over TCP, and so does the word of the others to it."""
    ring(network, n3=clock)
    assert views(network) == WHOLE
    for step in range(MAX_STEPS):
        network.nodes["n3"].set_meta(mark.encode(Mark(step)), network.now)
        network.run(0.5)
    network.freeze("n3")
    network.run(3)
    network.thaw("n3")
    network.run(60)
    assert views(network) == WHOLE
    seen = network.nodes["n1"].member("n3")
    assert seen is not None
    assert seen.meta == mark.encode(Mark(MAX_STEPS - 1))


def test_a_clock_that_is_set_right_lets_a_node_come_back(network: "Network") -> None:
    """It starts a day behind its own last life, so it cannot tell our accusation from a lie."""
    ring(network)
    network.dead.add("n3")
    network.run(120)
    start(network, "n3", -24 * MAX_AHEAD)
    network.run(60)
    assert "n3" not in network.nodes["n1"].live()
    network.nodes["n3"].set_clock(LIFE + network.now, network.now)
    network.run(60)
    assert views(network) == WHOLE


def test_a_machine_without_a_clock_believes_all() -> None:
    calendar = Calendar(86_400, 5.0)
    assert calendar.latest(5.0) == UINT32
    calendar.set(LIFE, 10.0)
    assert calendar.latest(12.5) == LIFE + 2 + MAX_AHEAD
    calendar.set(UINT32, 10.0)
    assert calendar.latest(12.5) == UINT32


def test_the_bury_bound_is_the_hour(known: "Bench", alive: Callable[..., Any]) -> None:
    """A foreign name may die at the top; whoever starts under it later can outrank its grave."""
    known.hear(alive_of("n5", UINT32, None), Dead("n9", UINT32, "n5"))
    known.run(60)
    assert known.state("n5") is None
    known.swim.transmits()
    known.hear(alive_of("n5", LIFE + 60, MARKED))
    (grave,) = [item for _, item in known.sent() if isinstance(item, Suspect) and item.node == "n5"]
    assert grave.incarnation <= LIFE + MAX_AHEAD + (known.now - 100)
    known.hear(alive_of("n5", grave.incarnation + 1, MARKED))
    assert known.state("n5") is State.ALIVE
