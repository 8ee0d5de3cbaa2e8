"""A published version of a code table in memory: its codes, and what answers say of its chips.

Shapes: N chips, Y bytes a code. Rows are ordered by chip id everywhere.
"""

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from model.bundle import Manifest
from pipelines.api import Asset, Chip, ChipProperties, Match, MatchProperties
from pipelines.bundles import read_manifest
from pipelines.errors import TableError
from pipelines.index.codes import CodeIndex, Hits
from pipelines.pointer import Published
from pipelines.serve.follow import check_model
from pipelines.serve.places import Places
from pipelines.storage import Store
from pipelines.table import CodeTable

_ANSWER_COLUMNS = ["chip_id", "uri", "etag", "window", "bbox", "geometry", "datetime", "collection"]


@dataclass(frozen=True)
class Snapshot:
    """One version of the table. Never changes: a request that holds it answers from it alone."""

    published: Published
    manifest: Manifest
    index: CodeIndex
    rows: pa.Table
    """`_ANSWER_COLUMNS` of each chip, one chunk a column."""
    places: Places
    distinct_codes: int

    def find(self, chip_id: str) -> int | None:
        """Return a chip's row, or None where the table has no such chip."""
        ids = self.rows["chip_id"].chunk(0) if len(self.rows) else []
        row = bisect_left(range(len(ids)), chip_id, key=lambda row: ids[row].as_py())
        return row if row < len(ids) and ids[row].as_py() == chip_id else None

    def chip(self, row: int) -> Chip:
        """Return a chip by itself."""
        values = self.rows.slice(row, 1).to_pylist()[0]
        return Chip(
            **_placed(values),
            properties=ChipProperties(**_properties(values)),
            snapshot=self.published.table_version,
            model_id=self.published.model_id,
        )

    def matches(self, hits: Hits) -> list[Match]:
        """Return the chips of an answer, in its order."""
        chips = zip(self.rows.take(hits.rows_M).to_pylist(), hits.distances_M.tolist(), strict=True)
        return [
            Match(
                **_placed(values),
                properties=MatchProperties(
                    **_properties(values),
                    rank=rank,
                    distance=distance,
                    similarity=1 - distance / self.index.bits,
                ),
            )
            for rank, (values, distance) in enumerate(chips, start=1)
        ]


def load_snapshot(table_uri: str, published: Published, store: Store) -> Snapshot:
    """Load what the pointer names.

    Raises TableError where table, bundle and pointer don't fit each other, BundleError without a bundle.
    """
    manifest = read_manifest(published.bundle_uri, store)
    check_model(published, manifest)
    table = CodeTable(table_uri, store)
    rows = table.read(published.model_id, [*_ANSWER_COLUMNS, "code"], published.table_version)
    rows = rows.sort_by("chip_id").combine_chunks()
    where = f"version {published.table_version} of {table_uri}"
    ids = rows["chip_id"]
    if len(rows) > 1 and pc.any(pc.equal(ids[1:], ids[:-1])).as_py():
        raise TableError(f"{where} has two rows for one chip id; publish a version that hasn't")
    index = CodeIndex(_codes(rows["code"], manifest.network.num_bits // 8, where))
    return Snapshot(
        published, manifest, index, rows.drop_columns("code"), Places(rows), index.count_distinct()
    )


def _codes(column: pa.ChunkedArray, width: int, where: str) -> NDArray[np.uint8]:
    """Return codes_NY. Raises TableError unless every code has ``width`` bytes."""
    try:
        fixed = pa.chunked_array(column.cast(pa.binary(width))).combine_chunks()
    except pa.ArrowInvalid as error:
        raise TableError(
            f"{where} holds codes that aren't the {width * 8} bits of its model: {error}"
        ) from error
    if not len(fixed):
        return np.empty((0, width), np.uint8)
    return np.frombuffer(fixed.buffers()[1], np.uint8, len(fixed) * width, fixed.offset * width).reshape(
        -1, width
    )


def _placed(values: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a Feature besides its properties."""
    geometry, bbox = values["geometry"], values["bbox"]
    return {
        "id": values["chip_id"],
        "geometry": None if geometry is None else shapely.geometry.mapping(shapely.from_wkb(geometry)),
        "bbox": None if bbox is None else tuple(bbox.values()),
        "assets": {"thumbnail": Asset(href=f"/v1/chips/{quote(str(values['chip_id']), safe='')}/thumbnail")},
    }


def _properties(values: dict[str, Any]) -> dict[str, Any]:
    kept = {name: values[name] for name in ("datetime", "collection", "uri", "etag")}
    return kept | {"window": tuple(values["window"].values())}
