"""Which ARP requests get an answer, and the answer. MetalLB's rules, in MetalLB's order."""

from collections.abc import Callable
from ipaddress import IPv4Address

from arp.packet import ArpPacket, Operation, decode, encode
from link import frame as ethernet
from link.drop import DecodeError, DropReason
from link.frame import EthernetFrame, EtherType
from link.mac import BROADCAST, is_group
from link.resolution import Question, Told

Answers = Callable[[IPv4Address], DropReason | None]
"""Tells why this interface does not answer for an IP, or None where it does."""


def read(data: bytes, mac: bytes) -> Question[IPv4Address] | Told[IPv4Address] | DropReason:
    """Read the Ethernet frame `data`, received by an interface with the address `mac`.

    Return what is asked, or told, or why the frame is neither for anybody here. Unicast requests
    count (Linux confirms entries with them), and so do probes from 0.0.0.0 (RFC 5227 section
    2.1.1): an owned IP must not look free.
    """
    try:
        received = ethernet.decode(data)
        if received.ethertype != EtherType.ARP:
            return DropReason.ETHERTYPE
        packet = decode(received.payload)
    except DecodeError as error:
        return error.reason
    operation, sender_mac, client, _, ip = packet
    if operation is not Operation.REQUEST:
        return Told(client, sender_mac, ip, DropReason.ARP_REPLY)
    if received.destination not in (BROADCAST, mac):
        return DropReason.ETHERNET_DESTINATION
    if mac in (sender_mac, received.source):
        return DropReason.OWN_FRAME
    if is_group(sender_mac):
        # The reply goes to the MAC in the packet; to a group it would poison every cache at once.
        return DropReason.SENDER_ADDRESS
    if client == ip:
        return Told(ip, sender_mac, ip, DropReason.ANNOUNCEMENT)
    return Question(ip, client, sender_mac)


def respond(data: bytes, mac: bytes, answers: Answers) -> bytes | DropReason:
    """Return the reply frame to the Ethernet frame `data`, or why there is none."""
    heard = read(data, mac)
    if isinstance(heard, DropReason):
        return heard
    if isinstance(heard, Told):
        return heard.reason
    reason = answers(heard.ip)
    return reply(mac, heard) if reason is None else reason


def reply(mac: bytes, question: Question[IPv4Address]) -> bytes:
    """Return the frame that tells the asker that the IP is at `mac`."""
    packet = ArpPacket(
        operation=Operation.REPLY,
        sender_mac=mac,
        sender_ip=question.ip,
        target_mac=question.mac,
        target_ip=question.client,
    )
    # RFC 826: the reply goes to the sender named in the packet, not in the Ethernet header.
    payload = encode(packet)
    return ethernet.encode(EthernetFrame(question.mac, mac, EtherType.ARP, payload))
