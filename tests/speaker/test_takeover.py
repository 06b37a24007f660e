"""An heir's first steps: loud, quiet, contested, or unknown."""

from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from speaker.takeover import (
    ANSWER_WITHIN,
    ASK_AGAIN,
    ASKS_A_SECOND,
    BACK_GRACE,
    KNOWN_WITHIN,
    Ask,
    Mode,
    Take,
    Takeovers,
)
from speaker.watch import Kernel

VIP = IPv4Address("192.0.2.100")
ETH0, ETH1 = 2, 3
BEGUN = 10.0
OWNER = frozenset({"owner"})
LOUD, QUIET = [Take(VIP, Mode.LOUD)], [Take(VIP, Mode.QUIET)]


@dataclass
class World:
    """The heir, and what the old owner's kernel does."""

    kernel: Kernel
    asked_about: list[tuple[str, list[int]]] = field(default_factory=list)
    kernels: dict[str, Kernel] = field(default_factory=dict)
    """Those of other nodes."""
    hears: bool = True

    def __post_init__(self) -> None:
        self.heir = Takeovers(self._kernel, lambda links, since: self.hears)

    def _kernel(self, owner: str, links: Collection[int]) -> Kernel:
        self.asked_about.append((owner, list(links)))
        return self.kernels.get(owner, self.kernel)

    def begin(self) -> None:
        self.heir.begin(VIP, OWNER, None, (ETH0, ETH1), BEGUN)

    def run(self, until: float) -> tuple[list[Take], list[float]]:
        """Follow the deadlines; return what was taken, and when the owner was asked again."""
        self.heir.asks()
        takes, asked = list[Take](), list[float]()
        while not takes and (now := self.heir.deadline()) <= until:
            takes = self.heir.handle_timeout(now)
            asked += [now] if self.heir.asks() else []
        return takes, asked


def begun(kernel: Kernel) -> World:
    world = World(kernel)
    world.begin()
    return world


def test_the_wire_is_asked_once_on_every_link() -> None:
    world = begun(Kernel.SILENT)
    assert world.heir.asks() == [Ask(VIP, ETH0), Ask(VIP, ETH1)]
    assert world.heir.asks() == []
    assert world.heir.holds(VIP)
    assert world.heir.owners() == {"owner"}
    assert world.heir.handle_timeout(BEGUN + ANSWER_WITHIN / 2) == []


@pytest.mark.parametrize(
    ("kernel", "answered", "takes"),
    [
        (Kernel.SILENT, False, LOUD),
        # A dead machine's answer was on its way when it died.
        (Kernel.SILENT, True, LOUD),
        (Kernel.ANSWERS, True, []),
    ],
)
def test_what_an_heir_decides_within_twenty_milliseconds(
    kernel: Kernel, answered: bool, takes: list[Take]
) -> None:
    world = begun(kernel)
    if answered:
        world.heir.answered(VIP, "owner")
    assert world.heir.deadline() == pytest.approx(BEGUN + 0.02)
    assert world.heir.handle_timeout(BEGUN + 0.02) == takes
    assert world.asked_about[0] == ("owner", [ETH0, ETH1])
    assert world.heir.holds(VIP) is not bool(takes)
    assert not world.heir.quiet(VIP)
    assert world.heir.contested == (not takes)


def test_a_slow_process_is_asked_three_times_before_somebody_answers_in_its_place() -> None:
    world = begun(Kernel.ANSWERS)
    taken, asked = world.run(BEGUN + 0.09)
    assert taken == []
    assert asked == pytest.approx([BEGUN + 0.02, BEGUN + 0.06])
    assert world.run(BEGUN + 0.11) == (QUIET, [])
    assert world.heir.quiet(VIP)
    late = begun(Kernel.ANSWERS)
    late.run(BEGUN + 0.09)
    late.heir.answered(VIP, "owner")
    assert late.run(BEGUN + 0.11) == ([], [])
    assert late.heir.contested == 1


def test_the_answer_of_a_dead_machine_or_for_another_ip_contests_nothing() -> None:
    world = begun(Kernel.ANSWERS)
    world.kernels["hanging"] = Kernel.SILENT
    world.heir.answered(VIP, "hanging")
    world.heir.answered(IPv4Address("192.0.2.1"), "owner")
    assert world.run(BEGUN + 0.2)[0] == QUIET


@pytest.mark.parametrize(
    ("becomes", "takes"), [(Kernel.SILENT, LOUD), (Kernel.ANSWERS, QUIET)], ids=str
)
def test_an_unknown_kernel_is_waited_for(becomes: Kernel, takes: list[Take]) -> None:
    world = begun(Kernel.UNKNOWN)
    assert world.run(BEGUN + 0.1) == ([], [])
    world.kernel = becomes
    assert world.run(BEGUN + 0.25)[0] == takes


def test_a_kernel_that_stays_unknown_holds_nothing_up_for_long() -> None:
    world = begun(Kernel.UNKNOWN)
    assert world.run(BEGUN + KNOWN_WITHIN - 0.001) == ([], [])
    assert world.run(BEGUN + KNOWN_WITHIN + ANSWER_WITHIN) == (LOUD, [])


def test_a_contested_ip_is_asked_for_every_second_and_taken_when_the_process_ends() -> None:
    world = begun(Kernel.ANSWERS)
    world.heir.answered(VIP, "owner")
    world.heir.handle_timeout(BEGUN + ANSWER_WITHIN)
    takes, asked = world.run(BEGUN + ANSWER_WITHIN + ASK_AGAIN)
    assert takes == []
    assert asked == pytest.approx([BEGUN + ANSWER_WITHIN + ASK_AGAIN])
    world.heir.answered(VIP, "owner")
    assert world.run(BEGUN + 2.0) == ([], [])
    assert world.heir.contested == 1
    # This time it does not answer.
    takes, asked = world.run(BEGUN + 3.0)
    assert (takes, len(asked)) == (QUIET, 3)
    assert world.heir.contested == 0


def test_a_contested_ip_is_taken_aloud_when_the_machine_dies() -> None:
    world = begun(Kernel.ANSWERS)
    world.heir.answered(VIP, "owner")
    world.heir.handle_timeout(BEGUN + ANSWER_WITHIN)
    world.kernel = Kernel.SILENT
    assert world.run(BEGUN + 2.0) == (LOUD, [])


def test_contested_ips_are_asked_for_no_more_than_five_times_a_second() -> None:
    """Switches that inspect ARP shut a port at 15 a second."""
    heir = Takeovers(lambda owner, links: Kernel.ANSWERS, lambda links, since: True)
    ips = [IPv4Address(f"192.0.2.{index}") for index in range(20)]
    for ip in ips:
        heir.begin(ip, OWNER, None, (ETH0,), BEGUN)
        heir.answered(ip, "owner")
    heir.asks()
    heir.handle_timeout(BEGUN + ANSWER_WITHIN)
    times: list[float] = []
    while (now := heir.deadline()) <= BEGUN + 12.0:
        assert heir.handle_timeout(now) == []
        for ask in heir.asks():
            times.append(now)
            heir.answered(ask.ip, "owner")
    assert len(times) >= 2 * len(ips)
    for start in times:
        assert sum(start <= at < start + 0.999 for at in times) <= ASKS_A_SECOND


def test_a_quiet_ip_is_announced_when_the_machine_is_gone_too() -> None:
    world = begun(Kernel.ANSWERS)
    assert world.run(BEGUN + 0.2)[0] == QUIET
    assert world.heir.handle_timeout(BEGUN + 1.0) == []
    world.kernel = Kernel.UNKNOWN
    assert world.heir.handle_timeout(BEGUN + 2.0) == []
    assert world.heir.owners() == {"owner"}
    world.kernel = Kernel.SILENT
    assert world.heir.handle_timeout(BEGUN + 3.0) == LOUD
    assert world.heir.owners() == frozenset()
    assert world.heir.handle_timeout(BEGUN + 4.0) == []


def test_a_quiet_ip_that_stays_ours_is_announced_two_seconds_after_its_owner_is_back() -> None:
    """By then the election has given it back, if it is to."""
    world = begun(Kernel.ANSWERS)
    world.run(BEGUN + 0.2)
    world.heir.owner_back("third", BEGUN + 5.0)
    assert world.heir.deadline() == float("inf")
    for beat in range(4):
        world.heir.owner_back("owner", BEGUN + 6.0 + beat / 4)
    assert world.heir.deadline() == BEGUN + 6.0 + BACK_GRACE
    assert world.run(BEGUN + 20.0) == (LOUD, [])


def test_a_quiet_ip_stays_so_when_its_owner_dies_once_more_soon_after_it_was_back() -> None:
    world = begun(Kernel.ANSWERS)
    world.run(BEGUN + 0.2)
    world.heir.owner_back("owner", BEGUN + 5.0)
    world.heir.owner_gone("third")
    assert world.heir.deadline() < float("inf")
    world.heir.owner_gone("owner")
    assert world.run(BEGUN + 30.0) == ([], [])
    assert world.heir.quiet(VIP)


def test_a_quiet_ip_given_back_and_taken_again_before_its_owner_was_heard_stays_quiet() -> None:
    world = begun(Kernel.ANSWERS)
    world.run(BEGUN + 0.2)
    world.heir.owner_back("owner", BEGUN + 5.0)
    world.heir.part(VIP)
    assert not world.heir.quiet(VIP)
    assert world.heir.owners() == frozenset()
    world.heir.keep(VIP, OWNER)
    assert world.heir.quiet(VIP)
    assert world.run(BEGUN + 30.0) == ([], [])


@pytest.mark.parametrize("given", [None, "third"])
def test_a_quiet_ip_given_back_that_comes_from_somebody_else_is_quiet_no_more(
    given: str | None,
) -> None:
    """It is no dead process that we step in for now."""
    world = begun(Kernel.ANSWERS)
    world.run(BEGUN + 0.2)
    world.heir.part(VIP)
    world.heir.keep(VIP, given)
    assert not world.heir.quiet(VIP)


def test_a_third_node_that_answers_contests_too() -> None:
    """It took over from the same owner, as it knew better."""
    world = begun(Kernel.SILENT)
    world.kernels["third"] = Kernel.ANSWERS
    world.heir.answered(VIP, "third")
    assert world.heir.handle_timeout(BEGUN + ANSWER_WITHIN) == []
    assert world.heir.handle_timeout(BEGUN + 0.1) == []
    assert world.heir.contested == 1


def test_who_answers_keeps_its_ip_though_nothing_is_known_of_the_heir_before_us() -> None:
    """Gossip declared an heir dead that never took over: its machine does not matter."""
    world = World(Kernel.UNKNOWN, kernels={"third": Kernel.ANSWERS})
    world.begin()
    world.heir.answered(VIP, "third")
    assert world.run(BEGUN + ANSWER_WITHIN) == ([], [])
    assert world.heir.contested == 1
    assert world.run(BEGUN + ANSWER_WITHIN + KNOWN_WITHIN) == ([], [])


@pytest.mark.parametrize(
    ("becomes", "takes"), [(Kernel.SILENT, LOUD), (Kernel.ANSWERS, QUIET)], ids=str
)
def test_who_answers_is_the_owner_from_then_on(becomes: Kernel, takes: list[Take]) -> None:
    """When it falls silent its own machine decides, not that of the heir before us."""
    opposite = Kernel.ANSWERS if becomes is Kernel.SILENT else Kernel.SILENT
    world = World(opposite, kernels={"third": Kernel.ANSWERS})
    world.begin()
    world.heir.answered(VIP, "third")
    assert world.run(BEGUN + ANSWER_WITHIN) == ([], [])
    assert world.heir.owners() == {"third"}
    world.kernels["third"] = becomes
    assert world.run(BEGUN + 2.0)[0] == takes


@pytest.mark.parametrize(
    ("answered_by", "granted_by", "takes"),
    [(None, "third", LOUD), ("third", "third", LOUD), ("owner", "third", [])],
)
def test_who_answers_and_says_that_the_ip_is_ours_is_relieved(
    answered_by: str | None, granted_by: str, takes: list[Take]
) -> None:
    world = begun(Kernel.ANSWERS)
    if answered_by is not None:
        world.heir.answered(VIP, answered_by)
    assert world.heir.granted(VIP, granted_by) == takes
    assert world.heir.holds(VIP) is not bool(takes)
    assert world.heir.granted(IPv4Address("192.0.2.1"), granted_by) == []


@pytest.mark.parametrize("after", [0.0, ANSWER_WITHIN])
def test_an_ip_that_is_not_ours_any_more_is_not_taken(after: float) -> None:
    world = begun(Kernel.ANSWERS)
    world.heir.handle_timeout(BEGUN + after)
    world.heir.cancel(VIP)
    world.kernel = Kernel.SILENT
    assert world.run(BEGUN + 5.0) == ([], [])
    assert not world.heir.holds(VIP)
    assert not world.heir.quiet(VIP)
    assert world.heir.owners() == frozenset()


def test_what_is_contested_or_taken_without_a_word_is_put_off_and_what_is_taken_aloud_is_not() -> (
    None
):
    world = begun(Kernel.SILENT)
    assert world.run(until=60.0)[0] == LOUD
    assert world.heir.put_off() == frozenset()

    world = begun(Kernel.ANSWERS)
    world.heir.answered(VIP, "owner")
    assert world.run(until=BEGUN + ANSWER_WITHIN)[0] == []
    assert world.heir.put_off() == {VIP}
    assert world.heir.put_off() == frozenset()
    assert world.run(until=60.0)[0] == QUIET
    assert world.heir.put_off() == {VIP}
    # Won for another service too.
    assert world.heir.stays_quiet(VIP)
    assert world.heir.put_off() == {VIP}
