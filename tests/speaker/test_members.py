"""What is said of peers: once, and never more than a bounded number of lines a minute."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gossip.io import Address, Event, Exchanged, ExchangeFailed, MemberView, NameConflict
from gossip.wire.messages import CURRENT_VSN, State
from ownership.announcing.announcer import Announcer
from ownership.contact import Contact
from ownership.election.quorum import Quorum, QuorumMode
from ownership.ownership import Ownership
from process.logs import INTERVAL, MOST_SUBJECTS
from speaker.members import MOST_PEERS, Members


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def warning(self, event: str, **about: Any) -> None:
        self.lines.append((event, about))


class Rig:
    """The real parts that these events reach, with a clock of its own."""

    def __init__(self) -> None:
        self.now, self.log = 1_000.0, Log()
        nobody: Any = None
        waker: Any = SimpleNamespace(wake=lambda: None)
        contact = Contact(self.now)
        ownership = Ownership("n1", contact, Announcer(contact), nobody, Quorum(QuorumMode.OFF))
        self.members = Members(nobody, ownership, waker, lambda: self.now, cast(Any, self.log))

    def take(self, *events: Event) -> list[dict[str, Any]]:
        """What is said of these events."""
        before = len(self.log.lines)
        for event in events:
            self.members.take(event)
        return [about for _, about in self.log.lines[before:]]


@pytest.fixture
def rig() -> Rig:
    return Rig()


def failed(peer: int, reason: str) -> ExchangeFailed:
    return ExchangeFailed(Address(f"10.0.{peer // 256}.{peer % 256}", 7946), reason, True, False)


def test_a_failure_is_told_once_until_there_is_success_or_another_one(rig: Rig) -> None:
    assert len(rig.take(*[failed(1, "refused")] * 100)) == 1
    rig.now += 10 * INTERVAL
    assert rig.take(failed(1, "refused")) == []
    [line] = rig.take(failed(1, "incompatible"))
    assert "CLARION_ML_DELEGATE_VERSION" in line["hint"]
    rig.now += 2 * INTERVAL
    rig.take(Exchanged(failed(1, "").peer, None, True))
    assert len(rig.take(failed(1, "incompatible"))) == 1


def test_a_peer_that_says_something_new_each_time_is_told_of_once(rig: Rig) -> None:
    [line] = rig.take(*(failed(1, f"peer: {number}") for number in range(1_000)))
    assert line["reason"] == "peer: 0"


def test_reasons_that_change_all_the_time_are_said_once_a_minute_each(rig: Rig) -> None:
    changing = [failed(1, "timeout"), failed(1, "closed")] * 500
    assert len(rig.take(*changing)) == 2
    rig.now += INTERVAL
    # What was told last is no news, and not left out.
    assert [line["more"] for line in rig.take(*changing)] == [499, 0]


def test_any_number_of_peers_is_bounded_in_lines_and_in_memory(rig: Rig) -> None:
    for _ in range(20):
        told = rig.take(*(failed(peer, "refused") for peer in range(5_000)))
        assert len(told) <= MOST_SUBJECTS
        assert len(rig.members._failed_exchanges) <= MOST_PEERS
        rig.now += INTERVAL
    assert len(rig.members._failed_exchanges) == MOST_PEERS


def test_a_name_that_is_claimed_again_and_again_is_said_once_a_minute(rig: Rig) -> None:
    member = MemberView("n2", Address("10.0.0.2", 7946), State.ALIVE, 5, b"", CURRENT_VSN)
    claims = [NameConflict(member, Address(f"10.0.0.{last}", 7946), 6) for last in range(100)]
    assert len(rig.take(*claims)) == 1
    rig.now += INTERVAL
    assert [line["more"] for line in rig.take(*claims)] == [99]
