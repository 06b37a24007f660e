"""The tap on the bridge: every ARP or neighbour message that speaks for a service IP, and when;
and between whom gossip passed."""

import contextlib
import select
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from netnslab.instruments import arp, filters, wire
from netnslab.instruments.instrument import Console, arrivals, packet_socket, settings
from netnslab.machines.addresses import BRIDGE
from netnslab.results import measure

ETH_P_IP = 0x0800
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 263, 1, 1
# The first frames tell who announced; a storm must not fill the memory.
MOST_FRAMES = 100_000
GATHER = 0.002


@dataclass(frozen=True)
class SpokenFrame:
    """One frame that names a service IP as its sender."""

    at: float
    mac: str
    kind: str


class Gossiped(NamedTuple):
    """One frame of gossip: when, and between which MACs."""

    at: float
    destination: str
    source: str


class Capture:
    """Keeps, for each IP, the frames that speak for it; those beyond the limit are counted."""

    def __init__(self, ips: list[str], asker: str) -> None:
        """`asker`: the address of the second host, who asks but never speaks for an IP."""
        self.raw = packet_socket(BRIDGE, wire.ethertype(ips))
        filters.neighbours(self.raw, ips, but=(asker,))
        # A bridge hands itself only what is flooded, unless it is promiscuous.
        wanted = struct.pack("IHH8s", socket.if_nametoindex(BRIDGE), PACKET_MR_PROMISC, 0, b"")
        self.raw.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, wanted)
        self.gossip = packet_socket(BRIDGE, ETH_P_IP)
        filters.gossip(self.gossip)
        self._gossiped: deque[Gossiped] = deque(maxlen=MOST_FRAMES)
        self._seen: dict[str, list[SpokenFrame]] = {ip: [] for ip in ips}
        self._dropped = 0

    def receive(self) -> None:
        """Take every waiting frame."""
        for at, frame in arrivals(self.gossip):
            heads = arp.mac_text(frame[:6]), arp.mac_text(frame[6:12])
            self._gossiped.append(Gossiped(at, *heads))
        for at, frame in arrivals(self.raw):
            said = wire.read(frame)
            seen = self._seen.get(said.ip) if said else None
            if said is None or seen is None:
                continue
            if len(seen) < MOST_FRAMES:
                seen.append(SpokenFrame(at, said.mac, said.kind))
            else:
                self._dropped += 1

    def contact(self, question: dict[str, Any]) -> float | None:
        """When the first gossip reached that MAC after `start`; None: not yet."""
        self.receive()
        moments = (
            one.at
            for one in self._gossiped
            if one.destination == question["mac"] and one.at >= question["start"]
        )
        return next(moments, None)

    def since(self, question: dict[str, Any]) -> dict[str, Any]:
        """By IP and MAC: first and last frame (ms after `start`); by kind how many, since when; and
        how many of one kind, but for plain answers, came in the busiest second."""
        self.receive()
        start = question["start"]
        return {ip: _by_mac(seen, start) for ip, seen in self._seen.items()}

    def mark(self, question: dict[str, Any]) -> int:
        """Forget what is older than `before`; return how many frames the limit has cost."""
        for ip, seen in self._seen.items():
            self._seen[ip] = [one for one in seen if one.at >= question["before"]]
        return self._dropped


def _by_mac(seen: list[SpokenFrame], start: float) -> dict[str, Any]:
    macs: dict[str, Any] = {}
    unasked: dict[tuple[str, str], list[float]] = {}
    for one in seen:
        if one.at >= start:
            if one.kind not in wire.PLAIN:
                unasked.setdefault((one.mac, one.kind), []).append(one.at)
            after = 1000 * (one.at - start)
            begun = {"first_ms": after, "busiest": 0, "kinds": {}, "begin_ms": {}}
            row = macs.setdefault(one.mac, begun)
            row["last_ms"] = after
            row["begin_ms"].setdefault(one.kind, round(after))
            row["kinds"][one.kind] = row["kinds"].get(one.kind, 0) + 1
    for (mac, _), moments in unasked.items():
        macs[mac]["busiest"] = max(macs[mac]["busiest"], measure.busiest(moments))
    return macs


def main() -> None:
    """Listen until the lab goes."""
    given = settings()
    capture = Capture(given["ips"], given["asker"])
    console = Console({"since": capture.since, "contact": capture.contact, "mark": capture.mark})
    sockets = (capture.raw.fileno(), capture.gossip.fileno())
    console.report_ready()
    while True:
        with contextlib.suppress(InterruptedError):
            ready, _, _ = select.select([0, *sockets], [], [])
            # The kernel stamps what arrives, so it may gather a little and be read together.
            time.sleep(GATHER)
            if ready != [0]:
                capture.receive()
            if 0 in ready:
                console.handle()


if __name__ == "__main__":
    main()
