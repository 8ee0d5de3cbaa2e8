"""Filters against one look at every row; the antimeridian, missing places and times, block borders."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.hamming.arrays import build_arrays
from pipelines.hamming.code_index import CodeIndex
from pipelines.hamming.row_filter import ALL_ROWS, NO_TIME, NONE, ROWS, Columns, rows_of
from pipelines.index import polygons
from pipelines.index.filters import BLOCKS, criteria, select_rows, spans_of
from pipelines.index.polygons import rectangles_of, select_touching
from tests.pipelines.hamming.oracle import answer, clustered, limits_of, nearest

START = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = int(START.timestamp() * 1e6)


def columns_of(rng, count, *, ordered):
    west_N, south_N = rng.uniform(-180, 180, count), rng.uniform(-90, 85, count)
    if ordered:
        west_N = np.sort(west_N)
    east_N = west_N + rng.uniform(0, 8, count)
    boxes_N4 = np.stack([west_N, south_N, np.where(east_N > 180, east_N - 360, east_N), south_N + 5], axis=1)
    boxes_N4[rng.random(count) < 0.01] = np.nan
    times_N = FIRST + rng.integers(0, 100, count) * 1_000_000
    times_N[rng.random(count) < 0.1] = NO_TIME
    valid_N = rng.integers(0, 11, count).astype(np.float32) / np.float32(10)
    return Columns(
        boxes_N4,
        np.sort(times_N) if ordered else times_N,
        valid_N,
        np.sort(rng.integers(0, 3, count)).astype(np.uint32),
    )


def touches(box, rectangle):
    """Whether two boxes on the globe have a point in common, each as one or two boxes on the plane."""
    if np.isnan(box[0]):
        return False

    def parts(west, south, east, north):
        spans = [(west, east)] if west <= east else [(west, 180), (-180, east)]
        return [shapely.box(first, south, last, north) for first, last in spans]

    return any(one.intersects(other) for one in parts(*box) for other in parts(*rectangle))


def selected(columns, wanted):
    return select_rows(columns, spans_of(columns), wanted)


@st.composite
def filters(draw):
    chosen = {}
    if draw(st.booleans()):
        sides = st.tuples(st.floats(-180, 180), st.floats(-90, 0), st.floats(-180, 180), st.floats(0, 90))
        chosen["rectangles"] = draw(st.lists(sides, min_size=1, max_size=2))
    if draw(st.booleans()):
        ends = st.none() | st.integers(-5, 105).map(lambda seconds: START + timedelta(seconds=seconds))
        chosen["interval"] = draw(st.tuples(ends, ends))
    chosen["least_valid"] = draw(st.sampled_from([0.0, 0.3, 0.7, 1.0]))
    chosen["wanted_C"] = draw(st.none() | st.lists(st.booleans(), min_size=3, max_size=3).map(np.array))
    return chosen


def fulfils(columns, row, chosen):
    first, last = chosen.get("interval", (None, None))
    time = int(columns.times_N[row])
    if "interval" in chosen and time == NO_TIME:
        return False
    if first and time < int(first.timestamp() * 1e6):
        return False
    if last and time > int(last.timestamp() * 1e6):
        return False
    if round(float(columns.valid_N[row]), 3) < chosen["least_valid"]:
        return False
    if chosen["wanted_C"] is not None and not chosen["wanted_C"][columns.collections_N[row]]:
        return False
    return "rectangles" not in chosen or any(
        touches(columns.boxes_N4[row], box) for box in chosen["rectangles"]
    )


@given(filters(), st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 63, 64, 65, 300]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_selects_what_one_look_at_every_row_does(chosen, seed, count, ordered):
    columns = columns_of(np.random.default_rng(seed), count, ordered=ordered)
    row_filter = selected(columns, criteria(**chosen))
    want = [row for row in range(count) if fulfils(columns, row, chosen)]
    assert rows_of(row_filter).tolist() == want


@pytest.mark.parametrize(
    "chosen",
    [
        {"rectangles": [(-20, -90, 30, 90)]},
        {"rectangles": [(170, -30, -170, 30)]},
        {"rectangles": [(-180, -90, 180, 90)]},
        {"interval": (START + timedelta(seconds=30), START + timedelta(seconds=50))},
        {"interval": (None, START), "wanted_C": np.array([True, False, True])},
        {"least_valid": 0.7},
        {},
    ],
)
def test_whole_blocks_are_taken_or_left_and_nothing_changes(chosen):
    columns = columns_of(np.random.default_rng(7), 5 * ROWS + 100, ordered=True)
    row_filter = selected(columns, criteria(**chosen))
    chosen = {"least_valid": 0.0, "wanted_C": None} | chosen
    mask_N = np.array([fulfils(columns, row, chosen) for row in range(len(columns.times_N))])
    assert rows_of(row_filter).tolist() == np.flatnonzero(mask_N).tolist()
    for block, verdict in enumerate(row_filter.verdicts_B):
        of_block = mask_N[block * ROWS : (block + 1) * ROWS]
        assert {NONE: not of_block.any(), ALL_ROWS: of_block.all()}.get(int(verdict), True)
    assert mask_N.sum() > 0


@pytest.mark.parametrize("hours", [(0, 0), (1, 20), (30, 40), (100, 150), (-9, 999)])
def test_whole_regions_are_taken_or_left_and_nothing_changes(hours):
    count = 2 * BLOCKS * ROWS + 5 * ROWS + 1
    rng = np.random.default_rng(9)
    hours_N = np.sort(rng.integers(0, 144, count))
    hours_N[rng.random(count) < 1e-5] = 50  # a few that lie elsewhere
    columns = Columns(
        np.full((count, 4), np.nan),
        FIRST + hours_N * 3_600_000_000,
        rng.random(count).astype(np.float32),
        np.zeros(count, np.uint32),
    )
    first, last = (START + timedelta(hours=hour) for hour in hours)
    row_filter = selected(columns, criteria(interval=(first, last)))
    mask_N = (hours_N >= hours[0]) & (hours_N <= hours[1])
    assert rows_of(row_filter).tolist() == np.flatnonzero(mask_N).tolist()
    whole = [mask_N[block * ROWS : (block + 1) * ROWS].all() for block in range(len(row_filter.verdicts_B))]
    assert (row_filter.verdicts_B == ALL_ROWS).tolist() == whole
    assert row_filter.blocks_B.tolist() == np.flatnonzero(row_filter.verdicts_B).tolist()


@pytest.mark.parametrize("num_bytes", [8, 16])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_a_search_of_whole_blocks_and_parts_of_others_answers_as_the_oracle_does(num_bytes, share):
    count = 100 * ROWS + 77
    rng = np.random.default_rng(11)
    codes_NY, ranks_N = clustered(count, num_bytes), rng.permutation(count).astype(np.uint32)
    seconds_N = np.sort(rng.integers(0, 1000, count))
    seconds_N[: 5 * ROWS] = rng.permutation(seconds_N)[: 5 * ROWS]  # of these blocks some rows only
    columns = Columns(
        np.full((count, 4), np.nan),
        FIRST + seconds_N * 1_000_000,
        rng.random(count).astype(np.float32),
        np.zeros(count, np.uint32),
    )
    first, last = 500 - round(500 * share), 500 + round(500 * share)
    interval = (START + timedelta(seconds=first), START + timedelta(seconds=last))
    row_filter = selected(columns, criteria(interval=interval))
    mask_N = (seconds_N >= first) & (seconds_N <= last)
    index = CodeIndex(build_arrays(codes_NY, ranks_N))
    for number, limits in enumerate([{"k": 1}, {"k": 10}, {"k": 20, "max_distance": 9}, {"k": 5000}]):
        row = int(np.flatnonzero(mask_N)[number * 300])
        for excluded_row in (None, row):
            hits = index.search(
                codes_NY[row],
                replace(limits_of(**limits, excluded_row=excluded_row), row_filter=row_filter),
                method="scan",
            )
            want = nearest(
                codes_NY,
                codes_NY[row],
                **limits,
                ranks_N=ranks_N,
                mask_N=mask_N,
                excluded_row=excluded_row,
            )
            assert answer(hits) == want


def test_a_polygon_selects_by_footprint_not_by_box(monkeypatch):
    rng = np.random.default_rng(3)
    corners = rng.uniform([-170, -80], [160, 70], (3 * ROWS, 2))
    corners = corners[np.argsort(corners[:, 0])]
    diamonds = [
        shapely.Polygon([(x, y + 5), (x + 5, y), (x + 10, y + 5), (x + 5, y + 10)]) for x, y in corners
    ]
    count = len(diamonds)
    columns = Columns(
        shapely.bounds(diamonds),
        np.full(count, NO_TIME),
        np.ones(count, np.float32),
        np.zeros(count, np.uint32),
    )
    taken = []

    def outlines_of(rows_M):
        taken.append(len(rows_M))
        return shapely.to_wkb(diamonds)[rows_M].tolist()

    monkeypatch.setattr(polygons, "OUTLINES", 50)
    lake = shapely.MultiPolygon([shapely.Point(0, 0).buffer(40), shapely.box(100, 10, 100.5, 10.5)])
    spans = spans_of(columns)
    boxes = selected(columns, criteria(rectangles_of(lake)))
    row_filter = select_touching(lake, boxes, columns, spans, outlines_of)
    want = [row for row, diamond in enumerate(diamonds) if diamond.intersects(lake)]
    assert rows_of(row_filter).tolist() == want
    assert len(want) < len(rows_of(boxes))
    assert 0 < max(taken) <= 50, "outlines of a whole archive may be more than memory"


def test_a_polygon_and_other_criteria_must_both_be_fulfilled():
    columns = columns_of(np.random.default_rng(5), 4 * ROWS, ordered=True)
    outlines = shapely.to_wkb(shapely.box(*columns.boxes_N4.T))
    lake, spans = shapely.box(-150, -89, 60, 89), spans_of(columns)
    row_filter = selected(columns, criteria(rectangles_of(lake), least_valid=0.5))
    chosen = {"rectangles": [lake.bounds], "least_valid": 0.5, "wanted_C": None}
    want = [row for row in range(4 * ROWS) if fulfils(columns, row, chosen)]
    assert (
        rows_of(select_touching(lake, row_filter, columns, spans, lambda rows_M: outlines[rows_M])).tolist()
        == want
    )


def test_an_upside_down_box_is_refused():
    with pytest.raises(ValueError, match="north"):
        criteria([(0, 10, 5, -10)])
