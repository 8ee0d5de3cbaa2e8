"""One item, row or name that can't be understood costs itself, and is told; the others are listed."""

import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from pipelines.config import StoreConfig
from pipelines.encode.config import EncodeConfig
from pipelines.errors import ConfigError, StorageError
from pipelines.labels.dataset import read_labels
from pipelines.runtime.spill import read_spilled
from pipelines.sources.listing import Listing, list_source
from pipelines.sources.stac import search_api
from pipelines.storage.store import Store
from tests.pipelines.sources.awkward import CONFORMS, item, landing, page, s3_with, serving
from tests.pipelines.sources.test_stac import listed

LOCAL = Store(StoreConfig(private_hosts=True, patience=2))
JUNE = datetime(2026, 6, 1, tzinfo=UTC)


def listing_of(source: object, folder: Path, **fields: object) -> Listing:
    folder.mkdir(exist_ok=True)
    return list_source(EncodeConfig(source=str(source), table="t", bundle="b", **fields), LOCAL, folder)


def uris(listing: Listing) -> set[str]:
    return {uri for table in read_spilled(listing.objects) for uri in table["uri"].to_pylist()}


def test_names_that_are_not_utf8(tmp_path):
    root = os.fsencode(tmp_path / "in")
    for folder in (b"a", b"b", b"caf\xe9"):
        Path(os.fsdecode(root + b"/" + folder)).mkdir(parents=True)
        for name in (b"1.tif", b"2.tif", b"\xe9.tif"):
            Path(os.fsdecode(root + b"/" + folder + b"/" + name)).write_bytes(b"x")
    listing = listing_of(tmp_path / "in", tmp_path / "work")
    assert uris(listing) == {f"{tmp_path}/in/{name}.tif" for name in ("a/1", "a/2", "b/1", "b/2")}
    assert listing.passed_over.counts == {"not_utf8": 3}
    assert f"{tmp_path}/in/caf\\xe9: its name isn't UTF-8; rename it" in listing.passed_over.examples
    assert read_labels(str(tmp_path / "in"), LOCAL).class_names == ("a", "b")


def parquet(path: Path, table: pa.Table) -> str:
    pq.write_table(table, path)
    return str(path)


@pytest.mark.parametrize("names", [["uri", "x", "x"], ["uri", "uri", "x"], ["uri", "label", "label"]])
def test_a_column_twice_is_told(tmp_path, names):
    columns = [pa.array(["a.tif", "b.tif"])] * 3
    of_parquet = parquet(tmp_path / "list.parquet", pa.table(columns, names=names))
    (tmp_path / "list.csv").write_text(",".join(names) + "\na.tif,a,b\n")
    for source in (of_parquet, str(tmp_path / "list.csv")):
        with pytest.raises(ConfigError, match=f"has a column twice: {max(names, key=names.count)}"):
            listing_of(source, tmp_path / "work")
        with pytest.raises(ConfigError, match=r"a column twice|lacks the columns label"):
            read_labels(source, LOCAL)


ASSET = {"href": "https://h.example/2.tif"}


@pytest.mark.parametrize(
    ("bad", "key", "reason"),
    [
        ({"properties": None}, None, "it has no properties"),
        ({"assets": [ASSET]}, None, "its assets have no keys"),
        ({"assets": {"image": "https://h.example/2.tif"}}, "image", "its asset image has no href"),
        ({"assets": {"image": {"title": "no href"}}}, None, "its asset image has no href"),
        ({"assets": {"image": {"href": 5}}}, "image", "its asset image has no href"),
        ({"assets": {"image": {"href": "./2.tif"}}}, None, "relative, and there is no self link"),
        ({"assets": {"image": {"href": "gs://b/2.tif"}}}, None, "gs:// isn't read here"),
        ({"assets": {"image": {"href": "/vsizip/x.zip/2.tif"}}}, None, "a virtual file system of GDAL"),
        ({"assets": {"image": {"href": "https://h.example/\0"}}}, None, "it has a NUL"),
        ({"assets": {"image": {"href": "https://h.example/\ud800"}}}, None, "isn't UTF-8"),
        ({"properties": {"datetime": 20260601}}, None, "datetime is not a time: 20260601"),
        ({"properties": {"start_datetime": {"a": 1}}}, None, "datetime is not a time"),
        ({"properties": {"datetime": "0000-01-01"}}, None, "datetime is not a time"),
        ({"properties": {"datetime": "9999-12-31T23:59:59-12:00"}}, None, "datetime is not a time"),
        ({"properties": {"datetime": "1701101231234"}}, None, "datetime is not a time"),
        ({"properties": {"updated": [1]}}, None, "updated is not a time"),
        ({"assets": {"image": ASSET | {"updated": 5}}}, None, "updated is not a time"),
        ({"properties": {"a": "\ud800"}}, None, "surrogates not allowed"),
        ({"collection": 5}, None, "its collection is no text"),
        ({"type": "Collection"}, None, "no STAC item"),
    ],
)
def test_an_item_that_makes_no_sense_costs_itself(tmp_path, bad, key, reason):
    collection = page(item(1), item(2, **bad), item(3))

    def reply(handler) -> None:
        url = f"http://{handler.headers['Host']}"
        handler.answer_json(collection if handler.path.startswith("/search") else landing(url, "POST"))

    with serving(reply) as url:
        listing = listing_of(url, tmp_path / "work", asset=key)
    assert uris(listing) == {"https://h.example/1.tif", "https://h.example/3.tif"}
    assert listing.passed_over.counts == {"bad_item": 1}
    (example,) = listing.passed_over.examples
    assert example.startswith("STAC item i2: ")
    assert reason in example
    assert listing.passed_over.hides_objects


def test_what_is_no_item_at_all(tmp_path):
    (tmp_path / "items.json").write_text(json.dumps(page(item(1), None, [], "x", {}, {"type": "Feature"})))
    listing = listing_of(tmp_path / "items.json", tmp_path / "work")
    assert uris(listing) == {"https://h.example/1.tif"}
    assert listing.passed_over.counts == {"bad_item": 5}


def test_an_asset_that_is_not_the_image_may_be_of_any_shape(tmp_path):
    others = {"meta": {"title": "no href"}, "list": [], "text": "x", "null": None}
    assets = {"image": ASSET | {"roles": ["data"]}} | others
    (tmp_path / "items.json").write_text(json.dumps(page(item(2, assets=assets, links=None, geometry=5))))
    for key in (None, "image"):
        assert uris(listing_of(tmp_path / "items.json", tmp_path / "work", asset=key)) == {ASSET["href"]}


def test_broken_links_of_a_catalog_cost_themselves(tmp_path):
    links = [{"rel": "item", "href": href} for href in ("gone.json", "item.json", "text.json", "list.json")]
    links += [
        {"rel": "child", "href": "gone/catalog.json"},
        {"rel": "item"},
        {"rel": "item", "href": "gs://b/x"},
        5,
    ]
    catalog = {"type": "Catalog", "stac_version": "1.0.0", "id": "c", "description": "d", "links": links}
    for name, text in (
        ("catalog", json.dumps(catalog)),
        ("item", json.dumps(item(1))),
        ("text", "{"),
        ("list", "[]"),
    ):
        (tmp_path / f"{name}.json").write_text(text)
    listing = listing_of(tmp_path / "catalog.json", tmp_path / "work")
    assert uris(listing) == {"https://h.example/1.tif"}
    assert listing.passed_over.counts == {"bad_link": 6}


@pytest.mark.parametrize("conforms", [(), CONFORMS[:1], (5,), "x"])
def test_an_api_that_cannot_be_searched_is_told(conforms):
    def reply(handler) -> None:
        url = f"http://{handler.headers['Host']}"
        handler.answer_json(landing(url, "POST") | {"conformsTo": conforms})

    with serving(reply) as url, pytest.raises(ConfigError, match="STAC API"):
        list(search_api(url, EncodeConfig(source=url, table="t", bundle="b")))


LATE = 1_780_308_000_000  # 1 June 2026, 10:00, in milliseconds; in seconds it is the year 58,386


@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.int32(), pa.uint64(), pa.float64(), pa.time32("s"), pa.duration("s")]
)
@pytest.mark.parametrize("column", ["datetime", "modified"])
def test_times_that_are_numbers_are_refused(tmp_path, kind, column):
    table = pa.table({"uri": ["a.tif"], column: pa.array([5], kind)})
    with pytest.raises(
        ConfigError, match=f"column {column} of .* must be a time, not {str(kind)[:3]}.*ISO 8601"
    ):
        listing_of(parquet(tmp_path / "list.parquet", table), tmp_path / "work")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([LATE // 1000, LATE, None], pa.timestamp("s")),
        pa.array([LATE, -(10**17), None], pa.timestamp("ms", tz="UTC")),
        pa.array([LATE * 1000, 2**62, None], pa.timestamp("us")),
        pa.array([20605, 2**30, None], pa.date32()),
        pa.array(["2026-06-01T10:00:00Z", str(LATE), None]),
        pa.array(["2026-06-01T10:00:00", "1701101231234", None]),
        pa.array(["2026-06-01T10:00:00Z", "9999-12-31T23:59:59-12:00", None]),
        pa.array(["2026-06-01T10:00:00Z", "yesterday", None], pa.large_string()),
        pa.array(["2026-06-01T10:00:00Z", "yesterday", None]).dictionary_encode(),
    ],
)
def test_a_time_out_of_range_costs_its_row(tmp_path, column):
    source = parquet(
        tmp_path / "list.parquet", pa.table({"uri": ["a.tif", "b.tif", "c.tif"], "datetime": column})
    )
    listing = listing_of(source, tmp_path / "work")
    rows = {
        row["uri"][-5]: row["datetime"]
        for table in read_spilled(listing.objects)
        for row in table.to_pylist()
    }
    is_day = pa.types.is_date(column.type)
    assert rows["a"] == JUNE.replace(hour=0 if is_day else 10)
    assert rows["c"] is None
    assert set(rows) == {"a", "c"}
    assert listing.passed_over.counts == {"bad_row": 1}
    assert "row b.tif" in listing.passed_over.examples[0]
    assert "datetime must be a time such as" in listing.passed_over.examples[0]


def test_rows_of_a_csv_that_cannot_be_understood(tmp_path):
    text = 'uri,note\na.tif,1\nb.tif\nc.tif,1,2\n"",x\ngs://b/d.tif,1\nAZ://b/d.tif,1\ne.tif,1\n'
    (tmp_path / "list.csv").write_text(text)
    listing = listing_of(tmp_path / "list.csv", tmp_path / "work")
    assert uris(listing) == {f"{tmp_path}/a.tif", f"{tmp_path}/e.tif"}
    assert listing.passed_over.counts == {"bad_row": 5}


def test_texts_of_parquet_that_are_not_utf8(tmp_path):
    names = pa.array([b"a.tif", b"caf\xe9.tif", b"c.tif"])
    broken = pa.StringArray.from_buffers(3, *names.buffers()[1:])
    for column in (broken, names):
        source = parquet(tmp_path / "list.parquet", pa.table({"uri": column}))
        listing = listing_of(source, tmp_path / "work")
        assert uris(listing) == {f"{tmp_path}/a.tif", f"{tmp_path}/c.tif"}
        assert listing.passed_over.counts == {"bad_row": 1}


def test_quoted_line_breaks_in_a_long_csv(tmp_path):
    """Longer than the megabyte that Arrow parses together: with a break in each row, all over its blocks."""
    note = '"' + "a line\n" * 20 + '"'
    rows = [f"{number}.tif,{note},{'ice' if number % 2 else 'sand'}" for number in range(20_000)]
    (tmp_path / "list.csv").write_text("uri,note,label\n" + "\n".join(rows))
    listing = listing_of(tmp_path / "list.csv", tmp_path / "work")
    assert listing.count == 20_000
    assert len(read_labels(str(tmp_path / "list.csv"), LOCAL).chips) == 20_000


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
    rows = listed(store, tmp_path / "work", f"{any_root}/in/items.geojson")
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


def test_an_etag_of_other_parts_says_nothing_of_the_content():
    with s3_with("a.tif") as (store, _):
        etag = store.etag("s3://b/a.tif")
        for listed_as in (etag, f"{HASH}-2", f'"{HASH}-2"', "updated=1", ""):
            assert store.read_version("s3://b/a.tif", listed_as) == b"a.tif"
        with pytest.raises(StorageError, match="was replaced since it was listed"):
            store.read_version("s3://b/a.tif", HASH)


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


def test_a_key_for_one_prefix_is_enough(tmp_path):
    with s3_with("im/a.tif", "im/x/b.tif", "other/c.tif", may_list="im/") as (store, _):
        assert set(listed(store, tmp_path / "work", "s3://b/im")) == {"s3://b/im/a.tif", "s3://b/im/x/b.tif"}
        store.require_bucket("s3://b/im/table")
        for source in ("s3://b/other", "s3://b"):
            with pytest.raises(
                StorageError, match=r"the key must be allowed s3:ListBucket for this prefix \(AccessDenied\)"
            ):
                listed(store, tmp_path / "work", source)
        with pytest.raises(StorageError, match="AccessDenied"):
            store.require_bucket("s3://b/other/table")
        # one object that may not be looked up costs no other its etag
        (tmp_path / "list.csv").write_text("uri\ns3://b/other/c.tif\ns3://b/im/a.tif\n")
        rows = listed(store, tmp_path / "work", str(tmp_path / "list.csv"))
        assert [rows[f"s3://b/{name}.tif"]["etag"] for name in ("other/c", "im/a")] == [
            "",
            store.etag("s3://b/im/a.tif"),
        ]


def test_requesters_pay_where_that_is_asked_for(tmp_path):
    csv = {"list.csv": b"uri,label\na.tif,x\n", "a.tif": b"x"}
    with (
        s3_with(objects=csv, requester_pays=True) as (store, _),
        pytest.raises(StorageError, match=r"--store\.requester-pays"),
    ):
        listed(store, tmp_path / "work", "s3://b")
    with s3_with(objects=csv, requester_pays=True, config={"requester_pays": True}) as (store, _):
        assert set(listed(store, tmp_path / "work", "s3://b")) == {"s3://b/a.tif"}
        assert set(listed(store, tmp_path / "work", "s3://b/list.csv")) == {"s3://b/a.tif"}
        assert store.read("s3://b/a.tif") == store.read_with_etag("s3://b/a.tif")[0] == b"x"
        store.require_bucket("s3://b/table")


@pytest.mark.parametrize("methods", [("GET",), ("",), ("POST",), ("POST", "GET")])
@pytest.mark.parametrize("refused", [405, 501])
def test_an_api_that_knows_get_only(tmp_path, methods, refused):
    def reply(handler) -> None:
        url = f"http://{handler.headers['Host']}"
        handler.body()
        if handler.command == "POST":
            handler.answer_json({"description": "Method Not Allowed"}, refused)
        elif not handler.path.startswith("/search"):
            handler.answer_json(landing(url, *methods))
        else:
            asked.append(handler.path)
            handler.answer_json(page(item(1)))

    asked: list[str] = []
    search = {"collections": ("c", "d"), "bbox": (0, 1, 2, 3), "datetime": "2026-06-01T00:00:00Z/.."}
    with serving(reply) as url:
        assert uris(listing_of(url, tmp_path, search=search)) == {"https://h.example/1.tif"}
    (path,) = asked
    assert "collections=c%2Cd" in path.replace(",", "%2C")
    assert "bbox=0.0%2C1.0%2C2.0%2C3.0" in path.replace(",", "%2C")
    assert "2026-06-01T00" in path


@pytest.mark.parametrize("status", [429, 503])
def test_an_api_that_is_busy_is_asked_again(tmp_path, status):
    """Each of its three answers comes at the third try, and it says when to come again."""
    counts: dict[str, int] = {}

    def reply(handler) -> None:
        url = f"http://{handler.headers['Host']}"
        counts[handler.path] = counts.get(handler.path, 0) + 1
        handler.body()
        if counts[handler.path] < 3:
            handler.answer(status, b"busy", Retry_After="0")
        elif handler.path == "/search":
            handler.answer_json(page(item(1), following={"href": f"{url}/search?token=2"}))
        elif handler.path.startswith("/search"):
            handler.answer_json(page(item(2)))
        else:
            handler.answer_json(landing(url, "POST"))

    with serving(reply) as url:
        assert len(uris(listing_of(url, tmp_path))) == 2
    assert set(counts.values()) == {3}
    assert np.sum(list(counts.values())) == 9


def test_an_object_whose_web_server_stays_busy_fails_and_keeps_its_etag(tmp_path):
    """Under an empty etag it would be encoded anew, and again the night after."""
    state = {"busy": False}

    def reply(handler) -> None:
        if state["busy"] and handler.path == "/a.tif":
            handler.answer(503)
        else:
            handler.answer(200, b"x", ETag='"v1"')

    with serving(reply) as url:
        (tmp_path / "list.csv").write_text(f"uri\n{url}/a.tif\n{url}/b.tif\n")
        config = EncodeConfig(source=f"{tmp_path}/list.csv", table="t", bundle="b")
        impatient = Store(StoreConfig(private_hosts=True, patience=0.2))
        for is_busy, failed in ((False, ()), (True, (f"{url}/a.tif",)), (False, ())):
            state["busy"] = is_busy
            listing = list_source(config, impatient, tmp_path)
            rows = {
                row["uri"]: row["etag"]
                for table in read_spilled(listing.objects)
                for row in table.to_pylist()
            }
            assert rows == {f"{url}/a.tif": "" if is_busy else "v1", f"{url}/b.tif": "v1"}
            assert listing.failed == failed
