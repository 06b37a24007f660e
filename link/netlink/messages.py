"""The frame of rtnetlink messages (netlink(7), rtnetlink(7)). Pure.

nlmsghdr | length 4 | type 2 | flags 2 | sequence 4 | port 4 |
rtattr   | length 2 | type 2 | value, padded to 4 |

A node's links and routes change all the time and hardly any change matters here, so this reads the
few fields itself: pyroute2 takes 100 to 500 us to make an object of a message.
"""

import struct
from collections.abc import Iterator

NLMSG_ERROR, NLMSG_DONE = 2, 3
HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_REQUEST, _DUMP = 0x1, 0x300


def dump_request(kind: int, body: bytes, sequence: int) -> bytes:
    """Return the question for all objects of a kind."""
    length = HEADER.size + len(body)
    return HEADER.pack(length, kind, _REQUEST | _DUMP, sequence, 0) + body


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and content of the messages of one datagram; a cut one ends it."""
    at = 0
    while at + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, at)
        if length < HEADER.size or at + length > len(data):
            return
        yield kind, data[at + HEADER.size : at + length]
        at += length + 3 & ~3


def error_of(body: bytes) -> int:
    """Return the errno of a message of type NLMSG_ERROR, 0 where it is cut."""
    return -int(_ERROR.unpack_from(body)[0]) if len(body) >= _ERROR.size else 0


def attributes(data: bytes, at: int = 0) -> dict[int, bytes]:
    """Return the values by type, from `at` on; a cut one ends them."""
    found: dict[int, bytes] = {}
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < ATTRIBUTE.size or at + length > len(data):
            break
        found[kind] = data[at + ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found
