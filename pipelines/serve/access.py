"""What stands before every route: no key, no answer; no more of a body than is allowed, and not for ever.

It also measures what passes, and says no to what is too much at a time.
"""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serve.bodies import Body, check_headers
from pipelines.serve.config import ServeConfig
from pipelines.serve.prometheus import RequestMetrics
from pipelines.serve.refusals import QUEUE_FULL, Refusal, respond

_GUARDED, _ADMIN = "/v1/", "/v1/status"
_NO_KEY = Refusal(
    401, "unauthorized", "a valid API key is needed", "send the header 'Authorization: Bearer KEY'"
)
_NOT_ADMIN = Refusal(403, "forbidden", "this key may search, no more", "use a key of the admin role")
_SLOW_BODY = Refusal(408, "slow_body", "the body took too long to arrive", "send it faster, or a smaller one")
_TIMED_OUT = Refusal(503, "timed_out", "the answer took too long", "ask for less, or try again in a moment")


class Gate:
    """ASGI middleware. Key and announced length are checked before the body is read."""

    def __init__(self, app: ASGIApp, config: ServeConfig, metrics: RequestMetrics) -> None:
        """Guard ``/v1/``; see `ServeConfig` for keys and limits."""
        self._app, self._config, self._metrics = app, config, metrics
        self._max_body = int(config.max_upload_mb * 1e6)
        self._ongoing = 0
        self._too_large = Refusal(
            413,
            "too_large",
            f"the body is larger than {self._max_body} bytes",
            "send a smaller image, or a part of it",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        scope["state"] = {**scope.get("state", {}), "started": started}
        status = 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._ongoing += 1
        self._metrics.ongoing(self._ongoing)
        try:
            await self._answer(scope, receive, watched)
        finally:
            self._ongoing -= 1
            self._metrics.ongoing(self._ongoing)
            route = getattr(scope.get("route"), "path", "none")  # never a path of the client's choosing
            self._metrics.answered(route, status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope)
        if refusal is not None:
            self._metrics.refused(refusal.code)
            await respond(refusal)(scope, receive, send)
            return
        deadline = asyncio.timeout(self._config.timeout_seconds)
        answering = False

        async def noted(message: Message) -> None:
            nonlocal answering
            answering = True
            await send(message)

        body = Body(scope, receive, self._max_body, self._too_large)
        try:
            async with deadline:
                await self._app(scope, body.receive, noted)
        except TimeoutError:
            if answering or not deadline.expired():
                raise
            refusal = _TIMED_OUT if body.is_whole else _SLOW_BODY
            self._metrics.refused(refusal.code)
            await respond(refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        """Return why a request isn't let in."""
        headers, path = Headers(scope=scope), scope["path"]
        if path.startswith(_GUARDED) and not self._config.open:
            key_hash = _key_hash(headers)
            admin, reader = (
                _is_among(key_hash, hashes)
                for hashes in (self._config.admin_key_hashes, self._config.key_hashes)
            )
            if not (admin or reader):
                return _NO_KEY
            if path == _ADMIN and not admin:
                return _NOT_ADMIN
        if path.startswith(_GUARDED) and self._ongoing > self._config.max_requests:
            return QUEUE_FULL
        length = headers.get("content-length", "0")
        # what isn't a number is the server's to refuse, before it comes here
        if length.isdecimal() and int(length) > self._max_body:
            return self._too_large
        return check_headers(scope)


def _key_hash(headers: Headers) -> str:
    """Return the hash of the key that a request carries, "" where it carries none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return hashlib.sha256(key.strip().encode()).hexdigest() if scheme.lower() == "bearer" else ""


def _is_among(key_hash: str, known_hashes: Sequence[str]) -> bool:
    # every hash is compared, so that the time taken tells nothing
    return sum(hmac.compare_digest(key_hash, known) for known in known_hashes) > 0
