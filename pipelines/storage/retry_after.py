"""The header ``Retry-After`` (RFC 9110, 10.2.3): when a busy server wants to be asked again."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def retry_after(value: str, default: float) -> float:
    """Return how long to wait [seconds]: the header is a number of seconds or a date, else ``default``."""
    if value.isdecimal():
        return float(value[:9])  # 30 years are long enough
    try:
        until = parsedate_to_datetime(value).astimezone(UTC)
    except (ValueError, OverflowError):
        return default
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
