"""The frames that move clients to a new owner, built by scapy once per (MAC, IP).

What a Linux client obeys (neighbour entries younger than `locktime`, 1 s, are stubborn):

| frame                                   | young entry | older entry |
|-----------------------------------------|-------------|-------------|
| request, sender = target = the IP       | moves       | moves       |
| reply, target MAC = own MAC (RFC 5227)  | moves       | moves       |
| reply, target MAC = broadcast (MetalLB) | ignored     | moves       |

So the request goes first, then both replies: the last one is for clients that know MetalLB's form.
"""

from functools import lru_cache
from ipaddress import IPv4Address

import link.lean_scapy  # noqa: F401 - before scapy
from link.frame import MINIMUM_LENGTH
from link.mac import BROADCAST, format_mac

from scapy.layers.l2 import ARP, Ether
from scapy.packet import Padding

_CACHED_PAIRS = 8_192
_REQUEST, _REPLY = 1, 2


@lru_cache(maxsize=_CACHED_PAIRS)
def gratuitous(mac: bytes, ip: IPv4Address) -> tuple[bytes, ...]:
    """Return the frames of one announcement round for `ip` at `mac`, in sending order."""
    return (
        _build(_REQUEST, mac, ip, BROADCAST),
        _build(_REPLY, mac, ip, mac),
        _build(_REPLY, mac, ip, BROADCAST),
    )


def _build(operation: int, mac: bytes, ip: IPv4Address, target_mac: bytes) -> bytes:
    own, address = format_mac(mac), str(ip)
    packet = Ether(dst=format_mac(BROADCAST), src=own) / ARP(
        op=operation, hwsrc=own, psrc=address, hwdst=format_mac(target_mac), pdst=address
    )
    padding = MINIMUM_LENGTH - len(packet)
    return bytes(packet / Padding(bytes(padding)))
