"""The door to a real FRR: typed lines, readings, and an engine that hangs, dies and comes back."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from bgp.door.engine_states import EngineState
from bgp.door.frr import DoorTiming, Engine, LineStatus, Query, RefusedLine, TypingOutcome
from bgp.door.shared_folder import SharedFolder
from frr_container import WITHIN, FrrContainer, frr_container, missing_container
from machine import slowness

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(missing_container() is not None, reason=missing_container() or ""),
]
NEIGHBORS = Query("bgpd", "show bgp vrf all neighbors json", json.loads)
PEERS = Query("bfdd", "show bfd peers json", json.loads)
TIMING = DoorTiming(answer=1.0, read=0.1)
ROUTER = ["router bgp 64512", "no bgp default ipv4-unicast"]
PEER = ["neighbor 127.0.0.2 remote-as 64501", "neighbor 127.0.0.2 timers connect 5"]
PASSWORD = "neighbor 127.0.0.2 password s3cret"


@dataclass
class Speaker:
    """Who stands on our side of the door."""

    door: Engine
    states: list[EngineState] = field(default_factory=list)
    ready: int = 0
    readings: list[tuple[str, Any]] = field(default_factory=list)

    def got_ready(self) -> None:
        self.ready += 1

    def read(self, query: Query, reading: Any) -> None:
        self.readings.append((query.daemon, reading))

    async def until(self, done: Callable[[], Any], what: str) -> None:
        end = time.monotonic() + WITHIN
        while not done():
            assert time.monotonic() < end, f"{what}: {self.states}"
            await asyncio.sleep(0.005)

    async def until_ready(self, times: int = 1) -> None:
        await self.until(lambda: self.ready >= times, "not ready")

    async def running(self) -> list[str]:
        text = await self.door.show("bgpd", "show running-config")
        assert text is not None
        return [line.strip() for line in text.splitlines()]


@asynccontextmanager
async def speaker(
    container: FrrContainer, queries: Sequence[Query] = (NEIGHBORS, PEERS)
) -> AsyncIterator[Speaker]:
    ours: Speaker
    door = Engine(
        SharedFolder(container.folder),
        ready=lambda: ours.got_ready(),
        changed=lambda state: ours.states.append(state),
        read=lambda query, reading: ours.read(query, reading),
        queries=queries,
        timing=TIMING,
    )
    ours = Speaker(door)
    door.start()
    try:
        yield ours
    finally:
        await door.close()


@pytest.fixture(scope="module")
def module_container() -> Iterator[FrrContainer]:
    with frr_container() as running:
        running.want()
        running.wait_for("running")
        yield running


@pytest.fixture
def container(module_container: FrrContainer) -> Iterator[FrrContainer]:
    """One container for all tests; each leaves it running, and leaves no router."""
    yield module_container

    async def clean() -> None:
        async with speaker(module_container, ()) as ours:
            await ours.until_ready()
            await ours.door.type("bgpd", ["no router bgp"])

    asyncio.run(clean())


def run(test: Callable[[Speaker], Any], container: FrrContainer) -> None:
    async def body() -> None:
        async with speaker(container) as ours:
            await ours.until_ready()
            await test(ours)

    asyncio.run(body())


def test_lines_are_typed_and_there(container: FrrContainer) -> None:
    async def body(ours: Speaker) -> None:
        assert ours.door.daemons == {"zebra", "bgpd", "bfdd"}
        typed = await ours.door.type("bgpd", [*ROUTER, *PEER, "exit"])
        assert (typed.outcome, typed.refusals) == (TypingOutcome.TYPED, 0)
        assert set(PEER) <= set(await ours.running())
        # The same once more changes nothing, and is taken.
        assert (await ours.door.type("bgpd", [*ROUTER, *PEER, "exit"])).refusals == 0
        for daemon, lines in (("zebra", ["ip nht resolve-via-default"]), ("bfdd", ["bfd"])):
            assert await ours.door.type(daemon, lines) == typed

    run(body, container)


def test_what_is_refused_is_told_by_its_place_and_without_its_password(
    container: FrrContainer,
) -> None:
    async def body(ours: Speaker) -> None:
        lines = [
            *ROUTER,
            "no such command",
            "neighbor 127.0.0.9 password s3cret",
            PEER[0],
            "neighbor 127.0.0.2\npassword s3cret",
            "exit",
            "router bgp 64513",
        ]
        typed = await ours.door.type("bgpd", lines)
        assert typed.outcome is TypingOutcome.TYPED
        assert typed.refusals == 4
        assert typed.refused == [
            RefusedLine(2, LineStatus.UNKNOWN, "no such command"),
            RefusedLine(3, LineStatus.REFUSED, "neighbor 127.0.0.9 password ***"),
            RefusedLine(5, LineStatus.UNFIT, "neighbor 127.0.0.2?password ***"),
            RefusedLine(7, LineStatus.REFUSED, "router bgp 64513"),
        ]
        assert "s3cret" not in repr(typed)
        # What stands after a refused line is typed all the same.
        assert PEER[0] in await ours.running()

    run(body, container)


def test_contexts_that_are_refused_lead_nowhere_else(container: FrrContainer) -> None:
    """Each `exit` of one would lead one step out, and the third one out of the connection."""

    async def body(ours: Speaker) -> None:
        wrong = ["router bgp 64513", "neighbor 127.0.0.8 remote-as 1", "exit"]
        lines = [*ROUTER, "exit", *wrong, *wrong, *wrong, ROUTER[0], *PEER, "exit"]
        typed = await ours.door.type("bgpd", lines)
        assert (typed.outcome, typed.refusals) == (TypingOutcome.TYPED, 6)
        # The way out is taken all the same; what follows stands where it should.
        assert set(PEER) <= set(await ours.running())
        assert ours.states == READY

    run(body, container)


def test_many_refusals_are_counted_and_few_are_kept(container: FrrContainer) -> None:
    async def body(ours: Speaker) -> None:
        typed = await ours.door.type("bgpd", [f"nonsense {number}" for number in range(300)])
        assert (typed.refusals, len(typed.refused)) == (300, 100)
        assert typed.refused[-1].index == 99

    run(body, container)


def test_a_thousand_prefixes_hold_up_nobody(container: FrrContainer) -> None:
    """The loop turns on meanwhile; what one turn took is measured in the loop's own time."""
    prefixes = [f" network 10.9.{n >> 8}.{n & 255}/32 route-map c1" for n in range(1000)]

    async def body(ours: Speaker) -> None:
        turns: list[float] = []

        async def count() -> None:
            while True:
                before = time.thread_time()
                await asyncio.sleep(0)
                turns.append(time.thread_time() - before)

        counting = asyncio.create_task(count())
        lines = [*ROUTER, "address-family ipv4 unicast", *prefixes, "exit-address-family", "exit"]
        typed = await ours.door.type("bgpd", lines)
        text = await ours.door.show("bgpd", "show running-config")
        counting.cancel()
        assert (typed.outcome, typed.refusals) == (TypingOutcome.TYPED, 0)
        assert text is not None
        assert text.count("network 10.9.") == 1000
        assert max(turns) < 0.005 * slowness()

    run(body, container)


def test_what_nobody_knows_is_none_and_nothing_is_raised(container: FrrContainer) -> None:
    async def body(ours: Speaker) -> None:
        assert await ours.door.show("bgpd", "show no such thing") is None
        assert await ours.door.show("bgpd", "show version\0show version") is None
        assert await ours.door.show("ospfd", "show version") is None
        assert (await ours.door.type("ospfd", ["a"])).outcome is TypingOutcome.NOT_READY
        version = await ours.door.show("bgpd", "show version")
        assert version is not None
        assert version.startswith("FRRouting")

    run(body, container)


def test_states_are_read_again_and_again(container: FrrContainer) -> None:
    async def body(ours: Speaker) -> None:
        await ours.door.type("bgpd", [*ROUTER, *PEER, "exit"])

        def sees_the_peer() -> bool:
            return any(
                daemon == "bgpd" and "127.0.0.2" in reading.get("default", {})
                for daemon, reading in ours.readings
            )

        await ours.until(sees_the_peer, "no reading with the peer")
        before = len(ours.readings)
        await ours.until(lambda: len(ours.readings) > before + 2, "no further readings")
        assert {daemon for daemon, _ in ours.readings} == {"bgpd", "bfdd"}

    run(body, container)


def test_a_reading_that_cannot_be_decoded_is_none(container: FrrContainer) -> None:
    async def body() -> None:
        async with speaker(container, [Query("bgpd", "show version", json.loads)]) as ours:
            await ours.until(lambda: ours.readings, "no reading")
            assert ours.readings[0] == ("bgpd", None)

    asyncio.run(body())


@pytest.mark.parametrize("victim", ["bgpd", "bfdd", "zebra"])
def test_one_that_hangs_is_found_and_all_is_typed_anew_when_it_goes_on(
    container: FrrContainer, victim: str
) -> None:
    async def body(ours: Speaker) -> None:
        container.signal(victim, signal.SIGSTOP)
        try:
            typing = asyncio.create_task(ours.door.type(victim, ["exit"]))
            began = time.monotonic()
            await ours.until(lambda: ours.door.state is EngineState.HUNG, "not found")
            assert time.monotonic() - began < (TIMING.answer + TIMING.read + 1.0) * slowness()
            assert (await typing).outcome is TypingOutcome.LOST
            assert (await ours.door.type(victim, ["exit"])).outcome is TypingOutcome.NOT_READY
            assert ours.door.daemons == frozenset()
        finally:
            container.signal(victim, signal.SIGCONT)
        await ours.until_ready(2)
        assert ours.states == [*READY, EngineState.HUNG, EngineState.READY]

    run(body, container)


def test_a_door_that_opens_on_one_that_hangs(container: FrrContainer) -> None:
    async def body() -> None:
        container.signal("bgpd", signal.SIGSTOP)
        try:
            async with speaker(container) as ours:
                await ours.until(lambda: ours.door.state is EngineState.HUNG, "not found")
                container.signal("bgpd", signal.SIGCONT)
                await ours.until_ready()
                assert ours.states == [
                    EngineState.CONNECTING,
                    EngineState.HUNG,
                    EngineState.READY,
                ]
        finally:
            container.signal("bgpd", signal.SIGCONT)

    asyncio.run(body())


READY = [EngineState.CONNECTING, EngineState.READY]


@pytest.mark.parametrize("victim", ["bgpd", "bfdd", "zebra"])
def test_one_that_dies_brings_a_new_engine_that_has_to_be_told_everything(
    container: FrrContainer, victim: str
) -> None:
    async def body(ours: Speaker) -> None:
        await ours.door.type("bgpd", [*ROUTER, *PEER, "exit"])
        restarts = container.names().count("running")
        container.signal(victim, signal.SIGKILL)
        began = time.monotonic()
        await ours.until(lambda: ours.door.state is EngineState.ABSENT, "nobody noticed")
        await ours.until(lambda: container.names().count("running") > restarts, "not back")
        await ours.until(lambda: ours.door.state is EngineState.READY, "not ready")
        assert time.monotonic() - began < 5.0 * slowness()
        # Whatever was seen of the engine that was ending, the last one is new, and was announced.
        assert ours.ready == ours.states.count(EngineState.READY) >= 2
        assert PEER[0] not in await ours.running()

    run(body, container)


def test_a_speaker_that_restarts_changes_nothing_at_the_engine(container: FrrContainer) -> None:
    async def first(ours: Speaker) -> None:
        await ours.door.type("bgpd", [*ROUTER, *PEER, PASSWORD, "exit"])
        before.extend(await ours.running())

    async def second(ours: Speaker) -> None:
        assert PASSWORD in before
        assert await ours.running() == before

    before: list[str] = []
    pids = container.pids()
    run(first, container)
    run(second, container)
    assert container.pids() == pids


def test_an_engine_that_nobody_wants_is_absent_and_comes_when_it_is_wanted() -> None:
    async def body(container: FrrContainer) -> None:
        folder = SharedFolder(container.folder)
        async with speaker(container) as ours:
            assert (await ours.door.type("bgpd", ["exit"])).outcome is TypingOutcome.NOT_READY
            assert folder.want(True)
            await ours.until_ready()
            assert folder.want(False)
            await ours.until(lambda: ours.door.state is EngineState.ABSENT, "still there")
        assert ours.door.state is EngineState.CLOSED

    with frr_container() as container:
        container.wait_for("ready")
        asyncio.run(body(container))


def test_a_listener_that_fails_ends_nothing(container: FrrContainer) -> None:
    async def body() -> None:
        heard: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: heard.append(context["exception"]))
        readings: list[Any] = []

        def fail(*_: Any) -> None:
            raise RuntimeError("a listener")

        def read(_: Query, reading: Any) -> None:
            readings.append(reading)
            fail()

        folder = SharedFolder(container.folder)
        door = Engine(
            folder, ready=fail, changed=fail, read=read, queries=[NEIGHBORS], timing=TIMING
        )
        door.start()
        end = time.monotonic() + WITHIN
        while len(readings) < 3:
            assert time.monotonic() < end
            await asyncio.sleep(0.005)
        assert door.state is EngineState.READY
        await door.close()
        assert {type(error) for error in heard} == {RuntimeError}

    asyncio.run(body())


def test_too_many_jobs_are_refused_and_none_is_forgotten(container: FrrContainer) -> None:
    async def body(ours: Speaker) -> None:
        jobs = [ours.door.type("bgpd", []) for _ in range(200)]
        outcomes = [typed.outcome for typed in await asyncio.gather(*jobs)]
        assert set(outcomes) == {TypingOutcome.TYPED, TypingOutcome.BUSY}
        assert outcomes.count(TypingOutcome.TYPED) >= 60

    run(body, container)


def test_a_caller_that_gives_up_holds_up_nobody(container: FrrContainer) -> None:
    async def body(ours: Speaker) -> None:
        task = asyncio.create_task(ours.door.type("bgpd", ["exit"] * 500))
        await asyncio.sleep(0)
        task.cancel()
        typed = await ours.door.type("bgpd", [*ROUTER, "exit"])
        assert (typed.outcome, typed.refusals) == (TypingOutcome.TYPED, 0)

    run(body, container)
