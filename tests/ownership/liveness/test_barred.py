"""Who owns where living nodes are barred, and the election held equal to the brute force."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownership.election.election import Election, order
from ownership.io import Move
from ownership.liveness.barred import Barred
from ownership.liveness.verdicts import Subject
from plan.service import ServicePlan

ALL = frozenset("abcd")


@pytest.mark.parametrize(
    ("barred", "clarion", "owner"),
    [
        ("", "abcd", "a"),
        ("a", "abcd", "b"),
        ("ab", "abcd", "c"),
        # b is MetalLB's and ignores Meta: it believes in a, so a has to announce.
        ("a", "acd", "a"),
        # c would believe in a: somebody who knows of bars has to announce, b is the last of them.
        ("ab", "abd", "b"),
        # All barred: as if none was.
        ("abcd", "abcd", "a"),
        # Whether the barred one itself is Clarion was its own word; only the next one matters.
        ("a", "bcd", "b"),
    ],
)
def test_a_barred_node_is_passed_over_only_if_the_next_is_clarion(
    barred: str, clarion: str, owner: str
) -> None:
    bars = Barred(nodes=frozenset(barred), clarion=frozenset(clarion))
    assert bars.first(list("abcd"), None)[0] == owner


def test_nobody_owns_where_nobody_lives() -> None:
    assert Barred().first([], None) == (None, ())


def test_a_choice_depends_on_those_passed_over_the_owner_and_the_next() -> None:
    bars = Barred(nodes=frozenset("a"), clarion=ALL)
    assert bars.first(list("abcd"), None) == ("b", ("a", "b", "c"))


@pytest.mark.parametrize(
    ("interfaces", "barred"),
    [
        (None, True),
        (frozenset({"eth0"}), True),
        (frozenset({"eth1"}), False),
        (frozenset({"eth0", "eth1"}), True),
        (frozenset[str](), False),
    ],
)
def test_a_link_bars_from_what_is_announced_on_it(
    interfaces: frozenset[str] | None, barred: bool
) -> None:
    bars = Barred(links=frozenset({Subject("a", "eth0")}), clarion=ALL)
    assert bars.bar("a", interfaces) is barred
    assert not bars.bar("b", interfaces)
    assert bars.named == {"a"}


NODES = [f"node-{index}" for index in range(5)]
SOME = st.frozensets(st.sampled_from(NODES))
INTERFACES = st.one_of(st.none(), st.frozensets(st.sampled_from(["eth0", "eth1"]), min_size=1))
BARS = st.builds(
    Barred,
    SOME,
    st.frozensets(st.builds(Subject, st.sampled_from(NODES), st.sampled_from(["eth0", "eth1"]))),
    SOME,
)
PLANS = st.builds(
    ServicePlan,
    service=st.just(""),
    hash_ip=st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
    candidates=st.one_of(st.none(), SOME),
    interfaces=INTERFACES,
)
STEPS = st.one_of(
    st.tuples(st.just("members"), SOME),
    st.tuples(st.just("bars"), BARS),
    st.tuples(st.sampled_from(["ns/a", "ns/b", "ns/c"]), st.one_of(st.none(), PLANS)),
)


def brute_force(plan: ServicePlan, members: frozenset[str], bars: Barred) -> str | None:
    """The rule of the issue, from the back: who is asked after all that are better."""
    alive = members if plan.candidates is None else members & plan.candidates
    ranking = order(alive, plan.hash_ip)

    def barred(node: str) -> bool:
        on = plan.interfaces
        links = {link for name, link in bars.links if name == node}
        return node in bars.nodes or bool(links if on is None else links & on)

    def owner(rest: list[str]) -> str | None:
        if not barred(rest[0]):
            return rest[0]
        if len(rest) == 1:
            return None
        return owner(rest[1:]) if rest[1] in bars.clarion else rest[0]

    return (owner(ranking) or ranking[0]) if ranking else None


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=25), st.integers(1, 40))
def test_the_election_with_bars_equals_the_brute_force(
    steps: list[tuple[str, frozenset[str] | Barred | ServicePlan | None]], limit: int
) -> None:
    state, plans = Election(), dict[str, ServicePlan]()
    members, bars = frozenset(NODES[:3]), Barred()
    state.set_members(members, "start")
    for name, value in steps:
        if isinstance(value, Barred):
            bars = value
            state.set_bars(bars, "barred")
        elif isinstance(value, frozenset):
            members = value
            state.set_members(members, "members")
        else:
            planned = None if value is None else replace(value, service=name)
            state.set_plan(name, planned)
            plans = {key: plan for key, plan in plans.items() if key != name}
            plans |= {} if planned is None else {name: planned}
        while state.pending:
            state.advance(limit)
        expected = {name: brute_force(plan, members, bars) for name, plan in plans.items()}
        assert dict(state.owners()) == expected


def test_a_bar_moves_only_what_its_node_owns_and_gives_its_reason() -> None:
    state = Election()
    state.set_plans(
        {
            f"ns/{index}": ServicePlan(f"ns/{index}", (), f"192.0.2.{index}", None)
            for index in range(40)
        }
    )
    state.set_members(frozenset(NODES), "start")
    while state.pending:
        state.advance()
    before, hashes = dict(state.owners()), state.hashes
    state.set_bars(Barred(nodes=frozenset({NODES[0]}), clarion=frozenset(NODES)), "barred")
    moves: list[Move] = []
    while state.pending:
        moves += state.advance()
    owned = {service for service, owner in before.items() if owner == NODES[0]}
    assert owned
    assert {(move.service, move.before, move.reason) for move in moves} == {
        (service, NODES[0], "barred") for service in owned
    }
    assert state.hashes - hashes <= len(owned) * 2 * len(NODES)


def test_the_word_of_a_foreign_next_candidate_appearing_brings_the_ip_back() -> None:
    """The heir restarts as MetalLB's speaker: the barred owner has to announce again."""
    state = Election()
    state.set_plan("ns/a", ServicePlan("ns/a", (), "192.0.2.1", None))
    state.set_members(frozenset(NODES), "start")
    ranking = order(NODES, "192.0.2.1")
    for clarion, owner in ((frozenset(NODES), ranking[1]), (frozenset({ranking[0]}), ranking[0])):
        state.set_bars(Barred(nodes=frozenset({ranking[0]}), clarion=clarion), "barred")
        while state.pending:
            state.advance()
        assert state.owner("ns/a") == owner
