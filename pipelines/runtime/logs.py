"""Structured logs: readable text on a terminal, JSON lines elsewhere; each line names its run."""

import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.typing import Processor

_RAY_LOGGERS = ("ray", "ray.data", "ray.serve")  # these write to the terminal in a format of their own
# of the process, not of a context variable, so that lines from threads of libraries carry it too
_run: dict[str, str] = {}


def log_to_stderr() -> None:
    """Write everything that this process and its libraries log to standard error."""
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
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # looked up late, as it may be replaced
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
    """Let Ray's loggers write like all others if `log_to_stderr` was called. Call it after Ray's start."""
    if not structlog.is_configured():
        return
    for name in _RAY_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [
            handler for handler in logger.handlers if not isinstance(handler, logging.StreamHandler)
        ]
        logger.propagate = True


def gather_logs() -> None:
    """In a replica of Ray Serve, send logs and warnings of libraries to Serve's own log.

    On standard error nothing would say which request they belong to.
    """
    # the same list object, as Serve may change it
    logging.getLogger().handlers = logging.getLogger("ray.serve").handlers
    logging.captureWarnings(capture=True)


@contextmanager
def run_logged(run_id: str) -> Iterator[None]:
    """Add ``run_id`` to each line that this process logs within the block."""
    before = dict(_run)
    _run["run_id"] = run_id
    try:
        yield
    finally:
        _run.clear()
        _run.update(before)


def current_run() -> str:
    """Return the ``run_id`` of this process's log lines; empty if there is none."""
    return _run.get("run_id", "")


def log_in_worker(run_id: str) -> None:
    """In a Ray worker, log JSON lines that carry ``run_id`` from now on; with an empty one change nothing.

    Ray prints them on the driver's terminal and keeps them beside its own logs.
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
