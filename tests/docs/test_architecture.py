"""docs/architecture.md shows the rooms as they are: their layers, and each file of each of them."""

import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ROOMS = (REPOSITORY / "docs/architecture.md").read_text().split("## The rooms")[1].split("\n## ")[0]
LAYERS = re.findall(r"^    ([a-z_, ]+)", ROOMS, re.MULTILINE)
ROWS = dict(re.findall(r"^\| `pipelines/(\w+)/` \| (.+) \|$", ROOMS, re.MULTILINE))
IN_EACH_STAGE = {"__init__", "config", "run", "report"}


def folders():
    return {path.parent.name for path in (REPOSITORY / "pipelines").glob("*/__init__.py")}


def test_layers_are_those_that_are_checked():
    tools = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]
    contracts = tools["importlinter"]["contracts"]
    (checked,) = (contract["layers"] for contract in contracts if contract.get("containers"))
    shown = [set(line.split(", ")) for line in LAYERS]
    assert shown == [{"jobs"}, *(set(line.split(" | ")) for line in checked), {"model"}]
    assert set.union(*shown[1:-1]) == folders() | {"config", "uris", "errors"}


def test_every_room_has_a_row():
    assert set(ROWS) == folders()


@pytest.mark.parametrize("room", sorted(folders()))
def test_every_file_is_named(room):
    files = {path.stem for path in (REPOSITORY / "pipelines" / room).glob("*.py")}
    named = set(re.findall(r"`(\w+)`", ROWS[room]))
    assert named - {"config"} == files - IN_EACH_STAGE
