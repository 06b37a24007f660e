"""Where the mutations begin: what real peers sent, and what an attacker would begin with."""

import json
import struct
from collections.abc import Iterable
from enum import IntEnum
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

from arp.packet import ArpPacket, Operation
from arp.packet import encode as encode_arp
from gossip.wire import body, compound, label, lzw
from gossip.wire.messages import (
    CURRENT_VSN,
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Message,
    MessageType,
    Nack,
    NodeState,
    Ping,
    PushPull,
    State,
    Suspect,
    User,
)
from gossip.wire.streambody import encode_stream
from link.frame import EthernetFrame, EtherType
from link.frame import encode as encode_frame
from ndp.groups import multicast_mac, solicited_node
from ndp.packet import ICMPv6Type, NeighborMessage
from ndp.packet import encode as encode_ndp
from ownership.letters import mark
from ownership.letters.letters import (
    Hello,
    PeerLink,
    Subnet,
    Whereabouts,
    encode_hello,
    encode_ips,
    encode_link_name,
    encode_whereabouts,
)
from process.local import protocol

GOLDEN = Path(__file__).parents[1] / "golden"
MOST_STEPS = 24
LABEL = b"speakers"
MAC = bytes.fromhex("02000000000a")
PEER_MAC = bytes.fromhex("02000000000b")
SERVICE_IP = IPv4Address("192.0.2.10")
SERVICE_IP6 = IPv6Address("2001:db8::10")
LINK_LOCAL = IPv6Address("fe80::a")


class Step(IntEnum):
    """What happens to a node next; see `steps`."""

    DATAGRAM = 0
    STREAM = 1
    REPLY = 2
    WAIT = 3
    LEAVE = 4
    EXCHANGE = 5


def steps(*story: tuple[Step, bytes]) -> bytes:
    """Write a story as one input: kind u8, length u16, that many bytes, and so on."""
    return b"".join(struct.pack("!BH", kind, len(data)) + data for kind, data in story)


def read_steps(data: bytes) -> Iterable[tuple[Step, bytes]]:
    """Read a story out of any bytes; a length beyond the end means the rest."""
    at = 0
    for _ in range(MOST_STEPS):
        if at + 3 > len(data):
            return
        kind, length = struct.unpack_from("!BH", data, at)
        yield Step(kind % len(Step)), data[at + 3 : at + 3 + length]
        at += 3 + length


@cache
def _captured(transport: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the raw bytes of all captures of a transport, each with its plain content."""
    found: list[tuple[bytes, bytes]] = []
    for path in sorted((GOLDEN / "memberlist").glob("*.json")):
        entries: list[dict[str, Any]] = json.loads(path.read_text())
        for entry in entries:
            if entry["transport"] == transport and len(entry["raw_hex"]) <= 2 * 4096:
                plain = entry["decoded"].get("plain_hex")
                # Very long ones are only summed up there.
                content = bytes.fromhex(plain) if isinstance(plain, str) else b""
                found.append((bytes.fromhex(entry["raw_hex"]), content))
    return tuple(found)


def raw_packets() -> list[bytes]:
    """Return captured datagrams as they were on the wire."""
    return [raw for raw, _ in _captured("udp")] + spoken()


def plain_packets() -> list[bytes]:
    """Return datagrams without encryption, CRC and compression."""
    return [plain for _, plain in _captured("udp") if plain] + spoken()


def labelled_packets() -> list[bytes]:
    """Return datagrams behind the right label, and others."""
    return [label.add(LABEL, plain) for plain in plain_packets()] + raw_packets()


def raw_streams() -> list[bytes]:
    """Return captured streams as they were on the wire."""
    return [raw for raw, _ in _captured("tcp")] + plain_streams()


def plain_streams() -> list[bytes]:
    """Return the messages of streams, neither sealed nor compressed."""
    tables: list[Message] = [
        PushPull(True, _rows(), b"state"),
        PushPull(False, ()),
        User(b"tags"),
        Ping("me", 3),
    ]
    return [plain for _, plain in _captured("tcp") if plain] + [encode_stream(m) for m in tables]


def bodies() -> list[bytes]:
    """Return single messages, type byte first."""
    singles = [plain for plain in plain_packets() if plain[0] != MessageType.COMPOUND]
    return singles + [bytes(p) for c in compounds() for p in compound.unpack(c)[0]]


def compounds() -> list[bytes]:
    """Return compounds."""
    return [plain for plain in plain_packets() if plain[0] == MessageType.COMPOUND]


def compressed() -> list[bytes]:
    """Return LZW bodies, among them one that grows as fast as any can."""
    return [lzw.compress(plain) for plain in plain_packets()] + [lzw.compress(bytes(60_000))]


def spoken() -> list[bytes]:
    """Return messages of and about the node that is fuzzed and its two neighbours."""
    messages = _messages()
    return [body.encode(m) for m in messages] + [compound.pack([body.encode(m) for m in messages])]


def stories() -> list[bytes]:
    """Return whole conversations with one node."""
    spoke = [body.encode(message) for message in _messages()]
    table = encode_stream(PushPull(True, _rows()))
    neighbours = (Step.REPLY, table)
    accused = steps(neighbours, *((Step.DATAGRAM, data) for data in spoke), (Step.WAIT, b"\xff"))
    exchanged = steps(neighbours, (Step.EXCHANGE, b""), (Step.REPLY, table), (Step.WAIT, b"\x20"))
    strangers = steps((Step.STREAM, table), *((Step.DATAGRAM, data) for data in spoke))
    left = steps(neighbours, (Step.LEAVE, b""), (Step.DATAGRAM, spoke[0]), (Step.WAIT, b"\x30"))
    recorded = [
        steps(*((Step.DATAGRAM, plain) for plain in some), (Step.WAIT, b"\x0a"))
        for some in _bunches(plain_packets(), 6)
    ]
    streams = [steps((Step.STREAM, plain), (Step.WAIT, b"\x40")) for plain in plain_streams()]
    return [accused, exchanged, strangers, left, *recorded, *streams]


def marks() -> list[bytes]:
    """Return Metas: our mark, one of the future, and serf's."""
    known = mark.encode(mark.Mark(7, mark.Flags.NO_LINK | mark.Flags.LEAVING))
    return [known, known[:4] + b"\x02\xff" + known[6:] + b"more", b"\xff\x81\xa4role\xa0", b""]


def payloads() -> list[bytes]:
    """Return what letters between Clarions carry: links, IPs, the name of a link."""
    ips = ip_address("192.0.2.7"), ip_address("2001:db8::7")
    links = PeerLink("eth0", MAC, ips), PeerLink("n" * 15, bytes(6), ips[:1])
    hellos = [Hello(links, asks=True), Hello(()), Hello(links * 4)]
    subnets = (Subnet(ip_network("192.0.2.0/24"), ips[:1]), Subnet(ip_network("2001:db8::/64")))
    where = encode_whereabouts(Whereabouts(subnets, asks=True))
    return [*map(encode_hello, hellos), *encode_ips(ips * 20), encode_link_name("eth0"), where, b""]


def letters() -> list[bytes]:
    """Return courier messages of member 2 about member 3, several to one story."""
    sent = [_letter(2, counter, about, 1) for counter, about in ((1, 3), (2, 3), (1, 3), (9999, 2))]
    others = [_letter(1, 1, 1, 1), _letter(5, 1, 3, 1), _letter(2, 7, 3, 9), b"\xc7", b""]
    return [steps(*((Step.DATAGRAM, data) for data in sent + others))]


def _letter(sender: int, counter: int, about: int, incarnation: int) -> bytes:
    head = 0xC7, 2, 4, sender, counter, about, incarnation, 1
    return struct.pack("!BBBIQIII", *head) + b"payload"


def _messages() -> list[Message]:
    four, six = bytes((10, 0, 0, 2)), bytes.fromhex("fe80000000000000000000000000000a")
    meta = mark.encode(mark.Mark(2))
    return [
        Ping("me", 1, four, "n2", 7946),
        Ping("n2", 0xFFFF_FFFF),
        IndirectPing(True, "n3", 7946, 2, four, "n2", 7946, six),
        Ack(1, b"payload"),
        Nack(1),
        Alive(four, 5, meta, "n2", 7946, CURRENT_VSN),
        Alive(four, 0xFFFF_FFFF, None, "me", 7946, CURRENT_VSN),
        Suspect("n2", 5, "n3"),
        Suspect("n2", 1, "me"),
        Suspect("n2", 0xFFFF_FFFF, "me"),
        Dead("n2", 5, "n3"),
        Dead("n3", 5, "n3"),
        Dead("n2", 1, "me"),
        User(_letter(2, 1, 3, 1)),
    ]


def _rows() -> tuple[NodeState, ...]:
    return tuple(
        NodeState(
            bytes((10, 0, 0, number)),
            number,
            mark.encode(mark.Mark(number)),
            f"n{number}",
            7946,
            State(number % 4),
            CURRENT_VSN,
        )
        for number in range(2, 8)
    )


def _bunches(items: list[bytes], size: int) -> list[list[bytes]]:
    return [items[at : at + size] for at in range(0, len(items), size)]


@cache
def _golden_frames() -> tuple[bytes, ...]:
    """Return the frames of the capture; the format is libpcap's, little-endian."""
    data = (GOLDEN / "metallb-l2-golden.pcap").read_bytes()
    frames: list[bytes] = []
    at = 24
    while at + 16 <= len(data):
        held: int = struct.unpack_from("<I", data, at + 8)[0]
        frames.append(data[at + 16 : at + 16 + held])
        at += 16 + held
    return tuple(frames)


def arp_frames() -> list[bytes]:
    """Return ARP frames, of MetalLB and to our node."""
    asked = ArpPacket(Operation.REQUEST, PEER_MAC, IPv4Address("192.0.2.1"), bytes(6), SERVICE_IP)
    frame = encode_frame(EthernetFrame(b"\xff" * 6, PEER_MAC, EtherType.ARP, encode_arp(asked)))
    return [f for f in _golden_frames() if f[12:14] == b"\x08\x06"] + [frame]


def ndp_frames() -> list[bytes]:
    """Return neighbour discovery frames, of MetalLB and to our node."""
    group = solicited_node(SERVICE_IP6)
    source = IPv6Address("fe80::b")
    asked = NeighborMessage(ICMPv6Type.SOLICITATION, source, group, SERVICE_IP6, PEER_MAC)
    packet = encode_ndp(asked)
    frame = encode_frame(EthernetFrame(multicast_mac(group), PEER_MAC, EtherType.IPV6, packet))
    return [f for f in _golden_frames() if f[12:14] == b"\x86\xdd"] + [frame]


def echo_replies() -> list[bytes]:
    """Return echo replies of both families, as raw sockets give them, and what is none."""
    token = struct.pack("!BBHHH", 0, 0, 0, 7, 1) + bytes(range(16))
    header = struct.pack("!BBHIBBH", 0x45, 0, 20 + len(token), 0, 64, 1, 0)
    ends = SERVICE_IP.packed + IPv4Address("192.0.2.1").packed
    options = b"\x46" + header[1:] + ends + bytes(4)
    six = b"\x81" + token[1:]
    return [header + ends + token, options + token, six, b"\x80" + six[1:], header + ends, b""]


def secrets() -> list[bytes]:
    """Return what operators and controllers put into the Secret, and what editors make of it."""
    good = b"AbCdEfGhIjKlMnOpQrStUv"
    return [good, good + b"\n", good * 2, b"\xef\xbb\xbf" + good, b"x", b"\0" * 32, b""]


def routes() -> list[bytes]:
    """Return netlink messages: a default route of one hop, one of two, and the end of a dump."""
    gateway = struct.pack("=HH4B", 8, 5, 192, 0, 2, 1)
    index = struct.pack("=HHi", 8, 4, 2)
    hop = struct.pack("=HBBi", 16, 0, 0, 3) + gateway
    hops = struct.pack("=HH", 4 + 2 * len(hop), 9) + 2 * hop
    return [_route(index + gateway), _route(hops), _netlink(3, bytes(4)), 3 * _route(index)]


def _route(attributes: bytes) -> bytes:
    return _netlink(24, struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0) + attributes)


def link_news() -> list[bytes]:
    """Return netlink messages: a link, its addresses of both families, and that they are gone."""
    name, mac = struct.pack("=HH5sxxx", 9, 3, b"eth0"), struct.pack("=HH6sxx", 10, 1, b"\2link0")
    link = struct.pack("=BxHiII", 0, 1, 2, 0x43, 0) + name + mac
    four = struct.pack("=BBBBIHH4B", 2, 24, 0, 0, 2, 8, 2, 192, 0, 2, 1)
    six = struct.pack("=BBBBIHH", 10, 64, 0, 253, 2, 20, 1) + b"\xfe\x80" + bytes(14)
    come = _netlink(16, link) + _netlink(20, four) + _netlink(20, six)
    gone = _netlink(21, six) + _netlink(17, link)
    return [come, gone, come + gone]


def _netlink(kind: int, content: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(content), kind, 0, 1, 0) + content


def manifests() -> list[bytes]:
    """Return the guide's manifests document by document, and YAML's own traps."""
    texts = [path.read_bytes() for path in sorted((GOLDEN / "guide").glob("*.yaml"))]
    traps = [
        b"a: &a [1, 2]\nb: *a\n<<: {c: d}\n",
        b"&a [*a]",
        b'{"kind": "ServiceList", "items": [{"kind": "Service"}]}',
        b"? [x]\n: y",
        b'a: "\\ud800\\x85"\n%YAML 9.9\n---\n- !!binary aGk=\n',
        _SERVICE,
        _POOL,
    ]
    return [part for text in texts for part in text.split(b"\n---\n")] + traps


_SERVICE = b"""apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {metallb.io/loadBalancerIPs: 192.0.2.10}}
spec: {type: LoadBalancer, externalTrafficPolicy: Local, ipFamilies: [IPv4], clusterIP: 10.0.0.1}
status: {loadBalancer: {ingress: [{ip: 192.0.2.10}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.1], nodeName: n1, conditions: {ready: true, serving: null}}]
"""
_POOL = b"""apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: pool, namespace: metallb-system}
spec:
  addresses: [192.0.2.0/28, 2001:db8::1-2001:db8::ff]
  serviceAllocation: {priority: 50, namespaces: [shop], namespaceSelectors: [{matchLabels: {a: b}}]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: l2, namespace: metallb-system}
spec:
  ipAddressPools: [pool]
  interfaces: [eth0]
  nodeSelectors: [{matchExpressions: [{key: rack, operator: In, values: [a, b]}]}]
"""


def api_objects() -> list[bytes]:
    """Return pages and watch events as an API server sends them, one of each form."""
    service = (
        b'{"metadata":{"name":"web","namespace":"shop","resourceVersion":"7"},"spec":{"type":'
        b'"LoadBalancer","externalTrafficPolicy":null},"status":{"loadBalancer":{"ingress":'
        b'[{"ip":"192.0.2.10"}]}}}'
    )
    pool = b'{"metadata":{"name":"p","namespace":"m"},"spec":{"addresses":["192.0.2.0/24"]}}'
    page = b'{"metadata":{"resourceVersion":"9","continue":""},"items":[' + service + b"]}"
    return [
        page,
        service,
        pool,
        b'{"type":"MODIFIED","object":' + service + b"}",
        b'{"type":"ERROR","object":{"code":410}}',
    ]


def custom_resources() -> list[bytes]:
    """Return each object that MetalLB's webhooks were asked about when they were recorded."""
    cases = json.loads((GOLDEN / "controller" / "admission.json").read_text())
    steps = [step for case in cases for step in case["steps"] if "object" in step]
    texts = {json.dumps(step["object"]) for step in steps}
    return [text.encode() for text in sorted(texts)]


def bgp_peers() -> list[bytes]:
    """Return the peers among them, in both versions."""
    found = [text for text in custom_resources() if b'"BGPPeer"' in text]
    return found + [text.replace(b"v1beta2", b"v1beta1") for text in found]


def texts() -> list[bytes]:
    """Return what operators type: durations and seeds."""
    return [
        b"200ms",
        b"1m30s",
        b"1.5h",
        b"0",
        b".5us",
        b"[fe80::1]:7946",
        b"host:1",
        b"9" * 400 + b"s",
    ]


def http_requests() -> list[bytes]:
    """As the kubelet and Prometheus ask, as a proxy does, and an end of each kind."""
    return [
        b"GET /healthz HTTP/1.1\r\nHost: n:7472\r\nUser-Agent: kube-probe/1.30\r\n\r\n",
        b"HEAD /metrics?a=b HTTP/1.0\n\n",
        b"GET http://n:7472/readyz HTTP/1.1\r\nAccept-Encoding: gzip\n\r\n",
        b"POST /metrics HTTP/2.0\r\n\r\n",
    ]


def debug_answers() -> list[bytes]:
    """A table, and what is none."""
    rows = [
        ("node-1", "10.0.0.1:7946", "alive", 1, 0),
        ("\x1b[2J\u202e", "[fd00::1]:7946", "dead", 2**32, None),
    ]
    head = protocol.LocalLine(schema=1, node="node-1", verb="members", columns=("name",))
    end = protocol.LocalLine(end=protocol.LocalEnd(2))
    return [*map(protocol.encode_row, rows), protocol.encode(head), protocol.encode(end), b"[{}]"]


def local_questions() -> list[bytes]:
    """What `clarion` asks."""
    return [
        protocol.encode(protocol.LocalQuestion(verb="owners", after="default/web 192.0.2.1")),
        protocol.encode(protocol.LocalQuestion(verb="log", about="192.0.2.1", follow=True)),
        b'{"schema":2,"verb":"ring"}',
    ]


def engine_configurations() -> list[bytes]:
    """What a real FRR printed."""
    return [(GOLDEN / "bgp" / "running-bgpd.conf").read_bytes()]


def engine_states() -> list[bytes]:
    """What a real FRR said of itself."""
    return [(GOLDEN / "bgp" / name).read_bytes()[:4_096] for name in ("advertised.json",)] + [
        b'{"default":{"vrfId":0,"10.0.0.1":{"bgpState":"Established","messageStats":{}}}}',
        b'[{"peer":"10.0.0.1","vrf":"default","status":"up","control-packet-input":7}]',
    ]


def vty_answers() -> list[bytes]:
    """Two answers, of which one is a refusal."""
    return [b"frr version 8.4.4\0\0\0\0% Unknown command\0\0\0\2"]
