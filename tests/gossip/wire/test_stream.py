"""Whole requests and replies: framing, lengths known early, and hostile headers."""

import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.wire import compress, crypto, label, lzw
from gossip.wire.body import NODE_STATE, IntForm, encode
from gossip.wire.crypto import Keyring
from gossip.wire.errors import Refusal, WireError
from gossip.wire.fields import MAX_MAP, pack
from gossip.wire.messages import (
    CURRENT_VSN,
    Ack,
    ErrorReply,
    Message,
    Nack,
    NodeState,
    Ping,
    PushPull,
    State,
    User,
)
from gossip.wire.packet import MAX_STREAM, WireConfig
from gossip.wire.stream import StreamCodec
from gossip.wire.streambody import MAX_NODES, encode_stream
from machine import cost

KEY = bytes(range(16))
NODE = NodeState(b"\x0a\x4d\x00\x01", 3, None, "node-a", 7946, State.SUSPECT, CURRENT_VSN)
TABLE = PushPull(True, (NODE, NODE), b"user state")
MESSAGES: list[Message] = [Ping("n", 1), Ack(1), User(b"hello"), ErrorReply("no"), TABLE]
BARE = StreamCodec(WireConfig(compress=False), None)
SEALED = StreamCodec(WireConfig(), Keyring([KEY]))


def nonce() -> bytes:
    return bytes(12)


def refusal_of(codec: StreamCodec, data: bytes, *, accepting: bool = True) -> Refusal:
    with pytest.raises(WireError) as caught:
        codec.open(data, accepting=accepting)
    return caught.value.reason


def early_refusal_of(codec: StreamCodec, data: bytes, *, accepting: bool = True) -> Refusal:
    """Refused from the first bytes alone, before the rest has come."""
    with pytest.raises(WireError) as caught:
        codec.length(data, accepting=accepting)
    return caught.value.reason


def framed(plain: bytes) -> bytes:
    """Seal what the codec itself would not."""
    head = b"\x0a" + (29 + len(plain)).to_bytes(4, "big")
    return head + crypto.seal(KEY, plain, head, nonce())


def header(**items: object) -> bytes:
    return pack({key.encode(): value for key, value in items.items()})


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("dialer", [True, False])
@pytest.mark.parametrize("tag", [b"", b"speakers"])
@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("squeeze", [True, False])
@pytest.mark.parametrize("keyring", [None, Keyring([KEY])])
def test_message_comes_back_through_every_layer(
    message: Message, dialer: bool, tag: bytes, version: int, squeeze: bool, keyring: Keyring | None
) -> None:
    config = WireConfig(label=tag, compress=squeeze, encryption_version=version)
    codec = StreamCodec(config, keyring)
    data = codec.seal(message, dialer=dialer, nonce=nonce)
    assert data.startswith(b"\xf4") is bool(tag and dialer)
    lengths = [codec.length(data[:end], accepting=dialer) for end in range(len(data) + 1)]
    assert lengths[-1] == len(data)
    assert set(lengths) == {None, len(data)}
    assert codec.open(data + b"ignored", accepting=dialer) == message


def test_always_compressed_even_if_it_grows() -> None:
    data = StreamCodec(WireConfig(), None).seal(Ack(1), dialer=False, nonce=nonce)
    assert data[0] == 9
    assert len(data) > len(encode(Ack(1)))


def test_a_reply_bears_no_label_and_yet_is_bound_to_it() -> None:
    one, other = (StreamCodec(WireConfig(label=t), Keyring([KEY])) for t in (b"one", b"other"))
    reply = one.seal(Ack(1), dialer=False, nonce=nonce)
    assert one.open(reply, accepting=False) == Ack(1)
    assert refusal_of(other, reply, accepting=False) is Refusal.DECRYPT
    assert refusal_of(one, reply, accepting=True) is Refusal.LABEL
    request = one.seal(Ping("n", 1), dialer=True, nonce=nonce)
    assert early_refusal_of(other, request) is Refusal.LABEL
    assert early_refusal_of(SEALED, request) is Refusal.LABEL
    assert early_refusal_of(one, request, accepting=False) is Refusal.LABEL


def test_no_message_is_too_long_for_go_nor_for_us() -> None:
    with pytest.raises(ValueError, match="more than"):
        BARE.seal(User(bytes(MAX_STREAM)), dialer=True, nonce=nonce)
    with pytest.raises(ValueError, match="nodes"):
        encode_stream(PushPull(False, (NODE,) * (MAX_NODES + 1)))


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"\x01", Refusal.UNKNOWN_TYPE),
        (b"\x03", Refusal.UNKNOWN_TYPE),
        (b"\x07", Refusal.UNKNOWN_TYPE),
        (b"\x0c", Refusal.UNKNOWN_TYPE),
        (b"GET / HTTP/1.1\r\n", Refusal.UNKNOWN_TYPE),
        (b"\xf4", Refusal.LABEL),
        (b"\x0a", Refusal.ENCRYPTED),
        (b"\x06\xc1", Refusal.BAD_BODY),
        (b"\x06\x07", Refusal.BAD_BODY),
        (b"\x06" + header(Nodes=-1), Refusal.BAD_BODY),
        (b"\x06" + header(Nodes=MAX_NODES + 1), Refusal.BAD_BODY),
        (b"\x06" + header(Nodes=1, UserStateLen=MAX_STREAM + 1), Refusal.BAD_BODY),
        (b"\x08" + header(UserMsgLen=MAX_STREAM + 1), Refusal.BAD_BODY),
        (b"\x08" + header(UserMsgLen=1 << 62), Refusal.BAD_BODY),
        (b"\x08" + header(UserMsgLen=1.0), Refusal.BAD_BODY),
        (b"\x00\x81\xa4Node\xdb\x00\x7f\xff\xff" + b"n" * 9_000, Refusal.TOO_LONG),
        (b"\x06" + header(Nodes=1) + b"\x81\xa4Name\xda\xff\xff" + b"n" * 9_000, Refusal.TOO_LONG),
        (b"\x06" + header(Nodes=1) + b"\x91" * 9_000, Refusal.BAD_BODY),
    ],
)
def test_refused_before_the_rest_has_come(data: bytes, wanted: Refusal) -> None:
    assert early_refusal_of(BARE, data) is wanted


@pytest.mark.parametrize(
    ("length", "wanted"),
    [(0, Refusal.TRUNCATED), (29, Refusal.TRUNCATED), (MAX_STREAM + 1, Refusal.TOO_LONG)],
)
def test_impossible_frame_length(length: int, wanted: Refusal) -> None:
    assert early_refusal_of(SEALED, b"\x0a" + length.to_bytes(4, "big")) is wanted


def test_a_stream_that_never_ends_is_refused_at_the_limit() -> None:
    codec = StreamCodec(WireConfig(max_stream=100_000), None)
    reader = codec.reader(accepting=True)
    assert not reader.feed(b"\x09\x81\xa3Buf\xdb\x7f\xff\xff\xff")
    for _ in range(9):
        assert not reader.feed(bytes(10_000))
    with pytest.raises(WireError) as caught:
        reader.feed(bytes(10_000))
    assert caught.value.reason is Refusal.TOO_LONG


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", Refusal.EMPTY),
        (b"\x06" + header(Nodes=1), Refusal.TRUNCATED),
        (b"\x08" + header(UserMsgLen=5) + b"four", Refusal.TRUNCATED),
        (b"\x09" + pack({b"Algo": 0, b"Buf": lzw.compress(b"")}), Refusal.EMPTY),
        (compress.wrap(compress.wrap(encode(Ack(1)))), Refusal.NESTED),
        (compress.wrap(encode(Nack(1))), Refusal.UNKNOWN_TYPE),
        (b"\x06" + header(Nodes=1) + pack(4), Refusal.BAD_BODY),
        (b"\x06" + header(Nodes=1) + pack(b"n"), Refusal.BAD_BODY),
    ],
)
def test_refused_once_whole(data: bytes, wanted: Refusal) -> None:
    assert refusal_of(BARE, data) is wanted


@pytest.mark.parametrize(
    ("plain", "wanted"),
    [
        (b"\xf4\x01x", Refusal.UNKNOWN_TYPE),
        (b"\x0a\x00\x00\x00\x30" + bytes(48), Refusal.UNKNOWN_TYPE),
        (b"\x09\x80", Refusal.BAD_BODY),
        (b"\x04", Refusal.UNKNOWN_TYPE),
    ],
)
def test_refused_inside_the_frame(plain: bytes, wanted: Refusal) -> None:
    assert refusal_of(SEALED, framed(plain)) is wanted


BAD_ROWS = [
    ({b"Name": b"\xff\xfe"}, Refusal.BAD_BODY),
    ({b"Name": b"n" * 513}, Refusal.TOO_LONG),
    ({b"Meta": bytes(513)}, Refusal.TOO_LONG),
    ({b"State": 4}, Refusal.BAD_BODY),
    ({b"Vsn": bytes(17)}, Refusal.TOO_LONG),
    ({b"Addr": bytes(17)}, Refusal.TOO_LONG),
    ({b"Port": 70_000}, Refusal.BAD_BODY),
    ({bytes((key,)): None for key in range(MAX_MAP + 1)}, Refusal.BAD_BODY),
]


@pytest.mark.parametrize(("bad", "why"), BAD_ROWS)
@pytest.mark.parametrize("at", range(3))
def test_a_row_that_go_takes_and_we_do_not_is_left_out(
    bad: dict[bytes, object], why: Refusal, at: int
) -> None:
    good = NODE_STATE.write(NODE)
    rows = [good, good]
    rows.insert(at, pack({b"Name": b"n"} | bad))
    data = b"\x06" + header(Nodes=3, UserStateLen=4) + b"".join(rows) + b"more"
    wanted = PushPull(False, (NODE, NODE), b"more", (why,))
    assert BARE.open(data, accepting=True) == wanted
    assert BARE.open(data, accepting=True) == wanted, "out of the cache"


def test_a_changed_frame_is_refused() -> None:
    data = SEALED.seal(TABLE, dialer=True, nonce=nonce)
    assert refusal_of(SEALED, data[:-1]) is Refusal.TRUNCATED
    assert refusal_of(SEALED, data[:-1] + bytes((data[-1] ^ 1,))) is Refusal.DECRYPT
    longer = data[:4] + bytes((data[4] + 1,)) + data[5:] + b"x"
    assert refusal_of(SEALED, longer) is Refusal.DECRYPT


def test_plaintext_is_accepted_only_where_configured() -> None:
    plain = StreamCodec(WireConfig(), None).seal(TABLE, dialer=True, nonce=nonce)
    assert early_refusal_of(SEALED, plain) is Refusal.NOT_ENCRYPTED
    lenient = StreamCodec(WireConfig(verify_incoming=False, verify_outgoing=False), Keyring([KEY]))
    assert lenient.open(plain, accepting=True) == TABLE
    assert lenient.open(SEALED.seal(TABLE, dialer=True, nonce=nonce), accepting=True) == TABLE
    assert lenient.seal(TABLE, dialer=True, nonce=nonce) == plain


def test_header_as_an_array_and_without_anything() -> None:
    assert BARE.open(b"\x06\x93\x00\x02\xc3ab", accepting=True) == PushPull(True, (), b"ab")
    assert BARE.open(b"\x06\xc0", accepting=True) == PushPull(False, ())
    assert BARE.open(b"\x08\x91\x02ab", accepting=True) == User(b"ab")


def test_many_nodes_in_small_pieces_take_linear_time() -> None:
    def table(parts: int) -> PushPull:
        return PushPull(False, (NODE,) * (500 * parts), bytes(10_000 * parts))

    def read(data: bytes, wanted: PushPull) -> None:
        reader = BARE.reader(accepting=True)
        for at in range(0, len(data) - 1400, 1400):
            assert not reader.feed(data[at : at + 1400])
        assert reader.feed(data[at + 1400 :])
        assert reader.message() == wanted

    small, large = table(1), table(10)
    short, long = (BARE.seal(found, dialer=True, nonce=nonce) for found in (small, large))
    # In quadratic time it would cost 100 times.
    assert cost(lambda: read(long, large)) < 30 * cost(lambda: read(short, small))


def test_hostile_lists_are_skipped_without_being_built() -> None:
    """A byte that makes an empty list costs Python 56: it must not be multiplied by megabytes."""
    junk = b"\xdc\x03\xe8" + b"\x90" * 1000
    lists = b"\xdc\x03\xe8" + junk * 1000
    data = b"\x09\x82\xa4Junk" + lists + b"\xa3Buf" + pack(lzw.compress(encode(Ack(1))))
    codec = StreamCodec(WireConfig(), None)
    tracemalloc.start()
    assert codec.open(data, accepting=True) == Ack(1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(data) > 1_000_000
    assert peak < 10_000_000


def test_a_sealed_stream_is_in_memory_once_and_opened_once_more() -> None:
    size, piece = 4_000_000, bytes(1 << 16)
    tracemalloc.start()
    reader = SEALED.reader(accepting=True)
    whole = reader.feed(b"\x0a" + size.to_bytes(4, "big"))
    while not whole:
        assert reader.held < size + 5
        whole = reader.feed(piece)
    buffered = tracemalloc.get_traced_memory()[1]
    with pytest.raises(WireError):
        reader.message()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert buffered < 1.3 * size
    assert peak < 2.4 * size


def test_what_only_the_scanner_waits_with_is_held_too() -> None:
    """Of a compressed stream it keeps all as well, of a table no more than the row that comes."""
    compressed, table = BARE.reader(accepting=True), BARE.reader(accepting=True)
    compressed.feed(b"\x09\x81\xa3Buf\xc6\0\1\0\0" + bytes(10_000))
    assert 20_000 < compressed.held < 20_100
    rows = encode_stream(PushPull(False, (NODE,) * 500))
    table.feed(rows[:-1])
    assert len(rows) <= table.held < len(rows) + 200


def test_a_compressed_bomb_stops_at_the_limit() -> None:
    bomb = b"\x09" + pack({b"Algo": 0, b"Buf": lzw.compress(bytes(4_000_000))})
    small = StreamCodec(WireConfig(max_stream=100_000), None)
    whole = lzw.compress(bytes(100_000))
    assert refusal_of(small, bomb) is Refusal.TOO_LONG
    unpacked = cost(lambda: lzw.decompress(whole, 100_000))
    assert cost(lambda: refusal_of(small, bomb)) < 4 * unpacked


@given(
    st.sampled_from([b"", b"\x06", b"\x08", b"\x09", b"\x00", b"\x0a", b"\x06\x83\xa5Nodes\x02"]),
    st.binary(max_size=200),
    st.integers(1, 50),
)
def test_arbitrary_bytes_raise_only_wire_errors(start: bytes, rest: bytes, step: int) -> None:
    data = start + rest
    for codec, accepting in ((BARE, True), (SEALED, True), (SEALED, False)):
        reader = codec.reader(accepting=accepting)
        try:
            whole = any(reader.feed(data[at : at + step]) for at in range(0, len(data), step))
            message = reader.message() if whole else None
        except WireError:
            continue
        assert message is None or codec.open(data, accepting=accepting) == message


@given(st.binary(min_size=1, max_size=200), st.booleans())
def test_arbitrary_bytes_inside_the_frame_raise_only_wire_errors(plain: bytes, wrap: bool) -> None:
    data = framed(compress.wrap(plain) if wrap else plain)
    with suppress(WireError):
        SEALED.open(data, accepting=True)


def test_labels_on_both_sides_of_the_length() -> None:
    codec = StreamCodec(WireConfig(label=b"L" * 255), None)
    data = codec.seal(TABLE, dialer=True, nonce=nonce)
    assert len(data) > label.overhead(b"L" * 255)
    assert codec.length(data, accepting=True) == len(data)


def test_integer_form_is_the_configured_one() -> None:
    table = PushPull(False, (NODE,) * 200)
    for ints in IntForm:
        codec = StreamCodec(WireConfig(ints=ints, compress=False), None)
        assert codec.seal(table, dialer=True, nonce=nonce) == encode_stream(table, ints)
