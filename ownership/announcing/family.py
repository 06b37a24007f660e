"""What is done in one way for IPv4 and in another for IPv6, side by side. Pure.

Who works with frames takes the row of their family from here, and does the same in both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from arp import responder as arp
from arp.gratuitous import request_to_client
from link.address import IPAddress
from link.drop import DropReason
from link.filter import IPV4_STEPS, IPV6_STEPS, Program, arp_program, ndp_program
from link.frame import EtherType
from link.interface import Interface
from link.resolution import Question, Told
from ndp import responder as ndp
from ndp.unsolicited import solicitation

Reply = Callable[[Question[Any]], bytes]
"""Makes the frame that answers a question."""


@dataclass(frozen=True, slots=True)
class Family:
    """ARP for IPv4, or NDP for IPv6; where a type says Any, it is addresses of that family."""

    version: int
    name: str
    ethertype: EtherType
    grouped: bool
    """Whether hosts ask in a multicast group of the IP, which its owner has to join."""
    steps: Sequence[int | None]
    """How many last bits of an address the kernel's filter may ignore, the best first."""
    program: Callable[[bytes, frozenset[Any], int | None], Program]
    """Makes that filter for a MAC, service IPs and a step."""
    read: Callable[[bytes, bytes], Question[Any] | Told[Any] | DropReason]
    """Reads a frame that an interface with this MAC received."""
    replies: Callable[[Interface], Reply | None]
    """Returns what makes the answers of an interface; None where it has no address to speak from.
    That may take a while, and making an answer may not."""
    ask: Callable[[Interface, Any, bytes | None], bytes | None]
    """Makes the question who has an IP, to all or to this MAC alone, from an address of the
    interface's own; None where it has none to ask from."""


def _arp_replies(interface: Interface) -> Reply:
    return partial(arp.reply, interface.mac)


def _ndp_replies(interface: Interface) -> Reply | None:
    source = interface.link_local
    return None if source is None else partial(ndp.reply, interface.mac, source)


def _ask_by_arp(interface: Interface, ip: IPv4Address, mac: bytes | None) -> bytes:
    own = (a.ip for a in interface.addresses if isinstance(a.ip, IPv4Address))
    return request_to_client(interface.mac, min(own, default=IPv4Address(0)), ip, mac)


def _ask_by_ndp(interface: Interface, ip: IPv6Address, mac: bytes | None) -> bytes | None:
    own = interface.link_local
    return None if own is None else solicitation(interface.mac, own, ip, mac)


IPV4 = Family(
    version=4,
    name="ipv4",
    ethertype=EtherType.ARP,
    grouped=False,
    steps=IPV4_STEPS,
    program=arp_program,
    read=arp.read,
    replies=_arp_replies,
    ask=_ask_by_arp,
)
IPV6 = Family(
    version=6,
    name="ipv6",
    ethertype=EtherType.IPV6,
    grouped=True,
    steps=IPV6_STEPS,
    program=ndp_program,
    read=ndp.read,
    replies=_ndp_replies,
    ask=_ask_by_ndp,
)
FAMILIES = {family.version: family for family in (IPV4, IPV6)}


def of_family(family: Family, ips: frozenset[IPAddress]) -> frozenset[Any]:
    """Return those of the IPs that are of this family."""
    return frozenset(ip for ip in ips if ip.version == family.version)
