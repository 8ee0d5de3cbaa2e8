"""One item or row that can't be understood costs itself, and is told; the others are listed."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.encode.config import EncodeConfig
from pipelines.errors import ConfigError
from pipelines.labels.dataset import read_labels
from pipelines.runtime.spill import read_spilled
from pipelines.sources.stac import search_api
from tests.pipelines.sources.awkward import (
    CONFORMS,
    JUNE,
    LOCAL,
    item,
    landing,
    listing_of,
    page,
    parquet,
    serving,
    uris,
)


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


@pytest.mark.server
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


@pytest.mark.server
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
