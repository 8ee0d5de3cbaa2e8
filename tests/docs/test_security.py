"""docs/security.md: the tests that it names are there, and the bounds that it gives stand."""

import os
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

REPOSITORY = Path(__file__).parents[2]
NAMED = sorted(
    set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (REPOSITORY / "docs/security.md").read_text()))
)
SAFE_RAY = Version("2.56")


def test_claims_name_tests():
    assert len(NAMED) > 20


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_the_tests_that_are_named_are_there(file, test):
    text = (REPOSITORY / file).read_text()
    assert not test or re.search(rf"^def {test}\(", text, re.MULTILINE)


def test_ray_is_above_its_known_holes():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = next(wish for wish in map(Requirement, project["dependencies"]) if wish.name == "ray")
    lowest = [Version(bound.version) for bound in wanted.specifier if bound.operator in (">=", "==", "~=")]
    assert max(lowest) >= SAFE_RAY
    pins = re.search(r"^ray==(.+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert pins
    assert Version(pins[1]) >= SAFE_RAY
    assert Version(version("ray")) >= SAFE_RAY


def test_nothing_here_brings_rays_pickles_back():
    for variable in (
        "RAY_DATA_AUTOLOAD_CLOUDPICKLE_TENSOR_METADATA",
        "RAY_DATA_ARROW_EXTENSION_SERIALIZATION_CLOUDPICKLE",
    ):
        assert variable not in os.environ
        folders = ("infra", "jobs", "pipelines", "model")
        files = [file for folder in folders for file in (REPOSITORY / folder).rglob("*") if file.is_file()]
        named = [file for file in files if variable.encode() in file.read_bytes()]
        assert named == []
