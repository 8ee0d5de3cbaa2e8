"""Finds the chip at a point.

Shapes: M chips whose bounding boxes contain the point.
"""

import math
from datetime import UTC, datetime
from typing import Any

import shapely

from pipelines.hamming.row_filter import rows_of
from pipelines.index.filters import criteria, select_rows
from pipelines.index.table_index import TableIndex

Preference = tuple[float, float, str]
"""(distance to the chip's centre, minus its time, chip id): of several chips at a point the least wins."""
_ROWS = 10_000  # read at a time: there may be very many acquisitions of one place
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def chip_at(index: TableIndex, longitude: float, latitude: float) -> tuple[int, Preference] | None:
    """Return row and preference of the chip whose footprint contains the point; None if there is none.

    Of several chips, the one with the nearest centre; of those the latest; of those the first by chip id.
    """
    wanted = criteria([(longitude, latitude, longitude, latitude)])
    rows_M = rows_of(select_rows(index.columns, index.spans, wanted))
    point = shapely.Point(longitude, latitude)
    best: tuple[Preference, int] | None = None
    for start in range(0, len(rows_M), _ROWS):
        some_M = rows_M[start : start + _ROWS]
        for chip, row in zip(index.rows.take(some_M), some_M.tolist(), strict=True):
            if shapely.covers(shapely.from_wkb(chip["geometry"]), point):
                found = _preference(chip, longitude, latitude), row
                best = min(best, found) if best else found
    return (best[1], best[0]) if best else None


def _preference(chip: dict[str, Any], longitude: float, latitude: float) -> Preference:
    """Return the sort key: distance to the centre [degrees of latitude], minus the time [s], chip id."""
    xmin, ymin, xmax, ymax = chip["bbox"]
    width = (xmax - xmin) % 360
    east = (xmin + width / 2 - longitude + 180) % 360 - 180
    north = (ymin + ymax) / 2 - latitude
    acquired = chip["datetime"] or _LONG_AGO
    distance = math.hypot(east * math.cos(math.radians(latitude)), north)
    return distance, -(acquired - _LONG_AGO).total_seconds(), chip["chip_id"]
