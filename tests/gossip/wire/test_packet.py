"""Whole datagrams: layers in order, one bad part, hostile nesting, and what is never sent."""

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.wire import body, compound, compress, crc, crypto, label, lzw
from gossip.wire.crypto import Keyring
from gossip.wire.errors import Refusal, WireError
from gossip.wire.fields import pack
from gossip.wire.messages import CURRENT_VSN, Ack, Alive, Message, Nack, Ping, User
from gossip.wire.packet import MAX_MESSAGES, PacketCodec, WireConfig

KEY = bytes(range(32))
OTHER_KEY = bytes(16)
PLAIN = PacketCodec(WireConfig(), None)
SEALED = PacketCodec(WireConfig(), Keyring([KEY]))
NACK = body.encode(Nack(7))
ALIVE = Alive(b"\x0a\x4d\x00\x01", 3, None, "node-a", 7946, CURRENT_VSN)


def nonce() -> bytes:
    return bytes(12)


def refusal_of(codec: PacketCodec, data: bytes) -> Refusal:
    with pytest.raises(WireError) as caught:
        codec.open(data)
    return caught.value.reason


def bomb(size: int) -> bytes:
    """Wrap `size` zero bytes that are a user message, without asking the encoder's leave."""
    return b"\x09" + pack({b"Algo": 0, b"Buf": lzw.compress(b"\x08" + bytes(size - 1))})


configs = st.builds(
    WireConfig,
    label=st.sampled_from([b"", b"lbl", b"L" * 255]),
    compress=st.booleans(),
    encryption_version=st.sampled_from([0, 1]),
    verify_incoming=st.booleans(),
)
keyrings = st.sampled_from([None, Keyring([OTHER_KEY]), Keyring([KEY, OTHER_KEY])])
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Nack, st.integers(0, 2**32 - 1)),
    st.builds(Ack, st.integers(0, 2**32 - 1), st.none() | st.binary(max_size=100)),
    st.builds(User, st.binary(max_size=100)),
    st.just(ALIVE),
)


@given(configs, keyrings, st.lists(messages, min_size=1, max_size=20), st.booleans())
def test_messages_come_back_through_every_layer(
    config: WireConfig, keyring: Keyring | None, sent: list[Message], has_crc: bool
) -> None:
    codec = PacketCodec(config, keyring)
    opened = codec.open(codec.seal([body.encode(m) for m in sent], crc=has_crc, nonce=nonce))
    assert list(opened.messages) == sent
    assert opened.refusals == ()
    assert opened.key == (keyring.primary if keyring else None)


@pytest.mark.parametrize("tag", [b"", b"speakers"])
@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("keyring", [None, Keyring([KEY])])
def test_a_full_budget_fits_the_datagram(tag: bytes, version: int, keyring: Keyring | None) -> None:
    config = WireConfig(label=tag, encryption_version=version, compress=False)
    codec = PacketCodec(config, keyring)
    parts = [body.encode(User(bytes(47)))] * 20
    left = codec.budget(1400) - sum(len(part) + 2 for part in parts)
    parts.append(body.encode(User(bytes(left - 3))))
    size = len(codec.seal(parts, crc=False, nonce=nonce))
    assert 1400 - 15 <= size <= 1400
    assert codec.budget(1400) == 1398 - label.overhead(tag) - (
        crypto.overhead(version) if keyring else 0
    )


def test_budget_ignores_encryption_that_is_not_sent() -> None:
    quiet = PacketCodec(WireConfig(verify_outgoing=False), Keyring([KEY]))
    assert quiet.budget(1400) == 1398


def test_small_messages_are_not_compressed_and_repeated_ones_are() -> None:
    assert PLAIN.seal([NACK], crc=False, nonce=nonce) == NACK
    many = PLAIN.seal([body.encode(ALIVE)] * 10, crc=False, nonce=nonce)
    assert many[0] == 9


def test_crc_goes_around_the_compression() -> None:
    data = PLAIN.seal([body.encode(ALIVE)] * 10, crc=True, nonce=nonce)
    assert data[0] == 12
    assert crc.strip(data)[0] == 9


@pytest.mark.parametrize("parts", [[], [b""], [NACK, b""], [NACK] * 256])
def test_never_sent(parts: list[bytes]) -> None:
    for codec in (PLAIN, SEALED):
        with pytest.raises(ValueError, match=r"part|message"):
            codec.seal(parts, crc=False, nonce=nonce)


def test_one_bad_part_does_not_spoil_the_others() -> None:
    bad_alive = b"\x04\xc1"
    data = compound.pack([NACK, bad_alive, b"\xff", compress.wrap(NACK), NACK])[:-1]
    opened = PLAIN.open(data)
    assert opened.messages == (Nack(7), Nack(7))
    assert opened.refusals == (Refusal.BAD_BODY, Refusal.UNKNOWN_TYPE, Refusal.TRUNCATED)


def test_an_empty_part_is_refused_alone() -> None:
    opened = PLAIN.open(b"\x07\x02\x00\x00" + len(NACK).to_bytes(2, "big") + NACK)
    assert (opened.messages, opened.refusals) == ((Nack(7),), (Refusal.EMPTY,))


def test_a_compound_of_nothing_is_legal() -> None:
    assert PLAIN.open(b"\x07\x00").messages == ()


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b"", Refusal.EMPTY),
        (b"\x07", Refusal.TRUNCATED),
        (b"\x06\x80", Refusal.UNKNOWN_TYPE),
        (b"\x0a\x00\x00\x00\x20", Refusal.UNKNOWN_TYPE),
        (b"\x0c\x00\x00\x00\x00" + NACK, Refusal.BAD_CRC),
        (b"\x0c\x00", Refusal.TRUNCATED),
        (crc.add(b""), Refusal.EMPTY),
        (crc.add(crc.add(NACK)), Refusal.UNKNOWN_TYPE),
        (compress.wrap(crc.add(NACK)), Refusal.UNKNOWN_TYPE),
        (label.add(b"lbl", NACK), Refusal.LABEL),
        (SEALED.seal([NACK], crc=False, nonce=nonce), Refusal.BAD_BODY),
    ],
)
def test_refused(data: bytes, wanted: Refusal) -> None:
    assert refusal_of(PLAIN, data) is wanted


def test_labels_must_match() -> None:
    codec = PacketCodec(WireConfig(label=b"lbl"), Keyring([KEY]))
    same = codec.seal([NACK], crc=False, nonce=nonce)
    assert codec.open(same).messages == (Nack(7),)
    assert refusal_of(codec, SEALED.seal([NACK], crc=False, nonce=nonce)) is Refusal.LABEL
    assert refusal_of(SEALED, same) is Refusal.LABEL
    # The header can be forged, what it stands for cannot: it is authenticated.
    assert refusal_of(SEALED, bytes(label.strip(same, b"lbl"))) is Refusal.DECRYPT


@pytest.mark.parametrize(
    ("plain", "wanted"),
    [
        (body.encode(Ack(7)) + bytes(40), Refusal.NOT_ENCRYPTED),
        (crc.add(NACK), Refusal.NOT_ENCRYPTED),
        (body.encode(Ping("n", 1)) + bytes(40), Refusal.DECRYPT),
        (b"\xee" * 60, Refusal.VERSION),
    ],
    ids=["ack", "crc", "ping, which looks like version 0", "no type"],
)
def test_plaintext_is_refused_where_encryption_is_configured(plain: bytes, wanted: Refusal) -> None:
    assert refusal_of(SEALED, plain) is wanted


def test_another_key_is_refused() -> None:
    other = PacketCodec(WireConfig(), Keyring([OTHER_KEY]))
    assert refusal_of(SEALED, other.seal([NACK], crc=False, nonce=nonce)) is Refusal.DECRYPT


def test_plaintext_to_encrypted_in_three_steps() -> None:
    """Upstream's rolling transition: accept both, then send sealed, then accept only sealed."""
    ring = Keyring([KEY])
    steps = [
        PLAIN,
        PacketCodec(WireConfig(verify_incoming=False, verify_outgoing=False), ring),
        PacketCodec(WireConfig(verify_incoming=False), ring),
        SEALED,
    ]
    for one, next_one in pairwise(steps):
        for sender, receiver in ((one, next_one), (next_one, one)):
            data = sender.seal([NACK], crc=False, nonce=nonce)
            assert receiver.open(data).messages == (Nack(7),)


def nested(wrap: Callable[[bytes], bytes], depth: int) -> bytes:
    data = NACK
    for _ in range(depth):
        data = wrap(data)
    return data


@pytest.mark.parametrize("wrap", [compress.wrap, lambda data: compound.pack([data])])
def test_nesting_ends_at_three(wrap: Callable[[bytes], bytes]) -> None:
    assert PLAIN.open(nested(wrap, 3)).messages == (Nack(7),)
    assert refusal_of(PLAIN, nested(wrap, 4)) is Refusal.NESTED


def test_the_decompressed_size_is_capped_for_all_parts_together() -> None:
    assert refusal_of(PLAIN, bomb(1_000_000)) is Refusal.TOO_LONG
    opened = PLAIN.open(compound.pack([bomb(60_000)] * 200))
    assert len(opened.messages) == 1
    assert set(opened.refusals) == {Refusal.TOO_LONG}


def test_the_number_of_messages_is_capped() -> None:
    inner = compound.pack([b"\x0b\x80"] * 255)
    opened = PLAIN.open(compound.pack([inner] * 20))
    assert len(opened.messages) <= MAX_MESSAGES
    assert Refusal.TOO_LONG in opened.refusals
    assert len(opened.refusals) < 30


def test_the_key_is_not_shown() -> None:
    opened = SEALED.open(SEALED.seal([NACK], crc=False, nonce=nonce))
    assert opened.key == KEY
    assert repr(KEY)[2:10] not in repr(opened)


def test_what_could_not_be_sent_is_refused_when_configured() -> None:
    with pytest.raises(ValueError, match="255"):
        WireConfig(label=b"L" * 256)
    with pytest.raises(ValueError, match="version"):
        WireConfig(encryption_version=2)


HOSTILE_LAYERS: list[Callable[[bytes], bytes]] = [
    lambda data: data,
    crc.add,
    lambda data: b"\x07\x01" + min(len(data), 65535).to_bytes(2, "big") + data,
    lambda data: b"\x09" + pack({b"Algo": 0, b"Buf": data}),
    lambda data: b"\x09" + pack({b"Algo": 0, b"Buf": lzw.compress(data)}),
    lambda data: b"\x04" + data,
    lambda data: b"\x01" + data,
]


@given(st.binary(max_size=400), st.lists(st.sampled_from(HOSTILE_LAYERS), max_size=4))
def test_arbitrary_bytes_raise_only_wire_errors(
    data: bytes, layers: list[Callable[[bytes], bytes]]
) -> None:
    for wrap in layers:
        data = wrap(data)
    sealed = crypto.seal(KEY, data or b"\x00", b"", nonce())
    tries = ((PLAIN, data), (SEALED, data), (SEALED, sealed))
    for codec, packet in tries:
        try:
            opened = codec.open(packet)
        except WireError:
            continue
        assert isinstance(opened.messages, tuple)


@given(st.binary(max_size=300), st.integers(0, 255))
def test_arbitrary_bytes_at_each_decoder(data: bytes, first: int) -> None:
    typed = bytes((first,)) + data
    decoders: list[Callable[[], object]] = [
        lambda: body.decode(typed),
        lambda: body.NODE_STATE.read(data),
        lambda: compound.unpack(typed),
        lambda: compress.unwrap(typed, 10_000),
        lambda: lzw.decompress(data, 10_000),
        lambda: crc.strip(typed),
        lambda: label.strip(typed, b"lbl"),
        lambda: crypto.open_sealed(Keyring([KEY]), typed, b""),
    ]
    for decode in decoders:
        with suppress(WireError):
            decode()
