"""Portions are made when they are allowed, and have the same sizes if they are made again."""

import asyncio

from pipelines.encode.pace import FIRST_OBJECTS, Pacer


def test_a_portion_waits_until_it_is_allowed():
    async def run():
        pacer = Pacer()
        waiting = asyncio.create_task(pacer.size_of(0))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await pacer.allow(1, FIRST_OBJECTS)
        assert await waiting == FIRST_OBJECTS
        waiting = asyncio.create_task(pacer.size_of(1))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await pacer.allow(3, 77)
        assert await waiting == 77
        await pacer.allow(2, 5)
        assert await pacer.size_of(2) == 5, "what was allowed stays so"

    asyncio.run(run())


def test_a_task_that_is_repeated_makes_the_same_portions():
    async def run():
        pacer, sizes = Pacer(), []
        for number in range(20):
            await pacer.allow(number + 1, number * number + 1)
            sizes.append(await pacer.size_of(number))
        assert sizes == [number * number + 1 for number in range(20)]
        assert [await pacer.size_of(number) for number in range(20)] == sizes

    asyncio.run(run())
