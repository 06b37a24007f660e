"""Classic BPF programs that the kernel runs before a frame reaches the process.

A program is a tuple of instructions (code, jump if true, jump if false, constant), the kernel's
`struct sock_filter`. Return value 0 drops the frame, anything else is the length to keep.
"""

import struct

Program = tuple[tuple[int, int, int, int], ...]

_INSTRUCTION = struct.Struct("HBBI")
_LOAD_HALF_ABSOLUTE = 0x28
_JUMP_IF_EQUAL = 0x15
_RETURN = 0x06
_KEEP_ALL = 0xFFFF

_ARP_OPERATION = 14 + 6
_REQUEST = 1

DROP_ALL: Program = ((_RETURN, 0, 0, 0),)
"""Keeps everything out while a socket is set up, so that nothing unfiltered waits in it."""

ARP_REQUESTS: Program = (
    (_LOAD_HALF_ABSOLUTE, 0, 0, _ARP_OPERATION),
    (_JUMP_IF_EQUAL, 0, 1, _REQUEST),
    (_RETURN, 0, 0, _KEEP_ALL),
    (_RETURN, 0, 0, 0),
)
"""ARP requests only; a load behind the end of a short frame drops it."""


def assemble(program: Program) -> bytes:
    """Return the instructions as the array that SO_ATTACH_FILTER wants."""
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)
