"""A host without a key that connects to the gossip port of others, and what it does there."""

import selectors
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType

from netns import Host

PORT = 7946
WITHIN = 20.0
"""Seconds after which a connection of ours hangs."""


class Idlers:
    """So many connections to each of the victims that say nothing; what is closed is begun anew."""

    def __init__(self, host: Host, victims: Sequence[Host], count: int) -> None:
        self.closed = 0
        self._host, self._victims, self._count = host, victims, count
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self._all_open = threading.Event()
        self._thread = threading.Thread(target=lambda: host.namespace.run(self._run))

    def __enter__(self) -> "Idlers":
        self._thread.start()
        assert self._all_open.wait(WITHIN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        for victim in self._victims:
            for _ in range(self._count):
                self._connect(victim)
        self._all_open.set()
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.05):
                self._again(key)
        for key in list(self._selector.get_map().values()):
            self._close(key)
        self._selector.close()

    def _connect(self, victim: Host) -> None:
        opened = socket.create_connection((victim.ip, PORT), WITHIN)
        self._selector.register(opened, selectors.EVENT_READ, victim)

    def _again(self, key: selectors.SelectorKey) -> None:
        """What can be read here is an end, whatever it is."""
        self.closed += 1
        self._close(key)
        if not self._stop.wait(0.002):
            self._connect(key.data)

    def _close(self, key: selectors.SelectorKey) -> None:
        self._selector.unregister(key.fileobj)
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()


@contextmanager
def junk(host: Host, victim: Host, connections: int, size: int) -> Iterator[list[int]]:
    """Begin so many encrypted frames of `size` bytes, and send all but the last one of each.

    Gives how many bytes of each were taken. What was not cut is held until the end.
    """
    opened = [
        host.namespace.run(socket.create_connection, (victim.ip, PORT), WITHIN)
        for _ in range(connections)
    ]
    head = b"\x0a" + size.to_bytes(4, "big")
    block = bytes(64 * 1024)
    taken = [0] * connections

    def send(index: int) -> None:
        with suppress(ConnectionError):
            opened[index].sendall(head)
            while taken[index] < size - 1:
                taken[index] += opened[index].send(block[: size - 1 - taken[index]])

    threads = [threading.Thread(target=send, args=(index,)) for index in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        yield taken
    finally:
        for one in opened:
            one.close()


def reset(host: Host, victim: Host, count: int) -> None:
    """Connect so often, begin a frame, and reset."""

    def connect() -> None:
        for _ in range(count):
            with socket.create_connection((victim.ip, PORT), WITHIN) as opened:
                opened.sendall(b"\x0a")
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    host.namespace.run(connect)
