"""Whoever has much to do lets the loop turn in between."""

import asyncio
from collections import Counter

from kube.api.turns import Turns


def test_one_piece_a_turn_first_come_first_served() -> None:
    async def scenario() -> None:
        turns, order, number = Turns(), [], 0
        in_turn: Counter[int] = Counter()

        async def work(name: str) -> None:
            for _ in range(3):
                async with turns:
                    order.append(name)
                    in_turn[number] += 1

        async def count() -> None:
            nonlocal number
            while True:
                number += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        await asyncio.gather(*(work(name) for name in "abc"))
        counter.cancel()
        assert order == list("abc" * 3)
        assert set(in_turn.values()) == {1}

    asyncio.run(scenario())


def test_the_turn_is_given_back_where_the_work_fails() -> None:
    async def scenario() -> None:
        turns = Turns()
        try:
            async with turns:
                raise KeyError
        except KeyError:
            pass
        async with asyncio.timeout(20):
            await turns.take()

    asyncio.run(scenario())
