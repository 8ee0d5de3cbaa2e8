"""Finds the new rows of a publication that are near the examples of watches: one pass for several watches.

A row is new if no version that was looked at before has its (chip id, etag). No clock is involved. Files that
both versions have contain nothing new, so only the codes in the other files are compared. Memory grows with
the number of near rows, not with the table.

Shapes: N rows, E examples, Y bytes a code, P parts of a code.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from model.codes import hamming_distances
from pipelines.api.requests import Filters
from pipelines.api.watches import Key
from pipelines.errors import TableError
from pipelines.hamming.comparison import Comparison
from pipelines.index.request_filters import COLUMNS, fulfilling
from pipelines.index.rows import ANSWER_COLUMNS
from pipelines.index.table_index import codes_of
from pipelines.table.code_table import CodeTable, lost_files
from pipelines.table.pointer import Published
from pipelines.watch_files.watch_state import SeenVersion

_KEY = ["chip_id", "etag"]
_ROWS = list(dict.fromkeys([*ANSWER_COLUMNS, *COLUMNS, "encoded_at", "code"]))
_UNREADABLE = (TableError, FileNotFoundError, PermissionError)  # jobs.maintain has removed the version


@dataclass(frozen=True)
class Search:
    """What one watch looks for."""

    codes_EY: NDArray[np.uint8]
    part_bits: tuple[int, ...]
    comparison: Comparison
    max_distance: int
    filters: Filters
    left_out: tuple[str, ...]
    """Ids of the examples, which are no hits"""

    def near(self, batch: pa.RecordBatch, codes_NY: NDArray[np.uint8]) -> pa.Table:
        """Return the rows within ``max_distance`` that pass the filters, with ``distance`` and ``tie``."""
        sums_PN = np.zeros((len(self.part_bits), len(batch)), np.int64)
        ends = np.cumsum(self.part_bits) // 8
        for sums_N, end, bits in zip(sums_PN, ends, self.part_bits, strict=True):
            part = slice(end - bits // 8, end)
            for code_Y in self.codes_EY:  # one at a time, to save memory
                sums_N += hamming_distances(code_Y[None, part], codes_NY[:, part])[0]
        distances_N = np.array(self.comparison.weights) @ sums_PN
        ties_N = np.array(self.comparison.tie_weights) @ sums_PN
        near_N = distances_N <= self.max_distance * len(self.codes_EY)
        rows = pa.Table.from_batches([batch]).filter(pa.array(near_N))
        for name, values_N in (("distance", distances_N), ("tie", ties_N)):
            rows = rows.append_column(name, pa.array(values_N[near_N] / len(self.codes_EY)))
        others = rows.filter(pc.invert(pc.is_in(rows["chip_id"], pa.array(self.left_out, pa.string()))))
        return fulfilling(others, self.filters)


@dataclass
class NewMatches:
    """The new rows near each watch's example."""

    rows: list[pa.Table]
    """For each search the rows that it found, in no order"""
    compared: int
    """How many chips were compared: those in the new files"""
    notes: list[str] = field(default_factory=list)
    """For the report: what couldn't be read, and what was done instead"""
    gone: set[str] = field(default_factory=set)
    """Ids of the models whose version that was looked at can't be read any more"""


def is_newer(published: Published, looked: Mapping[str, SeenVersion]) -> bool:
    """Return whether a publication is newer than what was looked at. A rollback isn't."""
    before = looked.get(published.model_id)
    if before is None or not before.is_of_table(published):
        return True
    return published.table_version > before.version


def find_new_matches(
    table: CodeTable, published: Published, looked: Mapping[str, SeenVersion], searches: Sequence[Search]
) -> NewMatches:
    """Return the rows of a publication that none of the ``looked`` versions has, and that a search finds.

    ``looked``: the versions that were looked at before, by model id. If one of them can't be read any more,
    the notes say so. Raises TableError if the publication can't be read.
    """
    # if the table was deleted and made anew, the old versions are gone, and their numbers mean other versions
    replaced = {model_id for model_id, before in looked.items() if not before.is_of_table(published)}
    looked = {model_id: before for model_id, before in looked.items() if model_id not in replaced}
    try:
        matches = _near_in_new_files(table, published, looked.get(published.model_id), searches)
    except (FileNotFoundError, PermissionError) as error:
        raise lost_files(table.uri, published.table_version, error) from error
    if replaced:
        matches.gone |= replaced
        matches.notes.append(f"{table.uri} was made anew: chips that weren't reported yet are taken as new")
    for model_id, before in looked.items():
        if not any(map(len, matches.rows)):
            break
        is_own = model_id == published.model_id
        keys: Iterable[pa.RecordBatch]
        try:
            if is_own:
                keys = table.stream_unlike(model_id, _KEY, before.version, published.table_version)
            else:
                keys = table.stream(model_id, _KEY, before.version)[1]
            held = _held(keys, matches.rows)
            matches.rows = [_without(rows, held) for rows in matches.rows]
        except _UNREADABLE:
            matches.gone.add(model_id)
            matches.notes.append(_gone_note(table, model_id, before, is_own=is_own))
            if is_own and before.encoded_until:
                matches.rows = [_encoded_after(rows, before.encoded_until) for rows in matches.rows]
    return matches


def _near_in_new_files(
    table: CodeTable, published: Published, before: SeenVersion | None, searches: Sequence[Search]
) -> NewMatches:
    """Return the rows near each example in files that version ``before`` doesn't have; None: in all files."""
    model_id, version = published.model_id, published.table_version
    batches: Iterable[pa.RecordBatch]
    if before and table.has_version(before.version):
        batches = table.stream_unlike(model_id, _ROWS, version, before.version)
    else:
        batches = table.stream(model_id, _ROWS, version)[1]
    compared, parts_of = 0, [list[pa.Table]() for _ in searches]
    for batch in batches:
        if not len(batch):
            continue
        compared += len(batch)
        width = searches[0].codes_EY.shape[1]
        codes_NY = codes_of(batch["code"], width, f"version {version} of {table.uri}")
        for parts, search in zip(parts_of, searches, strict=True):
            rows = search.near(batch, codes_NY)
            if len(rows):
                parts.append(rows)
    empty = pa.table({"chip_id": []})
    return NewMatches([pa.concat_tables(parts) if parts else empty for parts in parts_of], compared)


def _held(keys: Iterable[pa.RecordBatch], found: Sequence[pa.Table]) -> set[Key]:
    """Return the (chip id, etag) in a stream whose chip ids are among the found rows."""
    ids = pa.array({chip_id for rows in found for chip_id in rows["chip_id"].to_pylist()}, pa.string())
    held: set[Key] = set()
    for batch in keys:
        mine = batch.filter(pc.is_in(batch["chip_id"], ids))
        held.update(zip(mine["chip_id"].to_pylist(), mine["etag"].to_pylist(), strict=True))
    return held


def _without(rows: pa.Table, held: set[Key]) -> pa.Table:
    if not len(rows):
        return rows
    keys = zip(rows["chip_id"].to_pylist(), rows["etag"].to_pylist(), strict=True)
    return rows.filter(pa.array([key not in held for key in keys]))


def _encoded_after(rows: pa.Table, since: datetime) -> pa.Table:
    if not len(rows):
        return rows
    return rows.filter(pc.greater(rows["encoded_at"], pa.scalar(since, rows["encoded_at"].type)))


def _gone_note(table: CodeTable, model_id: str, before: SeenVersion, *, is_own: bool) -> str:
    if is_own and before.encoded_until:
        how = f"chips encoded after {before.encoded_until} are taken as new"
    else:
        how = "chips that only it had, and that weren't reported yet, are taken as new"
    return (
        f"version {before.version} of {table.uri}, the last of {model_id} that was looked at, can't be read "
        f"any more; {how}. Run watches more often than jobs.maintain --keep-days"
    )
