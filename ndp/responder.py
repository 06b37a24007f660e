"""Which neighbour solicitations get an answer, and the answer (RFC 4861 section 7.2).

Where MetalLB is silent on purpose or by accident, we answer: unicast solicitations (a client that
verifies an entry, NUD), ones without the source-link option, and duplicate address detection.
"""

from collections.abc import Callable
from ipaddress import IPv6Address

from link import frame as ethernet
from link.drop import DecodeError, DropReason
from link.frame import EthernetFrame, EtherType
from link.mac import is_group
from link.resolution import Question, Told
from ndp.groups import ALL_NODES, multicast_mac, solicited_node
from ndp.packet import AdvertFlags, ICMPv6Type, NeighborMessage, decode, encode

Answers = Callable[[IPv6Address], DropReason | None]
"""Tells why this interface does not answer for an IP, or None where it does."""

_MULTICAST = 0xFF


def read(data: bytes, mac: bytes) -> Question[IPv6Address] | Told[IPv6Address] | DropReason:
    """Read the Ethernet frame `data`, received by an interface with the address `mac`.

    Return what is asked, or told, or why the frame is neither for anybody here.
    """
    try:
        received = ethernet.decode(data)
        if received.ethertype != EtherType.IPV6:
            return DropReason.ETHERTYPE
        message = decode(received.payload)
    except DecodeError as error:
        return error.reason
    if message.type is not ICMPv6Type.SOLICITATION:
        told = message.link_address or received.source
        return Told(message.target, told, message.destination, DropReason.NEIGHBOR_ADVERTISEMENT)
    group = solicited_node(message.target)
    if received.destination not in (mac, multicast_mac(group)):
        return DropReason.ETHERNET_DESTINATION
    if message.destination not in (message.target, group):
        return DropReason.IP_DESTINATION
    asker = message.link_address or received.source
    if mac in (asker, received.source):
        return DropReason.OWN_FRAME
    if is_group(asker) or message.source.packed[0] == _MULTICAST:
        return DropReason.SENDER_ADDRESS
    if message.source.is_unspecified and (message.link_address or message.destination != group):
        # RFC 4861 section 7.1.1: so no duplicate address detection looks.
        return DropReason.SENDER_ADDRESS
    return Question(message.target, message.source, asker)


def reply(mac: bytes, source: IPv6Address, question: Question[IPv6Address]) -> bytes:
    """Return the frame that answers; `source` is the interface's link-local address."""
    ip, destination, asker = question
    flags = AdvertFlags.SOLICITED | AdvertFlags.OVERRIDE
    if destination.is_unspecified:
        # Section 7.2.4: there is no address to answer to yet, so all nodes hear it.
        flags, destination, asker = AdvertFlags.OVERRIDE, ALL_NODES, multicast_mac(ALL_NODES)
    message = NeighborMessage(ICMPv6Type.ADVERTISEMENT, source, destination, ip, mac, flags)
    return ethernet.encode(EthernetFrame(asker, mac, EtherType.IPV6, encode(message)))


def respond(data: bytes, mac: bytes, source: IPv6Address, answers: Answers) -> bytes | DropReason:
    """Return the advertisement that answers the frame `data`, or why there is none."""
    heard = read(data, mac)
    if isinstance(heard, DropReason):
        return heard
    if isinstance(heard, Told):
        return heard.reason
    reason = answers(heard.ip)
    return reply(mac, source, heard) if reason is None else reason
