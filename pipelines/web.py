"""What web servers have, read and no more: within limits, and not from this network's own machines.

Whoever writes a STAC item or a manifest names addresses that the workers open. So an address that leads to a
private network, or to the worker itself, is refused unless `StoreConfig.private_hosts` lets it; link-local
ones, where clouds keep their machines' credentials, always are. That holds for each step of a redirect.
"""

import ipaddress
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx

from pipelines.errors import StorageError

MOST_BYTES = 4 << 30
"""Largest object that is read from the web."""

_SECONDS = 60.0  # without a word from the server
_MOST_SECONDS = 1800.0  # for the whole of an object
_REDIRECTS = 5


def is_web(uri: str) -> bool:
    """Return whether a URI is a web address."""
    return uri.startswith(("https://", "http://"))


def read_web(uri: str, *, private_hosts: bool) -> bytes:
    """Return what lies at an address.

    Raises FileNotFoundError where nothing does, StorageError where it can't or mustn't be read, or is larger
    or slower than anything honest.
    """
    content = bytearray()
    give_up = time.monotonic() + _MOST_SECONDS
    try:
        with _opened("GET", uri, private_hosts=private_hosts) as answer:
            if answer.status_code in (404, 410):
                raise FileNotFoundError(uri)
            answer.raise_for_status()
            for part in answer.iter_bytes():
                content += part
                if len(content) > MOST_BYTES:
                    raise StorageError(f"{uri} has more than {MOST_BYTES} bytes, the most that is read")
                if time.monotonic() > give_up:
                    raise StorageError(
                        f"{uri} can't be read: not all there after {_MOST_SECONDS:.0f} seconds"
                    )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StorageError(f"{uri} can't be read: {error}") from error
    return bytes(content)


def web_etag(uri: str, *, private_hosts: bool) -> str | None:
    """Return the etag of what lies at an address, else when it was modified; None where neither is told.

    Raises StorageError where the server can't or mustn't be asked.
    """
    try:
        with _opened("HEAD", uri, private_hosts=private_hosts) as answer:
            etag = answer.headers.get("etag", answer.headers.get("last-modified"))
            return str(etag).strip('"') if answer.is_success and etag else None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StorageError(f"{uri} can't be looked up: {error}") from error


@contextmanager
def _opened(method: str, uri: str, *, private_hosts: bool) -> Iterator[httpx.Response]:
    """Yield the answer to a request, its body not read yet; redirects are followed."""
    with httpx.Client(timeout=_SECONDS) as client:
        request = client.build_request(method, uri)
        for _ in range(_REDIRECTS + 1):
            check_address(str(request.url), private_hosts=private_hosts)
            answer = client.send(request, stream=True)
            with closing(answer):
                if answer.next_request is None:
                    yield answer
                    return
            request = answer.next_request
    raise StorageError(f"{uri} leads on more than {_REDIRECTS} times")


def check_address(url: str, *, private_hosts: bool) -> None:
    """Raise StorageError where an address leads to where it mustn't. An unknown name leads nowhere."""
    host = httpx.URL(url).host
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return  # the request says why
    for *_, address in found:
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        if ip.is_link_local:
            raise StorageError(f"{url} leads to {ip}, a link-local address: nothing is read from there")
        if not (private_hosts or ip.is_global):
            raise StorageError(
                f"{url} leads to {ip}, in a private network; if your imagery is there: --store.private-hosts"
            )
