"""Objects to chips: what a reading task does with its share of a unit."""

import pyarrow as pa

from pipelines.encode.config import EncodeConfig
from pipelines.errors import RejectedObject, StorageError
from pipelines.footprints import footprint
from pipelines.imagery import acquired_at, chip_id, open_raster, read_chips
from pipelines.storage import Store
from pipelines.table import FILE_SCHEMA

CHIP, FAILED = "chip", "failed"

CHIP_SCHEMA = pa.schema(
    [
        pa.field("outcome", pa.string()),  # CHIP, FAILED (tried again next time) or a RejectReason
        pa.field("detail", pa.string()),
        *(FILE_SCHEMA.field(name).with_nullable(True) for name in ("chip_id", "uri", "etag", "window")),
        *(FILE_SCHEMA.field(name).with_nullable(True) for name in ("bbox", "geometry", "datetime")),
        pa.field("valid_fraction", pa.float32()),
        pa.field("bytes_read", pa.int64()),  # of the object, in its first row
        pa.field("pixels", pa.binary()),  # chip_HWC, row by row
    ]
)
"""One row a chip; one row, without pixels, for an object that gave none."""


def read_objects(objects: pa.Table, bands: tuple[int, ...], config: EncodeConfig) -> pa.Table:
    """Read and cut the objects (uri, etag) of one batch: one bad object never costs another."""
    store = Store(config.store)
    rows: list[dict[str, object]] = []
    for entry in objects.to_pylist():
        first, size = len(rows), 0
        try:
            content = store.read(entry["uri"])
            size = len(content)
            rows += _chips_of(entry, content, bands, config)
        except RejectedObject as rejected:
            rows.append(entry | {"outcome": rejected.reason, "detail": rejected.detail})
        except (FileNotFoundError, StorageError) as error:
            rows.append(entry | {"outcome": FAILED, "detail": str(error)})
        rows[first]["bytes_read"] = size
    return pa.Table.from_pylist(rows, schema=CHIP_SCHEMA)


def _chips_of(
    entry: dict[str, str], content: bytes, bands: tuple[int, ...], config: EncodeConfig
) -> list[dict[str, object]]:
    with open_raster(content) as dataset:
        scene = read_chips(dataset, config.chip_size, bands, config.min_valid_fraction)
        acquired = acquired_at(dataset)
        footprints = [footprint(dataset, window) for window in scene.windows]
    return [
        entry
        | {
            "outcome": CHIP,
            "chip_id": chip_id(entry["uri"], window),
            "window": dict(zip("xywh", window, strict=True)),
            "bbox": outline.bbox if outline else None,
            "geometry": outline.geometry if outline else None,
            "datetime": acquired,
            "valid_fraction": float(valid_fraction),
            "pixels": chip_HWC.tobytes(),
        }
        for window, chip_HWC, valid_fraction, outline in zip(
            scene.windows, scene.chips_NHWC, scene.valid_fractions_N, footprints, strict=True
        )
    ]
