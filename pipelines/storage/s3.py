"""Requests to S3 that s3fs has no function for; each function sends one."""

from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
from botocore.exceptions import ClientError
from s3fs import S3FileSystem

from pipelines.errors import StorageError
from pipelines.storage.listings import ObjectInfo, Page
from pipelines.storage.ranges import Piece, Range


def read_object(filesystem: S3FileSystem, path: str) -> tuple[bytes, str]:
    """Return an object's content and etag. Raises FileNotFoundError."""
    bucket, _, key = path.partition("/")
    try:
        answer = filesystem.call_s3("get_object", Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) in ("NoSuchKey", "404"):
            raise FileNotFoundError(path) from error
        raise
    content = bytes(fsspec.asyn.sync(filesystem.loop, answer["Body"].read))
    return content, str(answer["ETag"]).strip('"')


def read_piece(filesystem: S3FileSystem, path: str, wanted: Range, etag: str | None) -> Piece:
    """Return a range of an object, shorter where the object ends. Raises FileNotFoundError.

    ``etag``: the version that it must be of; the store refuses another one with a PreconditionFailed.
    """
    bucket, _, key = path.partition("/")
    start, stop = wanted
    asked = {"Bucket": bucket, "Key": key, "Range": f"bytes={start}-{stop - 1}"}
    if etag is not None:
        asked["IfMatch"] = f'"{etag}"'
    try:
        answer = filesystem.call_s3("get_object", **asked)
    except OSError as error:
        if error_code(error) != "InvalidRange":
            raise
        answer = filesystem.call_s3("head_object", Bucket=bucket, Key=key)
        return Piece(start, b"", str(answer["ETag"]).strip('"'), answer["ContentLength"])
    content = bytes(fsspec.asyn.sync(filesystem.loop, answer["Body"].read))
    # a server that doesn't know ranges sends everything, without Content-Range
    size = int(str(answer.get("ContentRange", f"/{len(content)}")).rpartition("/")[2])
    found = str(answer["ETag"]).strip('"')
    return Piece(start, content if "ContentRange" in answer else content[start:stop], found, size)


def read_info(filesystem: S3FileSystem, path: str) -> ObjectInfo:
    """Return an object's entry in a listing. Raises FileNotFoundError."""
    bucket, _, key = path.partition("/")
    with _reason_of_refusal(filesystem, path):
        answer = filesystem.call_s3("head_object", Bucket=bucket, Key=key)
    etag = str(answer["ETag"]).strip('"')
    return ObjectInfo(f"s3://{path}", etag, answer["ContentLength"], answer["LastModified"])


def read_content(filesystem: S3FileSystem, path: str) -> bytes:
    """Return an object's content, a large one in several requests at a time. Raises FileNotFoundError."""
    with _reason_of_refusal(filesystem, path):
        return bytes(filesystem.cat_file(path))


@contextmanager
def _reason_of_refusal(filesystem: S3FileSystem, path: str) -> Iterator[None]:
    """Raise the store's own reason in place of a bare 403: the answer to HEAD has none, that to GET has."""
    try:
        yield
    except PermissionError as error:
        bucket, _, key = path.partition("/")
        if error_code(error) == "403" and key:
            filesystem.call_s3("get_object", Bucket=bucket, Key=key, Range="bytes=0-0")
        raise


def reach_bucket(filesystem: S3FileSystem, path: str) -> None:
    """Check that a bucket exists; if the key may not ask for it, list the path. Raises FileNotFoundError."""
    try:
        filesystem.call_s3("head_bucket", Bucket=path.partition("/")[0])
    except PermissionError:
        list_one(filesystem, path)


def list_one(filesystem: S3FileSystem, path: str) -> None:
    """List one object below a path: even a key for this prefix alone may do that."""
    bucket, _, key = path.partition("/")
    filesystem.call_s3("list_objects_v2", Bucket=bucket, Prefix=_as_folder(key), MaxKeys=1)


def _as_folder(key: str) -> str:
    """Return a folder's key as the prefix of its content. A folder's name may end in several slashes."""
    return f"{key}/" if key and not key.endswith("/") else key


def read_page(filesystem: S3FileSystem, path: str, token: str | None, *, flat: bool) -> Page:
    """Return a page of a folder's listing: see `Store.page`."""
    bucket, _, key = path.partition("/")
    prefix = _as_folder(key)
    options = {"Bucket": bucket, "Prefix": prefix}
    if token:
        options["ContinuationToken"] = token
    if not flat:
        options["Delimiter"] = "/"
    answer = filesystem.call_s3("list_objects_v2", **options)
    objects = [
        ObjectInfo(
            f"s3://{bucket}/{item['Key']}", str(item["ETag"]).strip('"'), item["Size"], item["LastModified"]
        )
        for item in answer.get("Contents", ())
        if not item["Key"].endswith("/")  # a folder's marker
    ]
    folders = [item["Prefix"] for item in answer.get("CommonPrefixes", ())]
    if any(not folder.startswith(prefix) or folder == prefix for folder in folders):
        raise StorageError(f"s3://{path} can't be listed: the store says that it lies in itself")
    below = [f"s3://{bucket}/{folder}" for folder in folders]
    return Page(objects, below, answer.get("NextContinuationToken"))


def error_code(error: BaseException | None) -> str:
    """Return S3's own error code, also if s3fs has turned the error into an OSError; else an empty text."""
    cause = error if isinstance(error, ClientError) or error is None else error.__cause__
    return str(cause.response["Error"]["Code"]) if isinstance(cause, ClientError) else ""
