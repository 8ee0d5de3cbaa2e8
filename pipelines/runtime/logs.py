"""Structured logs: for people on a terminal, as JSON lines elsewhere; each line names its run."""

import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.typing import Processor

_RAY_LOGGERS = ("ray", "ray.data", "ray.serve")  # those that write to the terminal in a way of their own
_run: dict[
    str, str
] = {}  # of this process, not of a context: what libraries log in their threads is of it too


def log_to_stderr() -> None:
    """Write all that is logged in this process, by libraries too, to standard error."""
    fields: list[Processor] = [
        _add_run,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper("iso", utc=True),
    ]
    shown: list[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if sys.stderr.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    structlog.configure(
        processors=[*fields, *shown],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # whatever it is by then
    )
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*fields, _add_logger],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shown],
        )
    )
    logging.getLogger().handlers = [handler]
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").propagate = True


def gather_ray_logs() -> None:
    """Let Ray's loggers write as all others do, where `log_to_stderr` was called; they exist by now."""
    if not structlog.is_configured():
        return
    for name in _RAY_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [
            handler for handler in logger.handlers if not isinstance(handler, logging.StreamHandler)
        ]
        logger.propagate = True


def gather_logs() -> None:
    """Let what libraries log and warn of in this replica of Serve's stand in Serve's own log.

    Else it would go to standard error, where nothing says of which request it is.
    """
    logging.getLogger().handlers = logging.getLogger("ray.serve").handlers  # one list: Serve may change it
    logging.captureWarnings(capture=True)


@contextmanager
def run_logged(run_id: str) -> Iterator[None]:
    """Let each line that this process logs meanwhile carry ``run_id``."""
    before = dict(_run)
    _run["run_id"] = run_id
    try:
        yield
    finally:
        _run.clear()
        _run.update(before)


def current_run() -> str:
    """Return the ``run_id`` of what this process logs; empty: none."""
    return _run.get("run_id", "")


def log_in_worker(run_id: str) -> None:
    """Let what this worker of Ray's logs from now on be JSON lines that carry ``run_id``.

    Ray brings them to the terminal of the run's driver, and keeps them beside its own logs. Without a run
    nothing changes.
    """
    if not run_id:
        return
    if not structlog.is_configured():
        log_to_stderr()
        gather_ray_logs()
    _run["run_id"] = run_id


def _add_run(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.update(_run)
    return event


def _add_logger(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["logger"] = event["_record"].name
    return event
