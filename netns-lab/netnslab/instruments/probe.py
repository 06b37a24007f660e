"""The warm client: UDP questions through every service IP, counted one by one.

Of many IPs the questions are echo requests, which the owner's kernel answers: there are thousands
a second, and processes on every node that answer them would take more of a small machine than its
speakers do.
"""

import math
import select
import socket
import struct
import time
from array import array
from bisect import bisect_left, bisect_right
from typing import Any

from netnslab.instruments.instrument import Console, family_of, settings
from netnslab.results import measure

TICK = 0.001
# Of each IP, unless that were more questions in all than a busy machine's client gets rid of.
USUAL_RATE, USUAL_IN_ALL, LEAST_RATE = 1000, 4000, 100
# Beyond this the prober itself was not running; what it then missed says nothing about the IP.
OWN_GAP = 0.1
_QUESTION = struct.Struct("!Q")
# The kernel fills in checksum and identifier (RFC 792, RFC 4443 section 4.1).
_ICMP = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}
_ECHO = {socket.AF_INET: bytes([8]).ljust(8, b"\0"), socket.AF_INET6: bytes([128]).ljust(8, b"\0")}


class ProbedIP:
    """One IP: a connected socket and, by sequence number, when asked and when answered (0: never).

    What was forgotten keeps its numbers: the lists begin at `base`.
    """

    def __init__(self, ip: str, port: int, *, icmp: bool) -> None:
        self._head = _ECHO[family_of(ip)] if icmp else b""
        protocol = _ICMP[family_of(ip)] if icmp else socket.IPPROTO_UDP
        self.socket = socket.socket(family_of(ip), socket.SOCK_DGRAM, protocol)
        self.socket.setblocking(False)
        self.socket.connect((ip, 0 if icmp else port))
        self.base = 0
        self.asked = array("d")
        self.answered = array("d")
        self.last = self.worst = 0.0
        self.mark()

    def mark(self) -> None:
        """Begin a new running count for `live`."""
        self.last, self.worst = time.monotonic(), 0.0

    def ask(self) -> None:
        """Send the next question."""
        number = self.base + len(self.asked)
        self.asked.append(time.monotonic())
        self.answered.append(0.0)
        try:
            self.socket.send(self._head + _QUESTION.pack(number))
        except OSError:
            return  # no way to the owner right now: asked and lost

    def receive(self) -> None:
        """Take one answer; to try for a second costs more than to be told of it."""
        try:
            data = self.socket.recv(64)
        except OSError:
            return  # none, or the kernel's report of an earlier question that had no way
        self._handle_answer(data[len(self._head) :], time.monotonic())

    def _handle_answer(self, data: bytes, now: float) -> None:
        index = _QUESTION.unpack(data)[0] - self.base if len(data) == _QUESTION.size else -1
        if 0 <= index < len(self.answered) and not self.answered[index]:
            self.answered[index] = now
            self.worst = max(self.worst, now - self.last)
            self.last = now

    def window(self, start: float, end: float, interval: float) -> dict[str, float]:
        """Count the questions sent in [start, end], and the longest gap between answers."""
        span = slice(bisect_left(self.asked, start), bisect_right(self.asked, end))
        # An answer may overtake another at a change of owner.
        arrivals = sorted(moment for moment in self.answered if moment)
        return {
            "sent": span.stop - span.start,
            "lost": sum(moment == 0.0 for moment in self.answered[span]),
            "outage_ms": measure.outage_ms(arrivals, start, end, interval),
        }

    def live(self, now: float, interval: float) -> float:
        """The longest gap since `mark`, still open ones included, in ms."""
        return max(0.0, max(self.worst, now - self.last) - interval) * 1000

    def forget(self, before: float) -> None:
        """Drop what was asked before that moment."""
        count = bisect_left(self.asked, before)
        del self.asked[:count]
        del self.answered[:count]
        self.base += count


def usual_rate(ips: int) -> int:
    """Questions a second and IP: 1,000 of a few, not below 100 of many."""
    return max(LEAST_RATE, min(USUAL_RATE, USUAL_IN_ALL // ips))


class TrafficProber:
    """All targets, asked in turn, some every `TICK` seconds: `rate` a second of each IP."""

    def __init__(self, ips: list[str], port: int, rate: int, *, icmp: bool) -> None:
        self.targets = {ip: ProbedIP(ip, port, icmp=icmp) for ip in ips}
        self._ring = list(self.targets.values())
        self._at = 0
        self.interval = 1 / rate
        self._per_tick = min(len(ips), math.ceil(rate * len(ips) * TICK))
        self._tick = self._per_tick / (rate * len(ips))
        self._own_gaps: list[tuple[float, float]] = []
        self._next = time.monotonic()

    def tick(self) -> float:
        """Ask what is due; return the seconds until the next tick."""
        now = time.monotonic()
        if now >= self._next:
            if now - self._next > OWN_GAP:
                self._own_gaps.append((self._next, now))
            for _ in range(self._per_tick):
                self._ring[self._at].ask()
                self._at = (self._at + 1) % len(self._ring)
            # Ticks that were slept through are skipped: a burst would measure something else.
            self._next = max(self._next + self._tick, now - self._tick)
        return max(0.0, self._next - time.monotonic())

    def window(self, question: dict[str, Any]) -> dict[str, Any]:
        """Rows by IP, and how long the prober itself stood still within the window."""
        start, end = question["start"], question["end"]
        gaps = [min(b, end) - max(a, start) for a, b in self._own_gaps if a < end and b > start]
        rows = {ip: target.window(start, end, self.interval) for ip, target in self.targets.items()}
        # Working this out took time, which is no gap in measuring.
        self._next = time.monotonic()
        return {"ips": rows, "prober_gap_ms": 1000 * max(gaps, default=0.0)}

    def live(self, _question: dict[str, Any]) -> dict[str, float]:
        """The running outage of each IP in ms."""
        now = time.monotonic()
        return {ip: target.live(now, self.interval) for ip, target in self.targets.items()}

    def mark(self, question: dict[str, Any]) -> bool:
        """Begin a measurement: forgets what is older than `before`."""
        for target in self.targets.values():
            target.forget(question["before"])
            target.mark()
        self._own_gaps.clear()
        self._next = time.monotonic()
        return True


def main() -> None:
    """Ask until the lab goes."""
    given = settings()
    prober = TrafficProber(given["ips"], given["port"], given["rate"], icmp=given["icmp"])
    console = Console({"window": prober.window, "live": prober.live, "mark": prober.mark})
    sockets = {target.socket.fileno(): target for target in prober.targets.values()}
    watched = [0, *sockets]
    console.report_ready()
    while True:
        # What arrives meanwhile is read together: to wait on 200 sockets for each answer would cost
        # more than all else here. An answer is late by a tick at most.
        time.sleep(prober.tick())
        while ready := select.select(watched, [], [], 0)[0]:
            for fd in ready:
                if fd == 0:
                    console.handle()
                else:
                    sockets[fd].receive()


if __name__ == "__main__":
    main()
