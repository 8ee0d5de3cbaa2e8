"""Two minutes of the soak on the real thing: nights, searches and watches go on while parts die."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.soak.deaths import KINDS
from benchmarks.soak.ledger import HARMS

MINUTES = 2
REQUESTS = 1000
REPOSITORY = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        os.getuid() != 0 or shutil.which("ip") is None, reason="it takes root's rights and ip(8)"
    ),
]


def test_two_minutes_do_no_harm(tmp_path):
    output = tmp_path / "soak.jsonl"
    command = [sys.executable, "-m", "benchmarks.soak", f"--minutes={MINUTES}", f"--output={output}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert output.exists(), done.stdout + done.stderr
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    harms = [line for line in lines if line["event"] in HARMS]
    assert harms == [], harms[:10]
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])["soak"]
    assert [figures[kind] for kind in HARMS] == [0] * len(HARMS)
    died = Counter(line["kind"] for line in lines if line["event"] == "death")
    assert set(died) == set(KINDS)
    assert lines[-1]["not_done"] == []
    assert figures["deaths"] == died.total()
    assert figures["requests"] >= REQUESTS
    assert lines[-1]["outcomes"]["answered"] > 0.5 * figures["requests"]
    assert any(line["event"] == "night" for line in lines)
