"""The router's kernel: when each next hop of each watched prefix came and went.

The kernel tells of every change of a route as it makes it, and netlink keeps their order. A moment
is when this process read of it; it is asleep on the socket, ahead of all others.
"""

import contextlib
import select
import socket
import time
from typing import Any

from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from netnslab.instruments.instrument import Console, settings

# linux/rtnetlink.h, linux/netlink.h
RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE = 0x40, 0x400
RTM_NEWROUTE = 24
NLM_F_APPEND = 0x800
RT_TABLE_MAIN = 254
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
        self.raw.bind((0, RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE))
        self.raw.setblocking(False)
        self._log, self._marshal = log, MarshalRtnl()

    def receive(self) -> None:
        """Read the socket dry. An overrun raises OSError: a hole in the record spoils the run."""
        while True:
            try:
                data = self.raw.recv(1 << 16)
            except BlockingIOError:
                return
            at = time.monotonic()
            for message in self._marshal.parse(data):
                told = told_of(message)
                if told is not None:
                    prefix, hops, further = told
                    self._log.note(at, prefix, hops, further=further)


def main() -> None:
    """Listen until the lab goes."""
    given = settings()
    log = RouteLog(given["prefixes"])
    monitor = RouteWatch(log)
    console = Console({"since": log.since, "state": log.state, "forget": log.forget})
    console.report_ready()
    while True:
        ready, _, _ = select.select([0, monitor.raw.fileno()], [], [])
        monitor.receive()
        if 0 in ready:
            console.handle()


if __name__ == "__main__":
    main()
