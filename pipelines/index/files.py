"""The folder of an index: arrays that are mapped when it is opened. When in doubt it is built anew.

The manifest is written last. It names every file with its size and checksum, so that a folder written in part
is not taken for an index, and what the index was built from, so that no other index is taken for it.
"""

import errno
import fcntl
import glob
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import StaleIndexError

FORMAT_VERSION = 8
_MANIFEST = "manifest.json"
_PIECE, _PIECES = 1 << 20, 64  # bytes of a piece, and pieces of a file, that its checksum covers
_READERS = 4
_BELONGING = re.compile(r"\.(.+)\.(?:lock|\w{8}(?:\.old)?)")  # the names that `building` and `mkdtemp` give

Arrays = dict[str, NDArray[Any]]


@contextmanager
def building(folder: Path) -> Iterator[None]:
    """Be the only process of this machine that builds a folder; others wait until it is done.

    What a process has left that was killed while it built the folder is removed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = _lock_of(folder)
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _is_at(path, lock):
                continue  # it was removed with its folder while this process waited
            _remove_unfinished(folder)
            yield
            return


def remove_others(parent: Path, prefix: str, kept: Sequence[str]) -> None:
    """Remove all folders whose names begin so but the ``kept`` ones, with their locks and unfinished parts.

    A folder that another process builds or opens stays. Mapped files stay readable.
    """
    present = {_folder_name(path.name) for path in parent.iterdir()}
    for name in sorted(present - set(kept)):
        if name.startswith(prefix):
            _remove(parent / name)


def _remove(folder: Path) -> None:
    path = _lock_of(folder)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if _is_at(path, lock):
            _remove_unfinished(folder)
            shutil.rmtree(folder, ignore_errors=True)
            path.unlink()


def _remove_unfinished(folder: Path) -> None:
    for path in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
        if _folder_name(path.name) == folder.name and path != _lock_of(folder):
            shutil.rmtree(path, ignore_errors=True)


def _lock_of(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.lock"


def _is_at(path: Path, lock: IO[str]) -> bool:
    """Return whether an open lock is the file at a path: it may have been removed, and made anew."""
    try:
        return path.stat().st_ino == os.fstat(lock.fileno()).st_ino
    except FileNotFoundError:
        return False


def _folder_name(name: str) -> str:
    """Return the name of the folder that a file or folder belongs to: a lock, an unfinished part, itself."""
    belonging = _BELONGING.fullmatch(name)
    return belonging[1] if belonging else name


def write_folder(
    folder: Path, write_files: Callable[[Path], Mapping[str, NDArray[Any]]], source: Mapping[str, object]
) -> None:
    """Write a folder, in place of whatever is there; ``source`` says what it is built from.

    ``write_files`` writes files of its own into the new folder, and returns the arrays to write beside them.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for name, array in write_files(new).items():
            np.save(new / f"{name}.npy", array)
        files = {path.name: _describe(path, sync=True) for path in sorted(new.iterdir())}
        manifest = {"format_version": FORMAT_VERSION, "source": dict(source), "files": files}
        (new / _MANIFEST).write_text(json.dumps(manifest, indent=1))
        _move(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _move(new: Path, folder: Path) -> None:
    """Move a folder to its place. A folder there is whole at any moment, also if others move theirs there."""
    old = new.with_name(f"{new.name}.old")
    while True:
        with suppress(FileNotFoundError):
            folder.rename(old)
            shutil.rmtree(old)
        try:
            new.rename(folder)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # another has been quicker
                raise
        else:
            return


def open_folder(folder: Path, source: Mapping[str, object]) -> Arrays:
    """Map the arrays of a folder.

    Raises StaleIndexError unless all its files are there as they were written, and it was built from
    ``source``.
    """
    try:
        manifest = json.loads((folder / _MANIFEST).read_text())
        files = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StaleIndexError(f"{folder} has no manifest that can be read: {error}") from error
    if manifest.get("format_version") != FORMAT_VERSION or manifest.get("source") != dict(source):
        raise StaleIndexError(f"{folder} holds the index of something else, or in another format")
    with ThreadPoolExecutor(_READERS) as readers:
        for name, found in zip(files, readers.map(lambda name: _describe(folder / name), files), strict=True):
            if found != files[name]:
                raise StaleIndexError(f"{folder / name} isn't what was written")
    arrays = [name for name in files if name.endswith(".npy")]
    try:
        # copy on write: numba compiles kernels anew for arrays that can't be written; as plain arrays: a
        # `memmap` takes longer to pass to kernels, and to read items from
        return {Path(name).stem: np.load(folder / name, mmap_mode="c").view(np.ndarray) for name in arrays}
    except FileNotFoundError as error:
        raise StaleIndexError(f"{folder} has been taken away meanwhile") from error


def _describe(path: Path, *, sync: bool = False) -> dict[str, int] | None:
    """Return a file's size and the checksum of pieces evenly spread over it; None if it isn't there."""
    try:
        with path.open("rb") as file:
            if sync:
                os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
            pieces = min(_PIECES, -(-size // _PIECE))
            checksum = 0
            for piece in range(pieces):
                file.seek(max(0, size - _PIECE) * piece // max(1, pieces - 1))
                checksum = zlib.crc32(file.read(_PIECE), checksum)
    except OSError:
        return None
    return {"bytes": size, "crc32": checksum}
