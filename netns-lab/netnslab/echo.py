"""The backend on every node: answers each UDP question to a service IP from that same IP."""

import select
import socket

from netnslab.instrument import Console, family_of, settings


def _listen(ip: str, port: int) -> socket.socket:
    listener = socket.socket(family_of(ip), socket.SOCK_DGRAM)
    listener.bind((ip, port))
    listener.setblocking(False)
    return listener


def _answer(listener: socket.socket) -> None:
    while True:
        try:
            data, sender = listener.recvfrom(64)
            listener.sendto(data, sender)
        except BlockingIOError:
            return
        except OSError:
            continue  # the node's link is down: as lost as on a real machine


def main() -> None:
    """Serves until the lab goes."""
    given = settings()
    console = Console({})
    listeners = {s.fileno(): s for s in (_listen(ip, given["port"]) for ip in given["ips"])}
    poll = select.epoll()
    for fd in (0, *listeners):
        poll.register(fd, select.EPOLLIN)
    console.ready()
    while True:
        for fd, _ in poll.poll():
            if fd == 0:
                console.handle()
            else:
                _answer(listeners[fd])


if __name__ == "__main__":
    main()
