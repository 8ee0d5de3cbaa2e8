"""What a person at a terminal sees of a job that takes a while: a line for each step, and what it is at now.

All else (libraries, Ray, what workers print, warnings) goes to a log file, which is named at the end. That
needs more than Python's logging: Ray's core writes to the file descriptor, and Ray copies the lines of its
workers to ``sys.stderr``.
"""

import io
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipelines.runtime.text_table import plain

PROGRESS = "progress of the job: "
"""Begins lines that say how far a job is. A terminal shows the last of them; a log has them without this."""

_RAYS_OWN = re.compile(
    r"\[[\d-]+ [\d:,]+ [IWE] \d+ \d+\] (\(\w+\) )?\w+\.cc:\d+: "  # a line of Ray's core, in C++
    r"|\bReporting training result \d+: "  # Ray Train says it at each epoch, at any level of logging
)


class Screen:
    """The terminal of a job that takes a while."""

    def __init__(self, console: Console) -> None:
        self.console = console
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        self._progress = Progress(*columns, console=console, transient=True, redirect_stdout=False,
                                  redirect_stderr=False)  # fmt: skip
        self._task = self._progress.add_task("starting")

    def add_line(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(plain(text), highlight=False)

    def show(self, text: str) -> None:
        """Show what the job is at now, in place of what was shown before."""
        self._progress.update(self._task, description=escape(plain(text).plain))

    def __enter__(self) -> "Screen":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


_screen: Screen | None = None


def screen() -> Screen | None:
    """Return the terminal of this job; None if nobody watches, or if the job takes a moment only."""
    return _screen


@contextmanager
def log_file(job: str) -> Iterator[None]:
    """Within the block, keep from standard error what isn't for its reader.

    On a terminal everything but steps and progress goes to a new file in the folder for temporary files. Its
    name is printed at the end. Elsewhere only what Ray writes about itself is left out: Ray's logs have it.
    """
    before = sys.stderr
    if not before.isatty():
        sys.stderr = _Lines(before)
        try:
            yield
        finally:
            sys.stderr = before
        return
    with tempfile.NamedTemporaryFile(
        "w", prefix=f"scenehash-{job}-", suffix=".log", delete=False, buffering=1, encoding="utf-8"
    ) as file:
        try:
            with _diverted(file):
                yield
        finally:
            if Path(file.name).stat().st_size:
                print(f"log  {file.name}", file=before)
            else:
                Path(file.name).unlink()


@contextmanager
def _diverted(file: IO[str]) -> Iterator[None]:
    """Send what this process and its children write to standard error to a file; open the `Screen`."""
    global _screen
    before, terminal = sys.stderr, os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8")
    os.dup2(file.fileno(), 2)
    sys.stderr = _Lines(file)
    try:
        with Screen(Console(file=terminal)) as _screen:
            yield
    finally:
        _screen, sys.stderr = None, before
        os.dup2(terminal.fileno(), 2)
        terminal.close()


class _Lines(io.TextIOBase):
    """Standard error line by line: what says how far a job is goes to the screen, all else to a stream."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._begun = threading.local()  # Ray prints the lines of workers in a thread of its own

    def write(self, text: str) -> int:
        """Pass on the lines that are whole."""
        *lines, self._begun.text = (getattr(self._begun, "text", "") + text).split("\n")
        for line in lines:
            self._pass_on(line)
        return len(text)

    def _pass_on(self, line: str) -> None:
        shown = screen()
        _, is_progress, text = line.partition(PROGRESS)
        if shown and is_progress:
            shown.show(text)
        if shown or not _RAYS_OWN.search(line):
            self._stream.write(line.replace(PROGRESS, "", 1) + "\n")
            self._stream.flush()

    def fileno(self) -> int:
        """Return the file descriptor, for processes that are started."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True
