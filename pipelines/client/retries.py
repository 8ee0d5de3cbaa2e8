"""When a call is tried again: every call of the API only asks, so asking twice does no harm."""

import random
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

MOST_TRIES = 10

_BUSY = (429, 503)
_FIRST_PAUSE = 0.1  # seconds, where the service doesn't say how long; doubled each time
_LAST_RECONNECTION = 1.0  # seconds: no longer pause before a new connection, as nothing may be there at all


class Tries:
    """The tries of one call.

    Tried again are 429 and 503, after the time that ``Retry-After`` names (RFC 9110, 10.2.3), and a
    connection that fails before the whole answer is there, over about a second; nothing else, a timeout
    neither. Never more than `MOST_TRIES` in all, and none that would start more than ``patience`` seconds
    after the first.
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
    if isinstance(outcome, httpx.NetworkError | httpx.RemoteProtocolError):
        return default if default <= _LAST_RECONNECTION else None
    if isinstance(outcome, httpx.Response) and outcome.status_code in _BUSY:
        return _retry_after(outcome.headers.get("Retry-After", ""), default)
    return None


def _retry_after(value: str, default: float) -> float:
    """Return the seconds that the header names, as such or as a date; ``default`` where it is neither."""
    if value.isdecimal():
        return float(value[:9])  # 30 years are long enough
    try:
        until = parsedate_to_datetime(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return default
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
