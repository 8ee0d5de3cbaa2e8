"""Objects at URIs: the only module that knows S3. Local paths and `s3://` are the same code path.

What lies at `https://` can be read, and no more.
"""

import fcntl
import hashlib
import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import fsspec
import pyarrow.fs
from botocore.exceptions import BotoCoreError, ClientError
from s3fs import S3FileSystem

from pipelines.config import StoreConfig
from pipelines.errors import ConflictError, StorageError
from pipelines.outage import ask, is_down
from pipelines.web import is_web, read_web, web_etag

Answer = TypeVar("Answer")

_ARROW_PAUSE = 0.025  # seconds, doubled each time (AWS SDK for C++, DefaultRetryStrategy)
_NO_LIMIT = 1_000_000  # tries: their time is limited

ABSENT = ""
"""The etag of an object that isn't there, for `Store.write_if_match`."""

_CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_S3_ETAG = re.compile(r"[0-9a-f]{32}(-\d+)?")
_FILE_ETAG = re.compile(r"\d+\.\d{6}-[0-9a-f]+")


@dataclass(frozen=True)
class ObjectInfo:
    """One listed object."""

    uri: str
    etag: str
    """Changes whenever the content does."""
    size: int
    """Bytes."""
    modified: datetime


@dataclass(frozen=True)
class Page:
    """What one request tells of a folder."""

    objects: list[ObjectInfo]
    folders: list[str]
    """Prefixes of the folders in it, where the listing isn't flat."""
    token: str | None
    """For the page after this one; None: there is none."""


class Store:
    """Reads, writes and lists objects at URIs. Cheap to pickle: clients are opened where they are used."""

    def __init__(self, config: StoreConfig) -> None:
        self.config = config

    def __reduce__(self) -> tuple[type["Store"], tuple[StoreConfig]]:
        return Store, (self.config,)

    @cached_property
    def _s3(self) -> S3FileSystem:
        # listings are never cached: the archive and the pointer change underneath
        return S3FileSystem(
            anon=self.config.anonymous,
            endpoint_url=self.config.endpoint,
            client_kwargs={"region_name": self.config.region},
            use_listings_cache=False,
            config_kwargs={"retries": {"total_max_attempts": 1}},  # `ask` has the patience
        )

    def _resolve(self, uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
        """Return the file system and the path in it. Raises StorageError on an unknown scheme."""
        if uri.startswith("s3://"):
            return self._s3, uri.removeprefix("s3://")
        if "://" in uri and not uri.startswith("file://"):
            raise StorageError(f"{uri}: only s3:// and local paths can be used here")
        local = fsspec.filesystem("file", auto_mkdir=True)
        # not Path.absolute(), which keeps "..": an object must have one name
        return local, os.path.abspath(uri.removeprefix("file://"))  # noqa: PTH100

    def _ask(self, problem: str, call: Callable[..., Answer], *args: Any, **options: Any) -> Answer:  # noqa: ANN401
        return ask(problem, self.config.patience, partial(call, *args, **options))

    def read(self, uri: str) -> bytes:
        """Return an object's content. Raises FileNotFoundError, or StorageError where access fails."""
        if is_web(uri):
            return read_web(uri, private_hosts=self.config.private_hosts)
        filesystem, path = self._resolve(uri)
        try:
            return bytes(self._ask(f"{uri} can't be read", _content_of, filesystem, path))
        except FileNotFoundError as error:
            raise FileNotFoundError(uri) from error

    def read_version(self, uri: str, etag: str) -> bytes:
        """Return an object's content, of the version that was listed with this etag.

        An etag that isn't of the store's own form isn't compared: a source may tell versions apart by other
        means, which say nothing about what the store has.
        Raises FileNotFoundError, or StorageError where access fails or another version is there by now.
        """
        if is_web(uri):
            return read_web(uri, private_hosts=self.config.private_hosts)
        filesystem, path = self._resolve(uri)
        if isinstance(filesystem, S3FileSystem):
            content, found = self.read_with_etag(uri)
            form = _S3_ETAG
        else:
            before = _file_etag(filesystem.info(path))
            content = self.read(uri)
            # a file may be replaced while it is read
            found, form = _file_etag(filesystem.info(path)), _FILE_ETAG
            if found != before:
                raise StorageError(f"{uri} was replaced while it was read")
        if form.fullmatch(etag) and etag != found:
            raise StorageError(f"{uri} was replaced since it was listed: its etag is {found}, not {etag}")
        return content

    def write(self, uri: str, content: bytes) -> None:
        """Write an object, whole or not at all. Raises StorageError where access fails."""
        filesystem, path = self._resolve(uri)
        if isinstance(filesystem, S3FileSystem):
            self._put(uri, filesystem.pipe_file, path, content)
        else:
            self._put(uri, _replace_file, Path(path), content)

    def _put(self, uri: str, call: Callable[..., object], *args: Any, **options: Any) -> None:  # noqa: ANN401
        problem = f"{uri} can't be written"
        try:
            self._ask(problem, call, *args, **options)
        except FileNotFoundError as error:  # no such bucket
            raise StorageError(f"{problem}: {error}") from error

    def read_with_etag(self, uri: str) -> tuple[bytes, str]:
        """Return an object's content and its etag. Raises FileNotFoundError, StorageError."""
        filesystem, path = self._resolve(uri)
        if not isinstance(filesystem, S3FileSystem):
            content = self.read(uri)
            return content, _content_etag(content)
        try:
            return self._ask(f"{uri} can't be read", _s3_object, filesystem, path)
        except FileNotFoundError as error:
            raise FileNotFoundError(uri) from error

    def write_if_match(self, uri: str, content: bytes, etag: str) -> None:
        """Write an object only while its etag is still ``etag`` (`ABSENT`: only while there is none).

        Raises ConflictError where somebody else wrote first, or this very call, whose answer was lost;
        StorageError where access fails.
        """
        filesystem, path = self._resolve(uri)
        if not isinstance(filesystem, S3FileSystem):
            self._put(uri, _replace_file_if, Path(path), content, etag)
            return
        bucket, _, key = path.partition("/")
        condition = {"IfMatch": f'"{etag}"'} if etag else {"IfNoneMatch": "*"}
        put = {"Bucket": bucket, "Key": key, "Body": content} | condition
        try:
            self._put(uri, filesystem.call_s3, "put_object", **put)
        except StorageError as error:
            if _error_code(error.__cause__) in _CONFLICTS:
                raise ConflictError(f"{uri} was changed by somebody else; nothing was written") from error
            raise

    def list(self, prefix: str, *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """Yield the objects below a prefix, or those in this one folder, a page of the listing at a time.

        Raises StorageError where the bucket or folder doesn't exist or can't be listed.
        """
        self.require_folder(prefix)
        waiting: list[tuple[str, str | None]] = [(prefix, None)]
        while waiting:
            folder, token = waiting.pop()
            page = self.page(folder, token, flat=recursive)
            yield from page.objects
            if page.token:
                waiting.append((folder, page.token))
            if recursive:
                waiting += [(below, None) for below in page.folders]

    def page(self, folder: str, token: str | None = None, *, flat: bool = False) -> Page:
        """Return a page of a folder's listing, the one that ``token`` of the page before stands for.

        ``flat`` asks for all that lies below, at whatever depth; local folders are never flat. A folder that
        isn't there lists as an empty one: see `require_folder`. Raises StorageError where it can't be listed.
        """
        filesystem, path = self._resolve(folder)
        problem = f"{folder} can't be listed"
        try:
            if isinstance(filesystem, S3FileSystem):
                return self._ask(problem, _s3_page, filesystem, path, token, flat=flat)
            is_there = filesystem.isdir(path)
            infos = self._ask(problem, filesystem.ls, path, detail=True) if is_there else []
        except FileNotFoundError:
            infos = []
        folders = [info["name"] for info in infos if info["type"] == "directory"]
        files = [info for info in infos if info["type"] != "directory"]
        return Page([_file_info(info) for info in files], folders, None)

    def etag(self, uri: str) -> str | None:
        """Return an object's etag as listings have it, None where there is no such object or it has none.

        Raises StorageError where access fails.
        """
        if is_web(uri):
            return web_etag(uri, private_hosts=self.config.private_hosts)
        filesystem, path = self._resolve(uri)
        try:
            info = self._ask(f"{uri} can't be looked up", filesystem.info, path)
        except FileNotFoundError:
            return None
        return str(info["ETag"]).strip('"') if isinstance(filesystem, S3FileSystem) else _file_info(info).etag

    def require_folder(self, prefix: str) -> None:
        """Raise StorageError where a prefix's bucket, or a local folder, doesn't exist."""
        filesystem, path = self._resolve(prefix)
        is_s3 = isinstance(filesystem, S3FileSystem)
        found = self._has_bucket(prefix) if is_s3 else filesystem.exists(path)
        if not found:
            raise StorageError(f"{prefix}: no such bucket or folder; check the name, endpoint and keys")

    def require_bucket(self, uri: str) -> None:
        """Raise StorageError where a URI's bucket doesn't exist: before hours of work, not after them."""
        if isinstance(self._resolve(uri)[0], S3FileSystem) and not self._has_bucket(uri):
            raise StorageError(f"{uri}: no such bucket; check the name, endpoint and keys")

    def _has_bucket(self, uri: str) -> bool:
        filesystem, path = self._resolve(uri)
        bucket = path.split("/")[0]
        return self._ask(f"{uri} can't be reached", _bucket_answers, filesystem, bucket)

    def remove(self, uri: str) -> None:
        """Remove an object; it is no error if there is none. Raises StorageError where access fails."""
        filesystem, path = self._resolve(uri)
        with suppress(FileNotFoundError):
            self._ask(f"{uri} can't be removed", filesystem.rm_file, path)

    def remove_folder(self, uri: str) -> None:
        """Remove all objects below a prefix; it is no error if there are none."""
        filesystem, path = self._resolve(uri)
        with suppress(FileNotFoundError):
            self._ask(f"{uri} can't be removed", filesystem.rm, path, recursive=True)

    def arrow_filesystem(self, uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
        """Return pyarrow's file system for a URI and the path in it."""
        filesystem, path = self._resolve(uri)
        if not isinstance(filesystem, S3FileSystem):
            return pyarrow.fs.LocalFileSystem(), path
        endpoint = {"endpoint_override": self.config.endpoint} if self.config.endpoint else {}
        tries = max(1, int(math.log2(self.config.patience / _ARROW_PAUSE + 1)))
        s3 = pyarrow.fs.S3FileSystem(
            region=self.config.region,
            anonymous=self.config.anonymous,
            retry_strategy=pyarrow.fs.AwsDefaultS3RetryStrategy(max_attempts=tries),
            **endpoint,
        )
        return s3, path

    def arrow_folder(self, uri: str) -> pyarrow.fs.FileSystem:
        """Return pyarrow's file system whose root is the folder at a URI."""
        filesystem, path = self.arrow_filesystem(uri)
        return pyarrow.fs.SubTreeFileSystem(path, filesystem)

    def delta_options(self) -> dict[str, str]:
        """Return the options that let `deltalake` reach the same store."""
        options = {
            "region": self.config.region,
            "conditional_put": "etag",
            "max_retries": str(_NO_LIMIT),
            "retry_timeout": f"{round(self.config.patience * 1000)}ms",
        }
        if self.config.endpoint:
            options |= {"endpoint": self.config.endpoint, "allow_http": "true"}
        if self.config.anonymous:
            options["skip_signature"] = "true"
        return options


def _content_of(filesystem: fsspec.AbstractFileSystem, path: str) -> bytes:
    try:
        return bytes(filesystem.cat_file(path))
    except IsADirectoryError as error:
        raise FileNotFoundError(path) from error


def _s3_object(filesystem: S3FileSystem, path: str) -> tuple[bytes, str]:
    bucket, _, key = path.partition("/")
    try:
        answer = filesystem.call_s3("get_object", Bucket=bucket, Key=key)
    except ClientError as error:
        if _error_code(error) in ("NoSuchKey", "404"):
            raise FileNotFoundError(path) from error
        raise
    content = bytes(fsspec.asyn.sync(filesystem.loop, answer["Body"].read))
    return content, str(answer["ETag"]).strip('"')


def _bucket_answers(filesystem: S3FileSystem, bucket: str) -> bool:
    """Return whether there is such a bucket; s3fs's own `exists` says no where the store is down, too."""
    for probe in ("head_bucket", "get_bucket_location"):  # a key may be allowed one of them
        try:
            filesystem.call_s3(probe, Bucket=bucket)
        except (OSError, BotoCoreError, ClientError) as error:
            if is_down(error):
                raise
        else:
            return True
    return False


def _s3_page(filesystem: S3FileSystem, path: str, token: str | None, *, flat: bool) -> Page:
    bucket, _, key = path.partition("/")
    options = {"Bucket": bucket, "Prefix": f"{key.rstrip('/')}/" if key else ""}
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
    folders = [f"s3://{bucket}/{item['Prefix']}" for item in answer.get("CommonPrefixes", ())]
    return Page(objects, folders, answer.get("NextContinuationToken"))


def _file_info(info: dict[str, Any]) -> ObjectInfo:
    return ObjectInfo(
        info["name"], _file_etag(info), int(info["size"]), datetime.fromtimestamp(info["mtime"], UTC)
    )


def _file_etag(info: dict[str, Any]) -> str:
    return f"{info['mtime']:.6f}-{info['size']:x}"


def _error_code(error: BaseException | None) -> str:
    """Return S3's own code of an error, also where s3fs has turned it into an OSError."""
    cause = error if isinstance(error, ClientError) or error is None else error.__cause__
    return str(cause.response["Error"]["Code"]) if isinstance(cause, ClientError) else ""


def _content_etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _replace_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # a name of its own for each write: threads share a process, and containers count processes alike.
    # Not hidden: vacuum finds what a kill left
    fresh = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)  # part of a file on a full disk
        raise


def _replace_file_if(path: Path, content: bytes, etag: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        current = _content_etag(path.read_bytes()) if path.exists() else ABSENT
        if current != etag:
            raise ConflictError(f"{path} was changed by somebody else; nothing was written")
        _replace_file(path, content)
