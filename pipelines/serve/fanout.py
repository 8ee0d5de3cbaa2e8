"""Asks all shards of a table, until all of them answer from one snapshot."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from pipelines.serve.chance import ChanceDistances
from pipelines.serve.here import ChipLookup
from pipelines.serve.lookup import Lookup, Part
from pipelines.serve.picture_form import ChipSource
from pipelines.serve.question import (
    Question,
    Sample,
    ShardReply,
    SnapshotId,
    SnapshotSelector,
)
from pipelines.serve.refusals import NOT_READY, Refusal, RefusedRequest
from pipelines.serve.shard import ShardInfo
from pipelines.serve.shard_calls import ShardCalls

_ATTEMPTS = 20
_PAUSE_SECONDS = 0.1  # between attempts: a shard that is behind the others catches up in a moment

Reply = TypeVar("Reply")


class Shards:
    """All shards of a table.

    Each replica follows the published pointer by itself, so their snapshots differ for a moment after a swap.
    """

    def __init__(self, shards: Sequence[ShardCalls]) -> None:
        self._shards = shards
        self.chances = ChanceDistances(self.sample)

    async def ask(
        self, questions: Sequence[Question], selector: SnapshotSelector
    ) -> tuple[SnapshotId, list[list[ShardReply] | Refusal]]:
        """Return the snapshot that all shards answered from, and for each question the replies of all shards.

        A question that one shard refuses has that refusal instead of replies. Raises RefusedRequest if the
        selected snapshot isn't kept, or if the shards have no snapshot in common for two seconds.
        """
        snapshot_id, answers = await self._agreed(lambda shard, asked: shard.ask(questions, asked), selector)
        return snapshot_id, [_replies_or_refusal(each) for each in zip(*answers, strict=True)]

    async def look(self, lookup: Lookup[Part], selector: SnapshotSelector) -> tuple[SnapshotId, list[Part]]:
        """Return the snapshot that all shards answered from, and each shard's part of the answer.

        Raises RefusedRequest if a shard refuses, if the selected snapshot isn't kept, or if the shards have
        no snapshot in common for two seconds.
        """
        return await self._agreed(lambda shard, asked: shard.look(lookup, asked), selector)

    async def _agreed(
        self,
        call: Callable[[ShardCalls, SnapshotSelector], Awaitable[tuple[SnapshotId, Reply] | Refusal]],
        selector: SnapshotSelector,
    ) -> tuple[SnapshotId, list[Reply]]:
        """Call all shards until all answer from one snapshot; return it and their replies."""
        if len(self._shards) == 1:  # it agrees with itself, unless it isn't ready
            answer = await call(self._shards[0], selector)
            if not isinstance(answer, Refusal):
                return answer[0], [answer[1]]
        asked = selector
        for attempt in range(_ATTEMPTS):
            answers = await self._from_all(partial(_called, call, asked))
            replies = [each for each in answers if not isinstance(each, Refusal)]
            refusals = [each for each in answers if isinstance(each, Refusal)]
            if any(refusal != NOT_READY for refusal in refusals):
                raise RefusedRequest(next(refusal for refusal in refusals if refusal != NOT_READY))
            numbers = {snapshot_id.number for snapshot_id, _ in replies}
            tables = {snapshot_id.table_id for snapshot_id, _ in replies}
            if not refusals and len(numbers) == len(tables) == 1:
                return replies[0][0], [reply for _, reply in replies]
            # the shards that are ahead still keep the older snapshot; the others may never load the newer one
            can_agree = len(tables) == 1 and not refusals  # numbers of two tables can't be compared
            asked = (
                SnapshotSelector(min(numbers), selector.version, selector.model_id) if can_agree else selector
            )
            if attempt:
                await asyncio.sleep(_PAUSE_SECONDS)
        raise RefusedRequest(NOT_READY)

    async def sample(self, snapshot_id: SnapshotId) -> Sample:
        """Return each shard's chips with the smallest ids, from a snapshot that they have answered from.

        Raises RefusedRequest if one of them doesn't keep it any more.
        """
        selector = SnapshotSelector(snapshot_id.number, snapshot_id.version, snapshot_id.model_id)
        for _ in range(_ATTEMPTS):
            answers = await self._from_all(lambda shard: shard.sample(selector))
            refusal = next((each for each in answers if isinstance(each, Refusal)), None)
            if refusal is None:
                return [chip for each in answers if not isinstance(each, Refusal) for chip in each]
            if refusal != NOT_READY:
                raise RefusedRequest(refusal)
            # another replica than the one that answered the question, and it hasn't loaded the snapshot yet
            await asyncio.sleep(_PAUSE_SECONDS)
        raise RefusedRequest(NOT_READY)

    async def chip_source(self, chip_id: str, version: str | None = None) -> ChipSource | None:
        """Return where a chip's pixels are; None if it isn't in the snapshot that is served.

        With the ``version`` of a link, the other snapshots that are kept are looked at too, as the link may
        be of one of them: after a rollback it still shows its picture. So is what is published now: another
        replica may have followed already, and made the link. All shards are asked for one snapshot: between
        two, a chip may have gone from one shard to another. Raises RefusedRequest as `look` does.
        """
        served = await self._source_in(chip_id, SnapshotSelector())
        if version is None or (served is not None and served.version == version):
            return served
        kept_by_all = set.intersection(*await self._from_all(lambda shard: shard.kept_numbers()))
        for number in sorted(kept_by_all, reverse=True):
            kept = await self._source_in(chip_id, SnapshotSelector(number))
            if kept is not None and kept.version == version:
                return kept
        return served

    async def _source_in(self, chip_id: str, selector: SnapshotSelector) -> ChipSource | None:
        _, parts = await self.look(ChipLookup(chip_id), selector)
        return next((ChipSource.of(row) for row, _ in (part for part in parts if part is not None)), None)

    async def infos(self) -> list[ShardInfo]:
        """Return what one replica of each shard holds."""
        return await self._from_all(lambda shard: shard.info())

    async def _from_all(self, call: Callable[[ShardCalls], Awaitable[Reply]]) -> list[Reply]:
        """Call all shards at the same time; return their replies in the order of the shards."""
        if len(self._shards) == 1:  # a task would take longer than the call itself
            return [await call(self._shards[0])]
        return list(await asyncio.gather(*(call(shard) for shard in self._shards)))


def _called(
    call: Callable[[ShardCalls, SnapshotSelector], Awaitable[Reply]],
    selector: SnapshotSelector,
    shard: ShardCalls,
) -> Awaitable[Reply]:
    return call(shard, selector)


def _replies_or_refusal(replies: Sequence[ShardReply | Refusal]) -> list[ShardReply] | Refusal:
    """Return the replies of all shards to one question, or the first refusal among them."""
    refusal = next((each for each in replies if isinstance(each, Refusal)), None)
    return refusal or [each for each in replies if not isinstance(each, Refusal)]
