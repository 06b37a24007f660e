"""`python -m bench.bare LINK IP`: the least that a Python process does to answer ARP for one IP.

No rules, no counters, a filter for one IP: what is above the kernel's time here is
the price of the interpreter, its event loop and a process that has to be woken.
"""

import asyncio
import contextlib
import socket
import sys
from functools import partial
from ipaddress import IPv4Address

from link.attach import attach
from link.filter import arp_program

_ARP = 0x0806


def answer(raw: socket.socket, mac: bytes) -> None:
    """Answer what waits."""
    with contextlib.suppress(BlockingIOError):
        while True:
            frame = raw.recv(2048)
            question = frame[:6] != mac and frame[20:22] == b"\0\1"
            if question:
                head = frame[6:12] + mac + frame[12:20] + b"\0\2"
                raw.send((head + mac + frame[38:42] + frame[22:32]).ljust(60, b"\0"))


async def serve(link: str, ip: str) -> None:
    """Answer until killed."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as raw:
        raw.setblocking(False)
        raw.bind((link, _ARP))
        mac = raw.getsockname()[4]
        attach(raw, arp_program(mac, frozenset({IPv4Address(ip)})))
        asyncio.get_running_loop().add_reader(raw.fileno(), partial(answer, raw, mac))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:3]))
