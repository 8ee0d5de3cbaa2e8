"""S3 Inventory: a listing of a bucket that S3 writes, as Parquet or CSV files named by a manifest.json.

Source: "Cataloging and analyzing your data with S3 Inventory", Amazon S3 User Guide.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import ConfigError
from pipelines.sources.manifest import stream_file, texts
from pipelines.sources.objects import object_table, plain_etags, times
from pipelines.storage.listings import PassedOver
from pipelines.storage.store import Store

_PARQUET_NAMES = {
    "bucket": "Bucket",
    "key": "Key",
    "is_latest": "IsLatest",
    "is_delete_marker": "IsDeleteMarker",
    "last_modified_date": "LastModifiedDate",
    "e_tag": "ETag",
}


def read_inventory(
    source: str,
    manifest: dict[str, Any],
    store: Store,
    suffixes: tuple[str, ...],
    passed_over: PassedOver,
) -> Iterator[pa.Table]:
    """Yield the latest version of each object of an inventory whose name ends in one of ``suffixes``.

    Hidden objects and invalid rows are counted in ``passed_over``. Raises ConfigError if the manifest or a
    file that it names is invalid, StorageError if one is missing.
    """
    kind, schema = manifest.get("fileFormat"), str(manifest.get("fileSchema"))
    if kind not in ("CSV", "Parquet"):
        raise ConfigError(f"inventory {source} is in {kind}; set it up to be written as Parquet or CSV")
    names = [name.strip() for name in schema.split(",")] if kind == "CSV" else None
    try:
        bucket = manifest["destinationBucket"].split(":")[-1]  # an ARN, arn:aws:s3:::bucket
        files = [f"s3://{bucket}/{file['key']}" for file in manifest["files"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"inventory {source} lacks {error}; is it an S3 Inventory's manifest.json?"
        ) from error
    for file in files:
        for table in stream_file(file, store, names, passed_over):
            renamed = [_PARQUET_NAMES.get(name, name) for name in table.column_names]
            objects = _objects(table.rename_columns(renamed), file, encoded=kind == "CSV")
            yield objects.filter(pa.array(_wanted(objects, suffixes, passed_over), pa.bool_()))


def _wanted(objects: pa.Table, suffixes: tuple[str, ...], passed_over: PassedOver) -> Iterator[bool]:
    """Yield for each object whether its name ends like imagery and isn't hidden."""
    for uri in objects["uri"].to_pylist():
        yield uri is not None and passed_over.is_image(uri, uri.removeprefix("s3://"), suffixes)


def _objects(table: pa.Table, file: str, *, encoded: bool) -> pa.Table:
    missing = {"Bucket", "Key"} - set(table.column_names)
    if missing:
        raise ConfigError(f"inventory file {file} lacks {', '.join(sorted(missing))}")
    for name, wanted in (("IsLatest", "true"), ("IsDeleteMarker", "false")):
        if name in table.column_names:
            said = pc.utf8_lower(pc.cast(table[name], pa.string()))
            table = table.filter(pc.fill_null(pc.equal(said, wanted), fill_value=True))
    # binary in Parquet; URL-encoded in CSV, and only there
    table = table.filter(pc.and_(pc.is_valid(table["Bucket"]), pc.is_valid(table["Key"])))
    buckets, keys = (texts(table[name], f"{name} of {file}") for name in ("Bucket", "Key"))
    if encoded:
        keys = pa.array([key and unquote_plus(key) for key in keys.to_pylist()], pa.string())
    columns = {"uri": pc.binary_join_element_wise("s3:/", buckets, keys, "/")}
    if "ETag" in table.column_names:
        columns["etag"] = plain_etags(table["ETag"])
    if "LastModifiedDate" in table.column_names:
        columns["modified"] = times(table["LastModifiedDate"], f"LastModifiedDate of {file}")
    return object_table(columns)
