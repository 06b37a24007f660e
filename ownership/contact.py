"""Contact before claim: a speaker that may be behind the times answers for nothing.

At start, after the process stood still, and on a link that had no carrier or on which nobody was
heard, what this node believes about ownership may be old: others may have taken its IPs over. It
keeps quiet until a peer that it asked has it in its table, or until nobody has spoken for a while,
so that nobody is there. Being answered is not enough: peers answer one whom they hold dead, too,
and one whose name belongs to another node.
"""

from dataclasses import dataclass

from ownership.io import Held, HoldReason, Released

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
UNASKED = 2
"""A hold lasts so many times the silence, and no longer, for what others begin by themselves:
whoever is there answers us meanwhile, and what was recorded can be played for ever."""
SEEK_INTERVAL, SEEK_SLOWLY, QUICK_SEEKS = 0.1, 1.0, 5
"""Seconds between two exchanges that are sought while held, and how many of them are so close."""
SEEK_AGAIN = 0.02
"""The same after an exchange in which a peer did not know us: by our own request it does now."""


ContactEvent = Held | Released


@dataclass(slots=True)
class _Hold:
    reason: HoldReason
    since: float
    silent_at: float
    silence: float
    listens: float
    """Since when its silence counts."""
    seek_at: float
    sought: int = 0

    @property
    def unasked_until(self) -> float:
        """Until when somebody who was not asked can be taken for one who is there."""
        return self.listens + UNASKED * self.silence


class Contact:
    """Keeps the holds: one for the whole process (key None), one for each link (its index)."""

    def __init__(self, now: float, alone: bool = False) -> None:
        """Begin held, until `note_seeking` and longer; `alone` (no gossip): nobody to wait for."""
        self._seen = now
        self._holds: dict[int | None, _Hold] = {}
        self._events: list[ContactEvent] = []
        self._alone = alone
        self._released: set[int | None] = set()
        self._silent: list[int | None] = []
        self.changes = 0
        """Grows whenever `open` may say something else than before."""
        if not alone:
            self._hold(None, HoldReason.START, 0.0, float("inf"), now)
            self._holds[None].seek_at = float("inf")

    def note_seeking(self, now: float) -> None:
        """The seeds are asked from now on: their silence counts."""
        hold = self._holds.get(None)
        if hold is not None and hold.reason is HoldReason.START:
            hold.silence, hold.silent_at = START_SILENCE, now + START_SILENCE
            hold.listens = now
            hold.seek_at = now + SEEK_INTERVAL

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

    def handle_carrier_return(self, ifindex: int, outage: float, now: float) -> None:
        """The link `ifindex` has carrier again after `outage` seconds."""
        if outage > LONGEST_GAP and not self._alone:
            self._hold(ifindex, HoldReason.CARRIER, outage, SILENCE, now)

    def handle_link_return(self, ifindex: int, gap: float, now: float) -> None:
        """We heard nobody on the link for `gap` seconds, although we asked, and now do again."""
        if not self._alone and ifindex not in self._holds:
            silence = BRIEF_SILENCE if gap <= LONGEST_GAP else SILENCE
            self._hold(ifindex, HoldReason.ISOLATED, gap, silence, now)

    def handle_name_conflict(self, now: float) -> None:
        """An older node has our name, so that peers mean it by what they say of us."""
        hold = self._holds.get(None)
        if hold is None or hold.reason is not HoldReason.NAME_TAKEN:
            self._hold(None, HoldReason.NAME_TAKEN, 0.0, START_SILENCE, now)
        else:
            self.handle_sign_of_life(now)

    def handle_exchange(self, began: float | None, known: bool, now: float) -> None:
        """A state exchange was done that we began at `began`, or that a peer began (None); `known`:
        the peer had us in its table, living, at our address.

        One begun before a hold is old news, and so may be what a peer sent into our sleep, or what
        somebody has recorded: it delays the end of a hold for a while and ends none.
        """
        for key, hold in list(self._holds.items()):
            if known and began is not None and began >= hold.since:
                self._release(key, "exchange", now)
            elif began is not None and hold.sought <= QUICK_SEEKS:
                hold.seek_at = min(hold.seek_at, now + SEEK_AGAIN)
        self.handle_sign_of_life(now, asked=began is not None)

    def handle_sign_of_life(self, now: float, *, asked: bool = True) -> None:
        """Somebody answered without an exchange of state, or spoke without being `asked`: it is not
        silent out there."""
        for hold in self._holds.values():
            until = now + hold.silence
            if not asked:
                until = min(until, hold.unasked_until)
            hold.silent_at = max(hold.silent_at, until)

    def seeks(self, now: float) -> bool:
        """Tell whether an exchange is to be begun now; true once each time one is due."""
        due = [hold for hold in self._holds.values() if now >= hold.seek_at]
        for hold in due:
            hold.sought += 1
            slow = hold.sought > QUICK_SEEKS
            hold.seek_at = now + (SEEK_SLOWLY if slow else SEEK_INTERVAL)
        return bool(due)

    def open(self, ifindex: int) -> bool:
        """Tell whether answers may flow on the link.

        Not before `events` has told of the release: an answer before our announcement would be a
        second one, beside that of whoever owned meanwhile and has not heard us yet.
        """
        keys = self._holds.keys() | self._released if self._released else self._holds
        return None not in keys and ifindex not in keys

    @property
    def holding(self) -> bool:
        """Whether anything is held back, here or on a link, or was until a moment ago."""
        return bool(self._holds or self._released)

    @property
    def held(self) -> HoldReason | None:
        """Why the whole process keeps quiet; None where it does not."""
        hold = self._holds.get(None)
        return None if hold is None else hold.reason

    def deadline(self) -> float:
        """When `tick`, and `seeks` after it, want to be called next."""
        times = (min(hold.silent_at, hold.seek_at) for hold in self._holds.values())
        return min(self._seen + HEARTBEAT, *times, float("inf"))

    def events(self) -> list[ContactEvent]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        if self._released:
            self.changes += 1
            self._released.clear()
        return events

    def silences(self) -> list[int | None]:
        """Drain the holds that ended since the last call as nobody spoke: what is taken up from
        now on is not confirmed by anybody. Ask before that, and before `events`."""
        silent, self._silent = self._silent, []
        return silent

    def _hold(
        self, key: int | None, reason: HoldReason, gap: float, silence: float, now: float
    ) -> None:
        self.changes += 1
        self._holds[key] = _Hold(reason, now, now + silence, silence, now, seek_at=now)
        self._events.append(Held(reason, key, gap))

    def _expire(self, now: float) -> None:
        for key in [key for key, hold in self._holds.items() if now >= hold.silent_at]:
            self._release(key, "silence", now)
            self._silent.append(key)

    def _release(self, key: int | None, by: str, now: float) -> None:
        self.changes += 1
        hold = self._holds.pop(key)
        self._released.add(key)
        self._events.append(Released(hold.reason, key, by, now - hold.since))
