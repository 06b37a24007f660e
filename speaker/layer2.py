"""Moves frames between packet sockets and the cores: answers requests, sends announcements."""

import asyncio
import select
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Protocol

from arp import responder as arp
from arp.gratuitous import request_to_client as arp_request
from link.address import IPAddress
from link.drop import DropReason
from link.filter import (
    IPV4_STEPS,
    IPV6_STEPS,
    Program,
    ProgramTooLongError,
    arp_program,
    level,
    ndp_program,
)
from link.frame import EtherType
from link.interface import Interface
from link.mac import ZERO
from link.multicast import Memberships
from link.packet_socket import LONGEST_FRAME, PACKET_OTHERHOST, PacketSocket
from link.resolution import Question, Told
from ndp import responder as ndp
from ndp.groups import SolicitedNodeGroups
from ndp.unsolicited import solicitation
from ownership.announcing.announcer import Announcer
from ownership.announcing.clients import Clients
from ownership.announcing.frames import build
from ownership.io import Announcement
from speaker.upkeep import Part, survive

FRAMES_A_TURN = 64
"""How many frames one link may take of one turn of the loop; the rest waits for the next."""
SENDING = 0.0005
"""Seconds for which one turn may send announcements. On a bridge of virtual links one frame takes
up to a millisecond: it is handed to every host before the call returns."""
FRAMES_AT_ONCE = 4
"""How many announcements are sent between two looks at the clock."""
JOINS_A_TURN = 25
"""How many multicast groups are joined in one turn: some 1 ms."""
REMEMBERED = 1.0
"""Seconds for which the answer to a question is remembered, or why it gets none."""
MOST_REMEMBERED = 1024
LONGEST_REMEMBERED = 128
"""Bytes of a question: the longest usual one has 86."""
RETRY_INTERVAL = 1.0
"""Seconds until a socket that could not be opened is tried again."""


class Listener(Protocol):
    """Who wants to know what is overheard, besides questions."""

    def frames(self, ifindex: int, now: float) -> None:
        """Frames of somebody else wait on the link; called before any of them is answered."""

    def is_node(self, mac: bytes) -> bool:
        """Tell whether this is the MAC of another node, which asks for an IP to take it over."""

    def announced(self, ip: IPAddress, ifindex: int, mac: bytes, now: float) -> None:
        """Somebody else with this MAC announced a service IP, or answered for it."""

    def client_answered(self, ip: IPAddress, ifindex: int, client: IPAddress, now: float) -> None:
        """A client answered what we had asked it from a service IP."""


@dataclass(slots=True)
class IPStats:
    """What went over the wire about one service IP."""

    requests: int = 0
    responses: int = 0
    gratuitous: int = 0


@dataclass(slots=True)
class Layer2Stats:
    """What went over the wire; the IPs are those of configured services, so series are bounded."""

    ips: dict[IPAddress, IPStats] = field(default_factory=dict)
    dropped: Counter[DropReason] = field(default_factory=Counter)
    filters: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """How closely the kernel filter knows the service IPs, by interface name and family."""
    groups_refused: int = 0
    """Multicast groups that could not be joined."""
    clients: int = 0

    def of(self, ip: IPAddress) -> IPStats:
        """Return the figures of `ip`, to be added to."""
        found = self.ips.get(ip)
        if found is None:
            found = self.ips[ip] = IPStats()
        return found


def prepare(ips: frozenset[IPAddress]) -> None:
    """Make the programs for these IPs, which are then remembered: 10 ms for 1,000, so in a thread.

    `Layer2.set_service_ips` is quick afterwards.
    """
    ipv4, ipv6 = split(ips)
    fits(partial(arp_program, ZERO, ipv4, step) for step in IPV4_STEPS)
    fits(partial(ndp_program, ZERO, ipv6, step) for step in IPV6_STEPS)


def split(ips: frozenset[IPAddress]) -> tuple[frozenset[IPv4Address], frozenset[IPv6Address]]:
    """Part the families."""
    ipv4 = frozenset(ip for ip in ips if isinstance(ip, IPv4Address))
    return ipv4, frozenset(ip for ip in ips if isinstance(ip, IPv6Address))


def fits(steps: Iterable[Callable[[], Program]]) -> None:
    """Make one program after the other, to the first that is not too long."""
    for make in steps:
        with suppress(ProgramTooLongError):
            make()
            return


@dataclass(frozen=True, slots=True)
class _Answer:
    """The frame that answers a question, and where that is counted."""

    stats: IPStats
    frame: bytes


_Outcome = _Answer | DropReason


@dataclass(slots=True)
class _Remembered:
    """Answers by question: clients, and those who verify an entry, ask in the same bytes again.

    So too why there is none: all nodes but one hear each question for nothing.

    Worked out anew whenever `changes` of the announcer differ, and after a second, so that
    `Clients` hears who is still asking.
    """

    answers: dict[bytes, _Outcome] = field(default_factory=dict)
    until: float = 0.0
    changes: int = -1

    def current(self, changes: int, now: float) -> dict[bytes, _Outcome]:
        """Return the answers that still hold, to be added to."""
        if changes != self.changes or now >= self.until or len(self.answers) >= MOST_REMEMBERED:
            self.answers.clear()
            self.changes, self.until = changes, now + REMEMBERED
        return self.answers


@dataclass(slots=True)
class _Link:
    """One interface that answers; `ndp`, `groups`, `source` only while it has an fe80 address."""

    interface: Interface
    arp: PacketSocket
    ndp: PacketSocket | None = None
    groups: Memberships | None = None
    source: IPv6Address | None = None
    filters: dict[str, int | None] = field(default_factory=dict)
    remembered: _Remembered = field(default_factory=_Remembered)

    def socket(self, version: int) -> PacketSocket | None:
        return self.arp if version == 4 else self.ndp


_Reader = Callable[[_Link, bytes], _Outcome | None]


class Layer2:
    """The sockets of each eligible interface, opened and closed as links come and go."""

    def __init__(
        self,
        announcer: Announcer,
        clients: Clients,
        clock: Callable[[], float],
        on_frames: Callable[[float], None],
        log: Any,
    ) -> None:
        """`on_frames(now)` is called before waiting frames are read: it may call `discard`."""
        self._announcer = announcer
        self._clients = clients
        self._clock = clock
        self._on_frames = on_frames
        self._log = log
        self._links: dict[int, _Link] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._joining: asyncio.Handle | None = None
        self._all: Mapping[int, Interface] = {}
        self._service_ips: frozenset[IPAddress] = frozenset()
        self._ipv4: frozenset[IPv4Address] = frozenset()
        self._ipv6: frozenset[IPv6Address] = frozenset()
        self._groups = SolicitedNodeGroups()
        self._own_macs: Container[bytes] = frozenset()
        self._now = 0.0
        self.stats = Layer2Stats()
        self.on_first_frame: Callable[[IPAddress], None] = lambda ip: None
        """Called with each IP of which an announcement has just left."""
        self.listener: Listener | None = None

    def set_interfaces(
        self, interfaces: Mapping[int, Interface], own_macs: Container[bytes]
    ) -> None:
        """Take the node's links that may answer, and the MACs of all it has.

        Raises PermissionError where CAP_NET_RAW is missing.
        """
        self._all, self._own_macs = interfaces, own_macs
        for index in self._links.keys() - interfaces.keys():
            self._close(index)
        for interface in interfaces.values():
            self._take(interface)
        usable = {index: link.interface for index, link in self._links.items()}
        self._announcer.set_interfaces(usable, self._clock())
        self._note_filters()
        self.flush()

    def set_service_ips(self, ips: frozenset[IPAddress]) -> None:
        """Take all IPs that this node may ever announce, owned or not.

        The kernel filters and multicast groups follow them, and so change when services change
        but never during a takeover.
        """
        if ips == self._service_ips:
            return
        self._service_ips = ips
        self._ipv4, self._ipv6 = split(ips)
        self._groups.replace(self._ipv6)
        self._clients.keep_only(ips)
        for gone in self.stats.ips.keys() - ips:
            del self.stats.ips[gone]
        for link in self._links.values():
            self._filter(link)
            self._join(link)
        self._note_filters()

    def usable(self) -> Mapping[int, Interface]:
        """Return the links that answer, by index."""
        return {index: link.interface for index, link in self._links.items()}

    def names(self) -> frozenset[str]:
        """Return the names of the links that answer."""
        return frozenset(link.interface.name for link in self._links.values())

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
        for link in self._links.values():
            for used, read in ((link.arp, self._read_arp), (link.ndp, self._read_ndp)):
                if used is not None:
                    readers[used.fileno()] = partial(self._readable, link, used, read)
                    waiting.register(used.fileno(), select.POLLIN)
        for descriptor, _ in waiting.poll(0):
            readers[descriptor]()

    def discard(self) -> None:
        """Throw away frames that waited while the process stood still."""
        for link in self._links.values():
            for used in (link.arp, link.ndp):
                if used is not None:
                    self.stats.dropped[DropReason.STALE] += used.discard()

    def close(self) -> None:
        """Close all sockets; no frame is answered any more."""
        for handle in (self._retry, self._joining):
            if handle is not None:
                handle.cancel()
        for index in list(self._links):
            self._close(index)

    # ---- links come, change and go

    def _take(self, interface: Interface) -> None:
        try:
            link = self._links.get(interface.index) or self._open(interface)
            stale = link.interface.mac != interface.mac
            link.interface = interface
            if (link.ndp is None) != (interface.link_local is None):
                self._toggle_ndp(link)
            elif stale:
                self._filter(link)
            link.source = interface.link_local
        except PermissionError:
            raise
        except OSError as error:
            # The link may be on its way out; netlink tells, else a later try succeeds.
            self._log.warning("interface", interface=interface.name, error=str(error))
            self._retry_later()

    def _open(self, interface: Interface) -> _Link:
        opened = PacketSocket(interface.name, EtherType.ARP)
        link = self._links[interface.index] = _Link(interface, opened)
        self._filter(link)
        reader = partial(self._readable, link, opened, self._read_arp)
        asyncio.get_running_loop().add_reader(opened.fileno(), reader)
        self._log.info("interface", interface=interface.name, state="answering")
        return link

    def _toggle_ndp(self, link: _Link) -> None:
        """Open or close the IPv6 side: it needs a link-local address to speak from."""
        name = link.interface.name
        if link.ndp is None:
            link.ndp = PacketSocket(name, EtherType.IPV6)
            link.groups = Memberships(link.interface.index)
            reader = partial(self._readable, link, link.ndp, self._read_ndp)
            asyncio.get_running_loop().add_reader(link.ndp.fileno(), reader)
            self._filter(link)
            self._join(link)
        else:
            self._close_ndp(link)
        state = "answering" if link.ndp else "closed"
        self._log.info("interface", interface=name, state=state, family="ipv6")

    def _filter(self, link: _Link) -> None:
        """Teach the kernel the service IPs, as closely as its memory allows."""
        mac = link.interface.mac
        make_arp = partial(arp_program, mac, self._ipv4)
        link.filters["ipv4"] = link.arp.refilter(make_arp, IPV4_STEPS)
        if link.ndp is not None:
            make_ndp = partial(ndp_program, mac, self._ipv6)
            link.filters["ipv6"] = link.ndp.refilter(make_ndp, IPV6_STEPS)

    def _note_filters(self) -> None:
        self.stats.filters = {
            (link.interface.name, family): level(step)
            for link in self._links.values()
            for family, step in link.filters.items()
        }

    def _join(self, link: _Link) -> None:
        if link.groups is not None:
            link.groups.replace(self._groups.groups())
            self._join_later()

    def _join_later(self) -> None:
        if self._joining is None:
            self._joining = asyncio.get_running_loop().call_soon(self._join_some)

    def _join_some(self) -> None:
        self._joining = None
        try:
            self._join_and_leave()
        except Exception as error:
            survive(Part.LINKS, error)
            self._joining = asyncio.get_running_loop().call_later(RETRY_INTERVAL, self._join_some)

    def _join_and_leave(self) -> None:
        memberships = [link.groups for link in self._links.values() if link.groups is not None]
        more = [groups.advance(JOINS_A_TURN) for groups in memberships]
        self.stats.groups_refused = sum(groups.refused for groups in memberships)
        if any(more):
            self._join_later()

    def _retry_later(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        loop = asyncio.get_running_loop()
        self._retry = loop.call_later(RETRY_INTERVAL, self._try_again)

    def _try_again(self) -> None:
        try:
            self.set_interfaces(self._all, self._own_macs)
        except Exception as error:
            survive(Part.LINKS, error)
            self._retry_later()

    def _close(self, index: int) -> None:
        link = self._links.pop(index)
        if link.ndp is not None:
            self._close_ndp(link)
        self._close_socket(link.arp)
        self._log.info("interface", interface=link.interface.name, state="closed")

    def _close_ndp(self, link: _Link) -> None:
        if link.ndp is not None and link.groups is not None:
            self._close_socket(link.ndp)
            link.groups.close()
        link.ndp = link.groups = link.source = None
        link.filters.pop("ipv6", None)

    @staticmethod
    def _close_socket(used: PacketSocket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(used.fileno())
        try:
            # The kernel waits out a grace period of some 12 ms; not on the loop.
            loop.run_in_executor(None, used.close)
        except RuntimeError:
            # No thread is to be had.
            used.close()

    # ---- frames come in

    def _readable(self, link: _Link, used: PacketSocket, read: _Reader) -> None:
        self._now = self._clock()
        try:
            self._on_frames(self._now)
            if self.listener is not None:
                self.listener.frames(link.interface.index, self._now)
        except Exception as error:
            survive(Part.FRAMES, error)
        try:
            for data, packet_type in used.receive(FRAMES_A_TURN):
                self._take_frame(link, used, read, data, packet_type)
        except OSError as error:
            # It would be readable for ever: with another socket it may be well.
            survive(Part.LINKS, error)
            if self._links.get(link.interface.index) is link:
                self._close(link.interface.index)
                self._retry_later()

    def _take_frame(
        self, link: _Link, used: PacketSocket, read: _Reader, data: bytes, packet_type: int
    ) -> None:
        # Anew for each frame: the one before may have told that the IP has another owner.
        known = link.remembered.current(self._announcer.changes, self._now)
        outcome = known.get(data)
        try:
            if outcome is not None and packet_type != PACKET_OTHERHOST:
                self._act(used, outcome)
            elif data[6:12] in self._own_macs:
                # Two links in one segment: one hears all that the other announces.
                self.stats.dropped[DropReason.OWN_FRAME] += 1
            elif packet_type == PACKET_OTHERHOST:
                self.stats.dropped[DropReason.OTHER_HOST] += 1
            elif len(data) == LONGEST_FRAME:
                self.stats.dropped[DropReason.OVERSIZED] += 1
            elif (outcome := read(link, data)) is not None:
                self._act(used, outcome)
                if len(data) <= LONGEST_REMEMBERED:
                    known[data] = outcome
        except Exception as error:
            # Anybody can send a frame: none may cost those behind it an answer.
            survive(Part.FRAMES, error)

    def _read_arp(self, link: _Link, data: bytes) -> _Outcome | None:
        """Return what a question gets; None, and why is counted, for any other frame."""
        mac = link.interface.mac
        heard = arp.read(data, mac)
        if not isinstance(heard, Question):
            self._no_question(link, heard)
            return None
        reason = self._asked(link, heard.ip, heard.client, heard.mac)
        return reason or _Answer(self.stats.of(heard.ip), arp.reply(heard, mac))

    def _read_ndp(self, link: _Link, data: bytes) -> _Outcome | None:
        """The same for IPv6."""
        mac = link.interface.mac
        heard = ndp.read(data, mac)
        if not isinstance(heard, Question):
            self._no_question(link, heard)
            return None
        if link.source is None:
            return None
        reason = self._asked(link, heard.ip, heard.client, heard.mac)
        return reason or _Answer(self.stats.of(heard.ip), ndp.reply(heard, mac, link.source))

    def _no_question(self, link: _Link, heard: Told[IPAddress] | DropReason) -> None:
        reason = self._overhear(link, heard) if isinstance(heard, Told) else heard
        self.stats.dropped[reason] += 1

    def _overhear(self, link: _Link, told: Told[IPAddress]) -> DropReason:
        """Somebody says where an IP is: an owner of a service IP, or a client that we asked."""
        if told.ip not in self._service_ips:
            self._note_answer(link, told.to, told.ip)
            return told.reason
        if self.listener is not None and told.mac not in self._own_macs:
            self.listener.announced(told.ip, link.interface.index, told.mac, self._now)
        return DropReason.ANNOUNCEMENT

    def _note_answer(self, link: _Link, ip: IPAddress, client: IPAddress) -> None:
        if self.listener is not None and ip in self._service_ips:
            self.listener.client_answered(ip, link.interface.index, client, self._now)

    def _asked(
        self, link: _Link, ip: IPAddress, client: IPAddress, mac: bytes
    ) -> DropReason | None:
        """Remember who asked, whoever owns the IP; return why we do not answer, if so."""
        if mac in self._own_macs:
            return DropReason.OWN_FRAME
        if ip in self._service_ips and not (self.listener and self.listener.is_node(mac)):
            self._clients.heard(ip, link.interface, client, mac, self._now)
        return self._announcer.answers(ip, link.interface.index)

    # ---- frames go out

    def _act(self, used: PacketSocket, outcome: _Outcome) -> None:
        if isinstance(outcome, _Answer):
            self._answer(used, outcome)
        else:
            self.stats.dropped[outcome] += 1

    def _answer(self, used: PacketSocket, answer: _Answer) -> None:
        answer.stats.requests += 1
        if self._transmit(used, answer.frame):
            answer.stats.responses += 1

    def ask(self, ip: IPAddress, ifindex: int, mac: bytes | None = None) -> None:
        """Ask all on the link, or this MAC alone, who answers for `ip`, from an address of ours."""
        link = self._links.get(ifindex)
        if link is None:
            return
        interface, frame = link.interface, None
        if isinstance(ip, IPv4Address):
            own = min(_own_ipv4(interface), default=IPv4Address(0))
            frame = arp_request(interface.mac, own, ip, mac)
        elif interface.link_local is not None:
            frame = solicitation(interface.mac, interface.link_local, ip, mac)
        used = link.socket(ip.version)
        if frame is not None and used is not None:
            self._transmit(used, frame)

    def _announce(self, announcement: Announcement) -> None:
        link = self._links.get(announcement.interface.index)
        if link is None:
            return
        used = link.socket(announcement.ip.version)
        if used is not None and self._transmit(used, build(announcement)):
            self.stats.of(announcement.ip).gratuitous += 1
            self.on_first_frame(announcement.ip)

    def _transmit(self, used: PacketSocket, frame: bytes) -> bool:
        try:
            used.send(frame)
        except OSError:
            self.stats.dropped[DropReason.SEND_FAILED] += 1
            return False
        return True


def _own_ipv4(interface: Interface) -> list[IPv4Address]:
    return [a.ip for a in interface.addresses if isinstance(a.ip, IPv4Address)]
