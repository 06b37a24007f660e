"""The election: MetalLB's own vectors, and the incremental one held equal to the full one."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.address import parse_ip
from ownership.election import election
from ownership.election.election import HASHES_A_SERVICE, Election, Electors, order
from ownership.io import Move
from ownership.liveness.barred import Barred
from plan.service import ServicePlan, Withheld

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "golden" / "metallb-election.json").read_text()
)["vectors"]
NODES = [f"node-{index}" for index in range(6)]


def _plan(service: str, ip: str, candidates: frozenset[str] | None = None) -> ServicePlan:
    return ServicePlan(service, (), ip, candidates)


def _settle(state: Election, limit: int = 5_000) -> list[Move]:
    moves: list[Move] = []
    while state.pending:
        moves.extend(state.advance(limit))
    return moves


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_metallb_vectors(vector: dict[str, Any]) -> None:
    assert str(parse_ip(vector["ip"])) == vector["hash_ip"]
    found = order(vector["nodes"], vector["hash_ip"], vector["scores"])
    assert found == vector["order"]
    assert (found[0] if found else None) == vector["winner"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_metallb_vectors_incrementally(vector: dict[str, Any]) -> None:
    state = Election()
    planned = replace(_plan("a/b", vector["hash_ip"]), scores=vector["scores"] or {})
    state.set_plans({"a/b": planned})
    for count in range(1, len(vector["nodes"]) + 1):
        state.set_members(frozenset(vector["nodes"][:count]), "join")
        _settle(state, limit=1)
    assert state.owner("a/b") == vector["winner"]


STEPS = st.lists(
    st.one_of(
        st.frozensets(st.sampled_from(NODES)),
        st.dictionaries(
            st.sampled_from(["s/0", "s/1", "s/2", "s/3"]),
            st.builds(
                ServicePlan,
                service=st.just(""),
                ips=st.just(()),
                hash_ip=st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
                candidates=st.none() | st.frozensets(st.sampled_from(NODES)),
                interfaces=st.none() | st.just(frozenset({"eth0"})),
                withheld=st.sampled_from([None, None, Withheld.NOT_OWNER]),
            ),
        ),
        st.integers(1, 4),
    ),
    max_size=25,
)


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_incremental_equals_full(
    steps: list[frozenset[str] | dict[str, ServicePlan] | int],
) -> None:
    """After any changes, interrupted anywhere, the owners are those of a full election."""
    state = Election()
    told: dict[str, str | None] = {}
    plans: dict[str, ServicePlan] = {}
    members: frozenset[str] = frozenset()
    moves: list[Move] = []
    for step in steps:
        match step:
            case int():
                moves.extend(state.advance(step))
            case dict():
                plans = step
                state.set_plans(plans)
            case _:
                members = step
                state.set_members(members, "memberlist")
    moves.extend(_settle(state, limit=3))
    for move in moves:
        assert told.get(move.service) == move.before != move.after
        told[move.service] = move.after
    expected = {name: _full(plan, members) for name, plan in plans.items()}
    assert dict(state.owners()) == expected
    assert {name: told.get(name) for name in expected} == expected
    assert all(owner is None for name, owner in told.items() if name not in plans)


def _full(plan: ServicePlan, members: frozenset[str]) -> str | None:
    if plan.withheld is not None:
        return None
    alive = members if plan.candidates is None else members & plan.candidates
    return next(iter(order(alive, plan.hash_ip)), None)


def test_costs_in_a_thousand_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = 0
    real = sha256

    def counting(data: bytes) -> Any:
        nonlocal counted
        counted += 1
        return real(data)

    monkeypatch.setattr(election, "sha256", counting)
    nodes = frozenset(f"node-{index}" for index in range(1_000))
    plans = {f"s/{index}": _plan(f"s/{index}", f"10.0.{index // 250}.{index % 250}", nodes)
             for index in range(500)}  # fmt: skip
    state = Election()
    state.set_plans(plans)
    state.set_members(nodes, "start")
    _settle(state)
    assert counted == state.hashes == 1_000 * 500
    dead = state.owner("s/0")
    assert dead is not None
    owned = [name for name, owner in state.owners().items() if owner == dead]

    counted = 0
    state.set_members(nodes - {dead}, "dead")
    moves = _settle(state)
    assert counted == 999 * len(owned)
    assert sorted(move.service for move in moves) == sorted(owned)
    assert all((move.before, move.reason) == (dead, "dead") for move in moves)

    counted = 0
    state.set_members(nodes, "alive again")
    moves = _settle(state)
    assert counted == len(owned)  # All others beat it before, and still do.
    assert sorted(move.service for move in moves) == sorted(owned)
    assert {move.after for move in moves} == {dead}

    counted = 0
    plans = {name: replace(plan, candidates=None) for name, plan in plans.items()}
    state.set_plans(plans)
    _settle(state)
    counted = 0
    state.set_members(nodes | {"node-new"}, "joined")
    moves = _settle(state)
    assert counted == 500
    assert {move.after for move in moves} <= {"node-new"}

    counted = 0
    state.set_plans(
        {name: replace(plan, interfaces=frozenset({"eth0"})) for name, plan in plans.items()}
    )
    state.set_members(nodes | {"node-new"}, "nothing new")
    assert not state.pending
    assert counted == 0


def test_advance_is_bounded_and_the_dead_come_first() -> None:
    nodes = frozenset(NODES)
    state = Election()
    state.set_members(nodes, "start")
    state.set_plans({f"s/{index}": _plan(f"s/{index}", f"10.0.0.{index}") for index in range(100)})
    before = 0
    while state.pending:
        state.advance(3 * (6 + HASHES_A_SERVICE))
        assert state.hashes - before == min(18, 600 - before)
        before = state.hashes
    dead = state.owner("s/99")
    state.set_members(nodes - {dead or ""} | {"node-new"}, "change")
    (first, *_) = state.advance(6)
    assert first.before == dead


def test_reasons_and_withdrawals_that_do_not_wait() -> None:
    state = Election()
    state.set_plans({"s/a": _plan("s/a", "10.0.0.1"), "s/b": _plan("s/b", "10.0.0.2")})
    state.set_members(frozenset({"node-1"}), "joined")
    assert _settle(state) == [
        Move("s/a", None, "node-1", "plan_changed"),
        Move("s/b", None, "node-1", "plan_changed"),
    ]
    state.set_plans({"s/b": replace(_plan("s/b", "10.0.0.2"), withheld=Withheld.IP_NOT_ALLOWED)})
    assert state.owner("s/a") is None
    assert state.owner("s/b") is None
    assert state.advance(0) == [
        Move("s/a", "node-1", None, "service_deleted"),
        Move("s/b", "node-1", None, "ip_not_allowed"),
    ]
    assert not state.pending


def test_nobody_left() -> None:
    state = Election()
    state.set_plans({"s/a": _plan("s/a", "10.0.0.1", frozenset({"node-1"}))})
    state.set_members(frozenset({"node-1", "node-2"}), "joined")
    _settle(state)
    state.set_members(frozenset({"node-2"}), "dead")
    assert _settle(state) == [Move("s/a", "node-1", None, "dead")]
    state.set_members(frozenset({"node-1", "node-2"}), "back")
    assert _settle(state) == [Move("s/a", None, "node-1", "back")]


# ---- who owns what our plan withholds from this node


def withheld(reason: Withheld | None, candidates: frozenset[str] = frozenset("bc")) -> Election:
    state = Election()
    state.set_plans({"a/b": replace(_plan("a/b", "192.0.2.1", candidates), withheld=reason)})
    state.set_members(frozenset("abc"), "join")
    _settle(state)
    return state


NOT_HERE = [Withheld.NO_MATCHING_ADVERTISEMENT, Withheld.NOT_OWNER]
"""What our own node lacks."""


@pytest.mark.parametrize("reason", NOT_HERE)
def test_a_service_withheld_from_this_node_alone_has_an_owner_elsewhere(reason: Withheld) -> None:
    """Its speaker may not have read the plan yet by which it is: we answer until it does."""
    state = withheld(reason)
    first, second = order("bc", "192.0.2.1", {})
    assert state.elsewhere("a/b") == first
    state.set_bars(Barred(nodes=frozenset({first}), clarion=frozenset("bc")), "barred")
    assert state.elsewhere("a/b") == second
    state.set_members(frozenset("a"), "leave")
    assert state.elsewhere("a/b") is None


@pytest.mark.parametrize("reason", [*(each for each in Withheld if each not in NOT_HERE), None])
def test_what_nobody_may_announce_has_no_owner_elsewhere(reason: Withheld | None) -> None:
    assert withheld(reason).elsewhere("a/b") is None
    assert withheld(reason).elsewhere("a/none") is None


@given(
    st.sets(st.text(max_size=8), max_size=12),
    st.text(max_size=8),
    st.integers(0, 15),
    st.dictionaries(st.text(max_size=8), st.integers(0, 3)),
)
def test_the_first_ones_are_those_of_the_order(
    nodes: set[str], ip: str, count: int, scores: dict[str, int]
) -> None:
    for points in ({}, scores):
        assert Electors.of(nodes).first(count, ip, points) == order(nodes, ip, points)[:count]
