"""How IPs change hands, as texts that a person can read: see the README beside them.

Each is played as it stands, and once more without the rule that it is about: then it differs.
"""

from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest

from conversation import Conversation, ConversationError
from ownership.announcing.announcer import Announcer
from ownership.contact import Contact
from ownership.election.election import Election
from ownership.failover import Failover
from ownership.handover.heir import Takeovers
from ownership.handover.memory import Reminders
from ownership.handover.states import Holds
from ownership.handover.succession import Succession
from ownership.io import Announce
from ownership.liveness.targets import KernelState
from ownership.liveness.witness import Witness
from ownership.ownership import Ownership

FOLDER = Path(__file__).parent / "conversations"
FILES = sorted(FOLDER.glob("*.txt"))

Break = Callable[[pytest.MonkeyPatch], None]


def played(path: Path) -> str:
    """Return how the conversation differs today from what is written, whole; empty where not."""
    written = path.read_text().splitlines()
    heard = Conversation(path.read_text()).lines()
    diff = unified_diff(
        written, heard, path.name, "today", lineterm="", n=len(written) + len(heard)
    )
    return "\n".join(diff)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_node_answers_as_it_is_written(path: Path) -> None:
    difference = played(path)
    assert not difference, f"\n{difference}"


# ---- conversations that no broken rule could change would prove nothing


def without(owner: type, name: str, value: Any = None) -> Break:
    """Have a method do nothing but return `value`."""

    def call(*_arguments: Any, **_named: Any) -> Any:
        return value

    return lambda patch: patch.setattr(owner, name, call)


def with_value(name: str, value: Any) -> Break:
    return lambda patch: patch.setattr(name, value)


def stops_at_once(patch: pytest.MonkeyPatch) -> None:
    """Let a loser stop answering in the moment in which it loses."""
    patch.setattr(
        Failover,
        "lose",
        lambda self, service, ip, *_rest, **_named: self.withdraw(service, ip),
    )


def content_with_any_exchange(patch: pytest.MonkeyPatch) -> None:
    exchanged = Contact.handle_exchange
    patch.setattr(
        Contact,
        "handle_exchange",
        lambda self, began, known, now: exchanged(self, began, True, now),
    )


def believes_it_owned_before(patch: pytest.MonkeyPatch) -> None:
    """Let an owner of long ago count as the one before us: the node itself, here."""
    take_up = Ownership._take_up

    def stale(self: Ownership, action: Announce, _previous: str | None, now: float) -> None:
        take_up(self, action, self.node, now)

    patch.setattr(Ownership, "_take_up", stale)


BROKEN: dict[str, Break] = {
    "blink": without(Contact, "handle_link_return"),
    "blink-unconfirmed": without(Succession, "verify"),
    "contested-by-a-living-owner": without(Succession, "_links_to_ask", ()),
    "contester-falls-silent": without(Takeovers, "_let_go", False),
    "cut-off-heir": without(Witness, "heard_since", True),
    "foreign-kernel": without(Takeovers, "handle_denial", False),
    "foreign-winner": with_value("ownership.handover.loser.FOREIGN_ASK", 0.2),
    "foreign-winner-mute": with_value("ownership.handover.loser.FOREIGN_GRACE", 3.0),
    "gossip-cut": without(Takeovers, "handle_mine"),
    "kill-and-back": without(Takeovers, "_kernel_of", KernelState.SILENT),
    "link-returns": without(Contact, "handle_carrier_return"),
    "machine-dies-later": without(Takeovers, "_kernel_of", KernelState.ANSWERS),
    "owner-heard-again": without(Succession, "handle_sign_of_life"),
    "partition-heals": stops_at_once,
    "partition-heals-asked": without(Reminders, "note_stop"),
    "plan-edit": without(Election, "elsewhere"),
    "plan-edit-after-a-loss": believes_it_owned_before,
    "power-off": with_value("ownership.liveness.verdicts.NEEDED", 1),
    "quiet-heir-next": without(Failover, "lost_its_owner", False),
    "quiet-heir-stopped": without(Takeovers, "quiet_from", frozenset()),
    "shared-ip": without(Holds, "take_back", False),
    "stall": with_value("ownership.contact.LONGEST_GAP", 60.0),
    "start-alone": without(Succession, "verify"),
    "start-beside-a-stranger": without(Takeovers, "handle_answer"),
    "start-in-a-ring": content_with_any_exchange,
    "stop": without(Announcer, "hush"),
    "stop-heir": without(Takeovers, "handle_grant", []),
    "winner-dies": without(Succession, "note_move"),
}


def test_every_conversation_has_a_rule_that_breaks_it() -> None:
    assert {path.stem for path in FILES} == BROKEN.keys()


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_rule_is_heard(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BROKEN[name](monkeypatch)
    assert played(FOLDER / f"{name}.txt")


# ---- the language


@pytest.mark.parametrize(
    "line",
    ["at 0.00: node-2 sleeps", "given: it rains", "at 0.00: node-9 joins twice"],
)
def test_a_step_that_nobody_understands_is_refused(line: str) -> None:
    with pytest.raises(ConversationError, match="nobody understands"):
        Conversation(line).lines()


def test_a_step_with_a_slip_in_its_form_is_refused() -> None:
    """Else it was read as prose, and never done."""
    with pytest.raises(ConversationError, match="nobody understands"):
        Conversation("at 0.5: node-2 joins").lines()


def test_what_is_said_again_before_the_next_step_is_counted() -> None:
    text = "given: web has 198.51.100.5\nat 0.00: node-1 asks its seeds\nat 0.35: that is all"
    [line] = [line for line in Conversation(text).lines() if "seek" in line]
    assert line == "-> at 0.10: seek contact (3 times until 0.30)"


def test_the_same_text_is_answered_alike_twice() -> None:
    text = (FOLDER / "power-off.txt").read_text()
    assert Conversation(text).lines() == Conversation(text).lines()
