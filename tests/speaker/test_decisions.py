"""From a decision to its first frame: of what was announced at once, and of nothing else."""

from ipaddress import IPv4Address

from speaker.decisions import Decisions

VIP, OTHER = IPv4Address("192.0.2.100"), IPv4Address("192.0.2.101")


def test_the_first_frame_after_the_first_decision_counts_once() -> None:
    decisions = Decisions()
    decisions.decided(VIP, 10.0)
    decisions.decided(VIP, 10.2)
    assert decisions.announced(OTHER, 10.3) is None
    assert decisions.announced(VIP, 10.5) == 0.5
    assert decisions.announced(VIP, 11.6) is None


def test_what_was_given_up_before_its_first_frame_counts_from_its_next_decision() -> None:
    decisions = Decisions()
    for ip in (VIP, OTHER):
        decisions.decided(ip, 10.0)
    decisions.forget((VIP,))
    assert decisions.announced(VIP, 10.1) is None
    decisions.decided(VIP, 20.0)
    assert decisions.announced(VIP, 20.25) == 0.25
    assert decisions.announced(OTHER, 20.25) == 10.25
