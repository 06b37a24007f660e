"""The second host: asks for every service IP by broadcast, without a cache, 20 times a second.

Of many, only those that a fault will hit are asked so often. A warm Linux client asks nobody for a
quarter of a minute, so traffic alone proves no takeover.

Each question comes from a MAC of its own, of so many: kernels and speakers answer to the MAC that
asks (RFC 826; RFC 4861 section 7.2.4), so each answer tells which question it belongs to. To all of
them it is one client, for its IP is always the same.
"""

import contextlib
import dataclasses
import select
import time
from collections.abc import Iterable, Iterator
from itertools import cycle
from typing import Any

from netnslab.instruments import filters, wire
from netnslab.instruments.instrument import Console, arrivals, packet_socket, settings
from netnslab.machines.addresses import LINK, MANY
from netnslab.results import measure

# Thousands of broadcasts a second would keep the machine busy with the stopwatch: eight speakers
# hear each of them.
INTERVAL, INTERVAL_OF_OTHERS = 0.05, 0.4
# The kernel stamps what arrives, so it may wait a little and be read together.
LEAST_WAIT = 0.002
# At 20 questions a second an answer may come 51 s late and still be known for what it is.
IDENTITIES = 1024
_MACS = b"\x02\x00\x00\x04"


def mac_of(identity: int) -> bytes:
    """Whom that question comes from."""
    return _MACS + identity.to_bytes(2, "big")


def identity_of(mac: str) -> int | None:
    """Which question is answered to that MAC; None where it is none of ours."""
    raw = bytes.fromhex(mac.replace(":", ""))
    identity = int.from_bytes(raw[4:], "big")
    return identity if raw[:4] == _MACS and identity < IDENTITIES else None


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


class SecondHost:
    """Asks, and keeps what was answered."""

    def __init__(self, own_ip: str, ips: list[str]) -> None:
        self.raw = packet_socket(LINK, wire.ethertype(ips))
        filters.neighbours(self.raw, ips)
        self._own_ip = own_ip
        self._asked = {ip: measure.Questions(IDENTITIES) for ip in ips}
        self._answers: dict[str, list[measure.TimedAnswer]] = {ip: [] for ip in ips}
        self._interval: dict[str, float] = {}
        self._rings: list[Ring] = []
        self.focus({"ips": []})

    def focus(self, question: dict[str, Any]) -> bool:
        """Ask these IPs often, and the others too where they are few."""
        often = set(question["ips"] if len(self._asked) > MANY else self._asked)
        self._interval = {ip: INTERVAL if ip in often else INTERVAL_OF_OTHERS for ip in self._asked}
        self._rings = [
            Ring((ip for ip, each in self._interval.items() if each == interval), interval)
            for interval in (INTERVAL, INTERVAL_OF_OTHERS)
        ]
        return True

    def tick(self) -> float:
        """Ask what is due; return the seconds until the next question."""
        for ring in self._rings:
            for ip in ring.due(time.monotonic()):
                mac = mac_of(self._asked[ip].ask(time.monotonic()))
                self._send(wire.question(mac, self._own_ip, ip))
        now = time.monotonic()
        return max(LEAST_WAIT, min(ring.wait(now) for ring in self._rings))

    def _send(self, frame: bytes) -> None:
        with contextlib.suppress(OSError):
            self.raw.send(frame)

    def receive(self) -> None:
        """Note every answer that waits; announcements are no answers. Say where itself is, as
        any client does."""
        for at, frame in arrivals(self.raw):
            said = wire.read(frame)
            if said is not None and said.answer and said.ip in self._answers:
                self._note(at, said)
            elif (reply := wire.reply(frame, self._own_ip, mac_of(0))) is not None:
                self._send(reply)

    def _note(self, at: float, said: wire.Said) -> None:
        identity = identity_of(said.to)
        asked = None if identity is None else self._asked[said.ip].time_of(identity, at)
        if asked is not None:
            self._answers[said.ip].append(measure.TimedAnswer(at, said.mac, asked))

    def window(self, question: dict[str, Any]) -> dict[str, Any]:
        """`measure.Heard` of every IP between `start` and `end`."""
        self.receive()
        start, end = question["start"], question["end"]
        return {
            ip: dataclasses.asdict(
                measure.evaluate(asked.moments, self._answers[ip], start, end, self._interval[ip])
            )
            for ip, asked in self._asked.items()
        }

    def mark(self, question: dict[str, Any]) -> bool:
        """Forget what is older than `before`."""
        before = question["before"]
        for ip, asked in self._asked.items():
            asked.forget(before)
            self._answers[ip] = [answer for answer in self._answers[ip] if answer.at >= before]
        return True


def main() -> None:
    """Ask until the lab goes."""
    given = settings()
    observer = SecondHost(given["ip"], given["ips"])
    console = Console({"window": observer.window, "mark": observer.mark, "focus": observer.focus})
    console.report_ready()
    while True:
        ready, _, _ = select.select([0], [], [], observer.tick())
        observer.receive()
        if ready:
            console.handle()


if __name__ == "__main__":
    main()
