"""ARP: every cell of the responder's table, MetalLB's golden frames, and scapy as the oracle."""

from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arp.gratuitous import gratuitous
from arp.packet import ArpPacket, Operation, decode, encode
from arp.responder import read, respond
from link.drop import DecodeError, DropReason
from link.mac import BROADCAST, ZERO, format_mac, parse_mac
from link.resolution import Question, Told

from scapy.layers.l2 import ARP, Ether
from scapy.utils import rdpcap

GOLDEN = Path(__file__).parents[1] / "golden" / "metallb-l2-golden.pcap"
OWN = parse_mac("02:00:00:00:00:0a")
PEER = parse_mac("02:00:00:00:00:0c")
VIP = IPv4Address("192.0.2.100")
PEER_IP = IPv4Address("192.0.2.2")

macs = st.binary(min_size=6, max_size=6)
addresses = st.ip_addresses(v=4)
packets = st.builds(ArpPacket, st.sampled_from(Operation), macs, addresses, macs, addresses)


def request(**fields: object) -> bytes:
    values = {"op": 1, "hwsrc": format_mac(PEER), "psrc": str(PEER_IP), "pdst": str(VIP)} | fields
    destination = str(values.pop("dst", "ff:ff:ff:ff:ff:ff"))
    source = str(values.pop("src", values["hwsrc"]))
    return bytes(Ether(dst=destination, src=source) / ARP(**values))


def owned(ip: IPv4Address) -> DropReason | None:
    return None if ip == VIP else DropReason.NOT_ANNOUNCED


def test_reply_is_metallbs_byte_for_byte() -> None:
    expected = bytes.fromhex(
        "02000000000c02000000000a0806000108000604000202000000000ac000026402000000000cc0000202"
    ) + bytes(18)
    assert respond(request(), OWN, owned) == expected


def test_gratuitous_frames_hold_metallbs_two_byte_for_byte_and_rfc_5227s_form() -> None:
    form = "ffffffffffff02000000000a08060001080006040{op}02000000000ac0000264{tha}c0000264"
    broadcast, own = BROADCAST.hex(), OWN.hex()
    assert gratuitous(OWN, VIP) == tuple(
        bytes.fromhex(form.format(op=op, tha=tha)) + bytes(18)
        for op, tha in (("001", broadcast), ("002", own), ("002", broadcast))
    )


def test_every_golden_arp_frame_reads_as_scapy_reads_it() -> None:
    frames = [bytes(packet) for packet in rdpcap(str(GOLDEN)) if ARP in packet]
    assert frames
    for data in frames:
        theirs, ours = Ether(data)[ARP], decode(data[14:])
        assert (ours.operation, str(ours.sender_ip)) == (theirs.op, theirs.psrc)
        assert (format_mac(ours.target_mac), str(ours.target_ip)) == (theirs.hwdst, theirs.pdst)
        assert encode(ours) == data[14:42]


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (request(dst=format_mac(OWN)), None),
        (request(psrc="0.0.0.0"), None),
        (request(hwdst="ff:ff:ff:ff:ff:ff"), None),
        (request(psrc=str(VIP)), DropReason.ANNOUNCEMENT),
        (request(op=2), DropReason.ARP_REPLY),
        (request(op=3), DropReason.OPERATION),
        (request(dst="02:00:00:00:00:99"), DropReason.ETHERNET_DESTINATION),
        (request(dst="01:00:5e:00:00:01"), DropReason.ETHERNET_DESTINATION),
        (request(pdst="192.0.2.101"), DropReason.NOT_ANNOUNCED),
        (request(hwsrc=format_mac(OWN)), DropReason.OWN_FRAME),
        (request(hwsrc="01:00:5e:00:00:01"), DropReason.SENDER_ADDRESS),
        (request(hwsrc="ff:ff:ff:ff:ff:ff", src=format_mac(PEER)), DropReason.SENDER_ADDRESS),
        (request(hwtype=6), DropReason.HARDWARE_TYPE),
        (request(ptype=0x86DD), DropReason.PROTOCOL_TYPE),
        (request()[:41], DropReason.TRUNCATED),
        (request()[:13], DropReason.TRUNCATED),
        (bytes(Ether(type=0x0800)) + bytes(28), DropReason.ETHERTYPE),
    ],
)
def test_who_gets_an_answer(frame: bytes, expected: DropReason | None) -> None:
    result = respond(frame, OWN, owned)
    assert result == expected if expected else isinstance(result, bytes)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (request(), Question(VIP, PEER_IP, PEER)),
        (request(dst=format_mac(OWN)), Question(VIP, PEER_IP, PEER)),
        (request(psrc="0.0.0.0"), Question(VIP, IPv4Address(0), PEER)),
        (request(psrc=str(VIP)), Told(VIP, PEER, VIP, DropReason.ANNOUNCEMENT)),
        (request(op=2), Told(PEER_IP, PEER, VIP, DropReason.ARP_REPLY)),
        (request(op=2, dst=format_mac(ZERO)), Told(PEER_IP, PEER, VIP, DropReason.ARP_REPLY)),
        (request(op=2, src="02:00:00:00:00:77"), Told(PEER_IP, PEER, VIP, DropReason.ARP_REPLY)),
        (request(psrc=str(VIP), dst="02:00:00:00:00:99"), DropReason.ETHERNET_DESTINATION),
        (request(psrc=str(VIP), hwsrc=format_mac(OWN)), DropReason.OWN_FRAME),
        (request(psrc=str(VIP), hwsrc="01:00:5e:00:00:01"), DropReason.SENDER_ADDRESS),
    ],
)
def test_what_a_frame_asks_or_tells(frame: bytes, expected: object) -> None:
    found = read(frame, OWN)
    assert (type(found), found) == (type(expected), expected)


def test_the_reply_goes_to_the_sender_in_the_packet_not_in_the_header() -> None:
    reply = respond(request(src="02:00:00:00:00:77"), OWN, owned)
    assert isinstance(reply, bytes)
    assert reply[:6] == PEER


@pytest.mark.parametrize("reason", [DropReason.NO_CONTACT, DropReason.NOT_ON_INTERFACE])
def test_the_reason_of_the_announcer_is_passed_on(reason: DropReason) -> None:
    assert respond(request(), OWN, lambda ip: reason) is reason


@given(st.binary(max_size=120))
def test_any_bytes_are_answered_or_dropped_with_a_reason(data: bytes) -> None:
    assert isinstance(read(data, OWN), Question | Told | DropReason)
    assert isinstance(respond(data, OWN, owned), bytes | DropReason)


@given(st.binary(max_size=40))
def test_any_payload_decodes_or_raises_the_one_error(data: bytes) -> None:
    try:
        assert encode(decode(data)) == data[:28]
    except DecodeError as error:
        assert isinstance(error.reason, DropReason)


@given(packets)
def test_codec_agrees_with_scapy(packet: ArpPacket) -> None:
    theirs = ARP(
        op=packet.operation,
        hwsrc=format_mac(packet.sender_mac),
        psrc=str(packet.sender_ip),
        hwdst=format_mac(packet.target_mac),
        pdst=str(packet.target_ip),
    )
    assert encode(packet) == bytes(theirs)
    assert decode(bytes(theirs)) == packet


def test_probe_from_nobody_is_answered_to_the_prober() -> None:
    """RFC 5227 section 2.1.1: a host about to take the IP must learn that it is in use."""
    answers: Callable[[IPv4Address], DropReason | None] = owned
    reply = respond(request(psrc="0.0.0.0", hwdst=format_mac(ZERO)), OWN, answers)
    assert isinstance(reply, bytes)
    assert decode(reply[14:]).target_ip == IPv4Address("0.0.0.0")
