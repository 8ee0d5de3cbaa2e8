"""Names of sources and objects: from here and from home, hidden, in other spellings."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from pipelines.errors import StorageError
from pipelines.labels.dataset import read_labels
from pipelines.runtime.spill import read_spilled
from pipelines.storage.ranges import FOR_CHIPS
from pipelines.storage.store import Store
from tests.pipelines.sources.awkward import (
    LOCAL,
    item,
    listing_of,
    page,
    parquet,
    s3_with,
    uris,
)
from tests.pipelines.sources.test_stac import listed


def test_a_source_is_named_from_here_and_from_home(tmp_path, monkeypatch):
    for name in ("a/1.tif", "a/2.tif", "b/1.tif", "b/2.tif"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    for source in (
        "../in",
        "../here/../in/",
        "~/in",
        f"{tmp_path}/here/../in",
        f"file://{tmp_path}/here/../in",
    ):
        listing = listing_of(source, tmp_path / "work")
        assert listing.below == f"{tmp_path}/in/"
        assert all(uri.startswith(listing.below) for uri in uris(listing))
        labels = read_labels(source, LOCAL)
        assert labels.class_names == ("a", "b")
        assert labels.digest("train") == read_labels(f"{tmp_path}/in", LOCAL).digest("train")


def test_items_of_a_collection_lie_beside_it(store, any_root, tmp_path):
    there = {"rel": "self", "href": "https://h.example/items/i3.json"}
    items = [
        item(number, assets={"image": {"href": href}}, links=links)
        for number, (href, links) in enumerate(
            [
                ("./0.tif", []),
                ("deep/1.tif", []),
                ("../2.tif", []),
                ("./3.tif", [there]),
                ("../4.tif", [there]),
            ]
        )
    ]
    store.write(f"{any_root}/in/items.geojson", json.dumps(page(*items)).encode())
    hasty = Store(store.config.model_copy(update={"patience": 1}))  # h.example never answers
    rows = listed(hasty, tmp_path / "work", f"{any_root}/in/items.geojson")
    assert set(rows) == {
        f"{any_root}/in/0.tif", f"{any_root}/in/deep/1.tif", f"{any_root}/2.tif",
        "https://h.example/items/3.tif", "https://h.example/4.tif",
    }  # fmt: skip


HIDDEN = ["._a.tif", ".ipynb_checkpoints/a.tif", "__MACOSX/b.tif", "x/.git/c.tif"]


def test_hidden_files_and_world_files_are_no_imagery(tmp_path):
    root = tmp_path / ".cache" / "in"  # what counts lies below the source
    for name in ["a.tif", "x/b.tif", "a.tfw", *HIDDEN]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    listing = listing_of(root, tmp_path / "work")
    assert uris(listing) == {f"{root}/a.tif", f"{root}/x/b.tif"}
    assert listing.passed_over.counts == {"hidden": 4, "world_file": 1}
    assert not listing.passed_over.hides_objects


def test_hidden_objects_of_an_inventory(store, root, tmp_path):
    keys = ["a.tif", "x/b.tif", *HIDDEN]
    buffer = io.BytesIO()
    pq.write_table(pa.table({"bucket": ["b"] * len(keys), "key": keys}), buffer)
    store.write(f"{root}/data.parquet", buffer.getvalue())
    manifest = {"destinationBucket": "archive", "fileFormat": "Parquet", "fileSchema": "message"}
    manifest |= {"files": [{"key": f"{root.removeprefix('s3://archive/')}/data.parquet"}]}
    store.write(f"{root}/manifest.json", json.dumps(manifest).encode())
    assert set(listed(store, tmp_path / "work", f"{root}/manifest.json")) == {
        "s3://b/a.tif",
        "s3://b/x/b.tif",
    }


def test_other_names_of_what_is_read(tmp_path):
    rows = [
        "S3://b/a.tif",
        "s3a://b/b.tif",
        "/vsis3/b/c.tif",
        "HTTPS://h.example/d.tif",
        "/vsicurl/https://h.example/e.tif",
    ]
    columns = {"uri": rows, "etag": ["1"] * len(rows)}
    listing = listing_of(parquet(tmp_path / "list.parquet", pa.table(columns)), tmp_path / "work")
    assert uris(listing) == {
        "s3://b/a.tif", "s3://b/b.tif", "s3://b/c.tif", "https://h.example/d.tif", "https://h.example/e.tif",
    }  # fmt: skip
    items = [item(number, assets={"image": {"href": href}}) for number, href in enumerate(rows)]
    (tmp_path / "items.json").write_text(
        json.dumps(page(*[row | {"properties": {"updated": "2026-06-01"}} for row in items]))
    )
    assert uris(listing_of(tmp_path / "items.json", tmp_path / "work")) == uris(listing)


@pytest.mark.server
def test_a_source_may_have_another_name_too(tmp_path):
    with s3_with("im/a.tif") as (store, _):
        for source in ("S3://b/im", "/vsis3/b/im", "s3a://b/im/"):
            assert set(listed(store, tmp_path / "work", source)) == {"s3://b/im/a.tif"}
    with pytest.raises(ValueError, match="gs:// isn't read here; s3://, https://"):
        listing_of("gs://b/im", tmp_path / "work")


HASH = "0123456789abcdef0123456789abcdef"


def test_etags_of_manifests_are_those_of_listings(tmp_path):
    given = [f'"{HASH}"', f'W/"{HASH}"', HASH.upper(), f" {HASH} ", f'"{HASH}-3"', '"Other"']
    table = pa.table({"uri": [f"s3://b/{number}.tif" for number in range(6)], "etag": given})
    listing = listing_of(parquet(tmp_path / "list.parquet", table), tmp_path / "work")
    (found,) = (table.sort_by("uri")["etag"].to_pylist() for table in read_spilled(listing.objects))
    assert found == [HASH, HASH, HASH, HASH, f"{HASH}-3", "Other"]


@pytest.mark.server
def test_an_etag_of_other_parts_says_nothing_of_the_content():
    with s3_with("a.tif") as (store, _):
        etag = store.etag("s3://b/a.tif")
        for listed_as in (etag, f"{HASH}-2", f'"{HASH}-2"', "updated=1", ""):
            assert store.open_version("s3://b/a.tif", listed_as, FOR_CHIPS) == b"a.tif"
        with pytest.raises(StorageError, match="was replaced since it was listed"):
            store.open_version("s3://b/a.tif", HASH, FOR_CHIPS)


def test_geoparquet_is_a_manifest(tmp_path):
    geometry = [shapely.to_wkb(shapely.Point(number, 0)) for number in range(2)]
    table = pa.table(
        {
            "uri": ["a.tif", "b.tif"],
            "label": ["ice", "sand"],
            "geometry": pa.array(geometry, pa.binary()),
            "bbox": [{"xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}] * 2,
            "bands": [["B4"], ["B3"]],
            "cloud": [3, 5],
        }
    )
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {"geometry": {"encoding": "WKB", "geometry_types": ["Point"]}},
    }
    source = parquet(tmp_path / "list.parquet", table.replace_schema_metadata({"geo": json.dumps(geo)}))
    rows = listed(LOCAL, tmp_path / "work", source)
    assert [dict(rows[f"{tmp_path}/{name}.tif"]["properties"]) for name in "ab"] == [
        {"label": "ice", "cloud": "3"},
        {"label": "sand", "cloud": "5"},
    ]
