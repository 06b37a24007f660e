"""The frames that move IPv6 clients to a new owner. scapy builds one of each kind for a MAC.

An unsolicited advertisement moves an existing entry only with Override and the target-link option.
A solicitation *from* the IP to a client, with the source-link option, moves or creates the entry
in every state, and the client answers it.
"""

from functools import lru_cache
from ipaddress import IPv6Address

import link.lean_scapy  # noqa: F401 - before scapy
from link.checksum import internet_checksum
from link.mac import format_mac
from ndp.groups import ALL_NODES, multicast_mac, solicited_node

from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether

_CACHED_MACS = 64
_SOURCE, _DESTINATION, _MESSAGE = 14 + 8, 14 + 24, 14 + 40
_CHECKSUM, _TARGET = _MESSAGE + 2, _MESSAGE + 8
_ANY = "::"


def advertisement(mac: bytes, source: IPv6Address, ip: IPv6Address) -> bytes:
    """Return the unsolicited advertisement of `ip` to all nodes; `source` is link-local."""
    return _fill(_advertisement_template(mac), multicast_mac(ALL_NODES), source, ALL_NODES, ip)


def solicitation(
    mac: bytes, ip: IPv6Address, client: IPv6Address, client_mac: bytes | None
) -> bytes:
    """Return the question from `ip` to a client; by its group where its MAC is not known."""
    destination = client if client_mac else solicited_node(client)
    to = client_mac or multicast_mac(destination)
    return _fill(_solicitation_template(mac), to, ip, destination, client)


def _fill(
    template: bytes, to: bytes, source: IPv6Address, destination: IPv6Address, target: IPv6Address
) -> bytes:
    # 300 us for scapy to build a frame, 3 us to fill one in: 1,000 IPs must leave within 60 ms.
    frame = bytearray(template)
    frame[:6] = to
    frame[_SOURCE:_DESTINATION] = source.packed
    frame[_DESTINATION:_MESSAGE] = destination.packed
    frame[_TARGET : _TARGET + 16] = target.packed
    checksum = internet_checksum(source.packed, destination.packed, bytes(frame[_MESSAGE:]))
    frame[_CHECKSUM : _CHECKSUM + 2] = checksum.to_bytes(2, "big")
    return bytes(frame)


@lru_cache(maxsize=_CACHED_MACS)
def _advertisement_template(mac: bytes) -> bytes:
    own = format_mac(mac)
    message = ICMPv6ND_NA(R=0, S=0, O=1, tgt=_ANY, cksum=0) / ICMPv6NDOptDstLLAddr(lladdr=own)
    return _template(own, message)


@lru_cache(maxsize=_CACHED_MACS)
def _solicitation_template(mac: bytes) -> bytes:
    own = format_mac(mac)
    message = ICMPv6ND_NS(tgt=_ANY, cksum=0) / ICMPv6NDOptSrcLLAddr(lladdr=own)
    return _template(own, message)


def _template(own: str, message: object) -> bytes:
    nobody = "00:00:00:00:00:00"
    return bytes(Ether(dst=nobody, src=own) / IPv6(src=_ANY, dst=_ANY, hlim=255) / message)
