"""The first hour on one's own data prints what `outputs/` holds, word for word.

`python -m tests.first_hour` writes these texts anew. Read what has
changed as a user would before you commit it.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipelines.storage.store import Store
from tests.first_hour.play import play_all
from tests.first_hour.steps import ASKED, BEFORE, WORK

OUTPUTS = Path(__file__).parent / "outputs"
STEPS = [*BEFORE, *WORK, *ASKED]
NAMES = sorted(path.stem for path in OUTPUTS.glob("*.txt"))


@pytest.fixture(scope="module")
def printed(store: Store) -> Mapping[str, str]:
    """Play the whole hour once."""
    return dict(play_all(store.config.endpoint or ""))


@pytest.mark.timeout(900)
def test_every_step_has_its_text(printed: Mapping[str, str]) -> None:
    assert sorted(printed) == NAMES


@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_step_ends_as_it_should(printed: Mapping[str, str], step: object) -> None:
    assert printed[step.name].endswith(f"exit code {step.exit_code}\n"), printed[step.name]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_the_output_is_that_of_the_text(printed: Mapping[str, str], name: str) -> None:
    assert printed[name] == (OUTPUTS / f"{name}.txt").read_text()
