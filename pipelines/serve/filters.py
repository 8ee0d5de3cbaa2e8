"""The filters of a request as a selection of an archive's rows."""

import numpy as np

from pipelines.api.requests import Filters, parse_geometry, parse_interval
from pipelines.index.archive import Archive
from pipelines.index.filters import criteria, select_rows
from pipelines.index.polygons import rectangles_of, select_touching
from pipelines.index.selection import EVERY_ROW, Selection


def select(archive: Archive, filters: Filters) -> Selection:
    """Return the rows that fulfil all filters."""
    shape = None if filters.intersects is None else parse_geometry(filters.intersects)
    rectangles = None if filters.bbox is None else [filters.bbox]
    if shape is not None:
        rectangles = rectangles_of(shape)
    interval = None if filters.datetime is None else parse_interval(filters.datetime)
    least_valid = filters.min_valid_fraction or 0.0
    if rectangles is None and interval is None and not least_valid and filters.collections is None:
        return EVERY_ROW
    wanted_C = None
    if filters.collections is not None:
        # a table without rows has no collections; as criteria, none would mean all
        wanted_C = np.array([name in filters.collections for name in archive.collections] or [False])
    wanted = criteria(rectangles, interval, least_valid, wanted_C)
    selection = select_rows(archive.columns, archive.spans, archive.regions, wanted)
    if shape is None:
        return selection
    footprints = archive.rows.column("geometry")
    return select_touching(shape, selection, archive.columns, archive.spans, footprints)
