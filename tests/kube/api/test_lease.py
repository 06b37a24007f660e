"""One candidate for a Lease, and three of them in virtual time with all that can go wrong."""

import heapq
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kube.api.lease import (
    TRANSITIONS,
    Candidate,
    CreateLease,
    ImpossibleLeaseError,
    LeaseCause,
    LeaseFailure,
    LeaseRequest,
    LeaseState,
    LeaseTiming,
    ReadLease,
    UpdateLease,
)
from kube.objects.coordination import Lease, LeaseRecord

WALL = datetime(2026, 1, 1, tzinfo=UTC)
OTHER = LeaseRecord("other", 10, "a", "r1", 3)
TIMING = LeaseTiming()


def lease(version: int, record: LeaseRecord) -> Lease:
    return Lease("ns", "l", str(version), record)


def candidate(now: float = 100.0, seed: int = 1) -> Candidate:
    return Candidate("me", TIMING, random.Random(seed), now)


def asked(one: Candidate, now: float) -> LeaseRequest:
    """The request that is due at that time."""
    one.handle_timeout(now)
    (request,) = one.requests(WALL)
    return request


def write(one: Candidate, now: float) -> LeaseRecord:
    request = asked(one, now)
    assert isinstance(request, CreateLease | UpdateLease)
    return request.record


def state(one: Candidate) -> LeaseState:
    """What it is now; a checker of types takes an attribute to stay as it was."""
    return one.state


def holding(now: float = 100.0) -> Candidate:
    """A candidate whose write was sent at `now` and answered at once."""
    one = candidate(now - 1.0)
    one.handle_watched(lease(5, LeaseRecord()), now - 1.0)
    record = write(one, now)
    one.handle_written(lease(6, record), now)
    assert one.changes() == [True]
    return one


# ---- the table


@pytest.mark.parametrize("state", LeaseState)
@pytest.mark.parametrize("cause", LeaseCause)
def test_every_cell_of_the_table(state: LeaseState, cause: LeaseCause) -> None:
    one = candidate()
    one.state = state
    if cause not in TRANSITIONS[state]:
        with pytest.raises(ImpossibleLeaseError):
            one._move(cause)
        return
    one._move(cause)
    assert one.state is TRANSITIONS[state][cause]
    was, leads = state is LeaseState.HOLDING, one.state is LeaseState.HOLDING
    assert one.changes() == ([leads] if was is not leads else [])


# ---- one candidate


def test_waits_for_the_watch_before_it_reads() -> None:
    one = candidate(100.0)
    assert one.deadline() == 101.0
    one.handle_timeout(100.9)
    assert one.requests(WALL) == []
    assert asked(one, 101.0) == ReadLease()
    assert one.requests(WALL) == []


def test_creates_what_is_not_there() -> None:
    one = candidate(100.0)
    one.handle_watched(None, 100.0)
    assert asked(one, 100.0) == ReadLease()
    one.handle_read(None, 100.1)
    request = asked(one, 100.4)
    assert isinstance(request, CreateLease)
    assert request.record.holder == "me"
    assert request.record.duration == 10
    assert request.record.transitions == 0
    assert request.record.acquired == request.record.renewed == "2026-01-01T00:00:00.000000Z"
    one.handle_written(lease(1, request.record), 100.5)
    assert one.leading(100.5)


def test_holder_renews_and_keeps_when_it_acquired() -> None:
    one = holding(100.0)
    one.handle_timeout(101.9)
    assert one.requests(WALL) == []
    request = asked(one, 102.0)
    assert isinstance(request, UpdateLease)
    assert request.version == "6"
    assert request.record.acquired == "2026-01-01T00:00:00.000000Z"
    assert request.record.renewed == "2026-01-01T00:00:00.000001Z", "no two writes say the same"
    assert request.record.transitions == 1


def test_lease_counts_from_the_sending_and_ends_a_margin_early() -> None:
    one = holding(100.0)
    record = write(one, 102.0)
    one.handle_written(lease(7, record), 104.5)
    assert one.leading(110.9)
    assert not one.leading(111.0)
    assert one.deadline() == 104.0, "the next renewal is due since then"


def test_stopped_process_finds_that_it_does_not_lead_and_both_changes_are_told() -> None:
    one = holding(100.0)
    assert not one.leading(160.0), "before any input"
    record = write(one, 160.0)
    assert one.state is LeaseState.LAPSED
    one.handle_written(lease(7, record), 160.1)
    assert one.leading(160.1)
    assert one.changes() == [False, True]


def test_answer_that_comes_after_its_lease_would_have_ended_does_not_count() -> None:
    one = holding(100.0)
    record = write(one, 102.0)
    one.handle_written(lease(7, record), 111.0)
    assert not one.leading(111.0)
    assert one.changes() == [False]


def test_renewal_without_answer_counts_when_it_is_seen() -> None:
    one = holding(100.0)
    record = write(one, 102.0)
    one.handle_failure(LeaseFailure.UNKNOWN, 105.0)
    one.handle_watched(lease(7, record), 105.1)
    assert one.leading(110.9)
    assert not one.leading(111.0)


def test_follower_waits_a_whole_duration_from_the_last_change_that_it_saw() -> None:
    one = candidate(100.0)
    one.handle_watched(lease(5, OTHER), 100.0)
    renewed = msgspec.structs.replace(OTHER, renewed="r2")
    one.handle_watched(lease(6, renewed), 102.0)
    # A label is no renewal.
    one.handle_watched(lease(7, renewed), 108.0)
    while one.state is LeaseState.FOLLOWING:
        due = one.deadline()
        assert due is not None
        one.handle_timeout(due)
        for request in one.requests(WALL):
            assert request == ReadLease()
            one.handle_read(lease(7, renewed), due + 0.01)
    due = one.deadline()
    assert due is not None
    assert 112.0 <= due <= 112.2 + TIMING.retry
    request = asked(one, due)
    assert isinstance(request, UpdateLease)
    assert (request.version, request.record.transitions) == ("7", 4)


def test_empty_holder_is_followed_within_the_jitter() -> None:
    one = candidate(100.0)
    one.handle_watched(lease(5, OTHER), 100.0)
    one.handle_watched(lease(6, LeaseRecord("", 1, "a", "r2", 3)), 101.0)
    due = one.deadline()
    assert due is not None
    assert 101.0 <= due <= 101.2


def test_who_is_refused_reads_unless_the_watch_was_faster() -> None:
    for watched in (False, True):
        one = candidate(100.0)
        one.handle_watched(lease(5, LeaseRecord()), 100.0)
        write(one, 100.3)
        one.handle_failure(LeaseFailure.CONFLICT, 100.4)
        if watched:
            one.handle_watched(lease(6, OTHER), 100.41)
            assert one.deadline() == 105.41
        else:
            assert asked(one, 100.6) == ReadLease()


def test_older_news_are_none() -> None:
    one = holding(100.0)
    one.handle_watched(lease(5, OTHER), 100.5)
    assert one.leading(100.5)
    one.handle_watched(lease(7, OTHER), 100.6)
    assert not one.leading(100.6)


def test_restored_store_with_lower_versions_is_believed_by_reading() -> None:
    one = holding(100.0)
    write(one, 102.0)
    one.handle_failure(LeaseFailure.CONFLICT, 102.1)
    assert asked(one, 102.3) == ReadLease()
    one.handle_read(lease(2, OTHER), 102.4)
    assert not one.leading(102.4)
    assert one.state is LeaseState.FOLLOWING


def test_lease_that_is_deleted_under_a_holder_may_not_be_taken_before_its_end() -> None:
    one = candidate(100.0)
    one.handle_watched(lease(5, OTHER), 100.0)
    one.handle_watched(None, 101.0)
    assert asked(one, 101.0) == ReadLease()
    one.handle_read(None, 101.1)
    assert state(one) is LeaseState.FOLLOWING
    one.handle_timeout(110.0)
    assert state(one) is LeaseState.VACANT
    one.handle_read(None, 110.1)
    assert isinstance(asked(one, 111.2), CreateLease)


def test_steady_follower_asks_nothing_and_a_deaf_one_reads() -> None:
    one = candidate(100.0)
    for tick in range(50):
        now = 100.0 + 2.0 * tick
        one.handle_watched(lease(5 + tick, msgspec.structs.replace(OTHER, renewed=f"{tick}")), now)
        one.handle_timeout(now + 1.9)
        assert one.requests(WALL) == []
    reads = 0
    for tick in range(100):
        now = 200.0 + 0.5 * tick
        one.handle_timeout(now)
        for _ in one.requests(WALL):
            reads += 1
            record = msgspec.structs.replace(OTHER, renewed=f"late{tick // 4}")
            one.handle_read(lease(1000 + tick, record), now)
    assert one.state is LeaseState.FOLLOWING
    assert 40 <= reads <= 100


def test_duration_of_the_record_counts_within_bounds() -> None:
    for said, counts in ((3, 3), (0, 10), (-5, 10), (2**31 - 1, 60)):
        one = candidate(100.0)
        one.handle_watched(lease(5, msgspec.structs.replace(OTHER, duration=said)), 100.0)
        one.handle_timeout(100.0 + counts - 0.01)
        assert state(one) is LeaseState.FOLLOWING
        one.handle_timeout(100.0 + counts)
        assert state(one) is LeaseState.VACANT


def test_transitions_begin_anew_after_the_highest_number() -> None:
    one = candidate(100.0)
    one.handle_watched(lease(5, LeaseRecord(transitions=2**31 - 1)), 100.0)
    assert write(one, 100.3).transitions == 0


def test_refusals_are_asked_less_and_less_often() -> None:
    one = candidate(0.0)
    now, requests = 0.0, 0
    while now < 600.0:
        due = one.deadline()
        assert due is not None
        now = max(now, due)
        one.handle_timeout(now)
        for _ in one.requests(WALL):
            requests += 1
            one.handle_failure(LeaseFailure.REFUSED, now)
    assert requests < 140


@pytest.mark.parametrize(
    "wrong",
    [{"duration": 0}, {"duration": 61}, {"margin": 8.0}, {"margin": -1.0}, {"retry": 0.0}],
)
def test_times_that_cannot_work_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="lease"):
        LeaseTiming(**wrong)  # type: ignore[arg-type]


def test_empty_identity_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody"):
        Candidate("", TIMING, random.Random(1), 0.0)


# ---- letting go


def test_release_writes_nobody_for_one_second() -> None:
    one = holding(100.0)
    one.release(101.0)
    assert not one.leading(101.0)
    assert one.changes() == [False]
    request = asked(one, 101.0)
    assert isinstance(request, UpdateLease)
    assert request.version == "6"
    assert (request.record.holder, request.record.duration) == ("", 1)
    one.handle_written(lease(7, request.record), 101.1)
    assert one.released
    assert one.deadline() is None


def test_release_waits_for_the_renewal_that_is_under_way() -> None:
    one = holding(100.0)
    record = write(one, 102.0)
    one.release(102.1)
    assert one.requests(WALL) == []
    one.handle_written(lease(7, record), 102.2)
    request = asked(one, 102.2)
    assert isinstance(request, UpdateLease)
    assert (request.version, request.record.holder) == ("7", "")


def test_follower_has_nothing_to_release() -> None:
    one = candidate(100.0)
    one.handle_watched(lease(5, OTHER), 100.0)
    one.release(101.0)
    assert one.released


@pytest.mark.parametrize(
    "failure", [LeaseFailure.CONFLICT, LeaseFailure.REFUSED, LeaseFailure.UNKNOWN]
)
def test_release_never_writes_on_the_lease_of_another(failure: LeaseFailure) -> None:
    one = candidate(100.0)
    one.handle_watched(lease(5, OTHER), 100.0)
    one.handle_timeout(110.0)
    while not isinstance(asked(one, 112.0), UpdateLease):
        one.handle_read(lease(5, OTHER), 112.0)
    one.release(112.0)
    one.handle_failure(failure, 112.1)
    while not one.released:
        assert asked(one, 115.0) == ReadLease()
        one.handle_read(lease(6, OTHER), 115.0)


def test_release_whose_answer_is_lost_is_looked_after() -> None:
    one = holding(100.0)
    one.release(101.0)
    record = write(one, 101.0)
    one.handle_failure(LeaseFailure.UNKNOWN, 101.5)
    assert asked(one, 102.6) == ReadLease()
    one.handle_read(lease(7, record), 102.7)
    assert one.released


# ---- three of them


class World:
    """A server that refuses stale versions, a network that loses, and three with clocks of theirs.

    Times are real seconds; a candidate is told those of its own clock only.
    """

    def __init__(self, seed: int, make: Callable[..., Candidate] = Candidate, **timing: float):
        self.rng = random.Random(seed)
        self.now = 0.0
        self._order = count()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self.version, self.stored = 1, LeaseRecord()
        self.timing = LeaseTiming(**timing)  # type: ignore[arg-type]
        self.names = ["a", "b", "c"]
        rates = [0.99, 1.01, self.rng.uniform(0.99, 1.01)]
        self.rng.shuffle(rates)
        self.rate = dict(zip(self.names, rates, strict=True))
        self.stopped_until = dict.fromkeys(self.names, 0.0)
        self.deaf_until = dict.fromkeys(self.names, 0.0)
        self.watch_at = dict.fromkeys(self.names, 0.0)
        self.troubled_until = 0.0
        self.terms = 0
        self.lives = 0
        self._make = make
        self.most = 0
        self.all = {
            name: make(name, self.timing, random.Random(seed + number), self.local(name))
            for number, name in enumerate(self.names)
        }

    def local(self, name: str) -> float:
        return 1000.0 + self.now * self.rate[name]

    def at(self, time: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (time, next(self._order), what))

    def run(self, until: float) -> None:
        for name in self.names:
            self._tell(name)
            self._settle(name)
        self.at(self.rng.uniform(5.0, 15.0), self._trouble)
        while self._queue[0][0] < until:
            self.now, _, what = heapq.heappop(self._queue)
            what()
            leading = [n for n in self.names if self.all[n].leading(self.local(n))]
            self.most = max(self.most, len(leading))

    def _trouble(self) -> None:
        """Stop one, make a watch silent, have the network lose a lot; or one lets go."""
        name, length = self.rng.choice(self.names), self.rng.uniform(1.0, 25.0)
        kind = self.rng.randrange(5)
        if kind == 0:
            self.stopped_until[name] = self.now + length
        elif kind == 1:
            self.deaf_until[name] = self.now + length
            self.at(self.now + length + 0.1, lambda: self._tell(name))
        elif kind == 2:
            self.troubled_until = self.now + length
        elif kind == 3 and self.stored.holder:
            self.stopped_until[self.stored.holder[0]] = self.now + length
        else:
            self._input(name, lambda now: self.all[name].release(now))
        self.at(self.now + self.rng.uniform(3.0, 30.0), self._trouble)

    def _input(self, name: str, what: Callable[[float], None]) -> None:
        """Have it now, or when the process goes on."""
        wake = self.stopped_until[name]
        if wake > self.now:
            self.at(wake + self.rng.uniform(0.0, 0.01), lambda: self._input(name, what))
            return
        what(self.local(name))
        self._settle(name)

    def _settle(self, name: str) -> None:
        one = self.all[name]
        self.terms += one.changes().count(True)
        for request in one.requests(WALL + timedelta(seconds=self.now)):
            self._send(name, request)
        if one.released:
            self._restart(name)
            return
        due = one.deadline()
        if due is None:
            return
        real = max(self.now, (due - 1000.0) / self.rate[name]) + 1e-6

        def tick() -> None:
            if one.deadline() == due:
                self._input(name, one.handle_timeout)

        self.at(real, tick)

    def _restart(self, name: str) -> None:
        """After one that has let go comes another, who knows nothing of its life."""
        self.lives += 1
        rng = random.Random(self.rng.random())
        self.all[name] = self._make(f"{name}{self.lives}", self.timing, rng, self.local(name))
        self._tell(name)
        self._settle(name)

    def _send(self, name: str, request: LeaseRequest) -> None:
        trouble = self.now < self.troubled_until
        there = self.rng.uniform(0.001, 4.0 if trouble else 0.05)
        back = self.rng.uniform(0.001, 4.0 if trouble else 0.05)
        lost_there = trouble and self.rng.random() < 0.3
        lost_back = trouble and self.rng.random() < 0.4
        one, answered = self.all[name], [False]

        def answer(what: Callable[[float], None]) -> None:
            if not answered[0]:
                answered[0] = True
                self._input(name, what)

        def arrive() -> None:
            what = self._serve(one, request)
            if not lost_back:
                self.at(self.now + back, lambda: answer(what))

        def give_up() -> None:
            answer(lambda now: one.handle_failure(LeaseFailure.UNKNOWN, now))

        if not lost_there:
            self.at(self.now + there, arrive)
        self.at(self.now + self.timing.timeout / self.rate[name], give_up)

    def _serve(self, one: Candidate, request: LeaseRequest) -> Callable[[float], None]:
        if isinstance(request, UpdateLease):
            if request.version != str(self.version):
                return lambda now: one.handle_failure(LeaseFailure.CONFLICT, now)
            self.version, self.stored = self.version + 1, request.record
            written = lease(self.version, self.stored)
            for name in self.names:
                self._tell(name)
            return lambda now: one.handle_written(written, now)
        assert isinstance(request, ReadLease)
        found = lease(self.version, self.stored)
        return lambda now: one.handle_read(found, now)

    def _tell(self, name: str) -> None:
        """Bring the watch of one the lease as it is, in order."""
        if self.now < self.deaf_until[name]:
            return
        found = lease(self.version, self.stored)
        self.watch_at[name] = max(self.watch_at[name], self.now + self.rng.uniform(0.001, 0.3))
        one = self.all[name]
        self.at(
            self.watch_at[name],
            lambda: self._input(name, lambda now: one.handle_watched(found, now)),
        )


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_never_two_lead_at_one_moment(seed: int) -> None:
    world = World(seed)
    world.run(300.0)
    assert world.most == 1
    # Somebody does, too.
    assert world.terms >= 1


class FromTheAnswer(Candidate):
    """Counts its lease from the answer."""

    def _take(self, sent_at: float) -> None:
        super()._take(self._now)


class Hasty(Candidate):
    """Believes that another's lease ends a little earlier."""

    def _ends_at(self) -> float:
        return super()._ends_at() - 2.0


class Blind(Candidate):
    """Takes what it tried to write for written, whatever is stored."""

    def handle_failure(self, failure: LeaseFailure, now: float, retry_after: float = 0.0) -> None:
        if self._sent is not None and failure is LeaseFailure.UNKNOWN:
            self.handle_written(lease(int(self._version), self._sent.record), now)
        else:
            super().handle_failure(failure, now, retry_after)


@pytest.mark.parametrize("wrong", [FromTheAnswer, Hasty, Blind])
def test_simulation_finds_a_wrong_rule(wrong: type[Candidate]) -> None:
    for seed in range(150):
        world = World(seed, wrong)
        world.run(300.0)
        if world.most > 1:
            return
    pytest.fail("three who follow a wrong rule never led at one time")


def test_simulation_finds_a_margin_that_clocks_use_up() -> None:
    for seed in range(150):
        world = World(seed, margin=0.0)
        world.run(300.0)
        if world.most > 1:
            return
    pytest.fail("clocks whose rates differ by 2 % need no margin")


def test_the_age_of_a_lease_is_counted_from_its_last_change() -> None:
    one = candidate(100.0)
    one.handle_watched(lease(1, OTHER), 101.0)
    assert (one.age(103.5), one.transitions) == (2.5, 3)
    one.handle_watched(lease(2, OTHER), 104.0)
    assert one.age(105.0) == 4.0
    one.handle_watched(lease(3, LeaseRecord("other", 10, "a", "r2", 3)), 106.0)
    assert one.age(106.0) == 0.0
