"""From a decision to its first frame: who it is for, and how long it took, if it took at all."""

from ipaddress import IPv4Address

from ownership.announcing.decisions import Announced, Decisions

VIP, OTHER = IPv4Address("192.0.2.100"), IPv4Address("192.0.2.101")


def test_the_first_frame_after_the_first_decision_counts_once() -> None:
    decisions = Decisions()
    decisions.decide(VIP, "a", "start", 10.0)
    decisions.decide(VIP, "b", "moved", 10.2)
    assert decisions.note_frame(OTHER, 10.3) is None
    assert decisions.note_frame(VIP, 10.5) == Announced({"a": "start", "b": "moved"}, 0.5)
    assert decisions.note_frame(VIP, 11.6) is None


def test_what_was_given_up_before_its_first_frame_counts_from_its_next_decision() -> None:
    decisions = Decisions()
    for ip in (VIP, OTHER):
        decisions.decide(ip, "a", "start", 10.0)
    decisions.forget((VIP,))
    assert decisions.note_frame(VIP, 10.1) is None
    decisions.decide(VIP, "a", "moved", 20.0)
    assert decisions.note_frame(VIP, 20.25) == Announced({"a": "moved"}, 0.25)
    assert decisions.note_frame(OTHER, 20.25) == Announced({"a": "start"}, 10.25)


def test_what_was_put_off_is_told_but_not_timed() -> None:
    decisions = Decisions()
    decisions.decide(VIP, "a", "start", 10.0)
    decisions.put_off((VIP, OTHER))
    assert decisions.reasons(VIP) == {"a": "start"}
    assert decisions.reasons(OTHER) == {}
    assert decisions.note_frame(VIP, 70.0) == Announced({"a": "start"}, None)
