"""A storm of broadcast questions, ARP or NDP, about addresses that nobody has."""

import contextlib
import select
import time
from typing import Any

from netnslab.instruments import wire
from netnslab.instruments.instrument import Console, packet_socket, settings
from netnslab.machines.addresses import LINK, STORM_IP, STORM_IP6, stranger

TICK = 0.001
STRANGERS = 1000
# What a pause has cost is made up for only so far: a burst is another kind of storm.
MOST_BEHIND = 0.1


class Storm:
    """Sends `rate` questions a second and counts them."""

    def __init__(self, mac: str, rate: int, family: int) -> None:
        own = bytes.fromhex(mac.replace(":", ""))
        self._raw = packet_socket(LINK, 0)
        asker = STORM_IP6 if family == 6 else STORM_IP
        ips = [stranger(number, family) for number in range(STRANGERS)]
        self._frames = [wire.question(own, asker, ip) for ip in ips]
        self._rate, self._sent = rate, 0
        self._began = self._due = time.monotonic()

    def tick(self) -> float:
        """Send what is due; return the seconds until the next tick."""
        now = time.monotonic()
        self._due = max(self._due, now - MOST_BEHIND)
        while self._due <= now:
            with contextlib.suppress(OSError):
                self._raw.send(self._frames[self._sent % len(self._frames)])
            self._sent += 1
            self._due += 1 / self._rate
        return TICK

    def rate(self, _question: dict[str, Any]) -> float:
        """Questions a second since the beginning."""
        return self._sent / (time.monotonic() - self._began)


def main() -> None:
    """Ask until the lab goes."""
    given = settings()
    storm = Storm(given["mac"], given["rate"], given["family"])
    console = Console({"rate": storm.rate})
    console.report_ready()
    while True:
        ready, _, _ = select.select([0], [], [], storm.tick())
        if ready:
            console.handle()


if __name__ == "__main__":
    main()
