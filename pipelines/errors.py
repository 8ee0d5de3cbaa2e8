"""All errors that are raised on purpose, as one tree. A message says what is wrong, where, and what to do.

The number is the exit code of a job that ends with the error: 1 our fault, 2 the user's, 3 the gate's.

    ScenehashError                1
        UserError                 2    whoever runs the job can put it right
            ConfigError           2
            StorageError          2
                StoreDownError    1
                ReplacedError     2
            BundleError           2
            TableError            2
            QueryError            2    raised by the client of the query service
                InvalidQueryError     2
                UnauthorizedError     2
                NotFoundError         2
                OtherModelError       2
                SnapshotGoneError     2
                UnavailableError      2
            RequestError          2    raised where a request is answered, in the service or in a job
                PictureError      2
                ComparisonError   2
        EncodingError             1
        TrainingError             1
        StaleIndexError           1
        ConflictError             1
        RejectedObject            1
        ReportedError             1    the job failed, but prints a report
            GateError             3
            TrackingError         1
            WatchError            1    or the exit code of the watches' own errors
"""

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pydantic import BaseModel

RejectReason = Literal[
    "zero_bytes", "not_an_image", "truncated", "wrong_bands", "too_small", "too_large", "no_place", "empty"
]
"""Why an object can't be encoded. A reason is permanent: a retry won't help.

- ``zero_bytes``: the object has no content.
- ``not_an_image``: its content is in none of the formats that are read, or names a file to open.
- ``truncated``: its header can be read, its pixels can't.
- ``wrong_bands``: a band that is needed is missing, or nothing declares how its values become 0..255.
- ``too_small``: smaller than one chip.
- ``too_large``: its header claims more pixels than its bytes can hold, or a block too large to decode.
- ``no_place``: chips are measured in metres, and the object doesn't say where on Earth it lies.
- ``empty``: none of its chips has enough valid pixels.
"""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def one_line(error: BaseException, most: int | None = None) -> str:
    """Return an error's message without line breaks and terminal colours, cut to ``most`` characters."""
    return " ".join(_COLOUR.sub("", str(error)).split())[:most]


class ScenehashError(Exception):
    """Root of all errors that are raised on purpose. A job that ends with one exits with ``exit_code``."""

    exit_code = 1


class UserError(ScenehashError):
    """Something that the user can put right: configuration, input, access."""

    exit_code = 2


class ConfigError(UserError):
    """A configuration value is missing, unknown or out of range."""


class StorageError(UserError):
    """A bucket, prefix or object is missing, or access to it is refused."""


class StoreDownError(StorageError):
    """A store didn't answer within the patience that the config allows; later it may."""

    exit_code = 1


class ReplacedError(StorageError):
    """An object was replaced: the version that was asked for has gone."""


class EncodingError(ScenehashError):
    """The cluster couldn't encode a unit. Units committed before stay, and the next run continues."""


class BundleError(UserError):
    """A model bundle is missing, incomplete or altered."""


class TableError(UserError):
    """A code table or its published pointer is missing, or can't be used."""


class StaleIndexError(ScenehashError):
    """A folder doesn't hold the complete index that is wanted; whoever catches this builds it anew."""


class QueryError(UserError):
    """The query service gave no answer. Each subclass asks for another reaction of the caller."""

    def __init__(
        self, message: str, hint: str = "", code: str | None = None, status: int | None = None
    ) -> None:
        """``message`` says what was wrong, ``hint`` what to do.

        ``code`` and HTTP ``status`` are the service's; None if it sent no answer.
        """
        super().__init__(message, hint, code, status)
        self.message, self.hint, self.code, self.status = message, hint, code, status

    def __str__(self) -> str:
        """Return message, code, status and hint on one line."""
        answer = f" ({self.code or 'no code'}, {self.status})" if self.status else ""
        return f"{self.message}{answer}; {self.hint}" if self.hint else f"{self.message}{answer}"


class InvalidQueryError(QueryError):
    """The query itself is wrong: contradictory, out of range, too large, or an image that can't be read."""


class UnauthorizedError(QueryError):
    """The key is missing, wrong, or not allowed to do this."""


class NotFoundError(QueryError):
    """There is no such chip, no chip at this place, or its source image has gone."""


class OtherModelError(QueryError):
    """The query names a model, or has a code of a model, that isn't the one that is served."""


class SnapshotGoneError(QueryError):
    """The service no longer keeps the version of the table that the query or its page token names."""


class UnavailableError(QueryError):
    """The service can't be reached, is too busy, or isn't ready; it may answer later."""


class TrainingError(ScenehashError):
    """A training ended without a bundle."""


class RequestError(UserError):
    """A request can't be answered as it was sent."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        """``code`` names the problem for programs, ``message`` says it, ``hint`` says what to do."""
        super().__init__(f"{message}; {hint}")
        self.code, self.message, self.hint = code, message, hint


class PictureError(RequestError):
    """A picture that was sent as an example can't be used as one."""


class ComparisonError(RequestError):
    """The model's codes can't be compared in the requested way."""


class ReportedError(ScenehashError):
    """A job failed, but has a report to print."""

    def __init__(self, message: str, report: "BaseModel | None" = None) -> None:
        """``report`` is the job's report; it is printed although the job failed."""
        super().__init__(message)
        self.report = report


class GateError(ReportedError):
    """The new table version failed a check and wasn't published."""

    exit_code = 3


class TrackingError(ReportedError):
    """MLflow can't be reached, or refuses. The report says what the job made without it."""


class WatchError(ReportedError):
    """Some watches failed, and the others ran. The exit code is that of the watches' errors."""


class ConflictError(ScenehashError):
    """Another process changed the same object or table first, so nothing was written."""


class RejectedObject(ScenehashError):  # noqa: N818 - a verdict on an object, not a fault
    """An object that can't be encoded; it becomes a row of the rejects table."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: RejectReason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["RejectedObject"], tuple[RejectReason, str]]:
        """Pickle with the arguments of ``__init__``, not with the joined message."""
        return RejectedObject, (self.reason, self.detail)
