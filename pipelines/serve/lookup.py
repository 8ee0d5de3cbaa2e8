"""Questions about the rows of a table other than searches, and how a shard answers those that take long."""

import threading
from collections import OrderedDict
from typing import Any, Protocol, TypeVar

from pipelines.serve.refusals import QUEUE_FULL, Refusal
from pipelines.serve.snapshot import Snapshot

Part = TypeVar("Part")
PartAnswered = TypeVar("PartAnswered", covariant=True)
MOST_WAITING = 16
"""Heavy lookups that wait while one is answered."""
_MOST_KEPT = 16


class Lookup(Protocol[PartAnswered]):
    """A question that each shard answers in part. Ray sends it to the shards."""

    @property
    def is_heavy(self) -> bool:
        """Whether it takes more than some milliseconds, so that only one is answered at a time."""

    @property
    def key(self) -> str:
        """What a heavy lookup's answer depends on, beside the snapshot; empty: it isn't worth its memory."""

    def answer(self, snapshot: Snapshot, *, is_whole: bool) -> PartAnswered | Refusal:
        """Return a snapshot's part of the answer; ``is_whole``: it has all rows of the table."""


class HeavyLookups:
    """Answers one heavy lookup at a time, and keeps the last parts."""

    waiting = 0
    """Those that wait, and the one that is answered"""

    def __init__(self) -> None:
        self._counting, self._one = threading.Lock(), threading.Lock()
        self._kept: OrderedDict[tuple[str, int, str, str], Any] = OrderedDict()

    def answer(self, lookup: Lookup[Part], snapshot: Snapshot, *, is_whole: bool) -> Part | Refusal:
        """Return a snapshot's part of the answer; `QUEUE_FULL` if too many wait."""
        published = snapshot.published
        key = (published.table_id, published.table_version, published.model_id, lookup.key)
        with self._counting:
            if self.waiting > MOST_WAITING:
                return QUEUE_FULL
            self.waiting += 1
        try:
            with self._one:
                if lookup.key and key in self._kept:
                    self._kept.move_to_end(key)
                    kept: Part = self._kept[key]
                    return kept
                part = lookup.answer(snapshot, is_whole=is_whole)
                if lookup.key and not isinstance(part, Refusal):
                    self._kept[key] = part
                if len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
                return part
        finally:
            with self._counting:
                self.waiting -= 1
