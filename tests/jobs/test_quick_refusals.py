"""What can't work is refused before torch, Ray or MLflow is imported, which takes seconds."""

import re
import subprocess
import sys

import pytest

from pipelines.demo.objectstore import free_port
from tests.pipelines.conftest import write_model

pytestmark = pytest.mark.server

__all__ = ["write_model"]


def refusal(folder, job, *flags):
    """Run a job that must be refused, and import nothing slow; return its message."""
    command = [sys.executable, "-X", "importtime", "-m", f"jobs.{job}", *flags]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 2, done.stderr[-2000:]
    imported = set(re.findall(r"\| +(torch|torchvision|ray|mlflow)$", done.stderr, re.MULTILINE))
    assert imported == set()
    message = done.stderr.splitlines()[-1]
    assert message.startswith(f"jobs.{job}: ")
    return message


@pytest.mark.parametrize("source", ["/no/such/folder", "/no/such/labels.csv"])
@pytest.mark.parametrize(
    ("job", "flags"),
    [
        ("train", ["--bundles=b"]),
        ("evaluate", ["--bundle=b", "--output=o"]),
    ],
)
def test_a_wrong_source(tmp_path, job, flags, source):
    assert source in refusal(tmp_path, job, f"--source={source}", *flags)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", ["/no/such/folder", "/no/such/images.csv"])
def test_a_nights_wrong_source(tmp_path, write_model, source):
    bundle, _ = write_model(str(tmp_path / "bundles"), "one")
    flags = f"--source={source}", "--table=codes", f"--bundle={bundle}", "--chip-size=16"
    assert source in refusal(tmp_path, "nightly", *flags)


def test_a_nights_missing_bundle(tmp_path):
    flags = f"--source={tmp_path}", "--table=codes", "--bundle=bundles/none", "--chip-size=16"
    assert f"no bundle at {tmp_path}/bundles/none" in refusal(tmp_path, "nightly", *flags)


def test_a_service_with_nothing_published(tmp_path):
    flags = "--table=codes", "--open", f"--port={free_port()}"
    assert f"nothing is published at {tmp_path}/codes" in refusal(tmp_path, "serve", *flags)
