"""What encoding reads and costs: counts and seconds are columns of the rows that they belong to."""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Cost:
    """What some work took."""

    cpu_seconds: float = 0
    """CPU time of processes, over all their threads."""
    gpu_seconds: float = 0
    """Number of GPUs that an encoder holds, times the duration of its batches."""

    def __add__(self, other: "Cost") -> "Cost":
        """Return the sum of both."""
        return Cost(self.cpu_seconds + other.cpu_seconds, self.gpu_seconds + other.gpu_seconds)


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
    """See `Cost`; of reading and encoding."""
    gpu_seconds: float = 0

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


def with_cost(rows: pa.Table, cost: Cost) -> pa.Table:
    """Return rows with the columns ``cpu_seconds`` and ``gpu_seconds``: what they cost, in the first row.

    A task that Ray repeats counts once, as only the rows of its last attempt are passed on.
    """
    for field in fields(Cost):
        column_N = np.zeros(len(rows))
        column_N[:1] = getattr(cost, field.name)
        rows = rows.append_column(field.name, pa.array(column_N))
    return rows
