"""The one tree of errors: each message says what was wrong, where, and what to do."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pydantic import BaseModel

RejectReason = Literal[
    "zero_bytes", "not_an_image", "truncated", "wrong_bands", "too_small", "too_large", "no_place", "empty"
]
"""Why an object can't be encoded, whatever is tried again:

- ``zero_bytes``: the object has no content.
- ``not_an_image``: its content is none of the image formats that are read.
- ``truncated``: its header is right, its pixels can't be read.
- ``wrong_bands``: a band that is needed is missing, or its values have no declared way to 0..255.
- ``too_small``: smaller than one chip.
- ``too_large``: its header names more pixels than its bytes can hold, or a block too large to decode.
- ``no_place``: chips are measured in metres, and nothing says where it lies.
- ``empty``: no chip of it has enough valid pixels.
"""


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


class BundleError(UserError):
    """A model bundle is missing, incomplete or altered."""


class TableError(UserError):
    """A code table or its published pointer is missing or doesn't fit."""


class StaleIndexError(ScenehashError):
    """A folder doesn't hold the index that is wanted, whole: it is built anew."""


class QueryError(UserError):
    """The query service refused a query, or can't be reached."""


class TrainingError(ScenehashError):
    """A training came to nothing."""


class PictureError(UserError):
    """A picture that was sent as an example can't be one."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        """``code`` is a name that programs can switch on; ``hint`` says what to do."""
        super().__init__(f"{message}; {hint}")
        self.code, self.message, self.hint = code, message, hint


class ReportedError(ScenehashError):
    """A job ended badly, but not without a report."""

    def __init__(self, message: str, report: "BaseModel | None" = None) -> None:
        """``report`` is the job's, which is printed all the same."""
        super().__init__(message)
        self.report = report


class GateError(ReportedError):
    """The new table version failed a check and wasn't published."""

    exit_code = 3


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
