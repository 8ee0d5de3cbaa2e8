"""Calls of a store that is down for a moment: they are repeated while the caller has patience."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx
import structlog
from botocore.exceptions import BotoCoreError, ClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NoConnectionError
from s3fs.core import S3_RETRYABLE_ERRORS
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_before_delay,
    wait_random_exponential,
)

from pipelines.errors import StorageError, StoreDownError, one_line
from pipelines.storage.refusals import refusal
from pipelines.storage.retry_after import retry_after

log = structlog.get_logger()

Answer = TypeVar("Answer")

_STORE_ERRORS = (OSError, BotoCoreError, ClientError, httpx.HTTPError, *S3_RETRYABLE_ERRORS)
_UNREACHED = (
    *(*S3_RETRYABLE_ERRORS, NoConnectionError, IncompleteReadError, ConnectionError),
    *(httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, httpx.ProxyError),
)
_TOO_MANY_REQUESTS = 429
_NEVER = (501, 505)  # not implemented, another version of HTTP: no later answer will differ
# seconds; random, so that clients that were refused together don't come back together
_backoff = wait_random_exponential(multiplier=0.1, min=0.05, max=2.0)


def call_with_retries(problem: str, patience: float, call: Callable[[], Answer]) -> Answer:
    """Return what a call of s3fs, httpx or a local file system returns; repeat it while the store is down.

    A pause between two calls is at least what the server's ``Retry-After`` asks for; else it is random, up to
    a bound that doubles from 0.1 to 2 seconds. No call starts later than ``patience`` [seconds] after the
    first one.

    Raises FileNotFoundError as it is, StoreDownError if patience has run out or the next pause would exceed
    it, StorageError if the store refuses. The messages of the last two begin with ``problem``.
    """

    def warn_once(state: RetryCallState) -> None:
        if state.attempt_number == 1:
            log.warning("the store doesn't answer; trying again", patience=patience, problem=problem)

    retrying = Retrying(
        retry=retry_if_exception(_may_pass),
        wait=_pause,
        stop=stop_before_delay(patience),
        before_sleep=warn_once,
        reraise=True,
    )
    try:
        return retrying(call)
    except FileNotFoundError:
        raise
    except _STORE_ERRORS as error:
        if _may_pass(error):
            raise _down(problem, error) from error
        raise StorageError(f"{problem}: {refusal(error) or one_line(error)}") from error


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, _STORE_ERRORS) and not isinstance(error, FileNotFoundError) and is_down(error)


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return max(_backoff(state), _wanted_pause(error) if error else 0.0)


def is_down(error: BaseException) -> bool:
    """Return whether an error of s3fs or httpx means that the store doesn't answer now, or is busy."""
    if isinstance(error, httpx.HTTPStatusError):
        return is_busy(error.response.status_code)
    cause = error if isinstance(error, ClientError) else error.__cause__
    if isinstance(cause, ClientError):
        return is_busy(cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return isinstance(error, _UNREACHED)


def is_busy(status: int) -> bool:
    """Return whether an HTTP status means that the server can't answer now, but may later."""
    return status == _TOO_MANY_REQUESTS or (status >= 500 and status not in _NEVER)


def _wanted_pause(error: BaseException) -> float:
    """Return the pause that a busy server asks for [seconds], 0 if it asks for none."""
    if isinstance(error, httpx.HTTPStatusError):
        return retry_after(error.response.headers.get("Retry-After", ""), 0.0)
    cause = error if isinstance(error, ClientError) else error.__cause__
    if isinstance(cause, ClientError):
        headers = cause.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return retry_after(headers.get("retry-after", ""), 0.0)
    return 0.0


@contextmanager
def translate_store_errors(uri: str, what: str) -> Iterator[None]:
    """Raise errors of Delta and Arrow as our own. Both have repeated their requests already.

    Raises StoreDownError or StorageError, with a message that begins "``uri`` can't be ``what``".
    """
    problem = f"{uri} can't be {what}"
    try:
        yield
    except (PermissionError, FileNotFoundError) as error:
        raise StorageError(f"{problem}: {refusal(error) or one_line(error)}") from error
    except OSError as error:
        if reason := refusal(error):
            raise StorageError(f"{problem}: {reason}") from error
        # an error of a local disk, such as a full one, has a number; one of the network has none
        if uri.startswith("s3://") and error.errno is None:
            raise _down(problem, error) from error
        raise StorageError(f"{problem}: {one_line(error)}; run again once it can") from error


def _down(problem: str, error: BaseException) -> StoreDownError:
    advice = "check --store.endpoint; " if isinstance(error, NoConnectionError) else ""
    return StoreDownError(f"{problem}: {one_line(error, 300)}; {advice}run again once the store answers")
