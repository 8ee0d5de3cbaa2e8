"""The progress bar on a real pseudo-terminal, and its absence elsewhere."""

import contextlib
import io
import os
import sys

import ray.data

from pipelines.encode.progress import progress


def _all_of(screen: io.FileIO) -> str:
    """What a terminal whose other side is closed was sent: piece by piece, then an I/O error (pty(7))."""
    shown = b""
    with contextlib.suppress(OSError):
        while piece := screen.read(1 << 16):
            shown += piece
    return shown.decode()


def test_a_bar_on_a_terminal_counts_objects(monkeypatch):
    master, slave = os.openpty()
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress(10) as advance:
            assert not context.enable_progress_bars
            advance(4)
    with os.fdopen(master, "rb", buffering=0) as screen:
        assert "4/10" in _all_of(screen)
    assert context.enable_progress_bars == before


def test_no_bar_elsewhere(capsys):
    with progress(10) as advance:
        advance(4)
    assert capsys.readouterr().err == ""
