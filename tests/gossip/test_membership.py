"""What alive, suspect and dead messages do: one node, fed by hand."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import pytest

from gossip.config import LAN
from gossip.core import UINT32
from gossip.io import Address, Event, Gone, Joined, NameConflict, Recovered, Suspected, Updated
from gossip.member import Member
from gossip.pushpull import compatible
from gossip.slots import KNOWN_BYTES
from gossip.stats import Ignored
from gossip.table import MAX_MEMBERS
from gossip.wire.body import NODE_STATE
from gossip.wire.errors import Refusal
from gossip.wire.messages import CURRENT_VSN, Alive, Dead, NodeState, PushPull, State, Suspect

if TYPE_CHECKING:
    from gossip_bench import Bench


def _kinds(events: list[Event]) -> list[type[Any]]:
    return [type(event) for event in events]


def _queued(bench: "Bench") -> int:
    return bench.swim.stats.queued


def _forget_news(bench: "Bench") -> None:
    """Let the queue run empty, so that what comes next can be counted."""
    bench.run(3)
    bench.swim.events()
    assert _queued(bench) == 0


@pytest.fixture
def known(bench: "Bench", alive: Callable[..., Alive]) -> "Bench":
    """A node that knows n2 at incarnation 5, with no news left to carry."""
    bench.hear(alive("n2", 5))
    return bench


# ---- Alive


def test_alive_new_node_joins_with_one_broadcast(
    bench: "Bench", alive: Callable[..., Alive]
) -> None:
    before = _queued(bench)
    bench.hear(alive("n2"))
    assert bench.state("n2") is State.ALIVE
    assert _kinds(bench.swim.events()) == [Joined]
    assert _queued(bench) == before + 1


def test_alive_new_node_needs_an_incarnation(bench: "Bench", alive: Callable[..., Alive]) -> None:
    bench.hear(alive("n2", 0))
    assert bench.state("n2") is None


def test_alive_suspect_recovers_only_with_higher_incarnation(
    known: "Bench", alive: Callable[..., Alive]
) -> None:
    known.hear(Suspect("n9", 5, "n2"))
    known.swim.events()
    known.hear(alive("n2", 5))
    assert known.state("n2") is State.SUSPECT
    known.hear(alive("n2", 6))
    assert known.state("n2") is State.ALIVE
    assert _kinds(known.swim.events()) == [Recovered]


def test_alive_replay_changes_nothing(known: "Bench", alive: Callable[..., Alive]) -> None:
    known.swim.events()
    before = _queued(known)
    known.hear(alive("n2", 5), alive("n2", 4))
    assert (known.swim.events(), _queued(known)) == ([], before)
    assert known.swim.stats.ignored[Ignored.OLD_INCARNATION] == 2


def test_alive_meta_change_updates(known: "Bench", alive: Callable[..., Alive]) -> None:
    known.swim.events()
    known.hear(alive("n2", 6, meta=b"new"))
    [event] = known.swim.events()
    assert isinstance(event, Updated)
    assert event.member.meta == b"new"


def test_alive_about_self_with_foreign_meta_is_refuted(
    new_bench: Callable[..., "Bench"], alive: Callable[..., Alive]
) -> None:
    bench = new_bench(meta=b"mine")
    bench.hear(alive("me", 1, addr=bytes((10, 0, 0, 1)), meta=b"theirs"))
    [own] = [row for row in bench.swim.members() if row.own]
    assert (own.meta, own.incarnation) == (b"mine", 2)
    assert _queued(bench) == 1


def test_alive_about_self_as_it_is_changes_nothing(
    bench: "Bench", alive: Callable[..., Alive]
) -> None:
    bench.hear(alive("me", 1, addr=bytes((10, 0, 0, 1))))
    assert bench.incarnation() == 1
    assert bench.swim.stats.ignored[Ignored.REPEATED] == 1


def test_alive_about_self_from_an_earlier_life_is_outranked(
    bench: "Bench", alive: Callable[..., Alive]
) -> None:
    bench.hear(alive("me", 70, addr=bytes((10, 0, 0, 1))))
    assert bench.incarnation() == 71


def test_alive_conflicting_address_ignored_while_alive(
    known: "Bench", alive: Callable[..., Alive]
) -> None:
    known.swim.events()
    known.hear(alive("n2", 9, addr=bytes((10, 0, 0, 66))))
    [event] = known.swim.events()
    assert isinstance(event, NameConflict)
    assert event.claimed == Address("10.0.0.66", 7946)
    assert known.incarnation("n2") == 5


def test_alive_compares_addresses_bytewise(known: "Bench", alive: Callable[..., Alive]) -> None:
    mapped = bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 2))
    known.hear(alive("n2", 9, addr=mapped))
    assert known.incarnation("n2") == 5


def test_alive_other_address_accepted_at_once_when_left(
    known: "Bench", alive: Callable[..., Alive]
) -> None:
    known.hear(Dead("n2", 5, "n2"))
    known.hear(alive("n2", 5, addr=bytes((10, 0, 0, 66))))
    assert known.state("n2") is State.ALIVE


@pytest.mark.parametrize(
    ("reclaim", "waited", "accepted"), [(0.0, 5.0, False), (2.0, 1.0, False), (2.0, 3.0, True)]
)
def test_alive_other_address_accepted_after_reclaim_time(
    reclaim: float,
    waited: float,
    accepted: bool,
    new_bench: Callable[..., "Bench"],
    alive: Callable[..., Alive],
    lan_without: Callable[..., Any],
) -> None:
    bench = new_bench(lan_without(dead_node_reclaim_time=reclaim))
    bench.hear(alive("n2"), Dead("n3", 1, "n2"))
    bench.run(waited)
    bench.hear(alive("n2", 2, addr=bytes((10, 0, 0, 66))))
    assert (bench.state("n2") is State.ALIVE) is accepted


@pytest.mark.parametrize("vsn", [b"", b"\x01\x05\x02", bytes(6), b"\x05\x01\x02\0\0\0", bytes(7)])
def test_alive_wrong_vsn_never_enters_the_table(vsn: bytes, bench: "Bench") -> None:
    """Sent on, a short one would crash Go peers; all zero, it would break every push/pull."""
    fields = {"Addr": bytes((10, 0, 0, 2)), "Incarnation": 1, "Meta": None}
    fields |= {"Node": "n2", "Port": 7946, "Vsn": vsn}
    bench.hear_raw(b"\x04" + msgpack.packb(fields, use_bin_type=False))
    assert bench.state("n2") is None
    counted = bench.swim.stats
    assert counted.ignored[Ignored.BAD_VSN] + counted.refusals.total() == 1


@pytest.mark.parametrize("addr", [b"\x01", b"\x01" * 5, b"\x01" * 15])
def test_alive_unusable_address_is_refused(
    addr: bytes, bench: "Bench", alive: Callable[..., Alive]
) -> None:
    bench.hear(alive("n2", addr=addr))
    assert bench.state("n2") is None
    assert bench.swim.stats.ignored[Ignored.BAD_ADDRESS] == 1


def test_alive_port_0_means_our_own_port(bench: "Bench") -> None:
    bench.hear(Alive(bytes((10, 0, 0, 2)), 1, None, "n2", 0, CURRENT_VSN))
    assert Address("10.0.0.2", 7946) in {row.address for row in bench.swim.members()}


# ---- Suspect


def test_suspect_unknown_is_ignored(bench: "Bench") -> None:
    bench.hear(Suspect("n9", 1, "n2"))
    assert bench.state("n2") is None
    assert bench.swim.stats.ignored[Ignored.UNKNOWN_NODE] == 1


def test_suspect_becomes_dead_after_its_time(known: "Bench") -> None:
    known.swim.events()
    known.hear(Suspect("n9", 5, "n2"))
    assert known.state("n2") is State.SUSPECT
    assert "n2" in known.swim.live()
    known.run(3.9)
    assert known.state("n2") is State.SUSPECT
    known.run(0.2)
    assert known.state("n2") is State.DEAD
    assert _kinds(known.swim.events()) == [Suspected, Gone]


def test_suspect_twice_neither_resets_the_time_nor_queues_again(known: "Bench") -> None:
    known.hear(Suspect("n9", 5, "n2"))
    known.run(3)
    _queue = _queued(known)
    known.hear(Suspect("n9", 5, "n2"))
    assert _queued(known) == _queue
    known.run(1.1)
    assert known.state("n2") is State.DEAD


def test_suspect_confirmations_shorten_and_are_sent_on(
    bench: "Bench", alive: Callable[..., Alive]
) -> None:
    bench.hear(*(alive(f"n{index}", 5) for index in (2, 3, 4, 5)))
    for accuser in ("n3", "n4", "n5", "n6"):
        bench.hear(Suspect(accuser, 5, "n2"))
    assert bench.swim.stats.ignored[Ignored.REPEATED] == 1
    carried = [m for t in bench.run(0.3) for m in bench.read(t[1]) if isinstance(m, Suspect)]
    assert {message.sender for message in carried} == {"n5"}
    bench.run(3.8)
    assert bench.state("n2") is State.DEAD


def test_suspect_old_incarnation_is_ignored(known: "Bench") -> None:
    known.hear(Suspect("n9", 4, "n2"))
    assert known.state("n2") is State.ALIVE


def test_suspect_about_self_is_refuted(known: "Bench") -> None:
    known.swim.transmits()
    known.hear(Suspect("n9", 1, "me"))
    assert known.incarnation() == 2
    assert known.swim.stats.health == 1
    assert known.swim.stats.refutations == 1
    told = [(to, m) for to, m in known.sent() if isinstance(m, Alive) and m.node == "me"]
    assert [(to, message.incarnation) for to, message in told] == [(Address("10.0.0.2", 7946), 2)]


def test_suspect_about_self_repeated_raises_once(known: "Bench") -> None:
    known.hear(*[Suspect("n9", 1, "me")] * 11)
    assert known.incarnation() == 2


def test_suspect_about_self_from_the_future_is_outranked(known: "Bench") -> None:
    known.hear(Suspect("n9", 40, "me"))
    assert known.incarnation() == 41


@pytest.mark.parametrize("message", [Suspect("x", 0xFFFFFFFF, "me"), Dead("x", 0xFFFFFFFF, "me")])
def test_highest_incarnation_neither_wraps_nor_crashes(
    message: Suspect | Dead, known: "Bench"
) -> None:
    known.hear(message)
    assert known.incarnation() == 1
    assert known.swim.stats.ignored[Ignored.INCARNATION_SPENT] == 1


def test_flood_of_accusations_is_no_flood_of_answers(known: "Bench") -> None:
    known.swim.transmits()
    for incarnation in range(1, 101):
        known.hear(Suspect("n9", incarnation, "me"))
    assert known.incarnation() == 101
    assert len(known.swim.transmits()) == 1


# ---- Dead


def test_dead_unknown_is_ignored(bench: "Bench") -> None:
    bench.hear(Dead("n9", 1, "n2"))
    assert bench.state("n2") is None


@pytest.mark.parametrize(("sender", "state"), [("n9", State.DEAD), ("n2", State.LEFT)])
def test_dead_and_left(sender: str, state: State, known: "Bench") -> None:
    known.swim.events()
    known.hear(Dead(sender, 5, "n2"))
    [event] = known.swim.events()
    assert isinstance(event, Gone)
    assert (event.member.state, known.state("n2")) == (state, state)
    assert "n2" not in known.swim.live()
    assert any(isinstance(m, Dead) for t in known.run(1) for m in known.read(t[1])) is (
        state is State.DEAD
    )


def test_dead_queues_one_broadcast(known: "Bench", alive: Callable[..., Alive]) -> None:
    known.hear(alive("n3"))
    before = _queued(known)
    known.hear(Dead("n9", 5, "n2"))
    assert _queued(known) == before, "the news replaces n2's alive"


def test_dead_twice_gives_one_event(known: "Bench") -> None:
    known.swim.events()
    known.hear(Dead("n9", 5, "n2"), Dead("n8", 6, "n2"))
    assert _kinds(known.swim.events()) == [Gone]


def test_dead_old_incarnation_is_ignored(known: "Bench") -> None:
    known.hear(Dead("n9", 4, "n2"))
    assert known.state("n2") is State.ALIVE


def test_dead_is_not_revived_by_an_equal_alive(known: "Bench", alive: Callable[..., Alive]) -> None:
    known.hear(Dead("n9", 5, "n2"), alive("n2", 5))
    assert known.state("n2") is State.DEAD
    known.hear(alive("n2", 6))
    assert known.state("n2") is State.ALIVE


def test_dead_about_self_is_refuted(known: "Bench") -> None:
    known.hear(Dead("n9", 1, "me"))
    assert (known.state("me"), known.incarnation()) == (State.ALIVE, 2)
    assert known.swim.stats.health == 1


def test_leaving_node_answers_no_accusation(known: "Bench") -> None:
    known.swim.leave(known.now)
    known.hear(Dead("n9", 3, "me"), Suspect("n9", 3, "me"))
    known.hear(Alive(bytes((10, 0, 0, 1)), 9, None, "me", 7946, CURRENT_VSN))
    assert (known.state("me"), known.incarnation()) == (State.LEFT, 1)


# ---- Merge


@pytest.mark.parametrize(
    ("told", "incarnation", "becomes"),
    [
        (State.ALIVE, 6, State.ALIVE),
        (State.SUSPECT, 5, State.SUSPECT),
        (State.DEAD, 5, State.SUSPECT),
        (State.LEFT, 5, State.LEFT),
    ],
)
def test_merge_known(
    told: State,
    incarnation: int,
    becomes: State,
    known: "Bench",
    row: Callable[..., NodeState],
) -> None:
    known.merge(row("n2", told, incarnation))
    assert known.state("n2") is becomes


@pytest.mark.parametrize("told", [State.SUSPECT, State.DEAD, State.LEFT])
def test_merge_learns_no_unknown_but_the_living(
    told: State, bench: "Bench", row: Callable[..., NodeState]
) -> None:
    bench.merge(row("n2", told), row("n3", State.ALIVE))
    assert (bench.state("n2"), bench.state("n3")) == (None, State.ALIVE)
    assert Joined in _kinds(bench.swim.events())


def test_merge_of_an_accusation_of_self_is_refuted(
    bench: "Bench", row: Callable[..., NodeState]
) -> None:
    bench.merge(row("me", State.DEAD, 4), row("n2", State.ALIVE))
    assert bench.incarnation() == 5


# ---- Protocol check

Triple = tuple[int, int, int]


@pytest.mark.parametrize("delegate", [False, True])
@pytest.mark.parametrize(
    ("one", "other", "fits"),
    [
        ([(0, 0, 0)], [(0, 0, 0)], True),
        ([(0, 0, 0)], [(0, 1, 0)], True),
        ([(0, 0, 0)], [(1, 1, 1)], False),
        ([(0, 1, 0), (0, 2, 1)], [(1, 3, 1)], False),
        ([(0, 3, 2), (0, 2, 0)], [(0, 2, 1), (0, 5, 0)], True),
    ],
)
def test_protocol_check(one: list[Triple], other: list[Triple], fits: bool, delegate: bool) -> None:
    for local, remote in ((one, other), (other, one)):
        members = [Member("a", b"", 1, State.ALIVE, 1, None, _vsn(t, delegate), 0) for t in local]
        rows = [NodeState(b"", 1, None, "b", 1, State.ALIVE, _vsn(t, delegate)) for t in remote]
        assert compatible(rows, members) is fits


def _vsn(triple: Triple, delegate: bool) -> bytes:
    fine = (0, 0, 0)
    return bytes((*fine, *triple) if delegate else (*triple, *fine))


def test_protocol_mismatch_merges_nothing_and_is_counted(
    bench: "Bench", row: Callable[..., NodeState]
) -> None:
    bench.merge(row("n2", State.ALIVE, 1, bytes((1, 5, 2, 2, 5, 5))))
    assert bench.state("n2") is None
    assert bench.swim.stats.ignored[Ignored.INCOMPATIBLE] == 1


def test_one_bad_row_costs_none_of_the_others_and_is_counted(
    bench: "Bench", row: Callable[..., NodeState]
) -> None:
    """A member whose name is no UTF-8, which Go carries, came between two good rows."""
    good = [NODE_STATE.write(row(name, State.ALIVE)) for name in ("n2", "n3")]
    bad = good[0].replace(b"\xa2n2", b"\xa2\xff\xfe")
    header = b"\x83\xa4Join\xc2\xa5Nodes\x03\xacUserStateLen\x00"
    data = b"\x06" + header + good[0] + bad + good[1]
    reply = bench.swim.handle_stream(data, Address("10.0.0.9", 40000), bench.now)
    assert isinstance(bench.swim.streams.open(reply or b"", accepting=False), PushPull)
    assert bench.swim.live() == {"me", "n2", "n3"}
    assert bench.swim.stats.refusals == {Refusal.BAD_BODY: 1}
    assert bench.swim.stats.exchanges == 1


# ---- whose address is known


def test_an_address_is_known_while_a_row_or_a_seed_has_it(
    new_bench: Callable[..., "Bench"], alive: Callable[..., Alive]
) -> None:
    bench = new_bench(replace(LAN, dead_node_reclaim_time=1.0))
    bench.hear(alive("n2", addr=bytes((10, 0, 0, 2))), alive("n3", addr=bytes((10, 0, 0, 2))))
    assert [bench.swim.knows(ip) for ip in ("10.0.0.2", "::ffff:10.0.0.2")] == [True, True]
    assert [bench.swim.knows(ip) for ip in ("10.0.0.1", "10.0.0.3", "::1")] == [False] * 3
    bench.hear(Dead("n2", 1, "n9"), Dead("n3", 1, "n3"))
    assert bench.swim.knows("10.0.0.2"), "the dead may come back with all that they know"
    bench.now += 2.0
    bench.hear(alive("n3", 2, addr=bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 3))))
    assert [bench.swim.knows(ip) for ip in ("10.0.0.2", "10.0.0.3")] == [True, True]
    bench.run(600.0)
    assert [bench.swim.knows(ip) for ip in ("10.0.0.2", "10.0.0.3")] == [False, False]
    bench.swim.set_seeds([Address("10.0.0.2", 7946)], bench.now)
    assert [bench.swim.knows(ip) for ip in ("10.0.0.2", "10.0.0.3")] == [True, False]


# ---- limits


def test_table_is_bounded(
    bench: "Bench", row: Callable[..., NodeState], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossip.table.MAX_MEMBERS", 3)
    bench.merge(*(row(f"n{index}", State.ALIVE) for index in range(2, 9)))
    assert len(bench.swim.members()) == 3
    assert bench.swim.stats.ignored[Ignored.TABLE_FULL] == 5


def test_event_queue_is_bounded(
    bench: "Bench", row: Callable[..., NodeState], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossip.events.MAX_EVENTS", 3)
    bench.merge(*(row(f"n{index}", State.ALIVE) for index in range(2, 9)))
    assert len(bench.swim.events()) == 3
    assert bench.swim.stats.events_lost == 5


@pytest.mark.parametrize(("length", "known"), [(255, True), (256, False)])
def test_name_is_bounded(length: int, known: bool, bench: "Bench") -> None:
    bench.hear(Alive(bytes((10, 0, 0, 2)), 1, None, "x" * length, 7946, CURRENT_VSN))
    assert (bench.state("x" * length) is State.ALIVE) is known
    assert bench.swim.stats.ignored[Ignored.BAD_NAME] == (not known)


def test_full_table_of_the_longest_rows_still_fits_a_push_pull(
    bench: "Bench", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of it, to save time: rows that do not compress, as long as they may be."""
    monkeypatch.setattr("gossip.table.MAX_MEMBERS", MAX_MEMBERS // 10)
    rng = random.Random(5)
    for _ in range(MAX_MEMBERS // 10):
        name = "".join(chr(rng.randrange(33, 127)) for _ in range(255))
        bench.hear(Alive(rng.randbytes(16), UINT32, rng.randbytes(512), name, 65535, CURRENT_VSN))
    bench.swim.events()
    reply = bench.merge()
    assert len(bench.swim.members()) == MAX_MEMBERS // 10
    assert reply is not None
    assert 10 * len(reply) < KNOWN_BYTES
