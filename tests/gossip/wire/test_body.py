"""What a body is sent as, and every odd form of it that Go accepts and so must we."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.wire import body
from gossip.wire.body import NODE_STATE, IntForm
from gossip.wire.errors import Refusal, WireError
from gossip.wire.messages import (
    CURRENT_VSN,
    Ack,
    Alive,
    Dead,
    ErrorReply,
    IndirectPing,
    Message,
    Nack,
    NodeState,
    Ping,
    PushPull,
    State,
    Suspect,
    User,
)
from gossip.wire.streambody import decode_stream, encode_stream

ALIVE = Alive(b"\x0a\x4d\x00\x01", 3, None, "node-a", 7946, CURRENT_VSN)
ALIVE_MAP: dict[bytes, Any] = {
    b"Addr": ALIVE.addr,
    b"Incarnation": 3,
    b"Meta": None,
    b"Node": b"node-a",
    b"Port": 7946,
    b"Vsn": CURRENT_VSN,
}

names = st.text(st.characters(codec="utf-8"), max_size=100)
u32 = st.integers(0, 2**32 - 1)
u16 = st.integers(0, 2**16 - 1)
addresses = st.binary(max_size=16)
metas = st.none() | st.binary(max_size=512)
alives = st.builds(Alive, addresses, u32, metas, names, u16, st.binary(min_size=6, max_size=6))
nodes = st.builds(
    NodeState, addresses, u32, metas, names, u16, st.sampled_from(State), st.just(CURRENT_VSN)
)
datagram_messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, names, u32, addresses, names, u16),
    st.builds(IndirectPing, st.booleans(), names, u16, u32, addresses, names, u16, addresses),
    st.builds(Ack, u32, st.none() | st.binary(max_size=200)),
    st.builds(Nack, u32),
    st.builds(Suspect, names, u32, names),
    st.builds(Dead, names, u32, names),
    st.builds(User, st.binary(max_size=100)),
    alives,
)
stream_messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, names, u32, addresses, names, u16),
    st.builds(Ack, u32, st.none() | st.binary(max_size=200)),
    st.builds(User, st.binary(max_size=300)),
    st.builds(ErrorReply, names),
    st.builds(
        PushPull, st.booleans(), st.lists(nodes, max_size=4).map(tuple), st.binary(max_size=300)
    ),
)


def alive_as(**changed: Any) -> bytes:
    items = {**ALIVE_MAP, **{key.encode(): value for key, value in changed.items()}}
    return b"\x04" + bytes(msgpack.packb(items, use_bin_type=False))


def refusal_of(data: bytes) -> Refusal:
    with pytest.raises(WireError) as caught:
        body.decode(data)
    return caught.value.reason


@given(datagram_messages)
def test_datagram_message_comes_back(message: Message) -> None:
    assert body.decode(body.encode(message)) == message


@given(stream_messages, st.sampled_from(IntForm))
def test_stream_message_comes_back(message: Message, ints: IntForm) -> None:
    assert decode_stream(encode_stream(message, ints), 1 << 20) == message


def test_every_message_type_can_be_sent_and_read() -> None:
    known = {schema.cls for schema in body.MESSAGES.values()} | {User, PushPull}
    assert known == set(get_args(Message))


def test_every_field_of_every_message_is_on_the_wire() -> None:
    for schema in (*body.MESSAGES.values(), NODE_STATE):
        assert is_dataclass(schema.cls)
        assert {field.attribute for field in schema.wire} == {f.name for f in fields(schema.cls)}


def test_source_fields_of_a_ping_are_left_out_when_empty() -> None:
    assert body.encode(Ping("n", 1)) == b"\x00\x82\xa4Node\xa1n\xa5SeqNo\x01"


@pytest.mark.parametrize(
    "data",
    [
        alive_as(),
        b"\x04" + msgpack.packb(ALIVE_MAP, use_bin_type=True),
        b"\x04" + msgpack.packb({k.decode(): v for k, v in ALIVE_MAP.items()}),
        b"\x04" + msgpack.packb(dict(reversed(ALIVE_MAP.items())), use_bin_type=False),
        alive_as() + b"trailing",
        alive_as(Vsn=list(CURRENT_VSN)),
        alive_as(Unknown={"deep": [1, 2.5, None]}),
        alive_as().replace(b"Incarnation\x03", b"Incarnation\xcf" + (3).to_bytes(8, "big")),
        alive_as().replace(b"Incarnation\x03", b"Incarnation\xd3" + (3).to_bytes(8, "big")),
        b"\x04\x87" + b"\xa4Port\x07" + alive_as()[2:],
        b"\x04\xde\x00\x06" + alive_as()[2:],
        b"\x04" + msgpack.packb([3, b"node-a", ALIVE.addr, 7946, None, CURRENT_VSN]),
        b"\x04" + msgpack.packb([3, b"node-a", ALIVE.addr, 7946, None, CURRENT_VSN, "new field"]),
    ],
    ids=[
        "as sent",
        "bin for text and keys",
        "str8 keys",
        "other order",
        "trailing bytes",
        "bytes as array",
        "unknown key",
        "wide unsigned",
        "wide signed",
        "duplicate key, last wins",
        "map16",
        "positional array",
        "longer array",
    ],
)
def test_go_accepts_it_and_so_do_we(data: bytes) -> None:
    assert body.decode(data) == ALIVE


@pytest.mark.parametrize("nothing", [b"\x80", b"\xc0", b"\x90"], ids=["map", "nil", "array"])
def test_nothing_is_all_zero_and_no_error(nothing: bytes) -> None:
    assert body.decode(b"\x04" + nothing) == Alive(b"", 0, None, "", 0, b"")


def test_missing_and_nil_are_zero_and_a_flag_may_be_a_number() -> None:
    nack = msgpack.packb({b"Nack": 1, b"Port": None}, use_bin_type=False)
    assert body.decode(b"\x01" + nack) == IndirectPing(True, "", 0, 0, b"", "", 0, b"")


@pytest.mark.parametrize("vsn", [b"", b"\x01\x05\x02", b"\x01" * 16])
def test_received_vsn_and_meta_are_passed_on_as_they_are(vsn: bytes) -> None:
    read = body.decode(alive_as(Vsn=vsn, Meta=b"\xff\x80"))
    assert isinstance(read, Alive)
    assert (read.vsn, read.meta) == (vsn, b"\xff\x80")


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", Refusal.EMPTY),
        (b"\x06\x80", Refusal.UNKNOWN_TYPE),
        (b"\x0d\x80", Refusal.UNKNOWN_TYPE),
        (b"\x0e\x80", Refusal.UNKNOWN_TYPE),
        (b"\xff\x80", Refusal.UNKNOWN_TYPE),
        (b"\x04", Refusal.BAD_BODY),
        (b"\x04\xc1", Refusal.BAD_BODY),
        (b"\x04\x05", Refusal.BAD_BODY),
        (alive_as()[:-1], Refusal.BAD_BODY),
        (alive_as(Port=73482), Refusal.BAD_BODY),
        (alive_as(Port=-1), Refusal.BAD_BODY),
        (alive_as(Port=1.0), Refusal.BAD_BODY),
        (alive_as(Port=True), Refusal.BAD_BODY),
        (alive_as(Port=b"7946"), Refusal.BAD_BODY),
        (alive_as(Incarnation=2**32), Refusal.BAD_BODY),
        (alive_as(Node=7), Refusal.BAD_BODY),
        (alive_as(Node=b"\xff\xfe"), Refusal.BAD_BODY),
        (alive_as(Vsn=[1, 256]), Refusal.BAD_BODY),
        (alive_as(Vsn={}), Refusal.BAD_BODY),
        (alive_as(Node=b"n" * 513), Refusal.TOO_LONG),
        (alive_as(Meta=b"m" * 513), Refusal.TOO_LONG),
        (alive_as(Addr=b"a" * 17), Refusal.TOO_LONG),
        (alive_as(Vsn=b"v" * 17), Refusal.TOO_LONG),
        (b"\x04" + b"\x91" * 60_000, Refusal.BAD_BODY),
        (b"\x04\x81\x90\x01", Refusal.BAD_BODY),
        (b"\x04\xdf\xff\xff\xff\xff", Refusal.BAD_BODY),
        (b"\x01\x81\xa4Nack\x02", Refusal.BAD_BODY),
        (b"\x01\x81\xa4Nack\xa0", Refusal.BAD_BODY),
    ],
)
def test_refused(data: bytes, wanted: Refusal) -> None:
    assert refusal_of(data) is wanted


@pytest.mark.parametrize(
    "message",
    [
        replace(ALIVE, vsn=b""),
        replace(ALIVE, vsn=b"\x01\x05\x02"),
        replace(ALIVE, vsn=CURRENT_VSN + b"\x00"),
        replace(ALIVE, meta=b"m" * 513),
        replace(ALIVE, node="n" * 513),
        replace(ALIVE, port=65_536),
        replace(ALIVE, incarnation=-1),
        replace(ALIVE, incarnation=2**32),
        replace(ALIVE, addr=b"a" * 17),
        PushPull(False, ()),
    ],
)
def test_never_sent(message: Message) -> None:
    with pytest.raises(ValueError, match=r"bytes|in 0|stream"):
        body.encode(message)


@pytest.mark.parametrize("vsn", [b"", b"\x01\x05\x02"])
def test_a_push_pull_never_carries_a_short_vsn(vsn: bytes) -> None:
    row = NodeState(b"\x0a\x4d\x00\x01", 1, None, "n", 7946, State.ALIVE, vsn)
    with pytest.raises(ValueError, match="Vsn"):
        encode_stream(PushPull(True, (row,)))


def test_only_stream_messages_go_on_a_stream() -> None:
    with pytest.raises(ValueError, match="datagrams"):
        encode_stream(ALIVE)


@pytest.mark.parametrize(
    ("length", "legacy", "signed"),
    [
        (127, b"\x7f", b"\x7f"),
        (200, b"\xcc\xc8", b"\xd1\x00\xc8"),
        (40_000, b"\xcd\x9c\x40", b"\xd2\x00\x00\x9c\x40"),
    ],
)
def test_lengths_are_signed_for_go_msgpack_v2(length: int, legacy: bytes, signed: bytes) -> None:
    message, head = User(b"u" * length), b"\x08\x81\xaaUserMsgLen"
    assert encode_stream(message, IntForm.LEGACY) == head + legacy + message.data
    assert encode_stream(message, IntForm.V2) == head + signed + message.data


def test_an_error_text_is_cleaned_not_refused() -> None:
    raw = b"\x0d" + msgpack.packb({b"Error": b"bad \xff" + b"e" * 5000}, use_bin_type=False)
    assert decode_stream(raw, 1 << 20) == ErrorReply("bad \ufffd" + "e" * 4091)
