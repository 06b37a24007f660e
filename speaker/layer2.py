"""Moves frames between packet sockets and the cores: answers requests, sends announcements."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address
from re import Pattern
from typing import Any

from arp.gratuitous import gratuitous
from arp.responder import respond
from link.drop import DropReason
from link.filter import ARP_REQUESTS
from link.frame import EtherType
from link.interface import Interface, arp_eligibility
from link.packet_socket import PACKET_OTHERHOST, PacketSocket
from speaker.announcer import Announcement, Announcer, IPAddress

FRAMES_A_TURN = 64
"""How many frames one link may take of one turn of the loop; the rest waits for the next."""
RETRY_INTERVAL = 1.0
"""Seconds until a socket that could not be opened is tried again."""


@dataclass(slots=True)
class Layer2Stats:
    """What went over the wire; the IPs are those of configured services, so series are bounded."""

    requests: Counter[str] = field(default_factory=Counter)
    responses: Counter[str] = field(default_factory=Counter)
    gratuitous: Counter[str] = field(default_factory=Counter)
    dropped: Counter[DropReason] = field(default_factory=Counter)


@dataclass(slots=True)
class _Responder:
    interface: Interface
    socket: PacketSocket


class Layer2:
    """One packet socket for each eligible interface, opened and closed as links come and go."""

    def __init__(
        self,
        announcer: Announcer,
        clock: Callable[[], float],
        exclude: Pattern[str] | None,
        on_frames: Callable[[float], None],
        log: Any,
    ) -> None:
        """`on_frames(now)` is called before waiting frames are read: it may call `discard`."""
        self._announcer = announcer
        self._clock = clock
        self._exclude = exclude
        self._on_frames = on_frames
        self._log = log
        self._responders: dict[int, _Responder] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._all: Mapping[int, Interface] = {}
        self.stats = Layer2Stats()
        self.on_first_frame: Callable[[IPAddress], None] = lambda ip: None
        """Called with each IP whose announcement has just left."""

    def set_interfaces(self, interfaces: Mapping[int, Interface]) -> None:
        """Take the node's links; raises PermissionError where CAP_NET_RAW is missing."""
        self._all = interfaces
        wanted = {
            index: interface
            for index, interface in interfaces.items()
            if arp_eligibility(interface, self._exclude) is None
        }
        for index in self._responders.keys() - wanted.keys():
            self._close(index)
        for interface in wanted.values():
            self._open(interface)
        usable = {index: responder.interface for index, responder in self._responders.items()}
        self._announcer.set_interfaces(usable, self._clock())
        self.flush()

    def names(self) -> frozenset[str]:
        """Return the names of the links that answer."""
        return frozenset(responder.interface.name for responder in self._responders.values())

    def flush(self) -> None:
        """Send the announcements that are due."""
        for announcement in self._announcer.transmits():
            self._send(announcement)

    def discard(self) -> None:
        """Throw away frames that waited while the process stood still."""
        for responder in self._responders.values():
            self.stats.dropped[DropReason.STALE] += responder.socket.discard()

    def close(self) -> None:
        """Close all sockets; no frame is answered any more."""
        if self._retry is not None:
            self._retry.cancel()
        for index in list(self._responders):
            self._close(index)

    def _open(self, interface: Interface) -> None:
        known = self._responders.get(interface.index)
        if known is not None:
            known.interface = interface
            return
        try:
            opened = PacketSocket(interface.name, EtherType.ARP, ARP_REQUESTS)
        except PermissionError:
            raise
        except OSError as error:
            # The link may be on its way out; netlink tells, else a later try succeeds.
            self._log.warning("interface", interface=interface.name, error=str(error))
            self._retry_later()
            return
        self._responders[interface.index] = _Responder(interface, opened)
        readable = partial(self._readable, interface.index)
        asyncio.get_running_loop().add_reader(opened.fileno(), readable)
        self._log.info("interface", interface=interface.name, state="answering")

    def _retry_later(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        loop = asyncio.get_running_loop()
        self._retry = loop.call_later(RETRY_INTERVAL, lambda: self.set_interfaces(self._all))

    def _close(self, index: int) -> None:
        responder = self._responders.pop(index)
        loop = asyncio.get_running_loop()
        loop.remove_reader(responder.socket.fileno())
        # The kernel waits out a grace period of some 12 ms; not on the loop.
        loop.run_in_executor(None, responder.socket.close)
        self._log.info("interface", interface=responder.interface.name, state="closed")

    def _readable(self, index: int) -> None:
        self._on_frames(self._clock())
        responder = self._responders.get(index)
        if responder is None:
            return
        for data, packet_type in responder.socket.receive(FRAMES_A_TURN):
            if packet_type == PACKET_OTHERHOST:
                self.stats.dropped[DropReason.OTHER_HOST] += 1
            else:
                self._answer(responder, data)

    def _answer(self, responder: _Responder, data: bytes) -> None:
        interface = responder.interface
        asked: list[IPv4Address] = []

        def answers(ip: IPv4Address) -> DropReason | None:
            asked.append(ip)
            return self._announcer.answers(ip, interface.index)

        result = respond(data, interface.mac, answers)
        if isinstance(result, DropReason):
            self.stats.dropped[result] += 1
            return
        ip = str(asked[0])
        self.stats.requests[ip] += 1
        if self._transmit(responder, result):
            self.stats.responses[ip] += 1

    def _send(self, announcement: Announcement) -> None:
        responder = self._responders.get(announcement.interface.index)
        ip = announcement.ip
        if responder is None or not isinstance(ip, IPv4Address):
            return
        frames = gratuitous(announcement.interface.mac, ip)
        sent = sum(self._transmit(responder, frame) for frame in frames)
        self.stats.gratuitous[str(ip)] += sent
        if sent:
            self.on_first_frame(ip)

    def _transmit(self, responder: _Responder, frame: bytes) -> bool:
        try:
            responder.socket.send(frame)
        except OSError:
            self.stats.dropped[DropReason.SEND_FAILED] += 1
            return False
        return True
