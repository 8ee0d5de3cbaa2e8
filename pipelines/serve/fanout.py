"""Asking all shards, until they answer from one snapshot."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ray.serve.handle import DeploymentHandle

from pipelines.serve.answer_features import chip
from pipelines.serve.chance import ChanceDistances
from pipelines.serve.pools import WorkPool
from pipelines.serve.question import Pin, Question, Said, Sample, Source
from pipelines.serve.refusals import NOT_READY, Refusal, RefusedRequest
from pipelines.serve.shard import ChipSource, Shard, ShardInfo

_SEARCHES = 8  # at a time in a replica: Python's share of each holds the others up
_LOOKUPS = 4
_ATTEMPTS = 20
_PAUSE_SECONDS = 0.1  # before the next one: a shard follows the others in a moment

_Told = tuple[Source, list[Said | Refusal]]
Call = Callable[..., Awaitable[Any]]
"""Calls a method of a shard by its name."""


def deployed(handle: DeploymentHandle[Shard]) -> Call:
    """Return the way to a shard in a deployment of its own: whichever replica is free answers."""

    async def call(method: str, *arguments: object) -> object:
        return await getattr(handle, method).remote(*arguments)

    return call


def in_process(shard: Shard) -> Call:
    """Return the way to a shard in this process: nothing goes over the wire.

    Threads answer, those of searches what must search; but for what takes less than waking a thread.
    """
    searches, lookups = WorkPool("search", _SEARCHES), WorkPool("lookup", _LOOKUPS)

    async def call(method: str, *arguments: Any) -> object:  # noqa: ANN401 - what the method takes
        if method == "ask" and shard.answers_at_once(*arguments):
            return shard.ask(*arguments)
        pool = searches if method == "ask" else lookups
        return await pool.run(getattr(shard, method), *arguments)

    return call


class Shards:
    """All shards of a table; their replicas follow what is published each in its own time."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = calls
        self.chances = ChanceDistances(self.sample)

    async def ask(self, questions: Sequence[Question], pin: Pin) -> tuple[Source, list[list[Said] | Refusal]]:
        """Return the snapshot that all shards have answered from, and what they say to each question.

        Raises RefusedRequest where the snapshot that is asked for isn't kept, or where shards have none in
        common for seconds.
        """
        asked = pin
        for attempt in range(_ATTEMPTS):
            told = await self._all("ask", questions, asked)
            refusals = [each for each in told if isinstance(each, Refusal)]
            if any(refusal != NOT_READY for refusal in refusals):
                raise RefusedRequest(next(refusal for refusal in refusals if refusal != NOT_READY))
            answered: list[_Told] = [each for each in told if not isinstance(each, Refusal)]
            numbers = {source.number for source, _ in answered}
            tables = {source.table_id for source, _ in answered}
            if not refusals and len(numbers) == len(tables) == 1:
                return answered[0][0], [
                    _joined(each) for each in zip(*(said for _, said in answered), strict=True)
                ]
            # those that are ahead still have the older one; those behind may never have what is newer
            can_agree = len(tables) == 1 and not refusals  # numbers of two tables can't be compared
            asked = Pin(min(numbers), pin.version, pin.model_id) if can_agree else pin
            if attempt:
                await asyncio.sleep(_PAUSE_SECONDS)
        raise RefusedRequest(NOT_READY)

    async def sample(self, source: Source) -> Sample:
        """Return the chips with the least ids of each shard, of a snapshot that they have answered from.

        Raises RefusedRequest where one of them doesn't hold it any more.
        """
        pin = Pin(source.number, source.version, source.model_id)
        for _ in range(_ATTEMPTS):
            told: list[Sample | Refusal] = await self._all("sample", pin)
            refusal = next((each for each in told if isinstance(each, Refusal)), None)
            if refusal is None:
                return [chip for each in told if not isinstance(each, Refusal) for chip in each]
            if refusal != NOT_READY:
                raise RefusedRequest(refusal)
            await asyncio.sleep(
                _PAUSE_SECONDS
            )  # it is another replica than the one that answered, and follows
        raise RefusedRequest(NOT_READY)

    async def chip(self, chip_id: str) -> dict[str, Any] | None:
        """Return a chip as `Chip`, from the shard that holds it."""
        said = await self._all("chip", chip_id)
        held = next((each for each in said if each is not None), None)
        if held is None:
            return None
        row, source = held
        return chip(row, source.version, source.model_id)

    async def source(self, chip_id: str) -> ChipSource | None:
        """Return where a chip's pixels are, from the shard that holds it."""
        said = await self._all("source", chip_id)
        return next((source for source in said if source is not None), None)

    async def infos(self) -> list[ShardInfo]:
        """Return what each shard holds: of one replica each."""
        return await self._all("info")

    async def _all(self, method: str, *arguments: object) -> list[Any]:
        if len(self._calls) == 1:  # a task of its own would take longer than what it does
            return [await self._calls[0](method, *arguments)]
        return list(await asyncio.gather(*(call(method, *arguments) for call in self._calls)))


def _joined(said: Sequence[Said | Refusal]) -> list[Said] | Refusal:
    """Return what all shards say to a question, or why one of them refuses it."""
    refusal = next((each for each in said if isinstance(each, Refusal)), None)
    return refusal or [each for each in said if not isinstance(each, Refusal)]
