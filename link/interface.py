"""Network interfaces as the kernel reports them, and which of them may announce."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface
from re import Pattern


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


class Ineligible(StrEnum):
    """Why an interface does not answer ARP; MetalLB's rules in MetalLB's order."""

    EXCLUDED = "excluded"
    DOWN = "down"
    ENSLAVED = "enslaved"
    NOARP = "noarp"
    NO_BROADCAST = "no_broadcast"
    NO_MAC = "no_mac"


def arp_eligibility(interface: Interface, exclude: Pattern[str] | None) -> Ineligible | None:
    """Return why `interface` may not answer ARP, or None where it may.

    Carrier is no part of it: the socket stays open over a short outage. An interface needs no
    IPv4 address, as VLAN links without one announce on purpose (MetalLB issue 1511).
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
