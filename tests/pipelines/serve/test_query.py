"""The command line, over the real service: tables, GeoJSON, contact sheets, and errors of one line."""

import base64
import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import geopandas
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from rich.console import Console

from jobs.query import main
from pipelines.api.answers import SearchAnswer
from pipelines.client import Client, SearchRequest
from pipelines.query.answer_table import answer_table
from pipelines.query.run import join_pages
from pipelines.query.sheet import Sheet, Tile, render
from pipelines.runtime.text_table import print_table
from tests.pipelines.serve.conftest import KEY, Archive, png

GEOMETRY = {"type": "Polygon", "coordinates": [[[0.3, 5], [3, 5], [3, 9.1], [0.3, 5]]]}
FEATURE = {"type": "Feature", "geometry": GEOMETRY, "properties": {"name": "a field"}}
Asked = Callable[..., tuple[int, str, str]]


@pytest.fixture
def query(url: str, capsys: pytest.CaptureFixture[str]) -> Asked:
    """Run the job; return its exit code and what it says on standard output and standard error."""

    def run(*flags: str) -> tuple[int, str, str]:
        code = main(["--url", url, "--key", KEY, *flags])
        return code, *capsys.readouterr()

    return run


def on_terminal(answer: SearchAnswer, width: int) -> str:
    """What the job prints on a terminal of so many columns, without its colours."""
    shown = io.StringIO()
    terminal = Console(file=shown, width=width, force_terminal=True, color_system=None, highlight=False)
    print_table(answer_table(answer), terminal, terminal)
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.getvalue())


def found(output: str) -> list[tuple[int, str]]:
    answer = SearchAnswer.model_validate_json(output)
    return [(match.properties.distance, match.id) for match in answer.features]


@pytest.mark.parametrize("ending", ["parquet", "arrow", "geojson", "csv"])
def test_an_export_has_every_chip(archive: Archive, query: Asked, tmp_path: Path, ending: str) -> None:
    file, image = tmp_path / f"hits.{ending}", tmp_path / "chip.png"
    image.write_bytes(png(archive.pixels(3)))
    chip = archive.ids()[5]
    wanted = archive.nearest(archive.code(5), leave_out=chip)
    assert query("--chip-id", chip, "--max-distance", "32", "--export", str(file))[0] == 0
    assert exported(file) == wanted
    assert query("--image", str(image), "-k", "30", "--export", str(file))[0] == 0
    assert exported(file) == archive.like_picture(archive.pixels(3))[:30]


def exported(file: Path) -> list[tuple[float, str]]:
    """Distance and id of each chip in a file, as tools of the field read them."""
    if file.suffix == ".csv":
        with file.open() as lines:
            return [(float(row["distance"]), row["id"]) for row in csv.DictReader(lines)]
    if file.suffix == ".arrow":
        table = pa.ipc.open_file(str(file)).read_all()
        return list(zip(table["distance"].to_pylist(), table["id"].to_pylist(), strict=True))
    if file.suffix == ".geojson":
        features = json.loads(file.read_text())["features"]
        return [(feature["properties"]["distance"], feature["id"]) for feature in features]
    frame = geopandas.read_parquet(file)
    assert frame.crs == "OGC:CRS84"
    return list(zip(frame["distance"], frame["id"], strict=True))


def test_an_export_of_another_kind(archive: Archive, query: Asked, tmp_path: Path) -> None:
    code, _, said = query("--chip-id", archive.ids()[0], "--export", str(tmp_path / "hits.xlsx"))
    assert code == 2
    assert ".parquet, .arrow, .geojson, .csv" in said


def test_through_a_pipe_an_answer_is_tab_separated(archive: Archive, query: Asked, tmp_path: Path) -> None:
    image = tmp_path / "chip.png"
    image.write_bytes(png(archive.pixels(0)))
    code, shown, said = query("--image", str(image), "-k", "4")
    assert code == 0
    header, *lines = [line.split("\t") for line in shown.splitlines()]
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    answer = SearchAnswer.model_validate_json(query("--image", str(image), "-k", "4", "--json")[1])
    wanted = archive.like_picture(archive.pixels(0))[:4]
    bits = [f"{distance:.2f}" if distance % 1 else f"{distance:.0f}" for distance, _ in wanted]
    assert [(row["bits"], row["chip"]) for row in rows] == list(
        zip(bits, [chip for _, chip in wanted], strict=True)
    )
    assert [row["source"] for row in rows] == [match.properties.uri for match in answer.features]
    assert "4 of 4 chips" in said
    code, shown, _ = query("--image", str(image), "-k", "4", "--rank-by", "bits", "--json")
    assert found(shown) == archive.nearest(archive.code(0))[:4]


@pytest.mark.parametrize("width", [40, 80, 300])
def test_a_terminal_of_any_width_shows_whole_ids_and_sources(archive: Archive, url: str, width: int) -> None:
    with Client(url, KEY) as client:
        answer = client.search(SearchRequest(point=(2.0, 6.0), k=5))
    text = on_terminal(answer, width)
    for match in answer.features:
        assert match.id in text
        assert match.properties.uri in text
    assert text.count("\n    source  ") == (0 if width == 300 else 5)
    assert text.splitlines()[0].split()[:2] == ["rank", "bits"]


def test_each_example(archive: Archive, query: Asked) -> None:
    ids, row = archive.ids(), archive.row_at("2.tif", 0, 0)
    answers = {
        ("--point=-179.9,9", "-k", "2"): archive.nearest(archive.code(row))[:2],
        ("--chip-id", ids[5]): archive.nearest(archive.code(5), leave_out=ids[5])[:10],
        ("--code", archive.code(5).tobytes().hex(), "--max-distance", "3"): [
            pair for pair in archive.nearest(archive.code(5)) if pair[0] <= 3
        ],
    }
    for flags, wanted in answers.items():
        code, shown, _ = query(*flags, "--json")
        assert (code, found(shown)) == (0, wanted)


def test_several_examples_for_and_against(archive: Archive, query: Asked, url: str) -> None:
    like, unlike = archive.ids()[3], archive.ids()[9]
    odd = next(chip for distance, chip in archive.nearest(archive.code(3)) if distance % 2 and chip != unlike)
    likes = [like, odd]  # so that every mean distance to both is a half
    flags = [flag for chip in likes for flag in ("--chip-id", chip)]
    _, shown, _ = query(*flags, "--negative-id", unlike, "--json")
    with Client(url, KEY) as client:
        answer = client.search(SearchRequest(chip_ids=tuple(likes), negative_ids=(unlike,)))
    assert found(shown) == [(match.properties.distance, match.id) for match in answer.features]
    assert f"\t{found(shown)[0][0]:.2f}\t" in query(*flags, "--negative-id", unlike)[1]  # as a table
    assert found(shown)[0][0] % 1 == 0.5


@pytest.mark.parametrize(
    "content", [GEOMETRY, FEATURE, {"type": "FeatureCollection", "name": "x", "features": [FEATURE]}]
)
def test_filters(archive: Archive, query: Asked, url: str, tmp_path: Path, content: object) -> None:
    file = tmp_path / "area.geojson"
    file.write_text(json.dumps(content))
    filters = ("--datetime", "2025-01-02T00:00:00Z/..", "--min-valid-fraction", "0.5")
    collections = ("--collection", "others", "--collection", "tests")
    _, shown, _ = query("--chip-id", archive.ids()[9], "--intersects", str(file), *filters, "--json")
    with Client(url, KEY) as client:
        wanted = client.search(
            SearchRequest(
                chip_ids=(archive.ids()[9],), intersects=GEOMETRY, datetime=filters[1], min_valid_fraction=0.5
            )
        )
        box = client.search(SearchRequest(chip_ids=(archive.ids()[9],), bbox=(179.9, -5, -179.3, 8), k=50))
    assert found(shown) == [(match.properties.distance, match.id) for match in wanted.features]
    assert 0 < len(found(shown)) < 10
    flags = ("--chip-id", archive.ids()[9], "--bbox", "179.9,-5,-179.3,8", "-k", "50")
    _, shown, _ = query(*flags, *collections, "--snapshot", str(archive.versions[0]), "--json")
    assert found(shown) == [(match.properties.distance, match.id) for match in box.features]
    _, shown, said = query(*flags, "--collection", "others")
    assert (shown.count("\n"), said.count("0 of 0 chips")) == (1, 1)  # the header alone


def test_all_pages_are_joined(archive: Archive, url: str, query: Asked) -> None:
    with Client(url, KEY) as client:
        request = SearchRequest(code=archive.code(0).tobytes().hex(), max_distance=32, limit=10)
        whole = join_pages(client.pages(request))
        first = client.search(request)
    assert found(whole.model_dump_json()) == archive.nearest(archive.code(0))
    assert (whole.numberMatched, whole.numberReturned, whole.links) == (64, 64, ())
    assert whole.search.codes_compared == 7 * first.search.codes_compared
    assert "10 of 64 chips (--all: all of them)" in on_terminal(first, 240)
    flags = ("--code", request.code or "", "--max-distance", "32")
    assert found(query(*flags, "--all", "--json")[1]) == archive.nearest(archive.code(0))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "exactly one of chip_id, point, code and image"),
        (("--code", "00", "--point", "1,2"), "exactly one"),
        (("--point", "here,there"), "write longitude,latitude in degrees, e.g. --point=-104"),
        (("--point", "1,2,3"), "write longitude,latitude"),
        (("--point", "181,2"), "point: Input should be less than or equal to 180"),
        (("--point", "nan,2"), "point: Input should be"),
        (("--point", "1,2", "--bbox", "1,2,3"), "write west,south,east,north"),
        (("--point", "1,2", "--bbox", "1,4,3,2"), r"bbox: south \(4\) lies north of north \(2\)"),
        (("--point", "1,2", "--datetime", "yesterday"), "datetime: "),
        (("--point", "1,2", "--negative-id", "a"), "negative_id goes with chip_id"),
        (("--point", "1,2", "-k", "0"), "k: "),
        (("--point", "1,2", "--compare", "colour"), "compare: "),
        (("--point", "1,2", "--kind-weight", "9"), "kind_weight: "),
        (("--point", "1,2", "--rank-by", "bits"), "rank_by goes with image"),
        (("--point", "1,2", "--min-valid-fraction", "2"), "min_valid_fraction: "),
        (("--code", "xyz"), "code: "),
        (("--chip-id", ""), "chip-id: String should have"),
        (("--image", "/no/such/file.png"), "image /no/such/file.png can't be read: No such file"),
        (("--point", "1,2", "--intersects", "/no/such/file"), "intersects /no/such/file can't be read"),
    ],
)
def test_what_cannot_be_asked(flags: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", "http://127.0.0.1:1", *flags]) == 2
    output, error = capsys.readouterr()
    assert (output, error.count("\n")) == ("", 1)
    assert re.search(said, error), error


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "holds no JSON"),
        ("[" * 100_000, "holds no JSON"),
        ("[]", "holds no GeoJSON geometry"),
        ('{"type": "Feature", "geometry": null}', "holds no GeoJSON geometry"),
        ('{"type": "FeatureCollection", "features": [1, 2]}', "must hold one feature"),
        ('{"type": "FeatureCollection", "features": [null]}', "holds no GeoJSON geometry"),
        ('{"type": "Point", "coordinates": [400000, 5000000]}', "intersects: positions must be longitude"),
        ('{"type": "Point"}', "intersects: no GeoJSON geometry"),
    ],
)
def test_what_is_no_geometry(
    tmp_path: Path, content: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "area.geojson"
    file.write_text(content)
    assert main(["--point", "1,2", "--intersects", str(file)]) == 2
    assert said in capsys.readouterr().err


def test_what_the_service_refuses(query: Asked, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert query("--chip-id", "none")[0] == 2
    assert main(["--url", url, "--point", "1,2"]) == 2
    assert "a valid API key is needed (unauthorized, 401); send the header" in capsys.readouterr().err


class Page(HTMLParser):
    """What a contact sheet shows: its pictures, their captions, and every tag that there is."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.pictures: list[np.ndarray] = []
        self.figures: list[str] = []
        self.captions: list[str] = []
        self.tags: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.tags.append(tag)
        if tag == "figure":
            self.figures.append(given["class"] or "")
        if tag == "figcaption":
            self.captions.append("")
        if tag == "img":
            kind, content = (given["src"] or "").split(",")
            assert kind == "data:image/jpeg;base64"
            self.pictures.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))))

    def handle_data(self, data: str) -> None:
        if self.captions:
            self.captions[-1] += f"{data}\n"


def test_a_contact_sheet(archive: Archive, query: Asked, tmp_path: Path) -> None:
    ids, sheet = archive.ids(), tmp_path / "sheet.html"
    flags = ("--chip-id", ids[3], "--chip-id", ids[4], "--negative-id", ids[9], "-k", "12")
    code, shown, said = query(*flags, "--output", str(sheet), "--json")
    assert (code, said) == (0, f"contact sheet: {sheet}\n")
    answer = SearchAnswer.model_validate_json(shown)
    page = Page(sheet.read_text())
    assert page.figures == ["example", "example", "against"] + ["match"] * 12
    for picture, chip in zip(
        page.pictures, [ids[3], ids[4], ids[9], *(match.id for match in answer.features)], strict=True
    ):
        pixels = archive.pixels(ids.index(chip)).astype(int)
        assert np.abs(picture - pixels).mean() < 20  # as JPEG
    for caption, match in zip(page.captions[3:], answer.features, strict=True):
        acquired, file = match.properties.datetime, match.properties.uri.rpartition("/")[2]
        at_distance = [each.properties.distance for each in answer.features].count(match.properties.distance)
        assert caption.startswith(f"{match.properties.rank}. ")
        assert "tests" in caption
        assert acquired is None or f"{acquired:%Y-%m-%d}" in caption
        assert f"\n{file}\n" in caption
        assert (f"one of {at_distance} at this distance" in caption) == (at_distance > 1)
    for caption, chip in zip(page.captions, [ids[3], ids[4], ids[9]], strict=False):
        assert f"\n{chip}\n" in caption
        assert ".tif\n" in caption
    assert answer.search.model_id in sheet.read_text()


@pytest.mark.parametrize("example", ["image", "point", "code"])
def test_the_example_beside_its_answer(archive: Archive, query: Asked, tmp_path: Path, example: str) -> None:
    image, sheet, row = tmp_path / "chip.png", tmp_path / "sheet.html", archive.row_at("1.tif", 16, 32)
    image.write_bytes(png(archive.pixels(row)))
    value = {"image": str(image), "point": "2.0,6.0", "code": "00ff00ff"}[example]
    summary = query(f"--{example}", value, "--output", str(sheet))[2]
    page = Page(sheet.read_text())
    answer = SearchAnswer.model_validate_json(query(f"--{example}", value, "--json")[1])
    beyond = [match.properties.beyond_chance for match in answer.features]
    assert any(beyond)
    assert page.figures == ["example", *("match beyond" if each else "match" for each in beyond)]
    assert ["no nearer than chance" in caption for caption in page.captions[1:]] == beyond
    said = f"the last {sum(beyond)} are" if not all(beyond) else "all of them are"
    assert f"{said} no nearer than chance, which gives" in " ".join(summary.split())
    assert len(page.pictures) == (10 if example == "code" else 11)
    if example != "code":
        assert np.abs(page.pictures[0] - archive.pixels(row).astype(int)).mean() < 20


def test_the_sheet_is_shown_in_the_browser(archive: Archive, url: str, tmp_path: Path) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    command = [sys.executable, "-m", "jobs.query", "--url", url, "--point", "2.0,6.0", "-k", "3", "--open"]
    job = subprocess.run(
        command,
        env=os.environ | {"SCENEHASH_KEY": KEY, "BROWSER": f"{browser} %s", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert job.returncode == 0, job.stderr
    sheet = Path(opened.read_text().strip().removeprefix("file://"))
    shown, summary = job.stderr.splitlines()
    assert shown == f"contact sheet shown: {sheet}"
    assert summary.startswith("3 of 3 chips")
    assert len(job.stdout.splitlines()) == 4
    assert sheet.stat().st_mode & 0o077 == 0
    assert len(Page(sheet.read_text()).pictures) == 4


def test_a_sheet_that_cannot_be_written(query: Asked) -> None:
    code, _, said = query("--point", "2.0,6.0", "--output", "/no/such/folder/sheet.html")
    assert (code, said) == (
        2,
        "jobs.query: output /no/such/folder/sheet.html can't be written: No such file or directory\n",
    )


def test_what_the_service_says_is_shown_as_it_stands(archive: Archive, url: str) -> None:
    hostile = '<script>alert("1")</script>\x1b[31m[red]&amp;'
    tile = Tile(hostile, (hostile,), None, hover=f'{hostile}" onload="x')
    page = Page(render(Sheet(hostile, [tile], [tile])))
    assert "script" not in page.tags
    assert hostile in page.captions[-1]
    with Client(url, KEY) as client:
        answer = client.search(SearchRequest(code="00000000", k=1))
    match = answer.features[0]
    properties = match.properties.model_copy(update={"collection": hostile})
    hostile_answer = answer.model_copy(
        update={"features": [match.model_copy(update={"properties": properties})]}
    )
    assert '<script>alert("1")</script>\ufffd[31m[red]&amp;' in on_terminal(hostile_answer, 300)
