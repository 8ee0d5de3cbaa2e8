"""However the rows are divided, the answers are the same, and those that brute force finds over the table."""

import asyncio
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.api.requests import SearchRequest
from pipelines.serve.refusals import Refusal, RefusedRequest
from pipelines.serve.search import search_batch
from tests.pipelines.serve.conftest import Archive
from tests.pipelines.serve.divided import DIVISIONS, Divided, chance, check, divide, read
from tests.pipelines.serve.questions import (
    COMPARED,
    EXAMPLES,
    FILTERS,
    LIMITS,
    ROWS,
    TABLES,
    example_fields,
    with_radius,
)

Table = dict[int, Divided]


@pytest.fixture(scope="module")
def tables(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    """The first version, whose codes have one part, and that of the model whose codes have two."""
    versions = (archive.versions[0], archive.versions[3])
    return {
        name: divide(archive, version, tmp_path_factory.mktemp("indices"))
        for name, version in zip(TABLES, versions, strict=True)
    }


@pytest.fixture(scope="module")
def divided(tables: dict[str, Table]) -> Table:
    """The first version."""
    return tables["one part"]


@settings(max_examples=300, deadline=None)
@given(
    example=EXAMPLES,
    compared=COMPARED,
    limits=LIMITS,
    filters=FILTERS,
    parts=st.sampled_from(DIVISIONS),
)
def test_any_query_however_divided(
    archive: Archive,
    tables: dict[str, Table],
    example: Any,
    compared: Any,
    limits: Any,
    filters: Any,
    parts: int,
) -> None:
    table, comparing = compared
    query = {**limits, **filters, **comparing, **example_fields(archive, example)}
    check(archive, tables[table][parts], with_radius(query))


@pytest.mark.parametrize("parts", DIVISIONS)
def test_a_polygon(archive: Archive, divided: Table, parts: int) -> None:
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
    examples=st.sampled_from(["one", "several", "values"]),
    compared=COMPARED,
    parts=st.sampled_from(DIVISIONS),
)
def test_pages_hold_every_result_once(
    archive: Archive,
    tables: dict[str, Table],
    row: int,
    limits: Any,
    limit: int,
    examples: str,
    compared: Any,
    parts: int,
) -> None:
    divided, ids = tables[compared[0]], [archive.ids()[row], archive.ids()[(row + 20) % 64]]
    query: dict[str, Any] = {"limit": limit, **limits, **compared[1]}
    if examples == "values":
        code = archive.code(row, divided[1].snapshot_id.version).tobytes().hex()
        query |= {"code": code, "bit_weights": "0189" * 8}
    else:
        query |= {"chip_ids": ids if examples == "several" else ids[:1]}
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
def test_points(archive: Archive, divided: Table, parts: int) -> None:
    for point in ((2.0, 6.0), (-179.9, 9.0), (179.9, 9.0)):
        query = {"point": point, "k": 64, "exclude_self": True}
        assert divided[parts].search(query).features == divided[1].search(query).features
    with pytest.raises(RefusedRequest, match="no chip lies at"):
        divided[parts].search({"point": (100, 50)})


@pytest.mark.parametrize("parts", DIVISIONS)
def test_batches(archive: Archive, tables: dict[str, Table], parts: int) -> None:
    divided = tables["two parts"]
    queries: list[dict[str, Any]] = [{"chip_ids": [chip], "k": 7} for chip in archive.ids()[:20]]
    queries += [{"code": "0123abcd", "max_distance": 12}, {"chip_ids": ["nobody"]}, {"point": (100, 50)}]
    queries += [{"chip_ids": archive.ids()[:3], "bbox": [0, 5, 3, 9]}, {"code": "00000000", "token": "x"}]
    comparing: list[dict[str, Any]] = [{"compare": "kind"}, {"compare": "look"}, {"kind_weight": 1}] * 2
    queries += [{"code": "0123abcd", "k": 9} | each for each in comparing]
    queries += [{"code": "0123abcd", "compare": "look", "bit_weights": "08f3" * 8}]
    requests = [SearchRequest.model_validate(query) for query in queries]
    answers = asyncio.run(search_batch(divided[parts], requests))
    refused = [each.code if isinstance(each, Refusal) else None for each in answers]
    assert refused == [None] * 21 + ["no_such_chip", "no_chip_here", None, "bad_token"] + [None] * 7
    for query, each in zip(queries, answers, strict=True):
        if not isinstance(each, Refusal):
            assert read(each).features == divided[1].search(query).features


def test_a_token_holds_the_query_to_what_it_was(archive: Archive, divided: Table) -> None:
    query = {"code": "00000000", "k": 20, "limit": 5}
    token = divided[1].search(query).links[0].body["token"]
    with pytest.raises(RefusedRequest, match="isn't of this query"):
        divided[1].search({**query, "k": 21, "token": token})
    with pytest.raises(RefusedRequest, match="isn't of this query"):
        divided[1].search({**query, "snapshot": 999, "token": token})
    larger = divided[1].search({**query, "limit": 15, "token": token})  # a page may be of another size
    assert [match.properties.rank for match in larger.features] == list(range(6, 21))


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("parts", DIVISIONS)
def test_what_chance_gives(archive: Archive, tables: dict[str, Table], table: str, parts: int) -> None:
    shards, code = tables[table][parts], "0123abcd"
    queries: list[dict[str, Any]] = [{"code": code}, {"code": code, "bit_weights": "3f80" * 8}]
    if table == "two parts":
        queries += [{"code": code, "compare": "kind"}, {"code": code, "compare": "look"}]
        queries += [{"code": code, "kind_weight": 8}]
    for query in queries:
        answered = shards.search({**query, "k": 64})
        gives = answered.search.chance_distance
        assert gives == chance(archive, query, shards.snapshot_id.version)
        beyond = [match.properties.beyond_chance for match in answered.features]
        assert beyond == [match.properties.distance > gives for match in answered.features]
        assert any(beyond)
    several = {"chip_ids": archive.ids()[:2], "k": 64}
    assert shards.search(several).search.chance_distance is None


def test_similarity_is_a_share_of_the_greatest_distance(archive: Archive, tables: dict[str, Table]) -> None:
    shards = tables["two parts"][2]
    code_Y = archive.code(7, archive.versions[3])
    for code, similarity in ((code_Y, 1.0), (~code_Y, 0.0)):
        for comparing in ({}, {"compare": "kind"}, {"kind_weight": 5}, {"bit_weights": "1234" * 8}):
            query = {"code": code.tobytes().hex(), "k": 64, **comparing}
            ids = {match.id: match.properties.similarity for match in shards.search(query).features}
            assert ids[archive.ids()[7]] == similarity
