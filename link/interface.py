"""Network interfaces as the kernel reports them, and which of them may announce."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface
from re import Pattern

from link.address import IPAddress


@dataclass(frozen=True, slots=True)
class Interface:
    """One link: what RTM_NEWLINK and RTM_NEWADDR say of it.

    `mac` is 6 bytes, or empty for links without Ethernet addresses. `up` is the administrative
    flag; `carrier` tells whether the cable (or the veth peer) is alive.
    """

    index: int
    name: str
    mac: bytes
    up: bool
    carrier: bool
    broadcast: bool
    noarp: bool
    master: int | None = None
    addresses: frozenset[IPv4Interface | IPv6Interface] = frozenset()
    """Without tentative ones (RFC 4862): nobody may speak from those yet."""
    gateways: frozenset[IPAddress] = frozenset()
    """Next hops of default routes that leave by this link."""

    @property
    def link_local(self) -> IPv6Address | None:
        """The lowest fe80::/10 address, the source of neighbour advertisements; None without."""
        found = (a.ip for a in self.addresses if isinstance(a, IPv6Interface) and a.is_link_local)
        return min(found, default=None)

    def reaches(self, ip: IPAddress) -> bool:
        """Tell whether `ip` is a neighbour: in a subnet of the link, and no address of its own."""
        if ip.is_unspecified or ip.is_multicast:
            return False
        return any(ip in own.network and ip != own.ip for own in self.addresses)


class Ineligible(StrEnum):
    """Why an interface answers neither ARP nor NDP; MetalLB's rules in MetalLB's order."""

    EXCLUDED = "excluded"
    DOWN = "down"
    ENSLAVED = "enslaved"
    NOARP = "noarp"
    NO_BROADCAST = "no_broadcast"
    NO_MAC = "no_mac"


def eligibility(interface: Interface, exclude: Pattern[str] | None) -> Ineligible | None:
    """Return why `interface` may not answer, or None where it may.

    Carrier is no part of it: the socket stays open over a short outage. An interface needs no
    IPv4 address, as VLAN links without one announce on purpose (MetalLB issue 1511). NDP needs a
    link-local address besides, to speak from.
    """
    if exclude is not None and exclude.search(interface.name):
        return Ineligible.EXCLUDED
    if not interface.up:
        return Ineligible.DOWN
    if interface.master is not None:
        return Ineligible.ENSLAVED
    if interface.noarp:
        return Ineligible.NOARP
    if not interface.broadcast:
        return Ineligible.NO_BROADCAST
    return None if len(interface.mac) == 6 else Ineligible.NO_MAC


def may_answer(exclude: Pattern[str] | None, interface: Interface) -> bool:
    """Tell whether `interface` may answer ARP and NDP."""
    return eligibility(interface, exclude) is None
