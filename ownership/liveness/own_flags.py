"""What this node says of itself in its Meta: why it may own nothing just now. Pure."""

from collections.abc import Mapping

from link.interface import Interface
from ownership.letters.mark import Flags
from ownership.liveness.damping import Damping

INTERVAL = 10.0
"""Seconds between two changes, so that a link that flaps does not move IPs each time; leaving
does not wait."""
BLIP = 0.35
"""Seconds for which a node that lost its last carrier says nothing of it, once in INTERVAL. Nobody
could hear it; its witnesses need as long; and said after the link is back it would cost its IPs."""


class OwnFlags:
    """Flags that follow the facts, but not too often."""

    def __init__(self, now: float) -> None:
        self.published = Flags.NONE
        self._damping = Damping()
        self._said = Flags.NONE
        """What the links make us say, as of the last change."""
        self._wanted = Flags.NONE
        self._may_change = now
        self._hold_until = now
        self._may_blip = now
        self._leaving = False

    def set_links(
        self, interfaces: Mapping[int, Interface], needed: frozenset[str] | None, now: float
    ) -> None:
        """Take the eligible links, and the names of those that services need (None: any)."""
        useful = [
            interface
            for interface in interfaces.values()
            if interface.carrier and (needed is None or interface.name in needed)
        ]
        before, self._wanted = self._wanted, Flags.NONE if useful else Flags.NO_LINK
        heard = any(interface.carrier for interface in interfaces.values())
        if useful or heard:
            self._hold_until = now
        elif before is Flags.NONE and now >= self._may_blip:
            self._hold_until, self._may_blip = now + BLIP, now + INTERVAL
        self._publish(now)

    def handle_back(self, sender: str, others: int, now: float) -> None:
        """One of so many other nodes says that we were judged gone, and are back."""
        self._damping.handle_back(sender, others, now)
        self._publish(now)

    def leave(self, now: float) -> None:
        """We are going."""
        self._leaving = True
        self._publish(now)

    def handle_timeout(self, now: float) -> None:
        """Publish what had to wait."""
        self._publish(now)

    def deadline(self) -> float:
        """When `handle_timeout` wants to be called next."""
        if self._leaving:
            return float("inf")
        waiting = self._wanted != self._said
        due = max(self._may_change, self._hold_until) if waiting else float("inf")
        return min(due, self._damping.deadline())

    def _publish(self, now: float) -> None:
        if self._leaving:
            self._said = self._wanted
        elif self._wanted != self._said and now >= max(self._may_change, self._hold_until):
            self._said = self._wanted
            self._may_change = now + INTERVAL
        self.published = self._said
        if self._leaving:
            self.published |= Flags.LEAVING
        if self._damping.barred(now):
            self.published |= Flags.DAMPED | Flags.NOT_SYNCED
