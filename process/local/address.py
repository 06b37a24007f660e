"""Where a process listens, and who is at the other end: abstract UNIX sockets (unix(7)).

An abstract name needs no file system, and has no owner: any process in the machine's network
namespace can take it, and listen or connect. So whoever listens looks who asks, and whoever asks
looks who answers: root and the same user are believed, and nobody else.
"""

import hashlib
import os
import socket
import struct
from typing import Any

_CREDENTIALS = struct.Struct("3i")
"""`struct ucred`: process, user, group."""
LONGEST_NAME = 107
"""Bytes of an address of the kernel's, less one; a Node's name may have 253."""


class UntrustedError(Exception):
    """Another user's process answers; `uid` says whose."""

    def __init__(self, uid: int) -> None:
        super().__init__(uid)
        self.uid = uid


def address(program: str, node: str) -> str:
    """Return the abstract address of a program on a node (it begins with a NUL byte)."""
    name = f"\0clarion/{program}/{node}"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    return f"\0clarion/{program}/{hashlib.sha256(node.encode()).hexdigest()}"


def uid_of(connection: Any) -> int:
    """Return who is at the other end: who connected, or who began to listen (SO_PEERCRED)."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])


def is_trusted(uid: int) -> bool:
    """Tell whether it is root, or the user that this process runs as."""
    return uid in (0, os.geteuid())
