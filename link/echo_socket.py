"""One raw ICMP socket, on one interface or on none: echo requests out, echo replies in (raw(7),
icmp(7)).

The kernel routes, finds neighbours and makes the IP header, as it does for `ping`.
"""

import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

from link.attach import attach
from link.drop import DecodeError
from link.echo import EchoReply, decode_reply, encode_request, only_identifier

_SOL_RAW, _ICMP_FILTER = 255, 1
_ICMP6_FILTER = 1
_ONLY_REPLIES = struct.pack("I", ~(1 << 0) & 0xFFFF_FFFF)
"""ICMP_FILTER blocks the types whose bits are set; an echo reply is type 0."""
_ALL = 0xFFFF_FFFF
_ONLY_REPLIES_6 = struct.pack("8I", *(_ALL & ~(1 << 1) if n == 4 else _ALL for n in range(8)))
"""The same in ICMPv6: type 129 is bit 1 of the fifth word."""
_LONGEST = 512


class EchoSocket:
    """A non-blocking socket for one address family."""

    def __init__(self, interface: str | None, version: int, only: int | None = None) -> None:
        """Open, bound to a link unless that is None; PermissionError without CAP_NET_RAW, OSError
        for a link that is gone. `only` replies to this identifier wake anybody."""
        self._version = version
        if version == 4:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        else:
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        try:
            self._socket.setblocking(False)
            if interface is not None:
                name = interface.encode() + b"\0"
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
            if only is not None:
                attach(self._socket, only_identifier(version, only))
            if version == 4:
                self._socket.setsockopt(_SOL_RAW, _ICMP_FILTER, _ONLY_REPLIES)
            else:
                self._socket.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, _ONLY_REPLIES_6)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor, for the event loop."""
        return self._socket.fileno()

    def send(self, ip: str, identifier: int, sequence: int, payload: bytes) -> bool:
        """Ask the host at `ip`; False where the kernel has no way to it just now."""
        request = encode_request(self._version, identifier, sequence, payload)
        # An error of an earlier packet is raised in place of this one: once more.
        for _ in range(2):
            with suppress(OSError):
                self._socket.sendto(request, (ip, 0))
                return True
        return False

    def receive(self, limit: int) -> Iterator[tuple[str, EchoReply]]:
        """Yield up to `limit` replies that wait, with the address that each came from."""
        for _ in range(limit):
            try:
                data, source = self._socket.recvfrom(_LONGEST)
            except BlockingIOError:
                return
            except OSError:
                # EHOSTUNREACH and the like of something sent before: reading it clears it.
                continue
            with suppress(DecodeError):
                yield str(source[0]).partition("%")[0], decode_reply(self._version, data)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
