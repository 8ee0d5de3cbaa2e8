"""Writes all chips of an answer to a file: GeoParquet, Arrow, GeoJSON or CSV."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq
import shapely

from pipelines.api.fields import Fields
from pipelines.client import Client
from pipelines.errors import ConfigError
from pipelines.query.config import QueryConfig
from pipelines.query.search_request import image_limits, read_image, search_request

CHIP_COLUMNS = (
    *("id", "lon", "lat", "bbox", "datetime", "collection"),
    *("uri", "etag", "window", "geometry"),
)
"""What a file says of each chip."""
_MATCH_COLUMNS = ("rank", "distance", "kind_distance", "look_distance", "similarity", *CHIP_COLUMNS)


def every_match(client: Client, config: QueryConfig, snapshot: int) -> pa.Table:
    """Return all chips of the answer to a search, of one version of the table. Raises QueryError."""
    update = {"snapshot": snapshot, "fields": Fields(include=_MATCH_COLUMNS)}
    if config.image is None:
        return client.table(search_request(config).model_copy(update=update))
    return client.image_table(read_image(config.image), image_limits(config).model_copy(update=update))


def export(table: pa.Table, file: Path) -> None:
    """Write a table to a file in the form that its ending names. Raises ConfigError if that fails."""
    writers = {".parquet": _parquet, ".arrow": _arrow, ".geojson": _geojson, ".csv": _csv}
    try:
        writers[file.suffix.lower()](table, file)
    except OSError as error:
        raise ConfigError(f"export {file} can't be written: {error}") from error


def _parquet(table: pa.Table, file: Path) -> None:
    from pipelines.table.shard_files import GEO_METADATA  # a second; most answers aren't exported

    metadata = {**(table.schema.metadata or {}), "geo": json.dumps(GEO_METADATA)}
    pq.write_table(table.replace_schema_metadata(metadata), file, compression="zstd")


def _arrow(table: pa.Table, file: Path) -> None:
    with pa.ipc.new_file(str(file), table.schema) as writer:
        writer.write_table(table)


def _geojson(table: pa.Table, file: Path) -> None:
    shapes = shapely.to_geojson(shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False)))
    rows = table.drop_columns(["geometry", "lon", "lat"]).to_pylist()
    with file.open("w", encoding="utf-8") as output:
        output.write('{"type": "FeatureCollection", "features": [')
        for number, (row, shape) in enumerate(zip(rows, shapes, strict=True)):
            box, chip_id = row.pop("bbox"), row.pop("id")
            row["datetime"] = None if row["datetime"] is None else row["datetime"].isoformat()
            row["window"] = list(row["window"].values())
            feature = {"type": "Feature", "id": chip_id, "properties": row}
            feature |= {} if box is None else {"bbox": list(box.values())}
            separator = ",\n" if number else "\n"
            output.write(f'{separator}{json.dumps(feature)[:-1]}, "geometry": {shape or "null"}}}')
        output.write("\n]}\n")


def _csv(table: pa.Table, file: Path) -> None:
    """Write the columns without the outlines; box and window as columns of their own."""
    flat = table.drop_columns(["geometry"]).flatten()
    times = pc.strftime(flat["datetime"], "%Y-%m-%dT%H:%M:%SZ")
    place = flat.column_names.index("datetime")
    csv.write_csv(flat.set_column(place, "datetime", times), file)
