"""Objects to chips.

Shapes: N chips, H x W pixels, C bands.
"""

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
import structlog
from numpy.typing import NDArray

from pipelines.encode.fetch import Opened, opened
from pipelines.errors import RejectedObject, RejectReason, StorageError
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.footprints import footprint
from pipelines.imagery.georeference import georeference
from pipelines.imagery.grid import covered_pixels, read_chips
from pipelines.imagery.raster import acquired_at, open_raster
from pipelines.imagery.window import chip_id
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.storage.store import Store
from pipelines.table.schema import FILE_SCHEMA

CHIP, FAILED = "chip", "failed"
TOO_SMALL: RejectReason = "too_small"

ROW_SCHEMA = pa.schema(
    [
        pa.field("outcome", pa.string()),  # CHIP, FAILED (tried again next time) or a RejectReason
        pa.field("detail", pa.string()),
        *(FILE_SCHEMA.field(name).with_nullable(True) for name in ("chip_id", "uri", "etag", "window")),
        *(FILE_SCHEMA.field(name).with_nullable(True) for name in ("bbox", "geometry", "datetime")),
        *(FILE_SCHEMA.field(name).with_nullable(True) for name in ("collection", "properties")),
        pa.field("valid_fraction", pa.float32()),
        pa.field("cut", pa.string()),
        pa.field("bytes_read", pa.int64()),  # of the object, since its row before
        # of the object, in one of its rows; so is the next one
        pa.field("pixels_opened", pa.int64()),
        pa.field("pixels_covered", pa.int64()),  # those of them that lie in a window of the grid
        pa.field("position", pa.int32()),  # of the row among those of its object, from 0
        pa.field("is_last", pa.bool_()),  # of its object
    ]
)
"""One row for each chip; one row for an object that gave no chips.

A large scene may turn out to be broken after some of its chips were yielded. It then ends with a row that
says so, and `shards.write_unit` drops its chips. By ``position`` and ``is_last`` one sees that an object is
whole (`completeness`).
"""

_BATCH_BYTES = 64 << 20  # most bytes of chips in a batch, however large a scene is

_COUNTS = ("bytes_read", "pixels_opened", "pixels_covered")

Row = dict[str, object]

log = structlog.get_logger()


@dataclass(frozen=True)
class ChipBatch:
    """Some chips, and what the table says of them."""

    rows: pa.Table
    """Of `ROW_SCHEMA`."""
    chips_NHWC: NDArray[np.uint8]
    """The pixels of those rows that are chips, in their order: one tensor."""


def read_objects(
    objects: pa.Table, chip_specs: ChipSpecs, store: Store, batch_size: int | None = None
) -> Iterator[ChipBatch]:
    """Yield the chips of some objects, in their order. One bad object never costs another.

    ``objects`` has the columns uri, etag and collection, and datetime and properties if the source has them.
    A batch has at most ``batch_size`` chips and 64 MiB. Objects are fetched ahead while others are decoded.
    """
    batch = _Batch(chip_specs.default, batch_size)
    with closing(opened(objects.to_pylist(), store)) as contents:
        for listed, content in contents:
            chip_spec = chip_specs.of(str(listed["collection"]))
            entry = dict(listed) | {"cut": chip_spec.text()}
            counts = dict.fromkeys(_COUNTS, 0)  # of the object, that no row has yet
            broken: Row | None = None
            batch.begin_object(metadata_bytes=len(str(entry)))  # each chip repeats them
            try:
                for row, chip_HWC in _chips_of(entry, content, chip_spec, counts):
                    if batch.is_full():
                        yield batch.take()
                    batch.add(row | counts, chip_HWC)
                    counts.update(dict.fromkeys(_COUNTS, 0))
            except Exception as error:  # noqa: BLE001 - it costs this object, not the night
                broken = _without_chips(entry, error, counts)
            batch.end_object(broken)
    if batch.rows:
        yield batch.take()


class _Batch:
    """A batch as it grows: rows, and chips in one tensor that is handed on without another copy."""

    def __init__(self, chip_spec: ChipSpec, batch_size: int | None) -> None:
        side = chip_spec.grid.chip_size
        self._shape = side, side, len(chip_spec.pixels.bands)
        self._chip_bytes = math.prod(self._shape)
        self._capacity = min(batch_size or _BATCH_BYTES, max(1, _BATCH_BYTES // self._chip_bytes))
        self._begin()

    def _begin(self) -> None:
        self.rows: list[Row] = []
        self._chips_NHWC = np.empty((0, *self._shape), np.uint8)
        self._count = self._held_metadata = 0
        self._first = 0  # row of the present object

    def begin_object(self, metadata_bytes: int) -> None:
        """Begin with another object. Each of its chips takes so many bytes besides its pixels."""
        self._metadata_bytes = metadata_bytes
        self._first, self._earlier = len(self.rows), 0  # rows of the object in batches before this one

    def is_full(self) -> bool:
        """Return whether there is no room for one more chip."""
        held = self._count * self._chip_bytes + self._held_metadata
        too_large = held + self._chip_bytes + self._metadata_bytes > _BATCH_BYTES
        return self._count == self._capacity or (bool(self.rows) and too_large)

    def add(self, row: Row, chip_HWC: NDArray[np.uint8]) -> None:
        """Append a chip."""
        if self._count == len(self._chips_NHWC):
            self._grow()
        self._chips_NHWC[self._count] = chip_HWC
        self._count += 1
        self._held_metadata += self._metadata_bytes
        position = self._earlier + len(self.rows) - self._first
        self.rows.append(row | {"position": position, "is_last": False})

    def _grow(self) -> None:
        larger_NHWC = np.empty((min(self._capacity, max(16, 2 * self._count)), *self._shape), np.uint8)
        larger_NHWC[: self._count] = self._chips_NHWC[: self._count]
        self._chips_NHWC = larger_NHWC

    def end_object(self, broken: Row | None) -> None:
        """End the object; if it is broken, put one row in the place of those in this batch.

        That row counts the bytes of all of them.
        """
        if broken:
            replaced = self.rows[self._first :]
            bytes_read = sum(cast(int, each["bytes_read"]) for each in (*replaced, broken))
            self._count -= len(replaced)
            self.rows[self._first :] = [broken | {"bytes_read": bytes_read, "position": self._earlier}]
        self.rows[-1]["is_last"] = True

    def take(self) -> ChipBatch:
        """Return what is there, and begin anew, within an object or behind it."""
        rows = pa.Table.from_pylist(self.rows, schema=ROW_SCHEMA)
        batch = ChipBatch(rows, self._chips_NHWC[: self._count])
        self._earlier += len(self.rows) - self._first
        self._begin()
        return batch


def _without_chips(entry: Row, error: Exception, counts: dict[str, int]) -> Row:
    """Return the row of an object without chips.

    Its pixels count only if there are chips of them, or if the object is too small for any.
    """
    outcome, detail = FAILED, f"unforeseen: {error!r}"
    if isinstance(error, RejectedObject):
        outcome, detail = error.reason, error.detail
    elif isinstance(error, FileNotFoundError | StorageError):
        detail = str(error)
    if outcome == FAILED:
        log.warning("not read", uri=entry["uri"], reason=detail)
    pixels = {} if outcome == TOO_SMALL else {"pixels_opened": 0, "pixels_covered": 0}
    return entry | {"outcome": outcome, "detail": detail} | counts | pixels


def _chips_of(
    entry: Row, content: Opened, chip_spec: ChipSpec, counts: dict[str, int]
) -> Iterator[tuple[Row, NDArray[np.uint8]]]:
    """Yield an object's chips with their rows. Raises ``content`` if it is an error.

    The object's pixels are in ``counts`` before the first chip, and what was read since the one before each.
    """
    if isinstance(content, Exception):
        raise content
    counted = 0

    def count() -> None:
        nonlocal counted
        now = len(content) if isinstance(content, bytes) else content.bytes_read
        counts["bytes_read"] += now - counted
        counted = now

    count()
    with open_raster(content) as dataset:
        place, acquired = georeference(dataset), acquired_at(dataset)
        counts["pixels_covered"] = covered_pixels(dataset, place, chip_spec.grid)
        counts["pixels_opened"] = dataset.width * dataset.height
        for chip in read_chips(dataset, place, chip_spec.grid, chip_spec.pixels):
            count()
            outline = footprint(place, chip.window)
            row = entry | {
                "outcome": CHIP,
                "chip_id": chip_id(str(entry["uri"]), chip.window),
                "window": dict(zip("xywh", chip.window, strict=True)),
                "bbox": outline.bbox if outline else None,
                "geometry": outline.geometry if outline else None,
                "datetime": entry.get("datetime") or acquired,  # a source knows better than a tag in a file
                "valid_fraction": chip.valid_fraction,
            }
            yield row, chip.pixels_HWC
