"""Those who do not belong: refused by both sides, counted by ours, and nobody harmed.

A cluster is one foreign agent and one of ours. An intruder of either kind, set up differently,
tries to join both, and is joined by both.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest

from foreign_peers import PORT, SERF_DELEGATE, Options, Peer, PeerError, all_alive, settle
from gossip.wire.body import encode
from gossip.wire.crypto import Keyring
from gossip.wire.messages import Ping
from gossip.wire.packet import PacketCodec, WireConfig

KEY, WRONG_KEY = bytes(range(32)), bytes(range(1, 33))
NONCE = bytes(12)
LOGGED_WITHIN = 10.0
"""Seconds after which what is waited for will not come."""

pytestmark = pytest.mark.root


@dataclass(frozen=True)
class Quarrel:
    """How cluster and intruder differ, and the refusal that ours count on either side of it."""

    cluster: Options
    intruder: Options
    counted_inside: str
    counted_outside: str


QUARRELS = {
    "wrong key": Quarrel(Options(keys=(KEY,)), Options(keys=(WRONG_KEY,)), "decrypt", "decrypt"),
    "plain into encrypted": Quarrel(Options(keys=(KEY,)), Options(), "not_encrypted", "encrypted"),
    "encrypted into plain": Quarrel(Options(), Options(keys=(KEY,)), "encrypted", "not_encrypted"),
    "another label": Quarrel(
        Options(keys=(KEY,), label="here"), Options(keys=(KEY,), label="there"), "label", "label"
    ),
    "label into none": Quarrel(Options(), Options(label="there"), "label", "label"),
    "none into label": Quarrel(Options(label="here"), Options(), "label", "label"),
}
# serf 0.8 has no labels.
CASES = [("go", name) for name in QUARRELS] + [
    ("serf", name) for name in QUARRELS if "label" not in name
]


def _joined(peer: Peer, other: Peer) -> int:
    try:
        return peer.join([other.ip])
    except PeerError:
        return 0


def _packet(options: Options) -> bytes:
    """A ping by UDP as a peer of these options sends it."""
    keyring = Keyring(options.keys) if options.keys else None
    codec = PacketCodec(WireConfig(label=options.label.encode()), keyring)
    ping = Ping(seq_no=1, node="", source_addr=b"", source_port=0, source_node="")
    return codec.seal([encode(ping)], crc=False, nonce=lambda: NONCE)


def _send(data: bytes, ip: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(data, (ip, PORT))


def _names(refused: Peer, peer: Peer) -> bool:
    """Whether the peer has logged that it refused the other one."""
    return bool(peer.errors(f"from={refused.ip}:"))


def _refusals(peer: Peer) -> int:
    return sum(peer.stats()["refusals"].values())


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_refused_on_both_sides_and_nobody_harmed(
    kind: str, name: str, start: Callable[..., Peer]
) -> None:
    quarrel = QUARRELS[name]
    delegate = SERF_DELEGATE if kind == "serf" else "0,0,0"
    inside = replace(quarrel.cluster, delegate=delegate)
    outside = replace(quarrel.intruder, delegate=delegate)
    theirs, ours = cluster = [start(kind, "theirs", inside), start("clarion", "ours", inside)]
    foreign, own = intruders = [start(kind, "foreign", outside), start("clarion", "own", outside)]
    for peer in cluster + intruders:
        peer.wait_ready()
    ours.join([theirs.ip])
    all_alive(cluster, 3.0)

    for intruder in intruders:
        for peer in cluster:
            # Two of one kind among themselves prove nothing of the other.
            if intruder.kind != peer.kind:
                assert _joined(intruder, peer) == 0
                assert _joined(peer, intruder) == 0
    assert ours.stats()["refusals"][quarrel.counted_inside] > 0
    assert own.stats()["refusals"][quarrel.counted_outside] > 0
    # What a peer writes is read by a thread of this test, maybe later than another's answer.
    for peer, other in ((theirs, own), (foreign, ours)):
        settle([peer], partial(_names, other), LOGGED_WITHIN, "the refusal is logged")

    counted, logged = _refusals(ours), len(theirs.errors(f"from={own.ip}:"))
    for peer in cluster:
        own.host.namespace.run(_send, _packet(outside), peer.ip)
    settle([ours], lambda peer: _refusals(peer) > counted, LOGGED_WITHIN, "a datagram is counted")
    settle(
        [theirs],
        lambda peer: len(peer.errors(f"from={own.ip}:")) > logged,
        LOGGED_WITHIN,
        "a refused datagram is logged",
    )

    for peer in cluster:
        assert peer.members() == {"theirs": "alive", "ours": "alive"}
        assert not peer.journal.find("suspect")
    for peer in intruders:
        assert peer.members() == {peer.name: "alive"}


def test_other_delegate_versions_are_refused_and_poison_no_ring(start: Callable[..., Peer]) -> None:
    """Once listed, such a node makes every push/pull between memberlists fail."""
    options = Options(keys=(KEY,), delegate=SERF_DELEGATE)
    ring = [start("serf", f"serf{n}", options) for n in range(2)] + [start("clarion", "c", options)]
    stranger = start("clarion", "stranger", replace(options, delegate="0,0,0"))
    late = start("serf", "late", options)
    for peer in [*ring, stranger, late]:
        peer.wait_ready()
    ring[0].join([ring[1].ip])
    ring[2].join([ring[1].ip])
    all_alive(ring, 3.0)

    for peer in (ring[0], ring[2]):
        assert _joined(stranger, peer) == 0
    assert stranger.stats()["ignored"]["incompatible"] > 0
    time.sleep(1.0)  # five rounds of gossip, in which it would spread
    for peer in ring:
        assert stranger.name not in peer.members()
    assert stranger.members() == {stranger.name: "alive"}
    assert late.join([ring[0].ip]) == 1
    all_alive([*ring, late], 3.0)
