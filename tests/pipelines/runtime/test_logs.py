"""Lines of a job where nobody watches; `tests/infra` looks at those of a night on Ray."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.server

SCRIPT = """
import logging, threading, warnings
import structlog
from pipelines.runtime.logs import current_run, log_to_stderr, run_logged

log_to_stderr()
log, library = structlog.get_logger(), logging.getLogger("a.library")
with run_logged("one"):
    log.info("planned", objects=3)
    warnings.warn("careful")
    library.debug("too much"), library.info("too much")
    with run_logged("two"):
        thread = threading.Thread(target=library.warning, args=("from %s", "a thread"))
        thread.start(), thread.join()
    try:
        1 / 0
    except ZeroDivisionError:
        library.exception("oh")
assert current_run() == ""
log.info("after")
"""


def test_each_line_is_json_and_names_its_run():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    planned, careful, thread, oh, after = (json.loads(line) for line in done.stderr.splitlines())
    assert (planned["event"], planned["objects"], planned["run_id"]) == ("planned", 3, "one")
    assert ("careful" in careful["event"], careful["run_id"]) == (True, "one")
    assert (thread["event"], thread["run_id"], thread["logger"]) == ("from a thread", "two", "a.library")
    assert (oh["event"], oh["run_id"], oh["level"]) == ("oh", "one", "error")
    assert "ZeroDivisionError" in oh["exception"]
    assert (after["event"], "run_id" in after) == ("after", False)
    for line in (planned, careful, thread, oh, after):
        assert line["timestamp"].endswith("Z")


def test_no_library_shows_bars_of_its_own():
    """Jobs import what needs Ray after this, and show their own progress."""
    script = """
from pipelines.runtime.logs import log_to_stderr
log_to_stderr()
import pipelines.encode.execution, pipelines.train.run, ray.data
print(ray.data.DataContext.get_current().enable_progress_bars)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
