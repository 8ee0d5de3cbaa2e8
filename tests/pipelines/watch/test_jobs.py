"""`python -m jobs.watch`: its commands, its exit codes."""

import json
import subprocess
import sys

import pytest

from jobs.watch import main
from tests.pipelines.watch.conftest import ZEROS, code_at


@pytest.fixture
def watch(local_site, capsys):
    """Run a command; exit code, standard output, last line of standard error."""
    folder = f"--watches={local_site.root}/watches"

    def run(command, *arguments):
        code = main([command, folder, *arguments])
        captured = capsys.readouterr()
        return code, captured.out, (captured.err.splitlines() or [""])[-1]

    return run


def test_from_add_to_remove(local_site, watch):
    site = local_site
    site.night_of({"a": code_at(1), "nowhere": code_at(1)})
    code = ZEROS.tobytes().hex()
    given = ["--name=ships", f"--table={site.night.table.uri}", f"--code={code}", "--max-distance=4"]
    given += ["--compare=kind"]
    place = ["--bbox=-180,-90,180,90", "--datetime=2025-01-01T00:00:00Z/.."]
    exit_code, out, _ = watch("add", *given, *place, "--notes=the harbour", "--from-start")
    assert exit_code == 0
    assert json.loads(out)["filters"]["bbox"] == [-180, -90, 180, 90]
    assert watch("add", *given)[0] == 2
    exit_code, out, _ = watch("run", f"--output={site.root}/hits")
    assert (exit_code, json.loads(out.splitlines()[-1])["watches"][0]["hits"]) == (0, 1)
    assert site.all_written() == [("a-0", "1")]
    exit_code, out, _ = watch("list", "--json")
    assert (exit_code, json.loads(out)["watches"][0]["hits"]) == (0, 1)
    header, line = (line.split("\t") for line in watch("list")[1].splitlines())
    row = dict(zip(header, line, strict=True))
    assert (row["watch"], row["bits"], row["hits"], row["notes"]) == ("ships", "4 (kind)", "1", "the harbour")
    assert (row["example"], row["table"]) == (code, site.night.table.uri)
    assert watch("remove", "--name=ships")[0] == 0
    assert json.loads(watch("list", "--json")[1]) == {"watches": []}


def test_a_geometry_in_a_file(local_site, watch, tmp_path):
    site = local_site
    site.night_of({"a": code_at(1)})
    given = ["--name=ships", f"--table={site.night.table.uri}", "--chip-id=a-0", "--max-distance=4"]
    point = {"type": "Point", "coordinates": [1, 2]}
    (tmp_path / "harbour.geojson").write_text(json.dumps(point))
    exit_code, out, _ = watch("add", *given, f"--intersects={tmp_path}/harbour.geojson")
    assert (exit_code, json.loads(out)["filters"]["intersects"]) == (0, point)


def test_failed_watches_are_told_with_the_report(local_site, watch):
    site = local_site
    site.night_of({"a": code_at(1)})
    site.add()
    site.store.write(f"{site.root}/watches/torn.json", b"{}")
    exit_code, out, said = watch("run", f"--output={site.root}/hits")
    report = json.loads(out.splitlines()[-1])["watches"]
    assert (exit_code, [each["name"] for each in report if each["error"]]) == (2, ["torn"])
    assert said.startswith("jobs.watch run: 1 of 2 watches failed: torn: ")
    exit_code, out, said = watch("run", "--name=boats", f"--output={site.root}/hits")
    assert exit_code == 2
    assert "no watch boats" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no command was given; name one of add, list, run, remove"),
        (["look"], "there is no command 'look'"),
        (["add", "--watches=w", "--name=n", "--table=t", "--max-distance=3"], "give exactly one of chip_id"),
        (["run", "--watches=s3://no-such-bucket/w", "--output=o"], "no such bucket"),
        (["list"], "watches: is required"),
    ],
)
def test_the_users_mistakes(capsys, monkeypatch, store, arguments, message):
    monkeypatch.setenv("SCENEHASH_STORE__ENDPOINT", str(store.config.endpoint))
    assert main(arguments) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.server
def test_help_of_a_command_is_quick_and_light():
    done = subprocess.run(
        [sys.executable, "-m", "jobs.watch", "add", "--help"], capture_output=True, text=True, check=True
    )
    assert "python -m jobs.watch add" in done.stdout
    assert "--min-valid-fraction" in done.stdout
