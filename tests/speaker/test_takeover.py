"""An heir's first steps: loud, quiet, contested, or unknown."""

from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from speaker.takeover import (
    ANSWER_WITHIN,
    ASK_AGAIN,
    ASKS_A_SECOND,
    KNOWN_WITHIN,
    Ask,
    Mode,
    Take,
    Takeovers,
)
from speaker.watch import Kernel

VIP = IPv4Address("192.0.2.100")
MAC, MAC1, STRANGE = b"\x02\0\0\0\0\x0a", b"\x02\0\0\0\0\x1a", b"\x02\0\0\0\0\x0f"
ETH0, ETH1 = 2, 3
BEGUN = 10.0
LOUD, QUIET = [Take(VIP, Mode.LOUD)], [Take(VIP, Mode.QUIET)]


@dataclass
class World:
    """The heir, and what the old owner's kernel does."""

    kernel: Kernel
    asked_about: list[tuple[str, list[int]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.heir = Takeovers(self._kernel)

    def _kernel(self, owner: str, links: Collection[int]) -> Kernel:
        self.asked_about.append((owner, list(links)))
        return self.kernel

    def begin(self) -> None:
        self.heir.begin(VIP, "owner", {ETH0: MAC, ETH1: MAC1}, BEGUN)

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


def test_the_old_owner_is_asked_once_on_every_link() -> None:
    world = begun(Kernel.SILENT)
    assert world.heir.asks() == [Ask(VIP, ETH0, MAC), Ask(VIP, ETH1, MAC1)]
    assert world.heir.asks() == []
    assert world.heir.holds(VIP)
    assert world.heir.owners() == {"owner"}
    assert world.heir.handle_timeout(BEGUN + ANSWER_WITHIN / 2) == []


@pytest.mark.parametrize(
    ("kernel", "answered", "takes"),
    [
        (Kernel.SILENT, False, LOUD),
        # A dead machine's answer was on its way when it died, or is somebody else's.
        (Kernel.SILENT, True, LOUD),
        (Kernel.ANSWERS, False, QUIET),
        (Kernel.ANSWERS, True, []),
    ],
)
def test_what_an_heir_decides_within_twenty_milliseconds(
    kernel: Kernel, answered: bool, takes: list[Take]
) -> None:
    world = begun(kernel)
    if answered:
        world.heir.answered(VIP, MAC1)
    assert world.heir.deadline() == pytest.approx(BEGUN + 0.02)
    assert world.heir.handle_timeout(BEGUN + 0.02) == takes
    assert world.asked_about[0] == ("owner", [ETH0, ETH1])
    assert world.heir.holds(VIP) is not bool(takes)
    assert world.heir.quiet(VIP) is (takes == QUIET)
    assert world.heir.contested == (not takes)


def test_somebody_elses_answer_contests_nothing() -> None:
    world = begun(Kernel.ANSWERS)
    world.heir.answered(VIP, STRANGE)
    world.heir.answered(IPv4Address("192.0.2.1"), MAC)
    assert world.heir.handle_timeout(BEGUN + ANSWER_WITHIN) == QUIET


@pytest.mark.parametrize(
    ("becomes", "takes"), [(Kernel.SILENT, LOUD), (Kernel.ANSWERS, QUIET)], ids=str
)
def test_an_unknown_kernel_is_waited_for(becomes: Kernel, takes: list[Take]) -> None:
    world = begun(Kernel.UNKNOWN)
    assert world.run(BEGUN + 0.1) == ([], [])
    world.kernel = becomes
    assert world.run(BEGUN + 0.15) == (takes, [])


def test_a_kernel_that_stays_unknown_holds_nothing_up_for_long() -> None:
    world = begun(Kernel.UNKNOWN)
    assert world.run(BEGUN + KNOWN_WITHIN - 0.001) == ([], [])
    assert world.run(BEGUN + KNOWN_WITHIN + ANSWER_WITHIN) == (LOUD, [])


def test_a_contested_ip_is_asked_for_every_second_and_taken_when_the_process_ends() -> None:
    world = begun(Kernel.ANSWERS)
    world.heir.answered(VIP, MAC)
    world.heir.handle_timeout(BEGUN + ANSWER_WITHIN)
    takes, asked = world.run(BEGUN + ANSWER_WITHIN + ASK_AGAIN)
    assert takes == []
    assert asked == pytest.approx([BEGUN + ANSWER_WITHIN + ASK_AGAIN])
    world.heir.answered(VIP, MAC)
    assert world.run(BEGUN + 2.0) == ([], [])
    assert world.heir.contested == 1
    # This time it does not answer.
    takes, asked = world.run(BEGUN + 3.0)
    assert (takes, len(asked)) == (QUIET, 1)
    assert world.heir.contested == 0


def test_a_contested_ip_is_taken_aloud_when_the_machine_dies() -> None:
    world = begun(Kernel.ANSWERS)
    world.heir.answered(VIP, MAC)
    world.heir.handle_timeout(BEGUN + ANSWER_WITHIN)
    world.kernel = Kernel.SILENT
    assert world.run(BEGUN + 2.0) == (LOUD, [])


def test_contested_ips_are_asked_for_no_more_than_five_times_a_second() -> None:
    """Switches that inspect ARP shut a port at 15 a second."""
    heir = Takeovers(lambda owner, links: Kernel.ANSWERS)
    ips = [IPv4Address(f"192.0.2.{index}") for index in range(20)]
    for ip in ips:
        heir.begin(ip, "owner", {ETH0: MAC}, BEGUN)
        heir.answered(ip, MAC)
    heir.asks()
    heir.handle_timeout(BEGUN + ANSWER_WITHIN)
    times: list[float] = []
    while (now := heir.deadline()) <= BEGUN + 12.0:
        assert heir.handle_timeout(now) == []
        for ask in heir.asks():
            times.append(now)
            heir.answered(ask.ip, MAC)
    assert len(times) >= 2 * len(ips)
    for start in times:
        assert sum(start <= at < start + 0.999 for at in times) <= ASKS_A_SECOND


def test_a_quiet_ip_is_announced_when_the_machine_is_gone_too() -> None:
    world = begun(Kernel.ANSWERS)
    assert world.heir.handle_timeout(BEGUN + ANSWER_WITHIN) == QUIET
    assert world.heir.handle_timeout(BEGUN + 1.0) == []
    world.kernel = Kernel.UNKNOWN
    assert world.heir.handle_timeout(BEGUN + 2.0) == []
    assert world.heir.owners() == {"owner"}
    world.kernel = Kernel.SILENT
    assert world.heir.handle_timeout(BEGUN + 3.0) == LOUD
    assert world.heir.owners() == frozenset()
    assert world.heir.handle_timeout(BEGUN + 4.0) == []


def test_a_quiet_ip_that_stays_ours_is_announced_when_the_owner_is_back() -> None:
    world = begun(Kernel.ANSWERS)
    world.heir.handle_timeout(BEGUN + ANSWER_WITHIN)
    assert world.heir.owner_back("third") == []
    assert world.heir.owner_back("owner") == LOUD
    assert world.heir.owner_back("owner") == []


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
