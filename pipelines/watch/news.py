"""What is new in a publication, and near: one pass over its new files for several watches.

New is a (chip id, etag) that no version which was looked at before holds. No clock decides: files that both
versions have hold nothing new, and what the others hold is compared. Memory grows with what is near only.

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
from pipelines.errors import TableError
from pipelines.hamming.comparison import Comparison
from pipelines.index.archive import codes_of
from pipelines.index.request_filters import COLUMNS, fulfilling
from pipelines.index.rows import ANSWER_COLUMNS
from pipelines.table.code_table import CodeTable, lost_files
from pipelines.table.pointer import Published
from pipelines.watch.hits import Key
from pipelines.watch.kept import Looked

_KEY = ["chip_id", "etag"]
_ROWS = list(dict.fromkeys([*ANSWER_COLUMNS, *COLUMNS, "encoded_at", "code"]))
_GONE = (TableError, FileNotFoundError, PermissionError)  # a version out of the keep window of jobs.maintain


@dataclass(frozen=True)
class Search:
    """What one watch looks for."""

    codes_EY: NDArray[np.uint8]
    part_bits: tuple[int, ...]
    comparison: Comparison
    max_distance: int
    filters: Filters
    left_out: tuple[str, ...]
    """Chips that are no hits: the examples themselves."""

    def near(self, batch: pa.RecordBatch, codes_NY: NDArray[np.uint8]) -> pa.Table:
        """Return the rows that are near enough and fulfil the filters, with ``distance`` and ``tie``."""
        sums_PN = np.zeros((len(self.part_bits), len(batch)), np.int64)
        ends = np.cumsum(self.part_bits) // 8
        for sums_N, end, bits in zip(sums_PN, ends, self.part_bits, strict=True):
            part = slice(end - bits // 8, end)
            for code_Y in self.codes_EY:  # one at a time: together they would take much memory
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
class News:
    """What a look at a publication has found."""

    found: list[pa.Table]
    """For each search: its rows, in no order."""
    compared: int
    """Chips whose codes were compared: those of the files that are new."""
    notes: list[str] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
    """Models whose version that was looked at can't be read any more."""


def is_news(published: Published, looked: Mapping[str, Looked]) -> bool:
    """Return whether a publication is of a newer version than what was looked at: a rollback isn't."""
    before = looked.get(published.model_id)
    if before is None or not before.is_of_table(published):
        return True
    return published.table_version > before.version


def find_news(
    table: CodeTable, published: Published, looked: Mapping[str, Looked], searches: Sequence[Search]
) -> News:
    """Return the rows of a publication that are new since some versions were looked at, and near.

    Where one of these can't be read any more, the notes say so. Raises TableError where the publication
    can't.
    """
    # of a table that lay there before nothing can be read any more: its versions are other ones here
    replaced = {model_id for model_id, before in looked.items() if not before.is_of_table(published)}
    looked = {model_id: before for model_id, before in looked.items() if model_id not in replaced}
    try:
        news = _near(table, published, looked.get(published.model_id), searches)
    except (FileNotFoundError, PermissionError) as error:
        raise lost_files(table.uri, published.table_version, error) from error
    if replaced:
        news.gone |= replaced
        news.notes.append(f"{table.uri} was made anew: taken as new is all that wasn't reported yet")
    for model_id, before in looked.items():
        if not any(map(len, news.found)):
            break
        is_own = model_id == published.model_id
        keys: Iterable[pa.RecordBatch]
        try:
            if is_own:
                keys = table.stream_unlike(model_id, _KEY, before.version, published.table_version)
            else:
                keys = table.stream(model_id, _KEY, before.version)[1]
            held = _held(keys, news.found)
            news.found = [_without(rows, held) for rows in news.found]
        except _GONE:
            news.gone.add(model_id)
            news.notes.append(_gone_note(table, model_id, before, is_own=is_own))
            if is_own and before.encoded_until:
                news.found = [_encoded_after(rows, before.encoded_until) for rows in news.found]
    return news


def _near(table: CodeTable, published: Published, before: Looked | None, searches: Sequence[Search]) -> News:
    model_id, version = published.model_id, published.table_version
    batches: Iterable[pa.RecordBatch]
    if before and table.has_version(before.version):
        batches = table.stream_unlike(model_id, _ROWS, version, before.version)
    else:
        batches = table.stream(model_id, _ROWS, version)[1]
    compared, parts = 0, [list[pa.Table]() for _ in searches]
    for batch in batches:
        if not len(batch):
            continue
        compared += len(batch)
        width = searches[0].codes_EY.shape[1]
        codes_NY = codes_of(batch["code"], width, f"version {version} of {table.uri}")
        for near, search in zip(parts, searches, strict=True):
            rows = search.near(batch, codes_NY)
            if len(rows):
                near.append(rows)
    return News([pa.concat_tables(near) if near else pa.table({"chip_id": []}) for near in parts], compared)


def _held(keys: Iterable[pa.RecordBatch], found: Sequence[pa.Table]) -> set[Key]:
    """Return which (chip id, etag) of a stream have been found, or may have."""
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


def _gone_note(table: CodeTable, model_id: str, before: Looked, *, is_own: bool) -> str:
    how = f"taken as new: what was encoded after {before.encoded_until}" if before.encoded_until else ""
    if not is_own or not how:
        how = "taken as new: what it alone held, and wasn't reported yet"
    return (
        f"version {before.version} of {table.uri}, of {model_id}, which was looked at before, can't be read "
        f"any more; {how}. Run watches more often than jobs.maintain --keep-days"
    )
