"""The backend on every node: answers by UDP and TCP to each service IP from that same IP."""

import contextlib
import select
import socket
import time

from netnslab.instruments.instrument import Console, family_of, settings

# Answers come up to that many seconds later: to be woken for each question would keep a machine
# with many nodes busy with its instruments.
BREATH = 0.001
# Connections that a client has forgotten would fill a long run's memory.
MOST_CONNECTIONS = 4096


def _listen(ip: str, port: int, kind: socket.SocketKind) -> socket.socket:
    listener = socket.socket(family_of(ip), kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((ip, port))
    if kind == socket.SOCK_STREAM:
        listener.listen(1024)
    listener.setblocking(False)
    return listener


class Backend:
    """One UDP and one listening TCP socket an IP, and the connections; all in one epoll."""

    def __init__(self, ips: list[str], port: int) -> None:
        self.poll = select.epoll()
        self._listeners = {s.fileno(): s for ip in ips for s in self._pair(ip, port)}
        self._connections: dict[int, socket.socket] = {}
        for fd in self._listeners:
            self.poll.register(fd, select.EPOLLIN)

    @staticmethod
    def _pair(ip: str, port: int) -> tuple[socket.socket, socket.socket]:
        return _listen(ip, port, socket.SOCK_DGRAM), _listen(ip, port, socket.SOCK_STREAM)

    def ready(self, fd: int) -> None:
        """Serve what waits on one socket."""
        listener = self._listeners.get(fd)
        if listener is None:
            self._talk(self._connections[fd])
        elif listener.type == socket.SOCK_STREAM:
            self._accept(listener)
        else:
            _answer(listener)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                made, _ = listener.accept()
                made.setblocking(False)
                self._connections[made.fileno()] = made
                self.poll.register(made.fileno(), select.EPOLLIN)
                if len(self._connections) > MOST_CONNECTIONS:
                    self._end(next(iter(self._connections.values())))

    def _talk(self, made: socket.socket) -> None:
        try:
            data = made.recv(1 << 12)
            if data:
                made.send(data)
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # reset: that is how the client ends them
        self._end(made)

    def _end(self, made: socket.socket) -> None:
        del self._connections[made.fileno()]
        self.poll.unregister(made.fileno())
        made.close()


def _answer(listener: socket.socket) -> None:
    # One at a time: to try for a second question costs more than to be told of it.
    with contextlib.suppress(OSError):  # the node's link is down: as lost as on a real machine
        data, sender = listener.recvfrom(64)
        listener.sendto(data, sender)


def main() -> None:
    """Serve until the lab goes."""
    given = settings()
    console = Console({})
    backend = Backend(given["ips"], given["port"])
    backend.poll.register(0, select.EPOLLIN)
    console.report_ready()
    while True:
        events = backend.poll.poll()
        while events:
            for fd, _ in events:
                if fd == 0:
                    console.handle()
                else:
                    backend.ready(fd)
            events = backend.poll.poll(0)
        time.sleep(BREATH)


if __name__ == "__main__":
    main()
