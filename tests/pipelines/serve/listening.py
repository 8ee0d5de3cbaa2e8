"""An ASGI app that listens on loopback, in a thread of the test's own process."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from pipelines.demo.objectstore import free_port

_START_SECONDS = 60


@contextmanager
def listening(app: Any, port: int | None = None) -> Iterator[str]:
    """Yield the app's address; ``port``: by default one that is free."""
    port = free_port() if port is None else port
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + _START_SECONDS
    try:
        while not server.started:
            assert time.monotonic() < deadline, "the app doesn't listen"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(_START_SECONDS)
