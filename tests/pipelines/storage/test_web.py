"""Web servers that mean harm: they lead inwards, around, or never end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from pipelines.config import StoreConfig
from pipelines.errors import StorageError, StoreDownError
from pipelines.storage import web
from pipelines.storage.ranges import FOR_CHIPS
from pipelines.storage.store import Store
from pipelines.storage.web import read_web, web_etag

pytestmark = pytest.mark.server

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def server(answer: Answer) -> Iterator[tuple[str, list[str]]]:
    """A server's address, and the paths that it is asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answer(self)

        do_HEAD = do_GET

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()


def hello(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "5")
    handler.send_header("ETag", '"one"')
    handler.end_headers()
    handler.wfile.write(b"hello")


def leads_to(target: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()

    return answer


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(1 << 16))
    except OSError:  # the client has had enough
        return


def test_private_addresses_are_read_only_where_that_is_asked_for():
    with server(hello) as (url, asked):
        for name in (
            url,
            url.replace("127.0.0.1", "localhost"),
            url.replace("127.0.0.1", "[::ffff:127.0.0.1]"),
        ):
            for store in (Store(StoreConfig()), Store(StoreConfig(anonymous=True))):
                with pytest.raises(StorageError, match=r"in a private network.*--store.private-hosts"):
                    store.read(f"{name}/x")
                with pytest.raises(StorageError, match="in a private network"):
                    store.open_version(f"{name}/x", "updated=1", FOR_CHIPS)
                with pytest.raises(StorageError, match="in a private network"):
                    store.etag(f"{name}/x")
        assert asked == []
        assert Store(StoreConfig(private_hosts=True)).read(f"{url}/x") == b"hello"
        assert web_etag(f"{url}/x", private_hosts=True) == "one"


@pytest.mark.parametrize(
    "address",
    ["http://169.254.169.254/latest/meta-data", "http://[fe80::1]/", "http://[::ffff:169.254.169.254]/",
     "http://2852039166/"],
)  # fmt: skip
def test_link_local_addresses_never_are(address):
    for private_hosts in (False, True):
        with pytest.raises(StorageError, match="a link-local address: nothing is read from there"):
            read_web(address, private_hosts=private_hosts)
    with (
        server(leads_to(address)) as (url, asked),
        pytest.raises(StorageError, match="a link-local address"),
    ):
        read_web(url, private_hosts=True)
    assert asked == ["/"]


@pytest.mark.parametrize("address", ["http://10.0.0.1", "http://192.168.1.1", "http://0.0.0.0", "http://[fd00::1]",
                                     "http://[::1]", "http://100.64.0.1", "http://127.1"])  # fmt: skip
def test_what_is_private(address):
    with pytest.raises(StorageError, match="in a private network"):
        read_web(address, private_hosts=False)


def test_redirects_go_to_the_web_alone_and_end():
    with (
        server(leads_to("file:///etc/passwd")) as (url, _),
        pytest.raises(StorageError, match="can't be read"),
    ):
        read_web(url, private_hosts=True)
    with server(leads_to("/again")) as (url, asked):
        with pytest.raises(StorageError, match="leads on more than 5 times"):
            read_web(url, private_hosts=True)
        assert len(asked) == 6


def test_what_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(web, "MOST_BYTES", 10_000_000)
    with server(endless) as (url, _), pytest.raises(StorageError, match="more than 10000000 bytes"):
        read_web(url, private_hosts=True)
    monkeypatch.setattr(web, "MOST_BYTES", 1 << 40)
    monkeypatch.setattr(web, "_MOST_SECONDS", 0.2)
    with server(endless) as (url, _), pytest.raises(StorageError, match="not all there after"):
        read_web(url, private_hosts=True)


def busy(statuses: list[int], retry_after: str | None = None) -> Answer:
    """Answer with these statuses, then as `hello`."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if not statuses:
            hello(handler)
            return
        handler.send_response(statuses.pop(0))
        if retry_after is not None:
            handler.send_header("Retry-After", retry_after)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(status):
    store = Store(StoreConfig(private_hosts=True, patience=5))
    with server(busy([status] * 4)) as (url, asked):
        assert store.etag(f"{url}/x") == "one"
        assert len(asked) == 5
    with server(busy([status] * 2)) as (url, asked):
        assert store.read(f"{url}/x") == b"hello"
        assert len(asked) == 3


def test_a_busy_server_says_when_to_come_again():
    store = Store(StoreConfig(private_hosts=True, patience=5))
    with server(busy([503], "1")) as (url, asked):
        started = time.monotonic()
        assert store.read(f"{url}/x") == b"hello"
        assert time.monotonic() - started >= 1
    with server(busy([503], "3600")) as (url, asked):
        started = time.monotonic()
        with pytest.raises(StoreDownError, match="503"):
            store.read(f"{url}/x")
        assert time.monotonic() - started < 3, "an hour is more than there is patience"
        assert len(asked) == 1


def test_a_server_that_was_given_up_is_not_waited_for_object_by_object():
    store = Store(StoreConfig(private_hosts=True, patience=0.5))
    with server(busy([503] * 1000)) as (url, asked):
        with pytest.raises(StoreDownError):
            store.etag(f"{url}/1")
        first = len(asked)
        for number in range(20):
            with pytest.raises(StoreDownError):
                store.etag(f"{url}/{number}")
        assert len(asked) == first + 20, "each is asked for once: perhaps it is the one object that fails"
    with pytest.raises(StoreDownError, match="can't be read"):
        store.read(f"{url}/x")  # it has gone
    with pytest.raises(StoreDownError, match="didn't answer a moment ago"):
        store.read(f"{url}/y")


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
def test_what_a_server_refuses_is_not_asked_for_again(status):
    store = Store(StoreConfig(private_hosts=True, patience=5))
    with server(busy([status] * 5)) as (url, asked):
        with pytest.raises((StorageError, FileNotFoundError)):
            store.read(f"{url}/x")
        assert len(asked) == 1
