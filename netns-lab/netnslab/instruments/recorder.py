"""Whoever listens on the segment: keeps the gossip that passes the bridge, to be played again.

Only what goes to the gossip port is kept: datagrams, and what a stream's dialler sends.
"""

import contextlib
import select
import socket
import struct
from typing import Any

from netnslab.instruments import filters
from netnslab.instruments.capture import (
    ETH_P_IP,
    PACKET_ADD_MEMBERSHIP,
    PACKET_MR_PROMISC,
    SOL_PACKET,
)
from netnslab.instruments.instrument import Console, arrivals, packet_socket, settings
from netnslab.machines.addresses import BRIDGE, GOSSIP_PORT

MOST_DATAGRAMS, MOST_STREAMS = 2000, 100
IP_HEADER, UDP_HEADER = 20, 8


class Tape:
    """The first datagrams and streams of a ring."""

    def __init__(self) -> None:
        self._datagrams: list[bytes] = []
        self._streams: dict[bytes, dict[int, bytes]] = {}

    def take(self, frame: bytes) -> None:
        """Keep what a frame says to the gossip port; the filter lets in plain IPv4 only."""
        head, rest = frame[14 : 14 + IP_HEADER], frame[14 + IP_HEADER :]
        length = int.from_bytes(head[2:4], "big") - IP_HEADER
        if int.from_bytes(rest[2:4], "big") != GOSSIP_PORT:
            return
        if head[9] == socket.IPPROTO_UDP:
            self._datagram(rest[UDP_HEADER:length])
        elif head[9] == socket.IPPROTO_TCP:
            self._segment(head[12:20] + rest[:2], rest[:length])

    def _datagram(self, data: bytes) -> None:
        if data and len(self._datagrams) < MOST_DATAGRAMS:
            self._datagrams.append(data)

    def _segment(self, stream: bytes, segment: bytes) -> None:
        """Put the stream in its order, whatever was sent twice."""
        data = segment[4 * (segment[12] >> 4) :]
        if data and (stream in self._streams or len(self._streams) < MOST_STREAMS):
            self._streams.setdefault(stream, {})[int.from_bytes(segment[4:8], "big")] = data

    def recording(self) -> dict[str, list[str]]:
        """Everything so far, as hex."""
        streams = (
            b"".join(data for _, data in sorted(parts.items())) for parts in self._streams.values()
        )
        return {
            "datagrams": [data.hex() for data in self._datagrams],
            "streams": [data.hex() for data in streams],
        }


class Recorder:
    """A tape behind a socket on the bridge."""

    def __init__(self) -> None:
        self.raw = packet_socket(BRIDGE, ETH_P_IP)
        filters.gossip(self.raw)
        # A bridge hands itself only what is flooded, unless it is promiscuous.
        wanted = struct.pack("IHH8s", socket.if_nametoindex(BRIDGE), PACKET_MR_PROMISC, 0, b"")
        self.raw.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, wanted)
        self._tape = Tape()

    def receive(self) -> None:
        """Take every waiting frame."""
        for _, frame in arrivals(self.raw):
            self._tape.take(frame)

    def recording(self, _question: dict[str, Any]) -> dict[str, list[str]]:
        """Everything so far, as hex."""
        self.receive()
        return self._tape.recording()


def main() -> None:
    """Listen until the lab goes."""
    settings()
    recorder = Recorder()
    console = Console({"recording": recorder.recording})
    console.report_ready()
    while True:
        with contextlib.suppress(InterruptedError):
            ready, _, _ = select.select([0, recorder.raw.fileno()], [], [])
            recorder.receive()
            if 0 in ready:
                console.handle()


if __name__ == "__main__":
    main()
