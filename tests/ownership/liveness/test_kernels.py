"""The watch on kernels, in virtual time: a wire on which hosts answer or do not."""

import random
from ipaddress import IPv4Address
from itertools import pairwise

import pytest

from echo_wire import ETH0, GATEWAY, IPS, TIMING, B, C, D, Wire, silent_from
from ownership.liveness.kernels import (
    FEWEST_IN_VAIN,
    FEWEST_REQUESTS,
    LONG_DOUBT,
    MOST_CHECKS,
    SLOWEST,
    Kernels,
)
from ownership.liveness.targets import KernelState, LinkReturned, TargetKey

# ---- how often, and how long


def test_the_numbers_follow_from_failover_after() -> None:
    """100 ms, and three misses."""
    found = TIMING.interval, TIMING.patience, TIMING.retry, TIMING.isolated, TIMING.mourning
    assert found == pytest.approx((0.1, 0.3, 0.025, 0.25, 0.1))


def test_who_answers_is_asked_every_100_ms_and_the_unwatched_not_at_all() -> None:
    wire = Wire()
    wire.run(11.0)
    for key in (B, C):
        assert len(wire.times(key, 1.0, 11.0)) == pytest.approx(100, abs=1)
    # Once at the start, to learn that it answers at all.
    assert len(wire.times(D, 0.0, 11.0)) == 1
    assert wire.missed == []


@pytest.mark.parametrize("later", [0.02, 0.04, 0.06, 0.08])
def test_who_came_later_is_asked_together_with_the_others(later: float) -> None:
    """Ten times a second we wake to ask, however many there are to be asked."""
    wire = Wire(nodes=(B,))
    wire.run(5.0)
    met = wire.sent[-1][0] + later
    wire.watch.set_targets({B: IPS[B], C: IPS[C]}, {}, met)
    wire.watch.check("c", met)
    wire.run(met + 10.0)
    times = [at for at, _ in wire.sent if at >= met + 1.0]
    assert len(set(times)) == pytest.approx(90, abs=1)
    assert wire.times(B, met + 1.0, met + 10.0) == wire.times(C, met + 1.0, met + 10.0)


@pytest.mark.parametrize("phase", [0.0, 0.03, 0.06, 0.09])
def test_a_dead_node_is_missed_within_failover_after_and_a_round(phase: float) -> None:
    died = 5.0 + phase
    wire = Wire(silent_from(died, B))
    wire.run(6.0)
    [(at, who)] = wire.missed
    assert who == B
    assert TIMING.patience <= at - died <= TIMING.patience + TIMING.interval + 2 * TIMING.retry
    assert len(wire.times(B, died, at)) >= max(3, FEWEST_REQUESTS)


@pytest.mark.parametrize("outage", [0.1, 0.25])
def test_a_blink_moves_nothing(outage: float) -> None:
    wire = Wire(silent_from(5.0, B, until=5.0 + outage))
    wire.run(7.0)
    assert wire.missed == []


def test_random_loss_of_one_in_five_misses_nobody_in_ten_minutes() -> None:
    chance = random.Random(1)
    wire = Wire(lambda key, now: now < 1.0 or chance.random() >= 0.185)
    wire.run(600.0)
    assert wire.missed == []


def test_one_that_never_answered_is_not_missed_and_asked_ever_less() -> None:
    """Where a firewall drops ICMP nobody is to be declared dead; and everybody asks it."""
    wire = Wire(silent_from(0.0, B))
    wire.run(600.0)
    assert wire.missed == []
    steps = [later - before for before, later in pairwise(wire.times(B, 0.0, 600.0))]
    pauses = [1.0] * FEWEST_REQUESTS + [2.0, 4.0, 8.0, 16.0, 32.0] + [SLOWEST] * 8
    assert steps == pytest.approx(pauses, abs=1.1 * TIMING.interval)


def test_one_that_never_answered_is_unknown_until_it_was_asked_twice() -> None:
    wire = Wire(silent_from(0.0, B))
    assert wire.watch.kernel("b", ETH0, 0.0) is KernelState.UNKNOWN
    wire.run(0.9)
    assert len(wire.times(B, 0.0, 0.9)) == 1
    assert wire.watch.kernel("b", ETH0, 0.9) is KernelState.UNKNOWN
    wire.run(1.9)
    assert len(wire.times(B, 0.0, 1.9)) == FEWEST_IN_VAIN
    assert wire.watch.kernel("b", ETH0, 1.9) is KernelState.SILENT


def test_one_that_writes_but_never_answers_an_echo_is_not_missed() -> None:
    """The same: what its speaker says tells nothing about its firewall."""
    wire = Wire(silent_from(0.0, B))
    wire.run(1.0)
    assert wire.watch.handle_answer("b", IPS[B], 1.0) == [B]
    assert wire.watch.kernel("b", ETH0, 1.1) is KernelState.ANSWERS
    wire.run(10.0)
    assert wire.missed == []


def test_who_comes_back_is_missed_no_more() -> None:
    wire = Wire(silent_from(5.0, B, until=7.0))
    wire.run(6.9)
    assert wire.watch.missing() == {B}
    wire.run(7.2)
    assert wire.watch.missing() == frozenset()


def test_several_that_die_together_are_missed_together() -> None:
    wire = Wire(silent_from(5.0, B, C), nodes=(B, C, D))
    wire.watch.watch(frozenset({"b", "c", "d"}))
    wire.run(5.6)
    assert wire.watch.missing() == {B, C}


# ---- proof of one's own link


def test_nobody_is_missed_where_nobody_at_all_is_heard() -> None:
    """Our own cable may be what is cut: the next rule needs somebody else on that link."""
    wire = Wire(silent_from(5.0, B, C, D))
    wire.run(20.0)
    assert wire.missed == []


@pytest.mark.parametrize("proof", ["peer", "gateway"])
def test_one_other_answer_on_the_link_is_proof_enough(proof: str) -> None:
    silent = {"peer": (B,), "gateway": (B, C, D)}[proof]
    wire = Wire(silent_from(5.0, *silent), gateways=(GATEWAY,) if proof == "gateway" else ())
    wire.run(6.0)
    assert B in wire.watch.missing()


def run_with_frames(wire: Wire, end: float) -> None:
    """Let others' frames come in all the time, whatever becomes of ours."""
    while (now := wire.watch.deadline()) < end:
        wire.watch.handle_frames(ETH0, now)
        wire.step(now)


@pytest.mark.parametrize(("nodes", "missed"), [((B,), True), ((B, C), False)])
def test_a_frame_is_proof_only_where_nobody_else_ever_answered(
    nodes: tuple[TargetKey, ...], missed: bool
) -> None:
    """It proves that we hear, not that we are heard: whoever is mute would miss everybody."""
    wire = Wire(silent_from(5.0, B, C), nodes=nodes)
    run_with_frames(wire, 20.0)
    assert wire.watch.missing() == (frozenset(nodes) if missed else frozenset())


def test_a_gateway_that_answers_no_more_bears_witness_no_more() -> None:
    """Else nobody could be missed: then a frame has to do again."""
    wire = Wire(silent_from(5.0, GATEWAY), gateways=(GATEWAY,), nodes=(B,))
    wire.watch.watch(frozenset({"b"}), lonely=True)
    wire.run(6.0)
    assert wire.watch.answering(ETH0) == (1, 0)
    assert wire.missed == []
    wire.answers = silent_from(6.0, B, GATEWAY)
    run_with_frames(wire, 7.0)
    assert [who for _, who in wire.missed] == [B]


def test_a_voice_from_before_the_first_miss_proves_nothing() -> None:
    wire = Wire(silent_from(5.0, B, C, D))
    while (now := wire.watch.deadline()) < 20.0:
        if now < 5.0:
            wire.watch.handle_frames(ETH0, now)
        wire.step(now)
    assert wire.missed == []


def test_voices_on_another_link_prove_nothing() -> None:
    wire = Wire(silent_from(5.0, B, C, D))
    while (now := wire.watch.deadline()) < 8.0:
        wire.watch.handle_frames(ETH0 + 1, now)
        wire.step(now)
    assert wire.missed == []


def test_gateways_are_asked_only_in_doubt() -> None:
    wire = Wire(silent_from(5.0, B, until=6.0), gateways=(GATEWAY,))
    wire.run(20.0)
    # Once at the start, to know whether it would answer.
    assert len(wire.times(GATEWAY, 0.0, 5.0)) == 1
    assert len(wire.times(GATEWAY, 5.0, 5.4)) >= 3
    assert wire.times(GATEWAY, 7.0, 20.0) == []
    assert GATEWAY not in {key for _, key in wire.missed}


# ---- a gap on the own link


def test_after_a_gap_everybody_starts_afresh_and_the_gap_is_told() -> None:
    """The bridge forwarded nothing for 0.5 s. C is heard first: B must not be missed for that."""
    wire = Wire(lambda key, now: not 5.0 <= now < (5.5 if key == C else 5.7))
    wire.run(8.0)
    assert wire.missed == []
    [returned] = wire.watch.link_returns()
    assert returned == LinkReturned(ETH0, returned.gap)
    assert returned.gap == pytest.approx(0.5, abs=0.15)
    assert wire.watch.link_returns() == []


def test_of_two_nodes_the_one_that_was_cut_off_learns_it_by_the_first_answer() -> None:
    """Nobody else is there to be heard, and the other one may have taken over."""
    wire = Wire(silent_from(5.0, B, until=13.0), nodes=(B,))
    wire.run(13.5)
    assert wire.missed == []
    [returned] = wire.watch.link_returns()
    assert returned.gap == pytest.approx(8.0, abs=0.15)


def test_a_gap_in_which_nobody_was_asked_is_none_whoever_answers_after_it() -> None:
    wire = Wire()
    wire.run(5.0)
    wire.watch.watch(frozenset())
    wire.run(15.0)
    wire.watch.check("d", 15.0)
    wire.watch.handle_timeout(15.0)
    wire.watch.handle_frames(ETH0, 15.01)
    [request] = wire.watch.requests()
    wire.watch.handle_echo(ETH0, request.ip, request.token, 15.02)
    assert wire.watch.link_returns() == []


def test_of_a_gap_only_the_time_in_which_somebody_was_asked_counts() -> None:
    wire = Wire(silent_from(15.0, D))
    wire.run(5.0)
    wire.watch.watch(frozenset())
    wire.run(15.0)
    wire.watch.check("d", 15.0)
    wire.run(16.0)
    wire.watch.handle_frames(ETH0, 16.0)
    [returned] = wire.watch.link_returns()
    assert returned.gap == pytest.approx(1.0, abs=0.05)


def test_a_gap_in_which_nobody_owed_us_anything_is_none() -> None:
    """With nobody watched, silence on the link says nothing."""
    wire = Wire()
    wire.watch.watch(frozenset())
    wire.run(5.0)
    wire.watch.handle_frames(ETH0, 5.0)
    assert wire.watch.link_returns() == []


def test_who_died_in_a_gap_is_missed_after_it() -> None:
    wire = Wire(lambda key, now: now < 5.0 or (key == C and now >= 5.5))
    wire.run(8.0)
    [(at, who)] = wire.missed
    assert who == B
    assert 5.5 + TIMING.patience * 0.9 <= at <= 5.5 + TIMING.patience + 2 * TIMING.interval


# ---- knowing when we are the slow one


@pytest.mark.parametrize("stall", [0.05, 0.3, 1.0, 15.0])
def test_what_was_missed_while_we_stood_still_does_not_count(stall: float) -> None:
    """B's answers to what was asked before the stall were lost with it; C was read."""
    wire = Wire(silent_from(4.9, B, until=5.0 + stall))
    wire.run(5.0)
    wire.watch.handle_frames(ETH0, 5.0 + stall)
    wire.step(5.0 + stall)
    wire.run(7.0 + stall)
    assert wire.missed == []


def test_one_dead_since_before_a_stall_is_missed_after_it() -> None:
    wire = Wire(silent_from(4.9, B))
    wire.run(5.0)
    wire.step(8.0)
    assert wire.missed == []
    wire.run(8.5)
    assert [who for _, who in wire.missed] == [B]


def test_an_answer_read_after_a_stall_leaves_no_silence_from_before_it() -> None:
    """B's next answer was lost with the stall: C is heard, but B has had no time yet."""
    wire = Wire(silent_from(4.8, B, until=8.05))
    wire.run(4.9)
    due = wire.watch.deadline()
    wire.watch.handle_timeout(due)
    late = next(item for item in wire.watch.requests() if item.ip == IPS[B])
    wire.run(5.0)
    wire.watch.handle_frames(ETH0, 8.0)
    wire.step(8.0)
    wire.watch.handle_echo(ETH0, late.ip, late.token, 8.0)
    wire.run(9.0)
    assert wire.missed == []


def test_a_timer_that_is_called_too_early_does_nothing() -> None:
    wire = Wire()
    wire.watch.handle_timeout(wire.watch.deadline() - 0.001)
    assert wire.watch.requests() == []


# ---- answers


def test_an_answer_counts_from_when_it_was_asked_for() -> None:
    wire = Wire(lambda key, now: now < 5.0)
    wire.run(5.0)
    due = wire.watch.deadline()
    wire.watch.handle_timeout(due)
    request = next(item for item in wire.watch.requests() if item.ip == IPS[B])
    assert wire.watch.handle_echo(ETH0, request.ip, request.token, due + 0.2) == (B, due, False)


@pytest.mark.parametrize(
    ("ifindex", "ip", "token"),
    [
        (ETH0, IPS[B], bytes(8)),
        (ETH0, IPv4Address("192.0.2.99"), None),
        (ETH0, IPS[C], None),
        (ETH0 + 1, IPS[B], None),
        (ETH0, IPS[B], b""),
    ],
)
def test_an_answer_nobody_can_give_but_who_was_asked(
    ifindex: int, ip: IPv4Address, token: bytes | None
) -> None:
    wire = Wire(silent_from(0.0, B))
    wire.watch.handle_timeout(wire.watch.deadline())
    request = next(item for item in wire.watch.requests() if item.ip == IPS[B])
    sent = request.token if token is None else token
    assert wire.watch.handle_echo(ifindex, ip, sent, 1.0) is None
    assert wire.watch.handle_echo(ETH0, IPS[B], request.token, 1.0) is not None
    # And only once.
    assert wire.watch.handle_echo(ETH0, IPS[B], request.token, 1.0) is None


def test_tokens_do_not_repeat() -> None:
    watch, tokens = Wire().watch, list[bytes]()
    while (now := watch.deadline()) < 10.0:
        watch.handle_timeout(now)
        for request in watch.requests():
            tokens.append(request.token)
            watch.handle_echo(ETH0, request.ip, request.token, now)
    assert len(set(tokens)) == len(tokens) > 100


# ---- whether what we send arrives


def test_a_link_reaches_somebody_as_long_as_an_answer_comes() -> None:
    wire = Wire(silent_from(5.0, B, C, D))
    wire.run(5.0)
    assert wire.watch.reaches(ETH0, 5.0)
    run_with_frames(wire, 6.0)
    assert wire.watch.hears(ETH0, 6.0)
    assert not wire.watch.reaches(ETH0, 6.0)
    assert wire.watch.reached_at(ETH0) == pytest.approx(5.0, abs=TIMING.interval)
    assert not wire.watch.reaches(ETH0 + 1, 5.0)


def test_that_we_were_not_heard_is_taken_from_others_and_told_once() -> None:
    """A mute node hears everybody: it learns of it by their letters alone."""
    wire = Wire(silent_from(5.0, B, C, D, until=7.0))
    run_with_frames(wire, 8.0)
    assert wire.watch.link_returns() == []
    for _ in range(2):
        wire.watch.note_cut(ETH0, 1.5)
    assert wire.watch.link_returns() == [LinkReturned(ETH0, 1.5)]
    assert wire.watch.link_returns() == []


def test_somebody_is_heard_on_a_link_after_a_moment_if_a_frame_or_an_answer_comes() -> None:
    wire = Wire(silent_from(5.0, B, C, D))
    wire.run(6.0)
    assert wire.watch.heard_since(ETH0, 4.5)
    assert not wire.watch.heard_since(ETH0, 5.5)
    wire.watch.handle_frames(ETH0, 6.0)
    assert wire.watch.heard_since(ETH0, 5.5)
    assert not wire.watch.heard_since(ETH0 + 1, 0.0)


def test_nobody_is_expected_on_a_link_on_which_nobody_ever_answered() -> None:
    wire = Wire(lambda key, now: False)
    wire.run(5.0)
    assert not wire.watch.expects(ETH0)
    wire = Wire(lambda key, now: key == GATEWAY, gateways=(GATEWAY,))
    wire.watch.probe(0.0)
    wire.run(5.0)
    assert wire.watch.expects(ETH0)
    assert not wire.watch.expects(ETH0 + 1)


def test_who_would_answer_on_a_link_is_counted_nodes_and_others_apart() -> None:
    wire = Wire(lambda key, now: key != C, gateways=(GATEWAY,))
    assert wire.watch.answering(ETH0) == (0, 0)
    wire.run(5.0)
    assert wire.watch.answering(ETH0) == (2, 1)
    assert wire.watch.answering(ETH0 + 1) == (0, 0)


# ---- whom gossip holds dead, and who is left alone


def test_the_mourned_are_asked_on_without_end_though_they_are_silent() -> None:
    """A partition heals at some time, and nobody else would notice."""
    wire = Wire(silent_from(5.0, D))
    wire.run(4.0)
    wire.watch.watch(frozenset({"b", "c"}), frozenset({"d"}))
    wire.run(600.0)
    assert wire.watch.missing() == {D}
    times = wire.times(D, 590.0, 600.0)
    assert len(times) == pytest.approx(10 / TIMING.mourning, abs=1)
    assert wire.times(B, 590.0, 600.0) == times


def test_who_is_mourned_no_more_and_not_watched_owes_nothing() -> None:
    wire = Wire(silent_from(5.0, D))
    wire.watch.watch(frozenset({"b", "c"}), frozenset({"d"}))
    while len(wire.times(D, 5.0, 8.0)) < FEWEST_REQUESTS:
        wire.step(wire.watch.deadline())
    wire.watch.watch(frozenset({"b", "c"}))
    wire.run(8.0)
    assert wire.missed == []
    assert len(wire.times(D, 5.0, 8.0)) == FEWEST_REQUESTS


def test_nobody_is_asked_in_a_hurry_for_ever() -> None:
    """With the whole segment silent nobody can be missed, and the doubt has no end."""
    wire = Wire(silent_from(5.0, B, C, D))
    wire.run(5.0 + LONG_DOUBT * TIMING.patience)
    hurried = len(wire.times(B, 6.0, 6.5))
    wire.run(60.0)
    slow = len(wire.times(B, 50.0, 60.0))
    assert wire.missed == []
    assert hurried == pytest.approx(0.5 / TIMING.retry, abs=2)
    assert slow == pytest.approx(10 / TIMING.interval, abs=2)


def test_who_is_lonely_asks_its_gateways_all_the_time_and_finds_itself_cut_off() -> None:
    wire = Wire(silent_from(5.0, GATEWAY, until=6.0), gateways=(GATEWAY,), nodes=())
    wire.watch.watch(frozenset(), lonely=True)
    wire.run(5.0)
    assert len(wire.times(GATEWAY, 1.0, 5.0)) == pytest.approx(40, abs=2)
    wire.run(5.9)
    assert not wire.watch.hears(ETH0, 5.9)
    wire.run(7.0)
    [returned] = wire.watch.link_returns()
    assert returned.gap == pytest.approx(1.0, abs=0.15)
    assert wire.missed == []


def test_a_gateway_that_never_answered_cuts_nobody_off() -> None:
    wire = Wire(lambda key, now: False, gateways=(GATEWAY,), nodes=())
    wire.watch.watch(frozenset(), lonely=True)
    wire.run(10.0)
    assert wire.watch.hears(ETH0, 10.0)


def test_to_hear_somebody_all_are_asked_gateways_too() -> None:
    wire = Wire(gateways=(GATEWAY,))
    wire.run(5.0)
    assert wire.times(GATEWAY, 1.0, 5.0) == wire.times(D, 1.0, 5.0) == []
    wire.watch.probe(5.0)
    assert wire.watch.deadline() <= 5.0
    wire.run(7.0)
    for key in (D, GATEWAY):
        assert len(wire.times(key, 5.0, 7.0)) == 1


# ---- checks


def test_somebody_else_misses_a_node_so_it_is_asked_at_once_and_only_then() -> None:
    wire = Wire()
    wire.run(5.0)
    wire.watch.check("d", 5.0)
    assert wire.watch.deadline() <= 5.0
    wire.run(7.0)
    assert len(wire.times(D, 5.0, 7.0)) == 1
    assert wire.watch.kernel("d", ETH0, 5.1) is KernelState.ANSWERS


def test_a_checked_node_that_is_silent_is_missed() -> None:
    wire = Wire(silent_from(5.0, D))
    wire.run(5.0)
    wire.watch.check("d", 5.0)
    wire.run(5.0 + TIMING.patience + TIMING.interval)
    assert [who for _, who in wire.missed] == [D]


def test_checking_all_of_many_is_spread_over_turns() -> None:
    keys = [TargetKey(f"n{index}", ETH0) for index in range(3 * MOST_CHECKS)]
    watch = Kernels(TIMING, random.Random(1), 0.0)
    watch.set_targets({key: IPv4Address(index) for index, key in enumerate(keys, 1)}, {}, 0.0)
    watch.handle_timeout(1.0)
    for request in watch.requests():
        watch.handle_echo(ETH0, request.ip, request.token, 1.0)
    watch.check_all(1.5)
    asked = []
    while (now := watch.deadline()) < 2.0:
        watch.handle_timeout(now)
        turn = watch.requests()
        assert len(turn) <= MOST_CHECKS
        for request in turn:
            watch.handle_echo(ETH0, request.ip, request.token, now)
        asked += [request.ip for request in turn]
    assert len(asked) == len(set(asked)) == len(keys)


# ---- what is known of a kernel


def test_a_kernel_that_was_not_asked_lately_is_unknown() -> None:
    wire = Wire()
    wire.run(5.0)
    assert wire.watch.kernel("b", ETH0, 5.0) is KernelState.ANSWERS
    assert wire.watch.kernel("d", ETH0, 5.0) is KernelState.UNKNOWN


def test_a_kernel_of_which_no_address_is_known_is_unknown() -> None:
    """What is not known is not silent: it must not be taken for dead."""
    wire = Wire()
    wire.run(5.0)
    assert wire.watch.kernel("nobody", ETH0, 5.0) is KernelState.UNKNOWN
    assert wire.watch.kernel("b", ETH0 + 1, 5.0) is KernelState.UNKNOWN


def test_a_missed_kernel_is_silent() -> None:
    wire = Wire(silent_from(5.0, B))
    wire.run(6.0)
    assert wire.watch.kernel("b", ETH0, 6.0) is KernelState.SILENT


def test_a_new_life_is_not_missed_for_the_old_ones_silence() -> None:
    wire = Wire(silent_from(5.0, B, until=6.05))
    wire.run(6.0)
    wire.watch.recheck("b")
    wire.missed.clear()
    wire.run(8.0)
    assert wire.missed == []


# ---- targets come and go


def test_a_node_that_moved_to_another_address_is_asked_there_and_not_missed() -> None:
    wire = Wire(silent_from(5.0, B))
    wire.run(6.0)
    moved = IPv4Address("192.0.2.22")
    wire.watch.set_targets({B: moved, C: IPS[C]}, {}, 6.0)
    assert wire.watch.missing() == frozenset()
    wire.watch.handle_timeout(wire.watch.deadline())
    assert moved in {request.ip for request in wire.watch.requests()}


def test_without_targets_there_is_nothing_to_wait_for() -> None:
    wire = Wire(silent_from(5.0, B))
    wire.run(6.0)
    wire.watch.set_targets({}, {}, 6.0)
    assert wire.watch.deadline() == float("inf")
    assert wire.watch.missing() == frozenset()
    wire.watch.handle_frames(ETH0, 6.0)
