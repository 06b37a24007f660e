"""Link and address changes from the kernel, as they happen (rtnetlink through pyroute2)."""

import asyncio
import errno
from collections.abc import Callable, Mapping
from ipaddress import ip_interface
from typing import Any

from pyroute2 import IPRSocket
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, rtnl
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from link.interface import Interface
from link.route_monitor import RETRY, Gateways, RouteMonitor, tell
from link.table import AddressGone, AddressSet, Change, GatewaysSet, LinkGone, LinkSet, LinkTable

_IFF_UP, _IFF_BROADCAST, _IFF_NOARP = 0x1, 0x2, 0x80
_GROUPS = rtnl.RTMGRP_LINK | rtnl.RTMGRP_IPV4_IFADDR | rtnl.RTMGRP_IPV6_IFADDR
_AF_UNSPEC = 0
_IFA_F_OPTIMISTIC, _IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x04, 0x08, 0x40

OnChange = Callable[[Mapping[int, Interface]], None]


class Monitor:
    """Calls `on_change` with all interfaces, once after the first dump and on every change.

    One socket for dumps and events: the dump of links, then that of addresses, then only news.
    pyroute2's AsyncIPRoute is not used, as it does not survive ENOBUFS.
    """

    def __init__(self, on_change: OnChange) -> None:
        self._on_change = on_change
        self._table = LinkTable()
        self._awaiting: list[int] = []
        self._dumping = False
        self._socket: Any = None
        self._retry: asyncio.TimerHandle | None = None
        self._synced = asyncio.Event()
        self._routes = RouteMonitor(self._on_gateways)
        self.resyncs = 0
        """How often netlink overran and the table was read anew."""

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
        changed = self._table.apply(GatewaysSet(gateways))
        if changed and not self._dumping:
            self._on_change(self._table.interfaces())

    def _open(self) -> None:
        """Subscribe, and ask for everything."""
        self._socket = IPRSocket()
        self._socket.bind(groups=_GROUPS)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)
        self._table.clear()
        self._awaiting = [rtnl.RTM_GETLINK, rtnl.RTM_GETADDR]
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
            kind = self._awaiting.pop(0)
            body = ifinfmsg() if kind == rtnl.RTM_GETLINK else ifaddrmsg()
            self._socket.put(body, msg_type=kind, msg_flags=NLM_F_REQUEST | NLM_F_DUMP)

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
        changed = False
        for message in self._socket.get():
            if message["header"]["type"] == NLMSG_DONE:
                self._dump_next()
                changed = changed or not self._dumping
            else:
                changed = self._take(message) or changed
        if changed and not self._dumping:
            self._on_change(self._table.interfaces())
            self._synced.set()

    def _take(self, message: Any) -> bool:
        """Apply one message; one that cannot be read costs no other."""
        try:
            change = read_change(message)
        except Exception as error:
            tell(error)
            return False
        return change is not None and self._table.apply(change)


def read_change(message: Any) -> Change | None:
    """Translate one pyroute2 message; None for what does not concern the table."""
    match message.get("event"):
        case "RTM_NEWLINK" if message["family"] == _AF_UNSPEC:
            return LinkSet(_interface(message))
        case "RTM_DELLINK" if message["family"] == _AF_UNSPEC:
            # Family 7 (AF_BRIDGE) means "left the bridge", not "deleted".
            return LinkGone(message["index"])
        case "RTM_NEWADDR" | "RTM_DELADDR" as event:
            text = message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")
            address = ip_interface(f"{text}/{message['prefixlen']}")
            usable = event == "RTM_NEWADDR" and _usable(message)
            make = AddressSet if usable else AddressGone
            return make(message["index"], address)
        case _:
            return None


def _usable(message: Any) -> bool:
    """Tell whether duplicate address detection lets the address be used (RFC 4862, 4429)."""
    flags = message.get("IFA_FLAGS") or message["flags"]
    if flags & _IFA_F_DADFAILED:
        return False
    return not flags & _IFA_F_TENTATIVE or bool(flags & _IFA_F_OPTIMISTIC)


def _interface(message: Any) -> Interface:
    flags = message["flags"]
    mac = message.get("IFLA_ADDRESS") or ""
    return Interface(
        index=message["index"],
        name=message.get("IFLA_IFNAME"),
        mac=bytes.fromhex(mac.replace(":", "")),
        up=bool(flags & _IFF_UP),
        carrier=bool(message.get("IFLA_CARRIER")),
        broadcast=bool(flags & _IFF_BROADCAST),
        noarp=bool(flags & _IFF_NOARP),
        master=message.get("IFLA_MASTER"),
    )
