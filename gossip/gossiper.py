"""Carrying queued news to random members, in rounds."""

from gossip.core import Core
from gossip.member import Member
from gossip.wire.messages import State

URGENT_INTERVAL = 0.02
"""Least time between two rounds that fresh news starts before the next regular one."""


class Gossiper:
    """The gossip rounds: every interval while there is news, and one at once for fresh news.

    The number of packets that carry a piece of news stays the same; the first of them only
    leave earlier than memberlist's would.
    """

    def __init__(self, core: Core, now: float) -> None:
        self._core = core
        self._tick = now + core.rng.random() * core.config.gossip_interval
        self._idle = True
        self._urgent: float | None = None
        self._may_hurry = now
        self.hurry = False

    def deadline(self) -> float | None:
        """When the next round is due; None while there is no news."""
        if self._idle:
            return None
        return self._tick if self._urgent is None else min(self._tick, self._urgent)

    def note(self, now: float) -> None:
        """Look at the queue after an input, and plan a round if there is news."""
        queue = self._core.outbox.queue
        if not queue.fresh:
            return
        if self._urgent is None:
            self._urgent = max(now, self._may_hurry)
        if self._idle and queue:
            self._idle = False
            self._skip_past_ticks(now)

    def handle_timeout(self, now: float) -> None:
        """Do the round that is due."""
        if self._idle:
            return
        urgent = self._urgent is not None and now >= self._urgent
        if urgent or now >= self._tick:
            self._round(now)
        self._skip_past_ticks(now)
        self._idle = not self._core.outbox.queue

    def _skip_past_ticks(self, now: float) -> None:
        if self._tick <= now:
            interval = self._core.config.gossip_interval
            self._tick += interval * (int((now - self._tick) / interval) + 1)

    def _round(self, now: float) -> None:
        self._core.outbox.queue.fresh = False
        self._may_hurry = now + URGENT_INTERVAL
        window = self._core.config.gossip_to_the_dead_time

        def wants_news(member: Member) -> bool:
            if member.state is State.DEAD:
                return now - member.since <= window
            return member.living and not member.own

        for member in self._core.table.pick(self._core.config.gossip_nodes, wants_news):
            if not self._core.outbox.gossip(member):
                break
        self._urgent = self._may_hurry if self.hurry and self._core.outbox.queue else None
