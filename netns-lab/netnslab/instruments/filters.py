"""Classic BPF programs, so that the instruments are not woken for what does not concern them."""

import ctypes
import socket
import struct

from netnslab.instruments import ndp, wire
from netnslab.machines.addresses import GOSSIP_PORT, STORM_IP, STORM_IP6

SO_ATTACH_FILTER = 26
# Where ARP and IPv6 have the (end of the) sender's IP; where a neighbour message has its header and
# type; where UDP and TCP over plain IPv4 have their ports.
SPA, SOURCE6_END, NEXT_HEADER, TYPE = 28, 34, 20, 54
SOURCE_PORT, DESTINATION_PORT = 34, 36
# linux/bpf_common.h: load a word, half-word or byte at an offset; jump if equal; return.
WORD, HALF, BYTE, IF_EQUAL, RETURN = 0x20, 0x28, 0x30, 0x15, 0x06
ACCEPT, DROP = (RETURN, 0, 0, 0xFFFF), (RETURN, 0, 0, 0)

Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def _attach(raw: socket.socket, program: list[Instruction]) -> None:
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in program))
    attached = _Program(len(program), ctypes.addressof(code))
    raw.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(attached))


def neighbours(raw: socket.socket, ips: list[str], but: tuple[str, ...] = ()) -> None:
    """ARP, or of IPv6 the neighbour messages, but for the storm's and those of `but`."""
    if wire.family(ips) == 4:
        deaf_to = [socket.inet_aton(ip) for ip in (STORM_IP, *but)]
        _attach(raw, [(WORD, 0, 0, SPA), *_unless(deaf_to)])
        return
    deaf_to = [socket.inet_pton(socket.AF_INET6, ip)[-4:] for ip in (STORM_IP6, *but)]
    sources = [(WORD, 0, 0, SOURCE6_END), *_unless(deaf_to)]
    program = [
        (BYTE, 0, 0, NEXT_HEADER),
        (IF_EQUAL, 0, len(sources) + 2, 58),
        (BYTE, 0, 0, TYPE),
        (IF_EQUAL, 1, 0, ndp.SOLICITATION),
        (IF_EQUAL, 0, len(sources) - 1, ndp.ADVERTISEMENT),
        *sources,
    ]
    _attach(raw, program)


def _unless(values: list[bytes]) -> list[Instruction]:
    """Accepts, unless what is loaded is one of these."""
    count = len(values)
    tests = [
        (IF_EQUAL, count - at, 0, int.from_bytes(value, "big")) for at, value in enumerate(values)
    ]
    return [*tests, ACCEPT, DROP]


def gossip(raw: socket.socket) -> None:
    """Only what comes from or goes to the gossip port."""
    program = [
        (HALF, 0, 0, DESTINATION_PORT),
        (IF_EQUAL, 2, 0, GOSSIP_PORT),
        (HALF, 0, 0, SOURCE_PORT),
        (IF_EQUAL, 0, 1, GOSSIP_PORT),
        ACCEPT,
        DROP,
    ]
    _attach(raw, program)
