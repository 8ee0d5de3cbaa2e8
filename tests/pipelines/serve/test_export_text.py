"""The page's queries as text, run as their reader would run them: curl, Python, SQL, a watch.

Each must give what the API answers to the same query, which is written here by hand.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import httpx
import numpy as np
import pytest
from deltalake import DeltaTable

from pipelines.serve.app import Ingress
from pipelines.serve.config import ServeConfig
from pipelines.storage.store import Store
from tests.pipelines.serve.conftest import KEY, Archive, commit, make_archive
from tests.pipelines.serve.listening import listening

REPOSITORY = Path(__file__).parents[3]
WEB = REPOSITORY / "web"
_NODE = shutil.which("node", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
_MAKE_TEXTS = """
import {runnerImport} from "vite";
const {module: text} = await runnerImport("./src/panels/export_text.ts");
const {module: {EMPTY}} = await runnerImport("./src/state/query.ts");
let given = "";
for await (const piece of process.stdin) given += piece;
const texts = JSON.parse(given).map(({changes, parts, model, url}) => {
  const query = {...EMPTY, ...changes};
  return {
    curl: text.asCurl(query, url, true),
    python: text.asPython(query, url, true),
    sql: text.asSql(query, parts, model),
    watch: text.asWatch(query),
  };
});
console.log(JSON.stringify(texts));
"""
# a function in place of a command shows what the shell makes of the text
_SHOW_CURL = "curl() { printf '%s\\0' \"$@\"; }\n"
_TRIANGLE = {"type": "Polygon", "coordinates": [[[0, 4], [3, 4], [0, 9], [0, 4]]]}

pytestmark = pytest.mark.skipif(
    _NODE is None or not (WEB / "node_modules/vite").is_dir(),
    reason="SKIPPED: the page's sources need Node and packages; `make page` installs them",
)

Texts = dict[str, str]
Chips = list[tuple[str, float]]


@pytest.fixture(scope="module", name="archive")
def archive_fixture(store: Store) -> Archive:
    """An archive whose newest model has codes of two parts; some of its chips have another collection."""
    archive = make_archive(store, "for-export-texts")
    model, rng = archive.models[2], np.random.default_rng(0)
    others = [
        row
        | {
            "chip_id": f"{number:024x}",
            "collection": "it's",
            "valid_fraction": round(number / 10, 1),
            "code": rng.bytes(len(row["code"])),
        }
        for number, row in enumerate(archive.rows[archive.versions[3]].to_pylist()[:10])
    ]
    commit(archive, model, 2, others, archive.versions[3])
    archive.publish(archive.versions[-1])
    return archive


@pytest.fixture(scope="module", name="service")
def service_fixture(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with keys: an ingress in this process."""
    config = ServeConfig(
        table=archive.table,
        store=archive.store.config,
        key_hashes=(hashlib.sha256(KEY.encode()).hexdigest(),),
        index_folder=tmp_path_factory.mktemp("indices"),
        poll_seconds=3600,
    )
    app = Ingress(config, [], None, None).__serve_build_asgi_app__()  # type: ignore[arg-type]
    with listening(app) as url:
        yield url


QUERIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # a name: the page's query, and the API's
    "one example": ({"positive": [3], "most": 20}, {"chip_ids": [3], "k": 20}),
    "for and against": (
        {"positive": [3, 8], "negative": [11], "cutoff": 5.5},
        {"chip_ids": [3, 8], "negative_ids": [11], "max_distance": 5},
    ),
    "three for and three against": (
        {"positive": [3, 8, 20], "negative": [11, 5, 40], "cutoff": 4},
        {"chip_ids": [3, 8, 20], "negative_ids": [11, 5, 40], "max_distance": 4},
    ),
    "look": ({"positive": [4], "compare": "look", "most": 9}, {"chip_ids": [4], "compare": "look", "k": 9}),
    "kind of two, against one": (
        {"positive": [4, 9], "negative": [2], "compare": "kind", "cutoff": -1},
        {"chip_ids": [4, 9], "negative_ids": [2], "compare": "kind", "max_distance": -1},
    ),
    "a code": ({"code": "0f0f0f0f", "cutoff": 24}, {"code": "0f0f0f0f", "max_distance": 24}),
    "a box": (
        {"positive": [3], "region": {"bbox": [1, 5, 4, 8]}},
        {"chip_ids": [3], "bbox": [1, 5, 4, 8], "k": 1000},
    ),
    "a box beside the antimeridian": (
        {"positive": [3], "region": {"bbox": [-180, -90, -178.5, 8]}},
        {"chip_ids": [3], "bbox": [-180, -90, -178.5, 8], "k": 1000},
    ),
    "a box over the antimeridian": (
        {"positive": [3], "region": {"bbox": [179.5, -90, -178.5, 90]}},
        {"chip_ids": [3], "bbox": [179.5, -90, -178.5, 90], "k": 1000},
    ),
    "days": (
        {"positive": [3], "from": "2025-01-02", "to": "2025-01-02"},
        {"chip_ids": [3], "datetime": "2025-01-02", "k": 1000},
    ),
    "until a day": (
        {"positive": [3], "to": "2025-01-31", "cutoff": 30},
        {"chip_ids": [3], "datetime": "../2025-01-31T23:59:59.999999Z", "max_distance": 30},
    ),
    "a collection of valid chips": (
        {"positive": [3], "collections": ["it's", "none"], "minValid": 0.7},
        {"chip_ids": [3], "collections": ["it's", "none"], "min_valid_fraction": 0.7, "k": 1000},
    ),
    "an area, from a day on": (
        {"positive": [3], "region": {"geometry": _TRIANGLE}, "from": "2025-01-02"},
        {"chip_ids": [3], "intersects": _TRIANGLE, "datetime": "2025-01-02/..", "k": 1000},
    ),
}
WATCHED = (  # one for each flag: a command takes seconds
    "for and against",
    "kind of two, against one",
    "a code",
    "a box beside the antimeridian",
    "a collection of valid chips",
    "an area, from a day on",
)


def with_ids(query: dict[str, Any], archive: Archive) -> dict[str, Any]:
    """Name the examples, which are rows, by their ids."""
    rows = archive.rows[archive.versions[3]]["chip_id"].to_pylist()
    examples = ("positive", "negative", "chip_ids", "negative_ids")
    return {
        name: [rows[row] for row in value] if name in examples else value for name, value in query.items()
    }


def answered(service: str, body: dict[str, Any]) -> tuple[Chips, dict[str, Any]]:
    answer = httpx.post(f"{service}/v1/search", json=body, headers={"Authorization": f"Bearer {KEY}"}).json()
    return [(each["id"], each["properties"]["distance"]) for each in answer["features"]], answer["search"]


@pytest.fixture(scope="module", name="texts")
def texts_fixture(archive: Archive, service: str) -> dict[str, Texts]:
    """The texts of all queries, as the page's own code makes them."""
    given = []
    for query, asked in QUERIES.values():
        search = answered(service, with_ids(asked, archive))[1]
        of_the_answer = {"parts": search["parts"], "model": search["model_id"]}
        given.append({"changes": with_ids(query, archive), "url": service} | of_the_answer)
    command = [str(_NODE), "--input-type=module", "--eval", _MAKE_TEXTS]
    done = subprocess.run(
        command, cwd=WEB, input=json.dumps(given), capture_output=True, text=True, check=True
    )
    return dict(zip(QUERIES, json.loads(done.stdout), strict=True))


@pytest.fixture(params=QUERIES, name="name")
def name_fixture(request: pytest.FixtureRequest) -> str:
    """One query after the other."""
    return str(request.param)


@pytest.fixture(name="expected")
def expected_fixture(name: str, archive: Archive, service: str) -> Chips:
    """What the API answers to the query."""
    chips, _ = answered(service, with_ids(QUERIES[name][1], archive))
    assert chips
    assert len(chips) < len(archive.rows[archive.versions[-1]]) - 1, "it chooses"
    return chips


def test_curl(texts: dict[str, Texts], name: str, expected: Chips) -> None:
    shell = ["bash", "-c", _SHOW_CURL + texts[name]["curl"]]
    done = subprocess.run(shell, env={"SCENEHASH_KEY": KEY}, capture_output=True, text=True, check=True)
    url, option, header, json_option, body = done.stdout.split("\0")[:-1]
    assert (option, json_option) == ("-H", "--json")
    headers = dict([header.split(": ", 1)]) | {"Content-Type": "application/json"}
    answer = httpx.post(url, content=body, headers=headers).json()
    assert [(each["id"], each["properties"]["distance"]) for each in answer["features"]] == expected


def test_python(texts: dict[str, Texts], name: str, expected: Chips, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCENEHASH_KEY", KEY)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(texts[name]["python"], {})
    lines = [line.split(maxsplit=2) for line in printed.getvalue().splitlines()]
    assert [(chip_id, float(distance)) for distance, chip_id, _ in lines] == expected


def test_sql(texts: dict[str, Texts], name: str, expected: Chips, archive: Archive) -> None:
    """On the table as the guide opens it: codes of three models, of which one is published."""
    if name == "an area, from a day on":
        assert "The drawn area isn't in it" in texts[name]["sql"]
        return
    table = DeltaTable(
        archive.table, version=archive.versions[-1], storage_options=archive.store.delta_options()
    )
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'America/New_York'")  # days are those of UTC all the same
        connection.register("codes", table.to_pyarrow_dataset())
        found = connection.sql(texts[name]["sql"]).to_arrow_table()
    assert found["chip_id"].to_pylist() == [chip_id for chip_id, _ in expected]
    assert found["distance"].to_pylist() == pytest.approx([distance for _, distance in expected])


@pytest.mark.parametrize("name", WATCHED)
def test_watch(texts: dict[str, Texts], name: str, archive: Archive, tmp_path: Path) -> None:
    """The real command adds it; what is kept is what the query asks."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "WATCHES": str(tmp_path),
        "TABLE": archive.table,
        "SCENEHASH_STORE__ENDPOINT": str(archive.store.config.endpoint),
    }
    shell = ["sh", "-c", texts[name]["watch"]]
    done = subprocess.run(
        shell, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    kept = json.loads((tmp_path / "my-watch.json").read_text())
    asked = with_ids(QUERIES[name][1], archive)
    for field in ("chip_ids", "code"):
        assert (kept["example"][field] or None) == asked.get(field)
    within = asked.get("max_distance", -1)
    assert kept["max_distance"] == (within if within >= 0 else 12), "the page's own where there is none"
    assert kept["compare"] == asked.get("compare", "both")
    filters = {field: value for field, value in kept["filters"].items() if value is not None}
    assert filters == {field: asked[field] for field in asked if field in kept["filters"]}
    assert ("no examples against" in texts[name]["watch"]) == ("negative_ids" in asked)
