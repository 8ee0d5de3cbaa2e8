"""A table divided into shards, all in this process; and the slow reference that every answer must equal.

Shapes: N rows, E examples, P parts of a code, K bits, Y bytes a code.
"""

import asyncio
import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from model.codes import unpack
from model.spec import CodeSpec
from pipelines.api.answers import SearchAnswer
from pipelines.api.requests import SearchRequest, parse_interval
from pipelines.serve.answer_features import features_answer
from pipelines.serve.chance import ChanceDistances
from pipelines.serve.config import ServeConfig
from pipelines.serve.find import answer
from pipelines.serve.page import Page
from pipelines.serve.question import Question, Sample, ShardReply, SnapshotId, SnapshotSelector
from pipelines.serve.refusals import Refusal, RefusedRequest
from pipelines.serve.rendering import json_bytes
from pipelines.serve.search import search
from pipelines.serve.snapshot import Snapshot, load_snapshot
from pipelines.table.row_ranges import RowRange
from tests.pipelines.serve.conftest import Archive

DIVISIONS = (1, 2, 3, 7, 100)  # 100: more than there are chips


class Divided:
    """A version's shards, all in this process."""

    def __init__(self, archive: Archive, version: int, folder: Path, parts: int) -> None:
        config = ServeConfig(table=archive.table, store=archive.store.config, open=True, index_folder=folder)
        published = archive.published(version)
        self.snapshots: list[Snapshot] = [
            load_snapshot(config, published, RowRange(number, parts)) for number in range(parts)
        ]
        self.snapshot_id = SnapshotId(1, version, published.model_id, self.snapshots[0].code)
        self.chances = ChanceDistances(self.sample)

    async def ask(
        self, questions: Sequence[Question], selector: SnapshotSelector
    ) -> tuple[SnapshotId, list[list[ShardReply]]]:
        whole = len(self.snapshots) == 1
        replies = [answer(snapshot, questions, is_whole=whole) for snapshot in self.snapshots]
        return self.snapshot_id, [list(each) for each in zip(*replies, strict=True)]

    async def look(self, lookup: Any, selector: SnapshotSelector) -> tuple[SnapshotId, list[Any]]:
        whole = len(self.snapshots) == 1
        parts = [lookup.answer(snapshot, is_whole=whole) for snapshot in self.snapshots]
        for part in parts:
            if isinstance(part, Refusal):
                raise RefusedRequest(part)
        return self.snapshot_id, parts

    async def sample(self, snapshot_id: SnapshotId) -> Sample:
        chips: Sample = []
        for snapshot in self.snapshots:
            ids, codes_SY = snapshot.index.sample()
            chips += zip(ids, [code_Y.tobytes() for code_Y in codes_SY], strict=True)
        return chips

    def search(self, query: dict[str, Any]) -> SearchAnswer:
        return read(asyncio.run(search(self, SearchRequest.model_validate(query))))


def divide(
    archive: Archive, version: int, folder: Path, divisions: Sequence[int] = DIVISIONS
) -> dict[int, Divided]:
    """A version of the table, divided in each way."""
    return {parts: Divided(archive, version, folder, parts) for parts in divisions}


def read(page: Page) -> SearchAnswer:
    """Return an answer as a client reads it."""
    page.about["search"]["took_ms"] = 1.0
    return SearchAnswer.model_validate_json(json_bytes(features_answer(page)))


def weigh(code: CodeSpec, query: dict[str, Any]) -> tuple[list[int], list[int]]:
    """What each part counts in the distance, and in the order of chips at one distance."""
    if len(code.parts) == 1:
        return [1], [0]
    if query.get("compare") == "kind":
        return [1, 0], [0, 1]
    if query.get("compare") == "look" or query.get("kind_weight") == 0:
        return [0, 1], [1, 0]
    return [query.get("kind_weight", code.parts[0].weight), 1], [0, 0]


def differing(code: CodeSpec, code_Y: np.ndarray, codes_NY: np.ndarray, weights_K: np.ndarray) -> np.ndarray:
    """The sum over the bits of each part, sums_NP, of the weights of those that differ."""
    different_NK = (unpack(code_Y[None]) ^ unpack(codes_NY)) * weights_K
    ends = np.cumsum([part.bits for part in code.parts])[:-1]
    return np.stack([part_NK.sum(axis=1) for part_NK in np.split(different_NK, ends, axis=1)], axis=1)


def oracle(
    archive: Archive, query: dict[str, Any], version: int
) -> list[tuple[float, float, str, list[float]]]:
    """All that a query asks for, k or no k, by brute force over the table's rows.

    Each as distance, tie, chip id, and the differing bits of each part.
    """
    rows = archive.rows[version].to_pylist()
    code = archive.model_of[version].manifest.network.code
    codes_NY = np.stack([np.frombuffer(row["code"], np.uint8) for row in rows])
    row_of = {row["chip_id"]: number for number, row in enumerate(rows)}
    positive_ids, negative_ids = query.get("chip_ids", []), query.get("negative_ids", [])
    positives_EY, negatives_EY = (
        codes_NY[[row_of[chip] for chip in ids]] for ids in (positive_ids, negative_ids)
    )
    if "code" in query:
        positives_EY = np.frombuffer(bytes.fromhex(query["code"]), np.uint8)[None]

    def sums(weights_K: np.ndarray) -> np.ndarray:
        towards, away = (
            [differing(code, code_Y, codes_NY, weights_K) for code_Y in codes_EY]
            for codes_EY in (positives_EY, negatives_EY)
        )
        return np.mean(towards, axis=0) - (np.mean(away, axis=0) if away else 0)

    bits_NP = sums(np.ones(code.bits))
    weighted_NP = bits_NP
    if "bit_weights" in query:
        weighted_NP = sums(np.array([int(digit, 16) for digit in query["bit_weights"]])) / 8
    weights, tie_weights = weigh(code, query)
    left_out = {*positive_ids, *negative_ids} if query.get("exclude_self", True) else set()
    found = [
        (distance, tie, row["chip_id"], bits_P)
        for row, distance, tie, bits_P in zip(
            rows,
            (weighted_NP @ weights).round(9).tolist(),
            (weighted_NP @ tie_weights).round(9).tolist(),
            bits_NP.round(9).tolist(),
            strict=True,
        )
        if row["chip_id"] not in left_out and passes(row, query)
    ]
    return sorted(chip for chip in found if chip[0] <= query.get("max_distance", 8192))


def passes(row: dict[str, Any], query: dict[str, Any]) -> bool:
    """The filters as their definitions say them, one row at a time."""
    if "bbox" in query or "intersects" in query:
        if row["geometry"] is None:
            return False
        footprint = shapely.from_wkb(row["geometry"])
        if "intersects" in query:
            return bool(footprint.intersects(shapely.geometry.shape(query["intersects"]))) and passes(
                row, {name: value for name, value in query.items() if name != "intersects"}
            )
        west, south, east, north = query["bbox"]
        sides = [(west, east)] if west <= east else [(west, 180), (-180, east)]
        if not any(footprint.intersects(shapely.box(left, south, right, north)) for left, right in sides):
            return False
    if "datetime" in query:
        first, last = parse_interval(query["datetime"])
        time = row["datetime"]
        if time is None or (first and time < first) or (last and time > last):
            return False
    if row["collection"] not in query.get("collections", [row["collection"]]):
        return False
    return bool(row["valid_fraction"] >= query.get("min_valid_fraction", 0))


def check(archive: Archive, shards: Divided, query: dict[str, Any]) -> SearchAnswer:
    """Check a first page, or the only one, and what is said of the whole answer."""
    answered = shards.search(query)
    wanted = oracle(archive, query, shards.snapshot_id.version)
    k = query.get("k", None if "max_distance" in query else 10)
    page = wanted[:k][: query.get("limit", 1000)]
    assert [(round(match.properties.distance, 9), match.id) for match in answered.features] == [
        (distance, chip_id) for distance, _, chip_id, _ in page
    ]
    if len(shards.snapshot_id.code.parts) == 2:
        for match, (_, _, _, parts) in zip(answered.features, page, strict=True):
            said = (match.properties.kind_distance, match.properties.look_distance)
            assert [round(each, 9) for each in said] == parts
    assert answered.numberMatched == len(wanted[:k])
    if k is not None and wanted:
        last = wanted[:k][-1][:2]
        assert answered.search.kth_distance == pytest.approx(last[0])
        assert answered.search.ties_at_cutoff == sum(chip[:2] == last for chip in wanted[k:])
    return answered


def chance(archive: Archive, query: dict[str, Any], version: int) -> float:
    """As far below the median of all pairs of chips as the largest hundredth lies above it.

    But at least the distance that a hundredth of all pairs keep within.
    """
    code = archive.model_of[version].manifest.network.code
    weights = [int(digit, 16) / 8 for digit in query.get("bit_weights", "8" * code.bits)]
    codes_SY = [archive.code(row, version) for row in range(len(archive.rows[version]))]
    pairs = sorted(
        float(differing(code, one_Y, other_Y[None], np.array(weights))[0] @ weigh(code, query)[0])
        for one_Y, other_Y in combinations(codes_SY, 2)
    )
    low, middle, high = (pairs[math.ceil(share * len(pairs)) - 1] for share in (0.01, 0.5, 0.99))
    return max(low, 2 * middle - high)


def narrower(boxes: list[dict[str, float]]) -> tuple[float, float]:
    """West and east of all boxes, on the map from -180 or on that from 0: where they span less.

    A box over the edge of a map spans all of it. West > east over the antimeridian.
    """
    found = []
    for edge in (-180, 0):
        ends = [((box["xmin"] - edge) % 360, (box["xmax"] - edge) % 360 or 360) for box in boxes]
        spans = [(0, 360) if first > last else (first, last) for first, last in ends]
        found.append((min(first for first, _ in spans) + edge, max(last for _, last in spans) + edge))
    west, east = min(found, key=lambda ends: ends[1] - ends[0])
    return west, east if east <= 180 else east - 360
