"""A night after the other by the real jobs, with what is done by hand between them; each is checked.

The source changes, a night encodes it, watches run. Each third night another model takes over, and
is rolled back; the night after that publishes it again, and then the table is compacted.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.soak.archive import CHIP, Archive
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.nodes import Cluster
from benchmarks.soak.oracle import Oracle
from benchmarks.soak.rows import lost_and_doubled, rows_of
from benchmarks.soak.watches import (
    WATCHES,
    Hit,
    WatchedVersions,
    answered,
    begin,
    delivered,
    lost_doubled_wrong,
)
from pipelines.client import Client
from pipelines.storage.store import Store
from pipelines.table.pointer import read_pointer

_EVERY_SECONDS = 60.0
_ATTEMPTS = 3
_SHOWN = 5  # examples of a harm
_OUTPUT = 3000  # characters of a job's output that are kept


@dataclass
class Places:
    """Where everything is, below one root."""

    root: str

    def __post_init__(self) -> None:
        self.source, self.table = f"{self.root}/scenes", f"{self.root}/codes"
        self.watches, self.hits = f"{self.root}/watches", f"{self.root}/hits"
        self.bundles = f"{self.root}/bundles"


@dataclass
class Nights:
    """Runs nights and checks them."""

    cluster: Cluster
    archive: Archive
    places: Places
    bundles: Sequence[str]
    """The models that take turns."""
    endpoint: str
    """Of the store, as jobs reach it."""
    oracle: Oracle
    store: Store
    """The store on a way that is never closed."""
    ledger: Ledger
    folder: Path
    """For the output of jobs."""
    count: int = 0
    watches: list[WatchedVersions] = field(default_factory=list)
    _is_done: bool = True

    def first(self) -> None:
        """Run the first night. Raises RuntimeError if it fails: nothing has died yet."""
        self.archive.begin()
        if not self._encode():
            raise RuntimeError(f"the first night failed; see {self.folder}")

    def add_watches(self) -> None:
        """Add `WATCHES`."""
        published = read_pointer(self.places.table, self.store)
        chips = self.archive.lasting_chips()
        for (name, share), chip in zip(WATCHES.items(), (chips[0], chips[20]), strict=True):
            watch = begin(name, chip, share, published, self.oracle)
            flags = {"watches": self.places.watches, "name": name, "table": self.places.table}
            flags |= {"chip-id": chip, "max-distance": str(watch.max_distance)}
            if self._job("watch", flags, "add") is None:
                raise RuntimeError(f"a watch can't be added; see {self.folder}")
            self.watches.append(watch)

    def run_until(self, end: float) -> None:
        """Run nights until a time of the monotonic clock, one each minute if they don't take longer."""
        while (began := time.monotonic()) < end:
            self.one()
            self.by_hand()
            time.sleep(max(0.0, min(began + _EVERY_SECONDS, end) - time.monotonic()))

    def by_hand(self) -> None:
        """Do what is done between two nights: compact the table, or roll back, by turns."""
        if self.count % 3 == 1:
            self._job("maintain", {"table": self.places.table})
        elif self.count % 3 == 0:  # the first night of another model
            self._job("publish", {"table": self.places.table}, "--rollback")

    def one(self) -> None:
        """Run a night: change the source, encode, look at the table, and let the watches run."""
        if self._is_done:
            self.count += 1
            self.archive.change(self.count)
        self._is_done = self._encode()
        self._job("watch", {"watches": self.places.watches, "output": self.places.hits}, "run")
        for watch in self.watches:
            watch.follow(self.places.watches, self.places.table, self.oracle, self.store)

    def _encode(self) -> bool:
        """Encode what is new, again if objects couldn't be read; return whether the table was checked."""
        bundle = self.bundles[self.count // 3 % len(self.bundles)]
        flags = {"source": self.places.source, "table": self.places.table, "bundle": bundle}
        flags |= {"chip-size": str(CHIP), "objects-per-unit": "25", "encoders": "1"}
        # a model that comes back misses what was removed in several nights
        flags |= {"max-prune-share": "0.5"}
        for _ in range(_ATTEMPTS):
            output = self._job("nightly", flags, "--prune")
            if output is None:
                return False
            report = json.loads(next(line for line in output.splitlines() if line.startswith('{"run_id"')))
            self.ledger.note("night", number=self.count, **report)
            if not report["failed"]:
                self.check_rows(report["model_id"], report["table_version"])
                return True
        self.ledger.harm("unexplained_errors", what="a night can't read its objects", failed=report["failed"])
        return False

    def check_rows(self, model_id: str, version: int) -> None:
        """Compare a version of the table with what the source holds."""
        found = rows_of(self.places.table, self.store, model_id, version)
        lost, doubled = lost_and_doubled(found, self.archive.rows())
        for kind, rows in (("lost_rows", lost), ("doubled_rows", doubled)):
            if rows:
                self.ledger.harm(kind, len(rows), night=self.count, examples=rows[:_SHOWN])

    def check_hits(self) -> None:
        """Compare the files of all hits with what the watches should have found."""
        for watch in self.watches:
            self._check_hits(watch, "files", delivered(self.places.hits, watch.name, self.store))

    def check_answered_hits(self, client: Client, before: Mapping[str, set[Hit]]) -> None:
        """Compare the hits of the service too; ``before``: all that it answered with, by the watch's name."""
        for watch in self.watches:
            self._check_hits(watch, "service", answered(client, watch.name))
            wrong = before.get(watch.name, set()) - set(watch.hits)
            if wrong:
                examples = sorted(wrong)[:_SHOWN]
                self.ledger.harm("wrong_answers", len(wrong), watch=watch.name, examples=examples)

    def _check_hits(self, watch: WatchedVersions, where: str, found: list[Hit]) -> None:
        lost, doubled, wrong = lost_doubled_wrong(found, watch.hits)
        self.ledger.note("hits", watch=watch.name, where=where, found=len(found), wanted=len(watch.hits))
        for kind, hits in (("lost_hits", lost), ("doubled_hits", doubled), ("wrong_answers", wrong)):
            if hits:
                self.ledger.harm(kind, len(hits), watch=watch.name, where=where, examples=hits[:_SHOWN])

    def _job(self, job: str, flags: Mapping[str, str], *words: str) -> str | None:
        """Run a job; return what it printed. If it fails, that is an error that nothing explains: None.

        No death of the soak may end a job: the store is away for less than its patience, and what else dies
        is repeated elsewhere.
        """
        began = time.monotonic()
        output = self.folder / f"{len(list(self.folder.iterdir())):04}-{job}.log"
        code = self.cluster.run_job(job, {**flags, "store.endpoint": self.endpoint}, output, *words)
        text = output.read_text()
        self.ledger.note("job", job=job, words=words, code=code, seconds=round(time.monotonic() - began, 1))
        if code == 0:
            return text
        self.ledger.harm("unexplained_errors", job=job, code=code, output=text[-_OUTPUT:])
        return None
