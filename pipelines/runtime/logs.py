"""Structured logs: lines for a person on a terminal, JSON lines elsewhere; each line names its run."""

import json
import logging
import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.typing import Processor

from pipelines.runtime.plain_values import is_empty, text_of
from pipelines.runtime.screen import PROGRESS, screen

_RAY_LOGGERS = ("ray", "ray.data", "ray.serve")  # these write to the terminal in a format of their own
_TOKENS = "ray._private.authentication.authentication_token_setup"
"""Ray's logger that says at each start that it guards itself with a token, as it does by default."""
_QUIET = {
    "RAY_COLOR_PREFIX": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""Variables that keep colours, bars and accounts of libraries' own work out of the logs, here and in workers.

Ray Data and MLflow read theirs as they are imported, so they are set before."""
_NOT_SHOWN = ("event", "exception", "level", "logger", "run_id", "timestamp")
"""Parts of an event that a person at a terminal needs no words for."""
# of the process, not of a context variable, so that lines from threads of libraries carry it too
_run: dict[str, str] = {}


def log_to_stderr() -> None:
    """Write everything that this process and its libraries log to standard error."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger(_TOKENS).setLevel(logging.ERROR)
    fields: list[Processor] = [
        _add_run,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper("iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*fields, _show, _render],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # looked up late, as it may be replaced
    )
    handler = logging.StreamHandler()
    handler.setLevel(logging.INFO)
    handler.addFilter(_is_for_a_reader)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*fields, _add_logger],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _render],
        )
    )
    logging.getLogger().handlers = [handler]
    logging.captureWarnings(capture=True)
    logging.getLogger("py.warnings").propagate = True


def _is_for_a_reader(record: logging.LogRecord) -> bool:
    """Return whether a line says something: Ray Data's account of its own work is in Ray's logs."""
    own = "ray.data._internal.progress" if record.levelno >= logging.WARNING else "ray.data."
    return not record.name.startswith(own)


def _show(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Show a line of ours on the screen, if there is one and the line isn't for the log alone."""
    text = str(event["event"])
    event["event"] = text.removeprefix(PROGRESS)
    shown = screen()
    if event.pop("on_screen", True) and shown:
        if event["level"] == "info":
            shown.show(event["event"])
        if not text.startswith(PROGRESS):
            shown.add_line(_line(event))
    return event


def _render(_: object, __: str, event: MutableMapping[str, Any]) -> str:
    """Return a line for whoever reads standard error: a person at a terminal, or else a program."""
    if not screen() and sys.stderr.isatty():
        return "\n".join(text for text in (_line(event), event.get("exception")) if text)
    return json.dumps(dict(event), default=str)


def _line(event: MutableMapping[str, Any]) -> str:
    """Return the line of an event for a person."""
    values = [
        f"{name.replace('_', ' ')} {text_of(value)}"
        for name, value in event.items()
        if name not in _NOT_SHOWN and not is_empty(value)
    ]
    level = f"{event['level']}: " if event["level"] != "info" else ""
    return f"{event['timestamp'][11:19]}  {level}{event['event']}{': ' if values else ''}{', '.join(values)}"


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

    On standard error nothing would say which request they belong to. Requests themselves are kept from it:
    Ray would carry each line to the terminal of whoever started the service, and Serve's log has it already.
    """
    handlers = logging.getLogger("ray.serve").handlers
    for handler in handlers:
        if isinstance(handler, logging.StreamHandler):  # the log file's is another kind
            handler.addFilter(_is_no_request)
    # the same list object, as Serve may change it
    logging.getLogger().handlers = handlers
    logging.captureWarnings(capture=True)


def _is_no_request(record: logging.LogRecord) -> bool:
    """Return whether a line is another one than those that Ray Serve writes for each request."""
    return not getattr(record, "serve_access_log", False)


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
