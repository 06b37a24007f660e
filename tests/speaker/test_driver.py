"""What the driver does with an echo, a letter or an announcement, before the next frame is read."""

import asyncio
import random
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from gossip.wire.messages import State
from link.address import IPAddress
from link.echo import EchoReply
from link.interface import Interface
from ownership.announcing.announcer import Announcer
from ownership.announcing.clients import Clients
from ownership.contact import Contact
from ownership.election.election import order
from ownership.election.quorum import Quorum, QuorumMode
from ownership.failover import Failover
from ownership.handover.heir import ASKS_AT_ONCE
from ownership.handover.succession import Succession
from ownership.io import EchoRequest, OwnershipEvent, PutOff
from ownership.letters import letters
from ownership.letters.courier import Letter
from ownership.letters.letters import Hello, LetterKind, PeerLink
from ownership.letters.mark import Flags
from ownership.liveness.roster import Peer
from ownership.liveness.targets import Timing
from ownership.ownership import Ownership
from plan.planner import Planner
from plan.release import Options
from plan.service import ServicePlan
from process.health import Health
from process.later import Later
from speaker import driver as driver_module
from speaker import upkeep
from speaker.configuration import Configuration
from speaker.driver import Driver, Parts
from speaker.metrics.collector import Figures, make_registry
from speaker.record.recording import Recording
from speaker.telling import Telling
from speaker.vitals import Vitals
from speaker.wire import echoes
from speaker.wire.layer2 import Layer2Stats

VIP = IPv4Address("198.51.100.1")
NAMES = frozenset("abc")
NOW = 50.0
LINK_B = PeerLink("ens1", b"\x02\0\0\0\0\x0b", (IPv4Address("192.0.2.2"),))
LINK_C = PeerLink("ens1", b"\x02\0\0\0\0\x0c", (IPv4Address("192.0.2.3"),))
ETH0 = Interface(
    7,
    "eth0",
    b"\x02\0\0\0\0\x0a",
    up=True,
    carrier=True,
    broadcast=True,
    noarp=False,
    addresses=frozenset({IPv4Interface("192.0.2.1/24")}),
)


class Wire:
    """In the place of layer 2: what is asked goes into a list, and no frame ever comes."""

    def __init__(self) -> None:
        self.asked: list[IPAddress] = []
        self.read: list[str] = []
        self.stats = Layer2Stats()

    def usable(self) -> dict[int, Interface]:
        return {ETH0.index: ETH0}

    def names(self) -> frozenset[str]:
        return frozenset({ETH0.name})

    def ask(self, ip: IPAddress, ifindex: int, mac: bytes | None) -> None:
        self.asked.append(ip)

    def read_dry(self) -> None:
        self.read.append("frames")

    def flush(self) -> None:
        self.read.append("flush")

    def discard(self) -> None:
        self.read.append("discard")


class Gossip:
    """In the place of the gossip agent: b and c live, and what is sent goes nowhere."""

    def live(self) -> frozenset[str]:
        return NAMES

    def others(self) -> list[Peer]:
        return [Peer("b", 1, Flags.NONE, State.ALIVE), Peer("c", 2, Flags.NONE, State.ALIVE)]

    def nothing(self, *_arguments: Any) -> None:
        pass

    send = set_flags = exchange = call = keep_time = report_refusals = nothing


def make_driver(clock: Callable[[], float] = lambda: NOW, wire: Wire | None = None) -> Driver:
    """Node `a`, which knows `b` and `c`; the parts are real but for both networks."""
    contact = Contact(NOW)
    contact.handle_exchange(NOW, True, NOW)
    contact.events()
    announcer = Announcer(contact, Clients())
    failover = Failover("a", Timing.of(0.35), announcer, contact, random.Random(1), NOW)
    core = Ownership("a", contact, announcer, failover, Quorum(QuorumMode.OFF))
    layer2, peers, log = cast(Any, wire or Wire()), cast(Any, Gossip()), structlog.get_logger()
    announcer.set_interfaces(layer2.usable(), NOW)
    core.set_interfaces(layer2.usable(), NOW)
    core.set_peers(peers.others(), NOW)
    core.handle_letter(
        Letter(LetterKind.HELLO, "b", "b", 1, letters.encode_hello(Hello((LINK_B,)))), NOW
    )
    figures = Figures("a", layer2.stats, core.services(), core.serves, core.owners)
    _, instruments = make_registry(figures)
    planner = Planner(Options(own_node="a"))
    configuration = Configuration(
        planner, core, lambda: driver.wake(), layer2, figures, lambda links: None, log
    )
    telling = Telling(core, layer2, Later(lambda: False), instruments, None, clock, log)
    vitals = Vitals(core, configuration, peers, Health(), figures, instruments, log)
    parts = Parts(layer2, peers, configuration, telling, vitals, Recording("a"))
    driver = Driver(core, parts, clock, log)
    return driver


def plan(driver: Driver) -> IPAddress:
    """A service that b owns, or a where b may not; it is settled."""
    orders = ((VIP + n, order(NAMES, str(VIP + n))) for n in range(1_000))
    ip = next(ip for ip, names in orders if names[:2] == ["b", "a"])
    plan = ServicePlan("ns/a", (ip,), str(ip), None, voters=NAMES)
    driver.core.set_plan("ns/a", plan, "configuration")
    driver.settle()
    assert driver.core.owners()["ns/a"] == "b"
    return ip


def reply_to(request: EchoRequest) -> Any:
    """A socket by which that has come, and no more."""
    reply = EchoReply(echoes._IDENTIFIER, 1, request.token)
    replies = [(str(request.ip), reply)]
    return SimpleNamespace(receive=lambda most: [replies.pop()] if replies else [])


def failures() -> list[object]:
    """Which parts have survived something, from now on."""
    heard: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: heard.append(context["part"]))
    return heard


@pytest.mark.parametrize("gone", [True, False])
def test_an_echo_that_voids_a_verdict_is_acted_upon_at_once(gone: bool) -> None:
    """The heir of a node that is back must not answer the next question for it."""

    async def overhear() -> list[frozenset[str]]:
        driver = make_driver()
        plan(driver)
        if gone:
            driver.handle_letter(Letter(LetterKind.GONE, "c", "b", 1, b"ens1"))
            driver.settle()
            assert driver.core.owners()["ns/a"] == "a"
        named: list[frozenset[str]] = []
        settle = driver.core.settle

        def settled(now: float, enough: Callable[[], bool]) -> None:
            settle(now, enough)
            named.append(driver.core._handing.bars().named)

        cast(Any, driver.core).settle = settled
        driver.core.handle_timeout(NOW + 1.0)
        [request] = driver.core.echo_requests()
        socket = reply_to(request)
        driver._echoes._readable(ETH0.index, socket)
        assert driver.core.owners()["ns/a"] == "b"
        driver._echoes._readable(ETH0.index, socket)
        driver.close()
        return named

    assert asyncio.run(overhear()) == ([frozenset()] if gone else [])


def test_an_announcement_alone_voids_no_verdict() -> None:
    """It proves that its sender sends, not that it hears: so it is asked, and its echo counts."""

    async def overhear() -> frozenset[str]:
        driver = make_driver()
        driver.handle_letter(Letter(LetterKind.GONE, "c", "b", 1, b"ens1"))
        driver.handle_announcement(VIP, ETH0.index, LINK_B.mac, NOW)
        driver.core.handle_timeout(NOW)
        asked = [request.ip for request in driver.core.echo_requests()]
        assert asked == list(LINK_B.ips)
        driver.close()
        return driver.core._handing.bars().named

    assert asyncio.run(overhear()) == {"b"}


def test_from_a_lost_echo_to_a_takeover_it_is_one_call_of_the_timer() -> None:
    """Its verdict is elected by, and the wire asked for the IP, before the loop turns again."""

    async def course() -> None:
        now, wire, answering = NOW, Wire(), {*LINK_B.ips, *LINK_C.ips}
        driver = make_driver(lambda: now, wire)
        ip = plan(driver)

        def answer(request: EchoRequest) -> None:
            if request.ip in answering:
                driver.core.handle_echo(request.ifindex, request.ip, request.token, now)

        cast(Any, driver._echoes).send = answer
        hello = letters.encode_hello(Hello((LINK_C,)))
        driver.handle_letter(Letter(LetterKind.HELLO, "c", "c", 1, hello))
        while not wire.asked:
            now += 0.01
            assert now < NOW + 5.0
            if now > NOW + 2.0:
                answering.difference_update(LINK_B.ips)
                driver.core.handle_letter(Letter(LetterKind.MISSING, "c", "b", 1, b"ens1"), now)
            assert driver.core.owners()["ns/a"] == "b"
            driver._on_timer()
        assert driver.core.owners()["ns/a"] == "a"
        # The machine that keeps silent is asked for its MAC, and all for the IP.
        assert [asked for asked in wire.asked if asked not in LINK_B.ips] == [ip]
        driver.close()

    asyncio.run(course())


def test_who_looks_beside_hears_at_once_of_a_death_that_moves_no_service() -> None:
    """A verdict on a machine elsewhere bars nobody here, so that no turn follows from it."""

    async def course() -> None:
        driver, seen = make_driver(), list[frozenset[str]]()
        lives = cast(Any, driver.core)._handing.lives
        lives.ask_over_routers(True, NOW)
        driver.beside = lambda: seen.append(lives.gone())
        driver.handle_letter(Letter(LetterKind.FAR_GONE, "c", "b", 1, b""))
        assert seen == [{"b"}]
        driver.close()

    asyncio.run(course())


def test_what_has_arrived_is_read_before_anything_follows_from_what_is_known() -> None:
    async def course() -> list[str]:
        wire = Wire()
        driver = make_driver(wire=wire)
        settle, fire = driver.core.settle, driver.core.handle_timeout

        def settled(now: float, enough: Callable[[], bool]) -> None:
            wire.read.append("settle")
            settle(now, enough)

        def fired(now: float) -> bool:
            wire.read.append("fire")
            return fire(now)

        core, sockets = cast(Any, driver.core), cast(Any, driver._echoes)
        core.settle, core.handle_timeout = settled, fired
        sockets.read_dry = lambda: wire.read.append("echoes")
        driver.core.leave(NOW)
        driver._on_timer()
        driver.close()
        return wire.read

    assert asyncio.run(course()) == ["echoes", "fire", "frames", "echoes", "settle", "flush"]


def test_the_timer_comes_again_whatever_it_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "RETRY", 0.0)

    async def course() -> list[object]:
        heard = failures()
        driver, again = make_driver(), asyncio.Event()
        real = driver.core.handle_timeout

        def handle_timeout(now: float) -> bool:
            if len(heard) < 3:
                raise LookupError("injected")
            again.set()
            return real(now)

        monkeypatch.setattr(driver.core, "handle_timeout", handle_timeout)
        driver._on_timer()
        async with asyncio.timeout(10.0):
            await again.wait()
        driver.close()
        return heard

    assert asyncio.run(course()) == ["failover"] * 3


def test_a_turn_that_failed_comes_again_and_holds_up_no_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def course() -> list[object]:
        now, heard, turns = NOW, failures(), list[float]()
        driver = make_driver(lambda: now)
        fired, real = list[float](), driver.core.handle_timeout

        def handle_timeout(now: float) -> bool:
            fired.append(now)
            return real(now)

        def turn(now: float) -> None:
            turns.append(now)
            if len(turns) == 1:
                raise LookupError("injected")

        monkeypatch.setattr(driver, "_turn", turn)
        monkeypatch.setattr(driver.core, "handle_timeout", handle_timeout)
        driver.settle()
        while len(turns) < 2:
            assert now < NOW + 1.0
            now += 0.01
            driver._on_timer()
        assert turns[1] - turns[0] == pytest.approx(upkeep.RETRY, abs=0.011)
        assert len(fired) >= 20
        driver.close()
        return heard

    assert asyncio.run(course()) == ["turn"]


def test_work_of_many_bites_takes_one_bite_a_turn_whoever_else_calls() -> None:
    """Two chains of turns once went on with the same work, and the timer with a third."""

    async def course() -> list[int]:
        driver = make_driver()
        turns, left = list[int](), 5

        def turn(now: float) -> None:
            nonlocal left
            turns[-1] += 1
            left -= 1
            if left > 0:
                driver.wake()

        driver._turn = turn  # type: ignore[method-assign]
        driver.core.is_due = lambda now: True  # type: ignore[method-assign]
        driver.wake()
        turns.append(0)
        driver.settle()
        while left > 0:
            turns.append(0)
            driver._on_timer()
            await asyncio.sleep(0)
        driver.close()
        return turns

    assert asyncio.run(course()) == [1] * 5


def test_a_reply_that_raises_costs_itself_only() -> None:
    async def course() -> list[object]:
        heard = failures()
        driver = make_driver()

        def receive(limit: int) -> Iterator[Any]:
            raise LookupError("injected")
            yield

        driver._echoes._readable(7, cast(Any, SimpleNamespace(receive=receive)))
        # The timer is set by what was known before.
        assert driver._timer is not None
        driver.close()
        return heard

    assert asyncio.run(course()) == ["echoes"]


def test_ips_that_are_put_off_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def course() -> list[OwnershipEvent]:
        driver = make_driver()
        waiting = [frozenset({VIP}), frozenset()]
        monkeypatch.setattr(Succession, "postponements", lambda self: waiting.pop(0))
        told: list[OwnershipEvent] = []
        monkeypatch.setattr(driver._telling, "tell", lambda event, now: told.append(event))
        driver._heed()
        driver._heed()
        driver.close()
        return told

    assert asyncio.run(course()) == [PutOff(frozenset({VIP}))]


def test_questions_that_wait_for_the_next_turn_leave_whoever_settles_between() -> None:
    """The heir of many IPs asks for some of them in each turn, and echoes come meanwhile."""
    ips = [VIP + number for number in range(3 * ASKS_AT_ONCE + 1)]
    wire = Wire()

    async def inherit() -> None:
        begun, loop = asyncio.get_running_loop().time(), asyncio.get_running_loop()
        driver = make_driver(lambda: NOW + loop.time() - begun, wire)
        for ip in ips:
            driver.core._handing.win("ns/a", ip, None, "b", NOW)
        driver._heed()
        driver._heed_echoes()
        driver._heed_echoes()
        async with asyncio.timeout(20.0):
            while len(wire.asked) < len(ips):  # noqa: ASYNC110 - the wire signals nothing
                await asyncio.sleep(0)
        driver.close()

    asyncio.run(inherit())
    assert wire.asked == ips
