"""Partition by choice: who has a majority, and that it follows plans and members step by step."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownership.election.quorum import Quorum, QuorumMode, has_majority
from plan.service import ServicePlan, Withheld

NODES = [f"n{number}" for number in range(1, 7)]
SETS = st.frozensets(st.sampled_from(NODES))
SERVICES = ["a/one", "a/two", "b/one"]


def plan(voters: frozenset[str] | None, withheld: Withheld | None = None) -> ServicePlan:
    return ServicePlan("a/one", withheld=withheld, voters=voters)


@pytest.mark.parametrize(
    ("voters", "living", "expected"),
    [
        ("1", "1", True),
        ("12", "1", False),
        ("12", "12", True),
        ("123", "12", True),
        ("123", "1", False),
        ("1234", "12", False),
        ("1234", "123", True),
        ("12345", "12", False),
        ("12345", "345", True),
        ("12", "3456", False),
        ("", "1", False),
    ],
)
def test_more_than_half_of_the_voters(voters: str, living: str, expected: bool) -> None:
    assert has_majority(frozenset(voters), frozenset(living)) is expected


def test_without_a_list_of_voters_nobody_has_a_majority() -> None:
    assert not has_majority(None, frozenset(NODES))


@given(SETS, SETS)
def test_of_two_sides_at_most_one_has_it(voters: frozenset[str], side: frozenset[str]) -> None:
    other = frozenset(NODES) - side
    assert not (has_majority(voters, side) and has_majority(voters, other))
    if voters:
        assert has_majority(voters, side | other)


@given(SETS, SETS, SETS)
def test_who_comes_back_takes_nothing_away(
    voters: frozenset[str], living: frozenset[str], back: frozenset[str]
) -> None:
    assert has_majority(voters, living) <= has_majority(voters, living | back)


@given(SETS, SETS, st.sampled_from(NODES))
def test_to_delete_a_node_that_is_gone_takes_nothing_away(
    voters: frozenset[str], living: frozenset[str], gone: str
) -> None:
    if gone not in living and voters != {gone}:
        assert has_majority(voters, living) <= has_majority(voters - {gone}, living)


STEPS = st.lists(
    st.one_of(
        SETS,
        st.tuples(
            st.sampled_from(SERVICES),
            st.none()
            | st.builds(plan, st.none() | SETS, st.sampled_from([None, Withheld.NO_CONFIG])),
        ),
    ),
    max_size=20,
)


@given(STEPS)
def test_step_by_step_is_the_same_as_all_anew(steps: list[object]) -> None:
    quorum, living = Quorum(QuorumMode.MAJORITY), frozenset[str]()
    planned: dict[str, ServicePlan] = {}
    told: dict[str, ServicePlan] = {}
    for step in steps:
        match step:
            case frozenset():
                living = step
                changed = quorum.set_members(living)
                assert all(told[service] != item for service, item in changed.items())
                told |= changed
            case (str() as service, None):
                assert quorum.set_plan(service, None) is None
                planned.pop(service, None)
                told.pop(service, None)
            case (str() as service, ServicePlan() as item):
                held = quorum.set_plan(service, item)
                assert held is not None
                planned[service], told[service] = item, held
        expected = {
            service: item
            if item.withheld or has_majority(item.voters, living)
            else replace(item, withheld=Withheld.QUORUM)
            for service, item in planned.items()
        }
        assert told == expected
        assert quorum.lacking == sum(i.withheld is Withheld.QUORUM for i in expected.values())


def test_off_it_touches_nothing() -> None:
    quorum, alone = Quorum(QuorumMode.OFF), plan(frozenset(NODES))
    assert quorum.set_plan("a/one", alone) is alone
    assert quorum.set_members(frozenset({"n1"})) == {}
    assert quorum.lacking == 0
