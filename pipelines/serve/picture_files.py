"""Pictures on disk, made once: a folder with a limit, which the processes of a machine share."""

import hashlib
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import structlog

_SWEEP_SHARE = 0.05  # of the limit: so much is written before the folder is looked through again
_LEFT_SHARE = 0.9  # of the limit, after it
_WRITING_SECONDS = 60.0  # at most: a picture that isn't finished by then never will be

log = structlog.get_logger()


class PictureFiles:
    """Keeps pictures by key; those that were used longest ago are removed first. Threads may share it."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        """``most_bytes``: how large the folder may be, give or take a twentieth; 0: nothing is kept."""
        self._folder, self._most_bytes = folder, most_bytes
        self._lock = threading.Lock()
        self._unswept = most_bytes  # bytes written since the folder was looked through

    def find(self, key: str) -> bytes | None:
        """Return a picture, None if it isn't kept."""
        path = self._path(key)
        try:
            content = path.read_bytes()
            os.utime(path)
        except OSError:  # never kept, removed meanwhile, or the disk fails: it is made again
            return None
        return content

    def keep(self, key: str, picture: bytes) -> None:
        """Keep a picture, if the disk allows it."""
        if len(picture) > self._most_bytes:
            return
        path = self._path(key)
        fresh = path.with_name(f"{uuid4().hex}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(picture)
            fresh.replace(path)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            log.warning("a picture can't be kept", folder=str(self._folder), reason=str(error))
            return
        with self._lock:
            self._unswept += len(picture)
            if self._unswept <= _SWEEP_SHARE * self._most_bytes:
                return
            self._unswept = 0
        self._sweep()

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()
        return self._folder / name[:2] / name[2:]

    def _sweep(self) -> None:
        """Remove the files that were used longest ago, as far as the limit asks for it.

        What a process left that was killed while it wrote is removed in any case.
        """
        found, oldest = [], time.time() - _WRITING_SECONDS
        for path in self._folder.glob("??/*"):
            with suppress(OSError):  # removed by another process
                status = path.stat()
                if path.suffix == ".tmp" and status.st_mtime < oldest:
                    path.unlink()
                else:
                    found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        if total <= _LEFT_SHARE * self._most_bytes:
            return
        for _, size, path in sorted(found):
            if total <= _LEFT_SHARE * self._most_bytes:
                return
            with suppress(OSError):
                path.unlink(missing_ok=True)
                total -= size
