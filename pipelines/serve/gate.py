"""What stands before every route: no key, no answer; and no more of a body is read than is allowed."""

import hashlib
import hmac
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serve.refusals import Refusal, RefusedRequest, respond

_GUARDED = "/v1/"
_NO_KEY = Refusal(
    401, "unauthorized", "a valid API key is needed", "send the header 'Authorization: Bearer KEY'"
)


class Gate:
    """ASGI middleware. Both checks come before the body is read, whatever the route would do with it."""

    def __init__(self, app: ASGIApp, key_hashes: Sequence[str], max_body: int) -> None:
        """Guard ``/v1/`` with these keys (sha256 in hex; none: open); bodies end at ``max_body`` bytes."""
        self._app = app
        self._key_hashes = key_hashes
        self._max_body = max_body
        self._too_large = Refusal(
            413,
            "too_large",
            f"the body is larger than {max_body} bytes",
            "send a smaller image, or a part of it",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._key_hashes and scope["path"].startswith(_GUARDED) and not self._is_known(headers):
            await respond(_NO_KEY)(scope, receive, send)
        elif int(headers.get("content-length") or 0) > self._max_body:
            await respond(self._too_large)(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(key.strip().encode()).hexdigest()
        # every hash is compared, so that the time taken tells nothing
        known = [hmac.compare_digest(digest, key_hash) for key_hash in self._key_hashes]
        return scheme.lower() == "bearer" and any(known)

    def _counted(self, receive: Receive) -> Receive:
        """Count a body that doesn't announce its length."""
        total = 0

        async def counted() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > self._max_body:
                raise RefusedRequest(self._too_large)
            return message

        return counted
