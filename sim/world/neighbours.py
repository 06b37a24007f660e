"""Whether a kernel knows the MAC of whom it sends to: entries that fail in a long cut. Pure.

An entry outlives a cut for as long as Linux trusts it: for what is left of REACHABLE (15 to 45 s)
and DELAY (5 s), and 3 s of PROBE. After that each packet waits for an ARP question, and one is
sent a second. So nodes that meet again after a long cut hear broadcasts at once, but each other up
to a second later, unless a question of the other, or one of the speaker's own that the other's
kernel answers, tells the MAC before: what waits for it goes out at once then.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

Pair = tuple[str, str]

TRUSTED = (3.0, 38.0)
"""Seconds for which an entry goes on after its target fell silent: PROBE at least."""
ASK_EVERY = 1.0
"""Linux' `retrans_time`."""


class Neighbours:
    """The entries of all hosts that lead nowhere, by host and target."""

    def __init__(self, rng: "Random") -> None:
        self._rng = rng
        self._lost: dict[Pair, float] = {}
        self._asked: dict[Pair, float] = {}
        self._trusted: dict[Pair, float] = {}
        self._held: dict[Pair, list[Callable[[], None]]] = {}

    def wait(self, source: str, target: str, *, reaches: bool, now: float) -> float:
        """Return the seconds that a packet waits for its target's MAC, 0 where that is known.

        `reaches` tells whether a question gets there, and its answer back.
        """
        pair = source, target
        since = self._lost.get(pair)
        if since is None:
            if not reaches:
                self._lost[pair] = now
            return 0.0
        if now - since <= self._trust(pair):
            if reaches:
                del self._lost[pair]
            return 0.0
        waited = now - self._asked.get(pair, float("-inf"))
        if waited < ASK_EVERY:
            return ASK_EVERY - waited
        self._asked[pair] = now
        if not reaches:
            return ASK_EVERY
        self.introduce(source, target)
        return 0.0

    def introduce(self, source: str, target: str) -> None:
        """A question of one has reached the other, who learns from it who asks."""
        for known in ((source, target), (target, source)):
            self._lost.pop(known, None)
            self._asked.pop(known, None)
            for send in self._held.pop(known, ()):
                send()

    def hold(self, source: str, target: str, send: Callable[[], None]) -> None:
        """Call `send` as soon as the source knows the MAC of the target."""
        self._held.setdefault((source, target), []).append(send)

    def _trust(self, pair: Pair) -> float:
        if pair not in self._trusted:
            self._trusted[pair] = self._rng.uniform(*TRUSTED)
        return self._trusted[pair]
