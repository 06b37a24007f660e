"""Classic BPF programs, so that the instruments are not woken for what does not concern them."""

import ctypes
import socket
import struct

SO_ATTACH_FILTER = 26
GOSSIP_PORT = 7946
# Where an ARP frame has its sender's IP; where UDP and TCP over plain IPv4 have their ports.
SPA, SOURCE_PORT, DESTINATION_PORT = 28, 34, 36
# linux/bpf_common.h: load word or half-word at an offset; jump if equal; return.
LOAD_WORD, LOAD_HALF, IF_EQUAL, RETURN = 0x20, 0x28, 0x15, 0x06
ALL, NOTHING = 0xFFFF, 0

Instruction = tuple[int, int, int, int]


def _attach(raw: socket.socket, program: list[Instruction]) -> None:
    code = b"".join(struct.pack("HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(code)
    attached = struct.pack("HL", len(program), ctypes.addressof(buffer))
    raw.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, attached)


def ignore(raw: socket.socket, asker: str) -> None:
    """All ARP but what this IP sends."""
    ip = int.from_bytes(socket.inet_aton(asker), "big")
    _attach(
        raw,
        [
            (LOAD_WORD, 0, 0, SPA),
            (IF_EQUAL, 0, 1, ip),
            (RETURN, 0, 0, NOTHING),
            (RETURN, 0, 0, ALL),
        ],
    )


def only_gossip(raw: socket.socket) -> None:
    """Only what comes from or goes to the gossip port."""
    _attach(
        raw,
        [
            (LOAD_HALF, 0, 0, DESTINATION_PORT),
            (IF_EQUAL, 2, 0, GOSSIP_PORT),
            (LOAD_HALF, 0, 0, SOURCE_PORT),
            (IF_EQUAL, 0, 1, GOSSIP_PORT),
            (RETURN, 0, 0, ALL),
            (RETURN, 0, 0, NOTHING),
        ],
    )
