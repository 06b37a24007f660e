"""Ports of the loopback that programs are told to listen on, and that nobody takes before."""

import socket

_RESERVED: list[socket.socket] = []
"""For as long as this process lives."""


def reserved_port() -> int:
    """A port of the loopback that nobody else is given from now on.

    It stays bound, and nobody listens on it yet. Whoever does so later, in any process and as often
    as it is started anew, shares it by SO_REUSEADDR as servers do; nobody who asks the kernel for
    just any port, or connects from one, is given it meanwhile.
    """
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", 0))
    _RESERVED.append(made)
    return int(made.getsockname()[1])
