"""Which ARP requests get an answer, and the answer. MetalLB's rules, in MetalLB's order."""

from collections.abc import Callable
from ipaddress import IPv4Address

from arp.packet import ArpPacket, Operation, decode, encode
from link import frame as ethernet
from link.drop import DecodeError, DropReason
from link.frame import EthernetFrame, EtherType
from link.mac import BROADCAST, is_group

Answers = Callable[[IPv4Address], DropReason | None]
"""Tells why this interface does not answer for an IP, or None where it does."""


def read_question(data: bytes, mac: bytes) -> ArpPacket | DropReason:
    """Read the Ethernet frame `data`, received by an interface with the address `mac`.

    Return the request, or why it is none that anybody should answer. Unicast requests count (Linux
    confirms entries with them), and so do probes from 0.0.0.0 (RFC 5227 section 2.1.1): an owned
    IP must not look free.
    """
    try:
        received = ethernet.decode(data)
        if received.ethertype != EtherType.ARP:
            return DropReason.ETHERTYPE
        request = decode(received.payload)
    except DecodeError as error:
        return error.reason
    if request.operation is not Operation.REQUEST:
        return DropReason.ARP_REPLY
    if received.destination not in (BROADCAST, mac):
        return DropReason.ETHERNET_DESTINATION
    if mac in (request.sender_mac, received.source):
        return DropReason.OWN_FRAME
    if is_group(request.sender_mac):
        # The reply goes to the MAC in the packet; to a group it would poison every cache at once.
        return DropReason.SENDER_ADDRESS
    return request


def respond(data: bytes, mac: bytes, answers: Answers) -> bytes | DropReason:
    """Return the reply frame to the Ethernet frame `data`, or why there is none."""
    request = read_question(data, mac)
    if isinstance(request, DropReason):
        return request
    reason = answers(request.target_ip)
    return reply(request, mac) if reason is None else reason


def reply(request: ArpPacket, mac: bytes) -> bytes:
    """Return the frame that tells the asker that the IP is at `mac`."""
    packet = ArpPacket(
        operation=Operation.REPLY,
        sender_mac=mac,
        sender_ip=request.target_ip,
        target_mac=request.sender_mac,
        target_ip=request.sender_ip,
    )
    # RFC 826: the reply goes to the sender named in the packet, not in the Ethernet header.
    payload = encode(packet)
    return ethernet.encode(EthernetFrame(request.sender_mac, mac, EtherType.ARP, payload))
