"""Who leads, by one Lease: what we know of it, what we ask for, and until when we may write. Pure.

Times are seconds of a clock of our own that also runs while the machine is suspended. Others' times
are only text that changes: another's lease ends when its record has not changed for its duration by
our clock. Ours ends, for us, a margin before that can be so for anybody: it is counted from the
moment in which we sent the last renewal that succeeded, and nobody saw it before that.

The lease is in one of these states for us:

    UNSEEN ---- seen: --+--> FOLLOWING   another's    ---- unchanged for its duration ---> VACANT
                        +--> VACANT      nobody's     ---- our write succeeds -----------> HOLDING
                        +--> LAPSED      ours, but we may not write: a renewal makes it -> HOLDING
    HOLDING --- not renewed in time ---> LAPSED
    any ------- let go ----------------> RELEASING ---- nobody's, or another's ----------> RELEASED

What is seen moves it between the first five at any time; `TRANSITIONS` has all of it. Every write
names the version that it was decided on, so of two that want the lease one is refused. That is also
how a stale view ends: who is refused reads.

In a steady state a watch brings every change, and the one call is the holder's renewal. A watch
that is silent is not believed: after `silence` seconds the lease is read, and once a read finds
what the watch did not bring, it is read every `retry` seconds until the watch brings something.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from kube.api.backoff import LONGEST_DELAY, delay_after
from kube.objects.coordination import Lease, LeaseRecord

if TYPE_CHECKING:
    from random import Random

LONGEST_DURATION = 60
"""Seconds for which a record is believed that says longer: a typing error ends by itself."""
MOST_TRANSITIONS = 2**31 - 1
"""The API server takes no higher number; after it they begin anew."""
LONGEST_VERSION = 20
"""Digits of a resourceVersion that is compared as a number: it has 64 bits."""
SOON = 0.2
"""Seconds after which a refused writer reads, if the watch has not told it before."""


class LeaseState(StrEnum):
    """What the lease is for us."""

    UNSEEN = "unseen"
    FOLLOWING = "following"
    """Another's, and it may still renew it."""
    VACANT = "vacant"
    """Nobody's, as far as we can tell: we try to get it."""
    HOLDING = "holding"
    """Ours, for as long as `leading` says so."""
    LAPSED = "lapsed"
    """It names us and we may not write: it was not renewed in time, or an answer was lost."""
    RELEASING = "releasing"
    """We want it no more, and it may name us."""
    RELEASED = "released"
    """We want it no more, and it does not name us. Nothing comes after this."""


class LeaseCause(StrEnum):
    """What changes the state of the lease."""

    SEEN_OTHER = "seen_other"
    SEEN_VACANT = "seen_vacant"
    """There is none, or nobody holds it."""
    SEEN_OWN = "seen_own"
    """It names us."""
    OUTWAITED = "outwaited"
    """Another's record has not changed for its duration."""
    TAKEN = "taken"
    """Our write has succeeded, early enough to count."""
    OVERDUE = "overdue"
    """No renewal has succeeded in time."""
    LET_GO = "let_go"
    CLOSED = "closed"
    """There is nothing to release."""


_SEEN = {
    LeaseCause.SEEN_OTHER: LeaseState.FOLLOWING,
    LeaseCause.SEEN_VACANT: LeaseState.VACANT,
    LeaseCause.SEEN_OWN: LeaseState.LAPSED,
    LeaseCause.LET_GO: LeaseState.RELEASING,
}
_TAKEN = {LeaseCause.TAKEN: LeaseState.HOLDING}
TRANSITIONS: Mapping[LeaseState, Mapping[LeaseCause, LeaseState]] = {
    LeaseState.UNSEEN: _SEEN,
    LeaseState.FOLLOWING: {**_SEEN, **_TAKEN, LeaseCause.OUTWAITED: LeaseState.VACANT},
    LeaseState.VACANT: {**_SEEN, **_TAKEN},
    LeaseState.HOLDING: {
        **_SEEN,
        **_TAKEN,
        # Somebody edited it, or our own renewal shows in the watch before it is answered.
        LeaseCause.SEEN_OWN: LeaseState.HOLDING,
        LeaseCause.OVERDUE: LeaseState.LAPSED,
    },
    LeaseState.LAPSED: {**_SEEN, **_TAKEN},
    LeaseState.RELEASING: {
        LeaseCause.SEEN_OTHER: LeaseState.RELEASED,
        LeaseCause.SEEN_VACANT: LeaseState.RELEASED,
        LeaseCause.SEEN_OWN: LeaseState.RELEASING,
        LeaseCause.TAKEN: LeaseState.RELEASING,
        LeaseCause.LET_GO: LeaseState.RELEASING,
        LeaseCause.CLOSED: LeaseState.RELEASED,
    },
    LeaseState.RELEASED: {},
}


class ImpossibleLeaseError(RuntimeError):
    """A change that the table lacks."""


class LeaseFailure(StrEnum):
    """Why a request did not bring a lease."""

    CONFLICT = "conflict"
    """It has another version than we knew, or exists already."""
    MISSING = "missing"
    """There is no such lease."""
    REFUSED = "refused"
    """We may not, or what we wrote is not valid."""
    UNKNOWN = "unknown"
    """No answer in time, or a server error: what was asked may be done, or be done later."""


@dataclass(frozen=True, slots=True)
class LeaseFigures:
    """What metrics show of a lease."""

    states: Mapping[str, bool] = field(default_factory=dict)
    """All, and whether it is in this one."""
    age: float = 0.0
    """Seconds since its record last changed, as far as this replica saw."""
    transitions: int = 0
    """How often it has changed hands."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Requests in vain."""


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """The times of a lease, in seconds. Raises ValueError where they cannot keep one leader."""

    duration: int = 10
    renew: float = 2.0
    """From one renewal to the next."""
    retry: float = 1.0
    """From a failure to the next try, shortened by up to half by chance."""
    jitter: float = 0.2
    """At most so long does one wait, by chance, before it takes what is vacant."""
    margin: float = 1.0
    """By how much our lease ends earlier for us: the rates of two clocks may differ by a tenth."""
    timeout: float = 3.0
    """For an answer."""
    silence: float = 5.0
    """Without a change, after which the watch is not believed."""

    def __post_init__(self) -> None:
        if not 1 <= self.duration <= LONGEST_DURATION:
            raise ValueError(f"a lease lasts from 1 to {LONGEST_DURATION} seconds")
        if min(self.renew, self.retry, self.timeout, self.silence) <= 0.0:
            raise ValueError("the times of a lease are above 0")
        if not 0.0 <= self.margin < self.duration - self.renew:
            raise ValueError("a lease has to be renewed before it ends")


@dataclass(frozen=True, slots=True)
class ReadLease:
    """Read the lease: `handle_read` or `handle_failure` follows."""


@dataclass(frozen=True, slots=True)
class CreateLease:
    """Create the lease: `handle_written` or `handle_failure` follows."""

    record: LeaseRecord


@dataclass(frozen=True, slots=True)
class UpdateLease:
    """Write the lease if it still has this version; the same follows."""

    version: str
    record: LeaseRecord


LeaseRequest = ReadLease | CreateLease | UpdateLease


@dataclass(frozen=True, slots=True)
class _Sent:
    """The last write: what it says, and when it left at the earliest."""

    record: LeaseRecord
    at: float


class Candidate:
    """One who wants to lead. `identity` is of this process alone: a restart is somebody else.

    One request is under way at a time. No input raises for what others wrote in the lease.
    """

    def __init__(self, identity: str, timing: LeaseTiming, rng: "Random", now: float) -> None:
        """Wait for what the watch brings first; after `timing.retry` seconds read."""
        if not identity:
            raise ValueError("an empty identity means that nobody holds a lease")
        self.state = LeaseState.UNSEEN
        self._identity, self._timing, self._rng = identity, timing, rng
        self._now = now
        self._record, self._version = LeaseRecord(), ""
        self._changed_at = now
        """When the record last changed, as far as we saw."""
        self._held_until = now
        self._due: float = now + timing.retry
        """When the next request is wanted."""
        self._asked: LeaseRequest | None = None
        self._asked_version = ""
        self._sent: _Sent | None = None
        """The last write, until its answer is known."""
        self._unsure = False
        """Whether what we know cannot be written on: it was refused, or is said to be gone."""
        self._deaf = False
        """Whether a read found what the watch had not brought."""
        self._refusals = 0
        self._wall = datetime.min.replace(tzinfo=UTC)
        self._changes: list[bool] = []

    # ---- what is asked of it

    def leading(self, now: float) -> bool:
        """Tell whether we may write: nobody else can lead before this ends."""
        return self.state is LeaseState.HOLDING and now < self._held_until

    @property
    def released(self) -> bool:
        """Whether all is done."""
        return self.state is LeaseState.RELEASED

    @property
    def holder(self) -> str:
        """Who holds the lease by the last record; empty for nobody, or while nothing is known."""
        return self._record.holder

    @property
    def transitions(self) -> int:
        """How often the lease has changed hands, by the last record."""
        return self._record.transitions

    def age(self, now: float) -> float:
        """Return the seconds since the record last changed, as far as we saw."""
        return max(0.0, now - self._changed_at)

    def deadline(self) -> float | None:
        """Return when `handle_timeout` is due; None where only an answer can change anything."""
        if self.released:
            return None
        times = [] if self._asked else [self._due]
        if self.state is LeaseState.HOLDING:
            times.append(self._held_until)
        elif self.state is LeaseState.FOLLOWING:
            times.append(self._ends_at())
        return min(times, default=None)

    def requests(self, wall: datetime) -> list[LeaseRequest]:
        """Drain what to send now, one at most. `wall` is the time of day, with its zone."""
        if self.released or self._asked or self._due > self._now:
            return []
        self._asked, self._asked_version = self._next_request(wall), self._version
        if not isinstance(self._asked, ReadLease):
            # Before it is sent in truth: the lease may only seem shorter to us than it is.
            self._sent = _Sent(self._asked.record, self._now)
        return [self._asked]

    def changes(self) -> list[bool]:
        """Drain what became of us: True where we lead from then on, False where no more.

        A lease that ended and was taken again gives both: others may have written in between.
        """
        changes, self._changes = self._changes, []
        return changes

    # ---- what happens to it

    def handle_timeout(self, now: float) -> None:
        """Let end what has ended; harmless if called early."""
        self._now = now
        if self.state is LeaseState.HOLDING and now >= self._held_until:
            self._move(LeaseCause.OVERDUE)
        elif self.state is LeaseState.FOLLOWING and now >= self._ends_at():
            self._move(LeaseCause.OUTWAITED)
            self._due = min(self._due, now + self._jitter())

    def handle_watched(self, lease: Lease | None, now: float) -> None:
        """The watch, or a list, has it so. It may be older than what we know, and is no news then.

        That there is none (None) has no version to tell its age, so it is read.
        """
        self.handle_timeout(now)
        if self.released:
            return
        if lease is None:
            self._unsure, self._due = True, now
        elif not _older(lease.version, self._version):
            self._deaf = False
            if lease.version != self._version:
                self._observe(lease)

    def handle_read(self, lease: Lease | None, now: float) -> None:
        """The answer to `ReadLease`: how it is, or that there is none."""
        self.handle_timeout(now)
        self._asked = None
        if self.released:
            return
        if lease is None:
            self._observe_none()
            return
        self._due = now + self._pause()
        # Versions fall where the server's store was restored: then the older one is the truth. But
        # the watch may have overtaken the answer.
        if self._version != self._asked_version and _older(lease.version, self._version):
            return
        following = self.state is LeaseState.FOLLOWING
        self._deaf |= following and lease.record != self._record
        self._observe(lease)

    def handle_written(self, lease: Lease, now: float) -> None:
        """The answer to `CreateLease` and `UpdateLease`: the lease as it is stored."""
        self.handle_timeout(now)
        self._asked = None
        if not self.released and not _older(lease.version, self._version):
            self._observe(lease, written=True)

    def handle_failure(self, failure: LeaseFailure, now: float, retry_after: float = 0.0) -> None:
        """The request failed; `retry_after` is what the server asked for, in seconds, or 0."""
        self.handle_timeout(now)
        asked, self._asked = self._asked, None
        if self.released:
            return
        if failure is LeaseFailure.MISSING:
            self._observe_none()
        elif failure is LeaseFailure.CONFLICT:
            self._unsure = True
            self._due = now + self._rng.uniform(0.5, 1.0) * SOON
        elif failure is LeaseFailure.REFUSED:
            self._refusals += 1
            longer = delay_after(self._refusals, retry_after, self._rng.uniform(0.5, 1.0))
            self._due = now + max(longer, self._pause())
        else:
            # Whether a write counts matters to one who lets go; any other finds out by the next.
            self._unsure |= self.state is LeaseState.RELEASING and not isinstance(asked, ReadLease)
            self._due = now + max(self._pause(), min(retry_after, LONGEST_DELAY))
        self._close_if_free()

    def release(self, now: float) -> None:
        """Lead no more from now on, and have nobody wait for it; `released` tells the end of it.

        A request that is under way is waited for: it may be a renewal, and the lease ours by it.
        """
        self.handle_timeout(now)
        if self.state in (LeaseState.RELEASING, LeaseState.RELEASED):
            return
        self._move(LeaseCause.LET_GO)
        self._due = now
        self._unsure |= self._sent is not None and self._asked is None
        self._close_if_free()

    # ---- inside

    def _close_if_free(self) -> None:
        """Have done with it where nothing that we sent, or will send, can make it ours."""
        open_ends = self._asked is not None or self._unsure
        if self.state is LeaseState.RELEASING and not open_ends and not self._own:
            self._move(LeaseCause.CLOSED)

    def _observe(self, lease: Lease, *, written: bool = False) -> None:
        """Take a lease that is no older than what we know."""
        now, before = self._now, self._record
        self._version, self._record = lease.version, lease.record
        self._unsure, self._refusals = False, 0
        if lease.record != before:
            self._changed_at = now
        # No two writes say the same, so one whose answer was lost is known by what it says.
        if self._sent is not None and (written or lease.record == self._sent.record):
            sent, self._sent = self._sent, None
            if self._own:
                self._take(sent.at)
                return
        if self._own:
            self._see_own()
        elif lease.record.holder:
            self._see_other(changed=lease.record != before)
        else:
            self._see_vacant()

    def _observe_none(self) -> None:
        """There is no lease. Whoever held it, and was not us, may not know of that yet."""
        waiting = self.state in (LeaseState.FOLLOWING, LeaseState.VACANT)
        self._version, self._unsure, self._refusals = "", False, 0
        if waiting and self._record.holder and not self._own:
            self._due = max(self._due, self._now + self._pause())
            return
        self._record, self._sent = LeaseRecord(), None
        self._see_vacant()

    def _take(self, sent_at: float) -> None:
        """A write of ours that was sent at that time has succeeded."""
        self._held_until = sent_at + self._timing.duration - self._timing.margin
        if self._now >= self._held_until:
            self._see_own()
            return
        self._move(LeaseCause.TAKEN)
        self._due = self._now
        if self.state is LeaseState.HOLDING:
            self._due = sent_at + self._timing.renew

    def _see_own(self) -> None:
        self._move(LeaseCause.SEEN_OWN)
        if self.state is not LeaseState.HOLDING:
            self._due = min(self._due, self._now + self._jitter())

    def _see_other(self, *, changed: bool) -> None:
        self._move(LeaseCause.SEEN_OTHER)
        if self._deaf:
            self._due = self._now + self._pause()
        elif changed:
            self._due = self._changed_at + self._timing.silence

    def _see_vacant(self) -> None:
        self._move(LeaseCause.SEEN_VACANT)
        self._due = min(self._due, self._now + self._jitter())

    def _next_request(self, wall: datetime) -> LeaseRequest:
        if self._unsure or self.state in (LeaseState.UNSEEN, LeaseState.FOLLOWING):
            return ReadLease()
        # A write that changes nothing is none for the server, and an answer that was lost is known
        # by what it says: so no two say the same, whatever is done to the time of day.
        self._wall = max(wall, self._wall + timedelta(microseconds=1))
        renewed = _text(self._wall)
        if self.state is LeaseState.RELEASING:
            free = LeaseRecord("", 1, renewed, renewed, self._record.transitions)
            return UpdateLease(self._version, free)
        if not self._version:
            return CreateLease(self._own_record(renewed, renewed, 0))
        before = self._record
        if self._own:
            record = self._own_record(before.acquired or renewed, renewed, before.transitions)
        else:
            transitions = before.transitions + 1 if before.transitions < MOST_TRANSITIONS else 0
            record = self._own_record(renewed, renewed, transitions)
        return UpdateLease(self._version, record)

    def _own_record(self, acquired: str, renewed: str, transitions: int) -> LeaseRecord:
        return LeaseRecord(self._identity, self._timing.duration, acquired, renewed, transitions)

    def _ends_at(self) -> float:
        """Tell when another's lease ends, by what its record says: that is what it counts on."""
        said = self._record.duration
        return self._changed_at + min(said if said > 0 else self._timing.duration, LONGEST_DURATION)

    @property
    def _own(self) -> bool:
        return self._record.holder == self._identity

    def _jitter(self) -> float:
        return self._rng.uniform(0.0, self._timing.jitter)

    def _pause(self) -> float:
        return self._timing.retry * self._rng.uniform(0.5, 1.0)

    def _move(self, cause: LeaseCause) -> None:
        """Change the state as the table says. Raises ImpossibleLeaseError where it cannot."""
        before, after = self.state, TRANSITIONS[self.state].get(cause)
        if after is None:
            raise ImpossibleLeaseError(f"the lease is {before}: {cause} cannot be")
        self.state = after
        if (before is LeaseState.HOLDING) is not (after is LeaseState.HOLDING):
            self._changes.append(after is LeaseState.HOLDING)


def _older(version: str, than: str) -> bool:
    """Tell whether it is the older of two resource versions of one resource."""
    texts = (version, than)
    if all(text.isascii() and text.isdecimal() and len(text) <= LONGEST_VERSION for text in texts):
        return int(version) < int(than)
    return False


def _text(wall: datetime) -> str:
    """Write a time as the API server does (MicroTime), so that what it stores is what we sent."""
    return wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
