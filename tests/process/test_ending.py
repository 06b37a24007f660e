"""Signals: the first begins the end, the second hastens it."""

import asyncio

import pytest

from process import ending, logs
from process.ending import Ending


class EndingWithoutEnd(Ending):
    """Notes that it would have ended the process."""

    def __init__(self) -> None:
        super().__init__(logs.logger())
        self.ended = asyncio.Event()

    def _end_now(self) -> None:
        self.ended.set()


@pytest.fixture(autouse=True)
def _no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "END_WITHIN", 1_000.0)


def test_without_last_words_the_second_signal_ends_it() -> None:
    async def scene() -> None:
        found = EndingWithoutEnd()
        found.handle_signal()
        assert (found.stop.is_set(), found.ended.is_set()) == (True, False)
        found.handle_signal()
        assert found.ended.is_set()

    asyncio.run(scene())


@pytest.mark.parametrize("fault", [None, RuntimeError("no words")])
def test_last_words_are_said_before_the_end_and_cannot_prevent_it(fault: Exception | None) -> None:
    async def scene() -> None:
        found, said = EndingWithoutEnd(), asyncio.Event()

        async def words() -> None:
            assert not found.ended.is_set()
            said.set()
            if fault is not None:
                raise fault

        found.last_words = words
        found.handle_signal()
        assert not said.is_set()
        found.handle_signal()
        await asyncio.wait_for(found.ended.wait(), 60)
        assert said.is_set()

    asyncio.run(scene())


def test_last_words_that_hang_end_in_time_and_a_third_signal_waits_for_none() -> None:
    async def scene() -> None:
        found = EndingWithoutEnd()

        async def words() -> None:
            await asyncio.Event().wait()

        found.last_words = words
        found.handle_signal()
        found.handle_signal()
        await asyncio.sleep(0)
        assert not found.ended.is_set()
        found.handle_signal()
        assert found.ended.is_set()
        found.ended.clear()
        await asyncio.wait_for(found.ended.wait(), 60)

    asyncio.run(scene())
