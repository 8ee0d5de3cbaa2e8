"""What is logged while a request is answered."""

import json
import logging
import os
import time
import warnings
from pathlib import Path

import httpx
import ray
from ray import serve

from pipelines.runtime.logs import gather_logs
from pipelines.serve.deployments import LOGS


def test_standard_error_has_no_line_for_each_request(url: str) -> None:
    as_users_have_it = {"env_vars": {"RAY_SERVE_LOG_TO_STDERR": "1"}}  # other tests are spared these lines

    @serve.deployment(logging_config=LOGS, ray_actor_options={"num_cpus": 0, "runtime_env": as_users_have_it})
    class Plain:
        def __init__(self) -> None:
            gather_logs()

        def __call__(self) -> str:
            logging.getLogger("ray.serve").warning("asked")
            return str(os.getpid())

    serve.run(Plain.bind(), name="plain", route_prefix="/plain")
    try:
        pid = httpx.get(f"{url}/plain", timeout=10).text
        (errors,) = logs().glob(f"worker-*-{pid}.err")
        text = soon(errors, "asked")
    finally:
        serve.delete("plain")
    assert "asked" in text
    assert "GET /plain" not in text


def test_what_libraries_say_carries_the_requests_id(url: str) -> None:
    @serve.deployment(logging_config=LOGS, ray_actor_options={"num_cpus": 0})
    class Talkative:
        def __init__(self) -> None:
            gather_logs()

        def __call__(self) -> str:
            logging.getLogger("a.library").warning("a library says")
            warnings.warn("a library warns", stacklevel=1)
            return "done"

    serve.run(Talkative.bind(), name="talkative", route_prefix="/talkative")
    try:
        given = {"X-Request-ID": "heard-1"}
        assert httpx.get(f"{url}/talkative", headers=given, timeout=10).text == "done"
        lines = said("heard-1")
    finally:
        serve.delete("talkative")
    messages = [line["message"] for line in lines]
    assert "a library says" in messages
    assert any("a library warns" in message for message in messages)
    assert any("GET /talkative 200" in message for message in messages)


def logs() -> Path:
    """The folder of Ray's logs."""
    return Path(ray.get_runtime_context().worker.node.get_session_dir_path()) / "logs"


def soon(path: Path, part: str) -> str:
    """What a file says a moment after a part of it is there: the lines that follow it have come too."""
    deadline = time.monotonic() + 20
    while part not in path.read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    return path.read_text()


def said(request_id: str) -> list[dict[str, str]]:
    """The lines of a request in Serve's logs, once the last of them is there."""
    folder = logs() / "serve"
    deadline = time.monotonic() + 20
    while True:
        text = "".join(path.read_text() for path in folder.rglob("replica_talkative*.log"))
        lines = [json.loads(line) for line in text.splitlines()]
        found = [line for line in lines if line.get("request_id") == request_id]
        if any("GET" in line["message"] for line in found) or time.monotonic() > deadline:
            return found
        time.sleep(0.2)
