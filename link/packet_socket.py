"""One AF_PACKET socket on one interface: whole Ethernet frames in and out (packet(7))."""

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator, Sequence

from link.attach import attach
from link.filter import DROP_ALL, Program, ProgramTooLongError
from link.frame import LONGEST_FRAME, EtherType

_RECEIVE_BUFFER = 1 << 20
PACKET_OTHERHOST = 3
"""sll_pkttype of a frame that is not for this host, a VLAN-tagged one with its tag taken off
among them."""

NO_RIGHT = "packet sockets: permission denied: the speaker needs root or the capability NET_RAW"

MakeProgram = Callable[[int | None], Program]
"""Makes a program that ignores so many last bits of addresses; None: that lets all pass."""


class PacketSocket:
    """A non-blocking raw socket bound to one link and EtherType, behind a kernel filter."""

    def __init__(self, interface: str, ethertype: EtherType) -> None:
        """Open and bind, receiving nothing until `refilter`.

        Raises PermissionError without CAP_NET_RAW, OSError for a link gone.
        """
        # Protocol 0 receives nothing until bind; the drop-all filter covers the time after it.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        try:
            self._socket.setblocking(False)
            # The default holds 256 ARP frames. rmem_max caps this without an error.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            attach(self._socket, DROP_ALL)
            self._socket.bind((interface, ethertype))
            self.discard()
        except BaseException:
            self._socket.close()
            raise

    def refilter(self, make: MakeProgram, steps: Sequence[int | None]) -> int | None:
        """Attach the first program that the kernel takes, and return its step.

        The kernel puts one program in the place of the other in one go: no frame meets neither.
        Frames that passed the old one may still wait; the process looks at each anyway.
        """
        last = make(steps[-1])
        for step in steps[:-1]:
            with contextlib.suppress(ProgramTooLongError):
                if self._swap(make(step), last):
                    return step
        attach(self._socket, last)
        return steps[-1]

    def fileno(self) -> int:
        """Return the descriptor, for the event loop."""
        return self._socket.fileno()

    def receive(self, limit: int) -> Iterator[tuple[bytes, int]]:
        """Yield up to `limit` waiting (frame, packet type) pairs."""
        # recv() would save 1 us a frame, but only recvfrom() tells the packet type.
        for _ in range(limit):
            try:
                data, address = self._socket.recvfrom(LONGEST_FRAME)
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
        try:
            self._socket.send(frame)
        except OSError as error:
            # A link that went down and up leaves one pending error, which would eat the first
            # announcement. The failed call has cleared it; a link still down fails again.
            if error.errno != errno.ENETDOWN:
                raise
            self._socket.send(frame)

    def close(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _swap(self, program: Program, smallest: Program) -> bool:
        """Attach; False where optmem_max does not hold it."""
        try:
            attach(self._socket, program)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
        else:
            return True
        # A swap charges both programs. Behind the smallest one all questions pass for a moment,
        # and none is lost.
        attach(self._socket, smallest)
        try:
            attach(self._socket, program)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            return False
        return True


def check_right() -> None:
    """Raise OSError with a clear message where packet sockets are not allowed."""
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        raise OSError(None, NO_RIGHT) from None
