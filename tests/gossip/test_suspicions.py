"""Thousands of suspicions at once: the same deaths at the same times, and no more work a packet."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.suspicion import SPARE, Suspicion, Suspicions
from gossip.table import MAX_MEMBERS
from gossip.wire.messages import CURRENT_VSN, Alive, NodeState, Ping, State, Suspect

if TYPE_CHECKING:
    from gossip_bench import Bench

MOST = MAX_MEMBERS - 1


class Steps:
    """Counts how often the deadline of any timer is read or set: all that there is to walk over."""

    def __init__(self) -> None:
        self.count = 0

    def __get__(self, timer: Any, owner: object) -> float:
        self.count += 1
        found: float = timer.__dict__["deadline"]
        return found

    def __set__(self, timer: Any, deadline: float) -> None:
        self.count += 1
        timer.__dict__["deadline"] = deadline

    def taken(self) -> int:
        count, self.count = self.count, 0
        return count


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    counter = Steps()
    monkeypatch.setattr(Suspicion, "deadline", counter, raising=False)
    return counter


def members() -> list[NodeState]:
    return [
        NodeState(
            bytes((10, 1, at >> 8, at & 255)), 1, None, f"w{at}", 7946, State.ALIVE, CURRENT_VSN
        )
        for at in range(MOST)
    ]


def suspected(row: NodeState) -> NodeState:
    return NodeState(row.addr, 1, None, row.name, row.port, State.SUSPECT, row.vsn)


def merge(bench: "Bench", rows: list[NodeState]) -> None:
    bench.merge(*rows)
    while len(bench.swim.live()) and bench.swim.deadline() == bench.now:
        bench.swim.handle_timeout(bench.now)
    bench.swim.transmits()
    bench.swim.events()


def test_a_suspicion_costs_the_same_however_many_there_are(bench: "Bench", steps: Steps) -> None:
    rows = members()
    bench.swim.adopt(rows, bench.now)
    merge(bench, [suspected(row) for row in rows])
    assert sum(row.state is State.SUSPECT for row in bench.swim.members()) == MOST
    # Read, set and put into the heap; and a few times all of them, as the last accusers go.
    assert steps.taken() < 20 * MOST


def test_a_packet_costs_the_same_however_many_are_suspected(bench: "Bench", steps: Steps) -> None:
    rows = members()
    bench.swim.adopt(rows, bench.now)
    merge(bench, [suspected(row) for row in rows])
    steps.taken()
    for number in range(100):
        bench.hear(Ping("me", number))
        assert bench.swim.deadline() is not None
    assert steps.taken() < 100 * 5


def test_accusers_are_counted_once_a_packet(bench: "Bench", steps: Steps) -> None:
    """One node that refutes and is accused again in each part, where all others are suspected."""
    rows = members()[:1_000]
    bench.swim.adopt(rows, bench.now)
    merge(bench, [suspected(row) for row in rows])
    steps.taken()
    parts: list[Any] = []
    for incarnation in range(2, 22):
        row = rows[0]
        parts += [
            Alive(row.addr, incarnation, None, row.name, row.port, row.vsn),
            Suspect("w1", incarnation, row.name),
        ]
    bench.hear_compound(*parts)
    assert steps.taken() < 10 * 1_000


names = st.sampled_from(["a", "b", "c", "d"])
acts = st.one_of(
    st.tuples(st.just("start"), names, st.integers(0, 3)),
    st.tuples(st.just("confirm"), names, st.sampled_from("xyz")),
    st.tuples(st.just("stop"), names, st.none()),
    st.tuples(st.just("expect"), st.none(), st.integers(0, 3)),
    st.tuples(st.just("postpone"), st.none(), st.integers(0, 30)),
    st.tuples(st.just("wait"), st.none(), st.integers(0, 5)),
    st.tuples(st.just("due"), st.none(), st.none()),
)


class Plain:
    """The same by walking over all of them each time."""

    def __init__(self) -> None:
        self.timers: dict[str, Suspicion] = {}
        self.possible: int | None = None

    def due(self, now: float) -> list[str]:
        return [name for name, timer in self.timers.items() if timer.deadline <= now]

    def deadline(self) -> float | None:
        return min((timer.deadline for timer in self.timers.values()), default=None)


@settings(max_examples=300, deadline=None)
@given(st.lists(acts, max_size=60))
def test_the_heap_says_what_a_walk_over_all_says(story: list[tuple[str, Any, Any]]) -> None:
    plain, ours, now = Plain(), Suspicions(), 100.0
    for act, name, more in story:
        now += more if act == "wait" else 0
        step(plain, ours, act, name, more, now)
        assert ours.deadline() == plain.deadline()
        assert list(ours) == list(plain.timers)
        assert len(ours._heap) <= 2 * len(ours) + SPARE


def step(plain: Plain, ours: Suspicions, act: str, name: Any, more: Any, now: float) -> None:
    running = name in plain.timers
    if act == "start" and not running:
        timers = [Suspicion("z", more, 4.0, 24.0, now) for _ in range(2)]
        if plain.possible is not None:
            timers[0].expect_at_most(plain.possible, now)
        plain.timers[name] = timers[0]
        ours.start(name, timers[1], now)
    elif act == "confirm" and running:
        assert ours.confirm(name, more, now) == plain.timers[name].confirm(more, now)
    elif act == "stop":
        plain.timers.pop(name, None)
        ours.stop(name)
    elif act == "expect":
        plain.possible = more
        for timer in plain.timers.values():
            timer.expect_at_most(more, now)
        ours.expect_at_most(more, now)
    elif act == "postpone":
        for timer in plain.timers.values():
            timer.postpone(now + more)
        ours.postpone(now + more)
    elif act == "due":
        due = plain.due(now)
        assert ours.due(now) == due
        for each in due:
            del plain.timers[each]
            ours.stop(each)


def test_the_heap_stays_in_proportion_to_the_timers() -> None:
    ours = Suspicions()
    for round_ in range(10_000):
        ours.start("a", Suspicion("z", 2, 4.0, 24.0, float(round_)), float(round_))
        ours.stop("a")
    assert len(ours._heap) <= SPARE + 2
    assert ours.deadline() is None


@pytest.mark.parametrize("accusers", [0, 1, 2])
def test_deaths_come_when_they_always_came(
    bench: "Bench", alive: Callable[..., Any], accusers: int
) -> None:
    bench.hear(*(alive(f"n{number}") for number in range(2, 8)))
    bench.hear(*(Suspect(f"n{3 + number}", 1, "n2") for number in range(accusers + 1)))
    begun = bench.now
    waits = {0: 24.0, 1: 11.38, 2: 4.0}
    bench.now = begun + waits[accusers] - 0.01
    bench.swim._membership.handle_timeout(bench.now)
    assert bench.state("n2") is State.SUSPECT
    bench.now = begun + waits[accusers] + 0.01
    bench.swim._membership.handle_timeout(bench.now)
    assert bench.state("n2") is State.DEAD
