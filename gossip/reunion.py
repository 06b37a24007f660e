"""Who is held dead and speaks all the same is told so at once, and refutes.

memberlist leaves that to chance: a member that was paused, or cut off, learns of its own death when
the next push/pull reaches it, up to half a minute later. Until then it acts as if nothing had been.
"""

from gossip.core import Core
from gossip.io import Address
from gossip.outbox import SHOUT_INTERVAL
from gossip.wire.messages import State, Suspect

TELL_INTERVAL = 1.0
"""Seconds between two such words to one member."""
MOST_TOLD = 1_024


class Reunion:
    """Accuses the dead that speak: only they can answer that, with a higher incarnation."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._told: dict[str, float] = {}
        self._may_answer = float("-inf")

    def handle_voice(self, name: str, source: Address, key: bytes | None, now: float) -> None:
        """Somebody at `source` says that it is the node `name`; the answer takes its `key`."""
        incarnation = self._held_dead_at(name, source)
        if not incarnation or now < self._told.get(name, float("-inf")) + TELL_INTERVAL:
            return
        self._told.pop(name, None)
        self._told[name] = now
        if len(self._told) > MOST_TOLD:
            del self._told[next(iter(self._told))]
        self._core.outbox.send(source, Suspect(self._core.name, incarnation, name), key=key)

    def note_refutation(self, accuser: str, source: Address, key: bytes | None, now: float) -> None:
        """We have refuted what a node at `source` said. One that is dead to us is reached by no
        shout, so it is told straight; not more often than a shout, as anybody may accuse."""
        member = self._core.table.get(accuser)
        dead = self._core.table.buried(accuser) if member is None else not member.living
        if dead and now >= self._may_answer:
            self._may_answer = now + SHOUT_INTERVAL
            self._core.outbox.send(source, self._core.table.own.alive(), key=key)

    def _held_dead_at(self, name: str, source: Address) -> int:
        """Return the incarnation at which the node died, 0 where it did not. One that left is on
        its way out, and answers until it has gone."""
        member = self._core.table.get(name)
        if member is None:
            return self._core.table.buried(name)
        died = member.state is State.DEAD and member.address == source
        return member.incarnation if died else 0
