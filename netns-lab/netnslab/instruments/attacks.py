"""What somebody on the segment does who has no key: each attack a class with a `tick`.

None of them blocks. `done` counts what was tried, so that an attack that never took place is seen.
"""

import select
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Protocol

from netnslab.instruments import wire
from netnslab.instruments.instrument import packet_socket
from netnslab.machines.addresses import GOSSIP_PORT, LINK

HTTP_PORT = 7472
TICK = 0.02
# Sent in one go at most, so that no single connection holds the others up.
MOST_AT_ONCE = 1 << 18
READABLE = select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR
# SO_LINGER: closing resets (socket(7)).
RESET = struct.pack("ii", 1, 0)


class Attack(Protocol):
    """One attack among others."""

    done: int

    def tick(self, now: float) -> None:
        """Do what is due."""


@dataclass
class Line:
    """One connection, what is still to be said on it, and since when it is there."""

    made: socket.socket
    target: str
    rest: memoryview
    since: float


@dataclass(frozen=True)
class Habit:
    """What a crowd does: to which port, how many at each target, how many new ones a second there.

    `drip` is sent once a second after all else was said; who has had `life` seconds hangs up.
    """

    port: int
    each: int
    a_second: float
    script: Callable[[], bytes] = bytes
    drip: bytes = b""
    life: float = float("inf")


class Crowd:
    """Connections to every target; one that was closed is made anew."""

    def __init__(self, targets: Iterable[str], habit: Habit) -> None:
        self.done = 0
        self._habit = habit
        self._lines: dict[int, Line] = {}
        self._due = dict.fromkeys(targets, 0.0)
        self._count = dict.fromkeys(self._due, 0)
        self._drips = 0.0
        self._poll = select.epoll()

    def tick(self, now: float) -> None:
        """Say what can be said, and make one new connection to each target at most."""
        for fd, event in self._poll.poll(0):
            self._handle_ready(self._lines[fd], event)
        for line in [one for one in self._lines.values() if now - one.since > self._habit.life]:
            self._end(line)
        for target, due in self._due.items():
            if now >= due and self._count[target] < self._habit.each:
                self._due[target] = now + 1 / self._habit.a_second
                self._open(target, now)
        if self._habit.drip and now >= self._drips:
            self._drips = now + 1.0
            self._drip()

    def close(self) -> None:
        """Hang up everywhere."""
        for line in list(self._lines.values()):
            self._end(line)
        self._poll.close()

    def _open(self, target: str, now: float) -> None:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        made.connect_ex((target, self._habit.port))
        line = Line(made, target, memoryview(self._habit.script()), now)
        self._lines[made.fileno()] = line
        self._count[target] += 1
        self.done += 1
        self._poll.register(made, select.EPOLLIN | (select.EPOLLOUT if line.rest else 0))

    def _handle_ready(self, line: Line, event: int) -> None:
        try:
            if event & READABLE and not line.made.recv(1 << 16):
                self._end(line)
                return
            if event & select.EPOLLOUT and line.rest:
                line.rest = line.rest[line.made.send(line.rest[:MOST_AT_ONCE]) :]
                if not line.rest:
                    self._poll.modify(line.made, select.EPOLLIN)
        except BlockingIOError:
            pass
        except OSError:
            self._end(line)

    def _drip(self) -> None:
        for line in list(self._lines.values()):
            if not line.rest:
                with suppress(OSError):
                    line.made.send(self._habit.drip)

    def _end(self, line: Line) -> None:
        del self._lines[line.made.fileno()]
        self._count[line.target] -= 1
        self._poll.unregister(line.made)
        line.made.close()


def idle(targets: list[str]) -> Attack:
    """All the connections that a listener may have, and not a word on them."""
    return Crowd(targets, Habit(GOSSIP_PORT, each=135, a_second=50))


def junk(targets: list[str]) -> Attack:
    """Sealed streams of 8 MiB that nobody sealed, each one byte short of its end."""
    script = b"\x0a" + (8 << 20).to_bytes(4, "big") + bytes((8 << 20) - 1)
    return Crowd(targets, Habit(GOSSIP_PORT, each=8, a_second=10, script=lambda: script))


def headers(targets: list[str]) -> Attack:
    """HTTP requests with 6.4 MB of headers."""
    lines = b"".join(b"X%d: %s\r\n" % (number, b"a" * 65_000) for number in range(99))
    script = b"GET / HTTP/1.1\r\n" + lines + b"\r\n"
    return Crowd(targets, Habit(HTTP_PORT, each=2, a_second=2, script=lambda: script))


def slow(targets: list[str]) -> Attack:
    """HTTP requests that never end: a byte a second."""
    begun = b"GET / HTTP/1.1\r\nX: "
    return Crowd(targets, Habit(HTTP_PORT, 100, a_second=25, script=lambda: begun, drip=b"a"))


def resets(targets: list[str], port: int) -> Attack:
    """Connections that are reset as soon as they are there."""
    return Crowd(targets, Habit(port, each=1, a_second=1 / TICK, life=TICK / 2))


def streams(targets: list[str], recorded: list[bytes]) -> Attack:
    """Push/pulls of the past, said once more."""
    played = cycle(recorded)
    habit = Habit(GOSSIP_PORT, each=2, a_second=5, script=lambda: next(played), life=1.0)
    return Crowd(targets if recorded else [], habit)


class Datagrams:
    """Packets of the past, one a tick and target."""

    def __init__(self, targets: list[str], recorded: list[bytes]) -> None:
        self.done = 0
        self._targets = targets if recorded else []
        self._recorded = cycle(recorded)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def tick(self, _now: float) -> None:
        """Play the next one to each."""
        for target in self._targets:
            with suppress(OSError):
                self._socket.sendto(next(self._recorded), (target, GOSSIP_PORT))
                self.done += 1


class Forgery:
    """Announces IPs ten times a second with the MAC of somebody who has them no more, in every
    form in turn."""

    INTERVAL = 0.1

    def __init__(self, mac: str, ips: list[str]) -> None:
        self.done = 0
        self._raw = packet_socket(LINK, 0)
        own = bytes.fromhex(mac.replace(":", ""))
        self._forms = [cycle(wire.announcements(own, ip)) for ip in ips]
        self._due = 0.0

    def tick(self, now: float) -> None:
        """Send a round of frames if it is time; what was missed is not made up for."""
        if now < self._due:
            return
        self._due = now + self.INTERVAL
        for forms in self._forms:
            with suppress(OSError):
                self._raw.send(next(forms))
                self.done += 1
