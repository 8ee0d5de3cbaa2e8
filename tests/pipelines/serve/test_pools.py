"""Each kind of work has threads of its own."""

import asyncio
import threading

import pytest

from pipelines.serve.here import ChipLookup
from pipelines.serve.pools import WorkPool
from pipelines.serve.question import SnapshotSelector
from pipelines.serve.refusals import RefusedRequest
from pipelines.serve.shard_calls import LocalShard


class SlowShard:
    """A shard whose searches take as long as the test wants."""

    def __init__(self) -> None:
        self.released = threading.Event()

    def answers_at_once(self, questions: object, selector: object) -> bool:
        return False

    def ask(self, questions: object, selector: object) -> str:
        self.released.wait(20)
        return "found"

    def look(self, lookup: ChipLookup, selector: SnapshotSelector) -> str:
        return f"where {lookup.chip_id} is"


def test_many_slow_thumbnails_hold_up_no_search() -> None:
    async def run() -> None:
        released = threading.Event()
        thumbnails, searches = WorkPool("thumbnail", 8, 64), WorkPool("search", 8)
        slow = [asyncio.create_task(thumbnails.run(released.wait, 20)) for _ in range(64)]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(searches.run(int, "7"), 10) == 7
        with pytest.raises(RefusedRequest) as refused:
            await thumbnails.run(int, "7")
        assert refused.value.refusal.code == "queue_full"
        released.set()
        assert all(await asyncio.gather(*slow))
        assert await thumbnails.run(int, "7") == 7

    asyncio.run(run())


def test_slow_searches_hold_up_no_lookup() -> None:
    async def run() -> None:
        shard = SlowShard()
        local = LocalShard(shard)  # type: ignore[arg-type]
        searches = [asyncio.create_task(local.ask([], SnapshotSelector())) for _ in range(40)]
        await asyncio.sleep(0)
        assert (
            await asyncio.wait_for(local.look(ChipLookup("a chip"), SnapshotSelector()), 10)
            == "where a chip is"
        )
        shard.released.set()
        assert await asyncio.gather(*searches) == ["found"] * 40

    asyncio.run(run())


def test_what_was_given_up_counts_until_it_ends() -> None:
    async def run() -> None:
        released = threading.Event()
        pool = WorkPool("thumbnail", 1, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.run(released.wait, 20), 0.05)
        with pytest.raises(RefusedRequest):
            await pool.run(int, "7")
        released.set()
        while True:
            try:
                assert await pool.run(int, "7") == 7
            except RefusedRequest:
                await asyncio.sleep(0.01)
            else:
                break

    asyncio.run(run())


def test_errors_come_out_as_they_are() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(WorkPool("search", 1).run(int, "x"))
