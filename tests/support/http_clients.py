"""Clients of the HTTP port that do not behave, for tests: by bytes on a socket."""

import socket
import ssl
import struct

WITHIN = 20.0
"""Seconds after which a test hangs."""
RESET = struct.pack("ii", 1, 0)


def connect(port: int, data: bytes = b"", *, reads: int = 0) -> socket.socket:
    """Connect and send; `reads`: the bytes that the kernel may take in before anybody reads."""
    made = socket.socket()
    if reads:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, reads)
    made.settimeout(WITHIN)
    try:
        made.connect(("127.0.0.1", port))
        made.sendall(data)
    except OSError:
        made.close()
        raise
    return made


def rest(connection: socket.socket) -> bytes:
    """Read to the end, whichever way it comes, and close."""
    got = b""
    with connection:
        try:
            while piece := connection.recv(65_536):
                got += piece
        except (ConnectionError, ssl.SSLError):
            pass
    return got


def ask(port: int, path: str, method: str = "GET") -> bytes:
    """Send a request as Go does, and return the whole answer."""
    return rest(connect(port, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()))


def reset(connection: socket.socket) -> None:
    """Hang up in the rudest way."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    connection.close()
