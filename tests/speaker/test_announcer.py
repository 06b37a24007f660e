"""What is answered where, and when announcements are due."""

from collections.abc import Iterable
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link.drop import DropReason
from link.interface import Interface
from speaker.announcer import ROUND_INTERVAL, ROUNDS, Announcement, Announcer
from speaker.contact import Contact

VIP, OTHER = IPv4Address("192.0.2.100"), IPv4Address("192.0.2.101")


def link(index: int, carrier: bool = True, mac: bytes = b"\x02\0\0\0\0\x0a") -> Interface:
    return Interface(
        index, f"eth{index}", mac, up=True, carrier=carrier, broadcast=True, noarp=False
    )


ETH0, ETH1 = link(0), link(1)


def announcer(*links: Interface) -> Announcer:
    core = Announcer(Contact(0.0, alone=True))
    core.set_interfaces({interface.index: interface for interface in links}, 0.0)
    return core


def rounds(core: Announcer, until: float) -> list[float]:
    """Return when rounds were sent, driven by nothing but deadlines."""
    times = [0.0] * len(core.transmits())
    while (at := core.deadline()) is not None and at <= until:
        core.handle_timeout(at)
        times += [at] * len(core.transmits())
    return times


def names(announcements: Iterable[Announcement]) -> list[str]:
    return sorted(f"{item.ip}@{item.interface.name}" for item in announcements)


def test_five_rounds_on_metallbs_schedule() -> None:
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0)
    expected = [index * ROUND_INTERVAL for index in range(ROUNDS)]
    assert rounds(core, until=60.0) == pytest.approx(expected)
    assert core.deadline() is None


def test_a_late_driver_does_not_squeeze_rounds_together() -> None:
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0)
    core.transmits()
    core.handle_timeout(10.0)
    assert len(core.transmits()) == 1
    assert core.deadline() == pytest.approx(10.0 + ROUND_INTERVAL)


def test_only_selected_interfaces_announce_and_answer() -> None:
    core = announcer(ETH0, ETH1)
    core.announce(VIP, "ns/a", frozenset({"eth1"}), 0.0)
    assert names(core.transmits()) == ["192.0.2.100@eth1"]
    assert core.answers(VIP, 1) is None
    assert core.answers(VIP, 0) is DropReason.NOT_ON_INTERFACE
    assert core.answers(VIP, 7) is DropReason.NOT_ON_INTERFACE
    assert core.answers(OTHER, 1) is DropReason.NOT_ANNOUNCED
    assert core.interface_names(VIP) == ("eth1",)


def test_two_services_on_one_ip_add_up_and_the_last_one_ends_it() -> None:
    core = announcer(ETH0, ETH1)
    core.announce(VIP, "ns/a", frozenset({"eth0"}), 0.0)
    core.announce(VIP, "ns/b", frozenset({"eth1"}), 0.0)
    assert core.interface_names(VIP) == ("eth0", "eth1")
    core.withdraw(VIP, "ns/a")
    assert core.interface_names(VIP) == ("eth1",)
    core.withdraw(VIP, "ns/b")
    core.withdraw(VIP, "ns/b")
    assert core.announced() == frozenset()


def test_withdrawal_ends_the_rounds_and_sends_nothing() -> None:
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0)
    core.transmits()
    core.withdraw(VIP, "ns/a")
    assert rounds(core, until=60.0) == []


def test_nothing_is_answered_or_sent_before_contact_and_all_at_its_release() -> None:
    contact = Contact(0.0)
    core = Announcer(contact)
    core.set_interfaces({0: ETH0}, 0.0)
    core.announce(VIP, "ns/a", None, 0.0)
    assert core.answers(VIP, 0) is DropReason.NO_CONTACT
    assert core.transmits() == []
    contact.exchanged(None, 1.0)
    core.released(None, 1.0)
    assert core.answers(VIP, 0) is None
    assert names(core.transmits()) == ["192.0.2.100@eth0"]


def test_no_carrier_no_answer_and_a_short_outage_ends_with_an_announcement() -> None:
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0)
    core.transmits()
    core.set_interfaces({0: link(0, carrier=False)}, 10.0)
    assert core.answers(VIP, 0) is DropReason.NO_CARRIER
    core.set_interfaces({0: ETH0}, 10.5)
    assert core.answers(VIP, 0) is None
    assert names(core.transmits()) == ["192.0.2.100@eth0"]


def test_a_long_outage_of_the_link_waits_for_contact_on_that_link() -> None:
    contact = Contact(0.0)
    contact.exchanged(None, 0.0)
    core = Announcer(contact)
    core.set_interfaces({0: ETH0, 1: ETH1}, 0.0)
    core.announce(VIP, "ns/a", None, 0.0)
    core.transmits()
    core.set_interfaces({0: link(0, carrier=False), 1: ETH1}, 1.0)
    core.set_interfaces({0: ETH0, 1: ETH1}, 5.0)
    assert core.answers(VIP, 0) is DropReason.NO_CONTACT
    assert core.answers(VIP, 1) is None
    assert core.transmits() == []
    contact.exchanged(5.0, 5.1)
    core.released(0, 5.1)
    assert names(core.transmits()) == ["192.0.2.100@eth0"]


def test_a_new_link_and_a_new_mac_are_announced() -> None:
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0)
    core.transmits()
    core.set_interfaces({0: ETH0, 1: ETH1}, 1.0)
    assert names(core.transmits()) == ["192.0.2.100@eth1"]
    moved = link(0, mac=b"\x02\0\0\0\0\x0b")
    core.set_interfaces({0: moved, 1: ETH1}, 2.0)
    assert [item.interface.mac for item in core.transmits()] == [moved.mac]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.sampled_from([VIP, OTHER]))))
def test_an_ip_is_answered_exactly_while_somebody_wants_it(
    steps: list[tuple[bool, str, IPv4Address]],
) -> None:
    core = announcer(ETH0)
    wanted: set[tuple[str, IPv4Address]] = set()
    for announce, service, ip in steps:
        if announce:
            core.announce(ip, service, None, 0.0)
            wanted.add((service, ip))
        else:
            core.withdraw(ip, service)
            wanted.discard((service, ip))
        assert core.announced() == {ip for _, ip in wanted}
