"""The writers' queue: one at a time for a key, again when asked meanwhile, and nothing is lost."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kube.api import backoff, writes
from kube.api.client import ApiError
from kube.api.writes import KeyedQueue


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writes, "PAUSE", 0.001)
    monkeypatch.setattr(backoff, "FIRST_DELAY", 0.001)


def _ignore(key: str, error: Exception) -> None:
    pass


async def _until(found: Callable[[], bool]) -> None:
    for _ in range(2_000):
        if found():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("not within 2 s")


def test_an_error_that_nobody_foresaw_costs_neither_the_key_nor_the_others() -> None:
    async def scenario() -> None:
        seen: list[str] = []
        failed: list[str] = []

        async def handle(key: str) -> bool:
            seen.append(key)
            if seen.count(key) == 1:
                raise ZeroDivisionError
            return False

        queue = KeyedQueue(handle, lambda key, error: failed.append(key))
        queue.add("a")
        queue.add("b")
        await _until(lambda: seen.count("a") == seen.count("b") == 2)
        assert sorted(failed) == ["a", "b"]
        queue.close()

    asyncio.run(scenario())


def _count(running: list[int], most: list[int]) -> Callable[[str], Awaitable[bool]]:
    async def handle(key: str) -> bool:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await asyncio.sleep(0)
        running[0] -= 1
        return False

    return handle


def test_never_two_at_a_time_for_one_key_and_few_in_all() -> None:
    async def scenario() -> None:
        running, most = [0], [0]
        queue = KeyedQueue(_count(running, most), _ignore)
        for _ in range(5):
            queue.add("a")
            await asyncio.sleep(0)
        await _until(lambda: not queue._workers)
        assert most == [1]
        for number in range(200):
            queue.add(str(number))
        await _until(lambda: not queue._workers)
        assert most[0] <= writes.WRITERS

    asyncio.run(scenario())


def test_a_failure_is_repeated_until_it_succeeds() -> None:
    async def scenario() -> None:
        seen: list[str] = []

        async def handle(key: str) -> bool:
            seen.append(key)
            if len(seen) < 4:
                raise ApiError(503, "later")
            return True

        queue = KeyedQueue(handle, _ignore)
        queue.add("a")
        await _until(lambda: len(seen) == 4 and not queue._rests and not queue._busy)
        assert not queue._due
        queue.close()

    asyncio.run(scenario())


def test_it_tells_that_keys_wait_and_lets_each_rest_for_as_long_as_it_is_told() -> None:
    async def scenario() -> None:
        gate, seen = asyncio.Event(), list[str]()

        async def handle(key: str) -> bool:
            seen.append(key)
            await gate.wait()
            return True

        queue = KeyedQueue(handle, _ignore, pause=1e6)
        for number in range(writes.WRITERS + 1):
            queue.add(str(number))
        await _until(lambda: len(seen) == writes.WRITERS)
        assert queue.busy
        gate.set()
        await _until(lambda: len(queue._rests) == writes.WRITERS + 1)
        assert not queue.busy
        queue.add("0")
        for _ in range(100):
            await asyncio.sleep(0)
        assert seen.count("0") == 1
        queue.close()

    asyncio.run(scenario())


def test_a_server_that_asks_for_thirty_years_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`Retry-After` counts up to the longest wait; `inf` is what more than 308 digits are."""
    monkeypatch.setattr(backoff, "LONGEST_DELAY", 0.01)

    async def scenario() -> None:
        seen: list[str] = []

        async def handle(key: str) -> bool:
            seen.append(key)
            raise ApiError(429, "busy", retry_after=1e9 if key == "a" else float("inf"))

        queue = KeyedQueue(handle, _ignore)
        queue.add("a")
        queue.add("b")
        await _until(lambda: seen.count("a") >= 3 and seen.count("b") >= 3)
        queue.close()

    asyncio.run(scenario())
