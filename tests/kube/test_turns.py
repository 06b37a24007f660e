"""Whoever has much to do lets the loop turn in between, and nobody holds the others up for long."""

import asyncio
from collections import Counter

from kube.turns import Gate, Turns


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
        async with asyncio.timeout(1):
            await turns.take()

    asyncio.run(scenario())


def test_the_gate_waits_for_who_is_inside_but_not_for_ever() -> None:
    async def scenario() -> None:
        gate, inside = Gate(0.02), []
        leave = {"quick": asyncio.Event(), "slow": asyncio.Event()}

        async def enter(name: str) -> None:
            async with gate.passing():
                inside.append(name)
                if name in leave:
                    await leave[name].wait()

        tasks = [asyncio.create_task(enter(name)) for name in ("quick", "slow", "last")]
        await asyncio.sleep(0)
        assert inside == ["quick"]
        leave["quick"].set()
        for _ in range(3):
            await asyncio.sleep(0)
        assert inside == ["quick", "slow"]
        # Nothing lets the slow one out, and the last one gets in all the same.
        async with asyncio.timeout(1):
            await tasks[2]
        assert inside == ["quick", "slow", "last"]
        leave["slow"].set()
        await asyncio.gather(*tasks)
        async with asyncio.timeout(1), gate.passing():
            pass

    asyncio.run(scenario())
