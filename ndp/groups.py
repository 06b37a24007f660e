"""Solicited-node multicast groups (RFC 4291 section 2.7.1): where questions for an IP are sent.

A switch that snoops MLD passes a solicitation on only to ports that joined the group of the IP.
"""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address

ALL_NODES = IPv6Address("ff02::1")
_SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))
_LOW_24 = 0xFF_FFFF
_CACHED = 4_096


@lru_cache(maxsize=_CACHED)
def solicited_node(ip: IPv6Address) -> IPv6Address:
    """Return the group of `ip`: a fixed prefix and the last 24 bits."""
    return IPv6Address(_SOLICITED_NODE | int(ip) & _LOW_24)


def multicast_mac(group: IPv6Address) -> bytes:
    """Return the Ethernet address of an IPv6 group: 33:33 and its last 4 bytes (RFC 2464)."""
    return b"\x33\x33" + group.packed[12:]


class SolicitedNodeGroups:
    """Counts how many IPs share each group, so that the last one to go ends the membership."""

    def __init__(self) -> None:
        self._ips: frozenset[IPv6Address] = frozenset()
        self._counts: Counter[IPv6Address] = Counter()

    def replace(self, ips: Iterable[IPv6Address]) -> bool:
        """Take the whole set of IPs; tell whether the set of groups changed."""
        wanted = frozenset(ips)
        before = set(self._counts)
        for ip in wanted - self._ips:
            self._counts[solicited_node(ip)] += 1
        for ip in self._ips - wanted:
            group = solicited_node(ip)
            self._counts[group] -= 1
            if not self._counts[group]:
                del self._counts[group]
        self._ips = wanted
        return before != set(self._counts)

    def groups(self) -> frozenset[IPv6Address]:
        """Return the groups to be a member of."""
        return frozenset(self._counts)
