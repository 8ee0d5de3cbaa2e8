"""Saved queries: `python -m jobs.watch add | list | run | remove`."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from jobs.command import run_job
from jobs.program import called
from pipelines.watch.config import AddWatchConfig, ListWatchesConfig, RemoveWatchConfig, RunWatchesConfig

if TYPE_CHECKING:
    from pipelines.runtime.text_table import TextTable
    from pipelines.watch.report import WatchReport
    from pipelines.watch.watch_list import WatchList
    from pipelines.watch_files.watch_state import Watch


def _add(config: AddWatchConfig) -> "Watch":
    from pipelines.watch.add import add_watch  # imported late, so that --help is quick

    return add_watch(config)


def _list(config: ListWatchesConfig) -> "WatchList":
    from pipelines.watch.watch_list import list_watches

    return list_watches(config)


def _table(result: BaseModel) -> "TextTable | None":
    from pipelines.watch.watch_list import WatchList, watch_table

    return watch_table(result) if isinstance(result, WatchList) else None


def _run(config: RunWatchesConfig) -> "WatchReport":
    from pipelines.watch.run import run_watches

    return run_watches(config)


def _remove(config: RemoveWatchConfig) -> "Watch":
    from pipelines.watch.add import remove_watch

    return remove_watch(config)


_COMMANDS: dict[str, tuple[type[Any], Callable[[Any], BaseModel]]] = {
    "add": (AddWatchConfig, _add),
    "list": (ListWatchesConfig, _list),
    "run": (RunWatchesConfig, _run),
    "remove": (RemoveWatchConfig, _remove),
}


def main(arguments: Sequence[str]) -> int:
    """Run the command that the first argument names; return the exit code."""
    command = arguments[0] if arguments else ""
    if command in _COMMANDS:
        return run_job(f"watch {command}", *_COMMANDS[command], arguments[1:], _table)
    if command in ("-h", "--help"):
        print(f"usage: {called('watch')} {{{','.join(_COMMANDS)}}} ...\n\n{__doc__}")  # noqa: T201
        for name, (config_type, _) in _COMMANDS.items():
            print(f"  {name:8} {config_type.__doc__}")  # noqa: T201 - help is a CLI's output
        return 0
    problem = f"there is no command {command!r}" if command else "no command was given"
    print(f"jobs.watch: {problem}; name one of {', '.join(_COMMANDS)}", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
