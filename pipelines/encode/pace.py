"""How far a night's execution may run ahead of the units that are written, and how much each task gets."""

import asyncio
from collections.abc import Iterator
from typing import Any

import ray

FIRST_OBJECTS, _MOST_OBJECTS = 4, 512  # of a portion: of the first ones, and of any
_PORTION_SECONDS = (
    2.0  # that reading or encoding a portion shall take: tasks' start is hidden, little is lost
)


def next_size(size: int, seconds_per_object: float) -> int:
    """Return how many objects portions shall have: half-way from ``size`` to what takes as long as wanted."""
    wanted = min(_PORTION_SECONDS / max(seconds_per_object, 1e-6), _MOST_OBJECTS)
    return max(1, round((size + wanted) / 2))


class Pacer:
    """An actor that knows the size of each portion, also if the task that makes portions is repeated.

    A portion is made when the driver allows it. So the plan of ten million objects is never in memory, and
    only a few blocks are.
    """

    def __init__(self) -> None:
        """Allow nothing yet."""
        self._sizes: list[int] = []
        self._allowed, self._size = 0, FIRST_OBJECTS
        self._change = asyncio.Condition()

    async def allow(self, portions: int, size: int) -> None:
        """Let so many portions be made in all; those from now on of so many objects."""
        async with self._change:
            self._allowed, self._size = max(self._allowed, portions), size
            self._change.notify_all()

    async def size_of(self, portion: int) -> int:
        """Return how many objects the portion of this number has, once it may be made."""
        async with self._change:
            await self._change.wait_for(lambda: portion < self._allowed)
            if portion == len(self._sizes):
                self._sizes.append(self._size)
            return self._sizes[portion]


def sizes(pacer: Any) -> Iterator[int]:  # noqa: ANN401
    """Yield the sizes of portions, each once it may be made. ``pacer`` is the actor's handle."""
    portion = 0
    while True:
        yield ray.get(pacer.size_of.remote(portion))
        portion += 1
