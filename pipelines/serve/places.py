"""Which chip lies at a point.

Shapes: N chips, in the order of the snapshot's rows.
"""

import math
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Places:
    """Bounding boxes in memory, footprints where they are needed."""

    def __init__(self, rows: pa.Table) -> None:
        """Take the columns bbox, geometry and datetime. xmin > xmax means over the antimeridian."""
        self._geometries, self._datetimes = rows["geometry"], rows["datetime"]
        # a chip without a place has NaN, which contains nothing
        self._xmin_N, self._ymin_N, self._xmax_N, self._ymax_N = (
            pc.struct_field(rows["bbox"], side).to_numpy() for side in ("xmin", "ymin", "xmax", "ymax")
        )

    def chip_at(self, longitude: float, latitude: float) -> int | None:
        """Return the row of the chip whose footprint contains the point, or None.

        Of several, the one with the nearest centre; of those, the latest; of those, the first row.
        """
        point = shapely.Point(longitude, latitude)
        rows = [
            row
            for row in self._boxes_around(longitude, latitude)
            if shapely.covers(shapely.from_wkb(self._geometries[row].as_py()), point)
        ]
        return min(rows, key=lambda row: self._preference(row, longitude, latitude), default=None)

    def _boxes_around(self, longitude: float, latitude: float) -> list[int]:
        after_N, before_N = self._xmin_N <= longitude, longitude <= self._xmax_N
        over_N = self._xmin_N > self._xmax_N
        inside_N = np.where(over_N, after_N | before_N, after_N & before_N)
        inside_N &= (self._ymin_N <= latitude) & (latitude <= self._ymax_N)
        rows: list[int] = np.flatnonzero(inside_N).tolist()
        return rows

    def _preference(self, row: int, longitude: float, latitude: float) -> tuple[float, float, int]:
        """Return the sort key: distance to the centre [degrees of latitude], age, row."""
        width = (self._xmax_N[row] - self._xmin_N[row]) % 360
        east = (self._xmin_N[row] + width / 2 - longitude + 180) % 360 - 180
        north = (self._ymin_N[row] + self._ymax_N[row]) / 2 - latitude
        acquired = self._datetimes[row].as_py() or _LONG_AGO
        distance = math.hypot(east * math.cos(math.radians(latitude)), north)
        return distance, -(acquired - _LONG_AGO).total_seconds(), row
