"""The archive's objects as one file on this machine, each object once, for all kinds of source."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog

from pipelines.errors import ConfigError, StorageError
from pipelines.runtime.database import database, number, view, write
from pipelines.runtime.spill import spill
from pipelines.sources.config import ArchiveConfig, SearchConfig
from pipelines.sources.etags import fill_etags
from pipelines.sources.objects import OBJECT_SCHEMA, listed_table, object_table
from pipelines.storage.listings import PassedOver
from pipelines.storage.store import Store
from pipelines.uris import absolute, check_named, is_web

log = structlog.get_logger()

Kind = Literal["object", "prefix", "manifest", "inventory", "stac", "stac api"]
"""Kinds of source: see `kind_of`."""

_HIDDEN = r"/\.[^/]*$"
_LISTED = ("object", "prefix", "inventory")  # kinds that know neither collections nor times of acquisition


@dataclass(frozen=True)
class Listing:
    """The objects of the archive."""

    objects: Path
    """Parquet file of `OBJECT_SCHEMA`, each uri once, with an etag."""
    count: int
    """Number of objects."""
    below: str | None
    """The prefix that the source covers; None: it covers the collections that it names."""
    passed_over: PassedOver = field(default_factory=PassedOver)
    """What the source has or names but the listing lacks."""
    failed: tuple[str, ...] = ()
    """URIs of objects whose etag is unknown this time: they are neither encoded nor removed."""


def list_source(config: ArchiveConfig, store: Store, folder: Path) -> Listing:
    """List the whole source into a folder of this machine.

    Invalid items, rows and files are passed over and counted. Raises StorageError if a part of the source
    can't be read, or if it has no objects; ConfigError if the config doesn't fit the source.
    """
    config = config.model_copy(update={"source": absolute(config.source)})
    kind, content = kind_of(config.source, config.suffixes, store)
    _check(kind, config)
    passed_over = PassedOver()
    named = _named(_read(kind, content, config, store, passed_over), config.source, passed_over)
    tables = _filed(_within(named, config), config.collection)
    objects = spill(tables, OBJECT_SCHEMA, folder / "listed.parquet")
    if passed_over:
        log.warning("passed over", counts=dict(passed_over.counts), examples=passed_over.examples)
    objects, failed = fill_etags(objects, folder, store)
    objects = _each_once(objects, folder)
    with pq.ParquetFile(objects) as file:
        count = file.metadata.num_rows
    if not count:
        raise StorageError(_nothing(kind, config, passed_over))
    _warn_of_unused(set(config.collection_pixels), objects, folder)
    covered = {"prefix": config.source.rstrip("/") + "/", "object": config.source}
    return Listing(objects, count, covered.get(kind), passed_over, tuple(failed))


def kind_of(source: str, suffixes: tuple[str, ...], store: Store) -> tuple[Kind, dict[str, Any]]:
    """Return the kind of a source, and its content if it is a JSON file.

    ``.parquet`` and ``.csv`` are manifests. The content of ``.json`` and ``.geojson`` decides whether it is
    an S3 Inventory's manifest or STAC. An object that ends in one of ``suffixes`` is a single image. Other
    web addresses are the root of a STAC API; all else is a prefix.

    Raises StorageError if there is no such JSON file, ConfigError if it is neither.
    """
    ending = source.lower().rsplit(".", 1)[-1]
    if ending in ("parquet", "csv"):
        return "manifest", {}
    if ending not in ("json", "geojson"):
        if source.lower().endswith(tuple(suffixes)) and (is_web(source) or store.info(source)):
            return "object", {}
        return ("stac api" if is_web(source) else "prefix"), {}
    try:
        content = json.loads(store.read(source))
    except FileNotFoundError as error:
        raise StorageError(f"{source} doesn't exist; check the name") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{source} isn't JSON: {error}") from error
    if isinstance(content, dict) and "fileSchema" in content:
        return "inventory", content
    if isinstance(content, dict) and (
        "stac_version" in content or content.get("type") == "FeatureCollection"
    ):
        return "stac", content
    raise ConfigError(f"{source} is neither STAC nor an S3 Inventory's manifest.json")


def _check(kind: Kind, config: ArchiveConfig) -> None:
    if config.search != SearchConfig() and kind != "stac api":
        raise ConfigError(f"search is for a STAC API; source {config.source} is none")
    if config.asset and kind not in ("stac", "stac api"):
        raise ConfigError(f"asset is for STAC; source {config.source} is none")
    others = sorted(set(config.collection_pixels) - {config.collection})
    if others and kind in _LISTED:
        raise ConfigError(
            f"collection_pixels names {', '.join(others)}, and a listing names no collections: all its "
            f"objects are filed under {config.collection}; take a manifest with a column collection, or run "
            "once for each"
        )
    untimed = kind in _LISTED and config.by == "acquisition"
    if untimed and (config.since or config.until):
        raise ConfigError("a listing doesn't say when its objects were acquired; add --by modified")


def _read(
    kind: Kind, content: dict[str, Any], config: ArchiveConfig, store: Store, passed_over: PassedOver
) -> Iterator[pa.Table]:
    source, suffixes = config.source, tuple(suffix.lower() for suffix in config.suffixes)
    if kind == "object":
        return iter([_single(source, store)])
    if kind == "prefix":
        from pipelines.sources.prefix import list_prefix

        return list_prefix(source, store, suffixes, passed_over)
    if kind == "manifest":
        from pipelines.sources.manifest import read_manifest

        return read_manifest(source, store, passed_over)
    if kind == "inventory":
        from pipelines.sources.inventory import read_inventory

        return read_inventory(source, content, store, suffixes, passed_over)
    if kind == "stac":
        from pipelines.sources.catalog import read_catalog

        return read_catalog(source, content, store, config.asset, passed_over)
    from pipelines.sources.stac import search_api

    return search_api(source, config, store.config.patience, passed_over)


def _single(source: str, store: Store) -> pa.Table:
    info = None if is_web(source) else store.info(source)
    return listed_table([info]) if info else object_table({"uri": pa.array([source], pa.string())})


def _named(tables: Iterator[pa.Table], source: str, passed_over: PassedOver) -> Iterator[pa.Table]:
    """Yield the objects that aren't hidden files, such as ``._a.tif``, which macOS leaves beside ``a.tif``.

    Raises ConfigError at the first that the source may not name (`check_named`).
    """
    for table in tables:
        check_named(source, table["uri"].to_pylist())
        hidden = pc.match_substring_regex(table["uri"], _HIDDEN)
        for uri in table["uri"].filter(hidden).to_pylist():
            passed_over.add("hidden", uri, "a hidden file")
        yield table.filter(pc.invert(hidden))


def _within(tables: Iterator[pa.Table], config: ArchiveConfig) -> Iterator[pa.Table]:
    """Yield the objects with since <= time < until; objects without a time are left out."""
    if not (config.since or config.until):
        yield from tables
        return
    name = "datetime" if config.by == "acquisition" else "modified"
    seen = undated = 0
    for table in tables:
        time = table[name]
        seen, undated = seen + len(table), undated + time.null_count
        kept = pc.is_valid(time)
        if config.since:
            kept = pc.and_(kept, pc.greater_equal(time, config.since))
        if config.until:
            kept = pc.and_(kept, pc.less(time, config.until))
        yield table.filter(pc.fill_null(kept, fill_value=False))
    if undated:
        log.warning("objects without a time are passed over", time=name, objects=undated, of=seen)
    if undated == seen:
        raise ConfigError(f"{config.source} gives no time ({name}) for any object; leave out since and until")


def _filed(tables: Iterator[pa.Table], collection: str) -> Iterator[pa.Table]:
    """Yield the objects; those for which the source names no collection get ``collection``."""
    for table in tables:
        place = table.column_names.index("collection")
        yield table.set_column(place, "collection", pc.fill_null(table["collection"], collection))


def _warn_of_unused(declared: set[str], objects: Path, folder: Path) -> None:
    """Warn if pixels are declared for a collection without objects: its name may be mistyped."""
    if not declared:
        return
    with database(folder) as sql:
        view(sql, "objects", objects)
        found = {name for (name,) in sql.execute("SELECT DISTINCT collection FROM objects").fetchall()}
    if declared - found:
        log.warning(
            "collection_pixels names collections without objects",
            names=sorted(declared - found),
            found=sorted(found),
        )


def _each_once(objects: Path, folder: Path) -> Path:
    """Return a file with each uri once: the row modified last; of several the one with the greatest etag."""
    with database(folder) as sql:
        view(sql, "objects", objects)
        sql.execute(_TWICE)
        return (
            write(sql, _ONCE, folder / "once.parquet")
            if number(sql, "SELECT count(*) FROM twice")
            else objects
        )


# To compare hashes is a tenth of the work of comparing names, and hardly ever is a name there twice.
_TWICE = "CREATE TABLE twice AS SELECT hash(uri) AS name FROM objects GROUP BY name HAVING count(*) > 1"

_ONCE = """
    SELECT * FROM objects WHERE hash(uri) NOT IN (FROM twice)
    UNION ALL
    SELECT * FROM objects WHERE hash(uri) IN (FROM twice)
    QUALIFY row_number() OVER (PARTITION BY uri ORDER BY modified DESC NULLS LAST, etag DESC) = 1
"""


def _nothing(kind: Kind, config: ArchiveConfig, passed_over: PassedOver) -> str:
    if config.since or config.until:
        return f"no imagery in {config.source} of the time asked for; check since, until and by"
    if kind in _LISTED:
        text = f"no imagery below {config.source}: nothing there ends in {', '.join(config.suffixes)}"
    else:
        text = f"no imagery in {config.source}: it names no object"
    if not passed_over:
        return text
    reasons = "; ".join(passed_over.examples[:3])
    return f"{text}; {passed_over.counts.total()} were passed over: {reasons}"
