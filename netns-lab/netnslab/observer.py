"""The second host: asks for every service IP by broadcast, without a cache, 20 times a second.

Of many, only those that a fault will hit are asked so often. A warm Linux client asks nobody for a
quarter of a minute, so traffic alone proves no takeover.
"""

import contextlib
import dataclasses
import select
import time
from collections.abc import Iterable, Iterator
from itertools import cycle
from typing import Any

from netnslab import filters, measure, wire
from netnslab.addresses import LINK, MANY
from netnslab.instrument import Console, packet_socket, received, settings

# Thousands of broadcasts a second would keep the machine busy with the stopwatch: eight speakers
# hear each of them.
INTERVAL, INTERVAL_OF_OTHERS = 0.05, 0.4
# The kernel stamps what arrives, so it may wait a little and be read together.
LEAST_WAIT = 0.002


class Ring:
    """Some IPs that are asked in turn, evenly spread over the interval."""

    def __init__(self, ips: Iterable[str], interval: float) -> None:
        self._ips = cycle(listed := list(ips))
        self._interval = interval
        self._step = interval / max(1, len(listed))
        self._next = time.monotonic() if listed else float("inf")

    def due(self, now: float) -> Iterator[str]:
        """Those to ask now."""
        while now >= self._next:
            yield next(self._ips)
            # No more than one round is made up for after a pause.
            self._next = max(self._next + self._step, now - self._interval)

    def wait(self, now: float) -> float:
        """Seconds until the next question."""
        return self._next - now


class Observer:
    """Asks, and keeps what was answered."""

    def __init__(self, mac: str, own_ip: str, ips: list[str]) -> None:
        own = bytes.fromhex(mac.replace(":", ""))
        self.raw = packet_socket(LINK, wire.ethertype(ips))
        filters.neighbours(self.raw, ips)
        self._frames = {ip: wire.question(own, own_ip, ip) for ip in ips}
        self._asked: dict[str, list[float]] = {ip: [] for ip in ips}
        self._answers: dict[str, list[measure.Answer]] = {ip: [] for ip in ips}
        self._interval: dict[str, float] = {}
        self._rings: list[Ring] = []
        self.focus({"ips": []})

    def focus(self, question: dict[str, Any]) -> bool:
        """Asks these IPs often, and the others too where they are few."""
        often = set(question["ips"] if len(self._frames) > MANY else self._frames)
        self._interval = {
            ip: INTERVAL if ip in often else INTERVAL_OF_OTHERS for ip in self._frames
        }
        self._rings = [
            Ring((ip for ip, each in self._interval.items() if each == interval), interval)
            for interval in (INTERVAL, INTERVAL_OF_OTHERS)
        ]
        return True

    def tick(self) -> float:
        """Asks what is due; returns the seconds until the next question."""
        for ring in self._rings:
            for ip in ring.due(time.monotonic()):
                self._asked[ip].append(time.monotonic())
                with contextlib.suppress(OSError):
                    self.raw.send(self._frames[ip])
        now = time.monotonic()
        return max(LEAST_WAIT, min(ring.wait(now) for ring in self._rings))

    def receive(self) -> None:
        """Notes every answer that waits; announcements are no answers."""
        for at, frame in received(self.raw):
            said = wire.said(frame)
            if said is not None and said.answer and said.ip in self._answers:
                self._answers[said.ip].append(measure.Answer(at, said.mac))

    def window(self, question: dict[str, Any]) -> dict[str, Any]:
        """`measure.Heard` of every IP between `start` and `end`."""
        self.receive()
        start, end = question["start"], question["end"]
        return {
            ip: dataclasses.asdict(
                measure.heard(self._asked[ip], self._answers[ip], start, end, self._interval[ip])
            )
            for ip in self._asked
        }

    def mark(self, question: dict[str, Any]) -> bool:
        """Forgets what is older than `before`."""
        before = question["before"]
        for ip in self._asked:
            self._asked[ip] = [at for at in self._asked[ip] if at >= before]
            self._answers[ip] = [answer for answer in self._answers[ip] if answer.at >= before]
        return True


def main() -> None:
    """Asks until the lab goes."""
    given = settings()
    observer = Observer(given["mac"], given["ip"], given["ips"])
    console = Console({"window": observer.window, "mark": observer.mark, "focus": observer.focus})
    console.ready()
    while True:
        ready, _, _ = select.select([0], [], [], observer.tick())
        observer.receive()
        if ready:
            console.handle()


if __name__ == "__main__":
    main()
