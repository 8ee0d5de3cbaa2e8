"""Small nights need no cluster, and say so by not even importing Ray."""

import subprocess
import sys

import pytest

from pipelines.encode.config import EncodeConfig
from pipelines.encode.in_process import FEW_OBJECTS, suffices
from tests.pipelines.encode.changing import Archive

_NIGHT = """
import sys
from pipelines.encode.config import EncodeConfig
from pipelines.encode.run import run_encode
report = run_encode(EncodeConfig.model_validate_json(sys.argv[1]))
print(report.chips, report.cpu_seconds_per_1000_chips > 0, "ray" in sys.modules)
"""
CONFIG = EncodeConfig(source="s", table="t", bundle="b")


def test_a_small_night_starts_no_ray(store, root, write_model, geotiff):
    archive = Archive.below(root, store, write_model, geotiff)
    archive.first_day()
    command = [sys.executable, "-c", _NIGHT, archive.config.model_dump_json()]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.splitlines()[-1].split() == ["24", "True", "False"]
    assert archive.state("codes")["publications"]
    archive.check_objects_are_whole("codes")


@pytest.mark.parametrize(
    ("objects", "changes", "address", "expected"),
    [
        (1, {}, None, True),
        (FEW_OBJECTS, {}, None, True),
        (FEW_OBJECTS + 1, {}, None, False),
        (1, {"encoders": 1}, None, False),
        (1, {"gpus_per_encoder": 1}, None, False),
        (1, {}, "ray-head:6379", False),
    ],
)
def test_which_nights_are_small(monkeypatch, objects, changes, address, expected):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("pipelines.encode.in_process._has_ray", lambda: False)  # other tests have started it
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    assert suffices(CONFIG.model_copy(update=changes), objects) is expected


@pytest.mark.usefixtures("ray_local")
def test_a_night_within_a_cluster_uses_it():
    assert not suffices(CONFIG, 1)
