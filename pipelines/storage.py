"""Objects at URIs: the only module that knows S3. Local paths and `s3://` are the same code path.

What lies at `https://` can be read, and no more.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.fs
from botocore.exceptions import BotoCoreError, ClientError
from s3fs import S3FileSystem

from pipelines.config import StoreConfig
from pipelines.errors import ConflictError, StorageError
from pipelines.web import is_web, read_web, web_etag

ABSENT = ""
"""The etag of an object that isn't there, for `Store.write_if_match`."""

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

    def read(self, uri: str) -> bytes:
        """Return an object's content. Raises FileNotFoundError, or StorageError where access fails."""
        if is_web(uri):
            return read_web(uri, private_hosts=self.config.private_hosts)
        filesystem, path = self._resolve(uri)
        try:
            return bytes(filesystem.cat_file(path))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise FileNotFoundError(uri) from error
        except (OSError, BotoCoreError, ClientError) as error:
            raise StorageError(f"{uri} can't be read: {error}") from error

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
        try:
            if isinstance(filesystem, S3FileSystem):
                filesystem.pipe_file(path, content)
            else:
                _replace_file(Path(path), content)
        except (OSError, BotoCoreError, ClientError) as error:
            raise StorageError(f"{uri} can't be written: {error}") from error

    def read_with_etag(self, uri: str) -> tuple[bytes, str]:
        """Return an object's content and its etag. Raises FileNotFoundError, StorageError."""
        filesystem, path = self._resolve(uri)
        if not isinstance(filesystem, S3FileSystem):
            content = self.read(uri)
            return content, _content_etag(content)
        bucket, _, key = path.partition("/")
        try:
            answer = filesystem.call_s3("get_object", Bucket=bucket, Key=key)
            return self._body(filesystem, answer), str(answer["ETag"]).strip('"')
        except (FileNotFoundError, ClientError) as error:
            if isinstance(error, FileNotFoundError) or _error_code(error) in ("NoSuchKey", "404"):
                raise FileNotFoundError(uri) from error
            raise StorageError(f"{uri} can't be read: {error}") from error

    @staticmethod
    def _body(filesystem: S3FileSystem, answer: dict[str, Any]) -> bytes:
        return bytes(fsspec.asyn.sync(filesystem.loop, answer["Body"].read))

    def write_if_match(self, uri: str, content: bytes, etag: str) -> None:
        """Write an object only while its etag is still ``etag`` (`ABSENT`: only while there is none).

        Raises ConflictError where somebody else wrote first, StorageError where access fails.
        """
        filesystem, path = self._resolve(uri)
        if not isinstance(filesystem, S3FileSystem):
            try:
                _replace_file_if(Path(path), content, etag)
            except OSError as error:
                raise StorageError(f"{uri} can't be written: {error}") from error
            return
        bucket, _, key = path.partition("/")
        condition = {"IfMatch": f'"{etag}"'} if etag else {"IfNoneMatch": "*"}
        try:
            filesystem.call_s3("put_object", Bucket=bucket, Key=key, Body=content, **condition)
        except (OSError, ClientError) as error:
            if _error_code(error) in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                raise ConflictError(f"{uri} was changed by somebody else; nothing was written") from error
            raise StorageError(f"{uri} can't be written: {error}") from error

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
        try:
            if isinstance(filesystem, S3FileSystem):
                return _s3_page(filesystem, path, token, flat=flat)
            infos = filesystem.ls(path, detail=True) if filesystem.isdir(path) else []
        except FileNotFoundError:
            infos = []
        except (OSError, BotoCoreError, ClientError) as error:
            raise StorageError(f"{folder} can't be listed: {error}") from error
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
            info = filesystem.info(path)
        except FileNotFoundError:
            return None
        except (OSError, BotoCoreError, ClientError) as error:
            raise StorageError(f"{uri} can't be looked up: {error}") from error
        return str(info["ETag"]).strip('"') if isinstance(filesystem, S3FileSystem) else _file_info(info).etag

    def require_folder(self, prefix: str) -> None:
        """Raise StorageError where a prefix's bucket, or a local folder, doesn't exist."""
        filesystem, path = self._resolve(prefix)
        place = path.split("/")[0] if isinstance(filesystem, S3FileSystem) else path
        try:
            if filesystem.exists(place):
                return
        except (OSError, BotoCoreError, ClientError) as error:
            raise StorageError(f"{prefix} can't be listed: {error}") from error
        raise StorageError(f"{prefix}: no such bucket or folder; check the name, endpoint and keys")

    def require_bucket(self, uri: str) -> None:
        """Raise StorageError where a URI's bucket doesn't exist: before hours of work, not after them."""
        filesystem, path = self._resolve(uri)
        if isinstance(filesystem, S3FileSystem) and not filesystem.exists(path.split("/")[0]):
            raise StorageError(f"{uri}: no such bucket; check the name, endpoint and keys")

    def remove(self, uri: str) -> None:
        """Remove an object; it is no error if there is none. Raises StorageError where access fails."""
        filesystem, path = self._resolve(uri)
        try:
            filesystem.rm_file(path)
        except FileNotFoundError:
            return
        except (OSError, BotoCoreError, ClientError) as error:
            raise StorageError(f"{uri} can't be removed: {error}") from error

    def remove_folder(self, uri: str) -> None:
        """Remove all objects below a prefix; it is no error if there are none."""
        filesystem, path = self._resolve(uri)
        try:
            filesystem.rm(path, recursive=True)
        except FileNotFoundError:
            return
        except (OSError, BotoCoreError, ClientError) as error:
            raise StorageError(f"{uri} can't be removed: {error}") from error

    def arrow_filesystem(self, uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
        """Return pyarrow's file system for a URI and the path in it."""
        filesystem, path = self._resolve(uri)
        if not isinstance(filesystem, S3FileSystem):
            return pyarrow.fs.LocalFileSystem(), path
        endpoint = {"endpoint_override": self.config.endpoint} if self.config.endpoint else {}
        s3 = pyarrow.fs.S3FileSystem(region=self.config.region, anonymous=self.config.anonymous, **endpoint)
        return s3, path

    def delta_options(self) -> dict[str, str]:
        """Return the options that let `deltalake` reach the same store."""
        options = {"region": self.config.region, "conditional_put": "etag"}
        if self.config.endpoint:
            options |= {"endpoint": self.config.endpoint, "allow_http": "true"}
        if self.config.anonymous:
            options["skip_signature"] = "true"
        return options


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


def _error_code(error: BaseException) -> str:
    """Return S3's own code of an error, also where s3fs has turned it into an OSError."""
    cause = error if isinstance(error, ClientError) else error.__cause__
    return str(cause.response["Error"]["Code"]) if isinstance(cause, ClientError) else ""


def _content_etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _replace_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.tmp")  # not hidden: vacuum finds what a kill left
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
