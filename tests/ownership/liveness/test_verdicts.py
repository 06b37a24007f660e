"""The fast verdict: two witnesses, told in time, and any sign of life later than it voids it."""

import pytest

from ownership.letters.letters import MOST_LINKS
from ownership.liveness.verdicts import MOST_OF_A_NODE, PROCESS, Reached, Subject, Verdicts

LASTS = 0.35
LINK = Subject("dead", "eth0")
HUNG = Subject("dead", PROCESS)
OTHERS = frozenset({"me", "dead", "b", "c"})


def verdicts() -> Verdicts:
    return Verdicts("me", LASTS)


def reached() -> Verdicts:
    """One on LINK that stands since 1.0."""
    state = verdicts()
    state.report(LINK, "me", 1.0)
    state.report(LINK, "b", 1.0)
    assert state.judge(OTHERS, 1.0) == [Reached(LINK)]
    assert state.news()
    return state


@pytest.mark.parametrize(
    ("witnesses", "able", "made"),
    [
        (["me"], {"b"}, False),
        (["b"], {"b", "c"}, False),
        (["me", "b"], {"b"}, True),
        (["b", "c"], {"b", "c"}, True),
        (["me"], set(), True),
        # Neither the missed node nor this one counts as somebody else to ask.
        (["me"], {"dead", "me"}, True),
        ([], set(), False),
    ],
)
def test_two_witnesses_make_a_verdict_and_one_where_nobody_else_is_able(
    witnesses: list[str], able: set[str], made: bool
) -> None:
    state = verdicts()
    for witness in witnesses:
        state.report(LINK, witness, 1.0)
    assert state.judge(frozenset(able), 1.0) == ([Reached(LINK)] if made else [])
    assert state.gone() == ({LINK} if made else frozenset())


def test_one_that_may_be_cut_off_itself_is_no_witness_enough_though_nobody_else_is_able() -> None:
    state = verdicts()
    state.report(LINK, "me", 1.0)
    assert state.judge(frozenset(), 1.0, alone=False) == []
    state.report(LINK, "b", 1.1)
    assert state.judge(frozenset(), 1.1, alone=False) == [Reached(LINK)]


def test_one_witness_that_repeats_itself_is_still_one() -> None:
    state = verdicts()
    for at in (1.0, 1.1, 1.2):
        state.report(LINK, "b", at)
    assert state.judge(OTHERS, 1.2) == []


@pytest.mark.parametrize(("apart", "made"), [(LASTS - 0.01, True), (LASTS + 0.01, False)])
def test_reports_that_are_not_repeated_expire(apart: float, made: bool) -> None:
    state = verdicts()
    state.report(LINK, "b", 1.0)
    state.report(LINK, "c", 1.0 + apart)
    assert bool(state.judge(OTHERS, 1.0 + apart)) is made


def test_expired_reports_are_forgotten() -> None:
    """They leave room for others."""
    state = verdicts()
    for number in range(MOST_OF_A_NODE):
        state.report(Subject("dead", f"x{number}"), "b", 1.0)
    assert state.judge(OTHERS, 2.0) == []
    state.report(LINK, "b", 2.0)
    assert state.judge(frozenset(), 2.0) == [Reached(LINK)]


def test_a_witness_that_withdraws_counts_no_more() -> None:
    state = verdicts()
    state.report(LINK, "b", 1.0)
    state.report(LINK, "c", 1.0)
    state.retract(LINK, "b")
    assert state.judge(OTHERS, 1.0) == []
    state.retract(LINK, "c")
    state.retract(LINK, "c")
    assert state.judge(frozenset(), 1.0) == []


def test_reports_on_different_links_do_not_add_up() -> None:
    state = verdicts()
    state.report(LINK, "b", 1.0)
    state.report(Subject("dead", "eth1"), "c", 1.0)
    state.report(HUNG, "me", 1.0)
    assert state.judge(OTHERS, 1.0) == []


def test_a_verdict_is_told_once_and_then_stands() -> None:
    state = reached()
    state.report(LINK, "c", 1.1)
    assert state.judge(OTHERS, 1.1) == []
    assert state.judge(OTHERS, 9.0) == []
    assert state.gone() == {LINK}
    assert not state.news()


def test_a_verdict_that_is_heard_is_news_once() -> None:
    state = verdicts()
    assert state.hear(LINK, 1.0)
    assert not state.hear(LINK, 1.1)
    assert state.gone() == {LINK}
    assert dict(state.counts) == {"heard": 1}


def test_any_sign_of_life_voids_the_verdict_and_its_reports() -> None:
    state = reached()
    assert state.acquit(LINK, 1.1)
    assert state.gone() == frozenset()
    assert state.news()
    assert state.judge(frozenset(), 1.1) == []
    assert dict(state.counts) == {"reached": 1, "voided": 1}


def test_life_of_before_the_verdict_does_not_void_it() -> None:
    """An answer counts from when it was asked for: one that comes late tells of the past."""
    state = reached()
    assert not state.acquit(LINK, 0.99)
    assert state.gone() == {LINK}


def test_life_on_one_link_voids_no_other_subject() -> None:
    state = reached()
    assert not state.acquit(HUNG, 2.0)
    assert not state.acquit(Subject("dead", "eth1"), 2.0)
    assert state.gone() == {LINK}


def test_a_new_life_begins_without_reports_and_verdicts() -> None:
    state = reached()
    state.report(HUNG, "b", 1.0)
    state.hear(Subject("other", "eth0"), 1.0)
    state.news()
    state.forget("dead")
    assert state.gone() == {Subject("other", "eth0")}
    assert state.judge(frozenset(), 1.0) == []
    assert state.news()


def test_more_links_than_a_node_has_are_no_subjects() -> None:
    """No sign of life can void a verdict on a link that is not there, so they must not pile up."""
    state = verdicts()
    for number in range(100):
        state.report(Subject("dead", f"x{number}"), "b", 1.0)
        state.hear(Subject("dead", f"y{number}"), 1.0)
    state.report(Subject("other", "eth0"), "b", 1.0)
    assert len(state.gone()) == MOST_OF_A_NODE == MOST_LINKS + 1
    assert len(state.judge(frozenset(), 1.0)) == MOST_OF_A_NODE + 1
