"""What is fuzzed: one function a decoder, which takes any bytes and raises only for a find.

Each function allows the one exception that its decoder documents, and checks what a reader of the
result relies on. Time and memory are watched by the runner.
"""

import math
import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from itertools import count

import node
import objects
import seeds
import webhooks
from arp import responder as arp
from arp.packet import decode as decode_arp
from arp.packet import encode as encode_arp
from bgp import extras, forms, state, tree
from bgp.door import vty
from bgp.words import LineError
from gossip.wire import body, compound, compress, crc, crypto, label, lzw
from gossip.wire.crypto import Keyring
from gossip.wire.errors import WireError
from gossip.wire.packet import MAX_DATAGRAM_PLAIN, MAX_MESSAGES, PacketCodec, WireConfig
from gossip.wire.stream import StreamCodec
from kube.api.reflector import Reflector, Resource
from kube.document import ManifestError
from kube.durations import parse_duration
from kube.files.manifest import read
from kube.objects.reading import decode as decode_object
from kube.problem import FAULT, Problem
from kube.snapshot import build
from link import echo
from link import frame as ethernet
from link.checksum import internet_checksum
from link.drop import DecodeError, DropReason
from link.netlink import news, route
from link.netlink.messages import split
from link.netlink.table import LinkTable
from link.resolution import Told
from ndp import responder as ndp
from ndp.packet import decode as decode_ndp
from ndp.packet import encode as encode_ndp
from ownership.letters import letters, mark
from ownership.letters.courier import MAX_PAYLOAD
from process import http_request as http
from process.local import protocol
from process.local.protocol import LocalProtocolError
from process.settings import SettingsError
from speaker.ring import member_table
from speaker.ring.member_table import MemberTableError
from speaker.settings import GossipSecret, read_secret, split_seed

KEY = bytes(range(32))
STREAM_LIMIT = 1 << 20
LONGEST_PROBLEM = 2_000

_numbers = count()


def _nonce() -> bytes:
    return next(_numbers).to_bytes(12, "big")


@dataclass(frozen=True, slots=True)
class Target:
    """One function to fuzz. `share`: its part of the inputs of a run of its whole group.

    What is in no group runs only when named.
    """

    group: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    share: int = 10
    longest: int = 512
    """Bytes of an input, at most."""
    guides: tuple[Callable[..., object], ...] = ()
    """Functions beside those of `run.PACKAGES` whose branches guide this target."""


# ---- gossip: datagrams


def _open(codec: PacketCodec, data: bytes) -> None:
    with suppress(WireError):
        opened = codec.open(data)
        assert len(opened.messages) <= MAX_MESSAGES


_PLAIN = PacketCodec(WireConfig(), None)
_SEALED = PacketCodec(WireConfig(label=seeds.LABEL), Keyring([bytes(16), KEY]))
_LABELLED = PacketCodec(WireConfig(label=seeds.LABEL), None)


def packet_crc(data: bytes) -> None:
    """Mutate behind a checksum that is right."""
    _open(_PLAIN, crc.add(data))


def packet_compressed(data: bytes) -> None:
    """Mutate behind compression that is whole."""
    if data:
        _open(_PLAIN, compress.wrap(data))


def packet_sealed(data: bytes) -> None:
    """Mutate behind a seal that is right: what an insider, or a buggy peer, may send."""
    if data:
        sealed = crypto.seal(KEY, data, seeds.LABEL, _nonce(), version=1)
        _open(_SEALED, label.add(seeds.LABEL, sealed))


def packet_encrypted(data: bytes) -> None:
    """Mutate the sealed packet itself: what a stranger may send."""
    _open(_SEALED, data)
    _open(_SEALED, label.add(seeds.LABEL, data))


# ---- gossip: the layers


def message(data: bytes) -> None:
    """A message that was read can be written, and reads the same again."""
    with suppress(WireError):
        decoded = body.decode(data)
        with suppress(ValueError):
            assert body.decode(body.encode(decoded)) == decoded


def parts(data: bytes) -> None:
    with suppress(WireError):
        found, cut = compound.unpack(data)
        assert len(found) + cut <= compound.MAX_PARTS
        assert sum(map(len, found)) <= len(data)


def decompress(data: bytes) -> None:
    with suppress(WireError):
        plain = lzw.decompress(data, MAX_DATAGRAM_PLAIN)
        assert len(plain) <= MAX_DATAGRAM_PLAIN


def decompress_long(data: bytes) -> None:
    with suppress(WireError):
        assert len(lzw.decompress(data, STREAM_LIMIT)) <= STREAM_LIMIT


def round_trip(data: bytes) -> None:
    """Whatever we compress comes back."""
    assert lzw.decompress(lzw.compress(data), len(data)) == data


# ---- gossip: streams

_STREAMS = StreamCodec(WireConfig(max_stream=STREAM_LIMIT), None)
_SEALED_STREAMS = StreamCodec(
    WireConfig(label=seeds.LABEL, max_stream=STREAM_LIMIT), Keyring([bytes(16), KEY])
)


def stream(data: bytes) -> None:
    _read_stream(_STREAMS, data)


def stream_encrypted(data: bytes) -> None:
    """Mutate the frame itself, then what is in a frame whose seal is right."""
    _read_stream(_SEALED_STREAMS, label.add(seeds.LABEL, data))
    if data:
        head = bytes((10,)) + crypto.sealed_length(len(data), 1).to_bytes(4, "big")
        sealed = crypto.seal(KEY, data, head + seeds.LABEL, _nonce(), version=1)
        _read_stream(_SEALED_STREAMS, label.add(seeds.LABEL, head + sealed))


def _read_stream(codec: StreamCodec, data: bytes) -> None:
    """Byte pieces and the whole must be judged alike: where a message ends, and whether it is one.

    A reader that waits for more than `open` needs would hang until the peer gives up.
    """
    reader = codec.reader(accepting=True)
    pieces = (data[at : at + 64] for at in range(0, len(data), 64))
    try:
        whole = any(reader.feed(piece) for piece in pieces)
    except WireError:
        return
    if whole:
        assert reader.length is not None
        assert 0 < reader.length <= len(data)
        assert codec.length(data, accepting=True) == reader.length
        with suppress(WireError):
            assert codec.open(data, accepting=True) == reader.message()


# ---- gossip: above the wire


def meta(data: bytes) -> None:
    """A Meta of today that was read as ours is written as it was; a later one begins alike."""
    found = mark.decode(data)
    if found is not None:
        assert data.startswith(mark.encode(found))


def letter(data: bytes) -> None:
    """What was read from a letter fits one, and reads the same again."""
    with suppress(letters.LetterError):
        hello = letters.decode_hello(data)
        written = letters.encode_hello(hello)
        assert len(written) <= MAX_PAYLOAD
        assert len(written) < len(data) or letters.decode_hello(written) == hello
    with suppress(letters.LetterError):
        ips = letters.decode_ips(data)
        again = [letters.decode_ips(payload) for payload in letters.encode_ips(ips)]
        assert ips == frozenset().union(*again)
    with suppress(letters.LetterError):
        where = letters.decode_whereabouts(data)
        written = letters.encode_whereabouts(where)
        assert len(written) <= MAX_PAYLOAD
        assert letters.decode_whereabouts(written) == where
    with suppress(letters.LetterError):
        assert letters.encode_link_name(letters.decode_link_name(data)) == data


# ---- frames


def _answers(wanted: IPv4Address | IPv6Address) -> Callable[..., DropReason | None]:
    return lambda ip: None if ip == wanted else DropReason.NOT_ANNOUNCED


def frame(data: bytes) -> None:
    with suppress(DecodeError):
        found = ethernet.decode(data)
        assert ethernet.encode(found).startswith(data)


def arp_frame(data: bytes) -> None:
    """An answer goes only to the asker, is of the right size, and is about our IP only."""
    reply = arp.respond(data, seeds.MAC, _answers(seeds.SERVICE_IP))
    if isinstance(reply, DropReason):
        return
    assert len(reply) == ethernet.MINIMUM_LENGTH
    answer = decode_arp(ethernet.decode(reply).payload)
    assert (answer.sender_ip, answer.sender_mac) == (seeds.SERVICE_IP, seeds.MAC)
    assert not reply[0] & 1
    told = arp.read(reply, seeds.MAC)
    assert isinstance(told, Told)
    assert told == (seeds.SERVICE_IP, seeds.MAC, answer.target_ip, DropReason.ARP_REPLY)


def arp_packet(data: bytes) -> None:
    with suppress(DecodeError):
        assert encode_arp(decode_arp(data)) == data[:28]


def ndp_frame(data: bytes) -> None:
    """An answer is a valid advertisement of our IP, and never asks for an answer itself."""
    own = _answers(seeds.SERVICE_IP6)
    reply = ndp.respond(data, seeds.MAC, seeds.LINK_LOCAL, own)
    if isinstance(reply, DropReason):
        return
    answer = decode_ndp(ethernet.decode(reply).payload)
    assert (answer.target, answer.link_address) == (seeds.SERVICE_IP6, seeds.MAC)
    told = ndp.read(reply, seeds.MAC)
    assert isinstance(told, Told)
    assert told.ip == seeds.SERVICE_IP6


def ndp_checked(data: bytes) -> None:
    """Mutate behind the fixed fields and a checksum that is right."""
    ndp_frame(_with_checksum(data))


def _with_checksum(data: bytes) -> bytes:
    if len(data) < 14 + 40 + 24:
        return data
    start, addresses, text = data[:14], data[22:54], data[54:]
    text = text[:2] + bytes(2) + text[4:]
    total = internet_checksum(addresses[:16], addresses[16:], text).to_bytes(2, "big")
    header = b"\x60\0\0\0" + len(text).to_bytes(2, "big") + b"\x3a\xff"
    return start + header + addresses + text[:2] + total + text[4:]


def ndp_packet(data: bytes) -> None:
    """A packet that was read can be written, and reads the same again."""
    with suppress(DecodeError):
        found = decode_ndp(data)
        assert decode_ndp(encode_ndp(found)) == found


def netlink(data: bytes) -> None:
    found = list(route.messages(data))
    assert len(found) <= len(data) // 16
    assert sum(len(item.gateways) for item in found) <= len(data) // 4


def netlink_link(data: bytes) -> None:
    """No message leaves the table with more than one link or address of its own."""
    table, changes = LinkTable(), 0
    for kind, content in split(data):
        if (change := news.read(kind, content)) is not None:
            changes += 1
            table.apply(change)
    links = table.interfaces().values()
    assert len(links) + sum(len(link.addresses) for link in links) <= changes <= len(data) // 16


def echo_reply(data: bytes) -> None:
    """What was read is the end of what came, and of what a request of these numbers echoes."""
    for version in (4, 6):
        with suppress(DecodeError):
            found = echo.decode_reply(version, data)
            numbers = found.identifier, found.sequence
            request = echo.encode_request(version, *numbers, found.payload)
            assert data.endswith(request[4:])


# ---- kube and settings


def _one_line(problem: Problem) -> None:
    text = str(problem)
    assert text.isprintable(), "a log line would break"
    assert len(text) <= LONGEST_PROBLEM
    assert FAULT not in text


def manifest(data: bytes) -> None:
    """A text is refused whole, or every problem in it is one printable line."""
    try:
        documents = read(data, "fuzz.yaml")
    except ManifestError as error:
        _one_line(error.problem)
        return
    _, problems = build(documents, "metallb-system")
    for problem in problems:
        _one_line(problem)


_KINDS = ("Service", "EndpointSlice", "Node", "Namespace", "IPAddressPool", "L2Advertisement")


def api_object(data: bytes) -> None:
    for kind in _KINDS:
        try:
            _, problems = decode_object(kind, data)
        except ManifestError as error:
            problems = [error.problem]
        for problem in problems:
            _one_line(problem)


def api_page(data: bytes) -> None:
    """Pages and events never raise; what cannot be read is a trouble with a name."""
    reflector = Reflector(Resource("Service", "/api/v1/services"), random.Random(1))
    items = reflector.begin_page(data)
    if items is not None:
        reflector.add(items)
        reflector.end_page()
        reflector.event(data)
    assert items is not None or reflector.trouble
    event = Reflector(Resource("Service", "/api/v1/services"), random.Random(1))
    event.begin_page(b'{"metadata":{"resourceVersion":"1"}}')
    event.end_page()
    event.event(data)
    for found in (*reflector.problems.values(), *event.problems.values()):
        for problem in found:
            _one_line(problem)
    assert 0 <= event.next_request().delay <= 10


def api_cluster(data: bytes) -> None:
    objects.cluster(data, _one_line)


# ---- doors: what strangers say to the speaker's own sockets


def http_request(data: bytes) -> None:
    """Pieces and the whole are judged alike; what was read breaks no line."""
    half = len(data) // 2
    try:
        early = http.read(data[:half])
        found = http.read(data, 0 if early else half)
    except http.HttpError as error:
        assert error.reason in http.HttpRefusal
        return
    assert early is None or early == found
    assert found == http.read(data)
    if found is not None:
        assert found.path
        assert found.path.isascii()
        assert found.path.isprintable()


def debug_answer(data: bytes) -> None:
    """Whatever answers, nothing reaches a terminal but visible ASCII."""
    with suppress(MemberTableError, LocalProtocolError):
        said = protocol.decode_line(data)
        assert protocol.decode_line(protocol.encode(said)) == said
        for line in member_table.lines([member_table.read_row(said.row)]):
            assert line.isascii()
            assert line.isprintable()


def local_question(data: bytes) -> None:
    """Whatever is asked is short, and comes back as it was."""
    with suppress(LocalProtocolError):
        asked = protocol.decode_question(data)
        assert protocol.decode_question(protocol.encode(asked)) == asked
        assert max(map(len, (asked.verb, asked.about, asked.after))) <= protocol.LONGEST_TEXT


def typed_text(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    with suppress(ValueError):
        seconds = parse_duration(text)
        assert seconds >= 0
        assert math.isfinite(seconds)
    with suppress(ValueError):
        _, port = split_seed(text, 7946)
        assert 0 < port < 1 << 16


# ---- the secret

_secret = os.memfd_create("secret")
"""A file that nobody has to remove, though the runner's processes end without a word."""
_SECRET_PATH = f"/proc/self/fd/{_secret}"
_FILLING = sha256().digest()


def secret_file(data: bytes) -> None:
    """The file's bytes as they are make the key, and neither shows in what may be printed."""
    os.truncate(_secret, 0)
    os.pwrite(_secret, data, 0)
    try:
        found = read_secret(_SECRET_PATH, "")
    except SettingsError as error:
        assert not data, error
        return
    assert data
    _is_key_of(data, found)
    with suppress(UnicodeDecodeError):
        _is_key_of(data, read_secret("", data.decode()))


def _is_key_of(content: bytes, found: GossipSecret) -> None:
    assert found.key == (content + _FILLING)[:32]
    assert found.length == len(content)
    assert str(found) == repr(found) == "GossipSecret(set)"


def self_test(data: bytes) -> None:
    """Fall for two bytes that no seed has: the runner must find them, one by its branch."""
    if data[:1] == b"\x07":
        assert data[1:2] != b"\x2a"


_LZW = (lzw.decompressing, lzw.compressing, lzw._last_code)

# ---- FRR

_IMPLIED = {"address-family ipv4 unicast", *forms.PROFILE_DEFAULTS}


def running_config(data: bytes) -> None:
    """What was read is what is wanted where the same is wanted; extras are no more than lines."""
    text = data.decode("utf-8", "replace")
    read = tree.parse(text)
    assert tree.difference(read, tree.parse(text)) == []
    with suppress(LineError):
        added = extras.read(text)
        assert all(line.isprintable() for line in added.lines())
        assert extras.numbers(text).keys() >= {line.strip() for line in added.lines()} - _IMPLIED
        for daemon in ("zebra", "bfdd", "bgpd"):
            part = extras.of_daemon(added, daemon)
            # What was added and is wanted no more leaves nothing that was known.
            left = tree.difference(part, tree.Block(), extras.among(part, extras.digests(part)))
            assert all(line.isprintable() for line in left)


def engine_json(data: bytes) -> None:
    for reader in (state.neighbors, state.bfd_peers, state.bfd_counters, state.advertised):
        with suppress(state.EngineStateError):
            reader(data)


def vty_answer(data: bytes) -> None:
    """However the bytes are cut, the answers are the same."""
    whole, cut = vty.AnswerDecoder(256), vty.AnswerDecoder(256)
    with suppress(vty.VtyError):
        answers = whole.feed(data)
        assert [one for at in range(len(data)) for one in cut.feed(data[at : at + 1])] == answers


TARGETS = {
    "packet": Target("gossip", partial(_open, _PLAIN), seeds.raw_packets, 100),
    "packet-crc": Target("gossip", packet_crc, seeds.plain_packets, 60),
    "packet-compressed": Target("gossip", packet_compressed, seeds.plain_packets, 8),
    "packet-label": Target("gossip", partial(_open, _LABELLED), seeds.labelled_packets, 40),
    "packet-sealed": Target("gossip", packet_sealed, seeds.plain_packets, 60),
    "packet-encrypted": Target("gossip", packet_encrypted, seeds.raw_packets, 160),
    "message": Target("gossip", message, seeds.bodies, 240),
    "compound": Target("gossip", parts, seeds.compounds, 170),
    "mark": Target("gossip", meta, seeds.marks, 114, 64),
    "lzw": Target("gossip", decompress, seeds.compressed, 20, 512, _LZW),
    "lzw-long": Target("gossip", decompress_long, seeds.compressed, 2, 4_096, _LZW),
    "lzw-round-trip": Target("gossip", round_trip, seeds.plain_packets, 2, 4_096, _LZW),
    "stream": Target("gossip", stream, seeds.raw_streams, 10),
    "stream-encrypted": Target("gossip", stream_encrypted, seeds.raw_streams, 4),
    "courier": Target("gossip", node.letters, seeds.letters, 3),
    "letter": Target("gossip", letter, seeds.payloads, 100, MAX_PAYLOAD),
    "swim": Target("gossip", node.story, seeds.stories, 4, 1_024),
    "swim-long": Target("gossip", node.life, seeds.stories, 3, 1_024),
    "frame": Target("frames", frame, seeds.arp_frames, 10, 256),
    "arp-packet": Target("frames", arp_packet, seeds.arp_frames, 15, 64),
    "arp-frame": Target("frames", arp_frame, seeds.arp_frames, 30, 128),
    "ndp-packet": Target("frames", ndp_packet, seeds.ndp_frames, 10, 256),
    "ndp-frame": Target("frames", ndp_frame, seeds.ndp_frames, 15, 256),
    "ndp-checked": Target("frames", ndp_checked, seeds.ndp_frames, 15, 256),
    "echo-reply": Target("frames", echo_reply, seeds.echo_replies, 10, 128),
    "netlink-route": Target("frames", netlink, seeds.routes, 5),
    "netlink-link": Target("frames", netlink_link, seeds.link_news, 5),
    "manifest": Target("kube", manifest, seeds.manifests, 10, 4_096),
    "api-object": Target("kube", api_object, seeds.api_objects, 10, 1_024),
    "api-page": Target("kube", api_page, seeds.api_objects, 10, 1_024),
    "api-cluster": Target("kube", api_cluster, objects.seeds, 10, objects.LONGEST),
    "typed-text": Target("kube", typed_text, seeds.texts, 10),
    "http-request": Target("doors", http_request, seeds.http_requests, 10),
    "debug-answer": Target("doors", debug_answer, seeds.debug_answers, 10),
    "local-question": Target("doors", local_question, seeds.local_questions, 10),
    "running-config": Target("engine", running_config, seeds.engine_configurations, 2, 1_024),
    "engine-json": Target("engine", engine_json, seeds.engine_states, 10, 4_096),
    "vty-answer": Target("engine", vty_answer, seeds.vty_answers, 10),
    "admission": Target("webhooks", webhooks.admission, seeds.custom_resources, 10, 1_024),
    "conversion": Target("webhooks", webhooks.conversion, seeds.bgp_peers, 10, 1_024),
    "secret-file": Target("secrets", secret_file, seeds.secrets),
    "self-test": Target("", self_test, lambda: [b"begin"], guides=(self_test,)),
}
