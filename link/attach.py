"""Puts a filter program on a socket; needs no privilege beyond the socket itself."""

import ctypes
import socket

from link.filter import Program, assemble

_SO_ATTACH_FILTER = 26


class _SockFprog(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def attach(used: socket.socket, program: Program) -> None:
    """Have the kernel run `program` on what arrives, in place of any before it.

    Raises OSError with ENOMEM where net.core.optmem_max does not hold it: a swap charges both.
    """
    code = ctypes.create_string_buffer(assemble(program))
    fprog = _SockFprog(len(program), ctypes.addressof(code))
    used.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(fprog))
