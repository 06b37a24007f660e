"""The secret file changes, and our agents change the cluster's key without anybody's help."""

from typing import Protocol, TypeVar

import pytest

from gossip.rotation import COMPLAIN_INTERVAL, SETTLE, TRIAL_INTERVAL
from mixed import FOREIGN, OURS
from speaker.ring.secret_file import POLL
from unattended import SLACK, Story

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]
both_kinds = pytest.mark.parametrize("kind", ["go", "serf"])

T_co = TypeVar("T_co", covariant=True)


class Results(Protocol[T_co]):
    """By the kind of the foreign peers."""

    def result(self, kind: str, /) -> T_co: ...


def _nothing_was_lost(story: Story) -> None:
    assert not story.decrypt_errors
    assert not story.accusations
    for seen in story.members:
        assert len(seen) == FOREIGN + OURS
        assert set(seen.values()) == {"alive"}


@both_kinds
def test_ours_use_the_new_key_by_themselves_and_drop_the_old_one(
    kind: str, rotations: Results[Story]
) -> None:
    story = rotations.result(kind)
    _nothing_was_lost(story)
    assert len(story.took) == OURS
    for took in story.took:
        assert SETTLE <= took <= SETTLE + POLL + TRIAL_INTERVAL + SLACK
    assert story.keys == (1,) * OURS
    assert story.blocked == (frozenset(),) * OURS


@both_kinds
def test_a_peer_without_the_new_key_keeps_the_old_one_in_use_and_is_named(
    kind: str, blocked: Results[tuple[Story, Story]]
) -> None:
    before, after = blocked.result(kind)
    late = {"go": {"go2"}, "serf": {"serf0", "serf1", "serf2"}}[kind]
    _nothing_was_lost(before)
    assert before.blocked == (late,) * OURS
    assert before.took == ()
    assert before.keys == (2,) * OURS

    _nothing_was_lost(after)
    assert len(after.took) == OURS
    assert min(after.took) >= SETTLE + COMPLAIN_INTERVAL
