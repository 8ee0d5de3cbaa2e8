"""Runs a job from its command line: its config, its result on standard output, its errors as one line."""

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TypeVar

from pydantic import BaseModel

from jobs.config import load_config
from jobs.help import help_text
from jobs.output import TableOf, print_result
from pipelines.errors import ReportedError, ScenehashError
from pipelines.runtime.logs import log_to_stderr
from pipelines.runtime.screen import log_file

Config = TypeVar("Config", bound=BaseModel)


def run_job(
    name: str,
    config_type: type[Config],
    run: Callable[[Config], BaseModel | None],
    arguments: Sequence[str] | None = None,
    table_of: TableOf | None = None,
    *,
    takes_long: bool = False,
) -> int:
    """Run a job from its command line and return the exit code: 0, 1 (ours), 2 (the user's), 3 (gate).

    ``table_of`` gives the table of what ``run`` returns, if that is an answer and not a report. On a
    terminal a job that ``takes_long`` shows its progress, and has a log file.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    given = [argument for argument in given if argument != "--json"]
    if {"-h", "--help", "--help-all"} & set(given):
        print(help_text(name, config_type, has_all="--help-all" in given))  # noqa: T201 - help is output
        return 0
    log_to_stderr()
    _end_on_sigterm()
    try:
        config = load_config(name, config_type, given)
        with log_file(name) if takes_long else nullcontext():
            result = run(config)
    except ScenehashError as error:
        if isinstance(error, ReportedError):
            print_result(error.report, table_of, as_json=as_json)
        print(f"jobs.{name}: {error}", file=sys.stderr)  # noqa: T201 - the error message of a command line
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    print_result(result, table_of, as_json=as_json)
    return 0


def _end_on_sigterm() -> None:
    """Let SIGTERM end the job as Ctrl-C does: what it has started is stopped. The exit code is 143."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)
