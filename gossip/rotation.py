"""Changing the gossip key while the cluster runs, without losing a packet.

    accept      the new key opens packets at once
    prove       after `SETTLE` seconds every living peer is sent a ping sealed with it
    use         all have acked, so all can read it: it seals from now on
    drop        nothing came in under an older key for `IDLE` seconds: the older keys go

A trial ping is an ordinary one, so foreign peers prove themselves too. A peer that never acks keeps
the old key in use; it is named.

Two things do not wait for proof. With no living peer there is nobody to ask, and who seals with the
new key of its own accord uses it, maybe because it has no other: then we use it too. Peers that
have not proved it yet are sealed to with the key that they last used (see `keys`), and are tried
on. A key that is taken back while on trial is gone at once.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from gossip.core import Core
from gossip.io import Address, KeyBlocked, KeyDropped, KeyUsed
from gossip.member import Member
from gossip.wire.crypto import Keyring
from gossip.wire.messages import Ack, Message, Ping

SETTLE = 90.0
"""A mounted Secret reaches all nodes within about this time (kubelet's sync period and cache)."""
TRIAL_INTERVAL = 5.0
TRIALS_AT_ONCE = 64
IDLE = 90.0
"""Three push/pull intervals of the LAN profile: every peer has sealed something by then."""
COMPLAIN_INTERVAL = 60.0
CHALLENGE_INTERVAL = 1.0
"""Seconds between two looks at who has begun to use the new key; each goes over the whole table."""


@dataclass(slots=True)
class _Trial:
    key: bytes = field(repr=False)
    next_round: float
    complain_at: float
    known_before: bool
    """It was in the ring as an older key when its trial began."""
    proved: set[Address] = field(default_factory=set)
    pending: dict[int, Address] = field(default_factory=dict)
    claims: set[Address] = field(default_factory=set)
    """Who seems to use the key since it was put to use, and has not proved it."""
    challenge_at: float = float("-inf")


class Rotation:
    """At most one new key on trial; older ones wait to be dropped, and peers are tried on."""

    def __init__(self, core: Core, keyring: Keyring | None) -> None:
        self._core = core
        self._keyring = keyring
        self._trial: _Trial | None = None
        self._used: _Trial | None = None
        self._old_heard: float | None = None

    @property
    def active(self) -> bool:
        """Tell whether there is more than one key to speak of."""
        return self._trial is not None or self._old_heard is not None

    def begin(self, key: bytes, now: float) -> None:
        """Make `key` the cluster's key as soon as all can read it. KeyringError: no such length.

        The key in use again ends a trial; another new one replaces it. ValueError: no encryption.
        """
        if self._keyring is None:
            raise ValueError("gossip is not encrypted: there is no key to change")
        if self._trial is not None and self._trial.key == key:
            return
        known = key in self._keyring
        self._keyring.add(key)
        self._take_back()
        if key != self._keyring.primary:
            # No trial before the secret can be everywhere: a peer without it would count an
            # unreadable packet.
            self._trial = _Trial(key, now + SETTLE, now + SETTLE + COMPLAIN_INTERVAL, known)
            self.use_if_alone(now)

    def use_if_alone(self, now: float) -> None:
        """With no living peer there is nobody whom the key on trial could take by surprise."""
        if self._trial is not None and not self._core.table.living_peers:
            self._use(self._trial, now)

    def note_datagram_key(
        self, peer: Address, key: bytes | None, now: float, *, freely: bool
    ) -> None:
        """Note which key opened a datagram that came from `peer`.

        `freely`: it was no answer and no trial ping, so its sender has that key in use for us.
        """
        if not self.active or key is None or not self._counts(key, now, freely=freely):
            return
        keys = self._core.outbox.keys
        if self._used is not None and key == self._used.key and keys.of(peer) != key:
            # Datagrams can be recorded, and played under the address of a peer that has the old
            # key alone. So it is sealed to with the new one when it has acked a fresh ping.
            self._note_claim(self._used, peer, now)
        else:
            keys.note(peer, key)

    def note_stream_key(self, peer: Address | None, key: bytes | None, now: float) -> None:
        """Note which key opened a stream, and whom it came from, where that is known.

        Who begins or answers a conversation receives at its address, so `peer` is no mere claim.
        """
        if not self.active or key is None or not self._counts(key, now, freely=True):
            return
        if peer is not None:
            self._core.outbox.keys.note(peer, key)

    def _counts(self, key: bytes, now: float, *, freely: bool) -> bool:
        """Tell whether it says something of the sender that it has used this key."""
        if self._trial is not None and key == self._trial.key:
            if not freely:
                return False
            self._use(self._trial, now)
        if self._old_heard is not None and key != self._primary:
            self._old_heard = now
        return True

    def _note_claim(self, used: _Trial, peer: Address, now: float) -> None:
        if len(used.claims) < TRIALS_AT_ONCE:
            used.claims.add(peer)
            used.challenge_at = max(used.challenge_at, now)

    @property
    def _primary(self) -> bytes | None:
        return None if self._keyring is None else self._keyring.primary

    def forget_proofs(self, peer: Address, key: bytes | None) -> None:
        """Take back what a peer has proved with other keys: it may have this one alone now.

        It joins, as a process does at its start, or was not able to read what we sent.
        """
        for trial in (self._trial, self._used):
            if trial is not None and key != trial.key:
                trial.proved.discard(peer)

    def handle_ack(self, ack: Ack, now: float) -> bool:
        """Take the ack of a trial ping; false when it is not of ours."""
        for trial in (self._trial, self._used):
            peer = trial.pending.pop(ack.seq_no, None) if trial else None
            if trial is not None and peer is not None:
                trial.proved.add(peer)
                if not trial.pending and trial is self._trial:
                    trial.next_round = now
                return True
        return False

    def deadline(self) -> float | None:
        """When something is due."""
        trial, used = self._trial or self._used, self._used
        due = trial.next_round if trial else None
        claim = used.challenge_at if used and used.claims else None
        drop = self._old_heard + IDLE if self._old_heard is not None else None
        return min((at for at in (due, claim, drop) if at is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        """Send trial pings, put the key to use, drop old ones, as far as due."""
        trial = self._trial or self._used
        if trial is not None and now >= trial.next_round:
            self._advance(trial, now)
        used = self._used
        if used is not None and used.claims and now >= used.challenge_at:
            self._challenge(used, now)
        if self._old_heard is not None and now >= self._old_heard + IDLE:
            self._drop()

    def waiting_for(self) -> tuple[str, ...]:
        """Name the living peers that have not proved the newest key."""
        trial = self._trial or self._used
        if trial is None:
            return ()
        return tuple(sorted(member.name for member in self._peers_without(trial.proved)))

    def _peers_without(self, proved: Set[Address]) -> list[Member]:
        return [
            member
            for member in self._core.table
            if member.living and not member.own and member.address not in proved
        ]

    def _advance(self, trial: _Trial, now: float) -> None:
        self._forget_strangers(trial)
        waiting = self.waiting_for()
        if not waiting and trial is self._trial:
            self._use(trial, now)
        trial.next_round = now + TRIAL_INTERVAL
        trial.pending.clear()
        for name in waiting[:TRIALS_AT_ONCE]:
            self._try(trial, self._core.table.get(name))
        if waiting and now >= trial.complain_at:
            trial.complain_at = now + COMPLAIN_INTERVAL
            self._core.events.add(KeyBlocked(waiting))

    def _forget_strangers(self, trial: _Trial) -> None:
        """What we know of a member goes with its row, and what it has proved with its life."""
        self._core.outbox.keys.keep({member.address for member in self._core.table})
        trial.proved &= {member.address for member in self._core.table if member.living}

    def _challenge(self, used: _Trial, now: float) -> None:
        """Let those prove the key who seem to use it, without waiting for the next round."""
        for member in self._peers_without(used.proved):
            if member.address in used.claims:
                self._try(used, member)
        used.claims.clear()
        used.challenge_at = now + CHALLENGE_INTERVAL

    def _try(self, trial: _Trial, member: Member | None) -> None:
        if member is None:
            return
        sequence = self._core.next_sequence()
        trial.pending[sequence] = member.address
        own = self._core.table.own
        ping = Ping(member.name, sequence, own.addr, own.name, own.port)
        self._core.outbox.send_sealed_with(trial.key, member.address, ping)

    def _use(self, trial: _Trial, now: float) -> None:
        if self._keyring is None:
            return
        keys, before = self._core.outbox.keys, self._keyring.primary
        for member in self._peers_without(trial.proved):
            keys.presume(member.address, before)
        keys.trust(trial.proved)
        self._keyring.use(trial.key)
        self._old_heard = now
        self._trial, self._used = None, trial
        self._core.events.add(KeyUsed())

    def _take_back(self) -> None:
        """End a trial, and its key with it: whoever took it back may know that it has leaked.

        A key that was in the ring before its trial has been in use, and goes by `_drop`.
        """
        if self._trial is not None and self._keyring is not None and not self._trial.known_before:
            self._keyring.remove(self._trial.key)
        self._trial = None
        if not self.active:
            self._core.outbox.keys.clear()

    def _drop(self) -> None:
        self._old_heard = self._used = None
        if self._keyring is None:
            return
        trial = self._trial.key if self._trial else None
        old = [key for key in self._keyring.keys[1:] if key != trial]
        for key in old:
            self._keyring.remove(key)
        self._core.outbox.keys.clear()
        self._core.events.add(KeyDropped(len(old)))


def freely(messages: Sequence[Message]) -> bool:
    """Tell whether a datagram says which key its sender has in use.

    An answer is sealed with the key of its question, and a lone ping may be a trial.
    """
    alone = len(messages) == 1 and isinstance(messages[0], Ping)
    return not alone and not any(isinstance(message, Ack) for message in messages)
