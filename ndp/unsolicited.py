"""The frames that move IPv6 clients to a new owner. scapy builds one of each kind, at import.

An unsolicited advertisement moves an existing entry only with Override and the target-link option.
A solicitation *from* the IP to a client, with the source-link option, moves or creates the entry
in every state, and the client answers it.
"""

from ipaddress import IPv6Address

import link.lean_scapy  # noqa: F401 - before scapy
from link.checksum import internet_checksum
from link.mac import ZERO, format_mac
from ndp.groups import ALL_NODES, multicast_mac, solicited_node

from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether

_SOURCE, _DESTINATION, _MESSAGE = 14 + 8, 14 + 24, 14 + 40
_CHECKSUM, _TARGET, _LINK_ADDRESS = _MESSAGE + 2, _MESSAGE + 8, _MESSAGE + 24 + 2
_Way = tuple[IPv6Address, IPv6Address]
_ANY, _NOBODY = "::", format_mac(ZERO)


def advertisement(mac: bytes, source: IPv6Address, ip: IPv6Address) -> bytes:
    """Return the unsolicited advertisement of `ip` to all nodes; `source` is link-local."""
    to = multicast_mac(ALL_NODES)
    return _fill(_ADVERTISEMENT, to, mac, (source, ALL_NODES), ip)


def solicitation(
    mac: bytes, ip: IPv6Address, client: IPv6Address, client_mac: bytes | None
) -> bytes:
    """Return the question from `ip` to a client; by its group where its MAC is not known."""
    destination = client if client_mac else solicited_node(client)
    to = client_mac or multicast_mac(destination)
    return _fill(_SOLICITATION, to, mac, (ip, destination), client)


def _fill(
    template: bytes,
    to: bytes,
    mac: bytes,
    way: tuple[IPv6Address, IPv6Address],
    target: IPv6Address,
) -> bytes:
    """Fill in the addresses, `way` being from where to where, and the checksum."""
    # 0.3 to 2 ms for scapy to build a frame, 3 us to fill one in: 1,000 IPs must leave within
    # 60 ms, and the loop may not stand still for more than 5.
    source, destination = way
    frame = bytearray(template)
    frame[:6], frame[6:12] = to, mac
    frame[_SOURCE:_DESTINATION] = source.packed
    frame[_DESTINATION:_MESSAGE] = destination.packed
    frame[_TARGET : _TARGET + 16] = target.packed
    frame[_LINK_ADDRESS : _LINK_ADDRESS + 6] = mac
    checksum = internet_checksum(source.packed, destination.packed, bytes(frame[_MESSAGE:]))
    frame[_CHECKSUM : _CHECKSUM + 2] = checksum.to_bytes(2, "big")
    return bytes(frame)


def _template(message: object) -> bytes:
    """Return a frame whose addresses and checksum are to be filled in."""
    return bytes(Ether(dst=_NOBODY, src=_NOBODY) / IPv6(src=_ANY, dst=_ANY, hlim=255) / message)


_ADVERTISEMENT = _template(
    ICMPv6ND_NA(R=0, S=0, O=1, tgt=_ANY, cksum=0) / ICMPv6NDOptDstLLAddr(lladdr=_NOBODY)
)
_SOLICITATION = _template(ICMPv6ND_NS(tgt=_ANY, cksum=0) / ICMPv6NDOptSrcLLAddr(lladdr=_NOBODY))
