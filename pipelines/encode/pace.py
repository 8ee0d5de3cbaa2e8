"""How far a night's execution may run ahead of the units that are written, and how much each task gets."""

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import ray

if TYPE_CHECKING:  # the actor's process needs no more than Ray, and starts sooner
    from pipelines.encode.parcels import Label

FIRST_OBJECTS, _MOST_OBJECTS = 4, 512  # of a portion: of the first ones, and of any
_PORTION_SECONDS = 2.0  # that a portion shall take to read or to encode: a task's start is hidden
_AHEAD_PER_CPU = 4  # portions under way: twice the tasks that run
_LOOKED_AT = 5.0  # seconds after which the cluster's size is looked at again


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


class Pace:
    """The driver's side: allows as many portions beyond those taken as fit the cluster, of fitting size."""

    def __init__(self, pacer: Any) -> None:  # noqa: ANN401
        """Allow the first portions. ``pacer`` is the actor's handle."""
        self._pacer = pacer
        self._taken, self._size, self._encode_seconds = 0, FIRST_OBJECTS, 0.0
        self._ahead, self._next_look = 0, 0.0
        self._allow()

    def taken(self, label: "Label") -> None:
        """Count a parcel that has come out. The last one of its portion lets another portion be made."""
        self._encode_seconds += label.encode_seconds
        if label.objects:
            slower = max(label.read_seconds, self._encode_seconds)
            self._size = next_size(self._size, slower / label.objects)
            self._taken, self._encode_seconds = self._taken + 1, 0.0
            self._allow()

    def _allow(self) -> None:
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOKED_AT
            cpus = ray.cluster_resources().get("CPU", 1)  # type: ignore[no-untyped-call]
            self._ahead = max(_AHEAD_PER_CPU, int(_AHEAD_PER_CPU * cpus))
        self._pacer.allow.remote(self._taken + self._ahead, self._size)
