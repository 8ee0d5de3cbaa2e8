"""Objects at URIs: `s3://` and local paths behind one interface; `https://` can only be read.

Only this module, `s3.py`, `s3_reads.py` and `etags.py` know S3.
"""

import fcntl
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import fsspec
import pyarrow.fs
from s3fs import S3FileSystem

from pipelines.config import StoreConfig
from pipelines.errors import ConfigError, ConflictError, ReplacedError, StorageError, one_line
from pipelines.runtime.threads import mapped_ahead
from pipelines.storage import local, s3
from pipelines.storage.etags import require_version
from pipelines.storage.listings import ObjectInfo, Page, Trail
from pipelines.storage.local import Folder, file_info, read_file, require_regular, scan, walk
from pipelines.storage.ranges import ObjectRanges, Piece, Range, Reading
from pipelines.storage.refusals import refusal
from pipelines.storage.retry import call_with_retries
from pipelines.storage.s3_reads import S3Reads
from pipelines.storage.web import read_web, read_web_piece, web_etag
from pipelines.uris import absolute, is_web

Answer = TypeVar("Answer")

_ARROW_PAUSE = 0.025  # seconds, doubled each time (AWS SDK for C++, DefaultRetryStrategy)
_REQUESTS = 16  # for ranges of an object, at a time
_NO_LIMIT = 1_000_000  # tries; their total time is limited instead

ABSENT = ""
"""The etag of an object that doesn't exist, for `Store.write_if_match`."""

_CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")


class Store:
    """Reads, writes and lists objects at URIs. Cheap to pickle: each process opens its own connections."""

    def __init__(self, config: StoreConfig) -> None:
        self.config = config

    def __reduce__(self) -> tuple[type["Store"], tuple[StoreConfig]]:
        return Store, (self.config,)

    @cached_property
    def _s3(self) -> S3FileSystem:
        # listings are never cached: the archive and the pointer change in the meantime
        return S3FileSystem(
            anon=self.config.anonymous,
            endpoint_url=self.config.endpoint,
            client_kwargs={"region_name": self.config.region},
            use_listings_cache=False,
            requester_pays=self.config.requester_pays,
            config_kwargs={"retries": {"total_max_attempts": 1}},  # `call_with_retries` repeats calls
        )

    @cached_property
    def _s3_reads(self) -> S3Reads:
        return S3Reads(self.config)

    def _resolve(self, uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
        """Return a URI's file system and its path there. Raises StorageError for names that can't be used."""
        try:
            name = absolute(uri)
        except ConfigError as error:
            raise StorageError(str(error)) from error
        if name.startswith("s3://"):
            return self._s3, name.removeprefix("s3://")
        if is_web(name):
            raise StorageError(f"{uri}: only s3:// and local paths can be used here")
        return fsspec.filesystem("file", auto_mkdir=True), name

    def _call(self, problem: str, call: Callable[..., Answer], *args: Any, **options: Any) -> Answer:  # noqa: ANN401
        return call_with_retries(problem, self.config.patience, partial(call, *args, **options))

    def read(self, uri: str) -> bytes:
        """Return an object's content. Raises FileNotFoundError, or StorageError if access fails."""
        if is_web(uri):
            return read_web(uri, private_hosts=self.config.private_hosts, patience=self.config.patience)
        filesystem, path = self._resolve(uri)
        call = partial(s3.read_content, filesystem) if isinstance(filesystem, S3FileSystem) else read_file
        try:
            return bytes(self._call(f"{uri} can't be read", call, path))
        except FileNotFoundError as error:
            raise _missing(uri, error) from error

    def open_version(self, uri: str, etag: str, reading: Reading) -> bytes | ObjectRanges:
        """Return an object that is still the version with this etag: its content, or ranges of it if large.

        All ranges are of one version. Etags are compared only if both have the same form: a source may tell
        versions apart by other means, or know the etag of a copy that was uploaded in other parts, unless
        ``reading`` is strict.
        Raises FileNotFoundError, ReplacedError if another version is there now, StorageError if access fails.
        """
        (first,) = self._pieces(uri, None, [(0, reading.first)])
        if not is_web(uri):
            require_version(uri, etag, first.etag, is_strict=reading.is_strict)
        if first.size <= len(first.content):
            return first.content
        if first.size <= reading.whole:
            (rest,) = self._pieces(uri, first.etag, [(len(first.content), first.size)])
            return first.content + rest.content
        return ObjectRanges(uri, first, partial(self._pieces, uri, first.etag), reading)

    def open_ranges(self, uri: str, reading: Reading) -> ObjectRanges:
        """Return an object as it is now, to read ranges of it. Raises FileNotFoundError, StorageError."""
        (first,) = self._pieces(uri, None, [(0, reading.first)])
        return ObjectRanges(uri, first, partial(self._pieces, uri, first.etag), reading)

    def _pieces(self, uri: str, etag: str | None, wanted: Sequence[Range]) -> list[Piece]:
        """Return ranges of an object, of the version with this etag if it is given."""
        replaced = f"{uri} was replaced while it was read: its etag isn't {etag} any more"
        try:
            pieces = self._fetch(uri, etag, wanted)
        except FileNotFoundError as error:
            raise _missing(uri, error) from error
        except StorageError as error:
            if s3.error_code(error.__cause__) in _CONFLICTS:
                raise ReplacedError(replaced) from error
            raise
        if etag is not None and any(piece.etag != etag for piece in pieces):
            raise ReplacedError(replaced)
        return pieces

    def _fetch(self, uri: str, etag: str | None, wanted: Sequence[Range]) -> list[Piece]:
        if is_web(uri):
            hosts, patience = self.config.private_hosts, self.config.patience
            read = partial(read_web_piece, uri, private_hosts=hosts, patience=patience)
        else:
            filesystem, path = self._resolve(uri)
            if not isinstance(filesystem, S3FileSystem):
                return self._call(f"{uri} can't be read", local.read_pieces, path, wanted)
            read = partial(self._s3_piece, uri, filesystem, path, etag)
        if len(wanted) == 1:
            return [read(wanted[0])]
        return list(mapped_ahead(read, wanted, min(len(wanted), _REQUESTS)))

    def _s3_piece(
        self, uri: str, filesystem: S3FileSystem, path: str, etag: str | None, wanted: Range
    ) -> Piece:
        piece = self._s3_reads.read(path, wanted, etag)
        if piece is not None:
            return piece
        return self._call(f"{uri} can't be read", s3.read_piece, filesystem, path, wanted, etag)

    def write(self, uri: str, content: bytes) -> None:
        """Write an object completely or not at all. Raises StorageError if access fails."""
        filesystem, path = self._resolve(uri)
        if isinstance(filesystem, S3FileSystem):
            self._put(uri, filesystem.pipe_file, path, content)
        else:
            self._put(uri, _replace_file, Path(path), content)

    def _put(self, uri: str, call: Callable[..., object], *args: Any, **options: Any) -> None:  # noqa: ANN401
        problem = f"{uri} can't be written"
        try:
            self._call(problem, call, *args, **options)
        except FileNotFoundError as error:
            raise StorageError(f"{problem}: {refusal(error) or one_line(error)}") from error

    def read_with_etag(self, uri: str) -> tuple[bytes, str]:
        """Return an object's content and its etag. Raises FileNotFoundError, StorageError."""
        filesystem, path = self._resolve(uri)
        if not isinstance(filesystem, S3FileSystem):
            content = self.read(uri)
            return content, _content_etag(content)
        try:
            return self._call(f"{uri} can't be read", s3.read_object, filesystem, path)
        except FileNotFoundError as error:
            raise _missing(uri, error) from error

    def write_if_match(self, uri: str, content: bytes, etag: str) -> None:
        """Write an object only if its etag is still ``etag`` (`ABSENT`: only if there is no object).

        Raises ConflictError if another process wrote first, and also if this very call did, its answer was
        lost and it was repeated; StorageError if access fails.
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
            if s3.error_code(error.__cause__) in _CONFLICTS:
                raise ConflictError(f"{uri} was changed by somebody else; nothing was written") from error
            raise

    def list(self, prefix: str, *, recursive: bool = True) -> Iterator[ObjectInfo]:
        """Yield the objects below a prefix, or only those directly in it, one page of the listing at a time.

        Raises StorageError if the bucket or folder doesn't exist or can't be listed.
        """
        for page in self.pages(prefix, recursive=recursive):
            yield from page.objects

    def pages(self, prefix: str, *, recursive: bool = True) -> Iterator[Page]:
        """Yield the pages of a listing, one request after the other: see `list`."""
        self.require_folder(prefix)
        filesystem, path = self._resolve(prefix)
        if not isinstance(filesystem, S3FileSystem):
            yield from self._walk(prefix, path) if recursive else iter([self.page(prefix)])
            return
        trail, token = Trail(prefix), None
        while True:
            page = self.page(prefix, token, flat=recursive)
            trail.step(prefix, page)
            yield page
            token = page.token
            if token is None:
                return

    def _walk(self, prefix: str, path: str) -> Iterator[Page]:
        folders = walk(path)
        while found := self._call(f"{prefix} can't be listed", next, folders, None):
            yield _page_of(found)

    def page(self, folder: str, token: str | None = None, *, flat: bool = False) -> Page:
        """Return one page of a folder's listing: the first, or the one after a page with this ``token``.

        ``flat`` asks for all objects below the folder, at any depth; local folders are never listed flat. The
        listing of a folder that doesn't exist is empty (see `require_folder`). Raises StorageError if the
        folder can't be listed.
        """
        filesystem, path = self._resolve(folder)
        problem = f"{folder} can't be listed"
        if not isinstance(filesystem, S3FileSystem):
            return _page_of(self._call(problem, scan, path))
        try:
            return self._call(problem, s3.read_page, filesystem, path, token, flat=flat)
        except FileNotFoundError:
            return Page([], [], None)

    def etag(self, uri: str) -> str | None:
        """Return an object's etag as listings have it; None if there is no such object or it has no etag.

        Raises StorageError if access fails.
        """
        if is_web(uri):
            return web_etag(uri, private_hosts=self.config.private_hosts, patience=self.config.patience)
        info = self.info(uri)
        return info.etag if info else None

    def info(self, uri: str) -> ObjectInfo | None:
        """Return an object's entry in a listing, None if there is no such object. Not for web addresses.

        Raises StorageError if access fails, or if it is a pipe, a socket or a device.
        """
        filesystem, path = self._resolve(uri)
        call = partial(s3.read_info, filesystem) if isinstance(filesystem, S3FileSystem) else _regular_info
        try:
            return self._call(f"{uri} can't be looked up", call, path)
        except FileNotFoundError:
            return None

    def require_folder(self, prefix: str) -> None:
        """Raise StorageError if a prefix's bucket or a local folder doesn't exist or can't be listed."""
        filesystem, path = self._resolve(prefix)
        if isinstance(filesystem, S3FileSystem):
            self._require(prefix, partial(s3.list_one, filesystem, path))
        elif not Path(path).exists():
            raise StorageError(f"{prefix}: no such folder; check the name")

    def require_bucket(self, uri: str) -> None:
        """Raise StorageError if a URI's bucket doesn't exist: before hours of work, not after them."""
        filesystem, path = self._resolve(uri)
        if isinstance(filesystem, S3FileSystem):
            self._require(uri, partial(s3.reach_bucket, filesystem, path))

    def _require(self, uri: str, call: Callable[[], object]) -> None:
        try:
            self._call(f"{uri} can't be reached", call)
        except FileNotFoundError as error:
            where = self.config.endpoint or f"AWS in {self.config.region}"
            raise StorageError(
                f"{uri}: no such bucket at {where}; check its name and the endpoint"
            ) from error
        except StorageError as error:
            if "access denied" not in str(error) or self.config.requester_pays:
                raise
            raise StorageError(f"{error}; if the bucket's requesters pay: --store.requester-pays") from error

    def remove(self, uri: str) -> None:
        """Remove an object; no error if there is none. Raises StorageError if access fails."""
        filesystem, path = self._resolve(uri)
        with suppress(FileNotFoundError):
            self._call(f"{uri} can't be removed", filesystem.rm_file, path)

    def remove_folder(self, uri: str) -> None:
        """Remove all objects below a prefix; no error if there are none. Raises StorageError as `remove`."""
        filesystem, path = self._resolve(uri)
        with suppress(FileNotFoundError):
            self._call(f"{uri} can't be removed", filesystem.rm, path, recursive=True)

    def arrow_filesystem(self, uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
        """Return pyarrow's file system for a URI, and its path there."""
        filesystem, path = self._resolve(uri)
        if not isinstance(filesystem, S3FileSystem):
            if Path(path).exists() and not Path(path).is_dir():
                require_regular(path)
            return pyarrow.fs.LocalFileSystem(), path
        if self.config.requester_pays:  # Arrow's own file system has no such option
            return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(self._s3)), path
        endpoint = {"endpoint_override": self.config.endpoint} if self.config.endpoint else {}
        tries = max(1, int(math.log2(self.config.patience / _ARROW_PAUSE + 1)))
        of_arrow = pyarrow.fs.S3FileSystem(
            region=self.config.region,
            anonymous=self.config.anonymous,
            retry_strategy=pyarrow.fs.AwsDefaultS3RetryStrategy(max_attempts=tries),
            **endpoint,
        )
        return of_arrow, path

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
        if self.config.requester_pays:
            options["request_payer"] = "true"
        return options


def _missing(uri: str, error: FileNotFoundError) -> FileNotFoundError | StorageError:
    """Return the error for an object that isn't there; StorageError if there isn't even its bucket."""
    reason = refusal(error)
    return StorageError(f"{uri} can't be read: {reason}") if reason else FileNotFoundError(uri)


def _regular_info(path: str) -> ObjectInfo:
    require_regular(path)
    return file_info(path)


def _page_of(folder: Folder) -> Page:
    below = [path for path, _ in folder.folders + folder.linked]
    return Page(folder.files, below, None, folder.passed_over)


def _content_etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _replace_file(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # a unique name for each write: threads share a process id, and so may processes of two containers.
    # Not hidden, so that vacuum finds the file after a kill
    fresh = path.with_name(f"{path.name}.{uuid4().hex}.tmp")
    try:
        fresh.write_bytes(content)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)  # a partial file, on a full disk
        raise


def _replace_file_if(path: Path, content: bytes, etag: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        current = _content_etag(path.read_bytes()) if path.exists() else ABSENT
        if current != etag:
            raise ConflictError(f"{path} was changed by somebody else; nothing was written")
        _replace_file(path, content)
