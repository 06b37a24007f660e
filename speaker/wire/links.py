"""Packet sockets, kernel filters and multicast groups: they come and go with the node's links."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from structlog.typing import FilteringBoundLogger as Log

from link.address import IPAddress
from link.filter import Program, ProgramTooLongError, level
from link.interface import Interface
from link.mac import ZERO
from link.multicast import Memberships
from link.packet_socket import PacketSocket
from ndp.groups import SolicitedNodeGroups
from ownership.announcing.family import FAMILIES, IPV4, IPV6, Family, of_family
from speaker.upkeep import Part, survive

JOINS_A_TURN = 25
"""How many multicast groups are joined in one turn: some 1 ms."""
RETRY_INTERVAL = 1.0
"""Seconds until a socket that could not be opened is tried again."""


@dataclass(slots=True)
class LinkStats:
    """How far the kernel has been taught the service IPs."""

    filters: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """How closely its filter knows them, by interface name and family."""
    groups_refused: int = 0
    """Multicast groups that could not be joined."""


def prepare(ips: frozenset[IPAddress]) -> None:
    """Make the programs for these IPs, which are then remembered: 10 ms for 1,000, so in a thread.

    `Links.set_service_ips` is quick afterwards.
    """
    for family in FAMILIES.values():
        own = of_family(family, ips)
        _make_one(partial(family.program, ZERO, own, step) for step in family.steps)


def _make_one(steps: Iterable[Callable[[], Program]]) -> None:
    """Make one program after the other, to the first that is not too long."""
    for make in steps:
        with suppress(ProgramTooLongError):
            make()
            return


@dataclass(slots=True)
class Side:
    """One family on one link: its socket, the step of its filter, and the groups it is asked in."""

    family: Family
    socket: PacketSocket
    groups: Memberships | None
    step: int | None = None


@dataclass(slots=True)
class Link:
    """One interface that answers: ARP always, and NDP while it has an address to speak from."""

    interface: Interface
    sides: dict[int, Side] = field(default_factory=dict)
    """By version of IP."""


class Links:
    """What each eligible interface is heard and spoken through."""

    def __init__(
        self, read: Callable[[Link, Side], None], again: Callable[[], None], log: Log
    ) -> None:
        """`read` is called where a socket has frames, and `again` to be told all interfaces anew,
        a moment after one of them could not be used."""
        self._read = read
        self._again = again
        self._log = log
        self._links: dict[int, Link] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._joining: asyncio.Handle | None = None
        self._ips: Mapping[int, frozenset[Any]] = dict.fromkeys(FAMILIES, frozenset())
        """The service IPs, by version."""
        self._groups = SolicitedNodeGroups()
        self.stats = LinkStats()

    def set_interfaces(self, interfaces: Mapping[int, Interface]) -> None:
        """Take the node's links that may answer.

        Raises PermissionError where CAP_NET_RAW is missing.
        """
        for index in self._links.keys() - interfaces.keys():
            self._close(index)
        for interface in interfaces.values():
            self._take(interface)
        self._note_filters()

    def set_service_ips(self, ips: frozenset[IPAddress]) -> None:
        """Let filters and groups follow the IPs that this node may ever announce."""
        self._ips = {version: of_family(family, ips) for version, family in FAMILIES.items()}
        self._groups.replace(self._ips[IPV6.version])
        for link in self._links.values():
            for side in link.sides.values():
                self._filter(link, side)
                self._join(side)
        self._note_filters()

    def get(self, ifindex: int) -> Link | None:
        """Return the link of that index, if it answers."""
        return self._links.get(ifindex)

    def usable(self) -> Mapping[int, Interface]:
        """Return the links that answer, by index."""
        return {index: link.interface for index, link in self._links.items()}

    def names(self) -> frozenset[str]:
        """Return the names of the links that answer."""
        return frozenset(link.interface.name for link in self._links.values())

    def sides(self) -> Iterator[tuple[Link, Side]]:
        """Yield each family of each link."""
        for link in self._links.values():
            for side in link.sides.values():
                yield link, side

    def reopen(self, link: Link) -> None:
        """Close a link of which a socket fails: with another it may be well, a moment later."""
        index = link.interface.index
        if self._links.get(index) is link:
            self._close(index)
            self._retry_later()

    def close(self) -> None:
        """Close all sockets."""
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
            for family in FAMILIES.values():
                self._take_side(link, family, stale)
        except PermissionError:
            raise
        except OSError as error:
            # The link may be on its way out; netlink tells, else a later try succeeds.
            self._log.warning("interface", interface=interface.name, error=str(error))
            self._retry_later()

    def _take_side(self, link: Link, family: Family, stale: bool) -> None:
        """Open or close one family: NDP needs a link-local address to speak from."""
        side = link.sides.get(family.version)
        speaks = family.replies(link.interface) is not None
        if speaks and side is None:
            self._open_side(link, family)
            self._log_side(link, family, "answering")
        elif side is not None and not speaks:
            self._close_side(link, side)
            self._log_side(link, family, "closed")
        elif side is not None and stale:
            self._filter(link, side)

    def _log_side(self, link: Link, family: Family, state: str) -> None:
        name = link.interface.name
        self._log.info("interface", interface=name, state=state, family=family.name)

    def _open(self, interface: Interface) -> Link:
        link = Link(interface)
        self._open_side(link, IPV4)
        self._links[interface.index] = link
        self._log.info("interface", interface=interface.name, state="answering")
        return link

    def _open_side(self, link: Link, family: Family) -> None:
        interface = link.interface
        used = PacketSocket(interface.name, family.ethertype)
        groups = Memberships(interface.index) if family.grouped else None
        side = Side(family, used, groups)
        try:
            self._filter(link, side)
        except OSError:
            used.close()
            raise
        reader = partial(self._read, link, side)
        asyncio.get_running_loop().add_reader(used.fileno(), reader)
        link.sides[family.version] = side
        self._join(side)

    def _close(self, index: int) -> None:
        link = self._links.pop(index)
        for side in list(link.sides.values()):
            self._close_side(link, side)
        self._log.info("interface", interface=link.interface.name, state="closed")

    def _close_side(self, link: Link, side: Side) -> None:
        del link.sides[side.family.version]
        self._close_socket(side.socket)
        if side.groups is not None:
            side.groups.close()

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

    def _retry_later(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
        loop = asyncio.get_running_loop()
        self._retry = loop.call_later(RETRY_INTERVAL, self._try_again)

    def _try_again(self) -> None:
        try:
            self._again()
        except Exception as error:
            survive(Part.LINKS, error)
            self._retry_later()

    # ---- what the kernel lets through

    def _filter(self, link: Link, side: Side) -> None:
        """Teach the kernel the service IPs, as closely as its memory allows."""
        family, mac = side.family, link.interface.mac
        make = partial(family.program, mac, self._ips[family.version])
        side.step = side.socket.refilter(make, family.steps)

    def _note_filters(self) -> None:
        self.stats.filters = {
            (link.interface.name, side.family.name): level(side.step) for link, side in self.sides()
        }

    def _join(self, side: Side) -> None:
        if side.groups is not None:
            side.groups.replace(self._groups.groups())
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
        memberships = [side.groups for _, side in self.sides() if side.groups is not None]
        more = [groups.advance(JOINS_A_TURN) for groups in memberships]
        self.stats.groups_refused = sum(groups.refused for groups in memberships)
        if any(more):
            self._join_later()
