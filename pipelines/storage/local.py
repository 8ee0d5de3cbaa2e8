"""Files of this machine. Only regular ones are read: a pipe or a device would block its reader for ever."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pipelines.errors import ReplacedError, StorageError
from pipelines.runtime.threads import mapped_ahead
from pipelines.storage.listings import ObjectInfo, PassedOver
from pipelines.storage.ranges import Piece, Range

_FOLDERS = 16  # read at a time
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # the years 1 to 9999, in seconds since 1970

Identity = tuple[int, int]
"""Device and inode of a folder: the same for all paths that lead to it."""


@dataclass
class Folder:
    """The content of one folder."""

    files: list[ObjectInfo] = field(default_factory=list)
    folders: list[tuple[str, Identity]] = field(default_factory=list)
    linked: list[tuple[str, Identity]] = field(default_factory=list)
    """Folders that symbolic links lead to, by the path of the link."""
    passed_over: PassedOver = field(default_factory=PassedOver)


def read_file(path: str) -> bytes:
    """Return a file's content. Raises what `require_regular` raises."""
    with _opened(path) as file:
        return file.read()


def read_pieces(path: str, wanted: Sequence[Range]) -> list[Piece]:
    """Return ranges of a file, shorter ones where it ends.

    Raises what `require_regular` raises, and ReplacedError if the file is written meanwhile.
    """
    with _opened(path) as file:
        before = _info(path, os.fstat(file.fileno()))
        pieces = [
            Piece(start, os.pread(file.fileno(), stop - start, start), before.etag, before.size)
            for start, stop in wanted
        ]
        if _info(path, os.fstat(file.fileno())).etag != before.etag:
            raise ReplacedError(f"{path} was replaced while it was read")
        return pieces


def _opened(path: str) -> BinaryIO:
    require_regular(path)
    # non-blocking: a pipe may have taken the file's place since
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise StorageError(f"{path} was replaced while it was opened")
    return file


def require_regular(path: str) -> None:
    """Raise FileNotFoundError if there is no such file, StorageError if it is a pipe, socket or device."""
    mode = Path(path).stat().st_mode
    if stat.S_ISDIR(mode):
        raise FileNotFoundError(path)
    if not stat.S_ISREG(mode):
        raise StorageError(f"{path} is a pipe, a socket or a device: only regular files are read")


def file_info(path: str) -> ObjectInfo:
    """Return a file's entry in a listing; a link counts as the file it leads to. Raises FileNotFoundError."""
    return _info(path, Path(path).stat())


def scan(folder: str) -> Folder:
    """Return a folder's content by name; empty if it doesn't exist. Raises OSError if it can't be read."""
    found = Folder()
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                _add(found, entry)
    except (FileNotFoundError, NotADirectoryError):
        return Folder()
    return found


def walk(root: str) -> Iterator[Folder]:
    """Yield a folder and all folders below it, each once, in the same order each time.

    Symbolic links to folders are followed after all other folders. A folder that was reached already, by its
    own path or by another link, is passed over, so circles end.
    """
    try:
        status = Path(root).stat()
    except FileNotFoundError:
        return
    waiting = [(root, (status.st_dev, status.st_ino))]
    linked: list[tuple[str, Identity]] = []
    seen: set[Identity] = set()
    while waiting or linked:
        if not waiting:
            waiting, linked = sorted(linked), []
        repeated, level = Folder(), []
        for path, identity in waiting:
            if identity in seen:
                repeated.passed_over.add("listed_already", path, "leads to a folder that is listed already")
            else:
                seen.add(identity)
                level.append(path)
        yield repeated
        waiting = []
        for folder in mapped_ahead(scan, level, _FOLDERS):
            waiting += folder.folders
            linked += folder.linked
            yield folder


def _add(found: Folder, entry: "os.DirEntry[str]") -> None:
    """Add an entry of a folder to the list that it belongs to."""
    is_link = entry.is_symlink()
    try:
        entry.name.encode()
        status = entry.stat()
    except UnicodeEncodeError:
        found.passed_over.add("not_utf8", entry.path, "its name isn't UTF-8; rename it")
        return
    except OSError as error:
        if is_link:
            found.passed_over.add("broken_link", entry.path, f"a link that leads nowhere ({error.strerror})")
            return
        if isinstance(error, FileNotFoundError):  # removed in the meantime
            return
        raise
    if stat.S_ISDIR(status.st_mode):
        folders = found.linked if is_link else found.folders
        folders.append((entry.path, (status.st_dev, status.st_ino)))
    elif stat.S_ISREG(status.st_mode):
        found.files.append(_info(entry.path, status))
    else:
        found.passed_over.add("no_regular_file", entry.path, "a pipe, a socket or a device")


def _info(path: str, status: os.stat_result) -> ObjectInfo:
    etag = f"{status.st_mtime:.6f}-{status.st_size:x}"
    modified = datetime.fromtimestamp(min(max(status.st_mtime, _FIRST), _LAST), UTC)
    return ObjectInfo(path, etag, status.st_size, modified)
