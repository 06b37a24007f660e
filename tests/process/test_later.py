"""Jobs that nobody waits for: in order, after all else, and what is lost is counted."""

import asyncio
from functools import partial

import pytest

from process import later
from process.later import JOBS_A_TURN, Later

MANY = list(range(3 * JOBS_A_TURN + 1))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later, "AFTER", 0.0)


def test_jobs_are_done_in_order_some_a_turn() -> None:
    async def course() -> None:
        done: list[int] = []
        jobs = Later(lambda: False)
        for number in MANY:
            jobs.add(partial(done.append, number))
        assert done == []
        sizes = set()
        while len(done) < len(MANY):
            await asyncio.sleep(0)
            sizes.add(len(done))
        assert done == MANY
        assert {0, JOBS_A_TURN, 2 * JOBS_A_TURN} <= sizes

    asyncio.run(course())


def test_jobs_wait_while_there_is_something_better_to_do() -> None:
    async def course() -> None:
        done: list[int] = []
        asked = 0

        def busy() -> bool:
            nonlocal asked
            asked += 1
            return asked < 5

        jobs, over = Later(busy), asyncio.Event()
        jobs.add(lambda: done.append(asked))
        jobs.add(over.set)
        await over.wait()
        assert done == [5]

    asyncio.run(course())


def test_the_last_jobs_are_done_busy_or_not() -> None:
    async def course() -> None:
        done: list[int] = []
        jobs = Later(lambda: True)
        for number in MANY:
            jobs.add(partial(done.append, number))
        await jobs.finish()
        assert done == MANY

    asyncio.run(course())


def fail() -> None:
    raise LookupError("injected")


def test_a_job_that_raises_costs_itself_only() -> None:
    async def course() -> None:
        heard: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: heard.append(context["part"]))
        over, jobs = asyncio.Event(), Later(lambda: False)
        jobs.add(fail)
        jobs.add(over.set)
        await over.wait()
        assert heard == ["later"]

    asyncio.run(course())


def test_jobs_beyond_the_bound_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later, "MOST_JOBS", len(MANY) - 2)

    async def course() -> None:
        done: list[int] = []
        jobs = Later(lambda: True)
        for number in MANY:
            jobs.add(partial(done.append, number))
        await jobs.finish()
        assert done == MANY[:-2]
        assert jobs.dropped == 2

    asyncio.run(course())
