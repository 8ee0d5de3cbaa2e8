"""The first hour on one's own data prints what `outputs/` holds, word for word.

`python -m tests.first_hour` writes these texts anew. Read what has changed as a user would, then commit it.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.first_hour.steps import ASKED, BEFORE, WORK, Step

REPOSITORY = Path(__file__).parents[2]
OUTPUTS = Path(__file__).parent / "outputs"
STEPS = [*BEFORE, *WORK, *ASKED]
NAMES = sorted(path.stem for path in OUTPUTS.glob("*.txt"))

pytestmark = [pytest.mark.server, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Play the whole hour once, in a network of its own: its Rays and the one of other tests would clash."""
    network = str(REPOSITORY / "tests/own_network.sh")
    allowed = subprocess.run([network, "true"], capture_output=True, text=True, check=False)
    if allowed.returncode:
        pytest.skip(f"no network namespaces here: {allowed.stderr.strip()}")
    folder = tmp_path_factory.mktemp("first") / "outputs"
    command = [network, sys.executable, "-m", "tests.first_hour", str(folder)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {path.stem: path.read_text() for path in folder.glob("*.txt")}


def test_every_step_has_its_text(printed: Mapping[str, str]) -> None:
    assert sorted(printed) == NAMES


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_ends_as_it_should(printed: Mapping[str, str], step: Step) -> None:
    assert printed[step.name].endswith(f"exit code {step.exit_code}\n"), printed[step.name]


@pytest.mark.parametrize("name", NAMES)
def test_the_output_is_that_of_the_text(printed: Mapping[str, str], name: str) -> None:
    assert printed[name] == (OUTPUTS / f"{name}.txt").read_text()
