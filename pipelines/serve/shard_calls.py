"""How the ingress calls a shard: in its own process, or in a deployment. Both ways have the same methods."""

from collections.abc import Sequence
from typing import Protocol

from ray.serve.handle import DeploymentHandle

from pipelines.serve.lookup import MOST_WAITING, Lookup, Part
from pipelines.serve.pools import WorkPool
from pipelines.serve.question import Question, Sample, ShardReplies, SnapshotId, SnapshotSelector
from pipelines.serve.refusals import Refusal
from pipelines.serve.shard import Shard, ShardInfo

_SEARCH_THREADS = 8  # more would slow each other down: the Python part of each search holds the GIL
_LOOKUP_THREADS = 4


class ShardCalls(Protocol):
    """The methods of `Shard`, awaitable."""

    async def ask(
        self, questions: Sequence[Question], selector: SnapshotSelector
    ) -> tuple[SnapshotId, ShardReplies] | Refusal:
        """Call `Shard.ask`."""

    async def sample(self, selector: SnapshotSelector) -> Sample | Refusal:
        """Call `Shard.sample`."""

    async def look(
        self, lookup: Lookup[Part], selector: SnapshotSelector
    ) -> tuple[SnapshotId, Part] | Refusal:
        """Call `Shard.look`."""

    async def kept_numbers(self) -> set[int]:
        """Call `Shard.kept_numbers`."""

    async def info(self) -> ShardInfo:
        """Call `Shard.info`."""


class LocalShard:
    """A shard in this process: nothing is serialised.

    Searches and lookups run in threads, each kind in its own pool. A search that takes less time than waking
    a thread runs in the event loop.
    """

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._searches = WorkPool("search", _SEARCH_THREADS)
        self._lookups = WorkPool("lookup", _LOOKUP_THREADS)
        self._heavy = WorkPool("heavy", MOST_WAITING + 1, MOST_WAITING + 1)

    async def ask(
        self, questions: Sequence[Question], selector: SnapshotSelector
    ) -> tuple[SnapshotId, ShardReplies] | Refusal:
        """Call `Shard.ask`."""
        if self._shard.answers_at_once(questions, selector):
            return self._shard.ask(questions, selector)
        return await self._searches.run(self._shard.ask, questions, selector)

    async def sample(self, selector: SnapshotSelector) -> Sample | Refusal:
        """Call `Shard.sample`."""
        return await self._lookups.run(self._shard.sample, selector)

    async def look(
        self, lookup: Lookup[Part], selector: SnapshotSelector
    ) -> tuple[SnapshotId, Part] | Refusal:
        """Call `Shard.look`."""
        pool = self._heavy if lookup.is_heavy else self._lookups
        return await pool.run(self._shard.look, lookup, selector)

    async def kept_numbers(self) -> set[int]:
        """Call `Shard.kept_numbers`."""
        return await self._lookups.run(self._shard.kept_numbers)

    async def info(self) -> ShardInfo:
        """Call `Shard.info`."""
        return await self._lookups.run(self._shard.info)


class RemoteShard:
    """A shard in a deployment of its own: Ray Serve picks a replica that is free."""

    def __init__(self, handle: DeploymentHandle[Shard]) -> None:
        self._handle = handle

    async def ask(
        self, questions: Sequence[Question], selector: SnapshotSelector
    ) -> tuple[SnapshotId, ShardReplies] | Refusal:
        """Call `Shard.ask`."""
        reply: tuple[SnapshotId, ShardReplies] | Refusal = await self._handle.ask.remote(questions, selector)
        return reply

    async def sample(self, selector: SnapshotSelector) -> Sample | Refusal:
        """Call `Shard.sample`."""
        reply: Sample | Refusal = await self._handle.sample.remote(selector)
        return reply

    async def look(
        self, lookup: Lookup[Part], selector: SnapshotSelector
    ) -> tuple[SnapshotId, Part] | Refusal:
        """Call `Shard.look`."""
        reply: tuple[SnapshotId, Part] | Refusal = await self._handle.look.remote(lookup, selector)
        return reply

    async def kept_numbers(self) -> set[int]:
        """Call `Shard.kept_numbers`."""
        reply: set[int] = await self._handle.kept_numbers.remote()
        return reply

    async def info(self) -> ShardInfo:
        """Call `Shard.info`."""
        reply: ShardInfo = await self._handle.info.remote()
        return reply
