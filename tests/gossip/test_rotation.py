"""Changing the key in a running ring: proof first, then use, then the old one goes."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from gossip.io import Gone, KeyBlocked, KeyDropped, KeyUsed, Suspected
from gossip.rotation import COMPLAIN_INTERVAL, IDLE, SETTLE, TRIAL_INTERVAL
from gossip.swim import Swim
from gossip.wire.crypto import Keyring, KeyringError

OLD, NEW = b"o" * 32, b"n" * 32


def ring(network: Any, size: int = 3) -> list[tuple[Swim, Keyring]]:
    members = []
    for index in range(size):
        keyring = Keyring([OLD])
        members.append((network.add(f"n{index + 1}", keyring=keyring), keyring))
    for swim, _ in members[1:]:
        swim.set_seeds([network.address("n1")], network.now)
    network.run(3)
    return members


def happened(network: Any, kind: type) -> list[Any]:
    return [event for events in network.events.values() for event in events if type(event) is kind]


def calm(network: Any, members: list[tuple[Swim, Keyring]]) -> None:
    """Nobody was lost, no packet was unreadable, and nobody thought that it had stood still."""
    assert not happened(network, Gone)
    assert not happened(network, Suspected)
    for swim, _ in members:
        assert not swim.stats.refusals
        assert not swim.stats.stalls
        assert len(swim.live()) == len(members)


def test_all_nodes_change_their_secret_within_a_minute(network: Any) -> None:
    members = ring(network)
    for swim, keyring in members:
        swim.rotate(NEW, network.now)
        assert keyring.keys == (OLD, NEW)
        network.run(20)
    network.run(SETTLE)
    assert all(keyring.primary == NEW for _, keyring in members)
    assert len(happened(network, KeyUsed)) == 3
    network.run(IDLE + 60)
    assert all(keyring.keys == (NEW,) for _, keyring in members)
    assert [event.count for event in happened(network, KeyDropped)] == [1, 1, 1]
    calm(network, members)


def test_it_is_not_used_before_the_secret_can_be_everywhere(network: Any) -> None:
    members = ring(network)
    for swim, _ in members:
        swim.rotate(NEW, network.now)
    network.run(SETTLE - 1)
    assert all(keyring.primary == OLD for _, keyring in members)
    network.run(2)
    assert all(keyring.primary == NEW for _, keyring in members)
    calm(network, members)


def test_one_that_never_proves_keeps_the_old_key_in_use_and_is_named(network: Any) -> None:
    members = ring(network)
    for swim, _ in members[:2]:
        swim.rotate(NEW, network.now)
    network.run(SETTLE + COMPLAIN_INTERVAL + TRIAL_INTERVAL + 1)
    assert [keyring.primary for _, keyring in members] == [OLD, OLD, OLD]
    assert members[0][0].unproved() == ("n3",)
    assert happened(network, KeyBlocked)[0] == KeyBlocked(("n3",))
    assert not happened(network, Gone)
    members[2][0].rotate(NEW, network.now)
    network.run(SETTLE + TRIAL_INTERVAL + 1)
    assert [keyring.primary for _, keyring in members] == [NEW, NEW, NEW]


def test_a_dead_peer_does_not_hold_the_change_up(network: Any) -> None:
    members = ring(network)
    network.dead.add("n3")
    for swim, _ in members[:2]:
        swim.rotate(NEW, network.now)
    network.run(SETTLE + TRIAL_INTERVAL + 1)
    assert [keyring.primary for _, keyring in members[:2]] == [NEW, NEW]


def test_the_key_in_use_again_ends_the_trial(network: Any) -> None:
    (swim, keyring), *_ = ring(network)
    swim.rotate(NEW, network.now)
    swim.rotate(OLD, network.now)
    network.run(2 * SETTLE)
    assert keyring.primary == OLD
    assert swim.unproved() == ()


def test_what_cannot_be_a_key_is_refused(network: Any) -> None:
    (swim, keyring), *_ = ring(network)
    with pytest.raises(KeyringError, match="16, 24 or 32 bytes"):
        swim.rotate(b"short", network.now)
    assert keyring.keys == (OLD,)
    plain = network.add("plain")
    with pytest.raises(ValueError, match="not encrypted"):
        plain.rotate(NEW, network.now)


def test_the_key_shows_nowhere(network: Any) -> None:
    (swim, _), *_ = ring(network)
    key = os.urandom(16).hex().encode()
    swim.rotate(key, network.now)
    assert key.decode() not in repr(vars(swim))


def test_an_old_key_still_in_use_by_a_peer_is_not_dropped(
    network: Any, lan_without: Callable[..., Any]
) -> None:
    """Two rotate; a third proves that it reads the new key but goes on sealing with the old."""
    members = ring(network)
    members[2][1].add(NEW)
    for swim, _ in members[:2]:
        swim.rotate(NEW, network.now)
    network.run(SETTLE + 3 * IDLE)
    assert [keyring.keys for _, keyring in members[:2]] == [(NEW, OLD), (NEW, OLD)]
    calm(network, members)
