"""Link and address changes from the kernel, as they happen (rtnetlink)."""

import asyncio
import errno
import socket
from collections.abc import Callable, Container, Mapping
from typing import Any

from link.interface import Interface
from link.netlink import news
from link.netlink.messages import NLMSG_DONE, NLMSG_ERROR, error_of, split
from link.netlink.route_monitor import RETRY, Gateways, RouteMonitor, tell
from link.netlink.table import GatewaysSet, LinkTable

OnChange = Callable[[Mapping[int, Interface], Container[bytes]], None]
"""Called with the wanted interfaces by index, and the MACs of all there are: a live view."""

_RECEIVE_BUFFER = 1 << 20
_READ = 1 << 17
_DATAGRAMS_A_TURN = 16


class Monitor:
    """Calls `on_change` once after the first dump, and whenever a wanted interface has changed.

    One socket for dumps and events: the dump of links, then that of addresses, then only news.
    """

    def __init__(
        self,
        on_change: OnChange,
        wanted: Callable[[Interface], bool] = lambda interface: True,
    ) -> None:
        self._on_change = on_change
        self._wanted = wanted
        self._table = LinkTable(wanted)
        self._gateways: Gateways = {}
        self._awaiting: list[Callable[[int], bytes]] = []
        self._dumping = False
        self._socket: Any = None
        self._retry: asyncio.TimerHandle | None = None
        self._sequence = 0
        self._synced = asyncio.Event()
        self._routes = RouteMonitor(self._on_gateways)
        self.resyncs = 0
        """How often netlink overran and the table was read anew."""

    def resyncs_by_table(self) -> Mapping[str, int]:
        """Return how often each of the kernel's tables was read anew, as news of it were lost."""
        return {"links": self.resyncs, "routes": self._routes.resyncs}

    async def start(self) -> None:
        """Subscribe, then wait until the kernel's table is here."""
        self._open()
        await self._synced.wait()
        self._routes.start()

    def close(self) -> None:
        """Stop listening."""
        if self._retry is not None:
            self._retry.cancel()
        self._close_socket()
        self._routes.close()

    def _on_gateways(self, gateways: Gateways) -> None:
        self._gateways = gateways
        changed = self._table.apply(GatewaysSet(gateways))
        if changed and not self._dumping:
            self._tell()

    def _tell(self) -> None:
        self._on_change(self._table.interfaces(), self._table.macs)

    def _open(self) -> None:
        """Subscribe, and ask for everything."""
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.bind((0, news.GROUPS))
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)
        # Another one: until the dumps are here the MACs of the last one hold.
        self._table = LinkTable(self._wanted)
        self._table.apply(GatewaysSet(self._gateways))
        self._awaiting = [news.links_request, news.addresses_request]
        self._dump_next()

    def _close_socket(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _resync(self) -> None:
        """News were lost: begin anew with another socket.

        This one would lose more without a word until it was read empty, and it may be in the midst
        of a dump, beside which the kernel allows no other.
        """
        self.resyncs += 1
        self._close_socket()
        self._reopen()

    def _reopen(self) -> None:
        self._retry = None
        try:
            self._open()
        except Exception as error:
            # No memory or no descriptor just now: links would never be heard of again.
            self._reopen_later(error)

    def _reopen_later(self, error: Exception) -> None:
        tell(error)
        self._close_socket()
        self._retry = asyncio.get_running_loop().call_later(RETRY, self._reopen)

    def _dump_next(self) -> None:
        # The kernel runs one dump at a time on a socket; a second one meanwhile gets EBUSY.
        self._dumping = bool(self._awaiting)
        if self._dumping:
            self._sequence += 1
            self._socket.send(self._awaiting.pop(0)(self._sequence))

    def _readable(self) -> None:
        try:
            self._read()
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.ENOBUFS:
                self._resync()
            else:
                # What was lost may be the end of a dump, after which only changes are told.
                self._reopen_later(error)

    def _read(self) -> None:
        """Read what waits, and tell once: a link that comes is a dozen messages."""
        changed = False
        for _ in range(_DATAGRAMS_A_TURN):
            try:
                data = self._socket.recv(_READ)
            except BlockingIOError:
                break
            changed = self._take(data) or changed
        if changed and not self._dumping:
            self._tell()
            self._synced.set()

    def _take(self, data: bytes) -> bool:
        """Take one datagram in; tell whether there is something to tell."""
        changed = False
        for kind, body in split(data):
            if kind == NLMSG_ERROR:
                raise OSError(error_of(body), "netlink refused a question")
            if kind == NLMSG_DONE:
                self._dump_next()
                changed = changed or not self._dumping
            else:
                changed = self._apply(kind, body) or changed
        return changed

    def _apply(self, kind: int, body: bytes) -> bool:
        """Apply one message; one that cannot be read costs no other."""
        try:
            change = news.read(kind, body)
        except Exception as error:
            tell(error)
            return False
        return change is not None and self._table.apply(change)
