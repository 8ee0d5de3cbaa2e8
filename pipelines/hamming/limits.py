"""Which rows a search returns."""

import math
from dataclasses import dataclass

from pipelines.hamming.row_filter import EVERY_ROW, RowFilter


@dataclass(frozen=True)
class Limits:
    """The first ``k`` rows of those within ``max_distance``; None: no such limit."""

    k: int | None = None
    max_distance: float | None = None
    """A fraction only has a meaning for several examples, whose distances are differences of means."""
    excluded_rows: tuple[int, ...] = ()
    """Rows that are no answers. A search by one code takes one at most."""
    row_filter: RowFilter = EVERY_ROW
    """Rows that don't pass it are no answers."""

    @property
    def farthest(self) -> int | None:
        """The greatest whole distance of an answer; None: no limit."""
        return None if self.max_distance is None else math.floor(self.max_distance)

    @property
    def excluded_row(self) -> int | None:
        """The row that is no answer; None: each may be. Raises ValueError if there are several."""
        if len(self.excluded_rows) > 1:
            raise ValueError("a search by one code leaves out one row at most")
        return self.excluded_rows[0] if self.excluded_rows else None
