"""A job that takes long: steps and progress for a person at a terminal, all else in a file that is named."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import logging, os, subprocess, sys
import structlog
from pydantic import BaseModel
from jobs.command import run_job
from pipelines.errors import ConfigError
from pipelines.maintain.config import MaintainConfig
from pipelines.runtime.screen import PROGRESS

CORE = "[2026-11-28 19:59:56,986 E 30043 30082] core_worker.cc:2465: Actor with class name"

class Report(BaseModel):
    chips: int = 3

def run(config):
    structlog.get_logger().info("planned", objects=3, uri="s3://[red]bucket")
    logging.getLogger("ray.data._internal.progress").info("")
    logging.getLogger("a.library").warning("from a library")
    subprocess.run(["sh", "-c", "echo from a child >&2"])
    print(f"(Worker pid=3) {PROGRESS}epoch 1: loss 0.5", file=sys.stderr)
    print(f"(Worker pid=3) {CORE}", file=sys.stderr)
    if config.table.endswith("wrong"):
        raise ConfigError("no such thing")
    if config.table.endswith("broken"):
        raise ZeroDivisionError
    return Report()

raise SystemExit(run_job("tried", MaintainConfig, run, ["--table", sys.argv[1]], takes_long=True))
"""


def on_terminal(table: str, folder: Path) -> tuple[int, list[str], str]:
    """Run the job on a terminal; its exit code, the lines that it shows in the end, and its log."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", SCRIPT, table]
    environment = os.environ | {"TMPDIR": str(folder), "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as job:
        os.close(theirs)
        shown = b""
        while job.poll() is None:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # the terminal is closed
                break
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r\n", "\n")
    lines = [line.rpartition("\r")[2].rstrip() for line in text.splitlines()]
    logs = list(folder.glob("scenehash-tried-*.log"))
    return job.returncode, [line for line in lines if line], logs[0].read_text() if logs else ""


@pytest.mark.server
def test_a_terminal_shows_steps_and_the_log_has_the_rest(tmp_path):
    code, lines, log = on_terminal("t", tmp_path)
    assert code == 0
    assert any(
        re.fullmatch(r"\d\d:\d\d:\d\d  planned: objects 3, uri s3://\[red\]bucket", line) for line in lines
    )
    (file,) = tmp_path.glob("*.log")
    assert lines[-2:] == [f"log  {file}", "chips  3"]
    for text in ("from a library", "from a child", "core_worker", '"event": "planned"'):
        assert text in log
        assert not any(text in line for line in lines)
    assert "(Worker pid=3) epoch 1: loss 0.5\n" in log
    assert "\x1b" not in log
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.server
@pytest.mark.parametrize(("table", "code", "said"), [("wrong", 2, "no such thing"), ("broken", 1, "ZeroDiv")])
def test_an_error_is_on_the_terminal_and_names_the_log(tmp_path, table, code, said):
    exit_code, lines, _ = on_terminal(table, tmp_path)
    assert exit_code == code
    assert said in lines[-1]
    assert any(line.startswith("log  ") for line in lines)


@pytest.mark.server
def test_through_a_pipe_each_line_says_something_and_has_no_colours(tmp_path):
    command = [sys.executable, "-c", SCRIPT, "t"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == '{"chips":3}\n'
    lines = done.stderr.splitlines()
    assert [re.sub(r', "timestamp.*', "", line) for line in lines] == [
        '{"objects": 3, "uri": "s3://[red]bucket", "event": "planned", "level": "info"',
        '{"event": "from a library", "level": "warning"',
        "from a child",
        "(Worker pid=3) epoch 1: loss 0.5",
    ]
