"""What encoding costs: CPU and GPU seconds travel with the rows that they were spent on."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Usage:
    """Sums over rows."""

    bytes_read: int = 0
    cpu_seconds: float = 0
    """Of the processes that read and encode, all their threads."""
    gpu_seconds: float = 0
    """GPUs held, times how long batches took on them."""

    def __add__(self, other: "Usage") -> "Usage":
        """Return both together."""
        return Usage(
            self.bytes_read + other.bytes_read,
            self.cpu_seconds + other.cpu_seconds,
            self.gpu_seconds + other.gpu_seconds,
        )

    @classmethod
    def of(cls, rows: pa.Table) -> "Usage":
        """Sum up the rows of a unit."""
        bytes_read, cpu_seconds, gpu_seconds = (
            pc.sum(rows[name]).as_py() or 0 for name in ("bytes_read", "cpu_seconds", "gpu_seconds")
        )
        return cls(bytes_read, cpu_seconds, gpu_seconds)


def metered(batch: pa.Table, stage: Callable[[pa.Table], pa.Table], gpus: float = 0) -> pa.Table:
    """Run a stage on a batch; add its cost to ``cpu_seconds`` and ``gpu_seconds`` of the first row.

    A task that is tried again counts once, as only the rows of its last attempt go on.
    """
    started, started_cpu = time.perf_counter(), time.process_time()
    rows = stage(batch)
    spent = {
        "cpu_seconds": time.process_time() - started_cpu,
        "gpu_seconds": gpus * (time.perf_counter() - started),
    }
    for name, seconds in spent.items():
        column = np.zeros(len(rows))
        if name in rows.column_names:
            column += rows[name].to_numpy()
            rows = rows.drop_columns([name])
        column[:1] += seconds
        rows = rows.append_column(name, pa.array(column))
    return rows
