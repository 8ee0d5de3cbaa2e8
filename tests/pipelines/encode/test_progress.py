"""The progress bar on a real pseudo-terminal, and its absence elsewhere."""

import os
import sys

import ray.data

from pipelines.encode.progress import progress


def test_a_bar_on_a_terminal_counts_objects(monkeypatch):
    master, slave = os.openpty()
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress(10) as advance:
            assert not context.enable_progress_bars
            advance(4)
    shown = os.read(master, 1 << 16).decode()
    os.close(master)
    assert "4/10" in shown
    assert context.enable_progress_bars == before


def test_no_bar_elsewhere(capsys):
    with progress(10) as advance:
        advance(4)
    assert capsys.readouterr().err == ""
