"""What a job prints: for a person on a terminal, for a script through a pipe, and as JSON if asked to."""

import io
import json
import sys

from pydantic import BaseModel
from rich.console import Console

from jobs.output import print_result
from pipelines.runtime.text_table import TextTable, print_table

TABLE = TextTable(
    header=("rank", "name", "source"),
    rows=[("1", "first", "s3://bucket/a/very/long/name/of/a/scene.tif"), ("10", "a\tb", "")],
    details=("source",),
    numbers=("rank",),
    summary="2 of 3",
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Inner(BaseModel):
    chips: int
    share: float


class Report(BaseModel):
    table_version: int | None = None
    objects: int = 0
    files: list[str] = []
    rejects: dict[str, int] = {}
    parts: list[Inner] = []
    dry_run: bool = False


REPORT = Report(
    objects=7, files=[f"{n}.tif" for n in range(9)], rejects={"empty": 2}, parts=[Inner(chips=2, share=1 / 3)]
)


def on_terminal(monkeypatch, *arguments, **options):
    """What is printed if standard output is a terminal."""
    with monkeypatch.context() as patch:
        patch.setenv("TERM", "dumb")
        patch.setattr(sys, "stdout", Terminal())
        print_result(*arguments, **options)
        return sys.stdout.getvalue()


def aligned(width):
    shown = io.StringIO()
    console = Console(file=shown, width=width, force_terminal=True, color_system=None, highlight=False)
    print_table(TABLE, console, console)
    return shown.getvalue().splitlines()


def test_a_report_is_a_line_of_json_through_a_pipe(capsys):
    print_result(REPORT)
    assert json.loads(capsys.readouterr().out) == json.loads(REPORT.model_dump_json())


def test_a_report_on_a_terminal_has_a_line_for_each_field_that_says_something(monkeypatch):
    assert on_terminal(monkeypatch, REPORT).splitlines() == [
        "objects  7",
        "files    0.tif, 1.tif, 2.tif, 3.tif, 4.tif, and 4 more (--json)",
        "rejects  empty 2",
        "parts    chips 2, share 0.3333",
    ]


def test_json_is_json_on_a_terminal_too(monkeypatch):
    assert json.loads(on_terminal(monkeypatch, REPORT, lambda _: TABLE, as_json=True))["objects"] == 7


def test_a_table_through_a_pipe_has_a_header_tabs_and_nothing_else(capsys):
    print_result(REPORT, lambda _: TABLE)
    said = capsys.readouterr()
    assert [line.split("\t") for line in said.out.splitlines()] == [
        ["rank", "name", "source"],
        ["1", "first", "s3://bucket/a/very/long/name/of/a/scene.tif"],
        ["10", "a\ufffdb", ""],
    ]
    assert said.err == "2 of 3\n"


def test_a_wide_terminal_has_a_line_for_each_row():
    assert aligned(80) == [
        "rank  name   source",
        "   1  first  s3://bucket/a/very/long/name/of/a/scene.tif",
        "  10  a\ufffdb",
        "2 of 3",
    ]


def test_a_narrow_terminal_has_what_one_copies_below_its_row_and_whole():
    assert aligned(30) == [
        "rank  name",
        "   1  first",
        "    source  s3://bucket/a/very/long/name/of/a/scene.tif",
        "  10  a\ufffdb",
        "2 of 3",
    ]
