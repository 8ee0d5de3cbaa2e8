"""The page at `/` and the description at `/docs`, with all files that they consist of.

They come from the service itself, so that a browser asks no other host. ``make page`` builds them of `web/`
into `built_page/`, each file with a packed copy (`.gz`) beside it. Addresses in them are relative, so that a
proxy may put the service below any path.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from pipelines.serve.refusals import Refusal, RefusedRequest

BUILT = Path(__file__).with_name("built_page")
_HTML = {"/": "index.html", "/docs": "docs.html"}
_FOR_YEARS = "public, max-age=31536000, immutable"  # the name of an asset holds a hash of its content

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "worker-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' blob: data:",
    "style-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_LEFT_OUT = Refusal(
    404,
    "no_page",
    "this service runs without its page (--no-page); the API works without it",
    "start the service without --no-page to have it; /openapi.json describes the API",
)
_NOT_BUILT = Refusal(
    404,
    "page_not_built",
    "the page isn't built in this checkout; the API works without it",
    "build it with `make page`, and start the service again",
)


@dataclass(frozen=True)
class File:
    """A built file as it is sent."""

    content: bytes
    packed: bytes | None
    """The content as gzip; None where that is no smaller"""
    media_type: str
    etag: str


def add_page(router: APIRouter, *, wanted: bool) -> None:
    """Add the page's routes. Where it isn't wanted, or isn't built, they say so and how to get it."""
    for path, name in _HTML.items():
        _add(router, path, name, wanted=wanted)
    for name in ("favicon.svg", "licences.txt"):
        _add(router, f"/{name}", name, wanted=wanted)

    def asset(name: str, request: Request) -> Response:
        """Return one of the files that the page consists of."""
        return _respond(f"assets/{name}", request, _FOR_YEARS, wanted=wanted)

    router.get("/assets/{name}", include_in_schema=False)(asset)


def _add(router: APIRouter, path: str, name: str, *, wanted: bool) -> None:
    def file(request: Request) -> Response:
        return _respond(name, request, "no-cache", wanted=wanted)

    router.get(path, include_in_schema=False)(file)


def _respond(name: str, request: Request, caching: str, *, wanted: bool) -> Response:
    """Return a file, or 304 if the client has it. Raises RefusedRequest if there is no such file."""
    files = built_files()
    if not wanted or not files:
        raise RefusedRequest(_NOT_BUILT if wanted else _LEFT_OUT)
    file = files.get(name)
    if file is None:
        message = f"the page has no file {name}"
        raise RefusedRequest(Refusal(404, "no_such_path", message, "load the page again: it may be newer"))
    headers = HEADERS | {"Cache-Control": caching, "ETag": file.etag, "Vary": "Accept-Encoding"}
    known = request.headers.get("if-none-match", "")
    if file.etag in {each.strip().removeprefix("W/") for each in known.split(",")}:
        return Response(status_code=304, headers=headers)
    if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        headers |= {"Content-Encoding": "gzip"}
        return Response(file.packed, headers=headers, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)


@cache
def built_files() -> dict[str, File]:
    """Return the built files by path; none if the page isn't built."""
    if not (BUILT / _HTML["/"]).is_file():
        return {}
    paths = [path for path in sorted(BUILT.rglob("*")) if path.is_file() and path.suffix != ".gz"]
    return {path.relative_to(BUILT).as_posix(): _read(path) for path in paths}


def _read(path: Path) -> File:
    content, packed = path.read_bytes(), path.with_name(f"{path.name}.gz")
    media_type = _MEDIA_TYPES.get(path.suffix, "application/octet-stream")
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return File(content, packed.read_bytes() if packed.is_file() else None, media_type, etag)


# not those of the machine: some know no .mjs, and a module with a wrong type isn't run
_MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
