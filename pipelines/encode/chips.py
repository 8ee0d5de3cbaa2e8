"""Objects to chips: the work of one reading task, on its share of a unit."""

from collections.abc import Iterator
from typing import cast

import pyarrow as pa
import structlog

from pipelines.errors import RejectedObject, RejectReason, StorageError
from pipelines.imagery.chip_spec import ChipSpec
from pipelines.imagery.footprints import footprint
from pipelines.imagery.georeference import georeference
from pipelines.imagery.grid import covered_pixels, read_chips
from pipelines.imagery.raster import acquired_at, open_raster
from pipelines.imagery.window import chip_id
from pipelines.sources.chip_specs import ChipSpecs
from pipelines.storage.ranges import FOR_CHIPS, ObjectRanges
from pipelines.storage.store import Store
from pipelines.table.schema import FILE_SCHEMA

CHIP, FAILED = "chip", "failed"
TOO_SMALL: RejectReason = "too_small"

CHIP_SCHEMA = pa.schema(
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
        pa.field("pixels", pa.binary()),  # chip_HWC, row by row
    ]
)
"""One row for each chip; one row without pixels for an object that gave no chips.

A large scene may turn out to be broken after some of its chips were yielded. It then ends with a row without
pixels, and `shards.write_unit` drops its chips.
"""

_BATCH_BYTES = 64 << 20  # most bytes of chips in memory before they are yielded, however large a scene is

_COUNTS = ("bytes_read", "pixels_opened", "pixels_covered")

Row = dict[str, object]

log = structlog.get_logger()


def read_objects(objects: pa.Table, chip_specs: ChipSpecs, store: Store) -> Iterator[pa.Table]:
    """Yield the chips of a batch of objects, as tables of `CHIP_SCHEMA`. One bad object never costs another.

    ``objects`` has the columns uri, etag and collection, and datetime and properties if the source has them.
    """
    default = chip_specs.default
    chip_bytes = default.grid.chip_size**2 * len(default.pixels.bands)
    waiting: list[Row] = []
    waiting_bytes = 0
    for listed in objects.to_pylist():
        chip_spec = chip_specs.of(listed["collection"])
        entry = listed | {"cut": chip_spec.text()}
        row_bytes = chip_bytes + len(str(listed))  # each chip repeats the metadata of its object
        rows: list[Row] = []
        counts = dict.fromkeys(_COUNTS, 0)  # of the object, that no row has yet
        try:
            content = _opened(entry, store)
            for row in _chips_of(entry, content, chip_spec, counts):
                rows.append(row | counts)
                counts.update(dict.fromkeys(_COUNTS, 0))
                if waiting_bytes + (len(rows) + 1) * row_bytes > _BATCH_BYTES:
                    yield pa.Table.from_pylist(waiting + rows, schema=CHIP_SCHEMA)
                    waiting, rows, waiting_bytes = [], [], 0
        except RejectedObject as rejected:
            rows = [_without_chips(entry, rejected.reason, rejected.detail, rows, counts)]
        except (FileNotFoundError, StorageError) as error:
            rows = [_without_chips(entry, FAILED, str(error), rows, counts)]
        except Exception as error:  # noqa: BLE001 - an unforeseen error costs this object, not the night
            rows = [_without_chips(entry, FAILED, f"unforeseen: {error!r}", rows, counts)]
        waiting += rows
        waiting_bytes += len(rows) * row_bytes
    if waiting:
        yield pa.Table.from_pylist(waiting, schema=CHIP_SCHEMA)


def _without_chips(entry: Row, outcome: str, detail: str, rows: list[Row], counts: dict[str, int]) -> Row:
    """Return the row that replaces an object's ``rows``; it counts the bytes that they counted.

    The pixels count only if there are chips of them, or if the object is too small for any.
    """
    if outcome == FAILED:
        log.warning("not read", uri=entry["uri"], reason=detail)
    counted: Row = {name: sum((cast(int, row[name]) for row in rows), counts[name]) for name in _COUNTS}
    if outcome != TOO_SMALL:
        counted |= {"pixels_opened": 0, "pixels_covered": 0}
    return entry | {"outcome": outcome, "detail": detail} | counted


def _opened(entry: Row, store: Store) -> bytes | ObjectRanges:
    """Return the content of the version of an object that was listed, or ranges of it if it is large.

    Raises FileNotFoundError, and StorageError, also if the object was replaced since: the next night lists
    the new version, and encodes it under its own etag.
    """
    uri = str(entry["uri"])
    try:
        return store.open_version(uri, str(entry["etag"]), FOR_CHIPS)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{uri} has gone since it was listed") from error


def _chips_of(
    entry: Row, content: bytes | ObjectRanges, chip_spec: ChipSpec, counts: dict[str, int]
) -> Iterator[Row]:
    """Yield the rows of an object's chips.

    Its pixels are in ``counts`` before the first of them, and what was read since the one before each.
    """
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
            yield entry | {
                "outcome": CHIP,
                "chip_id": chip_id(str(entry["uri"]), chip.window),
                "window": dict(zip("xywh", chip.window, strict=True)),
                "bbox": outline.bbox if outline else None,
                "geometry": outline.geometry if outline else None,
                "datetime": entry.get("datetime") or acquired,  # a source knows better than a tag in a file
                "valid_fraction": chip.valid_fraction,
                "pixels": chip.pixels_HWC.tobytes(),
            }
