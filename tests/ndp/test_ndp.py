"""NDP: every cell of the responder's table, MetalLB's golden frames, and scapy as the oracle."""

from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from link.checksum import internet_checksum
from link.drop import DecodeError, DropReason
from link.frame import EthernetFrame
from link.frame import encode as encode_frame
from link.mac import format_mac, parse_mac
from link.resolution import Question, Told
from ndp.groups import ALL_NODES, SolicitedNodeGroups, multicast_mac, solicited_node
from ndp.packet import AdvertFlags, ICMPv6Type, NeighborMessage, decode, encode
from ndp.responder import read, respond
from ndp.unsolicited import advertisement, solicitation

from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap

GOLDEN = Path(__file__).parents[1] / "golden" / "metallb-l2-golden.pcap"
OWN, PEER = parse_mac("02:00:00:00:00:0a"), parse_mac("02:00:00:00:00:0c")
LINK_LOCAL = IPv6Address("fe80::ff:fe00:a")
VIP, PEER_IP = IPv6Address("2001:db8::1:64"), IPv6Address("2001:db8::c")
GROUP = solicited_node(VIP)
NOBODY = IPv6Address("::")

macs = st.binary(min_size=6, max_size=6)
addresses = st.ip_addresses(v=6)
unicast = addresses.filter(lambda ip: not ip.is_multicast)
messages = st.one_of(
    st.builds(
        NeighborMessage,
        st.just(ICMPv6Type.SOLICITATION),
        addresses,
        addresses,
        unicast,
        st.none() | macs,
        st.just(AdvertFlags.NONE),
    ),
    st.builds(
        NeighborMessage,
        st.just(ICMPv6Type.ADVERTISEMENT),
        addresses,
        addresses,
        unicast,
        st.none() | macs,
        st.integers(0, 7).map(lambda bits: AdvertFlags(bits << 29)),
    ),
)


def scapys(message: NeighborMessage) -> bytes:
    """The same message as scapy writes it."""
    link = message.link_address and format_mac(message.link_address)
    target = str(message.target)
    if message.type is ICMPv6Type.SOLICITATION:
        body = ICMPv6ND_NS(tgt=target)
        option = ICMPv6NDOptSrcLLAddr(lladdr=link)
    else:
        bits = int(message.flags) >> 29
        body = ICMPv6ND_NA(tgt=target, R=bits >> 2, S=bits >> 1 & 1, O=bits & 1)
        option = ICMPv6NDOptDstLLAddr(lladdr=link)
    header = IPv6(src=str(message.source), dst=str(message.destination), hlim=255)
    return bytes(header / body / option if link else header / body)


@given(messages)
def test_codec_agrees_with_scapy(message: NeighborMessage) -> None:
    assert encode(message) == scapys(message)
    assert decode(scapys(message)) == message


@given(st.binary(max_size=120), addresses, addresses)
def test_a_message_with_its_checksum_sums_to_zero(
    body: bytes, source: IPv6Address, destination: IPv6Address
) -> None:
    zeroed = b"\0\0" + body
    checksum = internet_checksum(source.packed, destination.packed, zeroed)
    signed = checksum.to_bytes(2, "big") + body
    assert internet_checksum(source.packed, destination.packed, signed) == 0


def ask(
    message: NeighborMessage | None = None, dst: bytes | None = None, src: bytes = PEER
) -> bytes:
    message = message or NeighborMessage(ICMPv6Type.SOLICITATION, PEER_IP, GROUP, VIP, PEER)
    if dst is None:
        multicast = message.destination.is_multicast
        dst = multicast_mac(message.destination) if multicast else OWN
    return encode_frame(EthernetFrame(dst, src, 0x86DD, encode(message)))


def solicit(
    source: IPv6Address = PEER_IP,
    destination: IPv6Address = GROUP,
    target: IPv6Address = VIP,
    link: bytes | None = PEER,
) -> NeighborMessage:
    return NeighborMessage(ICMPv6Type.SOLICITATION, source, destination, target, link)


def broken(at: int, value: int) -> bytes:
    """A good question with one byte of its IPv6 payload changed and the checksum made right."""
    data = bytearray(ask()[14:])
    data[at] = value
    data[42:44] = b"\0\0"
    data[42:44] = internet_checksum(
        bytes(data[8:24]), bytes(data[24:40]), bytes(data[40:])
    ).to_bytes(2, "big")
    return ask()[:14] + bytes(data)


def owned(ip: IPv6Address) -> DropReason | None:
    return None if ip == VIP else DropReason.NOT_ANNOUNCED


def answer(frame: bytes) -> bytes | DropReason:
    return respond(frame, OWN, LINK_LOCAL, owned)


@pytest.mark.parametrize(
    ("question", "asker"),
    [
        (ask(), PEER),
        (ask(solicit(link=None)), PEER),
        (ask(solicit(destination=VIP)), PEER),
        (ask(solicit(destination=VIP, link=None)), PEER),
        (ask(dst=OWN), PEER),
        (ask(src=parse_mac("02:00:00:00:00:77")), PEER),
    ],
    ids=["multicast", "no option", "unicast", "unicast, no option", "unicast MAC", "option wins"],
)
def test_questions_are_answered_to_the_asker(question: bytes, asker: bytes) -> None:
    reply = answer(question)
    assert isinstance(reply, bytes)
    assert (reply[:6], reply[6:12]) == (asker, OWN)
    assert decode(reply[14:]) == NeighborMessage(
        ICMPv6Type.ADVERTISEMENT,
        LINK_LOCAL,
        PEER_IP,
        VIP,
        OWN,
        AdvertFlags.SOLICITED | AdvertFlags.OVERRIDE,
    )


def test_duplicate_address_detection_is_told_through_all_nodes() -> None:
    reply = answer(ask(solicit(source=NOBODY, link=None)))
    assert isinstance(reply, bytes)
    assert reply[:6] == parse_mac("33:33:00:00:00:01")
    message = decode(reply[14:])
    assert (message.destination, message.flags) == (ALL_NODES, AdvertFlags.OVERRIDE)
    assert (message.target, message.link_address) == (VIP, OWN)


ADVERTISEMENT = NeighborMessage(ICMPv6Type.ADVERTISEMENT, PEER_IP, ALL_NODES, VIP, PEER)
BARE = ADVERTISEMENT._replace(destination=PEER_IP, link_address=None)
TOLD = DropReason.NEIGHBOR_ADVERTISEMENT


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (ask(), Question(VIP, PEER_IP, PEER)),
        (ask(solicit(link=None), src=OWN[:5] + b"\x77"), Question(VIP, PEER_IP, OWN[:5] + b"\x77")),
        (ask(solicit(destination=VIP)), Question(VIP, PEER_IP, PEER)),
        (ask(solicit(source=NOBODY, link=None)), Question(VIP, NOBODY, PEER)),
        (ask(ADVERTISEMENT), Told(VIP, PEER, ALL_NODES, TOLD)),
        (ask(ADVERTISEMENT, src=OWN[:5] + b"\x77"), Told(VIP, PEER, ALL_NODES, TOLD)),
        (ask(BARE, src=OWN[:5] + b"\x77"), Told(VIP, OWN[:5] + b"\x77", PEER_IP, TOLD)),
    ],
)
def test_what_a_frame_asks_or_tells(frame: bytes, expected: object) -> None:
    found = read(frame, OWN)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (ask(solicit(target=PEER_IP, destination=solicited_node(PEER_IP))), "NOT_ANNOUNCED"),
        (ask(ADVERTISEMENT), "NEIGHBOR_ADVERTISEMENT"),
        (ask(dst=parse_mac("02:00:00:00:00:99")), "ETHERNET_DESTINATION"),
        (ask(dst=b"\xff" * 6), "ETHERNET_DESTINATION"),
        (ask(solicit(destination=LINK_LOCAL)), "IP_DESTINATION"),
        (ask(solicit(link=OWN)), "OWN_FRAME"),
        (ask(src=OWN), "OWN_FRAME"),
        (ask(solicit(link=b"\x33" * 6)), "SENDER_ADDRESS"),
        (ask(solicit(link=None), src=b"\x33" * 6), "SENDER_ADDRESS"),
        (ask(solicit(source=ALL_NODES)), "SENDER_ADDRESS"),
        (ask(solicit(source=NOBODY)), "SENDER_ADDRESS"),
        (ask(solicit(source=NOBODY, destination=VIP, link=None)), "SENDER_ADDRESS"),
        (broken(0, 0x40), "IP_VERSION"),
        (broken(6, 17), "NEXT_HEADER"),
        (broken(7, 254), "HOP_LIMIT"),
        (broken(40, 133), "MESSAGE_TYPE"),
        (broken(41, 1), "MESSAGE_CODE"),
        (broken(48, 0xFF), "TARGET_ADDRESS"),
        (broken(65, 0), "OPTION"),
        (broken(65, 2), "OPTION"),
        (broken(5, 23), "TRUNCATED"),
        (broken(5, 33), "TRUNCATED"),
        (ask()[:-9], "TRUNCATED"),
        (ask()[:77], "TRUNCATED"),
        (ask()[:13], "TRUNCATED"),
        (ask()[:12] + b"\x08\x06" + ask()[14:], "ETHERTYPE"),
    ],
)
def test_what_gets_no_answer(frame: bytes, expected: str) -> None:
    assert answer(frame) is DropReason[expected]


@pytest.mark.parametrize("at", range(8, 72))
def test_a_flipped_bit_behind_the_header_is_found_by_the_checksum(at: int) -> None:
    frame = bytearray(ask())
    frame[14 + at] ^= 0x10
    assert isinstance(answer(bytes(frame)), DropReason)


def test_endless_options_are_cut_short() -> None:
    message = bytearray(encode(solicit(link=None)))
    message += b"\x0e\x01\0\0\0\0\0\0" * 40
    message[4:6] = (24 + 8 * 40).to_bytes(2, "big")
    message[42:44] = b"\0\0"
    checksum = internet_checksum(PEER_IP.packed, GROUP.packed, bytes(message[40:]))
    message[42:44] = checksum.to_bytes(2, "big")
    with pytest.raises(DecodeError) as caught:
        decode(bytes(message))
    assert caught.value.reason is DropReason.OPTION


def test_every_golden_neighbour_message_reads_as_scapy_reads_it() -> None:
    read = 0
    for packet in rdpcap(str(GOLDEN)):
        theirs = packet.getlayer(ICMPv6ND_NS) or packet.getlayer(ICMPv6ND_NA)
        if theirs is None:
            continue
        ours = decode(bytes(packet)[14:])
        option = packet.getlayer(ICMPv6NDOptSrcLLAddr) or packet.getlayer(ICMPv6NDOptDstLLAddr)
        assert str(ours.target) == theirs.tgt
        assert str(ours.source) == packet[IPv6].src
        assert (ours.link_address and format_mac(ours.link_address)) == (option and option.lladdr)
        # The first 4 bytes hold the flow label, which the sender's kernel chose.
        assert encode(ours)[4:] == bytes(packet)[18:]
        read += 1
    assert read > 10


def test_the_unsolicited_advertisement_is_metallbs_but_for_the_flow_label() -> None:
    theirs = [
        bytes(packet)
        for packet in rdpcap(str(GOLDEN))
        if ICMPv6ND_NA in packet and packet[IPv6].dst == "ff02::1" and packet.src == format_mac(OWN)
    ]
    assert theirs
    for frame in theirs:
        ours = advertisement(OWN, LINK_LOCAL, decode(frame[14:]).target)
        assert (ours[:14], ours[18:]) == (frame[:14], frame[18:])


@given(macs, unicast, unicast)
def test_filled_in_advertisement_is_the_one_scapy_builds(
    mac: bytes, source: IPv6Address, ip: IPv6Address
) -> None:
    message = NeighborMessage(
        ICMPv6Type.ADVERTISEMENT, source, ALL_NODES, ip, mac, AdvertFlags.OVERRIDE
    )
    header = bytes(Ether(dst="33:33:00:00:00:01", src=format_mac(mac), type=0x86DD))
    assert advertisement(mac, source, ip) == header + scapys(message)


@given(macs, unicast, unicast, st.none() | macs)
def test_filled_in_solicitation_is_the_one_scapy_builds(
    mac: bytes, ip: IPv6Address, client: IPv6Address, client_mac: bytes | None
) -> None:
    destination = client if client_mac else solicited_node(client)
    to = format_mac(client_mac or multicast_mac(destination))
    message = NeighborMessage(ICMPv6Type.SOLICITATION, ip, destination, client, mac)
    header = bytes(Ether(dst=to, src=format_mac(mac), type=0x86DD))
    assert solicitation(mac, ip, client, client_mac) == header + scapys(message)


@given(st.binary(max_size=160))
def test_any_bytes_are_answered_or_dropped_with_a_reason(data: bytes) -> None:
    assert isinstance(read(data, OWN), Question | Told | DropReason)
    assert isinstance(answer(data), bytes | DropReason)


@given(st.integers(14, 85), st.integers(0, 255))
def test_any_changed_byte_is_answered_or_dropped(at: int, value: int) -> None:
    assert isinstance(answer(broken(at - 14, value)), bytes | DropReason)


def test_groups_are_counted() -> None:
    groups = SolicitedNodeGroups()
    one, twin, other = (IPv6Address(text) for text in ("2001:db8::1", "fd00::1", "2001:db8::2"))
    assert groups.replace([one, twin])
    assert groups.groups() == {IPv6Address("ff02::1:ff00:1")}
    assert not groups.replace([twin])
    assert groups.replace([twin, other])
    assert groups.replace([other])
    assert groups.groups() == {IPv6Address("ff02::1:ff00:2")}
    assert groups.replace([])
    assert groups.groups() == frozenset()


@given(st.lists(st.frozensets(st.integers(0, 6).map(lambda n: IPv6Address(n << 23)))))
def test_groups_are_those_of_the_last_set(steps: list[frozenset[IPv6Address]]) -> None:
    groups = SolicitedNodeGroups()
    for ips in steps:
        groups.replace(ips)
        assert groups.groups() == {solicited_node(ip) for ip in ips}
