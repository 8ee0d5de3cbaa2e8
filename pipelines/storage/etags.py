"""Etags: which of them can be compared, and what differs then."""

import re

from pipelines.errors import ReplacedError

_OF_FILE = re.compile(r"\d+\.\d{6}-[0-9a-f]+")  # as `local` makes them
_OF_S3 = re.compile(r"[0-9a-f]{32}(-\d+)?")  # a hash of all content, or of an upload in so many parts


def require_version(uri: str, etag: str, found: str, *, is_strict: bool) -> None:
    """Raise ReplacedError if two etags have the same form and differ.

    ``is_strict``: all etags of S3 have one form, whatever number of parts the object was uploaded in.
    """
    known, now = (_form(each, is_strict=is_strict) for each in (etag, found))
    if etag != found and known == now is not None:
        raise ReplacedError(f"{uri} was replaced since it was listed: its etag is {found}, not {etag}")


def _form(etag: str, *, is_strict: bool) -> str | None:
    """Return the form of a store's etag, None for other etags; only etags of one form can be compared."""
    if _OF_FILE.fullmatch(etag):
        return "file"
    of_s3 = _OF_S3.fullmatch(etag)
    if of_s3 is None:
        return None
    return "s3" if is_strict else f"s3 in {of_s3[1]} parts"
