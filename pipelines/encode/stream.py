"""The stream of a night: parcels of encoded rows come in, in the order of the plan; written units go out.

    parcels -> held until their unit is whole -> written -> taken

Few units are open at a time: begun, and not committed. While one is committed the cluster encodes on.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from pipelines.encode.parcels import Label
from pipelines.encode.shards import UnitResult

OPEN_UNITS = 3
"""Most units of which a parcel has come and that aren't committed."""


class Execution(Protocol):
    """What reads, encodes and writes: `RayExecution`, which says what each does, or `InProcessExecution`."""

    def parcels(self) -> Generator[tuple[Label, Any]]: ...  # noqa: D102
    def write(self, unit: pa.Table, parcels: Sequence[Any]) -> Any: ...  # noqa: ANN401, D102
    def is_written(self, writing: Any) -> bool: ...  # noqa: ANN401, D102
    def written(self, writing: Any) -> UnitResult: ...  # noqa: ANN401, D102
    def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, eq=False)
class WrittenUnit:
    """A unit whose shards are written but not committed."""

    unit: pa.Table
    """Its objects."""
    result: UnitResult
    seconds: float
    """How long it took from the end of the unit before until it was written."""

    def objects(self) -> set[tuple[str, str]]:
        """Return (uri, etag) of the objects that have chips in it."""
        without = {*self.result.failed, *self.result.rejects["uri"].to_pylist()}
        return {each for each in objects_of(self.unit) if each[0] not in without}


def objects_of(unit: pa.Table) -> set[tuple[str, str]]:
    """Return (uri, etag) of a unit's objects."""
    return set(zip(unit["uri"].to_pylist(), unit["etag"].to_pylist(), strict=True))


@dataclass(frozen=True, eq=False)
class _Writing:
    unit: pa.Table
    parcels: list[Any]
    """Held, so that a writer whose node is lost is given them again."""
    job: Any
    began: float


class Stream:
    """A plan's units, in their order. Close it after use."""

    def __init__(
        self, units: Iterator[pa.Table], execution: Execution, discard: Callable[[UnitResult], None]
    ) -> None:
        """``units`` are those that the execution has. ``discard`` gets what was written and nobody took."""
        self._units, self._execution, self._discard = units, execution, discard
        self._number = 0  # of the unit whose parcels come
        self._held: list[Any] = []  # its parcels
        self._began = time.monotonic()
        self._writing: deque[_Writing] = deque()
        self._parcels = execution.parcels()
        self._run = self._written_units()

    def take(self) -> WrittenUnit | None:
        """Return the next unit, once it is written; None if all were taken. Raises what the execution raises.

        The next one is to be taken once this one is committed.
        """
        return next(self._run, None)

    def close(self, *, discard: bool = False) -> int:
        """End the execution, with all that is under way. Nothing can be taken then.

        With ``discard`` no shard is left of the units that weren't taken; returns how many objects they have.
        """
        self._run.close()
        self._parcels.close()
        dropped = [*self._writing] if discard else []
        for each in dropped:
            self._discard(self._execution.written(each.job))
        self._execution.close()
        return sum(len(each.unit) for each in dropped)

    def _written_units(self) -> Generator[WrittenUnit]:
        for label, parcel in self._parcels:
            if label.unit < self._number:
                continue  # a task was repeated and yields more than before: see `completeness`
            while label.unit > self._number and self._write():
                pass  # its last parcel hasn't come
            self._held.append(parcel)
            if label.ends_unit:
                self._write()
            while self._is_due():
                yield self._first()
        while self._write():
            pass  # a unit whose parcels haven't come is written without them: see `completeness`
        while self._writing:
            yield self._first()

    def _write(self) -> bool:
        """Let the unit be written whose parcels are held; return whether there was one."""
        unit, now = next(self._units, None), time.monotonic()
        if unit is None:
            return False
        job = self._execution.write(unit, self._held)
        self._writing.append(_Writing(unit, self._held, job, self._began))
        self._number, self._held, self._began = self._number + 1, [], now
        return True

    def _is_due(self) -> bool:
        is_full = len(self._writing) == OPEN_UNITS
        return is_full or (bool(self._writing) and self._execution.is_written(self._writing[0].job))

    def _first(self) -> WrittenUnit:
        first = self._writing[0]
        result = self._execution.written(first.job)
        self._writing.popleft()
        return WrittenUnit(first.unit, result, time.monotonic() - first.began)
