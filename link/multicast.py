"""Membership of IPv6 multicast groups, on ordinary sockets: the kernel then speaks MLD for us.

PACKET_ADD_MEMBERSHIP only opens the network card's own filter; a switch that snoops MLD would
never hear of it.
"""

import errno
import socket
import struct
from ipaddress import IPv6Address

_MEMBERSHIP = struct.Struct("@16sI")
_FULL = (errno.ENOMEM, errno.ENOBUFS)


class Memberships:
    """The groups joined on one link. Joining takes 23 us each, so it is done in bites."""

    def __init__(self, ifindex: int) -> None:
        self._ifindex = ifindex
        self._wanted: frozenset[IPv6Address] = frozenset()
        self._joined: dict[IPv6Address, socket.socket] = {}
        self._sockets: list[socket.socket] = []
        self._refused: set[IPv6Address] = set()

    @property
    def refused(self) -> int:
        """How many groups could not be joined; the next `replace` tries them again."""
        return len(self._refused)

    @property
    def joined(self) -> frozenset[IPv6Address]:
        """The groups of which the link is a member through us."""
        return frozenset(self._joined)

    def replace(self, groups: frozenset[IPv6Address]) -> None:
        """Take the whole set of groups; `advance` joins and leaves."""
        self._wanted = groups
        self._refused.clear()

    def advance(self, limit: int) -> bool:
        """Join and leave up to `limit` groups; tell whether some are left to do."""
        # Joins first: a missing membership is silence, one too many is a little noise.
        todo = [*(self._wanted - self._joined.keys() - self._refused)]
        stale = [*(self._joined.keys() - self._wanted)]
        for group in todo[:limit]:
            self._join(group)
        for group in stale[: max(0, limit - len(todo))]:
            self._leave(group)
        return len(todo) + len(stale) > limit

    def close(self) -> None:
        """Leave everything."""
        for used in self._sockets:
            used.close()
        self._sockets.clear()
        self._joined.clear()
        self._wanted = frozenset()

    def _join(self, group: IPv6Address) -> None:
        try:
            if not self._sockets or not self._try(self._sockets[-1], group):
                # optmem_max bounds the memberships of one socket: 2,340, or 365 on older kernels.
                self._sockets.append(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
                if not self._try(self._sockets[-1], group):
                    self._refused.add(group)
        except OSError:
            self._refused.add(group)

    def _try(self, used: socket.socket, group: IPv6Address) -> bool:
        membership = _MEMBERSHIP.pack(group.packed, self._ifindex)
        try:
            used.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        except OSError as error:
            if error.errno in _FULL:
                return False
            raise
        self._joined[group] = used
        return True

    def _leave(self, group: IPv6Address) -> None:
        membership = _MEMBERSHIP.pack(group.packed, self._ifindex)
        try:
            self._joined.pop(group).setsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, membership
            )
        except OSError:
            # The kernel has dropped the memberships of a link that lost IPv6.
            return
