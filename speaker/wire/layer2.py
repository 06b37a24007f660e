"""Moves frames between packet sockets and the cores: answers requests, sends announcements."""

import select
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from structlog.typing import FilteringBoundLogger as Log

from link.address import IPAddress
from link.drop import DropReason
from link.interface import Interface
from link.packet_socket import PACKET_OTHERHOST, PacketSocket
from ownership.announcing.announcer import Announcer
from ownership.announcing.answering import Answer, Answering, Ear, IPStats, Overhearer
from ownership.announcing.clients import Clients
from ownership.announcing.frames import build
from ownership.io import Announcement
from speaker.upkeep import Part, survive
from speaker.wire.links import Link, Links, LinkStats, Side

FRAMES_A_TURN = 64
"""How many frames one link may take of one turn of the loop; the rest waits for the next."""
SENDING = 0.0005
"""Seconds for which one turn may send announcements. On a bridge of virtual links one frame takes
up to a millisecond: it is handed to every host before the call returns."""
FRAMES_AT_ONCE = 4
"""How many announcements are sent between two looks at the clock."""


class Listener(Overhearer, Protocol):
    """Who wants to know what comes in, besides questions."""

    def handle_frames(self, ifindex: int, now: float) -> None:
        """Frames of somebody else wait on the link; called before any of them is answered."""


@dataclass(slots=True)
class Layer2Stats:
    """What went over the wire."""

    ips: dict[IPAddress, IPStats] = field(default_factory=dict)
    links: LinkStats = field(default_factory=LinkStats)
    dropped: Counter[DropReason] = field(default_factory=Counter)
    clients: int = 0

    def of(self, ip: IPAddress) -> IPStats:
        """Return the figures of `ip`, to be added to."""
        found = self.ips.get(ip)
        if found is None:
            found = self.ips[ip] = IPStats()
        return found


class Layer2:
    """Reads dry, hands over, sends; `Answering` decides, `Links` holds the sockets."""

    def __init__(
        self,
        announcer: Announcer,
        clients: Clients,
        clock: Callable[[], float],
        on_frames: Callable[[float], None],
        log: Log,
    ) -> None:
        """`on_frames(now)` is called before waiting frames are read: it may call `discard`."""
        self._announcer = announcer
        self._clients = clients
        self._clock = clock
        self._on_frames = on_frames
        self._answering = Answering(announcer, clients)
        self._links = Links(self._readable, self._take_again, log)
        self._all: Mapping[int, Interface] = {}
        self._own_macs: Container[bytes] = frozenset()
        self._now = 0.0
        self._listener: Listener | None = None
        self.stats = Layer2Stats(self._answering.traffic, self._links.stats)
        self.on_first_frame: Callable[[IPAddress], None] = lambda ip: None
        """Called with each IP of which an announcement has just left."""

    @property
    def listener(self) -> Listener | None:
        """Who is told what comes in."""
        return self._listener

    @listener.setter
    def listener(self, listener: Listener | None) -> None:
        self._listener = self._answering.overhearer = listener

    def set_interfaces(
        self, interfaces: Mapping[int, Interface], own_macs: Container[bytes]
    ) -> None:
        """Take the node's links that may answer, and the MACs of all it has.

        Raises PermissionError where CAP_NET_RAW is missing.
        """
        self._all, self._own_macs = interfaces, own_macs
        self._links.set_interfaces(interfaces)
        usable = self._links.usable()
        self._answering.set_interfaces(usable, own_macs)
        self._announcer.set_interfaces(usable, self._clock())
        self.flush()

    def set_service_ips(self, ips: frozenset[IPAddress]) -> None:
        """Take all IPs that this node may ever announce, owned or not.

        The kernel filters and multicast groups follow them, and so change when services change
        but never during a takeover.
        """
        if ips != self._answering.service_ips:
            self._answering.set_service_ips(ips)
            self._links.set_service_ips(ips)

    def usable(self) -> Mapping[int, Interface]:
        """Return the links that answer, by index."""
        return self._links.usable()

    def names(self) -> frozenset[str]:
        """Return the names of the links that answer."""
        return self._links.names()

    def flush(self) -> None:
        """Send announcements that may leave now, as many as one turn has time for."""
        until = self._clock() + SENDING
        while some := self._announcer.transmits(FRAMES_AT_ONCE):
            for announcement in some:
                self._announce(announcement)
            if self._clock() >= until:
                break
        self.stats.clients = len(self._clients)

    def read_dry(self) -> None:
        """Read what waits: what was asked before our announcement is the last owner's to answer."""
        waiting = select.poll()
        readers = dict[int, Callable[[], None]]()
        for link, side in self._links.sides():
            readers[side.socket.fileno()] = partial(self._readable, link, side)
            waiting.register(side.socket.fileno(), select.POLLIN)
        for descriptor, _ in waiting.poll(0):
            readers[descriptor]()

    def discard(self) -> None:
        """Throw away frames that waited while the process stood still."""
        for _, side in self._links.sides():
            self.stats.dropped[DropReason.STALE] += side.socket.discard()

    def close(self) -> None:
        """Close all sockets; no frame is answered any more."""
        self._links.close()

    def _take_again(self) -> None:
        self.set_interfaces(self._all, self._own_macs)

    # ---- frames come in

    def _readable(self, link: Link, side: Side) -> None:
        ifindex, self._now = link.interface.index, self._clock()
        try:
            self._on_frames(self._now)
            if self._listener is not None:
                self._listener.handle_frames(ifindex, self._now)
        except Exception as error:
            survive(Part.FRAMES, error)
        used, ear = side.socket, self._answering.ear(ifindex, side.family.version)
        try:
            for data, packet_type in used.receive(FRAMES_A_TURN):
                if ear is not None:
                    self._take_frame(ear, used, data, packet_type)
        except OSError as error:
            # It would be readable for ever.
            survive(Part.LINKS, error)
            self._links.reopen(link)

    def _take_frame(self, ear: Ear, used: PacketSocket, data: bytes, packet_type: int) -> None:
        other_host = packet_type == PACKET_OTHERHOST
        try:
            outcome = self._answering.handle_frame(ear, data, other_host, self._now)
            if isinstance(outcome, Answer):
                self._answer(used, outcome)
            else:
                self.stats.dropped[outcome] += 1
        except Exception as error:
            # Anybody can send a frame: none may cost those behind it an answer.
            survive(Part.FRAMES, error)

    # ---- frames go out

    def _answer(self, used: PacketSocket, answer: Answer) -> None:
        answer.stats.requests += 1
        if self._transmit(used, answer.frame):
            answer.stats.responses += 1

    def ask(self, ip: IPAddress, ifindex: int, mac: bytes | None = None) -> None:
        """Ask all on the link, or this MAC alone, who answers for `ip`, from an address of ours."""
        link = self._links.get(ifindex)
        side = None if link is None else link.sides.get(ip.version)
        if link is not None and side is not None:
            frame = side.family.ask(link.interface, ip, mac)
            if frame is not None:
                self._transmit(side.socket, frame)

    def _announce(self, announcement: Announcement) -> None:
        ip = announcement.ip
        link = self._links.get(announcement.interface.index)
        side = None if link is None else link.sides.get(ip.version)
        if side is not None and self._transmit(side.socket, build(announcement)):
            self.stats.of(ip).gratuitous += 1
            self.on_first_frame(ip)

    def _transmit(self, used: PacketSocket, frame: bytes) -> bool:
        try:
            used.send(frame)
        except OSError:
            self.stats.dropped[DropReason.SEND_FAILED] += 1
            return False
        return True
