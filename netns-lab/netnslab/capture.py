"""The tap on the bridge: every ARP or neighbour message that speaks for a service IP, and when."""

import contextlib
import select
import socket
import struct
from dataclasses import dataclass
from typing import Any

from netnslab import wire
from netnslab.addresses import BRIDGE
from netnslab.instrument import Console, packet_socket, received, settings

SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 263, 1, 1
# The first frames tell who announced; a storm must not fill the memory.
MOST_FRAMES = 10_000


@dataclass(frozen=True)
class Seen:
    """One frame that names a service IP as its sender."""

    at: float
    mac: str
    kind: str


class Capture:
    """Keeps, for each IP, the frames that speak for it; those beyond the limit are counted."""

    def __init__(self, ips: list[str]) -> None:
        self.raw = packet_socket(BRIDGE, wire.ethertype(ips))
        if wire.family(ips) == 6:
            wire.neighbour_messages_only(self.raw)
        # A bridge hands itself only what is flooded, unless it is promiscuous.
        wanted = struct.pack("IHH8s", socket.if_nametoindex(BRIDGE), PACKET_MR_PROMISC, 0, b"")
        self.raw.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, wanted)
        self._seen: dict[str, list[Seen]] = {ip: [] for ip in ips}
        self._dropped = 0

    def receive(self) -> None:
        """Takes every waiting frame."""
        for at, frame in received(self.raw):
            said = wire.said(frame)
            seen = self._seen.get(said.ip) if said else None
            if said is None or seen is None:
                continue
            if len(seen) < MOST_FRAMES:
                seen.append(Seen(at, said.mac, said.kind))
            else:
                self._dropped += 1

    def since(self, question: dict[str, Any]) -> dict[str, Any]:
        """By IP: the first frame of each MAC (ms after `start`) and its announcements by kind."""
        self.receive()
        start = question["start"]
        return {ip: _by_mac(seen, start) for ip, seen in self._seen.items()}

    def mark(self, question: dict[str, Any]) -> int:
        """Forgets what is older than `before`; returns how many frames the limit has cost."""
        for ip, seen in self._seen.items():
            self._seen[ip] = [one for one in seen if one.at >= question["before"]]
        return self._dropped


def _by_mac(seen: list[Seen], start: float) -> dict[str, Any]:
    macs: dict[str, Any] = {}
    for one in seen:
        if one.at >= start:
            row = macs.setdefault(one.mac, {"first_ms": 1000 * (one.at - start), "kinds": {}})
            row["kinds"][one.kind] = row["kinds"].get(one.kind, 0) + 1
    return macs


def main() -> None:
    """Listens until the lab goes."""
    capture = Capture(settings()["ips"])
    console = Console({"since": capture.since, "mark": capture.mark})
    console.ready()
    while True:
        with contextlib.suppress(InterruptedError):
            ready, _, _ = select.select([0, capture.raw.fileno()], [], [])
            if capture.raw.fileno() in ready:
                capture.receive()
            if 0 in ready:
                console.handle()


if __name__ == "__main__":
    main()
