"""POST /v1/changes over HTTP: as GeoParquet, and beside the SQL of the guide over the same Parquet."""

import asyncio
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import geopandas
import httpx
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from pipelines.api.explore_answers import ChangesAnswer
from pipelines.serve.app import Ingress
from pipelines.serve.config import ServeConfig
from pipelines.storage.store import Store
from tests.pipelines.serve.conftest import Archive, commit, make_archive
from tests.pipelines.serve.test_explore import all_pairs, dated_rows

GUIDE = Path(__file__).parents[3] / "docs/guide/query.md"
_, CHANGED = re.findall(r"```sql\n(.*?)```", GUIDE.read_text(), re.DOTALL)
Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def dated_archive(store: Store) -> Archive:
    """An archive of its own, whose newest version has three dates of each place; that one is published."""
    archive = make_archive(store, "for-changes")
    old = archive.versions[3]
    commit(archive, archive.model_of[old], 2, dated_rows(archive), old)
    archive.publish(archive.versions[-1])
    return archive


@pytest.fixture(scope="module")
def ask(dated_archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Ask a service in this process for changes."""
    config = ServeConfig(
        table=dated_archive.table,
        store=dated_archive.store.config,
        open=True,
        index_folder=tmp_path_factory.mktemp("indices"),
        poll_seconds=3600,
    )
    ingress = Ingress(config, [], None, None)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(ingress.__serve_build_asgi_app__())

    async def asked(body: dict[str, Any], accept: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.post("/v1/changes", json=body, headers={"Accept": accept})

    return lambda body, accept="application/geo+json": asyncio.run(asked(body, accept))


def test_changes_as_geoparquet(dated_archive: Archive, ask: Ask) -> None:
    version = dated_archive.versions[-1]
    wanted = all_pairs(dated_archive, version, {"compare": "look"})
    assert len(wanted) > 100
    answer = ask({"compare": "look", "k": 10_000}, "application/vnd.apache.parquet")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    frame = geopandas.read_parquet(io.BytesIO(answer.content))
    rows = zip(-frame["distance"], frame["before"], frame["after"], strict=True)
    assert list(rows) == wanted
    assert frame.crs == "OGC:CRS84"
    row_of = {row["chip_id"]: row for row in dated_archive.rows[version].to_pylist()}
    assert frame.geometry.to_wkb().tolist() == [row_of[after]["geometry"] for after in frame["after"]]
    assert frame["before_datetime"].tolist() == [row_of[before]["datetime"] for before in frame["before"]]
    about = json.loads(pq.read_metadata(io.BytesIO(answer.content)).metadata[b"scenehash"])
    assert (about["numberMatched"], about["numberReturned"]) == (len(wanted), len(wanted))
    assert about["snapshot"] == version


def test_the_guides_sql_finds_the_pairs_of_the_endpoint(dated_archive: Archive, ask: Ask) -> None:
    """But for those at the antimeridian, where the SQL doesn't wrap; of the default it is another order."""
    version = dated_archive.versions[-1]
    options = dated_archive.store.delta_options()
    codes = DeltaTable(dated_archive.table, version=version, storage_options=options).to_pyarrow_dataset()
    kind_bytes = dated_archive.model_of[version].manifest.network.code.parts[0].bits // 8
    sql = CHANGED.replace("[9:]", f"[{kind_bytes + 1}:]").replace("LIMIT 10", "")
    model_id = dated_archive.model_of[version].manifest.model_id
    sql = sql.replace("ORDER BY", f"WHERE a.model_id = '{model_id}' AND b.model_id = a.model_id ORDER BY")
    with duckdb.connect() as connection:
        connection.register("codes", codes)
        by_sql = connection.execute(sql).fetchall()
    answer = ChangesAnswer.model_validate_json(ask({"compare": "look", "k": 10_000}).content)
    pairs = [
        (pair["before"], pair["after"], pair["distance"])
        for pair in (feature.properties for feature in answer.features)
    ]
    box_of = {row["chip_id"]: row["bbox"] for row in dated_archive.rows[version].to_pylist()}

    def wraps(before: str, after: str) -> bool:
        first, second = box_of[before], box_of[after]
        return first["xmin"] > first["xmax"] or abs(first["xmin"] - second["xmin"]) > 180

    assert by_sql == [pair for pair in pairs if not wraps(*pair[:2])]
    assert len(by_sql) > 100
    assert len(pairs) - len(by_sql) > 10
    plain = ChangesAnswer.model_validate_json(ask({"k": 10_000}).content)
    assert [feature.id for feature in plain.features] != [feature.id for feature in answer.features]
