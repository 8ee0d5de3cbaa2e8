"""The progress bar on a real pseudo-terminal, and its absence elsewhere."""

import os
import pty
import subprocess
import sys

import pytest

from pipelines.encode.progress import progress

SCRIPT = """
from pipelines.encode.progress import progress
from pipelines.runtime.screen import log_file

with log_file("nightly"), progress(10) as advance:
    advance(4)
"""


@pytest.mark.server
def test_a_bar_on_a_terminal_counts_objects():
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stderr=theirs, stdout=theirs) as job:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 1 << 16):
                shown += piece
        except OSError:  # the other side is closed (pty(7))
            os.close(ours)
    assert job.returncode == 0
    assert "4/10" in shown.decode()


def test_no_bar_elsewhere(capsys):
    with progress(10) as advance:
        advance(4)
    assert capsys.readouterr().err == ""
