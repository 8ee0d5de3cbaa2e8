"""What a job prints on standard output.

A job answers with a table (a query, a history, a list of watches) or reports what it did. On a terminal both
are text for a person. Through a pipe a table is tab-separated lines, and a report is one line of JSON. With
``--json`` both are one line of JSON, everywhere.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from rich.console import Console

from pipelines.runtime.text_table import TextTable, plain, print_table

_MOST = 5  # of a list or mapping that a summary shows

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
    shown = {name.replace("_", " "): _text(value) for name, value in result if not _is_empty(value)}
    width = max(map(len, shown), default=0)
    return [f"{name:{width}}  {text}" for name, text in shown.items()]


def _is_empty(value: object) -> bool:
    return value is None or value is False or value in ("", (), [], {})


def _text(value: object) -> str:
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, Mapping):
        known = {name: each for name, each in value.items() if not _is_empty(each)}
        return _joined([f"{str(name).replace('_', ' ')} {_text(each)}" for name, each in known.items()], ", ")
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _joined([_text(each) for each in value], "; " if isinstance(value[0], BaseModel) else ", ")
    if isinstance(value, bool):
        return "yes"
    return f"{value:.4g}" if isinstance(value, float) and value % 1 else f"{value}"


def _joined(texts: Sequence[str], separator: str) -> str:
    more = [f"and {len(texts) - _MOST} more (--json)"] if len(texts) > _MOST + 1 else []
    return separator.join([*(texts[:_MOST] if more else texts), *more])
