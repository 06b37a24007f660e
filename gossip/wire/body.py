"""Messages to bytes and back: a type byte, then a msgpack map.

The table below is the whole format. Fields stand in Go's declaration order, which matters only
where a peer sends a struct as an array; on the wire the keys are sorted.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from gossip.wire.errors import Refusal, WireError
from gossip.wire.fields import (
    ADDRESS,
    FLAG,
    META,
    NAME,
    NUMBER,
    PAYLOAD,
    PORT,
    STATE,
    TEXT,
    VSN,
    Field,
    as_map,
    pack_small,
    unpack,
)
from gossip.wire.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Message,
    MessageType,
    Nack,
    NodeState,
    Ping,
    Suspect,
    User,
)


class IntForm(Enum):
    """How a Go peer's codec writes the signed fields Nodes, UserStateLen and UserMsgLen.

    LEGACY (memberlist up to v0.5.0): the unsigned family. V2: the signed family above 127.
    """

    LEGACY = "legacy"
    V2 = "v2"


@dataclass(frozen=True, slots=True)
class Schema:
    """One struct: its fields in wire order, keys as declared, readers as `cls` takes them."""

    cls: type[Any]
    wire: tuple[Field, ...]
    keys: tuple[bytes, ...]
    readers: tuple[tuple[bytes, Callable[[object], Any]], ...]

    def write(self, value: object) -> bytes:
        """Encode a dataclass as a map with sorted keys; ValueError for what must not be sent."""
        items: dict[bytes, object] = {}
        for field in self.wire:
            content = getattr(value, field.attribute)
            if content or not field.omit_empty:
                items[field.key] = field.kind.write(content)
        return pack_small(items)

    def read(self, data: bytes | memoryview) -> Any:
        """Decode a map (or array, or nil) into the dataclass; WireError if a field is refused."""
        return self.build(as_map(unpack(data), self.keys))

    def build(self, items: dict[object, object]) -> Any:
        """Take the fields out of a decoded map; WireError if one is refused."""
        get = items.get
        return self.cls(*[read(get(key)) for key, read in self.readers])


def schema(cls: type[Any], *fields: Field) -> Schema:
    """Build a schema from fields in Go's declaration order."""
    wire = tuple(sorted(fields, key=lambda field: field.key))
    named = {field.attribute: (field.key, field.kind.read) for field in fields}
    readers = tuple(named[attribute.name] for attribute in dataclasses.fields(cls))
    return Schema(cls, wire, tuple(field.key for field in fields), readers)


# The only omit-if-empty fields of the protocol.
_SOURCE = (
    Field(b"SourceAddr", "source_addr", ADDRESS, omit_empty=True),
    Field(b"SourcePort", "source_port", PORT, omit_empty=True),
    Field(b"SourceNode", "source_node", NAME, omit_empty=True),
)
_SEQ_NO = Field(b"SeqNo", "seq_no", NUMBER)
_INCARNATION = Field(b"Incarnation", "incarnation", NUMBER)
_NODE = Field(b"Node", "node", NAME)
_FROM = Field(b"From", "sender", NAME)
_ADDR = Field(b"Addr", "addr", ADDRESS)
_PORT = Field(b"Port", "port", PORT)
_META = Field(b"Meta", "meta", META)
_VSN = Field(b"Vsn", "vsn", VSN)

MESSAGES: dict[int, Schema] = {
    MessageType.PING: schema(Ping, _SEQ_NO, _NODE, *_SOURCE),
    MessageType.INDIRECT_PING: schema(
        IndirectPing,
        _SEQ_NO,
        Field(b"Target", "target", ADDRESS),
        _PORT,
        _NODE,
        Field(b"Nack", "nack", FLAG),
        *_SOURCE,
    ),
    MessageType.ACK: schema(Ack, _SEQ_NO, Field(b"Payload", "payload", PAYLOAD)),
    MessageType.NACK: schema(Nack, _SEQ_NO),
    MessageType.SUSPECT: schema(Suspect, _INCARNATION, _NODE, _FROM),
    MessageType.ALIVE: schema(Alive, _INCARNATION, _NODE, _ADDR, _PORT, _META, _VSN),
    MessageType.DEAD: schema(Dead, _INCARNATION, _NODE, _FROM),
    MessageType.ERROR: schema(ErrorReply, Field(b"Error", "text", TEXT)),
}

NODE_STATE = schema(
    NodeState,
    Field(b"Name", "name", NAME),
    _ADDR,
    _PORT,
    _META,
    _INCARNATION,
    Field(b"State", "state", STATE),
    _VSN,
)

_TYPE_OF = {item.cls: MessageType(number) for number, item in MESSAGES.items()}
_ON_UDP = frozenset(MESSAGES) - {MessageType.ERROR}


def encode(message: Message, ints: IntForm = IntForm.V2) -> bytes:
    """Encode one datagram's message: type byte and body; ValueError for what must not be sent.

    `ints` changes nothing here; it is taken so that every encoder is called alike.
    """
    if isinstance(message, User):
        return bytes((MessageType.USER,)) + message.data
    number = _TYPE_OF.get(type(message))
    if number is None:
        raise ValueError(f"{type(message).__name__} travels only on a stream")
    return bytes((number,)) + MESSAGES[number].write(message)


def decode(data: bytes | memoryview) -> Message:
    """Decode one message of a datagram, type byte first. Raises WireError.

    Trailing bytes are ignored, as Go does.
    """
    if not data:
        raise WireError(Refusal.EMPTY)
    number = data[0]
    if number == MessageType.USER:
        return User(bytes(data[1:]))
    if number not in _ON_UDP:
        raise WireError(Refusal.UNKNOWN_TYPE)
    message: Message = MESSAGES[number].read(memoryview(data)[1:])
    return message
