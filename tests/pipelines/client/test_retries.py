"""When a client asks again: a real HTTP server that refuses, hangs up, or answers, as it is told."""

import asyncio
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipelines.api.answers import EncodeAnswer
from pipelines.client import AsyncClient, Client
from pipelines.client.retries import MOST_TRIES
from pipelines.demo.objectstore import free_port
from pipelines.errors import InvalidQueryError, QueryError, UnavailableError

CODE = {"code": "00ff", "bit_weights": "8" * 16, "bits": 16, "model_id": "tiny@0"}
HANG_UP = (0, {}, b"")
CUT_OFF = (200, {"Content-Length": "1000"}, b'{"code": "00')
FINE = (200, {}, json.dumps(CODE).encode())
PAUSE = {"Retry-After": "1"}


def refusal(status: int, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    body = {"code": "queue_full", "message": "too much to do", "hint": "try again in a moment"}
    return status, headers or {}, json.dumps(body).encode()


class Server:
    """Gives the answers of a script, one a request, the last for ever; keeps what it was sent, and when."""

    def __init__(self) -> None:
        self.script = [FINE]
        self.bodies: list[bytes] = []
        self.times: list[float] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                server.times.append(time.monotonic())
                server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                status, headers, body = server.script.pop(0) if len(server.script) > 1 else server.script[0]
                if status:
                    self.send_response(status)
                    for name, value in ({"Content-Length": str(len(body))} | headers).items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def ask(url: str, **settings: float) -> EncodeAnswer:
    with Client(url, **settings) as client:
        return client.encode(b"an image")


def ask_async(url: str, **settings: float) -> EncodeAnswer:
    async def answer() -> EncodeAnswer:
        async with AsyncClient(url, **settings) as client:
            return await client.encode(b"an image")

    return asyncio.run(answer())


either = pytest.mark.parametrize("asked", [ask, ask_async])
Asked = Callable[..., EncodeAnswer]


@either
@pytest.mark.parametrize("status", [429, 503])
def test_it_comes_back_when_it_is_told_to(server: Server, asked: Asked, status: int) -> None:
    server.script = [refusal(status, PAUSE), FINE]
    assert asked(server.url).model_dump() == CODE
    assert server.bodies == [b"an image"] * 2
    assert 1 <= server.times[1] - server.times[0] < 2


def test_retry_after_may_be_a_date(server: Server) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    server.script = [refusal(503, {"Retry-After": soon}), FINE]
    assert ask(server.url).model_dump() == CODE
    assert server.times[1] - server.times[0] > 0.5  # a date has whole seconds


@either
@pytest.mark.parametrize("failure", [HANG_UP, CUT_OFF], ids=["hung up", "cut off"])
def test_a_lost_connection_is_made_again(server: Server, asked: Asked, failure: tuple) -> None:
    server.script = [failure, failure, FINE]
    assert asked(server.url).model_dump() == CODE
    assert len(server.bodies) == 3


@either
@pytest.mark.parametrize("status", [404, 500, 502, 504])
def test_what_a_proxy_has_lost_is_asked_again(server: Server, asked: Asked, status: int) -> None:
    server.script = [(status, {}, b"Internal Server Error"), (status, {}, b""), FINE]
    assert asked(server.url).model_dump() == CODE
    assert len(server.bodies) == 3


@either
def test_it_gives_up_after_a_number_of_tries(server: Server, asked: Asked) -> None:
    server.script = [refusal(429, {"Retry-After": "0"})]
    with pytest.raises(UnavailableError, match=r"too much to do \(queue_full, 429\); try again") as caught:
        asked(server.url)
    assert len(server.bodies) == MOST_TRIES
    error = caught.value
    assert (error.status, error.code, error.message) == (429, "queue_full", "too much to do")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # Ray and multiprocessing hand it on


def test_it_waits_no_longer_than_its_patience(server: Server) -> None:
    server.script = [refusal(503, PAUSE)]
    with pytest.raises(UnavailableError):
        ask(server.url, patience=2.5)
    assert len(server.bodies) == 3
    with pytest.raises(UnavailableError):
        ask(server.url, patience=0)
    assert len(server.bodies) == 4
    server.script = [refusal(503, {"Retry-After": "3600"})]
    with pytest.raises(UnavailableError):
        ask(server.url)
    assert len(server.bodies) == 5


@either
@pytest.mark.parametrize("status", [400, 422, 500])
def test_nothing_else_is_tried_again(server: Server, asked: Asked, status: int) -> None:
    server.script = [refusal(status, PAUSE), FINE]
    with pytest.raises(QueryError) as caught:
        asked(server.url)
    assert type(caught.value) is (QueryError if status == 500 else InvalidQueryError)
    assert len(server.bodies) == 1


@pytest.mark.server
def test_what_takes_too_long_is_not_asked_twice() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as silent:  # it accepts, no more
        started = time.monotonic()
        with pytest.raises(UnavailableError, match=r"jobs\.serve"):
            ask(f"http://127.0.0.1:{silent.server_port}", timeout=0.5)
        assert time.monotonic() - started < 1


@pytest.mark.parametrize("body", [b"<html>404</html>", b"", b"[]"])
@pytest.mark.parametrize(("status", "kind"), [(200, QueryError), (404, QueryError), (502, UnavailableError)])
def test_another_service_there(server: Server, body: bytes, status: int, kind: type[QueryError]) -> None:
    server.script = [(status, {}, body)]
    with pytest.raises(kind, match=f"{status}, not as a query service would") as caught:
        ask(server.url)
    assert type(caught.value) is kind


@either
def test_no_service_there(asked: Asked) -> None:
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"no answer from http.*jobs\.serve"):
        asked(f"http://127.0.0.1:{free_port()}")
    assert 1 < time.monotonic() - started < 5


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://host", "http://", "http://host:port", ""])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(QueryError, match="name one like"):
        Client(address)


@pytest.mark.parametrize("key", ["key\n", "schl\xfcssel", "a\0b"])
def test_a_key_that_no_header_can_hold_is_not_shown(key: str) -> None:
    with pytest.raises(QueryError, match="the key can't be sent") as caught:
        AsyncClient("http://127.0.0.1:8000", key)
    assert key not in str(caught.value)
