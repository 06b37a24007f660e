"""What the MED step is fed with, and what is said of it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from bgp.med_step import DAMPING, Med, prefers
from kube.bgp_config import BgpConfig, RouteAdvertisement
from kube.peering import AnyAS, Session
from process import logs
from speaker.bgp.fast_failover import FastFailover, Unable

OUTSIDE = Session("outside", 64500, 64501, hold=90)
INSIDE = Session("inside", 64500, 64500, hold=90)
AD = RouteAdvertisement("ad")
PREFERRED = RouteAdvertisement("preferred", local_pref=200)


def config(*sessions: Session, ads: tuple[RouteAdvertisement, ...] = (AD,)) -> BgpConfig:
    return BgpConfig(sessions, (), {"pool": ads})


class LivesByHand:
    """Says who is gone."""

    def __init__(self) -> None:
        self.names, self.others = frozenset[str](), frozenset[str]()
        self.asked = False

    def gone(self) -> frozenset[str]:
        return self.names

    def strangers(self) -> frozenset[str]:
        return self.others

    def ask_over_routers(self, wanted: bool, now: float) -> None:
        self.asked = wanted


class Stand:
    """A driver with a clock by hand."""

    def __init__(self, *, on: bool = True) -> None:
        self.lives, self.told = LivesByHand(), list[Med]()
        self.clock: Callable[[], float] = lambda: 0.0
        lives = self.lives if on else None
        self.rose = asyncio.Event()
        self.failover = FastFailover(lives, self.follow, lambda: self.clock(), logs.logger())

    def follow(self, med: Med) -> None:
        self.told.append(med)
        if Med.STEPPED in self.told and med is Med.PLAIN:
            self.rose.set()


def test_who_is_gone_makes_it_fall_and_strangers_end_it() -> None:
    async def scene() -> None:
        stand = Stand()
        stand.failover.take(config(OUTSIDE))
        assert stand.told == [Med.PLAIN]
        stand.failover.look()
        assert stand.told == [Med.PLAIN]
        stand.lives.names = frozenset({"a"})
        stand.failover.look()
        stand.lives.names = frozenset()
        stand.failover.look()
        assert stand.told[-1] is Med.STEPPED
        stand.lives.others = frozenset({"metallb"})
        stand.failover.look()
        assert (stand.told[-1], stand.failover.unable) == (Med.MIXED, Unable.STRANGERS)
        stand.failover.close()
        assert stand.failover.steps == 1

    asyncio.run(scene())


def test_other_subnets_are_watched_while_a_step_can_come_of_it() -> None:
    async def scene() -> None:
        stand = Stand()

        def asked() -> bool:
            stand.failover.look()
            return stand.lives.asked

        assert not asked(), "there is no session"
        stand.failover.take(config(OUTSIDE))
        assert asked()
        stand.lives.others = frozenset({"metallb"})
        stand.failover.look()
        assert not asked(), "the MED is 0 for all"
        stand.lives.others = frozenset()
        stand.failover.look()
        assert not asked(), "and stays so, while a stranger's routes may be there"
        stand.failover.close()

    asyncio.run(scene())


def test_the_timer_lets_it_rise_without_any_news() -> None:
    async def scene() -> None:
        stand = Stand()
        stand.lives.names = frozenset({"a"})
        stand.failover.look()
        stand.lives.names = frozenset()
        # When the timer is set the damping is almost over, and it is when the timer fires.
        times = iter((0.0, DAMPING - 0.001))
        stand.clock = lambda: next(times, DAMPING)
        stand.failover.look()
        assert stand.told[-1] is Med.STEPPED
        async with asyncio.timeout(60):
            await stand.rose.wait()

    asyncio.run(scene())


def test_switched_off_it_looks_at_nothing() -> None:
    stand = Stand(on=False)
    stand.lives.names = frozenset({"a"})
    stand.failover.look()
    assert stand.told == []
    assert (stand.failover.med, stand.failover.unable) == (Med.MIXED, Unable.SWITCHED_OFF)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (config(OUTSIDE), False),
        (config(INSIDE), False),
        (config(OUTSIDE, ads=(PREFERRED,)), False),
        (config(INSIDE, OUTSIDE, ads=(AD, PREFERRED)), True),
        (config(INSIDE, ads=(replace(PREFERRED, peers=frozenset({"outside"})),)), False),
        (config(INSIDE, ads=(replace(PREFERRED, peers=frozenset({"inside"})),)), True),
        (config(replace(INSIDE, peer_as=AnyAS.INTERNAL), ads=(PREFERRED,)), True),
        (config(replace(OUTSIDE, peer_as=AnyAS.EXTERNAL), ads=(PREFERRED,)), False),
    ],
)
def test_a_local_preference_counts_within_our_own_as_alone(wanted: BgpConfig, found: bool) -> None:
    assert prefers(wanted) is found
    stand = Stand()
    stand.failover.take(wanted)
    assert stand.failover.unable is (Unable.LOCAL_PREFERENCE if found else None)
