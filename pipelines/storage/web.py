"""Objects on web servers: they are only read, within limits, and not from private networks.

The author of a STAC item or a manifest names addresses that the workers open. So an address in a private
network, or of the worker itself, is refused unless `StoreConfig.private_hosts` allows it. Link-local
addresses, where clouds keep the credentials of their machines, are always refused. Each step of a redirect is
checked in the same way.

Requests to a server that is busy (429, 5xx) or can't be reached are repeated, as for S3
(`pipelines.storage.retry`).
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from typing import Any, TypeVar

import httpx

from pipelines.errors import StorageError, StoreDownError
from pipelines.storage.ranges import Piece, Range
from pipelines.storage.retry import call_with_retries, is_busy

Answer = TypeVar("Answer")

MOST_BYTES = 4 << 30
"""Largest object that is read from the web."""

_TIMEOUT = httpx.Timeout(60.0, connect=10.0)  # seconds without a byte, and until a connection stands

_MOST_SECONDS = 1800.0  # for a whole object
_REDIRECTS = 5
_GONE = (404, 410)
_PARTIAL, _BEYOND = 206, 416  # a range, and one that lies beyond the end
_GRACE = 60.0  # seconds in which nothing waits again for a server that ran out of patience

_given_up: dict[str, tuple[float, bool]] = {}
"""Servers for which patience ran out: when (monotonic seconds), and whether they answered at all."""


def read_web(uri: str, *, private_hosts: bool, patience: float = 0) -> bytes:
    """Return the content at an address; requests to a busy server are repeated for ``patience`` seconds.

    Raises FileNotFoundError if there is nothing, StoreDownError if the server doesn't answer, StorageError if
    the content can't or must not be read, or exceeds `MOST_BYTES` or half an hour.
    """

    def call() -> bytes:
        with _opened("GET", uri, private_hosts=private_hosts) as answer:
            if answer.status_code in _GONE:
                raise FileNotFoundError(uri)
            answer.raise_for_status()
            return _content(answer, uri)

    return _call_server(f"{uri} can't be read", uri, patience, call)


def read_web_piece(uri: str, wanted: Range, *, private_hosts: bool, patience: float = 0) -> Piece:
    """Return a range of what is at an address; all of it if the server doesn't know ranges.

    Its etag is that of `web_etag`, "" if there is none. Raises what `read_web` raises.
    """
    start, stop = wanted
    # identity: a range of compressed content would be of other bytes
    asked = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}

    def call() -> Piece:
        with _opened("GET", uri, private_hosts=private_hosts, headers=asked) as answer:
            if answer.status_code in _GONE:
                raise FileNotFoundError(uri)
            etag, stated = _version(answer.headers) or "", answer.headers.get("Content-Range", "")
            size = stated.rpartition("/")[2]
            if answer.status_code == _BEYOND and size.isdecimal():
                return Piece(start, b"", etag, int(size))
            answer.raise_for_status()
            content = _content(answer, uri)
            if answer.status_code != _PARTIAL:
                return Piece(0, content, etag, len(content))
            if not (size.isdecimal() and stated.startswith(f"bytes {start}-")):
                raise StorageError(f"{uri} can't be read: {stated!r} isn't the range that was asked for")
            return Piece(start, content[: stop - start], etag, int(size))

    return _call_server(f"{uri} can't be read", uri, patience, call)


def web_etag(uri: str, *, private_hosts: bool, patience: float = 0) -> str | None:
    """Return the etag of the content at an address, else its time; None if the server sends neither.

    Raises StoreDownError if the server doesn't answer, StorageError if the address must not be opened.
    """

    def call() -> str | None:
        for method in ("HEAD", "GET"):  # a server may refuse HEAD; the body of GET isn't read
            with _opened(method, uri, private_hosts=private_hosts) as answer:
                if answer.is_success:
                    return _version(answer.headers)
                if answer.status_code in _GONE:
                    return None
                if is_busy(answer.status_code):
                    answer.raise_for_status()
        return None  # refused; an attempt to read the object will say why

    return _call_server(f"{uri} can't be looked up", uri, patience, call)


def web_client() -> httpx.Client:
    """Return a client with timeouts; close it after use."""
    return httpx.Client(timeout=_TIMEOUT, verify=_trusted())


def request_json(
    client: httpx.Client,
    method: str,
    url: str,
    patience: float,
    **options: Any,  # noqa: ANN401 - httpx's
) -> httpx.Response:
    """Return a web API's answer to a request, with its body; requests to a busy server are repeated.

    ``options`` are those of ``httpx.Client.build_request``. Redirects must stay on the host of ``url``; the
    limits of `read_web` apply. Raises StoreDownError if the server doesn't answer, StorageError if it
    redirects to another host or the answer exceeds a limit.
    """
    host = httpx.URL(url).host

    def call() -> httpx.Response:
        request = client.build_request(method, url, **options)
        with _sent(client, request, private_hosts=True, host=host) as answer:
            if is_busy(answer.status_code):
                answer.raise_for_status()
            return httpx.Response(answer.status_code, content=_content(answer, url), request=request)

    return _call_server(f"{url} can't be reached", url, patience, call)


@cache
def _trusted() -> ssl.SSLContext:
    """Return the trusted certificates. Cached: to read them takes longer than a request."""
    return httpx.create_ssl_context()


def _call_server(problem: str, uri: str, patience: float, call: Callable[[], Answer]) -> Answer:
    """Call with retries, but without them if patience ran out for this server within the last minute.

    Otherwise each of many objects of a dead server would cost the whole patience again.
    """
    try:
        server = httpx.URL(uri).netloc.decode()
    except httpx.InvalidURL as error:
        raise StorageError(f"{problem}: {error}") from error
    since, spoke = _given_up.get(server, (float("-inf"), True))
    is_recent = time.monotonic() - since < _GRACE
    if is_recent and not spoke:
        raise StoreDownError(f"{problem}: {server} didn't answer a moment ago; run again once it does")
    try:
        found = call_with_retries(problem, 0 if is_recent else patience, call)
    except StoreDownError as error:
        _given_up[server] = time.monotonic(), isinstance(error.__cause__, httpx.HTTPStatusError)
        raise
    _given_up.pop(server, None)
    return found


def _version(headers: httpx.Headers) -> str | None:
    """Return an object's version: its etag without quotes, or else its time; None if neither is sent."""
    found = headers.get("etag") or headers.get("last-modified")
    return found.removeprefix("W/").strip('"') if found else None


def _content(answer: httpx.Response, uri: str) -> bytes:
    content = bytearray()
    give_up = time.monotonic() + _MOST_SECONDS
    for part in answer.iter_bytes():
        content += part
        if len(content) > MOST_BYTES:
            raise StorageError(f"{uri} has more than {MOST_BYTES} bytes, the most that is read")
        if time.monotonic() > give_up:
            raise StorageError(f"{uri} can't be read: not all there after {_MOST_SECONDS:.0f} seconds")
    return bytes(content)


@contextmanager
def _opened(
    method: str, uri: str, *, private_hosts: bool, headers: Mapping[str, str] | None = None
) -> Iterator[httpx.Response]:
    """Yield the answer to a request, with its body unread; redirects are followed."""
    with (
        web_client() as client,
        _sent(
            client, client.build_request(method, uri, headers=headers), private_hosts=private_hosts
        ) as answer,
    ):
        yield answer


@contextmanager
def _sent(
    client: httpx.Client, request: httpx.Request, *, private_hosts: bool, host: str | None = None
) -> Iterator[httpx.Response]:
    """Yield the answer to a request, with its body unread; redirects must stay on ``host`` if given."""
    first = request.url
    for _ in range(_REDIRECTS + 1):
        if host is not None and request.url.host != host:
            raise StorageError(f"{first} leads on to {request.url}, another host: give the API's own address")
        check_address(str(request.url), private_hosts=private_hosts)
        answer = client.send(request, stream=True)
        with closing(answer):
            if answer.next_request is None:
                yield answer
                return
        request = answer.next_request
    raise StorageError(f"{first} leads on more than {_REDIRECTS} times")


def check_address(url: str, *, private_hosts: bool) -> None:
    """Raise StorageError if an address leads to a host that must not be read. Unknown names pass."""
    host = httpx.URL(url).host
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return  # the request itself will fail, and say why
    for *_, address in found:
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if ip.is_link_local:
            raise StorageError(f"{url} leads to {ip}, a link-local address: nothing is read from there")
        if not (private_hosts or ip.is_global):
            raise StorageError(
                f"{url} leads to {ip}, in a private network; if your imagery is there: --store.private-hosts"
            )
