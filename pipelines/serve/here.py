"""Chips without a search: one by its id, those of a place, those of other dates at a chip's place.

Shapes: M rows that pass, K rows of the page, W words a code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlencode

import numpy as np
import orjson
from numpy.typing import NDArray

from pipelines.api.explore import DatesParameters, HereParameters
from pipelines.api.requests import Compared, Filters
from pipelines.hamming.jit import Int64s
from pipelines.hamming.row_filter import rows_of
from pipelines.index.coverage import centres_of
from pipelines.index.part_weights import comparison_of
from pipelines.index.request_filters import select
from pipelines.serve.page import EVERYTHING, Chips, Page, merged, wanted_of_table
from pipelines.serve.question import SnapshotId
from pipelines.serve.refusals import Refusal
from pipelines.serve.snapshot import Snapshot
from pipelines.serve.why_refused import why_not_comparable

USUAL_HERE = ("id", "lon", "lat", "bbox", "datetime", "collection")


@dataclass(frozen=True)
class ChipLookup:
    """One chip: its columns of answers, and its code; None if a shard doesn't have it."""

    chip_id: str
    is_heavy: ClassVar[bool] = False
    key: ClassVar[str] = ""

    def answer(
        self,
        snapshot: Snapshot,
        *,
        is_whole: bool,  # noqa: ARG002
    ) -> tuple[dict[str, Any], bytes] | None:
        """Return the chip's row and code, if the snapshot has it."""
        index = snapshot.index
        row = index.rows.find(self.chip_id)
        if row is None:
            return None
        return index.rows.take(np.array([row]))[0], index.codes.code(row).tobytes()


@dataclass(frozen=True)
class HerePart:
    """A shard's chips of a place."""

    matched: int
    chips: Chips
    left: int = 0
    """Chips behind the page before"""


@dataclass(frozen=True)
class HereLookup:
    """What lies in a place, in the order of chip ids."""

    parameters: HereParameters
    is_heavy: ClassVar[bool] = False
    key: ClassVar[str] = ""

    def answer(self, snapshot: Snapshot, *, is_whole: bool) -> HerePart:  # noqa: ARG002
        """Return a snapshot's first chips of the place, behind the page before."""
        index, parameters = snapshot.index, self.parameters
        rows_M = rows_of(select(index, parameters))
        ranks_M = index.codes.arrays.ranks_N[rows_M]
        matched = len(rows_M)
        if parameters.after is not None:
            is_behind_M = ranks_M >= index.rows.rank_behind(parameters.after)
            rows_M, ranks_M = rows_M[is_behind_M], ranks_M[is_behind_M]
        left = len(rows_M)
        if parameters.limit < left:
            first_M = np.argpartition(ranks_M, parameters.limit)[: parameters.limit]
            rows_M, ranks_M = rows_M[first_M], ranks_M[first_M]
        names = wanted_of_table(parameters.format, parameters.fields)
        return HerePart(matched, index.rows.columns(rows_M[np.argsort(ranks_M)], names), left)


def here_page(parameters: HereParameters, snapshot_id: SnapshotId, parts: Sequence[HerePart]) -> Page:
    """Return a page of what lies in a place."""
    chips = merged([part.chips for part in parts], ["chip_id"], parameters.limit)
    ids = chips["chip_id"]
    has_more = sum(part.left for part in parts) > len(ids)
    about = {
        "numberMatched": sum(part.matched for part in parts),
        "numberReturned": len(ids),
        "snapshot": snapshot_id.version,
        "model_id": snapshot_id.model_id,
        "links": [_next_link(parameters, snapshot_id.version, ids[-1])] if has_more else [],
    }
    return Page(
        chips, about, parameters.format == "columns", parameters.fields or EVERYTHING, usual=USUAL_HERE
    )


def _next_link(parameters: HereParameters, version: int, last_id: str) -> dict[str, str]:
    """Return the link to the next page."""
    given = parameters.model_dump(mode="json", exclude_unset=True, exclude={"fields"})
    given |= {"after": last_id, "snapshot": version}
    if parameters.bbox is not None:
        given["bbox"] = ",".join(str(degrees) for degrees in parameters.bbox)
    if parameters.intersects is not None:
        given["intersects"] = orjson.dumps(parameters.intersects).decode()
    if parameters.fields is not None:
        given["fields"] = parameters.fields.text()
    return {"rel": "next", "method": "GET", "href": f"/v1/chips?{urlencode(given, doseq=True)}"}


@dataclass(frozen=True)
class DatesLookup:
    """Chips of other scenes at one chip's place, and the chip itself; in the order of time."""

    chip: dict[str, Any]
    code: bytes
    parameters: DatesParameters
    is_heavy: ClassVar[bool] = False
    key: ClassVar[str] = ""

    def answer(self, snapshot: Snapshot, *, is_whole: bool) -> HerePart | Refusal:  # noqa: ARG002
        """Return a snapshot's last chips there, with distances to the chip."""
        index, parameters = snapshot.index, self.parameters
        compared = Compared(compare=parameters.compare, kind_weight=parameters.kind_weight)
        refusal = why_not_comparable(compared, snapshot)
        if refusal is not None:
            return refusal
        rows_M = self._rows(snapshot)
        uris = index.rows.columns(rows_M, ["uri", "chip_id"])
        own_uri, own_id = self.chip["uri"], self.chip["chip_id"]
        kept = [uri != own_uri or chip_id == own_id for uri, chip_id in zip(*uris.values(), strict=True)]
        rows_M = rows_M[np.array(kept, bool)]
        times_M, ranks_M = index.columns.times_N[rows_M], index.codes.arrays.ranks_N[rows_M]
        rows_K = rows_M[np.lexsort((ranks_M, times_M))][-parameters.limit :]
        names = {*wanted_of_table(parameters.format, parameters.fields), "datetime"}
        chips = index.rows.columns(rows_K, sorted(names))
        return HerePart(len(rows_M), chips | distances(snapshot, self.code, rows_K, compared))

    def _rows(self, snapshot: Snapshot) -> Int64s:
        """Return the rows whose boxes have the centre of the chip's box in them; without a box the chip's."""
        index, box = snapshot.index, self.chip["bbox"]
        if box is None:
            own = index.rows.find(self.chip["chip_id"])
            return np.array([] if own is None else [own], np.int64)
        (longitude,), (latitude,) = centres_of(np.array([box]))
        point = (float(longitude), float(latitude)) * 2
        return rows_of(select(index, Filters(bbox=point, collections=self.parameters.collections)))


def dates_page(parameters: DatesParameters, snapshot_id: SnapshotId, parts: Sequence[HerePart]) -> Page:
    """Return the chips of all shards at a chip's place: the last ones in the order of time."""
    every = merged([part.chips for part in parts], [_by_time, "chip_id"])
    chips = {name: values[-parameters.limit :] for name, values in every.items()}
    about = {
        "numberMatched": sum(part.matched for part in parts),
        "numberReturned": len(chips["chip_id"]),
        "snapshot": snapshot_id.version,
        "model_id": snapshot_id.model_id,
        "links": [],
    }
    return Page(chips, about, parameters.format == "columns", parameters.fields or EVERYTHING)


def _by_time(chips: Chips) -> list[float]:
    return [-np.inf if time is None else time.timestamp() for time in chips["datetime"]]


def distances(snapshot: Snapshot, code: bytes, rows_K: Int64s, compared: Compared) -> Chips:
    """Return the columns of distances of some rows to a code."""
    codes, parts = snapshot.index.codes, snapshot.code.parts
    code_Y = np.frombuffer(code, np.uint8)
    different = [codes.code(row) ^ code_Y for row in rows_K.tolist()]
    different_KY = np.stack(different) if different else np.empty((0, len(code_Y)), np.uint8)
    ends = np.cumsum([part.bits // 8 for part in parts])[:-1]
    bits = [np.bitwise_count(each).sum(axis=1) for each in np.split(different_KY, ends, axis=1)]
    weights = comparison_of(snapshot.code, compared.compare, compared.kind_weight).weights
    total_K: NDArray[np.int64] = np.asarray(
        sum(weight * each.astype(np.int64) for weight, each in zip(weights, bits, strict=True))
    )
    columns: Chips = {"distance": total_K.tolist()}
    if len(parts) > 1:
        columns |= {f"{part.name}_distance": each.tolist() for part, each in zip(parts, bits, strict=True)}
    return columns
