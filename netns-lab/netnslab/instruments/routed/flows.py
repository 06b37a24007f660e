"""The client: many flows of UDP questions, each from a source port of its own that never changes.

A router spreads flows by their ports, and each answer names the node that gave it: so one sees for
each flow which node it had before and after a fault, and what was lost in between.
"""

import select
import socket
import struct
import time
from array import array
from bisect import bisect_left, bisect_right
from typing import Any

from netnslab.instruments.instrument import Console, family_of, settings

_QUESTION = struct.Struct("!I")
_ANSWER = struct.Struct("!BI")
# Beyond this the client itself was not running; what it then missed says nothing about routes.
OWN_GAP = 0.05
NOBODY = 0


class Flow:
    """One source port: when each question was asked, and which node answered it (0: nobody).

    What was forgotten keeps its numbers: the lists begin at `base`.
    """

    def __init__(self, ip: str, port: int, home: str, source: int) -> None:
        self.socket = socket.socket(family_of(ip), socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        if self.socket.family == socket.AF_INET6:  # or the port counts as taken for IPv4 too
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.bind((home, source))
        # Not connected: for IPv6 that would remember a way whose link has no carrier any more.
        self._where = (ip, port)
        self.ip, self.source = ip, source
        self.base = 0
        self.asked, self.by = array("d"), array("B")

    def ask(self) -> None:
        """Send the next question."""
        self.asked.append(time.monotonic())
        self.by.append(NOBODY)
        try:
            self.socket.sendto(_QUESTION.pack(self.base + len(self.asked) - 1), self._where)
        except OSError:
            return  # no way there right now: asked and lost

    def receive(self) -> None:
        """Take the answers that wait."""
        while True:
            try:
                data, sender = self.socket.recvfrom(64)
            except BlockingIOError:
                return
            if sender[:2] == self._where:
                self.handle_answer(data)

    def handle_answer(self, data: bytes) -> None:
        """Note who answered which question."""
        if len(data) == _ANSWER.size:
            node, number = _ANSWER.unpack(data)
            if 0 <= number - self.base < len(self.by):
                self.by[number - self.base] = node

    def window(self, start: float, end: float) -> dict[str, Any]:
        """Who answered last before `start`, who last of all, and what was lost from then on."""
        first, last = bisect_left(self.asked, start), bisect_right(self.asked, end)
        lost = [self.asked[n] for n in range(first, last) if self.by[n] == NOBODY]
        return {
            "ip": self.ip,
            "source": self.source,
            "before": _last_of(self.by[:first]),
            "after": _last_of(self.by[first:last]),
            "sent": last - first,
            "lost": lost,
        }

    def forget(self, before: float) -> None:
        """Drop what was asked before that moment."""
        count = bisect_left(self.asked, before)
        del self.asked[:count]
        del self.by[:count]
        self.base += count


def _last_of(nodes: "array[int]") -> int:
    return next((node for node in reversed(nodes) if node != NOBODY), NOBODY)


class FlowProber:
    """All flows, asked in turn and evenly: `rate` questions a second each."""

    def __init__(self, flows: list[Flow], rate: float) -> None:
        self.flows = flows
        self._step = 1 / (rate * len(flows))
        self._at = 0
        self._next = time.monotonic()
        self._own_gaps: list[tuple[float, float]] = []

    def tick(self) -> float:
        """Ask what is due; return the seconds until the next question."""
        now = time.monotonic()
        if now - self._next > OWN_GAP:
            self._own_gaps.append((self._next, now))
            self._next = now  # what was slept through is not asked in one burst
        while self._next <= now:
            self.flows[self._at].ask()
            self._at = (self._at + 1) % len(self.flows)
            self._next += self._step
        return self._next - now

    def window(self, question: dict[str, Any]) -> dict[str, Any]:
        """A row for each flow, and how long the client itself stood still within the window."""
        start, end = question["start"], question["end"]
        gaps = [min(b, end) - max(a, start) for a, b in self._own_gaps if a < end and b > start]
        rows = [flow.window(start, end) for flow in self.flows]
        self._next = time.monotonic()  # to work this out took time, which is no gap in asking
        return {"flows": rows, "own_gap_ms": 1000 * max(gaps, default=0.0)}

    def answered(self, question: dict[str, Any]) -> int:
        """How many flows have had an answer to a question asked from `start` on."""
        start, now = question["start"], time.monotonic()
        return sum(flow.window(start, now)["after"] != NOBODY for flow in self.flows)

    def forget(self, question: dict[str, Any]) -> bool:
        """Drop what was asked before that moment."""
        for flow in self.flows:
            flow.forget(question["before"])
        self._own_gaps.clear()
        self._next = time.monotonic()
        return True


def main() -> None:
    """Ask until the lab goes."""
    given = settings()
    ips, first = given["ips"], given["first_port"]
    flows = [
        Flow(ips[number % len(ips)], given["port"], given["home"], first + number)
        for number in range(given["flows"])
    ]
    prober = FlowProber(flows, given["rate"])
    console = Console(
        {"window": prober.window, "answered": prober.answered, "forget": prober.forget}
    )
    by_fd = {flow.socket.fileno(): flow for flow in flows}
    poll = select.epoll()
    for fd in (0, *by_fd):
        poll.register(fd, select.EPOLLIN)
    console.report_ready()
    while True:
        for fd, _ in poll.poll(prober.tick()):
            if fd == 0:
                console.handle()
            else:
                by_fd[fd].receive()


if __name__ == "__main__":
    main()
