"""One AF_PACKET socket on one interface: whole Ethernet frames in and out (packet(7))."""

import contextlib
import ctypes
import errno
import socket
from collections.abc import Iterator

from link.filter import DROP_ALL, Program, assemble
from link.frame import EtherType

_SO_ATTACH_FILTER = 26
_RECEIVE_BUFFER = 1 << 20
_LONGEST_FRAME = 2048
PACKET_OTHERHOST = 3
"""sll_pkttype of a frame that is not for this host, a VLAN-tagged one with its tag taken off
among them."""


class PacketSocket:
    """A non-blocking raw socket bound to one link and EtherType, behind a kernel filter."""

    def __init__(self, interface: str, ethertype: EtherType, program: Program) -> None:
        """Open and bind; raise PermissionError without CAP_NET_RAW, OSError for a link gone."""
        # Protocol 0 receives nothing until bind; the drop-all filter covers the time after it.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._socket.setblocking(False)
            # The default holds 256 ARP frames. rmem_max caps this without an error.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._attach(DROP_ALL)
            self._socket.bind((interface, ethertype))
            self.discard()
            self._attach(program)
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor, for the event loop."""
        return self._socket.fileno()

    def receive(self, limit: int) -> Iterator[tuple[bytes, int]]:
        """Yield up to `limit` waiting (frame, packet type) pairs."""
        for _ in range(limit):
            try:
                data, address = self._socket.recvfrom(_LONGEST_FRAME)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                return
            yield data, address[2]

    def discard(self) -> int:
        """Throw away what waits; return how many frames that were."""
        return sum(1 for _ in self.receive(limit=100_000))

    def send(self, frame: bytes) -> None:
        """Send one frame; OSError where the link is down or its queue full."""
        # A link that went down and up leaves one pending ENETDOWN, which would eat the first
        # announcement. Reading the error clears it.
        self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._socket.send(frame)

    def close(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _attach(self, program: Program) -> None:
        code = ctypes.create_string_buffer(assemble(program))
        fprog = _SockFprog(len(program), ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(fprog))


class _SockFprog(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))
