"""The frames that move clients to a new owner. scapy builds one of each kind, at import.

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
_SOURCE, _TYPE = 6, 12
_SENDER_MAC, _SENDER_IP, _TARGET_MAC, _TARGET_IP, _PADDING = (
    14 + 8,
    14 + 14,
    14 + 18,
    14 + 24,
    14 + 28,
)


def request(mac: bytes, ip: IPv4Address) -> bytes:
    """Return the gratuitous request for `ip` at `mac`, broadcast."""
    return _fill(_REQUEST, mac, ip, BROADCAST, ip)


def reply(mac: bytes, ip: IPv4Address) -> bytes:
    """Return the gratuitous reply in the form of RFC 5227, broadcast."""
    return _fill(_REPLY, mac, ip, mac, ip)


def reply_to_all(mac: bytes, ip: IPv4Address) -> bytes:
    """Return the gratuitous reply in MetalLB's form, broadcast."""
    return _fill(_REPLY, mac, ip, BROADCAST, ip)


def request_to_client(
    mac: bytes, ip: IPv4Address, client: IPv4Address, client_mac: bytes | None
) -> bytes:
    """Return the question from `ip` to a client; broadcast where its MAC is not known."""
    frame = _fill(_REQUEST, mac, ip, ZERO, client)
    return (client_mac or BROADCAST) + frame[6:]


def gratuitous(mac: bytes, ip: IPv4Address) -> tuple[bytes, ...]:
    """Return the broadcast frames of one announcement round, in sending order."""
    return request(mac, ip), reply(mac, ip), reply_to_all(mac, ip)


def _fill(
    operation: int, mac: bytes, sender: IPv4Address, target_mac: bytes, target: IPv4Address
) -> bytes:
    start, between, end = _parts(operation, mac, target_mac)
    packed = sender.packed
    return start + packed + between + (packed if target is sender else target.packed) + end


@lru_cache(maxsize=4 * _CACHED_MACS)
def _parts(operation: int, mac: bytes, target_mac: bytes) -> tuple[bytes, bytes, bytes]:
    """Return what stands before, between and after the two IPs.

    0.3 to 2 ms for scapy to build a frame, 1 us to fill one in: 1,000 IPs must leave within 60 ms,
    and the loop may not stand still for more than 5.
    """
    frame = bytearray(_TEMPLATES[operation])
    frame[_SOURCE:_TYPE] = frame[_SENDER_MAC:_SENDER_IP] = mac
    frame[_TARGET_MAC:_TARGET_IP] = target_mac
    return (
        bytes(frame[:_SENDER_IP]),
        bytes(frame[_TARGET_MAC:_TARGET_IP]),
        bytes(frame[_PADDING:]),
    )


def _template(operation: int) -> bytes:
    """Return a broadcast frame whose addresses are to be filled in."""
    nobody, nowhere = format_mac(ZERO), "0.0.0.0"  # noqa: S104 - to be filled in
    packet = Ether(dst=format_mac(BROADCAST), src=nobody) / ARP(
        op=operation, hwsrc=nobody, psrc=nowhere, hwdst=nobody, pdst=nowhere
    )
    padding = MINIMUM_LENGTH - len(packet)
    return bytes(packet / Padding(bytes(padding)))


_TEMPLATES = {operation: _template(operation) for operation in (_REQUEST, _REPLY)}
