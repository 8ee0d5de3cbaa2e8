"""The stream of a night: objects of several units are read and encoded at a time; whole units come out.

    units -> opened, few at a time -> their objects, some a task -> all tasks ended -> written -> taken

A thread moves it on, so that objects are encoded while a unit is committed.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow as pa

from pipelines.encode.shards import UnitResult

OPEN_UNITS = 3
"""Units at a time that are begun and not committed: one is committed while others are encoded."""

_FIRST_OBJECTS, _MOST_OBJECTS = 16, 512  # of a task
_TASK_SECONDS = 5.0  # that a task shall take: its start is hidden, and little is lost with it
_WAIT = 0.2  # seconds after which the stream looks again whether it may begin something


class Workers(Protocol):
    """Those who do the work; `workers.RayWorkers` says what each method does."""

    def slots(self) -> int: ...  # noqa: D102
    def encode(self, objects: pa.Table) -> Any: ...  # noqa: ANN401, D102
    def write(self, parts: list[Any]) -> Any: ...  # noqa: ANN401, D102
    def ended(self, running: Collection[Any], seconds: float) -> list[Any]: ...  # noqa: D102
    def value(self, running: Any) -> Any: ...  # noqa: ANN401, D102
    def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class WrittenUnit:
    """A unit whose shards are written but not committed."""

    unit: pa.Table
    """Its objects."""
    result: UnitResult
    seconds: float
    """How long reading, encoding and writing took."""

    def objects(self) -> set[tuple[str, str]]:
        """Return (uri, etag) of the objects that have chips in it."""
        without = {*self.result.failed, *self.result.rejects["uri"].to_pylist()}
        return {each for each in objects_of(self.unit) if each[0] not in without}


def objects_of(unit: pa.Table) -> set[tuple[str, str]]:
    """Return (uri, etag) of a unit's objects."""
    return set(zip(unit["uri"].to_pylist(), unit["etag"].to_pylist(), strict=True))


@dataclass(eq=False)
class _Open:
    """A unit that is begun and not committed yet."""

    unit: pa.Table
    opened: float = field(default_factory=time.monotonic)
    begun: int = 0
    """Objects that are with a task, or were."""
    parts: list[Any] = field(default_factory=list)
    missing: int = 0
    """Tasks that haven't ended."""
    written: WrittenUnit | None = None
    is_taken: bool = False


class Stream:
    """Encodes units in their order, but for some that end before an earlier one. Close it after use."""

    def __init__(self, workers: Workers, discard: Callable[[UnitResult], None]) -> None:
        """``discard`` is called with the result of a unit that was dropped while it was being written."""
        self._workers, self._discard = workers, discard
        self._units: Iterator[pa.Table] = iter(())
        self._next: pa.Table | None = None
        self._open: list[_Open] = []
        # reading tasks, with the number of their objects, and what writes units, with 0
        self._running: dict[Any, tuple[_Open, int]] = {}
        self._per_task = _FIRST_OBJECTS
        self._error: BaseException | None = None
        self._closing = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._move_on, name="stream", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._thread.join()
        self._workers.close()

    def feed(self, units: Iterable[pa.Table]) -> None:
        """Encode these units after those that are open, in place of any that were to come."""
        with self._change:
            self._units = iter(units)
            self._next = next(self._units, None)
            self._change.notify_all()

    def take(self) -> WrittenUnit:
        """Return the next unit that is written; `release` it once it is committed.

        Raises what the workers raise. Not to be called once `is_exhausted`.
        """
        with self._change:
            self._change.wait_for(lambda: self._error or any(map(_is_ready, self._open)))
            if self._error:
                raise self._error
            ready = next(filter(_is_ready, self._open))
            ready.is_taken = True
            assert ready.written  # noqa: S101 - for mypy: see `_is_ready`
            return ready.written

    @property
    def is_exhausted(self) -> bool:
        """Whether all units were taken."""
        with self._change:
            return self._next is None and all(each.is_taken for each in self._open)

    def release(self, written: WrittenUnit) -> None:
        """Let another unit be opened in the place of one that was taken."""
        with self._change:
            self._open = [each for each in self._open if each.written is not written]
            self._change.notify_all()

    def open_units(self) -> list[pa.Table]:
        """Return the units that are open and not taken."""
        with self._change:
            return [each.unit for each in self._open if not each.is_taken]

    def drop(self, wanted: Callable[[pa.Table], bool]) -> int:
        """Drop open units that aren't taken and not wanted any more; return how many objects were done."""
        with self._change:
            dropped = [each for each in self._open if not (each.is_taken or wanted(each.unit))]
            self._open = [each for each in self._open if each not in dropped]
            self._change.notify_all()
        written = [each.written for each in dropped if each.written]
        for each in written:
            self._discard(each.result)
        return sum(len(each.unit) for each in written)

    def _move_on(self) -> None:
        try:
            while not self._closing:
                with self._change:
                    self._open_units()
                    self._begin_tasks()
                    running = list(self._running)
                    if not running:
                        self._change.wait(_WAIT)
                        continue
                for ended in self._workers.ended(running, _WAIT):
                    self._end(ended)
        except BaseException as error:  # noqa: BLE001 - `take` raises it
            with self._change:
                self._error = error
                self._change.notify_all()

    def _open_units(self) -> None:
        while self._next is not None and len(self._open) < OPEN_UNITS:
            self._open.append(_Open(self._next))
            self._next = next(self._units, None)

    def _begin_tasks(self) -> None:
        free = self._workers.slots() - len(self._running)
        for each in self._open:
            while each.begun < len(each.unit) and free > 0:
                objects = each.unit.slice(each.begun, self._per_task)
                part = self._workers.encode(objects)
                each.parts.append(part)
                each.begun += len(objects)
                each.missing += 1
                self._running[part] = each, len(objects)
                free -= 1

    def _end(self, ended: Any) -> None:  # noqa: ANN401
        value = self._workers.value(ended)
        with self._change:
            each, objects = self._running.pop(ended)
            if objects:
                self._choose_task_size(value / objects)
                each.missing -= 1
                is_whole = not each.missing and each.begun == len(each.unit)
                if is_whole and each in self._open:
                    self._running[self._workers.write(each.parts)] = each, 0
            elif each in self._open:
                each.written = WrittenUnit(each.unit, value, time.monotonic() - each.opened)
                each.parts = []  # the cluster forgets the rows
                self._change.notify_all()
            else:
                self._discard(value)

    def _choose_task_size(self, seconds: float) -> None:
        """Approach the size at which tasks take as long as they shall, given the seconds of one object."""
        wanted = _TASK_SECONDS / max(seconds, 1e-6)
        size = int((self._per_task + min(wanted, _MOST_OBJECTS)) / 2)
        self._per_task = max(_FIRST_OBJECTS, size)


def _is_ready(each: _Open) -> bool:
    return each.written is not None and not each.is_taken
