"""The frames that move clients to a new owner. scapy builds one of each kind for a MAC.

What a Linux client obeys (neighbour entries younger than `locktime`, 1 s, are stubborn):

| frame                                   | young entry | older entry | no entry |
|-----------------------------------------|-------------|-------------|----------|
| request, sender = target = the IP       | moves       | moves       | nothing  |
| reply, target MAC = own MAC (RFC 5227)  | moves       | moves       | nothing  |
| reply, target MAC = broadcast (MetalLB) | ignored     | moves       | nothing  |
| request from the IP to the client       | moves       | moves       | creates  |

So the request goes first, then both replies: the last one is for clients that know MetalLB's form.
Clients that are known by name get the request of the last row, and answer it at once.
"""

from functools import lru_cache
from ipaddress import IPv4Address

import link.lean_scapy  # noqa: F401 - before scapy
from link.frame import MINIMUM_LENGTH
from link.mac import BROADCAST, ZERO, format_mac

from scapy.layers.l2 import ARP, Ether
from scapy.packet import Padding

_CACHED_MACS = 64
_REQUEST, _REPLY = 1, 2
_SENDER_IP, _TARGET_IP, _PADDING = 14 + 14, 14 + 24, 14 + 28


def request(mac: bytes, ip: IPv4Address) -> bytes:
    """Return the gratuitous request for `ip` at `mac`, broadcast."""
    return _fill(_template(_REQUEST, mac, BROADCAST), ip, ip)


def reply(mac: bytes, ip: IPv4Address) -> bytes:
    """Return the gratuitous reply in the form of RFC 5227, broadcast."""
    return _fill(_template(_REPLY, mac, mac), ip, ip)


def reply_to_all(mac: bytes, ip: IPv4Address) -> bytes:
    """Return the gratuitous reply in MetalLB's form, broadcast."""
    return _fill(_template(_REPLY, mac, BROADCAST), ip, ip)


def request_to_client(
    mac: bytes, ip: IPv4Address, client: IPv4Address, client_mac: bytes | None
) -> bytes:
    """Return the question from `ip` to a client; broadcast where its MAC is not known."""
    frame = _fill(_template(_REQUEST, mac, ZERO), ip, client)
    return (client_mac or BROADCAST) + frame[6:]


def gratuitous(mac: bytes, ip: IPv4Address) -> tuple[bytes, ...]:
    """Return the broadcast frames of one announcement round, in sending order."""
    return request(mac, ip), reply(mac, ip), reply_to_all(mac, ip)


def _fill(template: bytes, sender: IPv4Address, target: IPv4Address) -> bytes:
    # 300 us for scapy to build a frame, 1 us to fill one in: 1,000 IPs must leave within 60 ms.
    start, between = template[:_SENDER_IP], template[_SENDER_IP + 4 : _TARGET_IP]
    return start + sender.packed + between + target.packed + template[_PADDING:]


@lru_cache(maxsize=3 * _CACHED_MACS)
def _template(operation: int, mac: bytes, target_mac: bytes) -> bytes:
    own, nobody = format_mac(mac), "0.0.0.0"  # noqa: S104 - to be filled in
    packet = Ether(dst=format_mac(BROADCAST), src=own) / ARP(
        op=operation, hwsrc=own, psrc=nobody, hwdst=format_mac(target_mac), pdst=nobody
    )
    padding = MINIMUM_LENGTH - len(packet)
    return bytes(packet / Padding(bytes(padding)))
