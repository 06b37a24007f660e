"""Ends and errors: fatal, begun again, or survived; each counted, and logged but sparingly."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from process import logs
from process.logs import INTERVAL, MOST_SUBJECTS, Sparing
from speaker import upkeep
from speaker.upkeep import FAILING_FOR, QUIET, Part, Retries, Upkeep, describe, survive


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))


class Rig:
    """An upkeep with a clock of its own."""

    def __init__(self) -> None:
        self.now, self.log = 1_000.0, Log()
        self.fatal: list[str] = []
        self.upkeep = Upkeep(self._on_fatal, cast(Any, self.log), lambda: self.now)

    def _on_fatal(self, reason: str, error: BaseException | None) -> None:
        self.fatal.append(reason)

    def fail(self, part: Part, text: str = "x") -> None:
        survive(part, RuntimeError(text))


def run(scenario: Callable[[Rig], Coroutine[Any, Any, None]]) -> None:
    async def course() -> None:
        rig = Rig()
        rig.upkeep.listen(asyncio.get_running_loop())
        async with asyncio.timeout(10.0):
            await scenario(rig)

    asyncio.run(course())


def test_what_is_survived_is_counted_and_logged_once_a_minute() -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(5):
            rig.fail(Part.FRAMES)
        assert rig.upkeep.survived == {Part.FRAMES: 5}
        ((event, fields),) = rig.log.lines
        assert (event, fields["part"], fields["error"]) == ("survived", "frames", "RuntimeError: x")
        rig.now += INTERVAL
        rig.fail(Part.FRAMES)
        assert rig.log.lines[1][1]["more"] == 4

    run(scenario)


def test_another_part_and_another_error_have_lines_of_their_own() -> None:
    async def scenario(rig: Rig) -> None:
        for part, text in ((Part.FRAMES, "a"), (Part.FRAMES, "b"), (Part.ECHOES, "a")):
            rig.fail(part, text)
        assert len(rig.log.lines) == 3

    run(scenario)


def test_callbacks_and_forgotten_tasks_are_heard_of() -> None:
    async def scenario(rig: Rig) -> None:
        def callback() -> None:
            raise LookupError("callback")

        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert rig.upkeep.survived == {Part.LOOP: 1}
        assert rig.log.lines[0][1]["error"] == "LookupError: callback"
        assert rig.fatal == []

    run(scenario)


def test_a_thread_that_ends_by_an_error_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(rig: Rig) -> None:
        monkeypatch.setattr(threading, "excepthook", rig.upkeep.handle_thread_error)

        def work() -> None:
            raise LookupError("thread")

        thread = threading.Thread(target=work)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert rig.upkeep.survived == {Part.THREAD: 1}

    run(scenario)


async def _return() -> None:
    return


async def _raise() -> None:
    raise LookupError("why")


async def _wait() -> None:
    await asyncio.Event().wait()


def test_a_group_is_named_by_its_first_error() -> None:
    group = ExceptionGroup("group", [ExceptionGroup("inner", [LookupError("why")])])
    assert describe(group) == "LookupError: why"


def test_an_end_is_fatal_but_at_the_end() -> None:
    rig = Rig()
    rig.upkeep.fail(Part.SOURCE, None)
    rig.upkeep.fail(Part.GOSSIP, LookupError("why"))
    rig.upkeep.close()
    rig.upkeep.fail(Part.GOSSIP, None)
    assert rig.fatal == ["source: ended", "gossip: LookupError: why"]


@pytest.mark.parametrize("end", [_return, _raise])
def test_a_helper_that_ends_is_begun_again_later_each_time(
    end: Callable[[], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await (real(0) if len(pauses) < 10 else _wait())

    async def scenario(rig: Rig) -> None:
        monkeypatch.setattr(upkeep.asyncio, "sleep", sleep)  # type: ignore[attr-defined]
        task = rig.upkeep.keep(Part.SEEDS, end)
        while len(pauses) < 10:
            await real(0)
        task.cancel()
        assert pauses[:7] == [0.5, 1, 2, 4, 8, 16, 30]
        assert max(pauses) == upkeep.LONGEST_PAUSE
        assert rig.upkeep.survived == {Part.SEEDS: 10}
        assert rig.fatal == []

    run(scenario)


def test_an_essential_part_that_goes_on_failing_is_fatal() -> None:
    async def scenario(rig: Rig) -> None:
        began = rig.now
        while rig.now - began < FAILING_FOR:
            rig.fail(Part.TURN)
            assert rig.fatal == []
            rig.now += QUIET / 2
        rig.fail(Part.TURN)
        assert rig.fatal == ["turn: RuntimeError: x"]

    run(scenario)


def test_one_that_fails_now_and_then_is_survived() -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(100):
            rig.fail(Part.TURN)
            rig.now += QUIET * 1.01
        assert rig.fatal == []

    run(scenario)


def test_what_strangers_can_make_fail_is_never_fatal() -> None:
    async def scenario(rig: Rig) -> None:
        for part in Part:
            if part not in upkeep._ESSENTIAL:
                for _ in range(100):
                    rig.fail(part)
                    rig.now += QUIET / 2
        assert rig.fatal == []

    run(scenario)


def test_a_retry_gives_way_to_the_next_one_of_its_key() -> None:
    async def scenario(rig: Rig) -> None:
        retries, done, came = Retries(), list[str](), asyncio.Event()
        retries.later("a", 0.0, done.append, "first")
        retries.later("a", 0.0, done.append, "second")
        retries.later("b", 0.0, done.append, "dropped")
        retries.drop("b")
        retries.later("c", 0.0, came.set)
        await came.wait()
        assert done == ["second"]

    run(scenario)


def test_lines_are_spared_by_subject_and_in_all() -> None:
    now = 0.0
    sparing = Sparing(lambda: now)
    assert [sparing.ask("a"), sparing.ask("a"), sparing.ask("b")] == [0, None, 0]
    asked = [sparing.ask(str(number)) for number in range(2 * MOST_SUBJECTS)]
    assert asked.count(0) == MOST_SUBJECTS - 2
    now = INTERVAL
    assert sparing.ask("a") == 1
    assert sparing.ask("new") == 0
    assert len(sparing._said) <= logs.MOST_SUBJECTS
