"""When a call of the API is repeated. Every call only reads, so repeating one does no harm."""

import random
from typing import Any, TypeAlias

import httpx
from pydantic import ValidationError
from tenacity import RetryCallState, stop_after_attempt, stop_before_delay

from pipelines.api.answers import ErrorBody
from pipelines.storage.retry_after import retry_after

MOST_TRIES = 10

Reply: TypeAlias = httpx.Response | httpx.RequestError
"""Of one try: a response of any status, or why there is none."""

_BUSY = (429, 503)
_GATEWAY_ERRORS = (404, 500, 502, 504)
"""From a proxy whose replica has died. Ray Serve's own sends 500; 404 while it has just started itself."""
_FIRST_PAUSE = 0.1  # seconds, if the service doesn't say how long; doubled with each try
_MOST_RECONNECTIONS = 4  # within about a second; more won't help if there is no service at all


def retry_options(patience: float) -> dict[str, Any]:
    """Return the options of tenacity's ``Retrying`` and ``AsyncRetrying`` for calls that return a Reply.

    429 and 503 are repeated after the pause that ``Retry-After`` asks for (RFC 9110, 10.2.3). For about a
    second, so are a connection that fails before the whole answer is there, and a 404, 500, 502 or 504 whose
    body isn't the service's own. Nothing else is repeated, not even a timeout. There are at most `MOST_TRIES`
    tries, and none starts more than ``patience`` seconds after the first. The last reply is returned.
    """
    return {
        "retry": _may_pass,
        "wait": _pause,
        "stop": stop_after_attempt(MOST_TRIES) | stop_before_delay(patience),
        "retry_error_callback": _reply,
    }


def _reply(state: RetryCallState) -> Reply:
    reply: Reply = state.outcome.result() if state.outcome else httpx.RequestError("not tried")
    return reply


def _may_pass(state: RetryCallState) -> bool:
    reply = _reply(state)
    return _is_busy(reply) or (state.attempt_number <= _MOST_RECONNECTIONS and _is_lost(reply))


def _pause(state: RetryCallState) -> float:
    reply = _reply(state)
    pause: float = _FIRST_PAUSE * 2 ** (state.attempt_number - 1)
    if isinstance(reply, httpx.Response) and _is_busy(reply):
        pause = retry_after(reply.headers.get("Retry-After", ""), pause)
    return pause * random.uniform(1, 1.1)  # noqa: S311 - calls refused together come back apart


def _is_busy(reply: Reply) -> bool:
    return isinstance(reply, httpx.Response) and reply.status_code in _BUSY


def _is_lost(reply: Reply) -> bool:
    """Return whether the service may not have received the call, or may have died while it answered."""
    if isinstance(reply, httpx.RequestError):
        return isinstance(reply, httpx.NetworkError | httpx.RemoteProtocolError)
    if reply.status_code not in _GATEWAY_ERRORS:
        return False
    try:
        ErrorBody.model_validate_json(reply.content)
    except ValidationError:
        return True
    return False
