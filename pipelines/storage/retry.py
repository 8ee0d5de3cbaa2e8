"""A store that is down for a moment: it is asked again, for as long as one has patience."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx
import structlog
from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NoConnectionError
from s3fs.core import S3_RETRYABLE_ERRORS

from pipelines.errors import StorageError, StoreDownError, one_line
from pipelines.storage.retry_after import retry_after

log = structlog.get_logger()

Answer = TypeVar("Answer")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds, doubled each time
_TOO_MANY_REQUESTS = 429
_UNREACHED = (
    *(*S3_RETRYABLE_ERRORS, NoConnectionError, IncompleteReadError, ConnectionError),
    *(httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, httpx.ProxyError),
)
_NEVER = (501, 505)  # not implemented, another version of HTTP: no later answer will differ


def ask(problem: str, patience: float, call: Callable[[], Answer]) -> Answer:
    """Return what a call of s3fs, httpx or a local file system gives; while the store is down, call it again.

    Pauses are as long as ``Retry-After`` asks for, or else double from a tenth of a second to two seconds.
    Raises FileNotFoundError as it is, StoreDownError once ``patience`` [seconds] has run out, or would before
    the next call, StorageError where the store refuses; their message begins with ``problem``.
    """
    until, pause = time.monotonic() + patience, _FIRST_PAUSE
    while True:
        try:
            return call()
        except FileNotFoundError:
            raise
        except (OSError, BotoCoreError, ClientError, httpx.HTTPError, *S3_RETRYABLE_ERRORS) as error:
            if not is_down(error):
                raise StorageError(f"{problem}: {one_line(error)}") from error
            # drawn by lot, so that not all come back together
            wait = max(random.uniform(pause / 2, pause), _wanted_pause(error))  # noqa: S311
            if time.monotonic() + wait > until:
                raise _down(problem, error) from error
            if pause == _FIRST_PAUSE:
                log.warning("the store doesn't answer; trying again", patience=patience, problem=problem)
        time.sleep(wait)
        pause = min(2 * pause, _LONGEST_PAUSE)


def is_down(error: BaseException) -> bool:
    """Return whether an error of s3fs or httpx says that the store doesn't answer now, or is busy."""
    if isinstance(error, httpx.HTTPStatusError):
        return is_busy(error.response.status_code)
    cause = error if isinstance(error, ClientError) else error.__cause__
    if isinstance(cause, ClientError):
        return is_busy(cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return isinstance(error, _UNREACHED)


def is_busy(status: int) -> bool:
    """Return whether a status of HTTP says that the server can't answer now, and may later."""
    return status == _TOO_MANY_REQUESTS or (status >= 500 and status not in _NEVER)


def _wanted_pause(error: BaseException) -> float:
    """Return the seconds that a busy server asks for, 0 where it names none."""
    if isinstance(error, httpx.HTTPStatusError):
        return retry_after(error.response.headers.get("Retry-After", ""), 0.0)
    cause = error if isinstance(error, ClientError) else error.__cause__
    if isinstance(cause, ClientError):
        headers = cause.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return retry_after(headers.get("retry-after", ""), 0.0)
    return 0.0


@contextmanager
def told(uri: str, what: str) -> Iterator[None]:
    """Tell of Delta's and Arrow's errors, which have asked again themselves, as of the store's.

    Raises StoreDownError, StorageError: ``uri`` can't be ``what``.
    """
    try:
        yield
    except (PermissionError, FileNotFoundError) as error:
        raise StorageError(f"{uri} can't be {what}: {one_line(error)}") from error
    except OSError as error:
        problem = f"{uri} can't be {what}"
        if (
            uri.startswith("s3://") and error.errno is None
        ):  # a disk's errors, such as a full one, have a number
            raise _down(problem, error) from error
        raise StorageError(f"{problem}: {one_line(error)}; run again once it can") from error


def _down(problem: str, error: BaseException) -> StoreDownError:
    return StoreDownError(f"{problem}: {one_line(error)}; run again once the store answers")
