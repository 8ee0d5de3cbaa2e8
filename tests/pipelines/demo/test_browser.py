"""The demo asks on the page, in Chromium; what it asks of a service over a small world is written down."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from rasterio.transform import from_origin
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.demo.browser import Question, find_chromium
from pipelines.demo.config import DemoConfig
from pipelines.demo.objectstore import free_port
from pipelines.demo.pictures import Answer
from pipelines.demo.queries import questions_to_click
from pipelines.demo.run import _click, _Demo
from pipelines.demo.world_archive import Archive as DemoArchive
from pipelines.serve.config import ServeConfig
from pipelines.serve.web_page import BUILT
from pipelines.storage.store import Store
from tests.pipelines.serve.conftest import Archive, _model, _scene_rows, commit, png
from tests.pipelines.serve.listening import listening

REPOSITORY = Path(__file__).parents[3]
_NO_STORE = "http://127.0.0.1:1"
_ASKED = {"/v1/search", "/v1/encode"}
_WAIT = """
import sys
from pathlib import Path
from pipelines.demo.config import DemoConfig
from pipelines.demo.run import _Demo, _wait

folder, port, mlflow_port = sys.argv[1:]
_wait(_Demo(DemoConfig(output=folder, port=int(port), mlflow_port=int(mlflow_port)), Path(folder), "http://127.0.0.1:1"))
"""
# north-west corners of scenes of 10 x 10 degrees, with chips of 2 x 2: longitude, latitude
SCENES = {"n30_e010": (10, 30), "n80_w050": (-50, 80), "n00_w070": (-70, 0), "n30_w020": (-20, 30)}
PLACES = {"desert": (15, 23), "ice": (-41, 75), "rain_forest": (-61, -5), "coast": (-15, 25)}


def labels() -> pa.Table:
    """Labelled chips: of each class one is right, and others are nearer but of another class or split."""

    def row(scene: str, x: int, y: int, label: str, split: str = "test") -> dict[str, Any]:
        window = {"x": 30 * x, "y": 30 * y, "w": 30, "h": 30}
        return {"uri": f"s3://any/{scene}.tif", "window": window, "label": label, "split": split}

    return pa.Table.from_pylist(
        [
            row("n30_e010", 2, 3, "barren"),
            row("n30_e010", 4, 4, "barren"),
            row("n80_w050", 4, 2, "snow_and_ice"),
            row("n80_w050", 0, 0, "snow_and_ice"),
            row("n80_w050", 4, 2, "barren"),
            row("n00_w070", 4, 2, "evergreen_broadleaf_forest"),
            row("n00_w070", 4, 1, "evergreen_broadleaf_forest", "train"),
        ]
    )


@dataclass
class Between:
    """Hands requests on to a service, and keeps those that ask something: path and body, in order."""

    service: str
    port: int = field(default_factory=free_port)
    asked: list[tuple[str, bytes]] = field(default_factory=list)

    async def hand_on(self, request: Request) -> Response:
        body, path = await request.body(), request.url.path
        if path in _ASKED:
            self.asked.append((path, body))
        address = f"{self.service}{path}?{request.url.query}"
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.request(request.method, address, content=body, headers=headers)
        changed = {"content-encoding", "content-length", "transfer-encoding", "connection"}
        kept = {name: value for name, value in answer.headers.items() if name not in changed}
        return Response(answer.content, answer.status_code, kept)


@pytest.fixture(scope="module", name="world")
def world_fixture(store: Store, geotiff: Callable[..., bytes]) -> Archive:
    """Four scenes of the world, their chips encoded and published."""
    archive = Archive(store, "s3://archive/for-the-demo", [])
    archive.models.append(_model(store, archive.root, 1, 32, 0))
    rng, rows = np.random.default_rng(0), list[dict[str, object]]()
    for number, (name, (west, north)) in enumerate(SCENES.items(), start=1):
        uri = f"{archive.root}/scenes/{name}.tif"
        pixels_HWC = rng.integers(1, 256, (10, 10, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        store.write(uri, geotiff(pixels_HWC, transform=from_origin(west, north, 1 / 8, 1 / 8)))
        rows += _scene_rows(store, uri, number, archive.models[0].network)
    commit(archive, archive.models[0], 1, rows, None)
    archive.publish(archive.versions[0])
    return archive


@pytest.fixture(scope="module", name="between")
def between_fixture(
    world: Archive, ray_local: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Between]:
    """What hands requests on to a service over the world, as the demo starts it."""
    if find_chromium() is None:
        pytest.skip("SKIPPED: no Chromium or no playwright; `apt-get install chromium`, `make setup`")
    if not (BUILT / "index.html").is_file():
        pytest.skip("SKIPPED: the page isn't built; `make page`")
    from pipelines.serve.run import serving

    folder = tmp_path_factory.mktemp("indices")
    config = ServeConfig(
        table=world.table, store=world.store.config, open=True, port=free_port(), index_folder=folder
    )
    with serving(config) as url:
        between = Between(url)
        routes = [Route("/{path:path}", between.hand_on, methods=["GET", "HEAD", "POST"])]
        with listening(Starlette(routes=routes), between.port):
            yield between


def chip_at(world: Archive, place: tuple[float, float]) -> str:
    """The id of the chip at a place, by its box."""
    [found] = [
        row["chip_id"]
        for row in world.rows[world.versions[0]].to_pylist()
        if row["bbox"]["xmin"] < place[0] < row["bbox"]["xmax"]
        and row["bbox"]["ymin"] < place[1] < row["bbox"]["ymax"]
    ]
    return str(found)


def test_the_questions_are_those_of_the_demo() -> None:
    answers = [Answer("first", b"", []), Answer("last", b"a picture", [])]
    questions = questions_to_click(labels(), answers)
    expected = [Question(name, place) for name, place in PLACES.items()]
    assert questions == [*expected, Question("picture", None, b"a picture")]


def test_it_asks_by_clicking(world: Archive, between: Between, tmp_path: Path) -> None:
    picture = png(world.pixels(7))
    demo = _Demo(
        DemoConfig(output=str(tmp_path), port=between.port), tmp_path, str(world.store.config.endpoint)
    )
    archive = DemoArchive("s3://any/scenes", "s3://any/labels.parquet", labels(), objects=4)
    shots = _click(demo, archive, [Answer("an uploaded PNG", picture, [])])

    assert [shot.relative_to(tmp_path).name for shot in shots] == [
        f"page_{name}.png" for name in (*PLACES, "picture")
    ]
    contents = [shot.read_bytes() for shot in shots]
    assert len(set(contents)) == len(contents), "each shows another answer"
    for content in contents:
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.size) == ("PNG", (1280, 720))
            assert len(image.convert("RGB").getcolors(1 << 20) or []) > 100

    bodies = [(path, json.loads(body)) for path, body in between.asked if path == "/v1/search"]
    examples = [body["chip_ids"] for _, body in bodies if "chip_ids" in body]
    assert list(dict.fromkeys(map(tuple, examples))) == [(chip_at(world, each),) for each in PLACES.values()]
    assert [body for path, body in between.asked if path == "/v1/encode"] == [picture]
    encoded = httpx.post(f"{between.service}/v1/encode", content=picture).json()
    assert bodies[-1][1]["code"] == encoded["code"]


def test_without_a_page_nobody_asks(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The demo goes on where the service has no page, and says why there are no pictures of it."""
    archive = DemoArchive("s3://any/scenes", "s3://any/labels.parquet", labels(), objects=4)
    with listening(Starlette()) as url:
        config = DemoConfig(output=str(tmp_path), port=urlsplit(url).port)
        assert _click(_Demo(config, tmp_path, _NO_STORE), archive, []) == []
    said = capsys.readouterr().err
    assert "nobody asks on the page" in said
    assert ("make page" if find_chromium() else "Chromium or Playwright isn't installed") in said


@pytest.mark.server
def test_a_demo_that_is_kept_ends_with_the_page_s_address(tmp_path: Path) -> None:
    """So that it is in sight, whatever was said before."""
    (tmp_path / "logs").mkdir()
    port, mlflow_port = free_port(), free_port()
    command = [sys.executable, "-c", _WAIT, str(tmp_path), str(port), str(mlflow_port)]
    lines, mlflow = [], 0
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        try:
            for line in demo.stderr:
                lines.append(line)
                if "click on the map" in line:
                    mlflow = httpx.get(f"http://127.0.0.1:{mlflow_port}/health").status_code
                    demo.terminate()
        finally:
            demo.terminate()  # it stops what it has started
    assert mlflow == 200, lines
    assert demo.returncode == 0
    assert lines[-1] == f"open http://127.0.0.1:{port}/ and click on the map\n"
