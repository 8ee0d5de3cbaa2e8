"""Answers as tables of Arrow, and as GeoDataFrames of geopandas, which is an extra: `scenehash[frame]`."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import shapely

from pipelines.errors import QueryError

if TYPE_CHECKING:
    import geopandas

ABOUT = b"scenehash"
"""Of a table's metadata: the rest of the answer, as JSON."""


def read_table(content: bytes) -> pa.Table:
    """Return the table in an Arrow stream. Raises QueryError if there is none."""
    try:
        with pa.ipc.open_stream(content) as stream:
            return stream.read_all()
    except pa.ArrowInvalid as error:
        raise QueryError(
            f"the answer is no Arrow stream: {error}", "is the service as new as this?"
        ) from error


def about(table: pa.Table) -> dict[str, Any]:
    """Return what an answer says beside its rows: numberMatched, search, links."""
    said: dict[str, Any] = json.loads(table.schema.metadata[ABOUT])
    return said


def joined(pages: Sequence[pa.Table]) -> pa.Table:
    """Return all pages of an answer as one table; what it says of itself is what the first page says."""
    whole = pa.concat_tables([page.replace_schema_metadata(None) for page in pages])
    said = about(pages[0]) | {"numberReturned": len(whole), "links": []}
    return whole.replace_schema_metadata({ABOUT: json.dumps(said)})


def frame_of(table: pa.Table) -> "geopandas.GeoDataFrame":
    """Return a table as a GeoDataFrame, its chip ids as the index; ``attrs`` has the rest of the answer.

    Raises QueryError if geopandas isn't installed.
    """
    try:
        import geopandas
    except ImportError as error:
        hint = "pip install 'scenehash[frame]', or take table()"
        raise QueryError("a GeoDataFrame needs geopandas, which isn't installed", hint) from error
    data = table.drop_columns(
        [name for name in ("geometry", "bbox") if name in table.column_names]
    ).to_pandas()
    shapes = None
    if "geometry" in table.column_names:
        shapes = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    frame = geopandas.GeoDataFrame(data, geometry=shapes, crs=None if shapes is None else "EPSG:4326")
    frame.attrs = about(table)
    return frame.set_index("id") if "id" in frame.columns else frame
