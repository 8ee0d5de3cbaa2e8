"""Why an object store refuses: the name, the endpoint, the key or the right is wrong, by what it answered.

Codes are those of Amazon S3, which other servers send too
(https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html). s3fs and botocore have them as a field,
Delta and Arrow only in the text of their errors.
"""

import re

from botocore.exceptions import (
    ClientError,
    ConfigNotFound,
    ConfigParseError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from pipelines.errors import one_line

_NO_KEYS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)
_BAD_PROFILE = (ProfileNotFound, ConfigNotFound, ConfigParseError)
_FIND_KEYS = (
    "no keys were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; "
    "for a public bucket: --store.anonymous"
)
# where machines of AWS find their keys: Delta asks there if it has found none elsewhere
_ASKED_THE_MACHINE = re.compile(r"http://169\.254\.\d+\.\d+")
_DELTA_CODE = re.compile(r"<Code>(\w+)</Code>")
_DELTA_STATUS = re.compile(r"non-2xx status code\W+(403|404) ")
_DELTA_CALL = re.compile(r"Error performing (list request|[A-Z]+)\b")
_ARROW = re.compile(r"AWS Error ([A-Z_]+) during (\w+) operation")

_RIGHTS = (
    (("list", "headbucket"), "s3:ListBucket for this prefix"),
    (("put", "createmultipart", "uploadpart", "post"), "s3:PutObject"),
    (("delete",), "s3:DeleteObject"),
    (("get", "head"), "s3:GetObject"),
)
_REASONS = {
    "SignatureDoesNotMatch": "the secret key is wrong; check AWS_SECRET_ACCESS_KEY or the profile",
    "InvalidAccessKeyId": (
        "the store doesn't know the access key; check AWS_ACCESS_KEY_ID or the profile, "
        "and that --store.endpoint is the store that the key is for"
    ),
    "ExpiredToken": "the keys have expired; get new ones",
    "InvalidToken": "the session token is wrong; check AWS_SESSION_TOKEN, or leave it out",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "AuthorizationHeaderMalformed": "the region is wrong; check --store.region",
    "PermanentRedirect": "the bucket is in another region; check --store.region and --store.endpoint",
    "NoSuchBucket": "no such bucket; check its name and --store.endpoint",
}
_DENIED = ("AccessDenied", "AllAccessDisabled", "Forbidden", "403")


def refusal(error: BaseException) -> str | None:
    """Return in one line why a store refused and what to do; None if the error is no such refusal."""
    if isinstance(error, _NO_KEYS) or _ASKED_THE_MACHINE.search(str(error)):
        return _FIND_KEYS
    if isinstance(error, _BAD_PROFILE):
        return f"{one_line(error)}; check AWS_PROFILE and the files in ~/.aws"
    code, operation = _answer(error)
    if code in _REASONS:
        return f"{_REASONS[code]} ({code})"
    if code in _DENIED:
        return f"access denied; the key must be allowed {_right(operation)} ({code})"
    return None


def _answer(error: BaseException) -> tuple[str, str]:
    """Return the code that the store sent, and the operation that it refused; empty if it sent none."""
    sent = error if isinstance(error, ClientError) else error.__cause__
    if isinstance(sent, ClientError):
        return str(sent.response["Error"]["Code"]), sent.operation_name
    text = one_line(error)
    if arrow := _ARROW.search(text):
        return "".join(part.capitalize() for part in arrow[1].split("_")), arrow[2]
    code, status, call = (pattern.search(text) for pattern in (_DELTA_CODE, _DELTA_STATUS, _DELTA_CALL))
    found = code or status
    return found[1] if found else "", call[1] if call else ""


def _right(operation: str) -> str:
    name = operation.lower()
    return next((right for starts, right in _RIGHTS if name.startswith(starts)), "this")
