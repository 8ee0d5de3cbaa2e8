"""Holds the snapshots of a part of the table and searches them: a deployment, or a part of the ingress."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray import serve

from pipelines.api.answers import RefusedSnapshot
from pipelines.api.requests import CONTRADICTION
from pipelines.errors import ComparisonError
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.pixels import PixelSpec
from pipelines.index.files import building
from pipelines.runtime.logs import gather_logs
from pipelines.serve.config import ServeConfig
from pipelines.serve.find import answer, warm_up
from pipelines.serve.follow import Follower, Refused
from pipelines.serve.prometheus import LastNightMetrics, SnapshotMetrics
from pipelines.serve.question import Pin, Question, Said, Sample, Source
from pipelines.serve.ranking import Ranking
from pipelines.serve.refusals import NOT_READY, Refusal
from pipelines.serve.snapshot import Snapshot, load_snapshot
from pipelines.storage.store import Store
from pipelines.table.pointer import Published
from pipelines.table.row_ranges import RowRange

_SMALL = 4_000_000  # codes: a scan of them takes about a millisecond


@dataclass(frozen=True)
class ChipSource:
    """Where a chip's pixels are."""

    uri: str
    window: tuple[int, int, int, int]
    """x, y, width, height [pixels]"""
    pixels: PixelSpec
    """What the model saw of them"""
    etag: str
    """Of the object as it was encoded"""


@dataclass(frozen=True)
class ShardInfo:
    """What a shard holds."""

    replica: str
    published: Published
    bits: int
    chips: int
    distinct_codes: int
    kept: tuple[tuple[int, int], ...]
    """Number of the publication and version of the table of each snapshot that is held, the newest first"""
    refused: RefusedSnapshot | None


class Shard:
    """Answers each call from one snapshot."""

    def __init__(self, config: ServeConfig, part: RowRange) -> None:
        """Load what is published. Raises TableError, BundleError, StorageError."""
        gather_logs()
        self._part = part

        def load(published: Published, kept: Sequence[Snapshot]) -> Snapshot:
            return load_snapshot(config, published, part, kept)

        snapshot, night = SnapshotMetrics(part.number), LastNightMetrics(config.table, Store(config.store))

        def show(published: Published, refused: Refused | None) -> None:
            snapshot.show(published, refused)
            night.show()

        self._follower = Follower(config, load, show)
        with building(config.index_folder / "kernels"):  # one replica compiles them, the others find them
            warm_up(self._follower.current)

    def ask(self, questions: Sequence[Question], pin: Pin) -> tuple[Source, list[Said | Refusal]] | Refusal:
        """Return what one snapshot says to each question."""
        snapshot = self._snapshot(pin)
        if isinstance(snapshot, Refusal):
            return snapshot
        refused = {
            place: refusal
            for place, question in enumerate(questions)
            if (refusal := _check(question, snapshot)) is not None
        }
        asked = [question for place, question in enumerate(questions) if place not in refused]
        said = iter(answer(snapshot, asked, is_whole=self._part.parts == 1))
        return _source(snapshot), [
            refused[place] if place in refused else next(said) for place in range(len(questions))
        ]

    def answers_at_once(self, questions: Sequence[Question], pin: Pin) -> bool:
        """Return whether `ask` takes about a millisecond at most: others may wait for it meanwhile."""
        snapshot = self._follower.current
        is_small = snapshot.archive.codes.distinct_codes <= _SMALL
        return is_small and pin.wants(snapshot.published) and len(questions) == 1 and questions[0].is_light

    def sample(self, pin: Pin) -> Sample | Refusal:
        """Return the chips of one snapshot whose ids come first."""
        snapshot = self._snapshot(pin)
        if isinstance(snapshot, Refusal):
            return snapshot
        chip_ids, codes_SY = snapshot.archive.sample()
        return [(chip_id, code_Y.tobytes()) for chip_id, code_Y in zip(chip_ids, codes_SY, strict=True)]

    def chip(self, chip_id: str) -> tuple[dict[str, Any], Source] | None:
        """Return one chip's row and the snapshot that it is of; None where it isn't here."""
        snapshot = self._follower.current
        row = _row(snapshot, chip_id)
        return None if row is None else (row, _source(snapshot))

    def source(self, chip_id: str) -> ChipSource | None:
        """Return where one chip's pixels are; None where it isn't here."""
        rows = self._follower.current.archive.rows
        row = rows.find(chip_id)
        if row is None:
            return None
        chip = rows.take(np.array([row]))[0]
        x, y, w, h = chip["window"].values()
        return ChipSource(chip["uri"], (x, y, w, h), ChipSpec.read(rows.cut(row)).pixels, chip["etag"])

    def info(self) -> ShardInfo:
        """Return what is held."""
        snapshot, refused = self._follower.current, self._follower.refused
        kept = tuple((held.published.number, held.published.table_version) for held in self._follower.kept)
        return ShardInfo(
            replica=serve.get_replica_context().replica_id.unique_id,
            published=snapshot.published,
            bits=snapshot.archive.codes.bits,
            chips=len(snapshot.archive.codes),
            distinct_codes=snapshot.archive.codes.distinct_codes,
            kept=kept,
            refused=None if refused is None else _told(refused),
        )

    def _snapshot(self, pin: Pin) -> Snapshot | Refusal:
        """Return the snapshot that is to answer."""
        if pin.wants(self._follower.current.published):
            return self._follower.current
        try:
            found = self._follower.find(pin.wants)
        except TimeoutError:
            return NOT_READY
        if found is not None:
            return found
        if pin.version is None:  # other shards are ahead, or the encoder is: this one follows
            return NOT_READY
        served = self._follower.current.published.table_version
        message = f"version {pin.version} isn't kept; {served} is served"
        return Refusal(410, "not_kept", message, "leave snapshot and token out, and start again")


def _row(snapshot: Snapshot, chip_id: str) -> dict[str, Any] | None:
    row = snapshot.archive.rows.find(chip_id)
    return None if row is None else snapshot.archive.rows.take(np.array([row]))[0]


def _source(snapshot: Snapshot) -> Source:
    published = snapshot.published
    return Source(
        published.number, published.table_version, published.model_id, snapshot.code, published.table_id
    )


def _told(refused: Refused) -> RefusedSnapshot:
    published = refused.published
    return RefusedSnapshot(
        snapshot=published.table_version, published_at=published.published_at, reason=refused.reason
    )


def _check(question: Question, snapshot: Snapshot) -> Refusal | None:
    """Return why a snapshot can't answer a question."""
    request, published, bits = question.request, snapshot.published, snapshot.code.bits
    if question.cursor.table_id not in ("", published.table_id):
        message = "the table that the pages so far are of has been replaced"
        return Refusal(410, "not_kept", message, "leave snapshot and token out, and start again")
    if request.model_id not in (None, published.model_id):
        message = f"the codes served are of model {published.model_id}, not {request.model_id}"
        return Refusal(409, "other_model", message, "encode the example with the model that is served")
    if request.code is not None and len(request.code) * 4 != bits:
        message = f"code: it has {len(request.code) * 4} bits, this model's codes have {bits}"
        return Refusal(422, "invalid", message, f"send {bits // 4} hex digits")
    try:
        Ranking.of(request, snapshot.code)
    except ComparisonError as error:
        status = 400 if error.code == CONTRADICTION else 422
        return Refusal(status, error.code, error.message, error.hint)
    return None
