"""The filters of a request, applied to an index's rows, or to a few rows of a table.

Shapes: N rows, C collections.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.api.requests import Filters, parse_geometry, parse_interval
from pipelines.hamming.row_filter import EVERY_ROW, PASS_ALL, Columns, RowFilter, rows_of
from pipelines.index.filters import Spans, criteria, select_rows, spans_of
from pipelines.index.polygons import OutlinesOf, rectangles_of, select_touching
from pipelines.index.table_index import TableIndex, empty_columns, fill_columns

COLUMNS = ["bbox", "geometry", "datetime", "collection", "valid_fraction"]
"""Of the table: what filters look at."""


def select(index: TableIndex, filters: Filters) -> RowFilter:
    """Return a filter. A row of the index passes it if it fulfils all filters of the request."""
    return _select(filters, index.columns, index.spans, index.collections, index.rows.outlines)


def fulfilling(rows: pa.Table, filters: Filters) -> pa.Table:
    """Return the rows of a table, which has `COLUMNS`, that fulfil all filters; in their order."""
    if not len(rows) or not filters.has_filters:
        return rows
    columns, names = empty_columns(len(rows)), dict[str, int]()
    start = 0
    for batch in rows.to_batches():
        fill_columns(columns, slice(start, start + len(batch)), batch, names)
        start += len(batch)

    def outlines_of(rows_M: NDArray[np.int64]) -> list[bytes | None]:
        outlines: list[bytes | None] = rows["geometry"].take(pa.array(rows_M)).to_pylist()
        return outlines

    row_filter = _select(filters, columns, spans_of(columns), tuple(names), outlines_of)
    if row_filter.kind == PASS_ALL:
        return rows
    chosen_N: NDArray[np.int64] = rows_of(row_filter)
    return rows.take(pa.array(chosen_N))


def _select(
    filters: Filters,
    columns: Columns,
    spans: Spans,
    collections: Sequence[str],
    outlines_of: OutlinesOf,
) -> RowFilter:
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
        # a table without rows has no collections, and an empty array would mean that all are wanted
        wanted_C = np.array([name in filters.collections for name in collections] or [False])
    row_filter = select_rows(columns, spans, criteria(rectangles, interval, least_valid, wanted_C))
    if shape is None:
        return row_filter
    return select_touching(shape, row_filter, columns, spans, outlines_of)
