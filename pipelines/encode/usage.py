"""What encoding costs: CPU and GPU seconds are columns of the rows that they were spent on."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Usage:
    """Sums over the rows of a unit."""

    bytes_read: int = 0
    cpu_seconds: float = 0
    """CPU time of the processes that read and encode, over all their threads."""
    gpu_seconds: float = 0
    """Number of GPUs that an encoder holds, times the duration of its batches."""

    def __add__(self, other: "Usage") -> "Usage":
        """Return the sum of both."""
        return Usage(
            self.bytes_read + other.bytes_read,
            self.cpu_seconds + other.cpu_seconds,
            self.gpu_seconds + other.gpu_seconds,
        )

    @classmethod
    def of(cls, rows: pa.Table) -> "Usage":
        """Return the sums over some rows of a unit."""
        bytes_read, cpu_seconds, gpu_seconds = (
            pc.sum(rows[name]).as_py() or 0 for name in ("bytes_read", "cpu_seconds", "gpu_seconds")
        )
        return cls(bytes_read, cpu_seconds, gpu_seconds)


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
