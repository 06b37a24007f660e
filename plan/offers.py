"""What BGP peers are told of a prefix. Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

IPNetwork = IPv4Network | IPv6Network

Community = tuple[int, int]
"""Two numbers of 16 bits (RFC 1997)."""
LargeCommunity = tuple[int, int, int]
"""Three numbers of 32 bits (RFC 8092)."""

GRACEFUL_SHUTDOWN: Community = 65535, 0
"""RFC 8326: whoever hears it prefers every other way."""


@dataclass(frozen=True, slots=True)
class Offer:
    """The attributes with which one peer hears of one prefix."""

    communities: frozenset[Community] = frozenset()
    large: frozenset[LargeCommunity] = frozenset()
    local_pref: int = 0
    """0: none is sent."""
    med: int = 0


Offers = Mapping[str, Offer]
"""By the name of the BGPPeer; who is not in it is not told of the prefix."""
Routes = Mapping[IPNetwork, Offers]
