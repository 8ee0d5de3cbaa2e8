"""When a call is tried again: every call of the API only asks, so asking twice does no harm."""

import random
import time

import httpx
from pydantic import ValidationError

from pipelines.api.answers import ErrorBody
from pipelines.storage.retry_after import retry_after

MOST_TRIES = 10

_BUSY = (429, 503)
_BETWEEN = (500, 502, 504)  # of a proxy whose replica has died; Serve's own says 500
_FIRST_PAUSE = 0.1  # seconds, where the service doesn't say how long; doubled each time
_LAST_RECONNECTION = 1.0  # seconds: no longer pause before a new connection, as nothing may be there at all


class Tries:
    """The tries of one call.

    Tried again are 429 and 503, after the time that ``Retry-After`` names (RFC 9110, 10.2.3); and, over about
    a second, a connection that fails before the whole answer is there, and a 500, 502 or 504 that isn't in
    the service's own words. Nothing else is, a timeout neither. Never more than `MOST_TRIES` in all, and none
    that would start more than ``patience`` seconds after the first.
    """

    def __init__(self, patience: float) -> None:
        self._count, self._started, self._patience = 0, time.monotonic(), patience

    def pause(self, outcome: httpx.Response | httpx.RequestError) -> float | None:
        """Return for how many seconds to wait before the next try, None where the outcome stands."""
        self._count += 1
        pause = _wanted_pause(outcome, _FIRST_PAUSE * 2 ** (self._count - 1))
        if pause is None or self._count == MOST_TRIES:
            return None
        pause += random.uniform(0, 0.1 * pause)  # noqa: S311 - so that those refused together don't return together
        left = self._started + self._patience - time.monotonic()
        return pause if pause <= left else None


def _wanted_pause(outcome: httpx.Response | httpx.RequestError, default: float) -> float | None:
    if isinstance(outcome, httpx.Response) and outcome.status_code in _BUSY:
        return retry_after(outcome.headers.get("Retry-After", ""), default)
    return default if _is_lost(outcome) and default <= _LAST_RECONNECTION else None


def _is_lost(outcome: httpx.Response | httpx.RequestError) -> bool:
    """Return whether the service may never have heard of the call, or has died over it."""
    if isinstance(outcome, httpx.RequestError):
        return isinstance(outcome, httpx.NetworkError | httpx.RemoteProtocolError)
    if outcome.status_code not in _BETWEEN:
        return False
    try:
        ErrorBody.model_validate_json(outcome.content)
    except ValidationError:
        return True
    return False
