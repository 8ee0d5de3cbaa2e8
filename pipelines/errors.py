"""The one tree of errors: each message says what was wrong, where, and what to do."""

import re
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pydantic import BaseModel

RejectReason = Literal[
    "zero_bytes", "not_an_image", "truncated", "wrong_bands", "too_small", "too_large", "no_place", "empty"
]
"""Why an object can't be encoded, whatever is tried again:

- ``zero_bytes``: the object has no content.
- ``not_an_image``: its content is none of the formats that are read, or would have a file opened.
- ``truncated``: its header is right, its pixels can't be read.
- ``wrong_bands``: a band that is needed is missing, or its values have no declared way to 0..255.
- ``too_small``: smaller than one chip.
- ``too_large``: its header names more pixels than its bytes can hold, or a block too large to decode.
- ``no_place``: chips are measured in metres, and nothing says where it lies.
- ``empty``: no chip of it has enough valid pixels.
"""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def one_line(error: BaseException, most: int | None = None) -> str:
    """Return an error's message without line breaks and colours, ``most`` characters of it at most."""
    return " ".join(_COLOUR.sub("", str(error)).split())[:most]


class ScenehashError(Exception):
    """Root of all errors raised on purpose. A job that ends with one exits with ``exit_code``."""

    exit_code = 1


class UserError(ScenehashError):
    """Something that whoever runs the job can put right: configuration, input, access."""

    exit_code = 2


class ConfigError(UserError):
    """A configuration value is missing, unknown or out of range."""


class StorageError(UserError):
    """A bucket, prefix or object is missing, or access to it is refused."""


class StoreDownError(StorageError):
    """A store doesn't answer, for as long as there was patience; later it may."""

    exit_code = 1


class ReplacedError(StorageError):
    """An object isn't the version any more that was asked for."""


class EncodingError(ScenehashError):
    """The cluster couldn't encode a unit; what was committed before stands, and the next run goes on."""


class BundleError(UserError):
    """A model bundle is missing, incomplete or altered."""


class TableError(UserError):
    """A code table or its published pointer is missing or doesn't fit."""


class StaleIndexError(ScenehashError):
    """A folder doesn't hold the index that is wanted, whole: it is built anew."""


class QueryError(UserError):
    """The query service gave no answer. A kind of its own stands for each thing that callers do about it."""

    def __init__(
        self, message: str, hint: str = "", code: str | None = None, status: int | None = None
    ) -> None:
        """Say what was wrong and what to do; ``code`` and HTTP ``status`` are the service's, if it spoke."""
        super().__init__(message, hint, code, status)
        self.message, self.hint, self.code, self.status = message, hint, code, status

    def __str__(self) -> str:
        """Return all of it on one line."""
        spoke = f" ({self.code or 'no code'}, {self.status})" if self.status else ""
        return f"{self.message}{spoke}; {self.hint}" if self.hint else f"{self.message}{spoke}"


class InvalidQueryError(QueryError):
    """The query must be another one: contradictory, out of range, too large, no image that is read."""


class UnauthorizedError(QueryError):
    """The key is missing or wrong, or may not do this."""


class NotFoundError(QueryError):
    """No such chip, no chip at this place, or its source has gone."""


class OtherModelError(QueryError):
    """The query names a model, or has a code of a model, that isn't the one being served."""


class SnapshotGoneError(QueryError):
    """The version of the table that was asked for, or that the pages so far are of, is no longer kept."""


class UnavailableError(QueryError):
    """The service can't be reached, is too busy, or isn't ready: later it may answer."""


class TrainingError(ScenehashError):
    """A training came to nothing."""


class RequestError(UserError):
    """What was asked can't be answered as it stands."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        """``code`` is a name that programs can switch on; ``hint`` says what to do."""
        super().__init__(f"{message}; {hint}")
        self.code, self.message, self.hint = code, message, hint


class PictureError(RequestError):
    """A picture that was sent as an example can't be one."""


class ComparisonError(RequestError):
    """The model's codes can't be compared in the way that was asked for."""


class ReportedError(ScenehashError):
    """A job ended badly, but not without a report."""

    def __init__(self, message: str, report: "BaseModel | None" = None) -> None:
        """``report`` is the job's, which is printed all the same."""
        super().__init__(message)
        self.report = report


class GateError(ReportedError):
    """The new table version failed a check and wasn't published."""

    exit_code = 3


class TrackingError(ReportedError):
    """MLflow can't be reached, or refuses. The report says what the job has made all the same."""


class WatchError(ReportedError):
    """Some watches failed; the others ran. Its exit code is theirs."""


class ConflictError(ScenehashError):
    """Somebody else changed the same thing first: nothing was written."""


class RejectedObject(ScenehashError):  # noqa: N818 - a verdict on an object, not a fault
    """An object that can't be encoded; ends as a row of the rejects table."""

    def __init__(self, reason: RejectReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: RejectReason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type["RejectedObject"], tuple[RejectReason, str]]:
        """Pickle by its own arguments, not by the joined message."""
        return RejectedObject, (self.reason, self.detail)
