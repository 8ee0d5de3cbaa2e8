"""Heat, coverage, collections, chips of a place and changes: what brute force finds over the table's rows.

However the rows are divided.
"""

import asyncio
import math
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.api.explore import (
    ChangesRequest,
    CoverageParameters,
    DatesParameters,
    GridRequest,
    HereParameters,
)
from pipelines.api.explore_answers import (
    ChangeColumnsAnswer,
    ChangesAnswer,
    ChipsAnswer,
    CollectionsAnswer,
    CoverageAnswer,
    GridAnswer,
)
from pipelines.serve.changes import changes
from pipelines.serve.facts import CollectionsLookup, CoverageLookup, collections_answer, coverage_answer
from pipelines.serve.grid import grid
from pipelines.serve.here import ChipLookup, DatesLookup, HereLookup, dates_page, here_page
from pipelines.serve.page import Page
from pipelines.serve.question import SnapshotSelector
from pipelines.serve.refusals import RefusedRequest
from pipelines.serve.rendering import json_bytes, written
from tests.pipelines.serve.conftest import Archive, commit
from tests.pipelines.serve.divided import Divided, differing, divide, narrower, oracle, passes, weigh
from tests.pipelines.serve.questions import COMPARED, EXAMPLES, FILTERS, TABLES, example_fields, with_radius

Table = dict[int, Divided]
SELECTOR = SnapshotSelector()
DIVIDED = (1, 2, 7)


@pytest.fixture(scope="module")
def tables(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    """The first version, whose codes have one part, and that of the model whose codes have two."""
    versions = (archive.versions[0], archive.versions[3])
    return {
        name: divide(archive, version, tmp_path_factory.mktemp("indices"), DIVIDED)
        for name, version in zip(TABLES, versions, strict=True)
    }


@pytest.fixture(scope="module")
def dated(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Table:
    """A version with the rows of `dated_rows`."""
    commit(archive, archive.model_of[archive.versions[3]], 2, dated_rows(archive), archive.versions[3])
    version = archive.versions.pop()
    return divide(archive, version, tmp_path_factory.mktemp("dated"), DIVIDED)


def dated_rows(archive: Archive) -> list[dict[str, Any]]:
    """Three dates of each place, a little beside each other, one place at the antimeridian."""
    news = []
    for number, row in enumerate(archive.rows[archive.versions[3]].to_pylist()):
        for step in range(3):
            box = row["bbox"] and moved(row["bbox"], 0.15 * step)
            news.append(
                row
                | {
                    "chip_id": f"{number:02}-{step}-{row['chip_id']}",
                    "uri": f"{row['uri']}-{step}",
                    "bbox": box,
                    "geometry": box and outline(box),
                    "datetime": None if number % 9 == 8 else datetime(2025, step + 2, 1, tzinfo=UTC),
                    "collection": "tests" if number % 5 else "others",
                    "code": bytes(byte ^ (step * 17 * (number % 3)) for byte in row["code"]),
                }
            )
    return news


def moved(box: dict[str, float], east: float) -> dict[str, float]:
    """A box some degrees to the east."""
    sides = {name: side + (east if name[0] == "x" else 0) for name, side in box.items()}
    return {name: side - 360 if side > 180 else side for name, side in sides.items()}


def outline(box: dict[str, float]) -> bytes:
    west, south, east, north = box.values()
    if west <= east:
        return bytes(shapely.to_wkb(shapely.box(west, south, east, north)))
    halves = [shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)]
    return bytes(shapely.to_wkb(shapely.MultiPolygon(halves)))


def sent(answer: dict[str, Any] | Page) -> bytes:
    """An answer as it is sent."""
    if isinstance(answer, Page):
        answer.about["took_ms"] = 1.0
        answer = written(answer)
    answer["took_ms"] = 1.0
    return json_bytes(answer)


def centre(row: dict[str, Any]) -> tuple[float, float] | None:
    if row["bbox"] is None:
        return None
    west, south, east, north = row["bbox"].values()
    width = east - west + (360 if east < west else 0)
    return (west + width / 2 + 180) % 360 - 180, (south + north) / 2


def cells_of(
    chips: list[tuple[float, tuple[float, float] | None]], view: list[float], width: int, height: int
) -> dict[int, list[float]]:
    """The distances of the chips in each cell of a view."""
    cells: dict[int, list[float]] = {}
    across, down = view[2] - view[0] + (360 if view[2] < view[0] else 0), view[3] - view[1]
    for distance, place in chips:
        if place is None:
            continue
        along, below = (place[0] - view[0]) % 360, view[3] - place[1]
        if along <= across and 0 <= below <= down:
            column, row = (
                min(int(along / across * width), width - 1),
                min(int(below / down * height), height - 1),
            )
            cells.setdefault(row * width + column, []).append(distance)
    return cells


@settings(max_examples=120, deadline=None)
@given(
    example=EXAMPLES,
    compared=COMPARED,
    filters=FILTERS,
    max_distance=st.none() | st.integers(-40, 60),
    view=st.sampled_from([[-180, -90, 180, 90], [170, 4, -175, 9], [-1, 5, 3.1, 10.3], [100, 0, 101, 1]]),
    size=st.sampled_from([(1, 1), (7, 3), (512, 512)]),
    parts=st.sampled_from(DIVIDED),
)
def test_any_grid_however_divided(
    archive: Archive,
    tables: dict[str, Table],
    example: Any,
    compared: Any,
    filters: Any,
    max_distance: int | None,
    view: list[float],
    size: tuple[int, int],
    parts: int,
) -> None:
    table, comparing = compared
    query = {**filters, **comparing, **example_fields(archive, example)}
    shards = tables[table][parts]
    asked = query | {"view": view, "width": size[0], "height": size[1]}
    asked |= {} if max_distance is None else {"max_distance": max_distance}
    asked = with_radius(asked)
    max_distance = asked.get("max_distance")
    request = GridRequest.model_validate(asked)
    answered = GridAnswer.model_validate_json(sent(asyncio.run(grid(shards, request))))
    found = oracle(archive, query, shards.snapshot_id.version)
    at = Counter(math.ceil(round(distance, 9)) for distance, *_ in found)
    counts = answered.histogram.counts
    assert {answered.histogram.first + n: count for n, count in enumerate(counts) if count} == at
    assert not counts or (counts[0] and counts[-1])
    assert answered.matched == len(found)
    row_of = {row["chip_id"]: row for row in archive.rows[shards.snapshot_id.version].to_pylist()}
    near = [
        (each[0], centre(row_of[each[2]]))
        for each in found
        if max_distance is None or each[0] <= max_distance
    ]
    cells = cells_of(near, view, *size)
    assert list(answered.cells.index) == sorted(cells)
    assert list(answered.cells.count) == [len(cells[cell]) for cell in sorted(cells)]
    nearest = [min(cells[cell]) for cell in sorted(cells)]
    assert [round(each, 9) for each in answered.cells.distance] == nearest
    assert answered.in_view == sum(answered.cells.count)


def test_a_grid_of_a_chip_that_is_not_there(tables: dict[str, Table]) -> None:
    with pytest.raises(RefusedRequest) as caught:
        asyncio.run(grid(tables["one part"][2], GridRequest(chip_ids=("stranger",))))
    assert caught.value.refusal.code == "no_such_chip"


@settings(max_examples=60, deadline=None)
@given(
    bbox=st.sampled_from(["-180,-90,180,90", "170,-10,-170,10", "-0.3,5,3.2,9.1", "60,-40,61,-39"]),
    width=st.integers(1, 1024),
    height=st.integers(1, 1024),
    parts=st.sampled_from(DIVIDED),
)
def test_any_coverage_however_divided(
    archive: Archive, tables: dict[str, Table], bbox: str, width: int, height: int, parts: int
) -> None:
    shards = tables["one part"][parts]
    given = {"bbox": [bbox], "width": width, "height": height}
    lookup = CoverageLookup(CoverageParameters.model_validate(given))
    answered = CoverageAnswer.model_validate_json(
        sent(coverage_answer(lookup, *asyncio.run(shards.look(lookup, SELECTOR))))
    )
    cell = answered.cell_degrees
    west, south, east, north = (float(side) for side in bbox.split(","))
    across = east - west + (360 if east < west else 0)
    sides = [360 / 2**z for z in range(15)]
    fits = [each for each in sides if across / each <= width and (north - south) / each <= height]
    assert cell == min(fits, default=360.0)
    rows = archive.rows[archive.versions[0]].to_pylist()
    places = [place for row in rows if (place := centre(row)) is not None]
    wanted: Counter[tuple[int, int]] = Counter()
    for lon, lat in places:
        y, x = math.floor((lat + 90) / cell), math.floor((lon + 180) / cell)
        left, right = math.floor((west + 180) / cell), math.floor((east + 180) / cell)
        touches = left <= x <= right if west < east else x >= left or x <= right
        if touches and math.floor((south + 90) / cell) <= y <= math.floor((north + 90) / cell):
            wanted[y, x] += 1
    found = dict(zip(zip(answered.cells.y, answered.cells.x, strict=True), answered.cells.count, strict=True))
    assert found == wanted
    assert list(found) == sorted(wanted)
    assert (answered.chips, answered.without_place) == (64, 64 - len(places))


@pytest.mark.parametrize("parts", DIVIDED)
def test_collections_however_divided(archive: Archive, dated: Table, parts: int) -> None:
    shards = dated[parts]
    answered = CollectionsAnswer.model_validate_json(
        sent(collections_answer(*asyncio.run(shards.look(CollectionsLookup(), SELECTOR))))
    )
    rows = archive.rows[shards.snapshot_id.version].to_pylist()
    assert [each.id for each in answered.collections] == ["others", "tests"]
    for each in answered.collections:
        own = [row for row in rows if row["collection"] == each.id]
        times = [row["datetime"] for row in own if row["datetime"] is not None]
        placed = [row["bbox"] for row in own if row["bbox"] is not None]
        assert each.chips == len(own)
        assert (each.without_place, each.undated) == (len(own) - len(placed), len(own) - len(times))
        assert each.months == Counter(f"{time:%Y-%m}" for time in times)
        assert each.extent.temporal is not None
        assert each.extent.temporal.interval == [(min(times), max(times))]
        assert each.extent.spatial is not None
        west, south, east, north = each.extent.spatial.bbox[0]
        assert (south, north) == (min(box["ymin"] for box in placed), max(box["ymax"] for box in placed))
        assert (west, east) == pytest.approx(narrower(placed))
    assert answered.chips == len(rows)


@settings(max_examples=60, deadline=None)
@given(filters=FILTERS, limit=st.integers(1, 70), parts=st.sampled_from(DIVIDED))
def test_what_lies_here_however_divided(
    archive: Archive, tables: dict[str, Table], filters: dict[str, Any], limit: int, parts: int
) -> None:
    filters.setdefault("bbox", [-180, -90, 180, 90])
    shards, found, after = tables["two parts"][parts], [], None
    wanted = [
        row["chip_id"] for row in archive.rows[shards.snapshot_id.version].to_pylist() if passes(row, filters)
    ]
    while True:
        parameters = HereParameters.model_validate({**filters, "limit": limit, "after": after})
        page = here_page(parameters, *asyncio.run(shards.look(HereLookup(parameters), SELECTOR)))
        answered = ChipsAnswer.model_validate_json(sent(page))
        assert (answered.numberMatched, answered.numberReturned) == (len(wanted), len(answered.features))
        found += [str(feature.id) for feature in answered.features]
        if not answered.links:
            break
        assert len(answered.features) == limit
        after = found[-1]
    assert found == sorted(wanted)


@pytest.mark.parametrize("parts", DIVIDED)
def test_the_dates_of_a_place(archive: Archive, dated: Table, parts: int) -> None:
    shards = dated[parts]
    code = archive.model_of[shards.snapshot_id.version].manifest.network.code
    rows = archive.rows[shards.snapshot_id.version].to_pylist()
    for number in (0, 50, 100, 191):
        chip, parameters = rows[number], DatesParameters(compare="look", limit=4)
        _, found = asyncio.run(shards.look(ChipLookup(chip["chip_id"]), SELECTOR))
        row, code_bytes = next(part for part in found if part is not None)
        lookup = DatesLookup(row, code_bytes, parameters)
        answered = ChipsAnswer.model_validate_json(
            sent(dates_page(parameters, *asyncio.run(shards.look(lookup, SELECTOR))))
        )
        place = centre(chip)
        wanted = sorted(
            (
                (row["datetime"] is not None, row["datetime"], row["chip_id"], row)
                for row in rows
                if row["chip_id"] == chip["chip_id"]
                or (place is not None and row["uri"] != chip["uri"] and holds(row["bbox"], place))
            ),
            key=lambda each: (each[0], each[1] or 0, each[2]),
        )
        assert answered.numberMatched == len(wanted)
        assert [feature.id for feature in answered.features] == [chip_id for *_, chip_id, _ in wanted[-4:]]
        for feature, (*_, other) in zip(answered.features, wanted[-4:], strict=True):
            bits = apart(code, chip, other)
            assert feature.properties["distance"] == feature.properties["look_distance"] == bits[1]
            assert feature.properties["kind_distance"] == bits[0]


def holds(box: dict[str, float] | None, place: tuple[float, float]) -> bool:
    if box is None:
        return False
    west, south, east, north = box.values()
    within = west <= place[0] <= east if west <= east else place[0] >= west or place[0] <= east
    return within and south <= place[1] <= north


def apart(code: Any, one: dict[str, Any], other: dict[str, Any]) -> list[int]:
    """The differing bits of each part of two rows' codes."""
    one_Y, other_Y = (np.frombuffer(row["code"], np.uint8) for row in (one, other))
    return differing(code, one_Y, other_Y[None], np.ones(code.bits, int))[0].tolist()


def all_pairs(archive: Archive, version: int, query: dict[str, Any]) -> list[tuple[int, str, str]]:
    """Minus the distance, earlier and later chip of all pairs, as the guide's SQL says them."""
    code = archive.model_of[version].manifest.network.code
    weights = weigh(code, query)[0]
    rows = [row for row in archive.rows[version].to_pylist() if passes(row, query)]
    rows = [row for row in rows if row["bbox"] is not None and row["datetime"] is not None]
    pairs = []
    for a in rows:
        width = (a["bbox"]["xmax"] - a["bbox"]["xmin"]) % 360
        height = a["bbox"]["ymax"] - a["bbox"]["ymin"]
        for b in rows:
            if a["collection"] != b["collection"] or not a["datetime"] < b["datetime"]:
                continue
            if not (of_time(a, query.get("before")) and of_time(b, query.get("after"))):
                continue
            east = abs(a["bbox"]["xmin"] - b["bbox"]["xmin"])
            north = abs(a["bbox"]["ymin"] - b["bbox"]["ymin"])
            if min(east, 360 - east) < width / 4 and north < height / 4:
                bits = apart(code, a, b)
                distance = sum(w * n for w, n in zip(weights, bits, strict=True))
                pairs.append((-distance, a["chip_id"], b["chip_id"]))
    return sorted(pairs)


def of_time(row: dict[str, Any], interval: str | None) -> bool:
    return interval is None or passes(row | {"valid_fraction": 1}, {"datetime": interval})


@settings(max_examples=40, deadline=None)
@given(
    filters=st.fixed_dictionaries(
        {},
        optional={
            "bbox": st.sampled_from([[-180, -90, 180, 90], [179, 0, -179, 10], [0, 5, 4, 9]]),
            "collections": st.lists(st.sampled_from(["tests", "others"]), min_size=1, max_size=2),
            "before": st.sampled_from(["2025-02", "../2025-03-01T00:00:00Z"]),
            "after": st.sampled_from(["2025-04", "2025-03-01T00:00:00Z/.."]),
            "compare": st.sampled_from(["both", "kind", "look"]),
        },
    ),
    k=st.sampled_from([1, 5, 40, 1000]),
    min_distance=st.sampled_from([0, 1, 12]),
    parts=st.sampled_from(DIVIDED),
)
def test_any_changes_however_divided(
    archive: Archive, dated: Table, filters: dict[str, Any], k: int, min_distance: int, parts: int
) -> None:
    shards = dated[parts]
    version = shards.snapshot_id.version
    request = ChangesRequest.model_validate({**filters, "k": k, "min_distance": min_distance})
    answered = ChangesAnswer.model_validate_json(sent(asyncio.run(changes(shards, request))))
    wanted = all_pairs(archive, version, filters)
    kept = [pair for pair in wanted if -pair[0] >= min_distance]
    pairs = [feature.properties for feature in answered.features]
    assert [(-pair["distance"], pair["before"], pair["after"]) for pair in pairs] == kept[:k]
    assert [pair["rank"] for pair in pairs] == list(range(1, len(pairs) + 1))
    assert answered.numberMatched == len(kept)
    first, counts = answered.histogram.first, answered.histogram.counts
    assert {first + n: c for n, c in enumerate(counts) if c} == Counter(-pair[0] for pair in wanted)
    row_of = {row["chip_id"]: row for row in archive.rows[version].to_pylist()}
    for feature in answered.features:
        assert feature.id == f"{feature.properties['before']}/{feature.properties['after']}"
        assert feature.bbox == tuple(row_of[feature.properties["after"]]["bbox"].values())
    columns = ChangesRequest.model_validate({**request.model_dump(exclude_unset=True), "format": "columns"})
    table = ChangeColumnsAnswer.model_validate_json(sent(asyncio.run(changes(shards, columns)))).columns
    assert table.before == [pair["before"] for pair in pairs]
    assert table.distance == [pair["distance"] for pair in pairs]
    assert table.geometry is None


def test_that_there_are_changes_at_the_edges_of_shards(archive: Archive, dated: Table) -> None:
    pairs = all_pairs(archive, dated[1].snapshot_id.version, {})
    assert len(pairs) > 100
    rows = [snapshot.index.rows for snapshot in dated[7].snapshots]
    shard_of = {own.chip_id(row): number for number, own in enumerate(rows) for row in range(len(own))}
    assert sum(shard_of[before] != shard_of[after] for _, before, after in pairs) > 10
