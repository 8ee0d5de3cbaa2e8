"""jobs.query grid, changes, here, dates, coverage and collections, over the real service.

Each word's table says what the rows of the code table say, by brute force.
"""

import csv
import io
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import geopandas
import httpx
import pytest

from jobs.query import main
from pipelines.api.explore_answers import (
    ChangesAnswer,
    ChipsAnswer,
    CollectionsAnswer,
    CoverageAnswer,
    GridAnswer,
)
from pipelines.query.explore_config import WORDS
from tests.pipelines.serve.conftest import KEY, Archive, png, wait_for
from tests.pipelines.serve.divided import narrower, oracle, passes
from tests.pipelines.serve.test_explore import all_pairs, apart, centre, holds

Row = dict[str, str]
Asked = Callable[..., tuple[list[Row], str]]
TRIANGLE = {"type": "Polygon", "coordinates": [[[0.3, 5], [3, 5], [3, 9.1], [0.3, 5]]]}
SIDES = ("west", "south", "east", "north")


@pytest.fixture(scope="module")
def version(archive: Archive, http: httpx.Client) -> Iterator[int]:
    """The version whose codes have two parts, as long as these tests run."""
    archive.publish(archive.versions[3])
    wait_for(http, archive.versions[3])
    yield archive.versions[3]
    archive.publish(archive.versions[0])
    wait_for(http, archive.versions[0])


@pytest.fixture
def asked(url: str, version: int, capsys: pytest.CaptureFixture[str]) -> Asked:
    """Ask, through a pipe; return the rows that are printed, and the line below them."""

    def ask(*arguments: str) -> tuple[list[Row], str]:
        assert main([arguments[0], "--url", url, "--key", KEY, *arguments[1:]]) == 0
        shown, said = capsys.readouterr()
        return list(csv.DictReader(io.StringIO(shown), delimiter="\t")), " ".join(said.split())

    return ask


def sides_of(row: Row) -> tuple[float, ...]:
    return tuple(float(row[side]) for side in SIDES)


def lies_in(place: tuple[float, float] | None, sides: tuple[float, ...]) -> bool:
    """Whether a place is in a cell; one on a line is in the cell south, or east, of it."""
    west, south, east, north = sides
    across = (east - west) % 360 or 360
    return place is not None and (place[0] - west) % 360 < across and south < place[1] <= north


def check_cells(
    rows: list[Row], near: list[tuple[float, tuple[float, float] | None]], view: tuple[float, ...]
) -> None:
    """Check a grid's rows: each cell's chips and the nearest of them, and that no chip of the view lacks."""
    assert rows
    for row in rows:
        distances = [distance for distance, place in near if lies_in(place, sides_of(row))]
        assert (int(row["chips"]), float(row["bits"])) == (
            len(distances),
            pytest.approx(min(distances), abs=0.0051),
        )
    in_view = sum(lies_in(place, view) for _, place in near)
    assert sum(int(row["chips"]) for row in rows) == in_view > 0


@pytest.mark.parametrize(
    ("view", "size"),
    [((-180.0, -90.0, 180.0, 90.0), (256, 128)), ((-1, 4, 7, 11), (7, 3)), ((170, 3, -175, 12), (5, 2))],
)
def test_grid(
    archive: Archive, asked: Asked, version: int, view: tuple[float, ...], size: tuple[int, int]
) -> None:
    query = {"chip_ids": archive.rows[version]["chip_id"].to_pylist()[3:5], "compare": "look"}
    flags = [flag for chip in query["chip_ids"] for flag in ("--chip-id", chip)] + ["--compare", "look"]
    if size != (256, 128):
        flags += ["--view", ",".join(map(str, view)), f"--width={size[0]}", f"--height={size[1]}"]
    rows, said = asked("grid", *flags, "--max-distance", "9")
    place_of = {row["chip_id"]: centre(row) for row in archive.rows[version].to_pylist()}
    found = oracle(archive, query, version)
    near = [(distance, place_of[chip]) for distance, _, chip, _ in found if distance <= 9]
    check_cells(rows, near, view)
    assert f"of {size[0]} x {size[1]} cells, of {len(found)} that pass the filters" in said


def test_a_grid_of_an_image_and_of_filters(
    archive: Archive, asked: Asked, version: int, tmp_path: Path
) -> None:
    image = tmp_path / "chip.png"
    image.write_bytes(png(archive.pixels(3)))
    row_of = {row["chip_id"]: row for row in archive.rows[version].to_pylist()}
    like = [(d, row_of[chip]) for d, chip in archive.like_picture(archive.pixels(3), version)]
    rows, said = asked("grid", "--image", str(image), "--bbox", "-1,4,7,7")
    kept = [(d, centre(row)) for d, row in like if passes(row, {"bbox": [-1, 4, 7, 7]})]
    check_cells(rows, kept, (-180, -90, 180, 90))
    assert f"of {len(kept)} that pass the filters" in said
    assert len(kept) < 64


@pytest.mark.parametrize(
    ("flags", "query", "least", "k"),
    [
        ((), {}, 0, 100),
        (("--compare", "look", "-k", "3"), {"compare": "look"}, 0, 3),
        (("--kind-weight", "1", "--min-distance", "1"), {"kind_weight": 1}, 1, 100),
        (("--bbox", "0,5,2,9"), {"bbox": [0, 5, 2, 9]}, 0, 100),
        (("--before", "2025-01-01", "--after=2025-01-02/.."), {"before": "2025-01-01"}, 0, 100),
        (("--after", "2025-01-01"), {"after": "2025-01-01"}, 0, 100),
    ],
)
def test_changes(
    archive: Archive,
    asked: Asked,
    version: int,
    flags: tuple[str, ...],
    query: dict[str, Any],
    least: int,
    k: int,
) -> None:
    wanted = [pair for pair in all_pairs(archive, version, query) if -pair[0] >= least]
    assert bool(wanted) == ("after" not in query)
    rows, said = asked("changes", *flags)
    assert [(-int(row["bits"]), row["before"], row["after"]) for row in rows] == wanted[:k]
    assert [int(row["rank"]) for row in rows] == list(range(1, len(rows) + 1))
    row_of = {row["chip_id"]: row for row in archive.rows[version].to_pylist()}
    code = archive.model_of[version].manifest.network.code
    for row in rows:
        before, after = row_of[row["before"]], row_of[row["after"]]
        assert [int(row["kind"]), int(row["look"])] == apart(code, before, after)
        assert (row["earlier"], row["later"]) == ("2025-01-01 00:00", "2025-01-02 00:00")
        place = float(row["longitude"]), float(row["latitude"])
        assert place == pytest.approx(centre(after), abs=5e-5)
    assert said.startswith(f"{len(rows)} of {len(wanted)} pairs; ")


def test_here(archive: Archive, asked: Asked, version: int, tmp_path: Path) -> None:
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps(TRIANGLE))
    places = {
        ("--bbox", "179,-90,-179,90"): {"bbox": [179, -90, -179, 90]},
        ("--intersects", str(area)): {"intersects": TRIANGLE},
        ("--bbox=-180,-90,180,90", "--datetime", "2025-01-02/.."): {
            "bbox": [-180, -90, 180, 90],
            "datetime": "2025-01-02/..",
        },
    }
    for flags, query in places.items():
        wanted = {row["chip_id"]: row for row in archive.rows[version].to_pylist() if passes(row, query)}
        assert 0 < len(wanted) < 48
        for more, ids in {(): list(wanted), ("--limit", "3"): list(wanted)[:3]}.items():
            rows, said = asked("here", *flags, *more)
            assert [row["chip"] for row in rows] == ids
            assert said.startswith(f"{len(ids)} of {len(wanted)} chips; ")
        rows, _ = asked("here", *flags, "--limit", "3", "--all")  # in pages of three
        assert [row["chip"] for row in rows] == list(wanted)
        for row in rows:
            own = wanted[row["chip"]]
            assert (row["source"], row["collection"]) == (own["uri"], own["collection"])
            assert row["acquired"] == (f"{own['datetime']:%Y-%m-%d %H:%M}" if own["datetime"] else "")
            place = float(row["longitude"]), float(row["latitude"])
            assert place == pytest.approx(centre(own), abs=5e-5)
    assert asked("here", "--bbox", "0,5,2,9", "--collection", "others")[0] == []


def test_an_export_of_what_lies_here(archive: Archive, asked: Asked, version: int, tmp_path: Path) -> None:
    file = tmp_path / "here.parquet"
    rows, _ = asked("here", "--bbox", "0,5,3,9", "--limit", "2", "--export", str(file))
    frame = geopandas.read_parquet(file)
    kept = [row for row in archive.rows[version].to_pylist() if passes(row, {"bbox": [0, 5, 3, 9]})]
    assert len(rows) == 2 < len(kept)
    assert list(frame["id"]) == [row["chip_id"] for row in kept]
    assert list(frame["uri"]) == [row["uri"] for row in kept]
    for ending in ("csv", "geojson", "arrow"):
        asked("here", "--bbox", "0,5,3,9", "--export", str(tmp_path / f"here.{ending}"))
    with (tmp_path / "here.csv").open() as lines:
        assert [row["id"] for row in csv.DictReader(lines)] == list(frame["id"])


@pytest.mark.parametrize("compare", ["both", "look"])
def test_dates(archive: Archive, asked: Asked, version: int, compare: str) -> None:
    table = archive.rows[version].to_pylist()
    code = archive.model_of[version].manifest.network.code
    chip = next(row for row in table if row["uri"].endswith("/1.tif"))
    place = centre(chip)
    assert place is not None
    there = [row for row in table if row["uri"] != chip["uri"] and holds(row["bbox"], place)] + [chip]
    there.sort(key=lambda row: (row["datetime"] is not None, row["datetime"], row["chip_id"]))
    assert len(there) == 2
    rows, said = asked("dates", "--chip-id", chip["chip_id"], "--compare", compare)
    assert [row["chip"] for row in rows] == [row["chip_id"] for row in there]
    for row, own in zip(rows, there, strict=True):
        kind, look = apart(code, chip, own)
        distance = look if compare == "look" else code.parts[0].weight * kind + look
        assert [int(row[name]) for name in ("bits", "kind", "look")] == [distance, kind, look]
    assert said.startswith("2 of 2 chips; ")
    assert [row["chip"] for row in asked("dates", "--chip-id", chip["chip_id"], "--limit", "1")[0]] == [
        there[-1]["chip_id"]
    ]


def test_coverage(archive: Archive, asked: Asked, version: int) -> None:
    places = [place for row in archive.rows[version].to_pylist() if (place := centre(row)) is not None]
    for flags in ((), ("--bbox", "170,0,-170,12", "--width", "20", "--height", "12")):
        rows, said = asked("coverage", *flags)
        for row in rows:
            west, south, east, north = sides_of(row)
            inside = [p for p in places if west <= p[0] < east and south <= p[1] < north]
            assert int(row["chips"]) == len(inside) > 0
        shown = sum(int(row["chips"]) for row in rows)
        assert shown == len([p for p in places if not flags or abs(p[0]) >= 169]) > 0
        assert "of 64 chips (16 without a place)" in said


def test_collections(archive: Archive, asked: Asked, version: int) -> None:
    table = archive.rows[version].to_pylist()
    (row,), said = asked("collections")
    times = [own["datetime"] for own in table if own["datetime"] is not None]
    placed = [own["bbox"] for own in table if own["bbox"] is not None]
    assert (row["collection"], int(row["chips"])) == ("tests", 64)
    assert (int(row["undated"]), int(row["placeless"])) == (64 - len(times), 64 - len(placed))
    assert int(row["months"]) == len(Counter(f"{time:%Y-%m}" for time in times))
    assert (row["first"], row["last"]) == (f"{min(times):%Y-%m-%d %H:%M}", f"{max(times):%Y-%m-%d %H:%M}")
    west, south, east, north = sides_of(row)
    assert (west, east) == pytest.approx(narrower(placed), abs=1e-6)
    assert south == pytest.approx(min(box["ymin"] for box in placed), abs=1e-6)
    assert north == pytest.approx(max(box["ymax"] for box in placed), abs=1e-6)
    assert f"version {version}" in said


ANSWERS = {
    "grid": GridAnswer,
    "changes": ChangesAnswer,
    "here": ChipsAnswer,
    "dates": ChipsAnswer,
    "coverage": CoverageAnswer,
    "collections": CollectionsAnswer,
}


@pytest.mark.parametrize("word", WORDS)
def test_as_json_and_of_a_version(
    archive: Archive, url: str, version: int, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    chip = ["--chip-id", archive.ids()[0]]
    given = {"here": ["--bbox", "0,0,9,9"], "grid": chip, "dates": chip}
    flags = [word, "--url", url, "--key", KEY, *given.get(word, [])]
    assert main([*flags, "--json", "--snapshot", str(version)]) == 0
    answer = ANSWERS[word].model_validate_json(capsys.readouterr().out)
    assert answer.snapshot == version
    assert main([*flags, "--snapshot", "1000000"]) == 2
    assert "(not_kept, 410)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gird",), "jobs.query: there is no 'gird' to ask; write grid, changes, here, "),
        (("grid",), "jobs.query grid: give exactly one of chip_id, point, code and image"),
        (("grid", "--point", "1,2", "--view", "1,2"), r"view '1,2': write west,south,east,north .* --view="),
        (("grid", "--point", "1,2", "--view", "1,2,1,3"), "view: south must lie south of north"),
        (("grid", "--point", "1,2", "--width", "513"), "width: "),
        (("grid", "--point", "1,2", "--max-distance", "-1"), "max_distance below 0 goes with negative_ids"),
        (("changes", "--before", "yesterday"), "before: "),
        (("changes", "-k", "0"), "k: "),
        (("here",), "jobs.query here: give bbox or intersects"),
        (("here", "--bbox", "1,2,3,4", "--limit", "2001"), "limit: "),
        (("here", "--bbox", "1,2,3,4", "--export", "a.xlsx"), ".parquet, .arrow, .geojson, .csv"),
        (("dates",), "chip_id: is required"),
        (("coverage", "--bbox", "1,2,3"), "bbox '1,2,3': write west,south,east,north"),
        (("collections", "--bbox", "1,2,3,4"), "unrecognized arguments: --bbox"),
    ],
)
def test_what_cannot_be_asked(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *(["--url", "http://127.0.0.1:1"] if arguments != ("gird",) else [])]) == 2
    output, error = capsys.readouterr()
    assert (output, error.count("\n")) == ("", 1)
    assert re.search(said, error), error


@pytest.mark.server
@pytest.mark.parametrize("word", WORDS)
def test_a_refusal_waits_for_nothing_slow(tmp_path: Path, word: str) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "jobs.query", word, "--url", "nowhere"]
    command += {"here": ["--bbox", "1,2,3,4"], "grid": ["--point", "1,2"], "dates": ["--chip-id", "a"]}.get(
        word, []
    )
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stderr.splitlines()[-1].startswith(f"jobs.query {word}: 'nowhere' is no address")
    slow = r"\| +(torch|torchvision|ray|mlflow|pandas|s3fs|rasterio)$"
    assert re.findall(slow, done.stderr, re.MULTILINE) == []
