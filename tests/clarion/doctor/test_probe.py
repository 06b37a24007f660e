"""What the doctor asks over gossip, put to a member's own core; no socket is opened."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion.doctor.probe import GossipProbe
from gossip.config import LAN
from gossip.io import Address
from gossip.swim import Swim
from gossip.wire.crypto import Keyring
from gossip.wire.errors import WireError

KEY, OTHER = bytes(range(32)), bytes(32)
HERE, THERE = Address("192.0.2.1", 50_000), Address("192.0.2.2", 7946)
chance = random.Random(7)


def keyring(key: bytes | None) -> Keyring | None:
    return None if key is None else Keyring([key])


def member(key: bytes | None) -> Swim:
    return Swim(
        LAN,
        name="node-2",
        address=THERE,
        keyring=keyring(key),
        rng=random.Random(1),
        nonce=lambda: chance.randbytes(12),
        incarnation=1,
        now=0.0,
    )


def probe(key: bytes | None, node: str = "node-2") -> GossipProbe:
    return GossipProbe(node, 3_000_000_000, keyring(key), chance.randbytes)


def answers(asked: GossipProbe, datagram: bytes, peer: Swim) -> bool:
    peer.handle_datagram(datagram, HERE, 1.0)
    sent = [each for each in peer.transmits() if getattr(each, "to", None) == HERE]
    return any(asked.is_answer(each.data) for each in sent)


@pytest.mark.parametrize("key", [None, KEY, KEY[:16]])
def test_a_member_answers_the_short_ping_and_the_long_one(key: bytes | None) -> None:
    asked = probe(key)
    assert answers(asked, asked.datagram(), member(key))
    full = asked.full_datagram(1400)
    assert len(full) == 1400
    assert answers(asked, full, member(key))


@pytest.mark.parametrize("length", [300, 512, 1280, 1400, 8900])
@pytest.mark.parametrize("key", [None, KEY])
def test_the_long_one_is_as_long_as_it_is_to_be(key: bytes | None, length: int) -> None:
    assert abs(len(probe(key).full_datagram(length)) - length) <= 2


@pytest.mark.parametrize(("ours", "theirs"), [(KEY, OTHER), (KEY, None), (None, KEY)])
def test_who_has_another_key_does_not_answer(ours: bytes | None, theirs: bytes | None) -> None:
    asked = probe(ours)
    assert not answers(asked, asked.datagram(), member(theirs))


def test_another_node_at_the_address_does_not_answer() -> None:
    asked = probe(KEY, "node-9")
    assert not answers(asked, asked.datagram(), member(KEY))


def test_a_member_learns_of_nobody_by_being_asked() -> None:
    peer, asked = member(KEY), probe(KEY)
    for datagram in (asked.datagram(), asked.full_datagram(1400)):
        peer.handle_datagram(datagram, HERE, 1.0)
    peer.handle_stream(asked.request(), HERE, 1.0)
    assert peer.live() == {"node-2"}


@pytest.mark.parametrize("key", [None, KEY])
def test_a_stream_is_answered(key: bytes | None) -> None:
    asked = probe(key)
    reply = member(key).handle_stream(asked.request(), HERE, 1.0)
    assert reply is not None
    gathered = asked.reader()
    assert not gathered.feed(reply[:3])
    assert gathered.feed(reply[3:])
    assert asked.answers(gathered.message())
    refusal = member(OTHER).handle_stream(asked.request(), HERE, 1.0)
    assert refusal is not None
    other = asked.reader()
    with pytest.raises(WireError):
        _ = other.feed(refusal) and other.message()


@given(st.binary(max_size=200))
def test_no_bytes_are_an_answer_by_chance(data: bytes) -> None:
    assert not probe(KEY).is_answer(data)
    probe(None).is_answer(data)
