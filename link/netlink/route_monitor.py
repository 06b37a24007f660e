"""The default gateways of the node, kept current from the kernel's route news."""

import asyncio
import socket
from collections import defaultdict
from collections.abc import Callable, Mapping

from link.address import IPAddress
from link.attach import attach
from link.netlink.messages import NLMSG_DONE, NLMSG_ERROR
from link.netlink.route import (
    RTM_DELROUTE,
    RTM_NEWROUTE,
    default_routes_only,
    dump_request,
    messages,
)

Gateways = Mapping[int, frozenset[IPAddress]]
"""Default gateways by link index."""

_GROUPS = 0x40 | 0x400
"""RTMGRP_IPV4_ROUTE and RTMGRP_IPV6_ROUTE."""
_READ = 1 << 17
_DATAGRAMS_A_TURN = 4
RETRY = 1.0
"""Seconds until a socket that could not be opened is tried again."""


def tell(error: Exception) -> None:
    """Tell whoever listens to the running loop what was raised, although work goes on."""
    context = {"message": "netlink", "exception": error, "part": "links"}
    asyncio.get_running_loop().call_exception_handler(context)


class RouteMonitor:
    """Calls `on_change` with all gateways whenever they differ from before.

    Any news of a default route has the routes dumped again: the kernel does not tell which route a
    new one replaced. Dumps are read a few datagrams a turn, as a router may hold a full table.
    """

    def __init__(self, on_change: Callable[[Gateways], None]) -> None:
        self._on_change = on_change
        self._known: Gateways = {}
        self._found: defaultdict[int, set[IPAddress]] = defaultdict(set)
        self._dumping = False
        self._again = False
        self._sequence = 0
        self._socket: socket.socket | None = None
        self._retry: asyncio.TimerHandle | None = None
        self.resyncs = 0
        """How often netlink overran and the routes were read anew."""

    def start(self) -> None:
        """Subscribe and ask for the routes; raises OSError."""
        opened = self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        attach(opened, default_routes_only())
        opened.bind((0, _GROUPS))
        self._dumping = False
        self._dump(opened)
        asyncio.get_running_loop().add_reader(opened.fileno(), self._readable, opened)

    def close(self) -> None:
        """Stop listening."""
        if self._retry is not None:
            self._retry.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _reopen(self) -> None:
        """Begin anew with another socket, now or as soon as one is to be had."""
        self.close()
        try:
            self.start()
        except Exception as error:
            self._reopen_later(error)

    def _reopen_later(self, error: Exception) -> None:
        tell(error)
        self.close()
        self._retry = asyncio.get_running_loop().call_later(RETRY, self._reopen)

    def _dump(self, used: socket.socket) -> None:
        if self._dumping:
            self._again = True
            return
        self._dumping, self._again = True, False
        self._found.clear()
        self._sequence += 1
        used.send(dump_request(self._sequence))

    def _readable(self, used: socket.socket) -> None:
        try:
            self._read(used)
        except BlockingIOError:
            return
        except OSError:
            # ENOBUFS: news were lost, and more will be, until the socket is read empty.
            self.resyncs += 1
            self._reopen()
        except Exception as error:
            # What was lost may be the end of a dump, without which there is no next one.
            self._reopen_later(error)

    def _read(self, used: socket.socket) -> None:
        for _ in range(_DATAGRAMS_A_TURN):
            data = used.recv(_READ)
            for message in messages(data):
                self._take(used, message.type, message.gateways)

    def _take(
        self, used: socket.socket, kind: int, gateways: tuple[tuple[int, IPAddress], ...]
    ) -> None:
        if kind in (NLMSG_DONE, NLMSG_ERROR):
            self._handle_dump_end(used)
        elif self._dumping and kind == RTM_NEWROUTE:
            # News in the midst of a dump look the same and are taken in; what a replaced route
            # leaves behind is one gateway too many, told for nothing until the next change.
            for index, gateway in gateways:
                self._found[index].add(gateway)
        elif kind in (RTM_NEWROUTE, RTM_DELROUTE):
            self._dump(used)

    def _handle_dump_end(self, used: socket.socket) -> None:
        self._dumping = False
        known = {index: frozenset(found) for index, found in self._found.items()}
        if self._again:
            self._dump(used)
        elif known != self._known:
            self._known = known
            self._on_change(known)
