"""The progress of a night: a bar on a terminal. Elsewhere the log lines show it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipelines.runtime.screen import screen


@contextmanager
def progress(objects: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of objects that were done since its last call."""
    terminal = screen()
    if terminal is None:
        yield lambda _: None
        return
    columns = TextColumn("encoding"), BarColumn(), MofNCompleteColumn(), TextColumn("objects")
    bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=terminal.console)
    with bar:
        task = bar.add_task("encoding", total=objects)
        yield lambda done: bar.advance(task, done)
