"""The Serve deployment that holds the snapshot and searches it."""

import time
from dataclasses import dataclass

import numpy as np

from pipelines.api import (
    DEFAULT_K,
    MAX_K,
    Chip,
    SearchAnswer,
    SearchInfo,
    SearchLimits,
    SearchRequest,
    SnapshotInfo,
)
from pipelines.pixels import PixelSpec
from pipelines.pointer import Published
from pipelines.serve.config import ServeConfig
from pipelines.serve.follow import Follower
from pipelines.serve.places import chip_at
from pipelines.serve.refusals import Refusal
from pipelines.serve.snapshot import Snapshot, load_snapshot
from pipelines.storage import Store


@dataclass(frozen=True)
class ChipSource:
    """Where a chip's pixels are."""

    uri: str
    window: tuple[int, int, int, int]
    """x, y, width, height [pixels]"""
    pixels: PixelSpec
    """What the model sees of them"""


@dataclass(frozen=True)
class _Example:
    code_Y: np.ndarray
    row: int | None = None


class Shard:
    """Answers from one snapshot at a time; every method reads the reference once."""

    def __init__(self, config: ServeConfig) -> None:
        """Load what is published. Raises TableError, BundleError, StorageError."""
        store = Store(config.store)

        def load(published: Published, current: Snapshot | None) -> Snapshot:  # noqa: ARG001
            return load_snapshot(config.table, published, store, config.index_folder, config.search_threads)

        self._follower = Follower(config, load)

    def search(self, request: SearchRequest) -> SearchAnswer | Refusal:
        """Answer a query."""
        started = time.perf_counter()
        snapshot = self._follower.current
        if request.model_id not in (None, snapshot.published.model_id):
            return _other_model(request.model_id, snapshot)
        example = _example(snapshot, request)
        if isinstance(example, Refusal):
            return example
        excludes = request.exclude_self if request.exclude_self is not None else request.chip_ids is not None
        answer = _answer(snapshot, example.code_Y, request, example.row if excludes else None)
        answer.search.took_ms = round((time.perf_counter() - started) * 1000, 3)
        return answer

    def chip(self, chip_id: str) -> Chip | Refusal:
        """Return one chip."""
        snapshot = self._follower.current
        row = snapshot.archive.rows.find(chip_id)
        return _no_such_chip(chip_id) if row is None else snapshot.chip(row)

    def source(self, chip_id: str) -> ChipSource | Refusal:
        """Return where one chip's pixels are."""
        snapshot = self._follower.current
        row = snapshot.archive.rows.find(chip_id)
        if row is None:
            return _no_such_chip(chip_id)
        properties = snapshot.chip(row).properties
        return ChipSource(properties.uri, properties.window, PixelSpec.of(snapshot.manifest.input))

    def info(self) -> SnapshotInfo:
        """Return what is being served."""
        snapshot = self._follower.current
        return SnapshotInfo(
            snapshot=snapshot.published.table_version,
            model_id=snapshot.published.model_id,
            bits=snapshot.archive.codes.bits,
            chips=len(snapshot.archive.codes),
            distinct_codes=snapshot.archive.codes.distinct_codes,
            run_id=snapshot.published.run_id,
            published_at=snapshot.published.published_at,
        )


def _example(snapshot: Snapshot, request: SearchRequest) -> _Example | Refusal:
    """Return the code to compare with, and its row where it is a chip of the table."""
    if request.code is not None:
        return _decoded(snapshot, request.code)
    if request.chip_ids is not None:
        row = snapshot.archive.rows.find(request.chip_ids[0])
        if row is None:
            return _no_such_chip(request.chip_ids[0])
    else:
        assert request.point is not None  # noqa: S101 - SearchRequest has exactly one of the three
        row = chip_at(snapshot.archive, *request.point)
        if row is None:
            where = f"longitude {request.point[0]}, latitude {request.point[1]}"
            return Refusal(
                404, "no_chip_here", f"no chip lies at {where}", "choose a point inside the archive"
            )
    return _Example(snapshot.archive.codes.code(row), row)


def _decoded(snapshot: Snapshot, code: str) -> _Example | Refusal:
    code_Y = np.frombuffer(bytes.fromhex(code), np.uint8)
    if code_Y.size * 8 != snapshot.archive.codes.bits:
        message = (
            f"code: it has {code_Y.size * 8} bits, this model's codes have {snapshot.archive.codes.bits}"
        )
        return Refusal(422, "invalid", message, f"send {snapshot.archive.codes.bits // 4} hex digits")
    return _Example(code_Y)


def _answer(
    snapshot: Snapshot, code_Y: np.ndarray, limits: SearchLimits, excluded_row: int | None
) -> SearchAnswer:
    k = limits.k or (MAX_K if limits.max_distance is not None else DEFAULT_K)
    hits = snapshot.archive.codes.search(code_Y, k, limits.max_distance, excluded_row=excluded_row)
    features = snapshot.matches(hits)
    return SearchAnswer(
        numberMatched=len(features) if limits.k is not None or hits.within is None else hits.within,
        numberReturned=len(features),
        features=features,
        search=SearchInfo(
            model_id=snapshot.published.model_id,
            bits=snapshot.archive.codes.bits,
            snapshot=snapshot.published.table_version,
            kth_distance=hits.kth_distance,
            ties_at_cutoff=hits.ties_at_cutoff,
            method=hits.method,
            codes_compared=hits.codes_compared,
            took_ms=0.0,
        ),
    )


def _no_such_chip(chip_id: str) -> Refusal:
    return Refusal(
        404, "no_such_chip", f"the table has no chip {chip_id!r}", "see GET /v1/snapshot for what is served"
    )


def _other_model(model_id: str | None, snapshot: Snapshot) -> Refusal:
    message = f"the codes served are of model {snapshot.published.model_id}, not {model_id}"
    return Refusal(409, "other_model", message, "encode the example with the model that is served")
