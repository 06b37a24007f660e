"""Default routes out of rtnetlink messages (rtnetlink(7)). Pure; the monitor feeds it.

A node may hold thousands of routes and only default ones matter here: to pass one over takes 1 us.

rtmsg | family | dst_len | src_len | tos | table | protocol | scope | type: 1 each | flags 4 |
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from link.address import IPAddress
from link.filter import Program
from link.netlink.messages import HEADER, attributes, split
from link.netlink.messages import dump_request as dump

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
_NLM_F_MULTI = 0x2
_ROUTE = struct.Struct("=BBBBBBBBI")
_NEXT_HOP = struct.Struct("=HBBi")
_INDEX = struct.Struct("=i")
_OIF, _GATEWAY, _MULTIPATH = 4, 5, 9
_TABLE_MAIN, _UNICAST = 254, 1
_ADDRESS_LENGTH = {2: 4, 10: 16}


@dataclass(frozen=True, slots=True)
class RouteMessage:
    """One netlink message: its type, and the default gateways in it as (link index, address)."""

    type: int
    gateways: tuple[tuple[int, IPAddress], ...] = ()


def dump_request(sequence: int) -> bytes:
    """Return the question for all routes of both families."""
    return dump(RTM_GETROUTE, bytes(_ROUTE.size), sequence)


def default_routes_only() -> Program:
    """Return the filter that keeps news of other routes out; dumps come in packs and pass.

    Netlink is in host order and the program reads in network order, hence the swapped bytes.
    """
    multi = int.from_bytes(struct.pack("=H", _NLM_F_MULTI), "big")
    return (
        (0x28, 0, 0, 6),
        (0x45, 2, 0, multi),
        (0x30, 0, 0, HEADER.size + 1),
        (0x15, 0, 1, 0),
        (0x06, 0, 0, 0xFFFF_FFFF),
        (0x06, 0, 0, 0),
    )


def messages(data: bytes) -> Iterator[RouteMessage]:
    """Yield the messages of one datagram; a cut one ends it."""
    for kind, body in split(data):
        found = _gateways(body) if kind in (RTM_NEWROUTE, RTM_DELROUTE) else ()
        yield RouteMessage(kind, tuple(found))


def _gateways(body: bytes) -> Iterator[tuple[int, IPAddress]]:
    if len(body) < _ROUTE.size:
        return
    family, prefix, _, _, table, _, _, kind, _ = _ROUTE.unpack_from(body)
    size = _ADDRESS_LENGTH.get(family)
    if prefix or table != _TABLE_MAIN or kind != _UNICAST or size is None:
        return
    found = attributes(body, _ROUTE.size)
    hops = [(found.get(_OIF, b""), found.get(_GATEWAY, b""))]
    hops += _next_hops(found.get(_MULTIPATH, b""))
    for index, gateway in hops:
        if len(index) == _INDEX.size and len(gateway) == size:
            address = IPv4Address(gateway) if size == 4 else IPv6Address(gateway)
            yield _INDEX.unpack(index)[0], address


def _next_hops(data: bytes) -> list[tuple[bytes, bytes]]:
    hops: list[tuple[bytes, bytes]] = []
    at = 0
    while at + _NEXT_HOP.size <= len(data):
        length, _, _, index = _NEXT_HOP.unpack_from(data, at)
        if length < _NEXT_HOP.size or at + length > len(data):
            break
        found = attributes(data[at + _NEXT_HOP.size : at + length])
        hops.append((_INDEX.pack(index), found.get(_GATEWAY, b"")))
        at += length + 3 & ~3
    return hops
