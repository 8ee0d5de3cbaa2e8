"""What a job prints on standard output.

A job answers with a table (a query, a history, a list of watches) or reports what it did. On a terminal both
are text for a person. Through a pipe a table is tab-separated lines, and a report is one line of JSON. With
``--json`` both are one line of JSON, everywhere.
"""

import sys
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel
from rich.console import Console

from pipelines.runtime.plain_values import is_empty, text_of
from pipelines.runtime.text_table import TextTable, plain, print_table

TableOf = Callable[[Any], TextTable | None]
"""Returns a result's table, or None if the result is a report."""


def print_result(result: BaseModel | None, table_of: TableOf | None = None, *, as_json: bool = False) -> None:
    """Print what a job has returned; see the top of this file."""
    if result is None:
        return
    output = Console(file=sys.stdout, highlight=False)
    table = table_of(result) if table_of and not as_json else None
    if table is not None:
        print_table(table, output, Console(stderr=True, highlight=False))
    elif as_json or not output.is_terminal:
        print(result.model_dump_json(), flush=True)  # noqa: T201 - the result is the job's output
    else:
        for line in summary(result):
            output.print(plain(line))


def summary(result: BaseModel) -> list[str]:
    """Return the lines of a report for a person: a field each, without those that are empty."""
    shown = {name.replace("_", " "): text_of(value) for name, value in result if not is_empty(value)}
    width = max(map(len, shown), default=0)
    return [f"{name:{width}}  {text}" for name, text in shown.items()]
