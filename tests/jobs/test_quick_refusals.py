"""A wrong source is refused before torch, Ray or MLflow is imported, which takes seconds."""

import re
import subprocess
import sys

import pytest


@pytest.mark.parametrize("source", ["/no/such/folder", "/no/such/labels.csv"])
@pytest.mark.parametrize(
    ("job", "flags"), [("train", ["--bundles=b"]), ("evaluate", ["--bundle=b", "--output=o"])]
)
def test_a_wrong_source_needs_no_slow_import(tmp_path, job, flags, source):
    command = [sys.executable, "-X", "importtime", "-m", f"jobs.{job}", f"--source={source}", *flags]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert f"jobs.{job}: " in done.stderr
    assert source in done.stderr.splitlines()[-1]
    imported = set(re.findall(r"\| +(torch|torchvision|ray|mlflow)$", done.stderr, re.MULTILINE))
    assert imported == set()
    assert list(tmp_path.iterdir()) == []
