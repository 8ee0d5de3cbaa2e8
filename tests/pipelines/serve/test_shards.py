"""However the rows are divided, the answers are the same, and those that brute force finds over the table."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from model.codes import hamming_distances
from pipelines.api.answers import SearchAnswer
from pipelines.api.requests import SearchRequest, parse_interval
from pipelines.parts import Part
from pipelines.pointer import read_pointer
from pipelines.serve.app import Json
from pipelines.serve.config import ServeConfig
from pipelines.serve.find import answer
from pipelines.serve.merge import Worded
from pipelines.serve.question import Pin, Question, Said, Source
from pipelines.serve.refusals import Refusal, RefusedRequest
from pipelines.serve.search import search, search_batch
from pipelines.serve.snapshot import Snapshot, load_snapshot
from tests.pipelines.serve.conftest import Archive

DIVISIONS = (1, 2, 3, 7, 100)  # 100: more than there are chips


class Divided:
    """A table's shards, all in this process."""

    def __init__(self, archive: Archive, folder: Path, parts: int) -> None:
        config = ServeConfig(table=archive.table, store=archive.store.config, open=True, index_folder=folder)
        published = read_pointer(archive.table, archive.store)
        self.snapshots: list[Snapshot] = [
            load_snapshot(config, published, Part(number, parts)) for number in range(parts)
        ]
        self.source = Source(published.number, published.table_version, published.model_id, 32)

    async def ask(self, questions: Sequence[Question], pin: Pin) -> tuple[Source, list[list[Said]]]:
        whole = len(self.snapshots) == 1
        said = [answer(snapshot.archive, questions, is_whole=whole) for snapshot in self.snapshots]
        return self.source, [list(each) for each in zip(*said, strict=True)]

    def search(self, query: dict[str, Any]) -> SearchAnswer:
        return _read(asyncio.run(search(self, SearchRequest.model_validate(query))))


def _read(worded: Worded) -> SearchAnswer:
    """Return an answer as a client reads it."""
    worded["search"]["took_ms"] = 1.0
    return SearchAnswer.model_validate_json(bytes(Json(worded).body))


@pytest.fixture(scope="module")
def divided(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Divided]:
    folder = tmp_path_factory.mktemp("indices")
    return {parts: Divided(archive, folder, parts) for parts in DIVISIONS}


def oracle(archive: Archive, query: dict[str, Any]) -> list[tuple[float, str]]:
    """All that a query asks for, k or no k, as (distance, chip id): brute force over the table's rows."""
    rows = archive.rows[archive.versions[0]].to_pylist()
    codes_NY = np.stack([np.frombuffer(row["code"], np.uint8) for row in rows])
    row_of = {row["chip_id"]: number for number, row in enumerate(rows)}
    if "code" in query:
        positives_EY = np.frombuffer(bytes.fromhex(query["code"]), np.uint8)[None]
    else:
        positives_EY = codes_NY[[row_of[chip] for chip in query["chip_ids"]]]
    distances_N = hamming_distances(positives_EY, codes_NY).mean(axis=0)
    negative_ids = query.get("negative_ids", [])
    if negative_ids:
        distances_N = distances_N - hamming_distances(
            codes_NY[[row_of[chip] for chip in negative_ids]], codes_NY
        ).mean(axis=0)
    left_out = {*query.get("chip_ids", []), *negative_ids} if query.get("exclude_self", True) else set()
    pairs = [
        (round(float(distance), 9), row["chip_id"])
        for distance, row in zip(distances_N, rows, strict=True)
        if row["chip_id"] not in left_out and passes(row, query)
    ]
    return sorted(pair for pair in pairs if pair[0] <= query.get("max_distance", 1024))


def passes(row: dict[str, Any], query: dict[str, Any]) -> bool:
    """The filters as their definitions say them, one row at a time."""
    if "bbox" in query or "intersects" in query:
        if row["geometry"] is None:
            return False
        footprint = shapely.from_wkb(row["geometry"])
        if "intersects" in query:
            return bool(footprint.intersects(shapely.geometry.shape(query["intersects"]))) and passes(
                row, {name: value for name, value in query.items() if name != "intersects"}
            )
        west, south, east, north = query["bbox"]
        sides = [(west, east)] if west <= east else [(west, 180), (-180, east)]
        if not any(footprint.intersects(shapely.box(left, south, right, north)) for left, right in sides):
            return False
    if "datetime" in query:
        first, last = parse_interval(query["datetime"])
        time = row["datetime"]
        if time is None or (first and time < first) or (last and time > last):
            return False
    if row["collection"] not in query.get("collections", [row["collection"]]):
        return False
    return bool(row["valid_fraction"] >= query.get("min_valid_fraction", 0))


def check(archive: Archive, shards: Divided, query: dict[str, Any]) -> SearchAnswer:
    """Check a first page, or the only one, and what is said of the whole answer."""
    answered = shards.search(query)
    wanted = oracle(archive, query)
    k = query.get("k", None if "max_distance" in query else 10)
    assert [(round(match.properties.distance, 9), match.id) for match in answered.features] == wanted[:k][
        : query.get("limit", 1000)
    ]
    assert answered.numberMatched == len(wanted[:k])
    if k is not None and wanted:
        kth = wanted[:k][-1][0]
        assert answered.search.kth_distance == pytest.approx(kth)
        assert answered.search.ties_at_cutoff == sum(distance == kth for distance, _ in wanted[k:])
    return answered


def times(day: int) -> str:
    return datetime(2025, 1, day, tzinfo=UTC).isoformat().replace("+00:00", "Z")


LONGITUDES, LATITUDES = st.floats(-180, 180, width=16), st.floats(0, 12, width=16)
DAYS = st.integers(1, 6)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "bbox": st.tuples(LONGITUDES, LATITUDES, LONGITUDES, LATITUDES).map(
            lambda box: [box[0], min(box[1], box[3]), box[2], max(box[1], box[3])]
        ),
        "datetime": st.one_of(
            DAYS.map(times),
            DAYS.map(lambda day: f"{times(day)}/.."),
            DAYS.map(lambda day: f"../{times(day)}"),
            st.tuples(DAYS, DAYS).map(lambda days: f"{times(min(days))}/{times(max(days))}"),
        ),
        "collections": st.lists(st.sampled_from(["tests", "others"]), min_size=1, max_size=2),
        "min_valid_fraction": st.floats(0, 1),
    },
)
LIMITS = st.one_of(
    st.fixed_dictionaries({}, optional={"k": st.integers(1, 80), "limit": st.integers(1, 80)}),
    st.fixed_dictionaries(
        {"max_distance": st.integers(0, 32)},
        optional={"k": st.integers(1, 80), "limit": st.integers(1, 80)},
    ),
)
ROWS = st.integers(0, 63)


@settings(max_examples=200, deadline=None)
@given(
    example=st.one_of(
        st.binary(min_size=4, max_size=4),
        st.tuples(
            st.lists(ROWS, min_size=1, max_size=4),
            st.lists(ROWS, max_size=3),
            st.sampled_from([None, True, False]),
        ),
    ),
    limits=LIMITS,
    filters=FILTERS,
    parts=st.sampled_from(DIVISIONS),
)
def test_any_query_however_divided(
    archive: Archive, divided: dict[int, Divided], example: Any, limits: Any, filters: Any, parts: int
) -> None:
    query = {**limits, **filters}
    if isinstance(example, bytes):
        query["code"] = example.hex()
    else:
        positives, negatives, exclude = example
        query["chip_ids"] = [archive.ids()[row] for row in positives]
        if negatives:
            query["negative_ids"] = [archive.ids()[row] for row in negatives]
        if exclude is not None:
            query["exclude_self"] = exclude
    check(archive, divided[parts], query)


@pytest.mark.parametrize("parts", DIVISIONS)
def test_a_polygon(archive: Archive, divided: dict[int, Divided], parts: int) -> None:
    for shape in (
        shapely.Polygon([(0, 4), (6, 4), (3, 10)]),
        shapely.MultiPolygon([shapely.box(179, 5, 180, 8), shapely.box(-180, 5, -179.5, 8)]),
        shapely.Point(0.1, 9.9),
    ):
        query = {"code": "00000000", "k": 80, "intersects": shapely.geometry.mapping(shape)}
        assert check(archive, divided[parts], query).numberMatched > 0


@settings(max_examples=60, deadline=None)
@given(
    row=ROWS,
    limits=st.sampled_from(
        [{"k": 64}, {"k": 33}, {"max_distance": 32}, {"max_distance": 9}, {"k": 5, "max_distance": 3}]
    ),
    limit=st.integers(1, 40),
    several=st.booleans(),
    parts=st.sampled_from(DIVISIONS),
)
def test_pages_hold_every_result_once(
    archive: Archive,
    divided: dict[int, Divided],
    row: int,
    limits: Any,
    limit: int,
    several: bool,
    parts: int,
) -> None:
    ids = [archive.ids()[row], archive.ids()[(row + 20) % 64]]
    query: dict[str, Any] = {"chip_ids": ids if several else ids[:1], "limit": limit, **limits}
    whole = divided[1].search({**query, "limit": 1000})
    found, page = [], divided[parts].search(query)
    while True:
        assert page.numberMatched == whole.numberMatched
        assert page.numberReturned == len(page.features) <= limit
        found += page.features
        if not page.links:
            break
        assert page.links[0].merge
        page = divided[parts].search({**query, **page.links[0].body})
    assert found == whole.features


@pytest.mark.parametrize("parts", DIVISIONS)
def test_points(archive: Archive, divided: dict[int, Divided], parts: int) -> None:
    for point in ((2.0, 6.0), (-179.9, 9.0), (179.9, 9.0)):
        query = {"point": point, "k": 64, "exclude_self": True}
        assert divided[parts].search(query).features == divided[1].search(query).features
    with pytest.raises(RefusedRequest, match="no chip lies at"):
        divided[parts].search({"point": (100, 50)})


@pytest.mark.parametrize("parts", DIVISIONS)
def test_batches(archive: Archive, divided: dict[int, Divided], parts: int) -> None:
    queries: list[dict[str, Any]] = [{"chip_ids": [chip], "k": 7} for chip in archive.ids()[:20]]
    queries += [{"code": "0123abcd", "max_distance": 12}, {"chip_ids": ["nobody"]}, {"point": (100, 50)}]
    queries += [{"chip_ids": archive.ids()[:3], "bbox": [0, 5, 3, 9]}, {"code": "00000000", "token": "x"}]
    requests = [SearchRequest.model_validate(query) for query in queries]
    answers = asyncio.run(search_batch(divided[parts], requests))
    refused = [each.code if isinstance(each, Refusal) else None for each in answers]
    assert refused == [None] * 21 + ["no_such_chip", "no_chip_here", None, "bad_token"]
    for query, each in zip(queries, answers, strict=True):
        if not isinstance(each, Refusal):
            assert _read(each).features == divided[1].search(query).features


def test_a_token_holds_the_query_to_what_it_was(archive: Archive, divided: dict[int, Divided]) -> None:
    query = {"code": "00000000", "k": 20, "limit": 5}
    token = divided[1].search(query).links[0].body["token"]
    with pytest.raises(RefusedRequest, match="isn't of this query"):
        divided[1].search({**query, "k": 21, "token": token})
    with pytest.raises(RefusedRequest, match="isn't of this query"):
        divided[1].search({**query, "snapshot": 999, "token": token})
    larger = divided[1].search({**query, "limit": 15, "token": token})  # a page may be of another size
    assert [match.properties.rank for match in larger.features] == list(range(6, 21))
