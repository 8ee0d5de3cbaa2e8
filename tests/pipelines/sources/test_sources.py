"""A prefix, a manifest and an S3 Inventory, listed from a real store."""

import gzip
import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote_plus

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.encode.config import EncodeConfig
from pipelines.errors import ConfigError, ScenehashError, StorageError
from pipelines.runtime.spill import read_spilled
from pipelines.sources.listing import list_source
from pipelines.sources.prefix import list_prefix

JUNE = datetime(2026, 6, 1, tzinfo=UTC)


def listed(store, folder: Path, source: str, **fields: object) -> dict[str, dict]:
    """Return the rows of a source by uri."""
    folder.mkdir(exist_ok=True)
    config = EncodeConfig(source=source, table="t", bundle="b", store=store.config, **fields)
    listing = list_source(config, store, folder)
    rows = [row for table in read_spilled(listing.objects) for row in table.to_pylist()]
    assert len(rows) == listing.count == len({row["uri"] for row in rows})
    return {row["uri"]: row for row in rows}


def etags(store, prefix: str) -> dict[str, str]:
    return {info.uri: info.etag for info in store.list(prefix)}


def write_all(store, uris: list[str]) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda uri: store.write(uri, uri.encode()), uris))


def test_a_prefix_lists_everything_below_it_once(store, any_root, tmp_path):
    deep = [
        f"{any_root}/in/{folder:02}/{number % 3}/schön {number}.tif"
        for folder in range(40)
        for number in range(9)
    ]
    flat = [f"{any_root}/in/flat/{number:05}.TIF" for number in range(2100)]  # more than two pages on S3
    others = [f"{any_root}/in/readme.txt", f"{any_root}/in2/next door.tif"]
    write_all(store, deep + flat + others)
    rows = listed(store, tmp_path / "work", f"{any_root}/in")
    expected = etags(store, f"{any_root}/in")
    assert {uri: row["etag"] for uri, row in rows.items()} == {uri: expected[uri] for uri in deep + flat}
    row = rows[deep[0]]
    assert (row["datetime"], row["collection"], row["properties"]) == (None, "default", None)
    assert abs((row["modified"] - datetime.now(UTC)).total_seconds()) < 3600


def test_hidden_files_are_no_images_in_a_manifest_either(store, any_root, tmp_path):
    for name in ("a.tif", "._a.tif", ".b.tif"):
        store.write(f"{any_root}/{name}", b"x")
    store.write(f"{any_root}/list.csv", b"uri\na.tif\n._a.tif\n.b.tif\n")
    for source in (any_root, f"{any_root}/list.csv"):
        listing = list_source(EncodeConfig(source=source, table="t", bundle="b"), store, tmp_path)
        assert pq.read_table(listing.objects)["uri"].to_pylist() == [f"{any_root}/a.tif"]
        assert listing.passed_over.counts == {"hidden": 2}


def test_a_single_image_is_a_source(store, any_root, tmp_path):
    for name in ("a.tif", "b.tif", "folder.tif/c.tif"):
        store.write(f"{any_root}/{name}", b"x")
    listed = {info.uri: info for info in store.list(any_root)}
    for config in ({}, {"by": "modified", "since": datetime(2020, 1, 1, tzinfo=UTC)}):
        config = EncodeConfig(source=f"{any_root}/a.tif", table="t", bundle="b", **config)
        listing = list_source(config, store, tmp_path)
        (row,) = pq.read_table(listing.objects).to_pylist()
        assert (row["uri"], row["etag"], listing.count) == (
            f"{any_root}/a.tif",
            listed[f"{any_root}/a.tif"].etag,
            1,
        )
        assert listing.below == f"{any_root}/a.tif"
    folder = EncodeConfig(source=f"{any_root}/folder.tif", table="t", bundle="b")
    assert list_source(folder, store, tmp_path).count == 1
    missing = EncodeConfig(source=f"{any_root}/none.tif", table="t", bundle="b")
    with pytest.raises(StorageError, match=r"no such folder|no imagery below"):
        list_source(missing, store, tmp_path)


@pytest.mark.parametrize("source", ["s3://no-such-bucket/x", "/no/such/folder"])
def test_a_prefix_that_is_not_there(store, source):
    with pytest.raises(StorageError, match=r"no such (bucket|folder)"):
        list(list_prefix(source, store, (".tif",)))


def test_objects_modified_in_a_time(store, root, tmp_path):
    store.write(f"{root}/a.tif", b"a")
    now = datetime.now(UTC)
    for fields, expected in (({"since": JUNE}, 1), ({"since": JUNE, "until": now.replace(year=2100)}, 1)):
        assert len(listed(store, tmp_path / "work", root, by="modified", **fields)) == expected
    with pytest.raises(StorageError, match="of the time asked for"):
        listed(store, tmp_path / "work", root, by="modified", until=JUNE.replace(year=2000))
    with pytest.raises(ConfigError, match="add --by modified"):
        listed(store, tmp_path / "work", root, since=JUNE)


ROWS = [
    {"uri": "a.tif", "etag": "1", "datetime": "2026-06-01T00:00:00Z", "collection": "c", "cloud": "3"},
    {"uri": "deep/b.tif", "etag": None, "datetime": "2026-06-02", "collection": None, "cloud": None},
    {"uri": "gone.tif", "etag": None, "datetime": None, "collection": None, "cloud": "9"},
]


def as_csv(rows: list[dict]) -> bytes:
    lines = [",".join(rows[0]), *(",".join(value or "" for value in row.values()) for row in rows)]
    return "\n".join(lines).encode()


def as_parquet(rows: list[dict]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(("ending", "pack"), [("csv", as_csv), ("parquet", as_parquet)])
def test_a_manifest_says_what_it_says_and_the_store_the_rest(store, any_root, tmp_path, ending, pack):
    write_all(store, [f"{any_root}/deep/b.tif"])
    store.write(f"{any_root}/list.{ending}", pack(ROWS))
    rows = listed(store, tmp_path / "work", f"{any_root}/list.{ending}")
    a, b, gone = (rows[f"{any_root}/{row['uri']}"] for row in ROWS)
    assert (a["etag"], a["datetime"], a["collection"]) == ("1", JUNE, "c")
    assert (b["etag"], b["datetime"], b["collection"]) == (
        etags(store, f"{any_root}/deep")[f"{any_root}/deep/b.tif"],
        JUNE.replace(day=2),
        "default",
    )
    assert [dict(row["properties"]) for row in (a, b, gone)] == [{"cloud": "3"}, {}, {"cloud": "9"}]
    assert (gone["etag"], gone["datetime"]) == ("", None)


def test_a_manifest_between_two_times_is_half_open(store, root, tmp_path):
    store.write(f"{root}/list.csv", as_csv(ROWS))
    day = {number: JUNE.replace(day=number) for number in (1, 2, 3)}
    for since, until, expected in ((1, 2, {"a"}), (2, 3, {"deep/b"}), (1, 3, {"a", "deep/b"})):
        rows = listed(store, tmp_path / "work", f"{root}/list.csv", since=day[since], until=day[until])
        assert set(rows) == {f"{root}/{name}.tif" for name in expected}
    with pytest.raises(ConfigError, match=r"gives no time \(modified\) for any object"):
        listed(store, tmp_path / "work", f"{root}/list.csv", since=JUNE, by="modified")


def test_what_a_manifest_names_twice_is_one_object(store, root, tmp_path):
    rows = [
        {"uri": f"{root}/{name}.tif", "etag": etag, "modified": modified}
        for name, etag, modified in (
            ("a", "1", JUNE),
            ("a", "2", JUNE.replace(day=5)),
            ("a", "3", JUNE),
            ("b", "1", JUNE),
            ("b", "1", JUNE),
            ("c", "9", None),
        )
    ]
    store.write(f"{root}/list.parquet", as_parquet(rows))
    found = listed(store, tmp_path / "work", f"{root}/list.parquet")
    assert {uri[-5]: row["etag"] for uri, row in found.items()} == {"a": "2", "b": "1", "c": "9"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"url\na.tif\n", "lacks the column uri"),
        ("x.csv", b"uri,datetime\na.tif,yesterday\n", "must be a time such as"),
        ("x.csv", b"uri,etag\n,1\n", "rows without uri"),
        ("x.parquet", b"no parquet", "can't be read"),
        ("x.json", b"{", "isn't JSON"),
        ("x.json", b"[1]", "neither STAC nor an S3 Inventory"),
        ("x.csv", None, "doesn't exist"),
        ("x.json", None, "doesn't exist"),
    ],
)
def test_a_bad_source_is_told(store, any_root, tmp_path, name, content, message):
    if content is not None:
        store.write(f"{any_root}/{name}", content)
    with pytest.raises((ConfigError, StorageError), match=message):
        listed(store, tmp_path / "work", f"{any_root}/{name}")


@pytest.mark.parametrize("fields", [{"asset": "image"}, {"search": {"collections": ("c",)}}])
def test_what_is_for_stac_is_refused_elsewhere(store, root, tmp_path, fields):
    with pytest.raises(ConfigError, match="is for"):
        listed(store, tmp_path / "work", root, **fields)


KEYS = ["imagery/a b+c.tif", "imagery/schön/100%.tif", "imagery/old.tif", "imagery/deleted.tif", "notes.txt"]
CSV_SCHEMA = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"


def inventory_files(root: str, kind: str) -> tuple[bytes, str, str]:
    """Return a data file with all keys, its name and the manifest's fileSchema."""
    rows = [
        ("archive", key, str(key != "imagery/old.tif").lower(), str("deleted" in key).lower(),
         "2026-06-01T00:00:00.000Z", f"etag-{key}")
        for key in KEYS
    ]  # fmt: skip
    if kind == "CSV":
        lines = [
            ",".join(
                f'"{value}"' for value in (bucket, quote_plus(key), "v", latest, marker, "3", time, etag, "S")
            )
            for bucket, key, latest, marker, time, etag in rows
        ]
        return gzip.compress("\n".join(lines).encode()), "data.csv.gz", CSV_SCHEMA
    names = ("bucket", "key", "is_latest", "is_delete_marker", "last_modified_date", "e_tag")
    table = [
        dict(zip(names, row, strict=True))
        | {"bucket": b"archive", "key": row[1].encode(), "is_latest": row[2] == "true",
           "is_delete_marker": row[3] == "true", "last_modified_date": JUNE.replace(tzinfo=None)}
        for row in rows
    ]  # fmt: skip
    return as_parquet(table), "data.parquet", "message s3.inventory { required binary bucket (UTF8); }"


@pytest.mark.parametrize("kind", ["CSV", "Parquet"])
def test_an_inventory_lists_what_is_latest(store, root, tmp_path, kind):
    content, name, schema = inventory_files(root, kind)
    key = f"{root.removeprefix('s3://archive/')}/inventory/data/{name}"
    store.write(f"s3://archive/{key}", content)
    manifest = {
        "sourceBucket": "archive",
        "destinationBucket": "arn:aws:s3:::archive",
        "version": "2016-11-30",
        "creationTimestamp": "1795000000000",
        "fileFormat": kind,
        "fileSchema": schema,
        "files": [{"key": key, "size": len(content), "MD5checksum": ""}],
    }
    source = f"{root}/inventory/2026-11-20T01-00Z/manifest.json"
    store.write(source, json.dumps(manifest).encode())
    rows = listed(store, tmp_path / "work", source)
    assert {uri: row["etag"] for uri, row in rows.items()} == {
        f"s3://archive/{key}": f"etag-{key}" for key in KEYS[:2]
    }
    assert {row["modified"] for row in rows.values()} == {JUNE}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fileFormat": "ORC"}, "is in ORC"),
        ({"files": None}, "lacks"),
        ({"files": [{"key": "no/such.csv.gz"}]}, "doesn't exist"),
    ],
)
def test_a_bad_inventory_is_told(store, root, tmp_path, changes, message):
    manifest = {
        "destinationBucket": "arn:aws:s3:::archive",
        "fileFormat": "CSV",
        "fileSchema": "Bucket, Key",
        "files": [],
    }
    store.write(f"{root}/manifest.json", json.dumps(manifest | changes).encode())
    with pytest.raises(ScenehashError, match=message):
        listed(store, tmp_path / "work", f"{root}/manifest.json")
