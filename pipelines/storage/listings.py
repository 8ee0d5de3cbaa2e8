"""Listings of a store: objects, folders, and what was passed over."""

import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from pipelines.errors import StorageError

_JUNK = ("__MACOSX", "@eaDir")  # folders that macOS's zips and Synology's servers leave behind
_EXAMPLES = 20  # kept at most; a quarter of them for one reason


@dataclass(frozen=True)
class ObjectInfo:
    """One listed object."""

    uri: str
    etag: str
    """Changes whenever the content does."""
    size: int
    """Bytes."""
    modified: datetime


@dataclass
class PassedOver:
    """Things that a source has and a listing leaves out: counts by reason, and a few examples by name."""

    counts: Counter[str] = field(default_factory=Counter)
    """How many, by reason; a reason is one word."""
    examples: list[str] = field(default_factory=list)
    """The first few of each reason: name, and what is wrong."""
    hides_objects: bool = False
    """Whether one of them may stand for an object that an earlier listing had."""

    def add(self, reason: str, name: str, detail: str, *, hides: bool = False) -> None:
        """Count one thing; ``hides``: it may stand for an object that an earlier listing had."""
        self.counts[reason] += 1
        self.hides_objects |= hides
        if self.counts[reason] <= _EXAMPLES // 4 and len(self.examples) < _EXAMPLES:
            self.examples.append(f"{printable(name)}: {detail}")

    def is_image(self, uri: str, path: str, suffixes: tuple[str, ...]) -> bool:
        """Return whether an object is an image by its name. One that is hidden is none, and counted.

        ``path``: its path below the folder that is listed, which may be hidden itself.
        """
        if not uri.lower().endswith(suffixes):
            return False
        if is_hidden(path):
            self.add("hidden", uri, "in a hidden folder, or hidden itself")
            return False
        return True

    def merge(self, other: "PassedOver") -> None:
        """Add the counts and examples of another listing."""
        self.counts.update(other.counts)
        self.examples += other.examples[: _EXAMPLES - len(self.examples)]
        self.hides_objects |= other.hides_objects

    def __bool__(self) -> bool:
        """Return whether anything was passed over."""
        return bool(self.counts)


@dataclass(frozen=True)
class Page:
    """A part of a folder's listing: the answer to one request."""

    objects: list[ObjectInfo]
    folders: list[str]
    """Prefixes of the folders in it; empty if the listing is flat."""
    token: str | None
    """Token of the next page; None if this is the last one."""
    passed_over: PassedOver = field(default_factory=PassedOver)


class Trail:
    """The pages that a listing has seen, to notice a store that repeats them for ever."""

    def __init__(self, what: str) -> None:
        """Begin a listing; ``what`` names it in errors."""
        self._what = what
        self._seen: set[int] = set()  # hashes: of ten thousand pages, no two will have the same one

    def step(self, folder: str, page: Page) -> None:
        """Remember a page of a folder. Raises StorageError if its first object or token was there before."""
        marks = [("leads on to", page.token)] if page.token else []
        marks += [("begins with", info.uri) for info in page.objects[:1]]
        for mark in marks:
            key = hash((folder, *mark))
            if key in self._seen:
                raise StorageError(
                    f"{self._what} can't be listed: the store gives the same page again and again"
                )
            self._seen.add(key)


def is_hidden(path: str) -> bool:
    """Return whether a relative path is hidden or of a tool: ``.ipynb_checkpoints/x.tif``, ``a/._x.tif``."""
    return any(part.startswith(".") or part in _JUNK for part in path.split("/"))


def printable(name: str) -> str:
    """Return a file name as text; bytes that aren't UTF-8 are escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
