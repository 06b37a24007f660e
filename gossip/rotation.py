"""Changing the gossip key while the cluster runs, without losing a packet.

    accept      the new key opens packets at once
    prove       after `SETTLE` seconds every living peer is sent a ping sealed with it
    use         all have acked, so all can read it: it seals from now on
    drop        nothing came in under an older key for `IDLE` seconds: the older keys go

A trial ping is an ordinary one, so foreign peers prove themselves too. A peer that never acks keeps
the old key in use; it is named.
"""

from dataclasses import dataclass, field

from gossip.core import Core
from gossip.io import KeyBlocked, KeyDropped, KeyUsed
from gossip.wire.crypto import Keyring
from gossip.wire.messages import Ack, Ping

SETTLE = 90.0
"""A mounted Secret reaches all nodes within about this time (kubelet's sync period and cache)."""
TRIAL_INTERVAL = 5.0
TRIALS_AT_ONCE = 64
IDLE = 90.0
"""Three push/pull intervals of the LAN profile: every peer has sealed something by then."""
COMPLAIN_INTERVAL = 60.0


@dataclass(slots=True)
class _Trial:
    key: bytes = field(repr=False)
    next_round: float
    complain_at: float
    proved: set[str] = field(default_factory=set)
    pending: dict[int, str] = field(default_factory=dict)


class Rotation:
    """At most one new key on trial; older ones wait to be dropped."""

    def __init__(self, core: Core, keyring: Keyring | None) -> None:
        self._core = core
        self._keyring = keyring
        self._trial: _Trial | None = None
        self._old_heard: float | None = None

    def begin(self, key: bytes, now: float) -> None:
        """Make `key` the cluster's key as soon as all can read it. KeyringError: no such length.

        The key in use again ends a trial; another new one replaces it. ValueError: no encryption.
        """
        if self._keyring is None:
            raise ValueError("gossip is not encrypted: there is no key to change")
        if key == self._keyring.primary:
            self._trial = None
            return
        if self._trial is None or self._trial.key != key:
            self._keyring.add(key)
            # No trial before the secret can be everywhere: a peer without it would count an
            # unreadable packet.
            self._trial = _Trial(key, now + SETTLE, now + SETTLE + COMPLAIN_INTERVAL)

    def opened(self, key: bytes | None, now: float) -> None:
        """Note which key opened a packet."""
        if self._keyring is not None and self._old_heard is not None:
            trial = self._trial.key if self._trial else None
            if key not in (self._keyring.primary, trial):
                self._old_heard = now

    def ack(self, ack: Ack, now: float) -> bool:
        """Take the ack of a trial ping; false when it is not of ours."""
        name = self._trial.pending.pop(ack.seq_no, None) if self._trial else None
        if self._trial is None or name is None:
            return False
        self._trial.proved.add(name)
        if not self._trial.pending:
            self._trial.next_round = float("-inf")
        return True

    def deadline(self) -> float | None:
        """When something is due."""
        if self._trial is None and self._old_heard is None:
            return None
        trial = self._trial.next_round if self._trial else None
        drop = self._old_heard + IDLE if self._old_heard is not None else None
        return min((at for at in (trial, drop) if at is not None), default=None)

    def handle_timeout(self, now: float) -> None:
        """Send trial pings, put the key to use, drop old ones, as far as due."""
        if self._trial is not None and now >= self._trial.next_round:
            self._advance(self._trial, now)
        if self._old_heard is not None and now >= self._old_heard + IDLE:
            self._drop()

    def waiting_for(self) -> tuple[str, ...]:
        """Name the living peers that have not proved the key on trial."""
        if self._trial is None:
            return ()
        proved = self._trial.proved
        peers = (member for member in self._core.table if member.living and not member.own)
        return tuple(sorted(member.name for member in peers if member.name not in proved))

    def _advance(self, trial: _Trial, now: float) -> None:
        waiting = self.waiting_for()
        if not waiting:
            self._use(trial, now)
            return
        trial.next_round = now + TRIAL_INTERVAL
        trial.pending.clear()
        for name in waiting[:TRIALS_AT_ONCE]:
            self._try(trial, name)
        if now >= trial.complain_at:
            trial.complain_at = now + COMPLAIN_INTERVAL
            self._core.events.add(KeyBlocked(waiting))

    def _try(self, trial: _Trial, name: str) -> None:
        member = self._core.table.get(name)
        if member is None:
            return
        sequence = self._core.next_sequence()
        trial.pending[sequence] = name
        own = self._core.table.own
        ping = Ping(name, sequence, own.addr, own.name, own.port)
        self._core.outbox.send_sealed_with(trial.key, member.address, ping)

    def _use(self, trial: _Trial, now: float) -> None:
        if self._keyring is not None:
            self._keyring.use(trial.key)
            self._old_heard = now
            self._trial = None
            self._core.events.add(KeyUsed())

    def _drop(self) -> None:
        self._old_heard = None
        if self._keyring is None:
            return
        trial = self._trial.key if self._trial else None
        old = [key for key in self._keyring.keys[1:] if key != trial]
        for key in old:
            self._keyring.remove(key)
        self._core.events.add(KeyDropped(len(old)))
