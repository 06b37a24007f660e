"""What is answered where, and when announcements are due."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link.drop import DropReason
from link.interface import Interface
from ownership.announcing.announcer import (
    CLIENTS_EVERY,
    ECHO_AFTER,
    FRAMES_A_TURN,
    ROUND_INTERVAL,
    ROUNDS,
    Announcer,
)
from ownership.announcing.clients import Clients
from ownership.announcing.confirmation import TRIES
from ownership.announcing.frames import build
from ownership.announcing.pace import BURST, RATE
from ownership.contact import Contact
from ownership.io import Announcement, Client, Form

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


FIRST = (Form.REQUEST, Form.ADVERTISEMENT)


def drain(core: Announcer) -> list[Announcement]:
    """Everything that may leave now, however many turns it takes."""
    found: list[Announcement] = []
    while some := core.transmits():
        found += some
    return found


def frames(core: Announcer, until: float) -> list[tuple[float, Announcement]]:
    """Return every frame and when it was sent, driven by nothing but deadlines."""
    sent: list[tuple[float, Announcement]] = [(0.0, item) for item in drain(core)]
    while (at := core.deadline()) is not None and at <= until:
        core.handle_timeout(at)
        sent += [(at, item) for item in core.transmits()]
    return sent


def rounds(core: Announcer, until: float) -> list[float]:
    """Return when rounds were sent."""
    return [at for at, item in frames(core, until) if item.form in FIRST]


def names(announcements: Iterable[Announcement]) -> list[str]:
    found = [item for item in announcements if item.form in FIRST]
    return sorted(f"{item.ip}@{item.interface.name}" for item in found)


def test_five_rounds_on_metallbs_schedule() -> None:
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0)
    expected = [index * ROUND_INTERVAL for index in range(ROUNDS)]
    assert rounds(core, until=60.0) == pytest.approx(expected)
    assert core.deadline() is None


def test_a_late_driver_does_not_squeeze_rounds_together() -> None:
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0)
    drain(core)
    core.handle_timeout(10.0)
    assert names(drain(core)) == ["192.0.2.100@eth0"]
    assert core.deadline() == pytest.approx(10.0 + ROUND_INTERVAL)


def test_only_selected_interfaces_announce_and_answer() -> None:
    core = announcer(ETH0, ETH1)
    core.announce(VIP, "ns/a", frozenset({"eth1"}), 0.0)
    assert names(drain(core)) == ["192.0.2.100@eth1"]
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
    assert core.ips() == frozenset()


def test_withdrawal_ends_the_rounds_and_sends_nothing() -> None:
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0)
    drain(core)
    core.withdraw(VIP, "ns/a")
    assert rounds(core, until=60.0) == []


def test_nothing_is_answered_or_sent_before_contact_and_all_at_its_release() -> None:
    contact = Contact(0.0)
    core = Announcer(contact)
    core.set_interfaces({0: ETH0}, 0.0)
    core.announce(VIP, "ns/a", None, 0.0)
    assert core.answers(VIP, 0) is DropReason.NO_CONTACT
    assert drain(core) == []
    contact.handle_exchange(0.5, True, 1.0)
    assert core.answers(VIP, 0) is DropReason.NO_CONTACT
    contact.events()
    core.speak_again(None, 1.0)
    assert core.answers(VIP, 0) is None
    assert names(drain(core)) == ["192.0.2.100@eth0"]


def test_no_carrier_no_answer_and_a_short_outage_ends_with_an_announcement() -> None:
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0)
    drain(core)
    core.set_interfaces({0: link(0, carrier=False)}, 10.0)
    assert core.answers(VIP, 0) is DropReason.NO_CARRIER
    core.set_interfaces({0: ETH0}, 10.5)
    assert core.answers(VIP, 0) is None
    assert names(drain(core)) == ["192.0.2.100@eth0"]


def test_a_long_outage_of_the_link_waits_for_contact_on_that_link() -> None:
    contact = Contact(0.0)
    contact.handle_exchange(0.0, True, 0.0)
    contact.events()
    core = Announcer(contact)
    core.set_interfaces({0: ETH0, 1: ETH1}, 0.0)
    core.announce(VIP, "ns/a", None, 0.0)
    drain(core)
    core.set_interfaces({0: link(0, carrier=False), 1: ETH1}, 1.0)
    core.set_interfaces({0: ETH0, 1: ETH1}, 5.0)
    assert core.answers(VIP, 0) is DropReason.NO_CONTACT
    assert core.answers(VIP, 1) is None
    assert drain(core) == []
    contact.handle_exchange(5.0, True, 5.1)
    contact.events()
    core.speak_again(0, 5.1)
    assert names(drain(core)) == ["192.0.2.100@eth0"]


def test_a_new_link_and_a_new_mac_are_announced() -> None:
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0)
    drain(core)
    core.set_interfaces({0: ETH0, 1: ETH1}, 1.0)
    assert names(drain(core)) == ["192.0.2.100@eth1"]
    moved = link(0, mac=b"\x02\0\0\0\0\x0b")
    core.set_interfaces({0: moved, 1: ETH1}, 2.0)
    assert {item.interface.mac for item in drain(core)} == {moved.mac}


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
        assert core.ips() == {ip for _, ip in wanted}


V6 = IPv6Address("2001:db8::64")
LINK_LOCAL = ip_interface("fe80::a/64")
SUBNET, SUBNET6 = ip_interface("192.0.2.1/24"), ip_interface("2001:db8::1/64")
DUAL = replace(ETH0, addresses=frozenset({LINK_LOCAL, SUBNET, SUBNET6}))
CLIENT, CLIENT_MAC = IPv4Address("192.0.2.7"), b"\x02\0\0\0\0\x07"


def test_a_round_is_the_frame_that_moves_everybody_and_then_the_others() -> None:
    core = announcer(DUAL)
    core.announce(VIP, "ns/a", None, 0.0)
    core.announce(V6, "ns/a", None, 0.0)
    forms = [(item.ip, item.form) for item in drain(core)]
    assert forms == [
        (VIP, Form.REQUEST),
        (V6, Form.ADVERTISEMENT),
        (VIP, Form.REPLY),
        (VIP, Form.REPLY_TO_ALL),
    ]


def test_ipv6_waits_for_a_link_local_address() -> None:
    core = announcer(ETH0)
    core.announce(V6, "ns/a", None, 0.0)
    assert frames(core, until=60.0) == []
    core.set_interfaces({0: DUAL}, 1.0)
    assert [(item.ip, item.form) for item in drain(core)] == [(V6, Form.ADVERTISEMENT)]


def test_known_clients_and_gateways_are_told_by_name_until_they_answer() -> None:
    gateway = IPv4Address("192.0.2.254")
    link = replace(DUAL, gateways=frozenset({gateway, IPv6Address("fe80::1")}))
    clients = Clients()
    clients.note(VIP, link, CLIENT, CLIENT_MAC, 0.0)
    core = Announcer(Contact(0.0, alone=True), clients)
    core.set_interfaces({0: link}, 0.0)
    core.announce(VIP, "ns/a", None, 0.0)
    first = [item.client for item in drain(core) if item.form is Form.TO_CLIENT]
    assert first == [Client(CLIENT, CLIENT_MAC), Client(gateway, None)]
    assert core.confirm(VIP, 0, CLIENT, 0.004) == pytest.approx(0.004)
    assert core.confirm(VIP, 0, CLIENT, 0.005) is None
    again = [item.client for _, item in frames(core, until=60.0) if item.form is Form.TO_CLIENT]
    assert again == [Client(gateway, None)] * (TRIES - 1)


def test_who_is_asked_to_announce_again_addresses_clients_once_a_second() -> None:
    """Where three groups of nodes meet, two of them ask."""
    clients = Clients()
    clients.note(VIP, DUAL, CLIENT, CLIENT_MAC, 0.0)
    core = Announcer(Contact(0.0, alone=True), clients)
    core.set_interfaces({0: DUAL}, 0.0)
    core.announce(VIP, "ns/a", None, 0.0)
    drain(core)
    assert core.confirm(VIP, 0, CLIENT, 0.001) is not None
    for now in (0.1, 0.3, CLIENTS_EVERY - 0.1):
        core.speak_up(VIP, now)
        again = [item.form for item in drain(core)]
        # Everybody is told at once all the same.
        assert again[0] is Form.REQUEST
        assert Form.TO_CLIENT not in again
    core.speak_up(VIP, CLIENTS_EVERY)
    assert Form.TO_CLIENT in [item.form for item in drain(core)]


def many(count: int) -> list[IPv4Address]:
    return [IPv4Address(0x0A000001 + number) for number in range(count)]


def test_first_frames_of_all_ips_leave_before_the_second_of_any_and_asked_ones_before_all() -> None:
    clients = Clients()
    clients.note(many(300)[-1], DUAL, CLIENT, CLIENT_MAC, 0.0)
    core = Announcer(Contact(0.0, alone=True), clients)
    core.set_interfaces({0: DUAL}, 0.0)
    for ip in many(300):
        core.announce(ip, "ns/a", None, 0.0)
    sent = [item for _, item in frames(core, until=1.0)]
    assert sent[0].ip == many(300)[-1]
    assert {item.form for item in sent[:300]} == {Form.REQUEST}
    assert sent[300].form is not Form.REQUEST


@pytest.mark.parametrize(("rate", "limit"), [(RATE, 0.45), (0.0, 0.0)])
def test_the_first_frame_of_a_thousand_ips_is_paced_on_each_interface(
    rate: float, limit: float
) -> None:
    core = Announcer(Contact(0.0, alone=True), rate=rate)
    core.set_interfaces({0: ETH0, 1: ETH1}, 0.0)
    for ip in many(1_000):
        core.announce(ip, "ns/a", None, 0.0)
    first = [(at, item) for at, item in frames(core, until=1.0) if item.form is Form.REQUEST]
    for index in (0, 1):
        times = [at for at, item in first if item.interface.index == index][:1_000]
        assert len(times) == 1_000
        assert times[-1] <= limit
        if rate:
            assert sum(at == 0.0 for at in times) == BURST
            # Never faster than the bucket allows.
            assert all(BURST + at * rate >= count for count, at in enumerate(times, 1))


def test_a_turn_is_bounded() -> None:
    core = Announcer(Contact(0.0, alone=True), rate=0.0)
    core.set_interfaces({0: ETH0}, 0.0)
    for ip in many(1_000):
        core.announce(ip, "ns/a", None, 0.0)
    assert len(core.transmits()) == FRAMES_A_TURN
    assert core.deadline() == 0.0


def test_refresh_goes_on_until_the_withdrawal() -> None:
    core = Announcer(Contact(0.0, alone=True), refresh=10.0)
    core.set_interfaces({0: ETH0}, 0.0)
    core.announce(VIP, "ns/a", None, 0.0)
    assert rounds(core, until=35.0)[ROUNDS:] == pytest.approx([14.4, 24.4, 34.4])
    core.withdraw(VIP, "ns/a")
    assert rounds(core, until=100.0) == []


@pytest.mark.parametrize(("outage", "held"), [(0.5, False), (5.0, True)])
def test_a_link_that_was_down_counts_as_without_carrier(outage: float, held: bool) -> None:
    contact = Contact(0.0)
    contact.handle_exchange(0.0, True, 0.0)
    contact.events()
    core = Announcer(contact)
    core.set_interfaces({0: ETH0}, 0.0)
    core.announce(VIP, "ns/a", None, 0.0)
    drain(core)
    core.set_interfaces({}, 10.0)
    assert core.answers(VIP, 0) is DropReason.NOT_ON_INTERFACE
    core.set_interfaces({0: ETH0}, 10.0 + outage)
    assert core.answers(VIP, 0) is (DropReason.NO_CONTACT if held else None)
    assert bool(drain(core)) is not held


def test_every_form_has_a_frame_and_no_family_the_other_ones() -> None:
    v6_client = Client(IPv6Address("2001:db8::7"), None)
    lengths = {
        len(build(Announcement(VIP, DUAL, form)))
        for form in (Form.REQUEST, Form.REPLY, Form.REPLY_TO_ALL)
    }
    assert lengths == {60}
    assert len(build(Announcement(VIP, DUAL, Form.TO_CLIENT, Client(CLIENT, CLIENT_MAC)))) == 60
    assert len(build(Announcement(V6, DUAL, Form.ADVERTISEMENT))) == 86
    assert len(build(Announcement(V6, DUAL, Form.TO_CLIENT, v6_client))) == 86
    for wrong in (
        Announcement(VIP, DUAL, Form.TO_CLIENT, v6_client),
        Announcement(V6, DUAL, Form.TO_CLIENT, Client(CLIENT, None)),
        Announcement(V6, ETH0, Form.ADVERTISEMENT),
    ):
        with pytest.raises(ValueError, match="no such frame"):
            build(wrong)


def test_a_link_that_comes_up_gets_its_first_frame_twice() -> None:
    """The switch's port may not forward in the moment in which the cable comes alive."""
    core = announcer()
    core.announce(VIP, "ns/a", None, 0.0)
    core.set_interfaces({0: ETH0}, 0.0)
    times = rounds(core, until=60.0)
    assert times[:3] == pytest.approx([0.0, ECHO_AFTER, ECHO_AFTER + ROUND_INTERVAL])
    assert len(times) == ROUNDS + 1


def test_first_frames_on_all_links_leave_before_the_second_on_any() -> None:
    core = Announcer(Contact(0.0, alone=True), rate=0.0)
    core.set_interfaces({0: ETH0, 1: ETH1}, 0.0)
    ips = [IPv4Address(int(VIP) + n) for n in range(120)]
    for ip in ips:
        core.announce(ip, "default/web", None, 0.0)
    sent = drain(core)
    assert all(item.form is Form.REQUEST for item in sent[: 2 * len(ips)])
    assert {(item.ip, item.interface.index) for item in sent[: 2 * len(ips)]} == {
        (ip, index) for ip in ips for index in (0, 1)
    }


def test_changes_tell_when_answers_may_differ() -> None:
    core = announcer(ETH0)
    seen = [core.changes]

    def changed() -> bool:
        seen.append(core.changes)
        return seen[-1] != seen[-2]

    core.announce(VIP, "default/web", None, 0.0)
    assert changed()
    core.handle_timeout(5.0)
    core.transmits()
    assert not changed()
    core.withdraw(VIP, "default/other")
    core.withdraw(OTHER, "default/web")
    changed()
    core.withdraw(VIP, "default/web")
    assert changed()
    core.set_interfaces({0: link(0, carrier=False)}, 6.0)
    assert changed()
    core.withdraw_all()
    assert changed()


# ---- quiet, loud, released


def test_a_quiet_ip_is_answered_and_announced_by_nothing_but_loud() -> None:
    """Not by a link that comes back, nor by a release of contact."""
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0, quiet=True)
    assert core.answers(VIP, ETH0.index) is None
    core.set_interfaces({0: link(0, carrier=False)}, 1.0)
    core.set_interfaces({0: ETH0}, 1.5)
    core.speak_again(None, 2.0)
    assert frames(core, until=10.0) == []
    core.speak_up(VIP, 10.0)
    assert rounds(core, until=30.0)[1:] == pytest.approx(
        [10 + n * ROUND_INTERVAL for n in (1, 2, 3, 4)]
    )


def test_loud_begins_from_the_first_round_and_says_nothing_of_other_ips() -> None:
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0)
    frames(core, until=2.0)
    core.speak_up(OTHER, 2.0)
    assert drain(core) == []
    core.speak_up(VIP, 2.0)
    assert names(drain(core)) == ["192.0.2.100@eth0"]
    assert len(rounds(core, until=60.0)) == ROUNDS - 1


def test_a_hushed_ip_is_answered_but_announced_no_more() -> None:
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0)
    core.hush(VIP)
    assert frames(core, until=60.0) == []
    assert core.answers(VIP, ETH0.index) is None
    core.hush(OTHER)


def test_a_link_on_which_nobody_is_heard_is_answered_on_but_announced_on_no_more() -> None:
    """A node that is cut off may have lost the IP to an heir that it does not hear."""
    core = announcer(ETH0, ETH1)
    core.hears = lambda ifindex, now: ifindex != ETH0.index
    core.announce(VIP, "ns/a", None, 0.0)
    assert {item.interface.name for _, item in frames(core, until=10.0)} == {"eth1"}
    assert core.answers(VIP, ETH0.index) is None


def test_rounds_go_on_when_somebody_is_heard_again() -> None:
    core, deaf = announcer(ETH0), True
    core.hears = lambda ifindex, now: not deaf
    core.announce(VIP, "ns/a", None, 0.0)
    assert frames(core, until=ROUND_INTERVAL * 1.5) == []
    deaf = False
    assert len(rounds(core, until=60.0)) == ROUNDS - 2


def test_services_of_an_ip_are_those_it_is_answered_for() -> None:
    core = announcer(ETH0)
    core.announce(VIP, "ns/a", None, 0.0)
    core.announce(VIP, "ns/b", None, 0.0)
    assert core.services(VIP) == {"ns/a", "ns/b"}
    core.withdraw(VIP, "ns/a")
    assert core.services(VIP) == {"ns/b"}
    assert core.services(OTHER) == frozenset()


def test_a_released_link_is_silent_until_the_ip_is_ours_again() -> None:
    core = announcer(ETH0, ETH1)
    core.announce(VIP, "ns/a", None, 0.0)
    assert core.indexes(VIP) == (0, 1)
    changes = core.changes
    core.fall_silent(VIP, ETH0.index)
    assert core.changes != changes
    assert core.answers(VIP, ETH0.index) is DropReason.HANDED_OVER
    assert core.answers(VIP, ETH1.index) is None
    assert core.indexes(VIP) == (1,)
    assert core.interface_names(VIP) == ("eth1",)
    assert {item.interface.name for _, item in frames(core, until=60.0)} == {"eth1"}
    core.announce(VIP, "ns/a", None, 60.0)
    assert core.indexes(VIP) == (0, 1)
    assert names(drain(core)) == ["192.0.2.100@eth0", "192.0.2.100@eth1"]


def test_links_of_an_ip_are_those_it_is_answered_on_but_for_contact() -> None:
    """A hand-over waits for the winner also where contact holds our answers back just now."""
    core = Announcer(Contact(0.0))
    core.set_interfaces({0: ETH0, 1: link(1, carrier=False), 2: link(2)}, 0.0)
    assert core.indexes(VIP) == ()
    core.announce(VIP, "ns/a", frozenset({"eth0", "eth1"}), 0.0)
    assert core.answers(VIP, 0) is DropReason.NO_CONTACT
    assert core.indexes(VIP) == (0,)


def test_clients_that_ask_only_after_the_start_are_told_too() -> None:
    """The table is empty when the announcer is made, as in the daemon."""
    clients = Clients()
    core = Announcer(Contact(0.0, alone=True), clients)
    near = replace(ETH0, addresses=frozenset({ip_interface("192.0.2.1/24")}))
    core.set_interfaces({0: near}, 0.0)
    clients.note(VIP, near, OTHER, b"\x02\0\0\0\0\x09", 1.0)
    core.announce(VIP, "ns/a", None, 2.0)
    assert Form.TO_CLIENT in {item.form for item in drain(core)}
