"""The router's kernel: when each next hop of each watched prefix came and went.

The kernel tells of every change of a route as it makes it, and netlink keeps their order. A moment
is when this process read of it; it is asleep on the socket, ahead of all others. What goes with a
link that loses its carrier goes without a word for IPv4: then all routes are read anew.
"""

import contextlib
import select
import socket
import time
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from netnslab.instruments.instrument import Console, settings

# linux/rtnetlink.h, linux/netlink.h
RTMGRP_LINK, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE = 0x1, 0x40, 0x400
RTM_NEWLINK, RTM_NEWROUTE, RTM_DELROUTE = 16, 24, 25
AFTER_A_LINK = 0.05
NLM_F_APPEND = 0x800
RT_TABLE_MAIN = 254
FAMILIES = (socket.AF_INET, socket.AF_INET6)
SO_RCVBUFFORCE = 33
MOST_CHANGES = 200_000
RECEIVES = 8 << 20


def _gateway(given: Any) -> str | None:
    via = given.get_attr("RTA_VIA")
    return given.get_attr("RTA_GATEWAY") or (via["addr"] if via else None)


def next_hops(message: Any) -> list[str]:
    """The gateways of one route, in ascending order."""
    several = message.get_attr("RTA_MULTIPATH")
    return sorted({hop for part in several or [message] if (hop := _gateway(part))})


def told_of(message: Any) -> tuple[str, list[str], bool] | None:
    """Prefix, next hops, and whether these are further ones; None for what is no route of ours."""
    if message["header"]["type"] not in (RTM_NEWROUTE, RTM_DELROUTE):
        return None
    prefix = message.get_attr("RTA_DST")
    if prefix is None or message["table"] != RT_TABLE_MAIN:
        return None
    name = f"{prefix}/{message['dst_len']}"
    if message["header"]["type"] != RTM_NEWROUTE:
        return name, [], False
    return name, next_hops(message), bool(message["header"]["flags"] & NLM_F_APPEND)


class RouteLog:
    """Every state that each watched prefix has had, with its moment."""

    def __init__(self, prefixes: list[str]) -> None:
        self.changes: list[tuple[float, str, list[str]]] = []
        self.now: dict[str, list[str]] = {prefix: [] for prefix in prefixes}

    def note(self, at: float, prefix: str, hops: list[str], *, further: bool) -> None:
        """Take in one message; what is not watched, or changes nothing, is left out."""
        if prefix not in self.now:
            return
        hops = sorted({*self.now[prefix], *hops}) if further else hops
        if hops != self.now[prefix] and len(self.changes) < MOST_CHANGES:
            self.now[prefix] = hops
            self.changes.append((at, prefix, hops))

    def since(self, question: dict[str, Any]) -> dict[str, Any]:
        """The changes from `start` on."""
        start = question["start"]
        return {"changes": [change for change in self.changes if change[0] >= start]}

    def state(self, question: dict[str, Any]) -> dict[str, Any]:
        """What each prefix has now, and when any has last changed; `start` has none before."""
        last = self.changes[-1][0] if self.changes else 0.0
        return {"now": self.now, "last": last}

    def forget(self, question: dict[str, Any]) -> bool:
        """Drop what was before that moment."""
        self.changes = [change for change in self.changes if change[0] >= question["before"]]
        return True


class RouteWatch:
    """A log behind a netlink socket."""

    def __init__(self, log: RouteLog) -> None:
        self.raw = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        with contextlib.suppress(OSError):  # the greater buffer is root's alone
            self.raw.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVES)
        self.raw.bind((0, RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE))
        self.raw.setblocking(False)
        self._log, self._marshal = log, MarshalRtnl()
        self._asked = IPRoute()
        self.again: float | None = None

    def receive(self) -> None:
        """Read the socket dry. An overrun raises OSError: a hole in the record spoils the run."""
        while True:
            try:
                data = self.raw.recv(1 << 16)
            except BlockingIOError:
                return
            at = time.monotonic()
            for message in self._marshal.parse(data):
                if message["header"]["type"] == RTM_NEWLINK:
                    self.again = at + AFTER_A_LINK
                    continue
                told = told_of(message)
                if told is not None:
                    prefix, hops, further = told
                    self._log.note(at, prefix, hops, further=further)

    def patience(self) -> float | None:
        """Seconds until all is to be read anew; None: it is not."""
        return None if self.again is None else max(0.0, self.again - time.monotonic())

    def read_anew(self) -> None:
        """Note what there is of each prefix, if a link has changed and what follows is done."""
        if self.again is None or time.monotonic() < self.again:
            return
        self.again = None
        # What changes from here on waits in the socket, and is noted after this.
        self.receive()
        routes = [each for family in FAMILIES for each in self._asked.get_routes(family=family)]
        found = {told[0]: told[1] for told in map(told_of, routes) if told is not None}
        for prefix in self._log.now:
            self._log.note(time.monotonic(), prefix, found.get(prefix, []), further=False)


def main() -> None:
    """Listen until the lab goes."""
    given = settings()
    log = RouteLog(given["prefixes"])
    monitor = RouteWatch(log)
    console = Console({"since": log.since, "state": log.state, "forget": log.forget})
    console.report_ready()
    while True:
        ready, _, _ = select.select([0, monitor.raw.fileno()], [], [], monitor.patience())
        monitor.receive()
        monitor.read_anew()
        if 0 in ready:
            console.handle()


if __name__ == "__main__":
    main()
