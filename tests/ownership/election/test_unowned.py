"""Which services ought to be announced, and cannot be by any living node."""

from collections.abc import Collection

import pytest

from ownership.election.election import Election
from ownership.liveness.barred import Barred
from ownership.liveness.verdicts import Subject
from plan.service import ServicePlan, Withheld

BOTH = frozenset({"a", "b"})


def unowned(
    candidates: frozenset[str] | None,
    *,
    wanted: bool = True,
    withheld: Withheld | None = None,
    members: Collection[str] = BOTH,
    bars: Barred | None = None,
) -> list[str]:
    state = Election()
    state.set_members(frozenset(members), "member_dead")
    state.set_bars(bars or Barred(), "bars")
    plan = ServicePlan("ns/web", (), "192.0.2.1", candidates, withheld=withheld, wanted=wanted)
    state.set_plan("ns/web", plan)
    while state.pending:
        state.advance(100)
    return state.unowned()


@pytest.mark.parametrize("withheld", [None, Withheld.NOT_OWNER, Withheld.NO_MATCHING_ADVERTISEMENT])
def test_a_service_without_a_living_candidate_is_nobodys(withheld: Withheld | None) -> None:
    """Whether or not it would be for this node."""
    assert unowned(frozenset({"c"}), withheld=withheld) == ["ns/web"]
    assert unowned(frozenset(), withheld=withheld) == ["ns/web"]
    assert unowned(frozenset({"b", "c"}), withheld=withheld) == []
    assert unowned(None, withheld=withheld) == []


def test_what_nobody_asks_for_is_not_missed() -> None:
    """Without endpoints, or for BGP alone."""
    assert unowned(frozenset({"c"}), wanted=False) == []


def test_what_lacks_a_quorum_may_have_one_elsewhere() -> None:
    assert unowned(frozenset({"c"}), withheld=Withheld.QUORUM) == []


def test_it_is_nobodys_where_all_are_barred() -> None:
    assert unowned(None, bars=Barred(nodes=BOTH)) == ["ns/web"]
    assert unowned(None, bars=Barred(nodes=frozenset({"a"}))) == []
    on_a_link = Barred(links=frozenset(Subject(node, "eth0") for node in BOTH))
    assert unowned(None, bars=on_a_link) == ["ns/web"]
