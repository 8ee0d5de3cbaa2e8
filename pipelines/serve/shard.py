"""A shard holds the snapshots of a part of the table's rows and searches them.

It is a deployment of its own or, if the table has only one shard, a part of the ingress.
"""

import gc
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from ray import serve

from pipelines.api.answers import RefusedSnapshot
from pipelines.index.files import building
from pipelines.runtime.logs import gather_logs
from pipelines.serve.config import ServeConfig
from pipelines.serve.find import answer
from pipelines.serve.follow import Follower, RefusedPublication
from pipelines.serve.lookup import HeavyLookups, Lookup, Part
from pipelines.serve.prometheus import LastNightMetrics, SnapshotMetrics
from pipelines.serve.question import Question, Sample, ShardReplies, SnapshotId, SnapshotSelector
from pipelines.serve.refusals import NOT_READY, Refusal
from pipelines.serve.snapshot import Snapshot, load_snapshot
from pipelines.serve.warm_up import warm_up
from pipelines.serve.why_refused import why_refused
from pipelines.storage.store import Store
from pipelines.table.pointer import Published
from pipelines.table.row_ranges import RowRange

_SMALL = 4_000_000  # codes: a scan of so many takes about a millisecond


@dataclass(frozen=True)
class ShardInfo:
    """What a shard holds."""

    replica: str
    published: Published
    bits: int
    chips: int
    distinct_codes: int
    kept: tuple[tuple[int, int], ...]
    """(number of the publication, version of the table) of each kept snapshot, the newest first"""
    refused: RefusedSnapshot | None


class Shard:
    """Holds the snapshots of a part of the rows. Each call is answered from one snapshot."""

    def __init__(self, config: ServeConfig, row_range: RowRange) -> None:
        """Load the published version. Raises TableError, BundleError, StorageError."""
        gather_logs()
        self._row_range = row_range
        self._heavy = HeavyLookups()

        def load(published: Published, kept: Sequence[Snapshot]) -> Snapshot:
            loaded = load_snapshot(config, published, row_range, kept)
            if not any(each.is_of(published) for each in kept):
                # of each publication, as its codes may have other parts than those before
                with building(config.index_folder / "kernels"):  # one replica compiles, the others wait
                    warm_up(loaded)
            return loaded

        snapshot, night = (
            SnapshotMetrics(row_range.number),
            LastNightMetrics(config.table, Store(config.store)),
        )

        def show(published: Published, refused: RefusedPublication | None) -> None:
            snapshot.show(published, refused)
            night.show()

        self._follower = Follower(config, load, show)
        gc.freeze()  # or each full garbage collection stops all searches for tenths of a second

    def ask(
        self, questions: Sequence[Question], selector: SnapshotSelector
    ) -> tuple[SnapshotId, ShardReplies] | Refusal:
        """Return the snapshot that answers, and its reply to each question.

        Returns a Refusal if there is no such snapshot here.
        """
        snapshot = self._snapshot(selector)
        if isinstance(snapshot, Refusal):
            return snapshot
        refused = {
            place: refusal
            for place, question in enumerate(questions)
            if (refusal := why_refused(question, snapshot)) is not None
        }
        asked = [question for place, question in enumerate(questions) if place not in refused]
        replies = iter(answer(snapshot, asked, is_whole=self._row_range.parts == 1))
        return _id_of(snapshot), [
            refused[place] if place in refused else next(replies) for place in range(len(questions))
        ]

    def answers_at_once(self, questions: Sequence[Question], selector: SnapshotSelector) -> bool:
        """Return whether `ask` takes a millisecond at most, so that it may run in the event loop."""
        if len(questions) != 1 or not questions[0].is_light:
            return False
        snapshot = self._follower.current
        is_small = snapshot.index.codes.distinct_codes <= _SMALL
        return is_small and selector.matches(snapshot.published)

    def sample(self, selector: SnapshotSelector) -> Sample | Refusal:
        """Return the chips of one snapshot with the smallest ids, for `pipelines.serve.chance`."""
        snapshot = self._snapshot(selector)
        if isinstance(snapshot, Refusal):
            return snapshot
        chip_ids, codes_SY = snapshot.index.sample()
        return [(chip_id, code_Y.tobytes()) for chip_id, code_Y in zip(chip_ids, codes_SY, strict=True)]

    def look(self, lookup: Lookup[Part], selector: SnapshotSelector) -> tuple[SnapshotId, Part] | Refusal:
        """Return the snapshot that answers, and its part of the answer to a lookup, or a refusal.

        Heavy lookups are answered one at a time, while some wait; their parts are kept for a while.
        """
        snapshot = self._snapshot(selector)
        if isinstance(snapshot, Refusal):
            return snapshot
        is_whole = self._row_range.parts == 1
        if not lookup.is_heavy:
            part = lookup.answer(snapshot, is_whole=is_whole)
        else:
            part = self._heavy.answer(lookup, snapshot, is_whole=is_whole)
        return part if isinstance(part, Refusal) else (_id_of(snapshot), part)

    def kept_numbers(self) -> set[int]:
        """Load what is published now, unless it is here; return the numbers of all publications that are.

        If another publication is being loaded for too long, or the newest is refused, those that are here do.
        """
        number = self._follower.current.published.number
        if self._follower.refused is None:
            with suppress(TimeoutError):
                self._follower.find(lambda published: published.number > number)
        return {held.published.number for held in self._follower.kept}

    def info(self) -> ShardInfo:
        """Return what this replica holds."""
        snapshot, refused = self._follower.current, self._follower.refused
        kept = tuple((held.published.number, held.published.table_version) for held in self._follower.kept)
        return ShardInfo(
            replica=serve.get_replica_context().replica_id.unique_id,
            published=snapshot.published,
            bits=snapshot.index.codes.bits,
            chips=len(snapshot.index.codes),
            distinct_codes=snapshot.index.codes.distinct_codes,
            kept=kept,
            refused=None if refused is None else _refused_snapshot(refused),
        )

    def _snapshot(self, selector: SnapshotSelector) -> Snapshot | Refusal:
        """Return the snapshot that must answer, or a refusal if this replica doesn't have it."""
        current = self._follower.current  # read once: the follower may swap it at any time
        if selector.matches(current.published):
            return current
        try:
            found = self._follower.find(selector.matches)
        except TimeoutError:
            return NOT_READY
        if found is not None:
            return found
        if selector.version is None:  # other shards or the encoder are ahead: this replica follows soon
            return NOT_READY
        served = self._follower.current.published.table_version
        message = f"version {selector.version} isn't kept; {served} is served"
        return Refusal(410, "not_kept", message, "leave snapshot and token out, and start again")


def _id_of(snapshot: Snapshot) -> SnapshotId:
    published = snapshot.published
    return SnapshotId(
        published.number, published.table_version, published.model_id, snapshot.code, published.table_id
    )


def _refused_snapshot(refused: RefusedPublication) -> RefusedSnapshot:
    published = refused.published
    return RefusedSnapshot(
        snapshot=published.table_version, published_at=published.published_at, reason=refused.reason
    )
