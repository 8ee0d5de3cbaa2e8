"""What encoding reads and costs: counts and seconds are columns of the rows that they belong to."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Usage:
    """Sums over the rows of a unit."""

    bytes_read: int = 0
    objects_opened: int = 0
    """Objects with chips, and those that are too small for one."""
    pixels_opened: int = 0
    """Of these objects."""
    pixels_covered: int = 0
    """Those of them that lie in a window of the grid."""
    cpu_seconds: float = 0
    """CPU time of the processes that read and encode, over all their threads."""
    gpu_seconds: float = 0
    """Number of GPUs that an encoder holds, times the duration of its batches."""

    def __add__(self, other: "Usage") -> "Usage":
        """Return the sum of both."""
        sums = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        return Usage(**sums)

    @classmethod
    def of(cls, rows: pa.Table) -> "Usage":
        """Return the sums over some rows of a unit."""
        opened = pc.sum(pc.greater(rows["pixels_opened"], 0)).as_py() or 0
        names = [field.name for field in fields(cls) if field.name != "objects_opened"]
        return cls(objects_opened=opened, **{name: pc.sum(rows[name]).as_py() or 0 for name in names})


def metered(tables: Iterator[pa.Table], gpus: float = 0) -> Iterator[pa.Table]:
    """Yield a stage's tables; the cost of each is added to ``cpu_seconds``, ``gpu_seconds`` of its first row.

    A task that Ray repeats counts once, as only the rows of its last attempt are passed on.
    """
    while True:
        started, started_cpu = time.perf_counter(), time.process_time()
        rows = next(tables, None)
        if rows is None:
            return
        cpu_seconds = time.process_time() - started_cpu
        rows = _add(rows, "cpu_seconds", cpu_seconds)
        yield _add(rows, "gpu_seconds", gpus * (time.perf_counter() - started))


def _add(rows: pa.Table, name: str, seconds: float) -> pa.Table:
    column_N = np.zeros(len(rows))
    if name in rows.column_names:
        column_N += rows[name].to_numpy()
        rows = rows.drop_columns([name])
    column_N[:1] += seconds
    return rows.append_column(name, pa.array(column_N))
