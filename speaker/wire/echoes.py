"""The echo sockets alone: requests to the kernels of others leave by them, replies come in."""

import asyncio
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from ipaddress import ip_address

from structlog.typing import FilteringBoundLogger as Log

from link.address import IPAddress
from link.echo_socket import EchoSocket
from link.interface import Interface
from ownership.io import ROUTED, EchoRequest
from speaker.upkeep import Part, survive

REPLIES_A_TURN = 64
_ADDRESSES = 4_096
_IDENTIFIER, _ROUTED_IDENTIFIER = 0xC7A1, 0xC7A2
"""Echo identifiers of our requests by a link, and by whatever way there is; their random payload is
what makes them ours."""

Take = Callable[[int, IPAddress, bytes, float], object]


class Echoes:
    """One socket for each link and family, opened when the first request leaves by it; and for each
    family one on no link, by which the kernel sends over routers."""

    def __init__(
        self,
        usable: Callable[[], Mapping[int, Interface]],
        take: Take,
        heed: Callable[[], None],
        clock: Callable[[], float],
        log: Log,
    ) -> None:
        """`take(ifindex, ip, payload, now)` gets each reply; `heed` is called when the loop has
        read some, and not by `read_dry`, after which the caller goes on by itself."""
        self._usable = usable
        self._take = take
        self._heed = heed
        self._clock = clock
        self._log = log
        self._sockets: dict[tuple[int, int], EchoSocket] = {}
        self._refused: set[tuple[int, int]] = set()
        self._sequence = 0

    def set_interfaces(self, usable: Mapping[int, Interface]) -> None:
        """Close what belongs to links that are gone; try again what could not be opened."""
        for key in [key for key in self._sockets if key[0] not in usable and key[0] != ROUTED]:
            self._close(key)
        self._refused.clear()

    def send(self, request: EchoRequest) -> None:
        """Send a request, if its link is there and lets us."""
        used = self._socket(request.ifindex, request.ip.version)
        if used is not None:
            self._sequence = (self._sequence + 1) & 0xFFFF
            identifier = _identifier(request.ifindex)
            used.send(_write_ip(request.ip), identifier, self._sequence, request.token)

    def read_dry(self) -> None:
        """Read the replies that wait: after a stall they are there, and nobody is late."""
        for (ifindex, _), used in list(self._sockets.items()):
            self._read(ifindex, used)

    def close(self) -> None:
        """Close all sockets."""
        for key in list(self._sockets):
            self._close(key)

    def _socket(self, ifindex: int, version: int) -> EchoSocket | None:
        key = ifindex, version
        if key not in self._sockets and key not in self._refused:
            interface = self._usable().get(ifindex)
            if interface is None and ifindex != ROUTED:
                return None
            name = None if interface is None else interface.name
            only = _ROUTED_IDENTIFIER if ifindex == ROUTED else None
            try:
                opened = self._sockets[key] = EchoSocket(name, version, only)
            except OSError as error:
                self._refused.add(key)
                self._log.warning("echo", interface=name, error=str(error))
                return None
            loop = asyncio.get_running_loop()
            loop.add_reader(opened.fileno(), partial(self._readable, ifindex, opened))
        return self._sockets.get(key)

    def _close(self, key: tuple[int, int]) -> None:
        used = self._sockets.pop(key)
        asyncio.get_running_loop().remove_reader(used.fileno())
        used.close()

    def _readable(self, ifindex: int, used: EchoSocket) -> None:
        self._read(ifindex, used)
        self._heed()

    def _read(self, ifindex: int, used: EchoSocket) -> None:
        now = self._clock()
        try:
            for source, reply in used.receive(REPLIES_A_TURN):
                if reply.identifier == _identifier(ifindex):
                    self._take(ifindex, _read_ip(source), reply.payload, now)
        except Exception as error:
            # Anybody can send a reply. What waits behind it is read next.
            survive(Part.ECHOES, error)


def _identifier(ifindex: int) -> int:
    return _ROUTED_IDENTIFIER if ifindex == ROUTED else _IDENTIFIER


# The same few addresses thirty times a second.
_read_ip = lru_cache(maxsize=_ADDRESSES)(ip_address)
_write_ip = lru_cache(maxsize=_ADDRESSES)(str)
