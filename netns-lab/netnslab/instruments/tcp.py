"""The TCP client: ten new connections a second through every service IP, and one that stays.

A new connection exchanges one line and ends; what takes longer than a second has failed. The one
that stays exchanges a line every 100 ms; that it ends at all is counted: whoever changes the owner
of an IP resets it, for the new node's kernel knows nothing of the connection.
"""

import errno
import select
import socket
import struct
import time
from array import array
from bisect import bisect_left, bisect_right
from typing import Any

from netnslab.instruments.instrument import Console, family_of, settings

INTERVAL = 0.1
# A lost SYN is repeated by the kernel after a second: that user has noticed.
PATIENCE = 1.0
# Of all IPs together; beyond this the client would measure itself.
MOST_PER_SECOND = 200
LINE = b"clarion\n"
# A fault strikes a cluster that has been steady for a second: what broke before had its last answer
# longer ago.
LONGEST_AGO = 1.05
# Ends a connection without TIME_WAIT, or ports would run out.
_ABORT = struct.pack("ii", 1, 0)


def connection(ip: str, port: int) -> socket.socket:
    """A connection that is being made."""
    made = socket.socket(family_of(ip), socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    error = made.connect_ex((ip, port))
    if error not in (0, errno.EINPROGRESS):
        made.close()
        raise OSError(error, "connect")
    return made


class Connections:
    """What happened to the connections of one IP: when begun, how long each took (-1: failed)."""

    def __init__(self) -> None:
        self.begun = array("d")
        self.took = array("d")
        self.resets = array("d")
        """When each connection that ended had its last answer."""

    def begin(self) -> int:
        """A new connection; returns its number. Until it has ended it counts as failed."""
        self.begun.append(time.monotonic())
        self.took.append(-1.0)
        return len(self.begun) - 1

    def window(self, start: float, end: float, turn: float) -> dict[str, float]:
        """Count those begun in [start, end] that had the time to fail; and those that stayed,
        worked when that began (one line a `turn`), and were reset since.

        One that broke before may hear of it much later: the kernel repeats a lost line after 0.2 s,
        then 0.4 s and so on, and only an answer to that tells.
        """
        last = bisect_right(self.begun, min(end, time.monotonic() - PATIENCE))
        span = slice(bisect_left(self.begun, start), max(last, bisect_left(self.begun, start)))
        took = self.took[span]
        return {
            "tcp_connects": len(took),
            "tcp_failed": sum(one < 0 for one in took),
            "tcp_slowest_ms": round(1000 * max(took, default=0.0), 1) if took else 0.0,
            "tcp_reset": sum(at >= start - min(3 * turn, LONGEST_AGO) for at in self.resets),
        }


class TcpClient:
    """All connections of all IPs in one epoll; `tick` begins and gives up what is due."""

    def __init__(self, ips: list[str], port: int) -> None:
        self.poll = select.epoll()
        self._ips, self._port = ips, port
        self._records = {ip: Connections() for ip in ips}
        self._open: dict[int, tuple[socket.socket, str, int]] = {}
        self._standing: dict[str, socket.socket] = {}
        self._ip_of: dict[int, str] = {}
        self._answered: dict[str, float] = {}
        self._step = max(INTERVAL / len(ips), 1 / MOST_PER_SECOND)
        self._turn = self._step * len(ips)
        self._at = 0
        self._next = time.monotonic()

    def tick(self) -> float:
        """Serve the IPs whose turn it is; return the seconds until the next turn."""
        now = time.monotonic()
        while now >= self._next:
            ip = self._ips[self._at]
            self._at = (self._at + 1) % len(self._ips)
            self._begin(ip)
            self._speak(ip)
            self._next = max(self._next + self._step, now - INTERVAL)
        self._give_up(now - PATIENCE)
        return max(0.0, self._next - time.monotonic())

    def _begin(self, ip: str) -> None:
        number = self._records[ip].begin()
        try:
            made = connection(ip, self._port)
        except OSError:
            return  # no way there: begun and failed
        self._open[made.fileno()] = (made, ip, number)
        self.poll.register(made.fileno(), select.EPOLLOUT)

    def _give_up(self, before: float) -> None:
        # Insertion order is age, so the first young one ends the search.
        for made, ip, number in list(self._open.values()):
            if self._records[ip].begun[number] > before:
                return
            self._end(made)

    def _end(self, made: socket.socket) -> None:
        del self._open[made.fileno()]
        self.poll.unregister(made.fileno())
        made.close()

    def ready(self, fd: int, events: int) -> None:
        """Go on with one connection."""
        if fd in self._ip_of:
            self._hear(self._ip_of[fd])
        if fd not in self._open:
            return
        made, ip, number = self._open[fd]
        try:
            if events & select.EPOLLOUT and not events & (select.EPOLLERR | select.EPOLLHUP):
                made.send(LINE)
                self.poll.modify(fd, select.EPOLLIN)
                return
            if made.recv(64) == LINE:
                record = self._records[ip]
                record.took[number] = time.monotonic() - record.begun[number]
        except BlockingIOError:
            return
        except OSError:
            pass  # refused or reset: it stays marked as failed
        self._end(made)

    def _speak(self, ip: str) -> None:
        """A line over the connection that stays."""
        try:
            if ip in self._standing:
                self._standing[ip].send(LINE)
                return
            made = self._standing[ip] = connection(ip, self._port)
            self._ip_of[made.fileno()] = ip
            self.poll.register(made.fileno(), select.EPOLLIN)
        except BlockingIOError:
            return  # still being made
        except OSError:
            self._handle_break(ip)

    def _hear(self, ip: str) -> None:
        """Read the answer at once: when the last one came tells whether it worked at a fault."""
        try:
            if not self._standing[ip].recv(1 << 16):
                raise ConnectionResetError
            self._answered[ip] = time.monotonic()
        except BlockingIOError:
            return
        except OSError:
            self._handle_break(ip)

    def _handle_break(self, ip: str) -> None:
        if ip in self._answered:
            self._records[ip].resets.append(self._answered.pop(ip))
        made = self._standing.pop(ip, None)
        if made is not None:
            del self._ip_of[made.fileno()]
            self.poll.unregister(made.fileno())
            made.close()

    def window(self, question: dict[str, Any]) -> dict[str, Any]:
        """Rows by IP."""
        start, end = question["start"], question["end"]
        return {ip: record.window(start, end, self._turn) for ip, record in self._records.items()}

    def mark(self, _question: dict[str, Any]) -> bool:
        """Begin a measurement: forgets what has ended."""
        open_by_ip = {ip for _, ip, _ in self._open.values()}
        for ip in self._records:
            if ip not in open_by_ip:
                self._records[ip] = Connections()
        return True


def main() -> None:
    """Connect until the lab goes."""
    given = settings()
    client = TcpClient(given["ips"], given["port"])
    console = Console({"window": client.window, "mark": client.mark})
    client.poll.register(0, select.EPOLLIN)
    console.report_ready()
    while True:
        for fd, events in client.poll.poll(client.tick()):
            if fd == 0:
                console.handle()
            else:
                client.ready(fd, events)


if __name__ == "__main__":
    main()
