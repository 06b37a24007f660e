"""A coroutine in a thread of its own, and calls from loop to loop."""

import asyncio
import threading

import pytest

from process.loop_thread import LoopThread, Mailbox


def test_posts_of_another_thread_come_in_order_and_in_the_loops_thread() -> None:
    came: list[int] = []
    threads: set[threading.Thread] = set()

    async def run() -> None:
        box, done = Mailbox(), asyncio.Event()

        def take(number: int) -> None:
            came.append(number)
            threads.add(threading.current_thread())
            if number == 999:
                done.set()

        def post_all() -> None:
            for number in range(1, 1_000):
                box.post(take, number)

        box.post(take, 0)
        assert came == []
        box.open()
        assert came == [0]
        await asyncio.to_thread(post_all)
        await done.wait()

    asyncio.run(run())
    assert came == list(range(1_000))
    assert threads == {threading.main_thread()}


def test_many_posts_wake_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> int:
        box, woken = Mailbox(), 0
        loop = asyncio.get_running_loop()
        wake = loop.call_soon_threadsafe

        def counted(call: object) -> object:
            nonlocal woken
            woken += 1
            return wake(call)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        box.open()
        for _ in range(3):
            box.post(lambda: None)
        await asyncio.sleep(0)
        box.post(lambda: None)
        return woken

    assert asyncio.run(run()) == 2


def test_a_call_that_raises_costs_no_other() -> None:
    heard: list[object] = []
    came: list[str] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: heard.append(context["exception"]))
        box = Mailbox()
        box.post(int, "no number")
        box.post(came.append, "next")
        box.open()

    asyncio.run(run())
    assert came == ["next"]
    assert isinstance(heard[0], ValueError)


def test_a_closed_mailbox_takes_nothing_along() -> None:
    async def run() -> None:
        box = Mailbox()
        box.open()
        box.post(pytest.fail, "delivered")
        box.close()
        await asyncio.sleep(0)

    asyncio.run(run())


def test_the_coroutine_runs_in_its_own_thread_and_its_error_comes_here() -> None:
    where: list[threading.Thread] = []

    async def work() -> None:
        where.append(threading.current_thread())
        raise LookupError("as it was")

    with pytest.raises(LookupError, match="as it was"):
        asyncio.run(LoopThread("test").run(work()))
    assert where != [threading.main_thread()]


def test_a_thread_that_cancels_itself_ends_in_order() -> None:
    """Nobody asked for it: whoever waits is told of an end, which the daemon takes for fatal."""

    async def work() -> None:
        raise asyncio.CancelledError

    asyncio.run(LoopThread("test").run(work()))


def test_who_is_cancelled_cancels_it_there_and_waits_for_its_end() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("work")

    async def run() -> None:
        task = asyncio.create_task(LoopThread("test").run(work()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ended.append("run")

    asyncio.run(run())
    assert ended == ["work", "run"]


def test_its_inbox_reaches_it_from_before_it_began() -> None:
    apart = LoopThread("test")

    async def work() -> None:
        assert came == ["early"]
        apart.inbox.post(came.append, "late")
        await asyncio.sleep(0)

    came: list[str] = []
    apart.inbox.post(came.append, "early")
    asyncio.run(apart.run(work()))
    assert came == ["early", "late"]
