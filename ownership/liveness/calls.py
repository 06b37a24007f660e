"""Whom gossip holds dead and who was heard all the same: they are called, to exchange state. Pure.

Their machines may be all that lives, as when a speaker was killed: so not again and again.
"""

from dataclasses import dataclass

from gossip.io import Address

FIRST, LONGEST = 0.25, 5.0
"""Seconds from one call to the next: doubled each time."""
ANEW = 1.5
"""Seconds of silence after which a node that is heard is called as if for the first time."""
MOST = 1_024


@dataclass(slots=True)
class _Called:
    heard: float
    next: float
    wait: float = FIRST


class Calls:
    """Addresses to exchange state with at once."""

    def __init__(self) -> None:
        self._called: dict[str, _Called] = {}
        self._waiting: list[Address] = []

    def handle_sign_of_life(self, name: str, address: Address | None, now: float) -> bool:
        """A node that gossip holds dead, and that gossiped at this address, was heard; true where
        it is called now."""
        if address is None:
            return False
        item = self._called.get(name)
        if item is None or now - item.heard > ANEW:
            item = self._called[name] = _Called(now, now)
        item.heard = now
        due = now >= item.next
        if due:
            item.next, item.wait = now + item.wait, min(2 * item.wait, LONGEST)
            self._waiting.append(address)
        if len(self._called) > MOST:
            del self._called[next(iter(self._called))]
        return due

    def forget(self, name: str) -> None:
        """Gossip knows that the node lives."""
        self._called.pop(name, None)

    @property
    def waiting(self) -> bool:
        """Whether somebody is to be called."""
        return bool(self._waiting)

    def drain(self) -> list[Address]:
        """Return whom to call now."""
        waiting, self._waiting = self._waiting, []
        return waiting
