"""What every kind of frame gets, who hears of it, and for how long that is remembered."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arp import gratuitous
from arp import responder as arp
from link import frame as ethernet
from link.address import IPAddress
from link.drop import DropReason
from link.frame import LONGEST_FRAME
from link.interface import Interface
from link.mac import BROADCAST
from link.resolution import Question
from ndp import responder as ndp
from ndp.groups import ALL_NODES, multicast_mac
from ndp.packet import ICMPv6Type, NeighborMessage
from ndp.packet import encode as encode_message
from ndp.unsolicited import advertisement, solicitation
from ownership.announcing.announcer import Announcer
from ownership.announcing.answering import (
    LONGEST_REMEMBERED,
    MOST_REMEMBERED,
    REMEMBERED,
    Answer,
    Answering,
    Outcome,
)
from ownership.announcing.clients import Clients
from ownership.announcing.family import FAMILIES, IPV4, IPV6
from ownership.contact import Contact
from ownership.io import Client

ETH0, ETH1 = 2, 3
OWN, OWN1, OWN_BRIDGE = (b"\x02\0\0\0\0" + bytes([last]) for last in (0x0A, 0x0B, 0x0C))
PEER, NODE, STRANGER = (b"\x02\0\0\0\1" + bytes([last]) for last in (0x0A, 0x0B, 0x0C))
OURS, OTHERS, NOBODYS, ELSEWHERE = (IPv4Address(f"10.0.9.{last}") for last in range(1, 5))
"""Answered for here; another node's; of no service; answered for, but not on this link."""
OURS6, OTHERS6, NOBODYS6 = (IPv6Address(f"2001:db8::9:{last}") for last in range(1, 4))
SERVICE_IPS: frozenset[IPAddress] = frozenset({OURS, OTHERS, ELSEWHERE, OURS6, OTHERS6})
CLIENT, CLIENT6 = IPv4Address("10.0.1.1"), IPv6Address("2001:db8::1:1")
LINK_LOCAL = IPv6Address("fe80::a")
SUBNETS = frozenset(map(ip_interface, ("10.0.0.1/16", "fe80::a/64", "2001:db8::1/64")))
INTERFACES = {
    ETH0: Interface(ETH0, "eth0", OWN, True, True, True, False, addresses=SUBNETS),
    ETH1: Interface(ETH1, "eth1", OWN1, True, True, True, False),
}
NOW = 5.0


class CountingAnnouncer(Announcer):
    """Counts how often it is asked whether it answers: what is remembered is not asked."""

    asked = 0

    def answers(self, ip: IPAddress, ifindex: int) -> DropReason | None:
        self.asked += 1
        return super().answers(ip, ifindex)


@dataclass
class Rig:
    """A node with two links, of which the second has no address."""

    clients: Clients = field(default_factory=Clients)
    announced_to_us: list[tuple[IPAddress, int, bytes, float]] = field(default_factory=list)
    told_alone: list[bool] = field(default_factory=list)
    confirmed: list[tuple[IPAddress, int, IPAddress, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.announcer = CountingAnnouncer(Contact(0.0, alone=True), self.clients)
        self.answering = Answering(self.announcer, self.clients)
        self.answering.overhearer = self
        self.answering.set_service_ips(SERVICE_IPS)
        self.take(INTERFACES)
        for ip, names in ((OURS, None), (OURS6, None), (ELSEWHERE, frozenset({"eth1"}))):
            self.announcer.announce(ip, "a/service", names, 0.0, quiet=True)

    def take(self, interfaces: dict[int, Interface]) -> None:
        self.answering.set_interfaces(interfaces, frozenset({OWN, OWN1, OWN_BRIDGE}))
        self.announcer.set_interfaces(interfaces, 0.0)

    def is_node(self, mac: bytes) -> bool:
        return mac == NODE

    def handle_announcement(
        self, ip: IPAddress, ifindex: int, mac: bytes, now: float, alone: bool
    ) -> None:
        self.announced_to_us.append((ip, ifindex, mac, now))
        self.told_alone.append(alone)

    def handle_client(self, ip: IPAddress, ifindex: int, client: IPAddress, now: float) -> None:
        self.confirmed.append((ip, ifindex, client, now))

    def get(
        self, data: bytes, now: float = NOW, *, link: int = ETH0, other_host: bool = False
    ) -> Outcome:
        version = 6 if data[12:14] == b"\x86\xdd" else 4
        ear = self.answering.ear(link, version)
        assert ear is not None
        return self.answering.handle_frame(ear, data, other_host, now)


def ask(ip: IPAddress = OURS, mac: bytes = PEER, client: IPAddress | None = None) -> bytes:
    """A question, to all or to the group of the IP."""
    if isinstance(ip, IPv6Address):
        client = client or CLIENT6
        assert isinstance(client, IPv6Address)
        return solicitation(mac, client, ip, None)
    client = client or CLIENT
    assert isinstance(client, IPv4Address)
    return gratuitous.request_to_client(mac, client, ip, None)


def arp_reply(ip: IPv4Address, to: IPv4Address, mac: bytes = PEER) -> bytes:
    """What the host with this MAC answers to a question from `to`, which this node has asked."""
    return arp.reply(mac, Question(ip, to, OWN))


def ndp_reply(ip: IPv6Address, to: IPv6Address, mac: bytes = PEER) -> bytes:
    return ndp.reply(mac, ip, Question(ip, to, OWN))


def bare_advertisement(ip: IPv6Address, source: bytes) -> bytes:
    """One without the option that names the MAC."""
    message = NeighborMessage(ICMPv6Type.ADVERTISEMENT, CLIENT6, ALL_NODES, ip)
    return ethernet.encode(
        ethernet.EthernetFrame(multicast_mac(ALL_NODES), source, 0x86DD, encode_message(message))
    )


def from_mac(data: bytes, mac: bytes) -> bytes:
    """The frame with another source in its Ethernet header."""
    return data[:6] + mac + data[12:]


def to_mac(data: bytes, mac: bytes) -> bytes:
    return mac + data[6:]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (ask(), arp.reply(OWN, Question(OURS, CLIENT, PEER))),
        (to_mac(ask(), OWN), arp.reply(OWN, Question(OURS, CLIENT, PEER))),
        (ask(client=IPv4Address(0)), arp.reply(OWN, Question(OURS, IPv4Address(0), PEER))),
        (ask(mac=NODE), arp.reply(OWN, Question(OURS, CLIENT, NODE))),
        (ask(OURS6), ndp.reply(OWN, LINK_LOCAL, Question(OURS6, CLIENT6, PEER))),
        (
            solicitation(PEER, CLIENT6, OURS6, OWN),
            ndp.reply(OWN, LINK_LOCAL, Question(OURS6, CLIENT6, PEER)),
        ),
    ],
    ids=["broadcast", "unicast", "probe", "of a node", "by group", "unicast, IPv6"],
)
def test_a_question_about_an_ip_of_ours_is_answered(data: bytes, expected: bytes) -> None:
    rig = Rig()
    outcome = rig.get(data)
    assert isinstance(outcome, Answer)
    assert outcome.frame == expected
    ip = OURS6 if data[12:14] == b"\x86\xdd" else OURS
    assert outcome.stats is rig.answering.traffic[ip]
    assert (rig.announced_to_us, rig.confirmed) == ([], [])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (ask(OTHERS), DropReason.NOT_ANNOUNCED),
        (ask(OTHERS6), DropReason.NOT_ANNOUNCED),
        (ask(NOBODYS), DropReason.NOT_ANNOUNCED),
        (ask(ELSEWHERE), DropReason.NOT_ON_INTERFACE),
        (to_mac(ask(), STRANGER), DropReason.ETHERNET_DESTINATION),
        (to_mac(ask(OURS6), BROADCAST), DropReason.ETHERNET_DESTINATION),
        (ask(mac=OWN), DropReason.OWN_FRAME),
        (ask(mac=OWN_BRIDGE), DropReason.OWN_FRAME),
        (from_mac(ask(mac=OWN_BRIDGE), PEER), DropReason.OWN_FRAME),
        (from_mac(ask(OURS6, mac=OWN_BRIDGE), PEER), DropReason.OWN_FRAME),
        (from_mac(ask(mac=BROADCAST), PEER), DropReason.SENDER_ADDRESS),
        (gratuitous.request(OWN_BRIDGE, OTHERS), DropReason.OWN_FRAME),
        (advertisement(OWN_BRIDGE, LINK_LOCAL, OTHERS6), DropReason.OWN_FRAME),
        (ask()[:30], DropReason.TRUNCATED),
        (ask(OURS6)[:60], DropReason.TRUNCATED),
        (ask().ljust(LONGEST_FRAME, b"\0"), DropReason.OVERSIZED),
        (b"", DropReason.TRUNCATED),
    ],
)
def test_what_gets_no_answer_and_nobody_hears_of(data: bytes, expected: DropReason) -> None:
    rig = Rig()
    assert rig.get(data) is expected
    assert (rig.announced_to_us, rig.confirmed) == ([], [])


@pytest.mark.parametrize(
    "data", [ask(), ask(OURS6), gratuitous.request(PEER, OTHERS), arp_reply(OTHERS, CLIENT)]
)
def test_what_is_for_another_host_is_neither_answered_nor_heard(data: bytes) -> None:
    rig = Rig()
    assert rig.get(data, other_host=True) is DropReason.OTHER_HOST
    assert len(rig.clients) == 0
    assert rig.announced_to_us == []


@pytest.mark.parametrize(
    ("data", "ip", "mac", "alone"),
    [
        (gratuitous.request(PEER, OTHERS), OTHERS, PEER, False),
        (gratuitous.reply(PEER, OTHERS), OTHERS, PEER, False),
        (gratuitous.reply_to_all(PEER, OTHERS), OTHERS, PEER, False),
        (gratuitous.reply(PEER, OURS), OURS, PEER, False),
        (from_mac(gratuitous.reply(PEER, OTHERS), STRANGER), OTHERS, PEER, False),
        (arp_reply(OTHERS, IPv4Address("10.0.0.1")), OTHERS, PEER, True),
        (arp_reply(OTHERS, OURS), OTHERS, PEER, True),
        (advertisement(PEER, CLIENT6, OTHERS6), OTHERS6, PEER, False),
        (from_mac(advertisement(PEER, CLIENT6, OTHERS6), STRANGER), OTHERS6, PEER, False),
        (bare_advertisement(OTHERS6, STRANGER), OTHERS6, STRANGER, False),
        (ndp_reply(OTHERS6, LINK_LOCAL), OTHERS6, PEER, True),
    ],
)
def test_who_tells_of_a_service_ip_is_overheard(
    data: bytes, ip: IPAddress, mac: bytes, alone: bool
) -> None:
    """And whether it told us alone, who had asked."""
    rig = Rig()
    assert rig.get(data) is DropReason.ANNOUNCEMENT
    assert rig.get(data, NOW + 0.1) is DropReason.ANNOUNCEMENT, "an announcement is not remembered"
    assert rig.announced_to_us == [(ip, ETH0, mac, NOW), (ip, ETH0, mac, NOW + 0.1)]
    assert rig.told_alone == [alone, alone]
    assert rig.confirmed == []
    assert len(rig.clients) == 0


@pytest.mark.parametrize(
    "data",
    [
        from_mac(gratuitous.reply(OWN_BRIDGE, OTHERS), PEER),
        from_mac(advertisement(OWN_BRIDGE, LINK_LOCAL, OTHERS6), PEER),
    ],
)
def test_what_a_link_of_our_own_tells_is_not_overheard(data: bytes) -> None:
    rig = Rig()
    assert rig.get(data) is DropReason.ANNOUNCEMENT
    assert rig.announced_to_us == []


@pytest.mark.parametrize(
    ("data", "expected", "confirmed"),
    [
        (arp_reply(CLIENT, OURS), DropReason.ARP_REPLY, (OURS, ETH0, CLIENT, NOW)),
        (arp_reply(CLIENT, OTHERS), DropReason.ARP_REPLY, (OTHERS, ETH0, CLIENT, NOW)),
        (arp_reply(CLIENT, NOBODYS), DropReason.ARP_REPLY, None),
        (gratuitous.reply(PEER, NOBODYS), DropReason.ARP_REPLY, None),
        (gratuitous.request(PEER, NOBODYS), DropReason.ANNOUNCEMENT, None),
        (
            ndp_reply(CLIENT6, OURS6),
            DropReason.NEIGHBOR_ADVERTISEMENT,
            (OURS6, ETH0, CLIENT6, NOW),
        ),
        (ndp_reply(CLIENT6, NOBODYS6), DropReason.NEIGHBOR_ADVERTISEMENT, None),
        (advertisement(PEER, CLIENT6, NOBODYS6), DropReason.NEIGHBOR_ADVERTISEMENT, None),
    ],
)
def test_a_client_that_we_asked_from_a_service_ip_confirms_it(
    data: bytes, expected: DropReason, confirmed: Any
) -> None:
    rig = Rig()
    assert rig.get(data) is expected
    assert rig.confirmed == ([] if confirmed is None else [confirmed])
    assert rig.announced_to_us == []


@pytest.mark.parametrize(
    "data", [ask(), ask(OTHERS6), gratuitous.request(PEER, OTHERS), arp_reply(CLIENT, OURS)]
)
def test_nobody_has_to_listen(data: bytes) -> None:
    rig, deaf = Rig(), Rig()
    deaf.answering.overhearer = None
    assert deaf.get(data) == rig.get(data)
    assert len(deaf.clients) == len(rig.clients)


@pytest.mark.parametrize(
    ("data", "known"),
    [
        (ask(OURS), (OURS, Client(CLIENT, PEER))),
        (ask(OTHERS), (OTHERS, Client(CLIENT, PEER))),
        (ask(OTHERS6), (OTHERS6, Client(CLIENT6, PEER))),
        (from_mac(ask(), STRANGER), (OURS, Client(CLIENT, PEER))),
        (ask(NOBODYS), None),
        (ask(mac=NODE), None),
        (ask(OURS6, mac=NODE), None),
        (from_mac(ask(mac=OWN_BRIDGE), PEER), None),
        (to_mac(ask(), STRANGER), None),
        (ask(client=IPv4Address(0)), None),
    ],
)
def test_who_asks_for_a_service_ip_is_its_client_whoever_owns_it(data: bytes, known: Any) -> None:
    rig = Rig()
    rig.get(data)
    assert len(rig.clients) == (known is not None)
    if known is not None:
        ip, client = known
        assert rig.clients.of(ip, INTERFACES[ETH0], NOW) == [client]


def test_each_link_answers_with_its_own_mac() -> None:
    rig = Rig()
    outcome = rig.get(ask(ELSEWHERE), link=ETH1)
    assert isinstance(outcome, Answer)
    assert outcome.frame == arp.reply(OWN1, Question(ELSEWHERE, CLIENT, PEER))
    rig.get(gratuitous.request(PEER, OTHERS), link=ETH1)
    assert rig.announced_to_us == [(OTHERS, ETH1, PEER, NOW)]


def test_a_link_speaks_ndp_while_it_has_an_address_to_speak_from() -> None:
    rig = Rig()
    ear = rig.answering.ear
    assert [ear(ETH0, version) is not None for version in FAMILIES] == [True, True]
    assert [ear(ETH1, version) is not None for version in FAMILIES] == [True, False]
    assert ear(99, 4) is None
    rig.take({ETH0: replace(INTERFACES[ETH0], addresses=frozenset())})
    assert [ear(ETH0, version) is not None for version in FAMILIES] == [True, False]
    assert ear(ETH1, 4) is None


# ---- what is remembered


def repeated(rig: Rig, first: Outcome, data: bytes, now: float) -> bool:
    """Ask again in the same bytes; tell whether the answer came from memory."""
    asked = rig.announcer.asked
    assert rig.get(data, now) == first
    return rig.announcer.asked == asked


@pytest.mark.parametrize("ip", [OURS, OTHERS, OURS6, OTHERS6])
def test_what_a_question_gets_is_remembered_for_a_while(ip: IPAddress) -> None:
    rig, data = Rig(), ask(ip)
    first = rig.get(data)
    assert repeated(rig, first, data, NOW + 0.99 * REMEMBERED)
    assert not repeated(rig, first, data, NOW + REMEMBERED)
    assert repeated(rig, first, data, NOW + 1.99 * REMEMBERED)


def test_after_that_while_the_client_is_heard_again() -> None:
    rig = Rig()
    for number in range(50):
        rig.get(ask(), NOW + number * REMEMBERED / 10)
    assert rig.clients.lately(ETH0, NOW + 4 * REMEMBERED + 60.0) == [CLIENT]


@pytest.mark.parametrize("ip", [OURS, OURS6])
def test_nothing_is_remembered_past_a_change_of_what_is_answered(ip: IPAddress) -> None:
    rig, data = Rig(), ask(ip)
    assert isinstance(rig.get(data), Answer)
    rig.announcer.fall_silent(ip, ETH0)
    assert rig.get(data) is DropReason.HANDED_OVER
    rig.announcer.withdraw(ip, "a/service")
    assert rig.get(data) is DropReason.NOT_ANNOUNCED
    rig.announcer.announce(ip, "a/service", None, NOW, quiet=True)
    assert isinstance(rig.get(data), Answer)


def test_the_next_frame_already_gets_what_follows_from_the_one_before() -> None:
    rig = Rig()

    class Loser(Rig):
        def handle_announcement(
            self, ip: IPAddress, ifindex: int, mac: bytes, now: float, alone: bool
        ) -> None:
            rig.announcer.fall_silent(ip, ifindex)

    rig.answering.overhearer = Loser()
    assert isinstance(rig.get(ask()), Answer)
    assert rig.get(gratuitous.request(PEER, OURS)) is DropReason.ANNOUNCEMENT
    assert rig.get(ask()) is DropReason.HANDED_OVER


def test_a_new_mac_is_answered_with_at_once() -> None:
    rig = Rig()
    rig.get(ask())
    rig.take({ETH0: replace(INTERFACES[ETH0], mac=OWN_BRIDGE)})
    outcome = rig.get(ask())
    assert isinstance(outcome, Answer)
    assert outcome.frame == arp.reply(OWN_BRIDGE, Question(OURS, CLIENT, PEER))


def test_what_is_remembered_is_not_for_another_host() -> None:
    rig = Rig()
    assert isinstance(rig.get(ask()), Answer)
    assert rig.get(ask(), other_host=True) is DropReason.OTHER_HOST


@pytest.mark.parametrize(
    ("length", "remembered"), [(LONGEST_REMEMBERED, True), (LONGEST_REMEMBERED + 1, False)]
)
def test_a_long_question_is_answered_and_not_remembered(length: int, remembered: bool) -> None:
    rig, data = Rig(), ask().ljust(length, b"\0")
    first = rig.get(data)
    assert isinstance(first, Answer)
    assert repeated(rig, first, data, NOW) is remembered


def test_no_storm_of_different_questions_is_remembered() -> None:
    """Of both families of a link together."""
    rig = Rig()
    early = ask(client=CLIENT + 1), ask(OURS6, client=CLIENT6 + 1)
    outcomes = [rig.get(data) for data in early]
    for number in range(2, MOST_REMEMBERED):
        rig.get(ask(client=CLIENT + number))
    assert all(repeated(rig, *pair, NOW) for pair in zip(outcomes, early, strict=True))
    rig.get(ask(OTHERS))
    assert not any(repeated(rig, *pair, NOW) for pair in zip(outcomes, early, strict=True))


# ---- what is counted


def test_traffic_is_kept_for_service_ips_alone() -> None:
    rig = Rig()
    first = rig.get(ask())
    other = rig.get(ask(client=CLIENT + 1))
    assert isinstance(first, Answer)
    assert isinstance(other, Answer)
    assert first.stats is other.stats
    rig.get(ask(OTHERS))
    assert rig.answering.traffic.keys() == {OURS}
    rig.answering.set_service_ips(SERVICE_IPS - {OURS})
    assert rig.answering.traffic == {}
    assert len(rig.clients) == 1, "that of the IP that has gone is forgotten"


@pytest.mark.parametrize(
    "data",
    [
        ask(),
        ask(OTHERS),
        ask(OURS6),
        gratuitous.request(PEER, OTHERS),
        gratuitous.reply(PEER, OTHERS),
        arp_reply(CLIENT, OURS),
        advertisement(PEER, CLIENT6, OTHERS6),
        ndp_reply(CLIENT6, OURS6),
    ],
)
def test_a_frame_is_decoded_once(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []

    def counting(real: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def decode(payload: bytes) -> Any:
            decoded.append(payload)
            return real(payload)

        return decode

    for module in (arp, ndp):
        monkeypatch.setattr(module, "decode", counting(module.decode))
    rig = Rig()
    rig.get(data)
    assert decoded == [data[14:]]
    rig.get(data, NOW + 0.1)
    assert len(decoded) == (1 if data in (ask(), ask(OTHERS), ask(OURS6)) else 2)


@given(st.binary(max_size=160), st.sampled_from([IPV4, IPV6]), st.booleans())
def test_any_bytes_get_an_answer_or_a_reason(data: bytes, family: Any, other_host: bool) -> None:
    rig = Rig()
    ear = rig.answering.ear(ETH0, family.version)
    assert ear is not None
    assert isinstance(rig.answering.handle_frame(ear, data, other_host, NOW), Answer | DropReason)


def test_each_family_asks_from_an_address_of_the_link() -> None:
    eth0, bare = INTERFACES.values()
    assert IPV4.ask(eth0, OTHERS, None) == ask(OTHERS, OWN, IPv4Address("10.0.0.1"))
    assert IPV4.ask(bare, OTHERS, None) == ask(OTHERS, OWN1, IPv4Address(0))
    assert IPV6.ask(eth0, OTHERS6, PEER) == solicitation(OWN, LINK_LOCAL, OTHERS6, PEER)
    assert IPV6.ask(bare, OTHERS6, None) is None
