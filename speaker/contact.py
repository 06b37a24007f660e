"""Contact before claim: a speaker that may be behind the times answers for nothing.

At start, after the process stood still, and on a link that had no carrier, what this node believes
about ownership may be old: others may have taken its IPs over. It keeps quiet until it has
exchanged state with one peer, or until nobody has spoken for a while, so that nobody is there.
"""

from dataclasses import dataclass
from enum import StrEnum

START_SILENCE = 3.0
"""Seconds for which all seeds must be silent after the start."""
SILENCE = 1.0
"""The same after a stall or an outage of the link."""
BRIEF_SILENCE = 0.3
"""The same after a link was quiet for a moment only: peers that live answer in milliseconds."""
LONGEST_GAP = 1.0
"""A gap in one's own clock, or in the carrier, longer than this makes one's knowledge old."""
HEARTBEAT = 0.25
"""How often a healthy loop passes by here, so that a gap is one of the process, not of traffic."""


class HoldReason(StrEnum):
    """Why a speaker keeps quiet."""

    START = "start"
    STALL = "stall"
    CARRIER = "carrier"
    ISOLATED = "isolated"
    """Nobody was heard on the link for long enough that others may have taken over."""


@dataclass(frozen=True, slots=True)
class Held:
    """Answers stopped on `ifindex` (None: everywhere); `gap` is the seconds lost."""

    reason: HoldReason
    ifindex: int | None
    gap: float


@dataclass(frozen=True, slots=True)
class Released:
    """Answers may flow again; `by` is `exchange` or `silence`, `waited` in seconds."""

    reason: HoldReason
    ifindex: int | None
    by: str
    waited: float


ContactEvent = Held | Released


@dataclass(slots=True)
class _Hold:
    reason: HoldReason
    since: float
    silent_at: float
    silence: float


class Contact:
    """Keeps the holds: one for the whole process (key None), one for each link (its index)."""

    def __init__(self, now: float, alone: bool = False) -> None:
        """Begin held, until `seeking` and longer; `alone` (no gossip): nobody to wait for."""
        self._seen = now
        self._holds: dict[int | None, _Hold] = {}
        self._events: list[ContactEvent] = []
        self._alone = alone
        self._released: set[int | None] = set()
        self.changes = 0
        """Grows whenever `open` may say something else than before."""
        if not alone:
            self._hold(None, HoldReason.START, 0.0, float("inf"), now)

    def seeking(self, now: float) -> None:
        """The seeds are asked from now on: their silence counts."""
        hold = self._holds.get(None)
        if hold is not None and hold.reason is HoldReason.START:
            hold.silence, hold.silent_at = START_SILENCE, now + START_SILENCE

    def tick(self, now: float) -> bool:
        """Note that the process runs; every entry point calls this before anything else.

        Returns True where it has just found that the process stood still.
        """
        gap = now - self._seen
        if gap > 0.0:
            self._seen = now
        if gap <= LONGEST_GAP or self._alone:
            if self._holds:
                self._expire(now)
            return False
        self._hold(None, HoldReason.STALL, gap, SILENCE, now)
        return True

    def carrier_returned(self, ifindex: int, outage: float, now: float) -> None:
        """The link `ifindex` has carrier again after `outage` seconds."""
        if outage > LONGEST_GAP and not self._alone:
            self._hold(ifindex, HoldReason.CARRIER, outage, SILENCE, now)

    def link_returned(self, ifindex: int, gap: float, now: float) -> None:
        """We heard nobody on the link for `gap` seconds, although we asked, and now do again."""
        if not self._alone and ifindex not in self._holds:
            self._hold(ifindex, HoldReason.ISOLATED, gap, BRIEF_SILENCE, now)

    def exchanged(self, began: float | None, now: float) -> None:
        """A state exchange was done that we began at `began`, or that a peer began (None).

        One begun before a hold is old news, and so may be what a peer sent into our sleep.
        """
        for key, hold in list(self._holds.items()):
            fresh = hold.reason is HoldReason.START if began is None else began >= hold.since
            if fresh:
                self._release(key, "exchange", now)

    def spoke(self, now: float) -> None:
        """Somebody answered without an exchange of state: it is not silent out there."""
        for hold in self._holds.values():
            hold.silent_at = max(hold.silent_at, now + hold.silence)

    def open(self, ifindex: int) -> bool:
        """Tell whether answers may flow on the link.

        Not before `events` has told of the release: an answer before our announcement would be a
        second one, beside that of whoever owned meanwhile and has not heard us yet.
        """
        keys = self._holds.keys() | self._released if self._released else self._holds
        return None not in keys and ifindex not in keys

    @property
    def held(self) -> bool:
        """Whether the whole process keeps quiet."""
        return None in self._holds

    def deadline(self) -> float:
        """When `tick` wants to be called next."""
        return min(
            self._seen + HEARTBEAT, *(hold.silent_at for hold in self._holds.values()), float("inf")
        )

    def events(self) -> list[ContactEvent]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        if self._released:
            self.changes += 1
            self._released.clear()
        return events

    def _hold(
        self, key: int | None, reason: HoldReason, gap: float, silence: float, now: float
    ) -> None:
        self.changes += 1
        self._holds[key] = _Hold(reason, now, now + silence, silence)
        self._events.append(Held(reason, key, gap))

    def _expire(self, now: float) -> None:
        for key in [key for key, hold in self._holds.items() if now >= hold.silent_at]:
            self._release(key, "silence", now)

    def _release(self, key: int | None, by: str, now: float) -> None:
        self.changes += 1
        hold = self._holds.pop(key)
        self._released.add(key)
        self._events.append(Released(hold.reason, key, by, now - hold.since))
