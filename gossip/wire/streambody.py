"""A stream's message: type byte, header map and, by what the header says, node maps and raw bytes.

    06 | {Join, Nodes, UserStateLen} | Nodes x node map | UserStateLen bytes
    08 | {UserMsgLen} | UserMsgLen bytes
    00, 02, 0d | map
    09 | compress wrapper

Go never half-closes, so the end of a message must be read from the message itself.
"""

from functools import lru_cache
from itertools import pairwise

import msgpack  # type: ignore[import-untyped]

from gossip.wire.bites import PIECE, Bites, at_once
from gossip.wire.body import MESSAGES, NODE_STATE, IntForm, encode
from gossip.wire.errors import Refusal, WireError
from gossip.wire.fields import FLAG, as_map, pack, unpack, unsigned
from gossip.wire.messages import Message, MessageType, NodeState, PushPull, User

MAX_NODES = 8_192
"""Rows of a push/pull: more than any table holds, and no more than half a second of reading. A row
may be one byte, and compress to less."""
MAX_ITEM = 8 * 1024
"""Bytes of a header or a node map; a node with the longest name and Meta has about 1,200."""
ROWS_A_BITE = 64
"""Rows read or written from one stop to the next; fewer of those that are long."""
_CACHED_ROWS = 8_192
_MAX_CACHED_ROW = 256
"""Bytes of a received row; one of a real node has about 100, a hostile one up to `MAX_ITEM`."""

ON_STREAM = frozenset(
    {
        MessageType.PING,
        MessageType.ACK,
        MessageType.PUSH_PULL,
        MessageType.USER,
        MessageType.COMPRESS,
        MessageType.ERROR,
    }
)
_PUSH_PULL_KEYS = (b"Nodes", b"UserStateLen", b"Join")
_USER_KEYS = (b"UserMsgLen",)


def encode_stream(message: Message, ints: IntForm = IntForm.V2) -> bytes:
    """Encode a message with its stream framing; ValueError for what must not be sent."""
    return at_once(encoding_stream(message, ints))


def encoding_stream(message: Message, ints: IntForm = IntForm.V2) -> Bites[bytes]:
    """Encode in bites; ValueError for what no stream carries."""
    if isinstance(message, PushPull):
        return (yield from _encoding_push_pull(message, ints))
    if isinstance(message, User):
        header = b"\x81" + pack(b"UserMsgLen") + _pack_signed(len(message.data), ints)
        return bytes((MessageType.USER,)) + header + message.data
    data = encode(message, ints)
    if data[0] not in ON_STREAM:
        raise ValueError(f"{type(message).__name__} travels only in datagrams")
    return data


def _encoding_push_pull(message: PushPull, ints: IntForm) -> Bites[bytes]:
    if len(message.nodes) > MAX_NODES:
        raise ValueError(f"{len(message.nodes)} nodes, more than {MAX_NODES}")
    parts = [
        bytes((MessageType.PUSH_PULL, 0x83)),
        pack(b"Join") + pack(message.join),
        pack(b"Nodes") + _pack_signed(len(message.nodes), ints),
        pack(b"UserStateLen") + _pack_signed(len(message.user_state), ints),
    ]
    for start in range(0, len(message.nodes), ROWS_A_BITE):
        if start:
            yield
        parts += map(_write_row, message.nodes[start : start + ROWS_A_BITE])
    return b"".join((*parts, message.user_state))


@lru_cache(maxsize=_CACHED_ROWS)
def _write_row(row: NodeState) -> bytes:
    """Encode a row; nearly all of a table are the same as in the exchange before."""
    return NODE_STATE.write(row)


@lru_cache(maxsize=_CACHED_ROWS)
def _read_row(data: bytes) -> NodeState | Refusal:
    """Decode a row, likewise."""
    return _take_row(data)


def _take_row(data: bytes) -> NodeState | Refusal:
    """Decode a row, or say why it is left out; WireError for what is no row at all.

    Go takes longer names and what is no text, and a later memberlist may have a fifth state. One
    member of that kind must not keep us from what all the others say.
    """
    try:
        value = unpack(data)
    except WireError as error:
        return error.reason
    items = as_map(value, NODE_STATE.keys)
    try:
        row: NodeState = NODE_STATE.build(items)
    except WireError as error:
        return error.reason
    return row


def _pack_signed(value: int, ints: IntForm) -> bytes:
    """Write a Go `int`: go-msgpack v2 uses the signed family (d1, d2) above 127."""
    if ints is IntForm.LEGACY or value <= 0x7F:
        return pack(value)
    if value <= 0x7FFF:
        return b"\xd1" + value.to_bytes(2, "big")
    return b"\xd2" + value.to_bytes(4, "big")


def decode_stream(data: bytes | memoryview, limit: int) -> Message:
    """Decode a whole stream's message, neither sealed nor compressed; `limit` caps its bytes.

    Raises WireError.
    """
    return at_once(decoding_stream(data, limit))


def decoding_stream(data: bytes | memoryview, limit: int) -> Bites[Message]:
    """Decode in bites. Raises WireError."""
    view = memoryview(data)
    if not view:
        raise WireError(Refusal.EMPTY)
    kind = view[0]
    if kind == MessageType.COMPRESS:
        raise WireError(Refusal.NESTED)
    scanner = BodyScanner(kind, limit)
    rest = bytes(view[1:])
    length = yield from _measuring(scanner, rest)
    if length is None or length > len(rest):
        raise WireError(Refusal.TRUNCATED)
    ends, tail = scanner.ends, rest[scanner.ends[-1] : length]
    if kind == MessageType.USER:
        return User(tail)
    if kind == MessageType.PUSH_PULL:
        rows = yield from _reading_rows(rest, ends)
        nodes = tuple([row for row in rows if isinstance(row, NodeState)])
        refused = tuple([row for row in rows if isinstance(row, Refusal)])
        return PushPull(scanner.join, nodes, tail, refused)
    message: Message = MESSAGES[kind].read(rest[:length])
    return message


def _measuring(scanner: "BodyScanner", rest: bytes) -> Bites[int | None]:
    """Find the end of what is all here; None where it is not."""
    for start in range(0, len(rest), PIECE):
        length = scanner.feed(rest[start : start + PIECE])
        if length is not None:
            return length
        yield
    return None


def _reading_rows(rest: bytes, ends: list[int]) -> Bites[list[NodeState | Refusal]]:
    rows: list[NodeState | Refusal] = []
    stop = ends[0] + PIECE
    for start, end in pairwise(ends):
        row = rest[start:end]
        rows.append(_read_row(row) if end - start <= _MAX_CACHED_ROW else _take_row(row))
        if len(rows) % ROWS_A_BITE == 0 or end > stop:
            stop = end + PIECE
            yield
    return rows


class BodyScanner:
    """Finds the end of a message that arrives in pieces, without building what it passes over.

    `ends` are the offsets after the header and after each node map, from the byte after the type.
    """

    def __init__(self, kind: int, limit: int) -> None:
        if kind not in ON_STREAM:
            raise WireError(Refusal.UNKNOWN_TYPE)
        self.ends: list[int] = []
        self.join = False
        self._kind = kind
        self._limit = limit
        self._max_item = limit if kind == MessageType.COMPRESS else MAX_ITEM
        self._wanted = 1
        self._tail = 0
        self._fed = 0
        self._head = bytearray()
        self._unpacker = msgpack.Unpacker(raw=True, max_buffer_size=limit, read_size=MAX_ITEM)

    @property
    def waiting(self) -> int:
        """Bytes of an unfinished item, which are kept until it has ended."""
        return self._fed - (self.ends[-1] if self.ends else 0)

    def feed(self, data: bytes | memoryview) -> int | None:
        """Take the next bytes; the message's length once known, counted after the type byte.

        WireError as soon as it can no longer become a message within the limits.
        """
        if len(self.ends) < self._wanted:
            self._fed += len(data)
            if self._fed > self._limit:
                raise WireError(Refusal.TOO_LONG)
            if not self.ends:
                self._head += data
            self._unpacker.feed(data)
            self._skip_items()
        return self.ends[-1] + self._tail if len(self.ends) == self._wanted else None

    def _skip_items(self) -> None:
        if not self.ends and self._skip_up_to(1):
            self._read_header(bytes(self._head[: self.ends[0]]))
        if self.ends:
            self._skip_up_to(self._wanted)

    def _skip_up_to(self, wanted: int) -> bool:
        """Pass over items until so many have ended; false where that needs more bytes."""
        skip, tell, ends = self._unpacker.skip, self._unpacker.tell, self.ends
        start = ends[-1] if ends else 0
        try:
            while len(ends) < wanted:
                skip()
                end = tell()
                if end - start > self._max_item:
                    raise WireError(Refusal.TOO_LONG)
                ends.append(end)
                start = end
        except msgpack.OutOfData:
            if self._fed - start > self._max_item:
                raise WireError(Refusal.TOO_LONG) from None
            return False
        except (ValueError, TypeError, msgpack.UnpackException):
            raise WireError(Refusal.BAD_BODY) from None
        return True

    def _read_header(self, header: bytes) -> None:
        length = unsigned(self._limit)
        if self._kind == MessageType.USER:
            items = as_map(unpack(header), _USER_KEYS)
            self._tail = length.read(items.get(b"UserMsgLen"))
        elif self._kind == MessageType.PUSH_PULL:
            items = as_map(unpack(header), _PUSH_PULL_KEYS)
            self.join = FLAG.read(items.get(b"Join"))
            self._wanted += unsigned(MAX_NODES).read(items.get(b"Nodes"))
            self._tail = length.read(items.get(b"UserStateLen"))
        self._head.clear()
