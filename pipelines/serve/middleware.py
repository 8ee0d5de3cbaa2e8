"""What stands between every request and its route: HEAD wherever there is GET, and pages of other origins.

Sources: RFC 9110, 9.3.2; CORS protocol, Fetch standard, 3.3.
"""

from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = ("Authorization", "Content-Type", "Content-Encoding", "X-Request-ID")
_EXPOSED = ("Retry-After", "X-Request-ID", "ETag")
_REMEMBERED = 3600  # seconds that a browser needn't ask again


class Heads:
    """ASGI middleware for HEAD. Routes see a GET; what they answer is sent without its body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        scope["method"] = "GET"  # in place: what stands before reads the route in the same scope
        try:
            await self._app(scope, receive, without_body)
        finally:
            scope["method"] = "HEAD"


def cors_options(origins: Sequence[str]) -> dict[str, Any]:
    """Return the options of Starlette's CORSMiddleware that let pages of these origins use every route.

    By default there are none.
    """
    return {
        "allow_origins": list(origins),
        "allow_methods": ["GET", "HEAD", "POST"],
        "allow_headers": list(_HEADERS),
        "expose_headers": list(_EXPOSED),
        "max_age": _REMEMBERED,
    }
