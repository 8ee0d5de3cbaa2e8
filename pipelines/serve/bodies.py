"""Bodies of requests: checks their media type, limits their size, and unpacks gzip."""

import zlib
from dataclasses import replace

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope

from pipelines.api.requests import SearchRequest
from pipelines.serve.refusals import Refusal, RefusedRequest

_IMAGE_PATHS = ("/v1/search/image", "/v1/encode")
_JSON_PATHS = ("/v1/search", "/v1/search/batch", "/v1/search/grid", "/v1/changes")
_GZIP = ("gzip", "x-gzip")
_GZIP_FORMAT = 16 + zlib.MAX_WBITS

_RAW_IMAGE = (
    "send the picture's bytes alone as the body: curl --data-binary @picture.png -H 'Content-Type: image/png'"
)
_AS_JSON = "send a JSON object with the header 'Content-Type: application/json', as curl --json does"
_TO_IMAGE_PATH = "pictures go to POST /v1/search/image, their bytes alone as the body"
_TO_SEARCH = "queries in JSON go to POST /v1/search, pictures here"
_BINARY = "curl -d alters what it sends: use curl --data-binary @picture.png"

SEARCH_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": f"#/components/schemas/{SearchRequest.__name__}"}}
        },
    }
}
"""Of `POST /v1/search`, for its description: FastAPI doesn't see what `parse_search` reads."""

_BAD_GZIP = Refusal(
    400, "bad_gzip", "the body isn't whole gzip", "send it without Content-Encoding, or pack it again"
)


def header(scope: Scope, name: bytes, default: str = "") -> str:
    """Return a header of a request; the HTTP server has put the names in lower case.

    Starlette's `Headers` encodes the name anew for each header that it compares it with.
    """
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), default)


def media_type(scope: Scope) -> str:
    """Return the media type of a request's Content-Type, without parameters; "" if it has none."""
    return header(scope, b"content-type").partition(";")[0].strip().lower()


def path_of(scope: Scope) -> str:
    """Return a request's path below the one where this app is mounted, as routes see it.

    Source: ASGI's HTTP scope, ``root_path`` and ``path``, which begins with it.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path[len(root) :] if root and path.startswith(f"{root}/") else path


def check_headers(scope: Scope) -> Refusal | None:
    """Return why the route can't take a body with these headers; None if it can."""
    path, encoding = path_of(scope), header(scope, b"content-encoding", "identity").strip().lower()
    if encoding not in (*_GZIP, "identity", ""):
        message = f"Content-Encoding {encoding[:40]} isn't read"
        return Refusal(415, "unknown_encoding", message, "send the body as it is, or as gzip")
    if scope["method"] != "POST" or path not in (*_IMAGE_PATHS, *_JSON_PATHS):
        return None
    kind = media_type(scope)
    is_json = kind.endswith(("/json", "+json"))
    is_form = kind.startswith("multipart/")
    shown = kind[:100]
    if path in _IMAGE_PATHS:
        if is_form or is_json:
            message = f"the body is {shown}, not a picture"
            return Refusal(415, "not_an_image", message, _TO_SEARCH if is_json else _RAW_IMAGE)
        return None
    if is_json:
        return None
    is_picture = is_form or kind.startswith("image/") or kind == "application/octet-stream"
    message = f"the body is {shown}, not JSON" if kind else "the body has no Content-Type"
    return Refusal(415, "not_json", message, _TO_IMAGE_PATH if is_picture else _AS_JSON)


def with_hint(refusal: Refusal, scope: Scope) -> Refusal:
    """Return the refusal of an image, with a better hint if ``curl -d`` sent the image, which damages it."""
    if media_type(scope) == "application/x-www-form-urlencoded" and refusal.status == 415:
        return replace(refusal, hint=_BINARY)
    return refusal


def parse_search(body: bytes) -> SearchRequest:
    """Return the search in a request's body. Raises RequestValidationError as FastAPI does.

    FastAPI's own way, by Python objects and its dependencies, would take as long as a quick search.
    """
    try:
        return SearchRequest.model_validate_json(body)
    except ValidationError as error:
        details = [{**detail, "loc": ("body", *detail["loc"])} for detail in error.errors()]
        raise RequestValidationError(details) from error


class Body:
    """Receives a request's body: counts its bytes, as the length may be missing, and unpacks gzip."""

    is_whole = False
    """Whether all of the body has arrived"""

    def __init__(self, scope: Scope, receive: Receive, max_body: int, too_large: Refusal) -> None:
        """Refuse a body of more than ``max_body`` bytes, packed or unpacked, with ``too_large``."""
        self._receive, self._max_body, self._too_large = receive, max_body, too_large
        self._total = 0
        encoding = header(scope, b"content-encoding").strip().lower()
        self._unpacker = _Unpacker() if encoding in _GZIP else None

    async def receive(self) -> Message:
        """Return the next ASGI message. Raises RefusedRequest if the body is too large, or damaged gzip."""
        message = await self._receive()
        content = message.get("body", b"")
        is_last = message["type"] == "http.request" and not message.get("more_body", False)
        self.is_whole |= is_last
        if self._unpacker is not None and message["type"] == "http.request":
            content = self._unpacker.unpack(content, self._max_body + 1 - self._total, is_last=is_last)
            message = {**message, "body": content}
        self._total += len(content)
        if self._total > self._max_body:
            raise RefusedRequest(self._too_large)
        return message


class _Unpacker:
    """Unpacks gzip piece by piece. A file may have several members (RFC 1952, 2.2)."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_FORMAT)

    def unpack(self, packed: bytes, most: int, *, is_last: bool) -> bytes:
        """Return at most ``most`` unpacked bytes of a piece. Raises RefusedRequest on damaged gzip."""
        unpacked = bytearray()
        try:
            while packed and len(unpacked) < most:
                if self._member.eof:
                    self._member = zlib.decompressobj(_GZIP_FORMAT)
                unpacked += self._member.decompress(packed, most - len(unpacked))
                packed = self._member.unused_data or self._member.unconsumed_tail
        except zlib.error as error:
            raise RefusedRequest(_BAD_GZIP) from error
        if is_last and len(unpacked) < most and not self._member.eof:
            raise RefusedRequest(_BAD_GZIP)
        return bytes(unpacked)
