"""Middleware before every route: checks keys, limits requests in size, time and number, and counts them."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serve.bodies import Body, check_headers, header, path_of
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


class AccessMiddleware:
    """ASGI middleware. It checks the key and the Content-Length before the body is read."""

    def __init__(self, app: ASGIApp, config: ServeConfig, metrics: RequestMetrics) -> None:
        """Guard the paths below ``/v1/`` with the keys and limits of ``config``."""
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

        async def send_and_note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._ongoing += 1
        self._metrics.ongoing(self._ongoing)
        try:
            await self._answer(scope, receive, send_and_note_status)
        finally:
            self._ongoing -= 1
            self._metrics.ongoing(self._ongoing)
            # not the request's own path: clients could make up any number of metrics
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.answered(route, status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope)
        if refusal is not None:
            self._metrics.refused(refusal.code)
            await respond(refusal)(scope, receive, send)
            return
        deadline = asyncio.timeout(self._config.timeout_seconds)
        has_begun = False

        async def send_and_note_start(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        body = Body(scope, receive, self._max_body, self._too_large)
        try:
            async with deadline:
                await self._app(scope, body.receive, send_and_note_start)
        except TimeoutError:
            if has_begun or not deadline.expired():
                raise
            refusal = _TIMED_OUT if body.is_whole else _SLOW_BODY
            self._metrics.refused(refusal.code)
            await respond(refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        """Return why a request is refused before its body is read; None if it isn't."""
        path = path_of(scope)
        if path.startswith(_GUARDED) and not self._config.open:
            key_hash = _key_hash(scope)
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
        length = header(scope, b"content-length", "0")
        # the HTTP server has already refused a length that isn't a number
        if length.isdecimal() and int(length) > self._max_body:
            return self._too_large
        return check_headers(scope)


def _key_hash(scope: Scope) -> str:
    """Return the SHA-256 of a request's key [hex digits], "" if it has none."""
    scheme, _, key = header(scope, b"authorization").partition(" ")
    return hashlib.sha256(key.strip().encode()).hexdigest() if scheme.lower() == "bearer" else ""


def _is_among(key_hash: str, known_hashes: Sequence[str]) -> bool:
    # compare with every hash, so that the time taken reveals nothing about the keys
    return sum(hmac.compare_digest(key_hash, known) for known in known_hashes) > 0
