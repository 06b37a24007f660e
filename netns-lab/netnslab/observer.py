"""The second host: asks for every service IP by broadcast, without a cache, 20 times a second, or
10 times where there are many.

A warm Linux client asks nobody for a quarter of a minute, so traffic alone proves no takeover.
"""

import contextlib
import dataclasses
import select
import time
from typing import Any

from netnslab import filters, measure, wire
from netnslab.addresses import LINK
from netnslab.instrument import Console, packet_socket, received, settings

# Thousands of broadcasts a second would keep the machine busy with the stopwatch.
INTERVAL, MANY, INTERVAL_OF_MANY = 0.05, 50, 0.1


def interval(ips: int) -> float:
    """Seconds between two questions for an IP."""
    return INTERVAL if ips <= MANY else INTERVAL_OF_MANY


class Observer:
    """Asks in turn, evenly spread over the interval, and keeps what was answered."""

    def __init__(self, mac: str, own_ip: str, ips: list[str]) -> None:
        own = bytes.fromhex(mac.replace(":", ""))
        self.raw = packet_socket(LINK, wire.ethertype(ips))
        filters.neighbours(self.raw, ips)
        self._frames = [(ip, wire.question(own, own_ip, ip)) for ip in ips]
        self._asked: dict[str, list[float]] = {ip: [] for ip in ips}
        self._answers: dict[str, list[measure.Answer]] = {ip: [] for ip in ips}
        self._at = 0
        self._interval = interval(len(ips))
        self._step = self._interval / len(ips)
        self._next = time.monotonic()

    def tick(self) -> float:
        """Asks what is due; returns the seconds until the next question."""
        now = time.monotonic()
        while now >= self._next:
            ip, frame = self._frames[self._at]
            self._at = (self._at + 1) % len(self._frames)
            self._asked[ip].append(time.monotonic())
            with contextlib.suppress(OSError):
                self.raw.send(frame)
            # No more than one round is made up for after a pause.
            self._next = max(self._next + self._step, now - self._interval)
        return max(0.0, self._next - time.monotonic())

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
                measure.heard(self._asked[ip], self._answers[ip], start, end, self._interval)
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
    console = Console({"window": observer.window, "mark": observer.mark})
    console.ready()
    while True:
        ready, _, _ = select.select([0, observer.raw.fileno()], [], [], observer.tick())
        if observer.raw.fileno() in ready:
            observer.receive()
        if 0 in ready:
            console.handle()


if __name__ == "__main__":
    main()
