"""Changes of links and addresses out of rtnetlink messages (rtnetlink(7)). Pure.

ifinfomsg | family 1 | - 1 | type 2 | index 4 | flags 4 | change 4 | then attributes
ifaddrmsg | family 1 | prefix length 1 | flags 1 | scope 1 | index 4 | then attributes
"""

import struct
from ipaddress import IPv4Interface, IPv6Interface

from link.interface import Interface
from link.netlink.messages import attributes, dump_request
from link.netlink.table import AddressGone, AddressSet, Change, LinkGone, LinkSet

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
GROUPS = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR."""
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_INDEX = struct.Struct("=i")
_FLAGS = struct.Struct("=I")
_AF_UNSPEC, _AF_INET, _AF_INET6 = 0, 2, 10
_IFF_UP, _IFF_BROADCAST, _IFF_NOARP = 0x1, 0x2, 0x80
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_CARRIER = 1, 3, 10, 33
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_OPTIMISTIC, _IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x04, 0x08, 0x40


def links_request(sequence: int) -> bytes:
    """Return the question for all links."""
    return dump_request(RTM_GETLINK, bytes(_LINK.size), sequence)


def addresses_request(sequence: int) -> bytes:
    """Return the question for all addresses of both families."""
    return dump_request(RTM_GETADDR, bytes(_ADDRESS.size), sequence)


def read(kind: int, body: bytes) -> Change | None:
    """Translate one message; None for what does not concern the table, and for what is cut."""
    if kind in (RTM_NEWLINK, RTM_DELLINK):
        return _read_link(kind, body)
    if kind in (RTM_NEWADDR, RTM_DELADDR):
        return _read_address(kind, body)
    return None


def _read_link(kind: int, body: bytes) -> LinkSet | LinkGone | None:
    if len(body) < _LINK.size:
        return None
    family, _, index, flags, _ = _LINK.unpack_from(body)
    if family != _AF_UNSPEC:
        # Family 7 (AF_BRIDGE) tells of a bridge's port: gone means "left the bridge".
        return None
    if kind == RTM_DELLINK:
        return LinkGone(index)
    found = attributes(body, _LINK.size)
    mac, master = found.get(_IFLA_ADDRESS, b""), found.get(_IFLA_MASTER, b"")
    name = found.get(_IFLA_IFNAME, b"").rstrip(b"\0")
    interface = Interface(
        index=index,
        name=name.decode(errors="surrogateescape"),
        mac=mac if len(mac) == 6 else b"",
        up=bool(flags & _IFF_UP),
        carrier=any(found.get(_IFLA_CARRIER, b"")),
        broadcast=bool(flags & _IFF_BROADCAST),
        noarp=bool(flags & _IFF_NOARP),
        master=_INDEX.unpack(master)[0] if len(master) == _INDEX.size else None,
    )
    return LinkSet(interface)


def _read_address(kind: int, body: bytes) -> AddressSet | AddressGone | None:
    if len(body) < _ADDRESS.size:
        return None
    family, prefix, flags, _, index = _ADDRESS.unpack_from(body)
    found = attributes(body, _ADDRESS.size)
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b"")
    address: IPv4Interface | IPv6Interface
    if family == _AF_INET and len(packed) == 4 and prefix <= 32:
        address = IPv4Interface((packed, prefix))
    elif family == _AF_INET6 and len(packed) == 16 and prefix <= 128:
        address = IPv6Interface((packed, prefix))
    else:
        return None
    more = found.get(_IFA_FLAGS, b"")
    flags = _FLAGS.unpack(more)[0] if len(more) == _FLAGS.size else flags
    usable = kind == RTM_NEWADDR and _usable(flags)
    return AddressSet(index, address) if usable else AddressGone(index, address)


def _usable(flags: int) -> bool:
    """Tell whether duplicate address detection lets the address be used (RFC 4862, 4429)."""
    if flags & _IFA_F_DADFAILED:
        return False
    return not flags & _IFA_F_TENTATIVE or bool(flags & _IFA_F_OPTIMISTIC)
