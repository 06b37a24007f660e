"""How a Clarion node tells others in its Meta that it is one, and what bars it from owning IPs.

     0        4         5       6                        14
    +--------+---------+-------+------------------------+---- later versions append ...
    | magic  | version | flags |  start id              |
    +--------+---------+-------+------------------------+----

MetalLB and serf carry a foreign Meta verbatim and make nothing of it.
"""

import struct
from dataclasses import dataclass
from enum import IntFlag

MAGIC = b"\xc7CLR"
"""Not serf's 0xff, with which its own tags begin."""
VERSION = 1
_LAYOUT = struct.Struct("!4sBBQ")


class Flags(IntFlag):
    """Why a living node may not own an IP; set by that node alone."""

    NONE = 0
    NOT_SYNCED = 1
    NO_LINK = 2
    LEAVING = 4


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of one life of a node: `start_id` is 64 random bits drawn at its start."""

    start_id: int
    flags: Flags = Flags.NONE
    version: int = VERSION


def encode(mark: Mark) -> bytes:
    """Write the 14 bytes of a mark."""
    return _LAYOUT.pack(MAGIC, mark.version, mark.flags, mark.start_id)


def decode(meta: bytes) -> Mark | None:
    """Read a mark; None for the Meta of another kind of node. Unknown flags are kept."""
    if len(meta) < _LAYOUT.size or not meta.startswith(MAGIC):
        return None
    _, version, flags, start_id = _LAYOUT.unpack_from(meta)
    return Mark(start_id, Flags(flags), version) if version >= VERSION else None
