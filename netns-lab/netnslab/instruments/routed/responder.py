"""The backend on every node: answers each question with its own number, from the service IP."""

import contextlib
import select
import socket

from netnslab.instruments.instrument import Console, family_of, settings


def _bound(ip: str, port: int) -> socket.socket:
    made = socket.socket(family_of(ip), socket.SOCK_DGRAM)
    made.bind((ip, port))
    made.setblocking(False)
    return made


def main() -> None:
    """Answer until the lab goes."""
    given = settings()
    me = bytes([given["number"]])
    console = Console({})
    sockets = {made.fileno(): made for made in (_bound(ip, given["port"]) for ip in given["ips"])}
    console.report_ready()
    while True:
        ready, _, _ = select.select([0, *sockets], [], [])
        for each in ready:
            if each == 0:
                console.handle()
                continue
            backend = sockets[each]
            with contextlib.suppress(OSError):  # no way back: as lost as on a real machine
                data, sender = backend.recvfrom(64)
                backend.sendto(me + data, sender)


if __name__ == "__main__":
    main()
