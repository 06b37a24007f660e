"""How a Clarion node tells others in its Meta that it is one, and what bars it from owning IPs.

     0       2         3       4              8
    +-------+---------+-------+--------------+---- later versions append ...
    | magic | version | flags |  start id    |
    +-------+---------+-------+--------------+----

It is short because every push/pull carries it once a member, and its random bytes do not compress.
MetalLB and serf carry a foreign Meta verbatim and make nothing of it.
"""

import struct
from dataclasses import dataclass
from enum import IntFlag

MAGIC = b"\xc7\x1a"
"""Not serf's 0xff, with which its own tags begin, and no start of UTF-8 text."""
VERSION, OLDEST = 2, 1
"""From 2 on, letters to the node name their receiver, and its own do (see `courier`)."""
_LAYOUT = struct.Struct("!2sBBI")
START_ID_BITS = 32
"""Enough to tell the few lives apart that a cluster remembers: one chance in 8,000 that two of
1,000 nodes draw the same, and a message names the incarnation as well."""


class Flags(IntFlag):
    """Why a living node may not own an IP; set by that node alone."""

    NONE = 0
    NOT_SYNCED = 1
    NO_LINK = 2
    LEAVING = 4
    DAMPED = 8
    """Judged gone again and again of late. Earlier versions do not know it, so NOT_SYNCED goes with
    it: all are to elect the same."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of one life of a node: `start_id` is START_ID_BITS random bits of its start."""

    start_id: int
    flags: Flags = Flags.NONE
    version: int = VERSION


def encode(mark: Mark) -> bytes:
    """Write the 8 bytes of a mark."""
    return _LAYOUT.pack(MAGIC, mark.version, mark.flags, mark.start_id)


def is_marked(meta: bytes) -> bool:
    """Tell whether it is the Meta of a node of our kind."""
    return decode(meta) is not None


def decode(meta: bytes) -> Mark | None:
    """Read a mark; None for the Meta of another kind of node. Unknown flags are kept."""
    if len(meta) < _LAYOUT.size or not meta.startswith(MAGIC):
        return None
    _, version, flags, start_id = _LAYOUT.unpack_from(meta)
    return Mark(start_id, Flags(flags), version) if version >= OLDEST else None
