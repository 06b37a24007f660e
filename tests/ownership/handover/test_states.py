"""The states of an IP on a node: each cell of their table, and that nothing goes beside it."""

from collections.abc import Callable, Collection
from ipaddress import IPv4Address
from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownership.handover.states import (
    ANSWERED,
    LOSING,
    OPEN,
    TRANSITIONS,
    UNSAID,
    Cause,
    Hold,
    Holds,
    HoldState,
    ImpossibleError,
    Taking,
    Yielding,
)
from ownership.liveness.targets import KernelState
from succession_node import ETH0, FOREIGN, MAC_B, MAC_C, MAC_M, VIP, B, C, Node

TABLE = """
                      none      asking    contested owned     quiet     yielding  parted
taken_up              owned     -         -         owned     quiet     yielding  parted
asked                 asking    -         -         asking    asking    -         -
answered              -         contested -         -         -         -         -
asked_again           -         asking    asking    -         -         -         -
taken_aloud           -         owned     owned     -         owned     -         -
taken_quietly         -         quiet     quiet     -         -         -         -
lost                  -         -         -         yielding  parted    yielding  yielding
called_off            -         -         -         -         -         owned     owned
called_off_quietly    -         -         -         -         -         -         quiet
kept_in_part          -         -         -         -         -         yielding  -
handed_over           -         -         -         -         -         none      none
handed_over_in_part   -         -         -         -         -         owned     owned
given_up              -         none      none      none      none      none      none
"""
"""Read it from the head down: an IP that is so is, by this cause, that."""
DEAD = frozenset({"b"})


def written() -> dict[tuple[HoldState, Cause], HoldState]:
    head, *rows = TABLE.strip().splitlines()
    states = [HoldState(name) for name in head.split()]
    found = {}
    for cause, *cells in (row.split() for row in rows):
        for state, after in zip(states, cells, strict=True):
            if after != "-":
                found[state, Cause(cause)] = HoldState(after)
    return found


EXPECTED = written()


def holding(state: HoldState) -> tuple[Holds, Hold]:
    """Return an IP that has come to be so, wanted by a and b."""
    holds = Holds()
    hold = holds.record(VIP)
    if state is HoldState.NONE:
        return holds, hold
    if state in {*OPEN, *UNSAID}:
        hold = holds.ask(VIP, Taking(DEAD, (ETH0,), 1.0, 1.0))
        hold.services.update(a=None, b=None)
    else:
        for service in "ab":
            holds.take_up(holds.record(VIP), service, None)
        hold = holds.record(VIP)
    _STORIES[state](holds, hold)
    return holds, hold


def lose(holds: Holds, hold: Hold) -> None:
    holds.lose(hold, Yielding(set(hold.services), "c", False, {ETH0}, 1.0, 1.0))


def part(holds: Holds, hold: Hold) -> None:
    holds.give_up(hold, "b")
    holds.take(hold, quiet=True)
    lose(holds, hold)


_STORIES: dict[HoldState, Callable[[Holds, Hold], Any]] = {
    HoldState.ASKING: lambda holds, hold: None,
    HoldState.CONTESTED: Holds.contest,
    HoldState.OWNED: lambda holds, hold: None,
    HoldState.QUIET: lambda holds, hold: holds.take(hold, quiet=True),
    HoldState.YIELDING: lose,
    HoldState.PARTED: part,
}


def check(holds: Holds, hold: Hold, state: HoldState) -> None:
    """What is known of an IP is what its state says."""
    assert holds.state(VIP) is hold.state is state
    assert (holds.get(VIP) is hold) is (state is not HoldState.NONE)
    for listed, states in (
        (holds.open, OPEN),
        (holds.quiet, {HoldState.QUIET}),
        (holds.losing, LOSING),
    ):
        assert (listed.get(VIP) is hold) is (state in states)
    assert not hasattr(hold, "taking") or state in {*OPEN, *UNSAID}
    assert not hasattr(hold, "yielding") or state in LOSING


# ---- the table


def test_the_table_is_as_it_is_written() -> None:
    assert {(a, cause): b for a, row in TRANSITIONS.items() for cause, b in row.items()} == EXPECTED
    assert TRANSITIONS.keys() == set(HoldState)


@pytest.mark.parametrize("state", HoldState, ids=str)
def test_each_state_can_be_reached(state: HoldState) -> None:
    check(*holding(state), state)


@pytest.mark.parametrize(("before", "cause"), list(product(HoldState, Cause)), ids=str)
def test_each_cell(before: HoldState, cause: Cause) -> None:
    holds, hold = holding(before)
    after = EXPECTED.get((before, cause))
    if after is None:
        with pytest.raises(ImpossibleError, match=f"is {before}: {cause} cannot be"):
            holds.move(hold, cause)
    else:
        holds.move(hold, cause)
    check(holds, hold, after or before)


# ---- what belongs to a state


def test_the_lists_keep_the_order_in_which_ips_came_to_be_there() -> None:
    holds = Holds()
    ips = [IPv4Address(f"198.51.100.{last}") for last in (3, 1, 2)]
    asked = [holds.ask(ip, Taking(DEAD, (), 1.0, 1.0)) for ip in ips]
    holds.contest(asked[0])
    holds.ask_again(asked[0])
    assert list(holds.open) == ips
    for hold in reversed(asked):
        holds.take(hold, quiet=True)
    assert list(holds.quiet) == ips[::-1]
    assert not holds.open


def test_an_ip_that_was_taken_quietly_knows_from_whom_until_it_is_owned_like_any_other() -> None:
    holds, hold = holding(HoldState.PARTED)
    assert hold.taking.dead == DEAD
    assert holds.take_back("a", VIP, DEAD)
    check(holds, hold, HoldState.QUIET)
    assert hold.taking.dead == DEAD
    holds.take(hold, quiet=False)
    with pytest.raises(AttributeError):
        assert hold.taking


def test_a_service_that_loses_nothing_takes_nothing_back() -> None:
    holds, hold = holding(HoldState.YIELDING)
    holds.take_up(holds.record(VIP), "c", None)
    assert not holds.take_back("c", VIP, ())
    check(holds, hold, HoldState.YIELDING)
    assert hold.stays_without("a")
    assert holds.hand_over(hold) == ["a", "b"]
    check(holds, hold, HoldState.OWNED)
    assert list(hold.services) == ["c"]


# ---- all that a node may hear and do

SERVICES, NODES = ("ns/a", "ns/b", "ns/c"), ("b", "c")
MACS = {"b": MAC_B, "c": MAC_C, "m": MAC_M}


class Walk(Node):
    """A node to which anything happens, in any order; its IP is checked after each thing."""

    def __init__(self) -> None:
        super().__init__()
        self.roster.set_peers([B, C, FOREIGN], self.now)
        self.taken = set[tuple[HoldState, Cause]]()
        move = self.core._holds.move

        def noted(hold: Hold, cause: Cause) -> None:
            before = hold.state
            move(hold, cause)
            self.taken.add((before, cause))

        self.core._holds.move = noted  # type: ignore[method-assign]

    def step(self, what: str, service: str, name: str, other: str) -> None:
        _THINGS[what](self, service, name, other)
        self.drain()
        self.check()

    def check(self) -> None:
        """What the node answers for is what the state says, on behalf of the same services."""
        hold = self.core._holds.get(VIP)
        check(self.core._holds, hold or Hold(VIP), self.core.state(VIP))
        answered = hold is not None and hold.state in ANSWERED
        assert self.announcer.wants(VIP) is answered
        if hold is not None:
            assert hold.services
            assert not answered or self.announcer.choices(VIP) == hold.services
            assert hold.state not in LOSING or hold.yielding.services <= hold.services.keys()

    def kernels(self, kernel: KernelState) -> None:
        self.machine = kernel

    def kernel(self, name: str, ifindexes: Collection[int], now: float) -> KernelState:
        assert now <= self.now
        return self.machine


def _happens(node: Walk, name: str, gone: bool) -> None:
    (node.gone.add if gone else node.gone.discard)(name)
    if gone:
        node.core.handle_owner_gone(name)
    else:
        node.core.handle_owner_back(name, node.now)


_THINGS: dict[str, Callable[[Walk, str, str, str], Any]] = {
    "won": lambda n, s, b, c: n.core.win(s, VIP, None, b, n.now),
    "won after nobody": lambda n, s, b, c: n.core.win(s, VIP, None, None, n.now),
    "lost": lambda n, s, b, c: n.core.lose(s, VIP, b, n.now),
    "lost to MetalLB": lambda n, s, b, c: n.core.lose(s, VIP, "m", n.now),
    "lost to nobody": lambda n, s, b, c: n.core.lose(s, VIP, None, n.now),
    "lost by plan": lambda n, s, b, c: n.core.lose(s, VIP, b, n.now, 0.1),
    "moved": lambda n, s, b, c: n.core.note_move(s, VIP, b, c, n.now),
    "withdrawn": lambda n, s, b, c: n.core.withdraw(s, VIP),
    "heard": lambda n, s, b, c: n.core.handle_announcement(VIP, ETH0, MACS[b], n.now),
    "a stranger is heard": lambda n, s, b, c: n.core.handle_announcement(VIP, ETH0, MAC_M, n.now),
    "yours": lambda n, s, b, c: n.core.handle_yours([VIP], b, n.now),
    "yours, quietly": lambda n, s, b, c: n.core.handle_yours([VIP], b, n.now, frozenset({c})),
    "asked": lambda n, s, b, c: n.core.handle_ask([VIP], b),
    "claimed": lambda n, s, b, c: n.core.handle_mine([VIP], b, n.now),
    "denied": lambda n, s, b, c: n.core.handle_denial([VIP], b, n.now),
    "link returned": lambda n, s, b, c: n.core.handle_link_return(n.now),
    "unconfirmed": lambda n, s, b, c: n.core.verify(None, n.now),
    "dead heard": lambda n, s, b, c: n.core.handle_sign_of_life(b, n.now),
    "gone": lambda n, s, b, c: _happens(n, b, True),
    "back": lambda n, s, b, c: _happens(n, b, False),
    "machines silent": lambda n, s, b, c: n.kernels(KernelState.SILENT),
    "machines answer": lambda n, s, b, c: n.kernels(KernelState.ANSWERS),
    "machines unknown": lambda n, s, b, c: n.kernels(KernelState.UNKNOWN),
    "a moment": lambda n, s, b, c: n.run(0.03),
    "a while": lambda n, s, b, c: n.run(0.3),
}

THING = st.tuples(
    st.sampled_from(list(_THINGS)),
    st.sampled_from(SERVICES),
    st.sampled_from(NODES),
    st.sampled_from(NODES),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(THING, max_size=40))
def test_whatever_happens_goes_by_the_table(story: list[tuple[str, str, str, str]]) -> None:
    node = Walk()
    for thing in story:
        node.step(*thing)


def test_the_table_has_no_cell_that_nothing_takes() -> None:
    """A long walk, the same each time: a rule that nothing follows would be a rule for nothing."""
    rng, node = Random(7), Walk()
    for _ in range(20_000):
        thing = rng.choice(list(_THINGS))
        node.step(thing, rng.choice(SERVICES), rng.choice(NODES), rng.choice(NODES))
        if node.taken == EXPECTED.keys():
            break
    assert EXPECTED.keys() - node.taken == set()
