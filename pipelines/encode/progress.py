"""The progress of a night: a bar on a terminal. Elsewhere the log lines show it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray.data
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def progress(objects: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of objects that were done since its last call."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    context = ray.data.DataContext.get_current()
    shows_bars, context.enable_progress_bars = context.enable_progress_bars, False  # one display, not two
    columns = TextColumn("encoding"), BarColumn(), MofNCompleteColumn(), TextColumn("objects")
    bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
    try:
        with bar:
            task = bar.add_task("encoding", total=objects)
            yield lambda done: bar.advance(task, done)
    finally:
        context.enable_progress_bars = shows_bars
