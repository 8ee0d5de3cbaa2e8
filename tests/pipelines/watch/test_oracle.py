"""Watches against brute force: over any nights, and with any filters."""

import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipelines.api.requests import Filters
from pipelines.hamming.comparison import Comparison
from pipelines.index.request_filters import COLUMNS, fulfilling
from pipelines.maintain.compact import compact
from pipelines.table.code_table import CodeTable
from pipelines.table.schema import CODE_SCHEMA
from pipelines.watch.new_matches import Search
from tests.pipelines.conftest import Night
from tests.pipelines.watch.conftest import Site, code_at

START = datetime(2026, 1, 1, tzinfo=UTC)
DISTANCE = 4

steps = st.one_of(
    st.tuples(
        st.just("encode"),
        st.dictionaries(st.sampled_from("abcd"), st.integers(0, 8), min_size=1),
        st.sampled_from("12"),
    ),
    st.tuples(st.just("remove"), st.sampled_from("abcd")),
    st.tuples(st.just("compact")),
    st.tuples(st.just("publish")),
    st.tuples(st.just("roll back")),
    st.tuples(st.just("run")),
)


@pytest.fixture(scope="module")
def bundle(store, write_model, tmp_path_factory):
    return write_model(str(tmp_path_factory.mktemp("bundle")), "tiny")


@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(steps, min_size=4, max_size=12))
def test_any_nights(store, bundle, tmp_path_factory, plan):
    root = tmp_path_factory.mktemp("site")
    site = Site(Night(CodeTable(f"{root}/codes", store), bundle[1].model_id), bundle[0], str(root))
    versions = [site.night_of({"a": code_at(1)}).table_version]
    site.add()
    looked, reported, expected = versions[0], set(), []
    held = keys(site, looked)
    for step in [*plan, ("publish",), ("run",)]:
        match step:
            case "encode", distances, etag:
                site.encode({uri: code_at(distance) for uri, distance in distances.items()}, etag)
            case "remove", uri:
                site.remove(uri)
            case ("compact",):
                compact(site.night.table)
            case ("publish",):
                versions.append(site.night.table.open().version())
                site.publish(versions[-1])
            case ("roll back",):
                versions.append(versions[len(versions) // 2])
                site.publish(versions[-1], restores=1)
            case ("run",):
                if versions[-1] > looked:
                    looked, before = versions[-1], held
                    held = keys(site, looked)
                    news = keys(site, looked, DISTANCE) - before - reported
                    expected += news
                    reported |= news
                site.run()
    assert site.all_written() == sorted(expected)
    assert len(set(expected)) == len(expected)
    shutil.rmtree(root)


def keys(site: Site, version: int, most: int = 32) -> set[tuple[str, str]]:
    """All chips of a version that are near enough, with their etags, whenever they were encoded."""
    near = {code_at(distance).tobytes() for distance in range(most + 1)}
    return {(row["chip_id"], row["etag"]) for row in site.night.rows(version) if row["code"] in near}


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 99),
    examples=st.integers(1, 3),
    weights=st.sampled_from([(3, 1), (1, 1), (8, 1), (1, 0), (0, 1)]),
    max_distance=st.integers(0, 60),
)
def test_any_comparison(seed, examples, weights, max_distance):
    rng = np.random.default_rng(seed)
    codes_NY, codes_EY = (rng.integers(0, 256, (count, 4), np.uint8) for count in (20, examples))
    ties = tuple(0 if 0 not in weights else 1 - weight for weight in weights)
    search = Search(codes_EY, (16, 16), Comparison(weights, ties), max_distance, Filters(), ("chip-3",))
    batch = pa.record_batch({"chip_id": [f"chip-{number}" for number in range(20)]})
    rows = search.near(batch, codes_NY).to_pylist()
    found = {row["chip_id"]: (row["distance"], row["tie"]) for row in rows}
    wanted = {}
    for number, code_Y in enumerate(codes_NY):
        bits_EP = [[np.bitwise_count((code_Y ^ each)[part]).sum() for part in PARTS] for each in codes_EY]
        distance, tie = np.mean(bits_EP, axis=0) @ weights, np.mean(bits_EP, axis=0) @ ties
        if distance <= max_distance and number != 3:
            wanted[f"chip-{number}"] = (pytest.approx(distance), pytest.approx(tie))
    assert found == wanted


PARTS = (slice(0, 2), slice(2, 4))

boxes = st.tuples(st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90)).map(
    lambda box: (box[0], min(box[1], box[3]), box[2], max(box[1], box[3]))
)
times = st.integers(0, 9).map(lambda day: START + timedelta(days=day))


@st.composite
def filters(draw):
    chosen = {}
    place = draw(st.sampled_from(["anywhere", "bbox", "intersects"]))
    if place == "bbox":
        chosen["bbox"] = draw(boxes)
    if place == "intersects":
        x, y = draw(st.floats(-170, 170)), draw(st.floats(-80, 80))
        chosen["intersects"] = shapely.geometry.mapping(shapely.Point(x, y).buffer(9))
    if draw(st.booleans()):
        first, last = sorted([draw(times), draw(times)])
        ends = [draw(st.sampled_from([time.isoformat(), ".."])) for time in (first, last)]
        chosen["datetime"] = "/".join(ends) if ends != ["..", ".."] else first.isoformat()
    if draw(st.booleans()):
        chosen["collections"] = tuple(draw(st.sets(st.sampled_from("pqr"), min_size=1)))
    if draw(st.booleans()):
        chosen["min_valid_fraction"] = draw(st.sampled_from([0.0, 0.5, 1.0]))
    return Filters(**chosen)


@st.composite
def chips(draw):
    box = draw(st.none() | boxes)
    time = draw(st.none() | times)
    return {
        "bbox": box and dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)),
        "geometry": box and shapely.to_wkb(outline(box)),
        "datetime": time,
        "collection": draw(st.sampled_from("pqrs")),
        "valid_fraction": draw(st.sampled_from([0.25, 0.5, 1.0])),
    }


def outline(box):
    west, south, east, north = box
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.union(shapely.box(west, south, 180, north), shapely.box(-180, south, east, north))


@settings(max_examples=200, deadline=None)
@given(st.lists(chips(), max_size=30), filters())
def test_any_filters(rows, wanted):
    schema = pa.schema([CODE_SCHEMA.field(name) for name in COLUMNS])
    table = pa.Table.from_pylist(rows, schema=schema).append_column("number", pa.array(np.arange(len(rows))))
    halves = pa.concat_tables([table.slice(0, len(rows) // 2), table.slice(len(rows) // 2)])
    found = fulfilling(halves, wanted)["number"].to_pylist()
    assert found == [number for number, row in enumerate(rows) if fulfils(row, wanted)]


def fulfils(row, wanted: Filters) -> bool:
    place = row["geometry"] and shapely.from_wkb(row["geometry"])
    if wanted.bbox and not (place and place.intersects(outline(wanted.bbox))):
        return False
    if wanted.intersects and not (place and place.intersects(shapely.geometry.shape(wanted.intersects))):
        return False
    if wanted.datetime:
        ends = wanted.datetime.split("/")
        first, last = (None if end == ".." else datetime.fromisoformat(end) for end in (ends[0], ends[-1]))
        time = row["datetime"]
        if time is None or (first and time < first) or (last and time > last):
            return False
    if wanted.collections and row["collection"] not in wanted.collections:
        return False
    return row["valid_fraction"] >= (wanted.min_valid_fraction or 0)
