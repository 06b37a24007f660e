"""Which key each peer is sealed to with, while the ring holds several.

A peer may have fewer keys than we: a node that started after the secret had changed has the new
one alone, a foreign one perhaps the old one alone. What it seals with, it can read.
"""

from collections.abc import Set

from gossip.io import Address
from gossip.table import MAX_MEMBERS
from gossip.wire.crypto import Keyring

MAX_REMEMBERED = MAX_MEMBERS
"""Addresses kept: one for each row of the table. A recording can be played from any number of
them; those that are no member's go with the next round of `Rotation`."""


class PeerKeys:
    """The key that each peer last sealed with, and who has proved that it reads the primary.

    Only a packet that opened counts, so it takes a key of the ring to be heard. There is no
    protection against replay: an old packet, played under a member's address, makes us seal to it
    with that old key. That gives nothing away, as the key is in the ring and nobody has it who may
    not read us, and it ends when the member has proved that it reads the primary: proof is the ack
    to a fresh ping, which no recording holds.
    """

    def __init__(self, keyring: Keyring | None) -> None:
        self._keyring = keyring
        self._spoke: dict[Address, bytes] = {}
        self._readers: Set[Address] = frozenset()

    def __len__(self) -> int:
        return len(self._spoke)

    @property
    def newest(self) -> bytes | None:
        """The key on trial, where there is one; None without encryption."""
        return None if self._keyring is None else self._keyring.keys[-1]

    def of(self, peer: Address) -> bytes | None:
        """Return the key to seal with to this peer; None without encryption."""
        if self._keyring is None:
            return None
        key = self._spoke.get(peer)
        if key is None or key not in self._keyring or peer in self._readers:
            return self._keyring.primary
        return key

    def note(self, peer: Address, key: bytes) -> None:
        """Note what a peer sealed with of its own accord."""
        if peer in self._spoke or len(self._spoke) < MAX_REMEMBERED:
            self._spoke[peer] = key

    def presume(self, peer: Address, key: bytes) -> None:
        """Take a peer that was not heard lately for one that has this key."""
        if peer not in self._spoke:
            self.note(peer, key)

    def trust(self, readers: Set[Address]) -> None:
        """Take the peers that have proved that they read the primary; the set may change later."""
        self._readers = readers

    def keep(self, peers: Set[Address]) -> None:
        """Forget all but these, and whatever was sealed with a key that is gone."""
        ring = self._keyring
        self._spoke = {
            peer: key
            for peer, key in self._spoke.items()
            if peer in peers and ring is not None and key in ring
        }

    def clear(self) -> None:
        """Forget everything: one key is left, and all use it."""
        self._spoke.clear()
        self._readers = frozenset()
