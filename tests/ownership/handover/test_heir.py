"""An heir's first steps: loud, quiet, contested, or unknown."""

from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from link.address import IPAddress
from ownership.handover.heir import (
    ANSWER_WITHIN,
    ASK_AGAIN,
    ASKS_A_SECOND,
    ASKS_AT_ONCE,
    BACK_GRACE,
    DECISIONS_AT_ONCE,
    KNOWN_WITHIN,
    MINE_COUNTS,
    UNHEARD_RETRY,
    Mode,
    Take,
    Takeovers,
)
from ownership.handover.states import Holds, HoldState, Yielding
from ownership.io import Ask, Contest
from ownership.liveness.targets import KernelState

VIP = IPv4Address("192.0.2.100")
ETH0, ETH1 = 2, 3
BEGUN = 10.0
OWNER = frozenset({"owner"})
LOUD, QUIET = [Take(VIP, Mode.LOUD)], [Take(VIP, Mode.QUIET)]


@dataclass
class World:
    """The heir, and what the old owner's kernel does."""

    kernel: KernelState
    asked_about: list[tuple[str, list[int]]] = field(default_factory=list)
    kernels: dict[str, KernelState] = field(default_factory=dict)
    """Those of other nodes."""
    hears: bool = True

    def __post_init__(self) -> None:
        self.holds = Holds()
        self.heir = Takeovers(self._kernel, lambda links, since: self.hears, self.holds)

    def _kernel(self, owner: str, links: Collection[int]) -> KernelState:
        self.asked_about.append((owner, list(links)))
        return self.kernels.get(owner, self.kernel)

    def begin(self) -> None:
        hold = self.heir.begin(VIP, OWNER, None, (ETH0, ETH1), BEGUN)
        hold.services["ns/a"] = None

    def lose(self) -> None:
        """Another node wins the IP."""
        yielding = Yielding({"ns/a"}, "winner", False, {ETH0}, BEGUN, BEGUN)
        self.holds.lose(self.holds.record(VIP), yielding)

    def give_up(self) -> None:
        """Nobody wants it any more."""
        self.holds.give_up(self.holds.record(VIP), "ns/a")

    def run(self, until: float) -> tuple[list[Take], list[float]]:
        """Follow the deadlines; return what was taken, and when the owner was asked again."""
        takes, asked = list[Take](), list[float]()
        now = BEGUN
        self.heir.asks(now)
        while not takes and self.heir.deadline() <= until:
            now = max(now, self.heir.deadline())
            takes = self.heir.handle_timeout(now)
            asked += [now] if self.heir.asks(now) else []
        return takes, asked


def begun(kernel: KernelState, **kernels: KernelState) -> World:
    world = World(kernel, kernels=kernels)
    world.begin()
    return world


def asked(kernel: KernelState, **kernels: KernelState) -> World:
    """The questions have left."""
    world = begun(kernel, **kernels)
    world.heir.asks(BEGUN)
    return world


def contested(by: str = "owner", **kernels: KernelState) -> World:
    """`by` has answered the first question, and its kernel answers."""
    world = asked(KernelState.ANSWERS, **kernels)
    world.heir.handle_answer(VIP, by)
    assert world.run(BEGUN + ANSWER_WITHIN) == ([], [])
    assert world.heir.contested == 1
    return world


def keep_answering(world: World, name: str, since: float, until: float) -> None:
    for tick in range(round((until - since) * 100)):
        world.heir.handle_answer(VIP, name)
        assert world.run(BEGUN + since + tick / 100)[0] == []


def test_the_wire_is_asked_once_on_every_link_and_the_owner_by_letter() -> None:
    world = begun(KernelState.SILENT)
    assert world.heir.deadline() < BEGUN
    assert world.heir.asks(BEGUN) == [Ask(VIP, ETH0), Ask(VIP, ETH1)]
    assert world.heir.asks(BEGUN) == []
    assert world.heir.questions() == {"owner": [VIP]}
    assert world.heir.questions() == {}
    assert world.heir.waits(VIP)
    assert world.heir.owners() == {"owner"}
    assert world.heir.handle_timeout(BEGUN + ANSWER_WITHIN / 2) == []


@pytest.mark.parametrize(
    ("kernel", "answered", "takes"),
    [
        (KernelState.SILENT, False, LOUD),
        # A dead machine's answer was on its way when it died.
        (KernelState.SILENT, True, LOUD),
        (KernelState.ANSWERS, True, []),
    ],
)
def test_what_an_heir_decides_within_twenty_milliseconds(
    kernel: KernelState, answered: bool, takes: list[Take]
) -> None:
    world = asked(kernel)
    if answered:
        world.heir.handle_answer(VIP, "owner")
    assert world.heir.deadline() == pytest.approx(BEGUN + 0.02)
    assert world.heir.handle_timeout(BEGUN + 0.02) == takes
    assert world.asked_about[0] == ("owner", [ETH0, ETH1])
    assert world.heir.waits(VIP) is not bool(takes)
    assert not world.heir.quiet(VIP)
    assert world.heir.contested == (not takes)


def test_a_slow_process_is_asked_three_times_before_somebody_answers_in_its_place() -> None:
    world = begun(KernelState.ANSWERS)
    taken, asked = world.run(BEGUN + 0.09)
    assert taken == []
    assert asked == pytest.approx([BEGUN + 0.02, BEGUN + 0.06])
    assert world.run(BEGUN + 0.11) == (QUIET, [])
    assert world.heir.quiet(VIP)
    late = begun(KernelState.ANSWERS)
    late.run(BEGUN + 0.09)
    late.heir.handle_answer(VIP, "owner")
    assert late.run(BEGUN + 0.11) == ([], [])
    assert late.heir.contested == 1


def test_the_answer_of_a_dead_machine_or_for_another_ip_contests_nothing() -> None:
    world = begun(KernelState.ANSWERS)
    world.kernels["hanging"] = KernelState.SILENT
    world.heir.handle_answer(VIP, "hanging")
    world.heir.handle_answer(IPv4Address("192.0.2.1"), "owner")
    assert world.run(BEGUN + 0.2)[0] == QUIET


@pytest.mark.parametrize(
    ("becomes", "takes"), [(KernelState.SILENT, LOUD), (KernelState.ANSWERS, QUIET)], ids=str
)
def test_an_unknown_kernel_is_waited_for(becomes: KernelState, takes: list[Take]) -> None:
    world = begun(KernelState.UNKNOWN)
    assert world.run(BEGUN + 0.1) == ([], [])
    world.kernel = becomes
    assert world.run(BEGUN + 0.25)[0] == takes


def test_a_kernel_that_stays_unknown_holds_nothing_up_for_long() -> None:
    world = begun(KernelState.UNKNOWN)
    assert world.run(BEGUN + KNOWN_WITHIN - 0.001) == ([], [])
    assert world.run(BEGUN + KNOWN_WITHIN + ANSWER_WITHIN) == (LOUD, [])


def test_a_contested_ip_is_asked_for_every_second_and_taken_when_the_process_ends() -> None:
    world = begun(KernelState.ANSWERS)
    world.heir.handle_answer(VIP, "owner")
    world.heir.handle_timeout(BEGUN + ANSWER_WITHIN)
    takes, asked = world.run(BEGUN + ANSWER_WITHIN + ASK_AGAIN)
    assert takes == []
    assert asked == pytest.approx([BEGUN + ANSWER_WITHIN + ASK_AGAIN])
    world.heir.handle_answer(VIP, "owner")
    assert world.run(BEGUN + 2.0) == ([], [])
    assert world.heir.contested == 1
    # This time it does not answer.
    takes, asked = world.run(BEGUN + 3.0)
    assert (takes, len(asked)) == (QUIET, 3)
    assert world.heir.contested == 0


def test_a_contested_ip_is_taken_aloud_when_the_machine_dies() -> None:
    world = begun(KernelState.ANSWERS)
    world.heir.handle_answer(VIP, "owner")
    world.heir.handle_timeout(BEGUN + ANSWER_WITHIN)
    world.kernel = KernelState.SILENT
    assert world.run(BEGUN + 2.0) == (LOUD, [])


def test_contested_ips_are_asked_for_no_more_than_five_times_a_second() -> None:
    """Switches that inspect ARP shut a port at 15 a second."""
    heir = Takeovers(lambda owner, links: KernelState.ANSWERS, lambda links, since: True)
    ips = [IPv4Address(f"192.0.2.{index}") for index in range(20)]
    for ip in ips:
        heir.begin(ip, OWNER, None, (ETH0,), BEGUN)
        heir.handle_answer(ip, "owner")
    heir.asks(BEGUN)
    heir.handle_timeout(BEGUN + ANSWER_WITHIN)
    times: list[float] = []
    while (now := heir.deadline()) <= BEGUN + 12.0:
        assert heir.handle_timeout(now) == []
        for ask in heir.asks(now):
            times.append(now)
            heir.handle_answer(ask.ip, "owner")
    assert len(times) >= 2 * len(ips)
    for start in times:
        assert sum(start <= at < start + 0.999 for at in times) <= ASKS_A_SECOND


@pytest.mark.parametrize("quiet", [False, True])
def test_many_whose_time_is_up_are_taken_in_bites_that_follow_at_once(quiet: bool) -> None:
    kernel = KernelState.ANSWERS if quiet else KernelState.SILENT
    heir = Takeovers(lambda owner, links: kernel, lambda links, since: True)
    ips = [IPv4Address("10.0.0.0") + n for n in range(2 * DECISIONS_AT_ONCE + 1)]
    for ip in ips:
        heir.begin(ip, OWNER, None, (ETH0,), BEGUN)
    now = BEGUN
    taken = list[Take]()
    while len(taken) < len(ips):
        while heir.asks(now):
            pass
        now = max(now, heir.deadline())
        bite = heir.handle_timeout(now)
        assert len(bite) <= DECISIONS_AT_ONCE
        taken += bite
    assert [take.ip for take in taken] == ips
    assert heir.deadline() == float("inf") or quiet
    if quiet:
        kernel = KernelState.SILENT
        bites = [len(heir.handle_timeout(now))]
        while heir.deadline() <= now:
            bites.append(len(heir.handle_timeout(now)))
        assert bites == [DECISIONS_AT_ONCE, DECISIONS_AT_ONCE, 1]


def test_a_quiet_ip_is_announced_when_the_machine_is_gone_too() -> None:
    world = begun(KernelState.ANSWERS)
    assert world.run(BEGUN + 0.2)[0] == QUIET
    assert world.heir.handle_timeout(BEGUN + 1.0) == []
    world.kernel = KernelState.UNKNOWN
    assert world.heir.handle_timeout(BEGUN + 2.0) == []
    assert world.heir.owners() == {"owner"}
    world.kernel = KernelState.SILENT
    assert world.heir.handle_timeout(BEGUN + 3.0) == LOUD
    assert world.heir.owners() == frozenset()
    assert world.heir.handle_timeout(BEGUN + 4.0) == []


def test_a_quiet_ip_that_stays_ours_is_announced_some_seconds_after_its_owner_is_back() -> None:
    """By then the election has given it back, if it is to."""
    world = begun(KernelState.ANSWERS)
    world.run(BEGUN + 0.2)
    world.heir.handle_owner_back("third", BEGUN + 5.0)
    assert world.heir.deadline() == float("inf")
    for beat in range(4):
        world.heir.handle_owner_back("owner", BEGUN + 6.0 + beat / 4)
    assert world.heir.deadline() == BEGUN + 6.0 + BACK_GRACE
    assert world.run(BEGUN + 20.0) == (LOUD, [])


def test_a_quiet_ip_stays_so_when_its_owner_dies_once_more_soon_after_it_was_back() -> None:
    world = begun(KernelState.ANSWERS)
    world.run(BEGUN + 0.2)
    world.heir.handle_owner_back("owner", BEGUN + 5.0)
    world.heir.handle_owner_gone("third")
    assert world.heir.deadline() < float("inf")
    world.heir.handle_owner_gone("owner")
    assert world.run(BEGUN + 30.0) == ([], [])
    assert world.heir.quiet(VIP)


def test_a_quiet_ip_given_back_and_taken_again_before_its_owner_was_heard_stays_quiet() -> None:
    world = begun(KernelState.ANSWERS)
    world.run(BEGUN + 0.2)
    world.heir.handle_owner_back("owner", BEGUN + 5.0)
    world.lose()
    assert not world.heir.quiet(VIP)
    assert world.heir.owners() == frozenset()
    assert world.holds.take_back("ns/a", VIP, OWNER)
    assert world.heir.quiet(VIP)
    assert world.run(BEGUN + 30.0) == ([], [])


@pytest.mark.parametrize("dead", [[], ["third"]])
def test_a_quiet_ip_given_back_that_comes_from_somebody_else_is_quiet_no_more(
    dead: list[str],
) -> None:
    """It is no dead process that we step in for now."""
    world = begun(KernelState.ANSWERS)
    world.run(BEGUN + 0.2)
    world.lose()
    assert world.holds.take_back("ns/a", VIP, dead)
    assert world.holds.state(VIP) is HoldState.OWNED
    assert not world.heir.quiet(VIP)


def test_a_third_node_that_answers_contests_too() -> None:
    """It took over from the same owner, as it knew better."""
    world = asked(KernelState.SILENT, third=KernelState.ANSWERS)
    world.heir.handle_answer(VIP, "third")
    assert world.heir.handle_timeout(BEGUN + ANSWER_WITHIN) == []
    assert world.heir.handle_timeout(BEGUN + 0.1) == []
    assert world.heir.contested == 1


def test_who_answers_keeps_its_ip_though_nothing_is_known_of_the_heir_before_us() -> None:
    """Gossip declared an heir dead that never took over: its machine does not matter."""
    world = World(KernelState.UNKNOWN, kernels={"third": KernelState.ANSWERS})
    world.begin()
    world.heir.handle_answer(VIP, "third")
    assert world.run(BEGUN + ANSWER_WITHIN) == ([], [])
    assert world.heir.contested == 1
    assert world.run(BEGUN + ANSWER_WITHIN + KNOWN_WITHIN) == ([], [])


@pytest.mark.parametrize(
    ("before", "becomes", "takes"),
    [
        (KernelState.SILENT, KernelState.SILENT, LOUD),
        (KernelState.SILENT, KernelState.ANSWERS, QUIET),
        # It had taken over quietly: clients still send to the machine of the first.
        (KernelState.ANSWERS, KernelState.SILENT, QUIET),
    ],
    ids=str,
)
def test_when_who_answers_falls_silent_its_machine_matters_and_that_of_the_owner_before(
    before: KernelState, becomes: KernelState, takes: list[Take]
) -> None:
    world = asked(before, third=KernelState.ANSWERS)
    world.heir.handle_answer(VIP, "third")
    assert world.run(BEGUN + ANSWER_WITHIN) == ([], [])
    assert world.heir.owners() == {"owner", "third"}
    world.kernels["third"] = becomes
    assert world.run(BEGUN + 2.0)[0] == takes


@pytest.mark.parametrize(
    ("answered_by", "granted_by", "kernel", "takes"),
    [
        (None, "third", KernelState.SILENT, LOUD),
        ("third", "third", KernelState.SILENT, LOUD),
        ("owner", "third", KernelState.SILENT, []),
        # The machine of a dead process lives, as before.
        (None, "third", KernelState.ANSWERS, QUIET),
        ("third", "third", KernelState.ANSWERS, QUIET),
        # Who grants it is not dead, whatever gossip says.
        (None, "owner", KernelState.ANSWERS, LOUD),
    ],
)
def test_who_answers_and_says_that_the_ip_is_ours_is_relieved(
    answered_by: str | None, granted_by: str, kernel: KernelState, takes: list[Take]
) -> None:
    world = asked(kernel)
    if answered_by is not None:
        world.heir.handle_answer(VIP, answered_by)
    assert world.heir.handle_grant(VIP, granted_by, frozenset()) == takes
    assert world.heir.waits(VIP) is not bool(takes)
    assert world.heir.quiet(VIP) is (takes == QUIET)
    assert world.heir.handle_grant(IPv4Address("192.0.2.1"), granted_by, frozenset()) == []


def test_what_was_taken_over_quietly_is_granted_so() -> None:
    """By one whose word we have that the first owner's machine lives, however little we know."""
    world = asked(KernelState.SILENT, first=KernelState.UNKNOWN)
    assert world.heir.handle_grant(VIP, "third", frozenset({"first"})) == QUIET
    assert world.heir.quiet_from(VIP) == {"owner", "first"}
    assert world.heir.handle_timeout(BEGUN + 100.0) == []
    world.kernels["first"] = KernelState.SILENT
    assert world.heir.handle_timeout(BEGUN + 101.0) == LOUD


@pytest.mark.parametrize("after", [0.0, ANSWER_WITHIN])
def test_an_ip_that_is_not_ours_any_more_is_not_taken(after: float) -> None:
    world = begun(KernelState.ANSWERS)
    world.heir.handle_timeout(BEGUN + after)
    world.give_up()
    world.kernel = KernelState.SILENT
    assert world.run(BEGUN + 5.0) == ([], [])
    assert not world.heir.waits(VIP)
    assert not world.heir.quiet(VIP)
    assert world.heir.owners() == frozenset()


def test_what_is_contested_or_taken_without_a_word_is_put_off_and_what_is_taken_aloud_is_not() -> (
    None
):
    world = begun(KernelState.SILENT)
    assert world.run(until=60.0)[0] == LOUD
    assert world.heir.postponements() == frozenset()

    world = begun(KernelState.ANSWERS)
    world.heir.handle_answer(VIP, "owner")
    assert world.run(until=BEGUN + ANSWER_WITHIN)[0] == []
    assert world.heir.postponements() == {VIP}
    assert world.heir.postponements() == frozenset()
    assert world.run(until=60.0)[0] == QUIET
    assert world.heir.postponements() == {VIP}
    # Won for another service too.
    assert world.heir.stays_quiet(VIP)
    assert world.heir.postponements() == {VIP}


# ---- a living owner, and what it writes


def living(kernel: KernelState) -> World:
    """The IP is ours by the election, and no word has come from its living owner."""
    world = World(KernelState.SILENT, kernels={"owner": kernel})
    world.heir.begin(VIP, frozenset(), "owner", (ETH0, ETH1), BEGUN)
    world.heir.asks(BEGUN)
    return world


def test_a_living_owner_is_asked_too_and_keeps_its_ip_until_it_grants_it() -> None:
    world = living(KernelState.ANSWERS)
    assert world.heir.questions() == {"owner": [VIP]}
    world.heir.handle_answer(VIP, "owner")
    assert world.run(BEGUN + 0.5) == ([], [])
    assert world.heir.handle_grant(VIP, "owner", frozenset()) == LOUD


def test_a_living_owner_that_answers_no_more_is_succeeded_aloud() -> None:
    assert living(KernelState.ANSWERS).run(BEGUN + 0.1) == (LOUD, [])


@pytest.mark.parametrize("kernel", KernelState, ids=str)
def test_a_claim_by_letter_is_as_good_as_an_answer_for_a_while(kernel: KernelState) -> None:
    """A firewall may drop echo requests, and ARP be lost."""
    world = asked(KernelState.SILENT, third=kernel)
    world.heir.handle_mine(VIP, "third", BEGUN + 0.01)
    world.heir.handle_mine(IPv4Address("192.0.2.1"), "third", BEGUN + 0.01)
    assert world.run(BEGUN + MINE_COUNTS)[0] == []
    assert world.heir.contested == 1
    if kernel is not KernelState.ANSWERS:
        assert world.run(BEGUN + MINE_COUNTS + 2.0)[0] == LOUD


def test_who_contests_is_asked_by_letter_once_a_second_and_its_claims_hold_us_up_for_ever() -> None:
    world, letters = contested(), 0
    world.heir.questions()
    world.kernel = KernelState.SILENT
    world.heir.handle_mine(VIP, "owner", BEGUN)
    for tick in range(1, 100):
        now = BEGUN + tick / 10
        assert world.run(now)[0] == []
        for name, ips in world.heir.questions().items():
            assert (name, ips) == ("owner", [VIP])
            world.heir.handle_mine(VIP, name, now)
            letters += 1
    assert letters == pytest.approx(9, abs=1)
    assert world.run(BEGUN + 15.0)[0] == LOUD


def test_whose_kernel_answers_without_its_speaker_holds_nothing_up() -> None:
    """IPVS without strictARP, or an address left behind: the speaker says that it does not."""
    world = asked(KernelState.SILENT, third=KernelState.ANSWERS)
    world.heir.questions()
    world.heir.handle_answer(VIP, "third")
    assert world.heir.questions() == {"third": [VIP]}
    assert world.heir.handle_denial(VIP, "third", BEGUN + 0.01)
    assert not world.heir.handle_denial(VIP, "third", BEGUN + 0.01)
    world.heir.handle_answer(VIP, "third")
    assert world.run(BEGUN + 0.1)[0] == LOUD


def test_a_contest_ends_at_once_when_the_speaker_says_that_it_is_not_its_own() -> None:
    world = contested("third", third=KernelState.ANSWERS, owner=KernelState.SILENT)
    assert world.heir.handle_denial(VIP, "third", BEGUN + 0.5)
    assert world.heir.deadline() == BEGUN + 0.5
    assert world.heir.handle_timeout(BEGUN + 0.5) == LOUD
    assert world.heir.contested == 0


def test_a_denial_of_one_that_answered_nothing_is_no_foreign_answer() -> None:
    world = asked(KernelState.SILENT)
    assert not world.heir.handle_denial(VIP, "third", BEGUN)
    assert not world.heir.handle_denial(IPv4Address("192.0.2.1"), "third", BEGUN)


def test_who_denied_and_claims_later_is_believed() -> None:
    """It took the IP over meanwhile."""
    world = asked(KernelState.SILENT, third=KernelState.ANSWERS)
    world.heir.handle_denial(VIP, "third", BEGUN)
    world.heir.handle_mine(VIP, "third", BEGUN + 0.01)
    keep_answering(world, "third", 0.1, 2 * MINE_COUNTS)
    assert world.heir.contested == 1


def test_a_dead_owner_that_denies_lives_and_its_machine_matters_no_more() -> None:
    world = asked(KernelState.ANSWERS)
    world.heir.handle_denial(VIP, "owner", BEGUN)
    assert world.run(BEGUN + 0.1) == (LOUD, [])


def test_each_contest_is_told_once_with_who_it_is() -> None:
    world = contested()
    assert world.heir.contests() == [Contest(VIP, "owner")]
    keep_answering(world, "owner", 0.1, 4.0)
    assert world.heir.contests() == []
    world.kernels["third"] = KernelState.ANSWERS
    keep_answering(world, "third", 4.0, 8.0)
    assert world.heir.contests() == [Contest(VIP, "third")]


def test_where_no_echo_gets_through_at_all_the_answer_on_the_wire_is_the_best_there_is() -> None:
    world = asked(KernelState.SILENT, third=KernelState.UNKNOWN)
    world.heir.handle_answer(VIP, "third")
    assert world.run(BEGUN + KNOWN_WITHIN + 2 * ANSWER_WITHIN) == ([], [])
    assert world.heir.contested == 1


# ---- several dead


@pytest.mark.parametrize(
    ("first", "second", "takes"),
    [
        (KernelState.SILENT, KernelState.SILENT, LOUD),
        (KernelState.ANSWERS, KernelState.SILENT, QUIET),
        (KernelState.SILENT, KernelState.ANSWERS, QUIET),
        (KernelState.UNKNOWN, KernelState.ANSWERS, QUIET),
        (KernelState.UNKNOWN, KernelState.SILENT, LOUD),
    ],
    ids=str,
)
def test_of_several_dead_owners_one_whose_machine_lives_decides(
    first: KernelState, second: KernelState, takes: list[Take]
) -> None:
    """It may have been taken over quietly more than once."""
    world = World(KernelState.SILENT, kernels={"first": first, "second": second})
    world.heir.begin(VIP, frozenset({"first", "second"}), None, (ETH0,), BEGUN)
    assert world.heir.questions() == {"first": [VIP], "second": [VIP]}
    assert world.heir.owners() == {"first", "second"}
    assert world.run(BEGUN + 1.0)[0] == takes
    assert world.heir.quiet_from(VIP) == (
        frozenset({"first", "second"}) if takes == QUIET else frozenset()
    )


def test_the_dead_from_whom_an_ip_was_taken_quietly_are_known_while_it_is_given_away() -> None:
    world = begun(KernelState.ANSWERS)
    assert world.heir.quiet_from(VIP) == frozenset()
    world.run(BEGUN + 0.2)
    world.lose()
    assert world.heir.quiet_from(VIP) == OWNER
    world.give_up()
    assert world.heir.quiet_from(VIP) == frozenset()


# ---- nobody is heard


def test_who_hears_nobody_takes_nothing_over_and_says_that_somebody_has_to_be_heard() -> None:
    """It is the one that is cut off: whatever it is told, the others are well."""
    world = asked(KernelState.SILENT)
    world.hears = False
    assert world.run(BEGUN + 60.0) == ([], [])
    assert world.heir.unheard()
    assert not world.heir.unheard()
    world.hears = True
    now = BEGUN + 60.0 + UNHEARD_RETRY
    assert world.heir.handle_timeout(now) == LOUD
    assert not world.heir.unheard()


@pytest.mark.parametrize(
    ("since", "again"),
    [(0.1, ANSWER_WITHIN), (KNOWN_WITHIN + 0.1, UNHEARD_RETRY), (60.0, UNHEARD_RETRY)],
)
def test_whether_somebody_is_heard_is_looked_at_less_often_after_a_while(
    since: float, again: float
) -> None:
    world = asked(KernelState.SILENT)
    world.hears = False
    assert world.heir.handle_timeout(BEGUN + since) == []
    assert world.heir.deadline() == pytest.approx(BEGUN + since + again)


def test_who_hears_somebody_again_asks_anew_what_it_was_about_to_take() -> None:
    """Another may own it meanwhile."""
    world = asked(KernelState.SILENT, third=KernelState.ANSWERS)
    world.hears = False
    world.run(BEGUN + 5.0)
    now = BEGUN + 5.0
    world.hears = True
    world.heir.restart(now)
    assert world.heir.asks(now) == [Ask(VIP, ETH0), Ask(VIP, ETH1)]
    assert world.heir.handle_timeout(now) == []
    world.heir.handle_answer(VIP, "third")
    assert world.heir.handle_timeout(now + ANSWER_WITHIN) == []
    assert world.heir.contested == 1


def test_a_contest_from_before_we_were_cut_off_is_void() -> None:
    world = contested("third", third=KernelState.ANSWERS, owner=KernelState.SILENT)
    world.heir.restart(BEGUN + 5.0)
    world.heir.asks(BEGUN + 5.0)
    assert world.heir.handle_timeout(BEGUN + 5.0 + ANSWER_WITHIN) == LOUD


# ---- many at once


def test_many_ips_are_asked_for_some_at_a_time_and_each_has_its_time_to_be_answered() -> None:
    """A turn may take longer than an owner needs to answer."""
    heir = Takeovers(lambda owner, links: KernelState.SILENT, lambda links, since: True)
    ips = [IPv4Address(0xC6120000 + number) for number in range(3 * ASKS_AT_ONCE + 1)]
    for ip in ips:
        heir.begin(ip, OWNER, None, (ETH0,), BEGUN)
    sent, taken, now = dict[IPAddress, float](), dict[IPAddress, float](), BEGUN
    while len(taken) < len(ips):
        asks = heir.asks(now)
        assert len(asks) <= ASKS_AT_ONCE
        sent |= {ask.ip: now for ask in asks}
        taken |= {take.ip: now for take in heir.handle_timeout(now)}
        now = max(now + 0.015, heir.deadline())
    assert len(set(sent.values())) == 4
    for ip in ips:
        assert 0.99 * ANSWER_WITHIN <= taken[ip] - sent[ip] <= 3 * ANSWER_WITHIN
