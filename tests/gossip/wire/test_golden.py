"""Every captured packet and stream decodes to what its file says, and encodes to the same bytes."""

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gossip.wire import body, compound, compress, crc, crypto, label
from gossip.wire.body import IntForm
from gossip.wire.crypto import Keyring
from gossip.wire.errors import Refusal, WireError
from gossip.wire.fields import VSN_LENGTH
from gossip.wire.messages import (
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
from gossip.wire.packet import PacketCodec, WireConfig
from gossip.wire.stream import StreamCodec

Json = dict[str, Any]

GOLDEN = Path(__file__).parents[2] / "golden" / "memberlist"
ENTRIES: list[Json] = [
    entry for path in sorted(GOLDEN.glob("*.json")) for entry in json.loads(path.read_text())
]
REFUSED = [entry for entry in ENTRIES if "error" in entry["decoded"]]
LONG = [entry for entry in ENTRIES if "sha256" in json.dumps(entry["decoded"].get("message"))]
PACKETS = [
    entry
    for entry in ENTRIES
    if entry["transport"] == "udp" and entry not in REFUSED and entry not in LONG
]
STREAMS = [entry for entry in ENTRIES if entry["transport"] == "tcp"]
BY_ID = {entry["id"]: entry for entry in ENTRIES}


def name_of(entry: Json) -> str:
    return str(entry["id"])


def raw_of(entry: Json) -> bytes:
    return bytes.fromhex(entry["raw_hex"])


def keyring_of(entry: Json) -> Keyring | None:
    key = entry["key_base64"]
    return Keyring([base64.b64decode(key)]) if key else None


def octets(value: Json | None) -> bytes | None:
    return None if value is None else bytes.fromhex(value["hex"])


def filled(value: Json | None) -> bytes:
    return octets(value) or b""


def alive(fields: Json) -> Alive:
    return Alive(
        filled(fields["Addr"]),
        fields["Incarnation"],
        octets(fields["Meta"]),
        fields["Node"],
        fields["Port"],
        filled(fields["Vsn"]),
    )


def node_state(fields: Json) -> NodeState:
    return NodeState(
        filled(fields["Addr"]),
        fields["Incarnation"],
        octets(fields["Meta"]),
        fields["Name"],
        fields["Port"],
        State(fields["State"]),
        filled(fields["Vsn"]),
    )


def source(fields: Json) -> tuple[bytes, str, int]:
    return (
        filled(fields.get("SourceAddr")),
        fields.get("SourceNode", ""),
        fields.get("SourcePort", 0),
    )


def indirect_ping(fields: Json) -> IndirectPing:
    return IndirectPing(
        fields["Nack"],
        fields["Node"],
        fields["Port"],
        fields["SeqNo"],
        *source(fields),
        filled(fields["Target"]),
    )


LEAVES: dict[str, Any] = {
    "ping": lambda f: Ping(f["Node"], f["SeqNo"], *source(f)),
    "indirectPing": indirect_ping,
    "ackResp": lambda f: Ack(f["SeqNo"], octets(f["Payload"])),
    "nackResp": lambda f: Nack(f["SeqNo"]),
    "suspect": lambda f: Suspect(f["From"], f["Incarnation"], f["Node"]),
    "dead": lambda f: Dead(f["From"], f["Incarnation"], f["Node"]),
    "alive": alive,
    "err": lambda f: ErrorReply(f["Error"]),
}


def leaf(tree: Json) -> Message:
    if tree["name"] == "user":
        return User(bytes.fromhex(tree["user_hex"]))
    message: Message = LEAVES[tree["name"]](tree["body"])
    return message


def leaves(tree: Json) -> list[Message]:
    if tree["name"] == "compound":
        return [message for part in tree["parts"] for message in leaves(part)]
    return leaves(tree["inner"]) if tree["name"] == "compress" else [leaf(tree)]


def rebuilt(tree: Json) -> bytes:
    """Encode the messages of a packet in the very nesting in which they came."""
    if tree["name"] == "compound":
        return compound.pack([rebuilt(part) for part in tree["parts"]])
    if tree["name"] == "compress":
        return compress.wrap(rebuilt(tree["inner"]))
    return body.encode(leaf(tree))


def layer(entry: Json, key: str) -> Any:
    found = [layer[key] for layer in entry["decoded"]["layers"] if key in layer]
    return found[0] if found else None


def sent_vsn_is_whole(entry: Json) -> bool:
    return all(
        len(message.vsn) == VSN_LENGTH
        for message in leaves(entry["decoded"]["message"])
        if isinstance(message, Alive)
    )


def sealed_again(entry: Json, plain: bytes) -> bytes:
    """Put the packet's own layers around `plain`, with the nonce it came with."""
    data = crc.add(plain) if layer(entry, "crc") is not None else plain
    tag = entry["label"].encode()
    version = layer(entry, "encrypt_version")
    if version is not None:
        nonce = raw_of(entry)[label.overhead(tag) + 1 :][:12]
        data = crypto.seal(base64.b64decode(entry["key_base64"]), data, tag, nonce, version)
    return label.add(tag, data)


def test_the_files_are_all_here() -> None:
    assert (len(PACKETS), len(LONG), len(STREAMS), len(REFUSED)) == (298, 2, 76, 2)


@pytest.mark.parametrize("entry", PACKETS, ids=name_of)
def test_packet_decodes(entry: Json) -> None:
    keyring = keyring_of(entry)
    opened = PacketCodec(WireConfig(label=entry["label"].encode()), keyring).open(raw_of(entry))
    assert list(opened.messages) == leaves(entry["decoded"]["message"])
    assert opened.refusals == ()
    assert opened.key == (keyring.primary if keyring else None)


@pytest.mark.parametrize("entry", [e for e in PACKETS if sent_vsn_is_whole(e)], ids=name_of)
def test_packet_encodes_to_the_same_bytes(entry: Json) -> None:
    assert sealed_again(entry, rebuilt(entry["decoded"]["message"])) == raw_of(entry)


def flat_parts(entry: Json) -> list[bytes] | None:
    """Give the parts where our own sender would have nested them as this packet does."""
    tree = entry["decoded"]["message"]
    tree = tree["inner"] if tree["name"] == "compress" else tree
    parts = tree["parts"] if tree["name"] == "compound" else [tree]
    if any(part["name"] in ("compound", "compress") for part in parts):
        return None
    if tree["name"] == "compound" and len(parts) < 2:
        return None
    return [rebuilt(part) for part in parts]


def test_the_codec_seals_captured_packets_as_their_senders_did() -> None:
    """Compression where shorter, CRC, encryption and label, decided by the codec alone."""
    sealed = 0
    for entry in PACKETS:
        parts = flat_parts(entry) if entry["direction"] != "generated" else None
        if parts is None:
            continue
        config = WireConfig(
            label=entry["label"].encode(), encryption_version=layer(entry, "encrypt_version") or 1
        )
        nonce = raw_of(entry)[label.overhead(config.label) + 1 :][:12]
        codec = PacketCodec(config, keyring_of(entry))
        has_crc = layer(entry, "crc") is not None
        assert codec.seal(parts, crc=has_crc, nonce=lambda n=nonce: n) == raw_of(entry), entry["id"]  # type: ignore[misc]
        sealed += 1
    assert sealed > 150


@pytest.mark.parametrize("entry", LONG, ids=name_of)
def test_long_packet_known_by_its_digest(entry: Json) -> None:
    """The long LZW bodies: a full table with a clear in the middle, and 32 kB of text."""
    (message,) = PacketCodec(WireConfig(), None).open(raw_of(entry)).messages
    assert isinstance(message, User)
    wanted = entry["decoded"]["message"]["inner"]["user_hex"]
    assert hashlib.sha256(message.data).hexdigest() == wanted["sha256"]
    assert compress.wrap(body.encode(message)) == raw_of(entry)


@pytest.mark.parametrize("entry", REFUSED, ids=name_of)
def test_packet_is_refused(entry: Json) -> None:
    wanted = {"generated-head-v2ints-crc_bad": Refusal.BAD_CRC}.get(entry["id"], Refusal.EMPTY)
    with pytest.raises(WireError) as caught:
        PacketCodec(WireConfig(), keyring_of(entry)).open(raw_of(entry))
    assert caught.value.reason is wanted


def dialled(entry: Json) -> bool:
    """Captures say who spoke; generated streams are requests."""
    return bool(entry.get("role", "dialer->listener") == "dialer->listener")


def stream_message(decoded: Json) -> Message:
    if decoded["name"] == "pushPull":
        tail = decoded["user_state_hex"]
        rows = tuple(map(node_state, decoded["nodes"]))
        user_state = b"" if isinstance(tail, dict) else bytes.fromhex(tail)
        return PushPull(decoded["header"]["Join"], rows, user_state)
    return leaf(decoded)


def without_long_state(entry: Json, message: Message) -> Message:
    """Check a user state that the file gives only by its digest, and take it away."""
    digest = entry["decoded"].get("user_state_hex")
    if not isinstance(digest, dict):
        return message
    assert isinstance(message, PushPull)
    assert hashlib.sha256(message.user_state).hexdigest() == digest["sha256"]
    return replace(message, user_state=b"")


def stream_config(entry: Json) -> WireConfig:
    legacy = "serf" in entry["source"] or "unmodified" in entry["source"]
    version = layer(entry, "encrypt_version")
    return WireConfig(
        label=entry["label"].encode(),
        compress=layer(entry, "compress") is not None,
        encryption_version=1 if version is None else version,
        ints=IntForm.LEGACY if legacy else IntForm.V2,
    )


@pytest.mark.parametrize("entry", STREAMS, ids=name_of)
def test_stream_decodes_and_encodes_to_the_same_bytes(entry: Json) -> None:
    raw, accepting = raw_of(entry), dialled(entry)
    config = stream_config(entry)
    codec = StreamCodec(config, keyring_of(entry))
    message = codec.open(raw, accepting=accepting)
    assert without_long_state(entry, message) == stream_message(entry["decoded"])
    start = (label.overhead(config.label) if accepting else 0) + 6
    again = codec.seal(message, dialer=accepting, nonce=lambda: raw[start : start + 12])
    assert again == raw


@pytest.mark.parametrize("entry", STREAMS, ids=name_of)
@pytest.mark.parametrize("step", [1, 37])
def test_stream_is_whole_at_its_last_byte_and_not_before(entry: Json, step: int) -> None:
    raw, accepting = raw_of(entry), dialled(entry)
    codec = StreamCodec(stream_config(entry), keyring_of(entry))
    reader = codec.reader(accepting=accepting)
    pieces = [raw[at : at + step] for at in range(0, len(raw), step)]
    assert [reader.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert reader.message() == codec.open(raw, accepting=accepting)
    assert codec.length(raw + b"more", accepting=accepting) == len(raw)


@pytest.mark.parametrize(
    ("stream", "key", "wanted"),
    [
        ("serf-badkeys-t0-c2s", "AAECAwQFBgcICQoLDA0ODw==", Refusal.DECRYPT),
        ("serf-badkeys-t1-c2s", "AAECAwQFBgcICQoLDA0ODw==", Refusal.NOT_ENCRYPTED),
        ("serf-badkeys-t2-c2s", None, Refusal.ENCRYPTED),
        ("serf-badkeys-t0-s2c", "MjM0NTY3ODk6Ozw9Pj9AQUJDREVGR0hJ", Refusal.DECRYPT),
        ("serf-badkeys-t1-s2c", None, Refusal.ENCRYPTED),
        ("serf-badkeys-t2-s2c", "AAECAwQFBgcICQoLDA0ODw==", Refusal.NOT_ENCRYPTED),
    ],
)
def test_stream_under_another_key_is_refused(stream: str, key: str | None, wanted: Refusal) -> None:
    """What serf refused with an error reply, and the reply that its dialler could not read."""
    entry = {**BY_ID[stream], "key_base64": key}
    with pytest.raises(WireError) as caught:
        StreamCodec(WireConfig(), keyring_of(entry)).open(raw_of(entry), accepting=dialled(entry))
    assert caught.value.reason is wanted
