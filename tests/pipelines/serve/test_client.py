"""The Python client and the command line, over the real service."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from jobs.config import run_job
from jobs.query import _run
from pipelines.api.answers import SearchAnswer
from pipelines.client import Client
from pipelines.demo.objectstore import free_port
from pipelines.errors import QueryError
from pipelines.query import QueryConfig, print_answer, run_query
from tests.pipelines.serve.conftest import KEY, Archive, png


def found(answer: SearchAnswer) -> list[tuple[int, str]]:
    return [(match.properties.distance, match.id) for match in answer.features]


def test_every_method(archive: Archive, url: str) -> None:
    content, code_Y, chip = png(archive.pixels(4)), archive.code(4), archive.ids()[4]
    nearest = archive.nearest(code_Y)
    with Client(url, KEY) as client:
        assert found(client.search(chip_id=chip, k=3)) == archive.nearest(code_Y, leave_out=chip)[:3]
        assert found(client.search(code=code_Y.tobytes().hex(), max_distance=2)) == [
            pair for pair in nearest if pair[0] <= 2
        ]
        assert client.search(point=(2.0, 6.0)).numberReturned == 10
        assert found(client.search_image(content, k=3)) == nearest[:3]
        assert client.encode(content).code == code_Y.tobytes().hex()
        assert client.chip(chip).id == chip
        assert client.thumbnail(chip).startswith(b"\x89PNG")
        assert client.snapshot().chips == 64


def test_errors_carry_the_services_message_and_hint(url: str) -> None:
    with (
        Client(url, KEY) as client,
        pytest.raises(QueryError, match=r"no chip 'a/b' .*404.*GET /v1/snapshot"),
    ):
        client.search(chip_id="a/b")
    with Client(url) as client, pytest.raises(QueryError, match="Authorization"):
        client.snapshot()
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(QueryError, match=r"jobs\.serve"):
        client.snapshot()


def test_the_table_of_a_query_by_image(archive: Archive, url: str, tmp_path: Path) -> None:
    image = tmp_path / "chip.png"
    image.write_bytes(png(archive.pixels(0)))
    answer = run_query(QueryConfig(url=url, key=KEY, image=image, k=4))
    shown = io.StringIO()
    print_answer(answer, Console(file=shown, width=240))
    for distance, chip in archive.nearest(archive.code(0))[:4]:
        assert any(chip in line and f" {distance} " in line for line in shown.getvalue().splitlines())


def test_the_command_line(archive: Archive, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--url", url, "--key", KEY, "--point=-179.9,9", "-k", "2"]
    assert run_job("query", QueryConfig, _run, [*flags, "--geojson"]) == 0
    answer = SearchAnswer.model_validate_json(capsys.readouterr().out)
    row = archive.row_at("2.tif", 0, 0)
    assert found(answer) == archive.nearest(archive.code(row))[:2]
    assert run_job("query", QueryConfig, _run, flags) == 0
    assert "2 of 2 chips" in capsys.readouterr().out
    assert run_job("query", QueryConfig, _run, [*flags, "--code", "00"]) == 2
    assert "exactly one" in capsys.readouterr().err
    assert run_job("query", QueryConfig, _run, ["--url", url, "--point", "here,there"]) == 2
    assert "longitude,latitude" in capsys.readouterr().err
