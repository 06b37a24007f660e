"""Go's memberlist answers the doctor's pings, and learns of nobody by them."""

import asyncio

import pytest

import netns
from clarion.doctor.look.gossip_probes import reach_all
from clarion.doctor.reach import PeerReach, ProbeAnswer
from foreign_peers import GoPeer, Options

pytestmark = pytest.mark.root
KEY, OTHER = bytes(range(32)), bytes(32)
YES, NO = ProbeAnswer.ANSWERED, ProbeAnswer.SILENT


def test_memberlist_answers_who_has_its_key(missing: dict[str, str | None]) -> None:
    if reason := missing["go"]:
        pytest.skip(reason)
    with netns.segment(["a", "b"]) as hosts:
        peer = GoPeer(hosts["b"], "b", Options(keys=(KEY,)))
        try:
            peer.wait_ready()

            def ask(key: bytes | None) -> list[ProbeAnswer | None]:
                peers = (PeerReach("b", hosts["b"].ip),)
                (found,) = hosts["a"].namespace.run(asyncio.run, reach_all(peers, key))
                return [found.udp, found.udp_full, found.tcp]

            assert ask(KEY) == [YES, YES, YES]
            # Datagrams are dropped without a word, a stream is read and refused.
            assert ask(OTHER) == [NO, NO, ProbeAnswer.UNREAD]
            assert ask(None) == [NO, NO, ProbeAnswer.UNREAD]
            assert peer.members() == {"b": "alive"}
        finally:
            peer.stop()


def test_nobody_listens(missing: dict[str, str | None]) -> None:
    if reason := netns.missing_right():
        pytest.skip(reason)
    with netns.segment(["a", "b"]) as hosts:
        peers = (PeerReach("b", hosts["b"].ip),)
        (found,) = hosts["a"].namespace.run(asyncio.run, reach_all(peers, KEY))
        closed = ProbeAnswer.CLOSED
        assert (found.udp, found.udp_full, found.tcp) == (closed, closed, closed)
