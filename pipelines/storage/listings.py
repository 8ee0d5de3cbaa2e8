"""What a listing says: objects, folders, and what was passed over."""

import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from pipelines.errors import StorageError

_JUNK = ("__MACOSX", "@eaDir")  # what macOS's zips and Synology's servers leave beside the files
_EXAMPLES = 20


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
    """What isn't listed though it is there: how many for each reason, and the first of them by name."""

    counts: Counter[str] = field(default_factory=Counter)
    """By reason, in one word."""
    examples: list[str] = field(default_factory=list)
    """The first of each reason: name, and what is wrong."""
    hides_objects: bool = False
    """Whether an object that is there may be missing from the listing because of one of them."""

    def add(self, reason: str, name: str, detail: str, *, hides: bool = False) -> None:
        """Count one; ``hides``: it may stand for an object that was listed before."""
        self.counts[reason] += 1
        self.hides_objects |= hides
        if self.counts[reason] <= _EXAMPLES // 4 and len(self.examples) < _EXAMPLES:
            self.examples.append(f"{printable(name)}: {detail}")

    def merge(self, other: "PassedOver") -> None:
        """Count those of another listing, too."""
        self.counts.update(other.counts)
        self.examples += other.examples[: _EXAMPLES - len(self.examples)]
        self.hides_objects |= other.hides_objects

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.counts)


@dataclass(frozen=True)
class Page:
    """What one request tells of a folder."""

    objects: list[ObjectInfo]
    folders: list[str]
    """Prefixes of the folders in it, where the listing isn't flat."""
    token: str | None
    """For the page after this one; None: there is none."""
    passed_over: PassedOver = field(default_factory=PassedOver)


class Trail:
    """Where a listing has been, so that it notices where it goes in a circle."""

    def __init__(self, what: str) -> None:
        """Begin a listing; ``what`` names it in errors."""
        self._what = what
        self._seen: set[int] = set()  # hashes: of some ten thousand pages, no two will share one

    def step(self, folder: str, page: Page) -> None:
        """Remember a page of a folder. Raises StorageError where it begins or leads on as one before it."""
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
    """Return whether a path below a source is a tool's own: ``.ipynb_checkpoints/x.tif``, ``a/._x.tif``."""
    return any(part.startswith(".") or part in _JUNK for part in path.split("/"))


def printable(name: str) -> str:
    """Return a file's name as text, whatever its bytes are."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
